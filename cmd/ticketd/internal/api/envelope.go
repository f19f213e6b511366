package api

import (
	"cmp"
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"time"
)

// envelope is the form of every answer under /auth/. The names, one of them
// misspelt, are those of the API that backends were written for.
type envelope struct {
	Status       any    `json:"status"` // text, or with Config.IntegerStatus a number
	Description  string `json:"description"`
	ResponseTime string `json:"response_time"`
	Data         any    `json:"data,omitempty"`
}

type issued struct {
	Ticket string `json:"encpryptedString"`
}

type faults struct {
	Errors []fault `json:"errors"`
}

// fault is a field of the request that is wrong, and why.
type fault struct {
	Field  string `json:"field"`
	Reason string `json:"reason"`
}

// responseTime is UTC with at most seven fractional digits.
const responseTime = "2006-01-02T15:04:05.9999999Z"

func (s *server) reply(w http.ResponseWriter, status int, description string, data any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	v := envelope{strconv.Itoa(status), description, s.Now().UTC().Format(responseTime), data}
	if s.IntegerStatus {
		v.Status = status
	}
	_ = e.Encode(v) // to a client that may be gone
}

// refusal is an answer other than success.
type refusal struct {
	status      int
	description string
	faults      []fault
	reason      string        // for operators
	retry       time.Duration // with 429: when to try again
}

func badFields(all []fault) *refusal {
	description := "Bad request: "
	for i, f := range all {
		if i > 0 {
			description += "; "
		}
		description += cmp.Or(f.Field, `""`) + " " + f.Reason
	}
	return &refusal{status: http.StatusBadRequest, description: description, faults: all, reason: all[0].Field}
}

func badField(field, reason string) *refusal { return badFields([]fault{{field, reason}}) }

func badBody(err error) *refusal {
	return &refusal{status: http.StatusBadRequest, description: "Bad request: " + err.Error(), reason: "body"}
}

func unauthorized(description, reason string) *refusal {
	return &refusal{status: http.StatusUnauthorized, description: "Unauthorized: " + description, reason: reason}
}

func addressRefused() *refusal {
	return unauthorized("calls for this brand are not accepted from your address; ask its administrator to add it to the allow-list", "address not on the allow-list")
}

func internal(err error) *refusal {
	return &refusal{status: http.StatusInternalServerError, description: "Internal error; try again later", reason: err.Error()}
}

func (s *server) refuse(w http.ResponseWriter, no *refusal) {
	switch no.status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", "Bearer")
	case http.StatusNotImplemented:
		w.Header().Set("Allow", http.MethodPost)
	case http.StatusTooManyRequests:
		w.Header().Set("Retry-After", seconds(no.retry))
	}
	var data any
	if len(no.faults) > 0 {
		data = faults{no.faults}
	}
	s.reply(w, no.status, no.description, data)
}

// seconds is a time in headers: whole seconds, rounded up, at least one.
func seconds(d time.Duration) string {
	return strconv.FormatInt(max(1, int64(math.Ceil(d.Seconds()))), 10)
}
