package api

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// visit is the context of a request, and what the service knows of the request beside.
//
// The context ends after answerTime, whether or not the client waits. Its only value is the
// visit. Most requests are answered from memory, so that nobody waits for the end: the timer
// is made when somebody asks.
type visit struct {
	client netip.Addr // the zero Addr if the address is unknown
	remote string     // client as text, for logs
	key    string     // ID of the good API key of the request, or ""
	quiet  bool       // the request leaves no line in the access log
	noted  bool       // event is the request's first event, or is not wanted any more
	event  slog.Record

	answer   answer
	deadline time.Time

	mu    sync.Mutex
	limit context.Context // ends at the deadline; nil until somebody asks
	stop  context.CancelFunc
	ended bool
}

type visitKey struct{}

// Deadline implements context.Context.
func (v *visit) Deadline() (time.Time, bool) { return v.deadline, true }

// Done implements context.Context.
func (v *visit) Done() <-chan struct{} { return v.limited().Done() }

// Err implements context.Context.
func (v *visit) Err() error { return v.limited().Err() }

// Value implements context.Context.
func (v *visit) Value(key any) any {
	if _, ok := key.(visitKey); ok {
		return v
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.limit == nil {
		return nil
	}
	return v.limit.Value(key) // by which package context finds the parent of a context
}

// limited returns the context with the timer.
func (v *visit) limited() context.Context {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.limit == nil {
		v.limit, v.stop = context.WithDeadline(context.Background(), v.deadline)
		if v.ended {
			v.stop()
		}
	}
	return v.limit
}

// end ends the context.
func (v *visit) end() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.ended = true
	if v.stop != nil {
		v.stop()
	}
}

// visitOf returns the visit that guard noted.
func visitOf(r *http.Request) *visit {
	if v, ok := r.Context().Value(visitKey{}).(*visit); ok {
		return v
	}
	return &visit{remote: unknownClient}
}

// clientOf returns the address of a request's client, or the zero Addr if the address is
// unknown.
func clientOf(r *http.Request) netip.Addr { return visitOf(r).client }

// remote is clientOf for logs.
func remote(r *http.Request) string { return visitOf(r).remote }

// answer notes the status of a response, for the log.
type answer struct {
	http.ResponseWriter
	status int
}

func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(b []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	return a.ResponseWriter.Write(b)
}

func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }
