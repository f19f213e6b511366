package service

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
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
}

// ServeHTTP answers a request. A connection closes together with an answer, so no
// client sends its next request on a closing connection.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
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

// connections are the open connections of a server.
type connections struct {
	mu   sync.Mutex
	open map[net.Conn]bool // true with a request, or before the first
}

// note records the state of a connection, as http.Server.ConnState.
func (c *connections) note(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch state {
	case http.StateClosed, http.StateHijacked:
		delete(c.open, conn)
	default:
		c.open[conn] = state != http.StateIdle
	}
}

// count returns how many connections are open, and how many of them are busy.
func (c *connections) count() (open, busy int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range c.open {
		if b {
			busy++
		}
	}
	return len(c.open), busy
}

// finish returns when no connection is open, when the open ones have been idle for
// IdleGrace, or when ctx is done.
func (c *connections) finish(ctx context.Context) {
	idle := time.Now().Add(IdleGrace)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		open, busy := c.count()
		if open == 0 || busy == 0 && time.Now().After(idle) {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
