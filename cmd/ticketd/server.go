package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// shutdownGrace is how long requests that were accepted may take to be answered
// after the service took its last; the API gives each 20 seconds.
const shutdownGrace = 25 * time.Second

// idleGrace is how long connections without a request are kept after the last was
// accepted: their clients may be about to send one.
const idleGrace = 500 * time.Millisecond

// front is what the listener's requests go to: the API, which settings may replace
// while it answers.
type front struct {
	api      atomic.Pointer[http.Handler]
	stopping atomic.Bool // /readyz says no
	last     atomic.Bool // each answer is the last on its connection
}

// ServeHTTP answers a request. A connection that is to be closed is closed with an
// answer, so that no client sends its next request into it meanwhile.
func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if f.last.Load() {
		w.Header().Set("Connection", "close")
	}
	if f.stopping.Load() && r.URL.Path == "/readyz" {
		w.Header().Set("Cache-Control", "no-store")
		http.Error(w, "not ready: stopping", http.StatusServiceUnavailable)
		return
	}
	(*f.api.Load()).ServeHTTP(w, r)
	drain(w, r)
}

// maxUnread is how much of a body that nobody wanted is read all the same: as much as
// net/http reads itself before the next request of a connection.
const maxUnread = 256 << 10

// drain reads what is left of a request's body where the client wants the connection
// closed, as HTTP/1.0 and proxies that speak it do. net/http leaves it unread, and the
// kernel then resets the connection, which takes the answer from a client that has not
// read it yet (RFC 9112, section 9.6). Beyond maxUnread, net/http waits for a moment.
// Who expects 100 Continue has sent nothing.
func drain(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor == 1 && r.Close && r.Header.Get("Expect") == "" {
		_, _ = io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, maxUnread))
	}
}

// newServer returns a server that no slow client can hold up for ever.
func (s *service) newServer(handler http.Handler) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}
}

// connections are those of a server, and whether there is a request on them, or a
// first one to come.
type connections struct {
	mu   sync.Mutex
	open map[net.Conn]bool
}

// note is the ConnState of the server.
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

// finish returns when no connection is open, or when the idle ones had their time
// and no other is open, or when ctx is done.
func (c *connections) finish(ctx context.Context) {
	idle := time.Now().Add(idleGrace)
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

// serve answers requests until ctx is done, for the drain delay those that still
// come, and then those on connections that were accepted.
func (s *service) serve(ctx context.Context) error {
	conns := connections{open: make(map[net.Conn]bool)}
	server := s.newServer(&s.front)
	server.ConnState = conns.note
	ended, failed := make(chan error, 1), make(chan error, 1)
	if s.certificate == nil {
		go func() { ended <- server.Serve(s.listener) }()
	} else {
		server.TLSConfig = &tls.Config{GetCertificate: s.certificate.get}
		go func() { ended <- server.ServeTLS(s.listener, "", "") }()
	}
	s.log.Info("listening", "address", s.listener.Addr().String(), "url", s.opts.publicURL, "replay", s.opts.replay.name())
	if s.scrapes != nil {
		scrapes := s.newServer(s.scrapeHandler())
		defer scrapes.Close() // a scrape is worth no waiting
		go func() { failed <- scrapes.Serve(s.scrapes) }()
		s.log.Info("serving metrics", "address", s.scrapes.Addr().String(), "path", metricsPath)
	}
	select {
	case err := <-ended:
		return err
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	s.log.Info("stopping", "drain_delay", s.opts.drainDelay)
	s.front.stopping.Store(true)
	select {
	case err := <-ended:
		return err
	case <-time.After(s.opts.drainDelay):
	}
	grace, cancel := context.WithTimeout(context.Background(), shutdownGrace)
	defer cancel()
	// Not Shutdown at once: from there on, net/http drops a request that it has read
	// and not begun with.
	if err := s.listener.Close(); err != nil {
		return err
	}
	<-ended // and so all that were accepted are noted
	s.front.last.Store(true)
	conns.finish(grace)
	if err := server.Shutdown(grace); err != nil {
		return fmt.Errorf("requests were still open after %v: %w", shutdownGrace, err)
	}
	s.log.Info("stopped")
	return nil
}
