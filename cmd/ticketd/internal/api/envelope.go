package api

import (
	"cmp"
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/admitone/admitone/client"
)

// responseTime is the layout of a time in UTC with at most seven fractional digits.
const responseTime = "2006-01-02T15:04:05.9999999Z"

func (s *server) reply(w http.ResponseWriter, status int, description string, data any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	v := client.Envelope{
		Status:       strconv.Itoa(status),
		Description:  description,
		ResponseTime: s.Now().UTC().Format(responseTime),
		Data:         data,
	}
	if s.IntegerStatus {
		v.Status = status
	}
	_ = e.Encode(v) // to a client that may be gone
}

// refusal is an answer other than success.
type refusal struct {
	status      int
	description string
	fields      []client.FieldError
	reason      string        // for operators
	retry       time.Duration // with 429: when to try again
	undecided   bool          // with 503: the directory could not be asked
	allow       string        // with 501: the methods that are supported; "" means POST
}

func badFields(all []client.FieldError) *refusal {
	description := "Bad request: "
	for i, f := range all {
		if i > 0 {
			description += "; "
		}
		description += cmp.Or(f.Field, `""`) + " " + f.Reason
	}
	return &refusal{status: http.StatusBadRequest, description: description, fields: all, reason: all[0].Field}
}

func badField(field, reason string) *refusal {
	return badFields([]client.FieldError{{Field: field, Reason: reason}})
}

func badBody(err error) *refusal {
	return &refusal{status: http.StatusBadRequest, description: "Bad request: " + err.Error(), reason: "body"}
}

func unauthorized(description, reason string) *refusal {
	return &refusal{status: http.StatusUnauthorized, description: "Unauthorized: " + description, reason: reason}
}

func addressRefused() *refusal {
	return unauthorized("calls for this brand are not accepted from your address; "+
		"ask its administrator to add it to the allow-list", "address not on the allow-list")
}

// undecided is the refusal if the directory could not be asked: neither yes nor no is an
// answer then.
func undecided(err error) *refusal {
	return &refusal{status: http.StatusServiceUnavailable, undecided: true, reason: err.Error()}
}

func internal(err error) *refusal {
	return &refusal{
		status: http.StatusInternalServerError, description: "Internal error; try again later", reason: err.Error(),
	}
}

func (s *server) refuse(w http.ResponseWriter, denied *refusal) {
	switch denied.status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", "Bearer")
	case http.StatusNotImplemented:
		w.Header().Set("Allow", cmp.Or(denied.allow, http.MethodPost))
	case http.StatusTooManyRequests:
		w.Header().Set("Retry-After", seconds(denied.retry))
	}
	var data any
	if len(denied.fields) > 0 {
		data = client.Error{Fields: denied.fields}
	}
	s.reply(w, denied.status, denied.description, data)
}

// seconds returns a time for a header: whole seconds, rounded up, at least one.
func seconds(d time.Duration) string {
	return strconv.FormatInt(max(1, int64(math.Ceil(d.Seconds()))), 10)
}
