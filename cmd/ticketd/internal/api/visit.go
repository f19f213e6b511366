package api

import (
	"log/slog"
	"net/http"
	"net/netip"
)

// visit is the context of a request, and what the service knows of the request beside.
//
// The context ends after answerTime, whether or not the client waits. Its only value is the
// visit.
type visit struct {
	id     [1]string  // the request's ID, as the value of a header
	client netip.Addr // the zero Addr if the address is unknown
	remote string     // client as text, for logs
	key    string     // ID of the good API key of the request, or ""
	quiet  bool       // the request leaves no line in the access log
	noted  bool       // event is the request's first event, or is not wanted any more
	event  slog.Record

	answer answer
	Limited
}

type visitKey struct{}

// Value implements context.Context.
func (v *visit) Value(key any) any {
	if _, ok := key.(visitKey); ok {
		return v
	}
	return v.Limited.Value(key)
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
