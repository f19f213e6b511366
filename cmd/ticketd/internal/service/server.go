package service

import (
	"io"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"
)

// IdleGrace is how long connections without a request are kept after the service
// stopped listening: their clients may be about to send one.
const IdleGrace = 500 * time.Millisecond

// handler passes requests to the API, which can be replaced meanwhile, and closes
// connections while the service stops.
type handler struct {
	api      atomic.Pointer[http.Handler]
	stopping atomic.Bool // /readyz reports that the service is not ready
	last     atomic.Bool // each answer is the last on its connection
	bodies   bodies
}

// ServeHTTP answers a request. A connection closes together with an answer, so no
// client sends its next request on a closing connection.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer h.bodies.watch(w, r).arrived()
	if h.last.Load() {
		w.Header().Set("Connection", "close")
	}
	if h.stopping.Load() && r.URL.Path == "/readyz" {
		w.Header().Set("Cache-Control", "no-store")
		http.Error(w, "not ready: stopping", http.StatusServiceUnavailable)
		return
	}
	(*h.api.Load()).ServeHTTP(w, r)
	drain(w, r)
}

// maxUnread is the most that is read of a body nobody wanted, in bytes. net/http reads
// as much itself before the next request on a connection.
const maxUnread = 256 << 10

// drain reads the rest of a request's body if the client wants the connection closed,
// as HTTP/1.0 and proxies that speak it do. net/http leaves the rest unread, and the
// kernel then resets the connection, so that a client loses an answer not read yet (RFC
// 9112, section 9.6). Beyond maxUnread, net/http waits for a moment. A client that
// expects 100 Continue has sent no body.
func drain(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor == 1 && r.Close && r.Header.Get("Expect") == "" {
		_, _ = io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, maxUnread))
	}
}

// IdleTimeout is how long a connection without a request is kept by default. It is longer
// than the 600 s of common load balancers: otherwise the service closes connections on
// which they are about to send.
const IdleTimeout = 11 * time.Minute

// newServer returns a server with time limits, so that no slow client can hold a
// connection for ever. The limit of idle connections is the caller's.
func newServer(h http.Handler, idle time.Duration, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       idle,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
}
