package api

import (
	"bytes"
	"cmp"
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/admitone/admitone/client"
)

// responseTime is the layout of a time in UTC with at most seven fractional digits.
const responseTime = "2006-01-02T15:04:05.9999999Z"

func (s *server) reply(w http.ResponseWriter, status int, description string, data any) {
	b := replies.Get().(*bytes.Buffer)
	b.Reset()
	defer replies.Put(b)
	h, id := w.Header(), ""
	if status >= http.StatusBadRequest {
		id = h.Get(requestIDHeader)
	}
	s.envelope(b, status, description, id, data)
	h["Content-Type"] = jsonType
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // to a client that may be gone
}

var (
	jsonType = []string{"application/json; charset=utf-8"} // nobody changes it
	replies  = sync.Pool{New: func() any { return new(bytes.Buffer) }}
)

// envelope writes a client.Envelope. It does so for every answer, and encoding/json takes
// longer. A refusal has the request's ID, for the person who asks why; "" is for none.
func (s *server) envelope(to *bytes.Buffer, status int, description, id string, data any) {
	b := append(to.AvailableBuffer(), `{"status":`...)
	if s.IntegerStatus {
		b = strconv.AppendInt(b, int64(status), 10)
	} else {
		b = append(strconv.AppendInt(append(b, '"'), int64(status), 10), '"')
	}
	b, _ = jsontext.AppendQuote(append(b, `,"description":`...), description)
	b = s.Now().UTC().AppendFormat(append(b, `,"response_time":"`...), responseTime)
	b = append(b, '"')
	if id != "" {
		b = append(append(append(b, `,"request_id":"`...), id...), '"') // of validRequestID's characters
	}
	switch data := data.(type) {
	case nil:
	case client.Issued:
		b, _ = jsontext.AppendQuote(append(b, `,"data":{"encpryptedString":`...), data.Ticket)
		b = append(b, '}')
	case *client.Redemption:
		b = appendRedemption(append(b, `,"data":`...), data)
	default:
		_, _ = to.Write(append(b, `,"data":`...))
		e := json.NewEncoder(to)
		e.SetEscapeHTML(false)
		_ = e.Encode(data)        // without an error, for the types of package client
		to.Truncate(to.Len() - 1) // its newline
		b = to.AvailableBuffer()
	}
	_, _ = to.Write(append(b, "}\n"...))
}

// refusal is an answer other than success.
type refusal struct {
	status      int
	description string
	fields      []client.FieldError
	data        any           // of the answer, if there are no fields
	reason      string        // for operators
	retry       time.Duration // with 429 and 503: when to try again
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
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", seconds(denied.retry))
	}
	data := denied.data
	if len(denied.fields) > 0 {
		data = client.Error{Fields: denied.fields}
	}
	s.reply(w, denied.status, denied.description, data)
}

// seconds returns a time for a header: whole seconds, rounded up, at least one.
func seconds(d time.Duration) string { return string(appendSeconds(nil, d)) }

func appendSeconds(b []byte, d time.Duration) []byte {
	return strconv.AppendInt(b, max(1, int64(math.Ceil(d.Seconds()))), 10)
}
