package clienttest

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"time"

	"github.com/admitone/admitone/client"
)

// A Fault answers a request in place of the handler next, which answers as ticketd does. A test
// may have Faults of its own.
type Fault func(next http.Handler) http.Handler

// Next gives each of the next requests its Fault, in the order of the arguments, after those of
// earlier calls. A nil Fault is none: that request is answered as ever.
func (s *Service) Next(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next = append(s.next, faults...)
}

// Every gives a Fault to all requests for which Next has none. Nil ends this.
func (s *Service) Every(fault Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.every = fault
}

// LoseRequest breaks the connection before the service has read the request. Nothing is spent.
func LoseRequest(http.Handler) http.Handler {
	return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
}

// LoseAnswer does what the request asks for, and then breaks the connection. A one-time ticket
// is spent.
func LoseAnswer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	})
}

// Slow answers as ever, after a time. If the client gives up before, the request is lost as with
// LoseRequest.
func Slow(wait time.Duration) Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-time.After(wait):
				next.ServeHTTP(w, r)
			case <-r.Context().Done():
				panic(http.ErrAbortHandler)
			}
		})
	}
}

// Status answers with an HTTP status in the form of ticketd, and looks at no ticket: 401 for an
// API key that is not accepted, 429 for too many requests, 500 for a fault of the service. The
// header Retry-After has whole seconds, rounded up; 0 leaves it out.
func Status(status int, retryAfter time.Duration) Fault {
	return answering(&client.Error{
		Status: status, Description: http.StatusText(status), RetryAfter: retryAfter,
	})
}

// Verdict answers with a reason, as if the service had looked at a ticket: status 403, or 503 and
// Retry-After if the reason is that the service cannot tell now, or 429 for IssuerOverRate.
// Inspect answers a refusal with status 200. Nothing is spent.
func Verdict(reason client.Reason) Fault {
	return func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			e := verdict(reason)
			if e.Result == client.Refused && r.URL.Path == "/auth/inspect" {
				reply(w, http.StatusOK, e.Description, client.Inspection{Result: e.Result, Reason: reason})
				return
			}
			refuse(w, e)
		})
	}
}

func answering(e *client.Error) Fault {
	return func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { refuse(w, e) })
	}
}

// notNow is the Retry-After of a verdict that is none, as ticketd has it.
const notNow = 5 * time.Second

// verdict is the answer to a ticket that is not admitted for a reason.
func verdict(reason client.Reason) *client.Error {
	e := &client.Error{Status: http.StatusForbidden, Result: client.Refused, Reason: reason}
	switch reason {
	case client.IssuerOverRate:
		e.Status, e.Result, e.RetryAfter = http.StatusTooManyRequests, client.CannotTell, notNow
	case client.StoreUnavailable, client.StoreFull, client.ClockBehind:
		e.Status, e.Result, e.RetryAfter = http.StatusServiceUnavailable, client.CannotTell, notNow
	}
	if e.Description = "Refused: " + string(reason); e.Result == client.CannotTell {
		e.Description = "Cannot tell now: " + string(reason)
	}
	return e
}

// transport leads requests to a Service in this process.
type transport struct{ s *Service }

// RoundTrip answers a request, or returns an error if the connection is broken.
func (t transport) RoundTrip(r *http.Request) (answer *http.Response, err error) {
	defer func() {
		if p := recover(); p != nil {
			if p != http.ErrAbortHandler {
				panic(p)
			}
			if err = r.Context().Err(); err == nil {
				err = errors.New("the connection broke before the answer")
			}
		}
	}()
	got := r.Clone(r.Context())
	if got.Body == nil {
		got.Body = http.NoBody
	}
	defer got.Body.Close()
	got.RequestURI, got.RemoteAddr = got.URL.RequestURI(), "127.0.0.1:1"
	w := httptest.NewRecorder()
	t.s.ServeHTTP(w, got)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	answer = w.Result()
	answer.Request = r
	return answer, nil
}

func setRetryAfter(h http.Header, wait time.Duration) {
	if wait > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64((wait+time.Second-1)/time.Second), 10))
	}
}

// drain reads a body to its end, at most as much as ticketd reads.
func drain(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	return io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<10))
}
