package api

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// envelope is the form of every answer of /auth/ticket. The names, one of them
// misspelt, are those of the API that backends were written for.
type envelope struct {
	Status       string `json:"status"`
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
	_ = e.Encode(envelope{strconv.Itoa(status), description, s.Now().UTC().Format(responseTime), data}) // to a client that may be gone
}

// refuse answers 400 with what is wrong with the fields of a request.
func (s *server) refuse(w http.ResponseWriter, all []fault) {
	description := "Bad request: "
	for i, f := range all {
		if i > 0 {
			description += "; "
		}
		description += f.Field + " " + f.Reason
	}
	s.reply(w, http.StatusBadRequest, description, faults{all})
}
