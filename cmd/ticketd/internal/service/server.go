package service

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

// ShutdownGrace is how long the requests that were accepted may take after the service
// stopped listening. The API gives each request 20 seconds.
const ShutdownGrace = 25 * time.Second

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

// ServeHTTP answers a request. A connection is closed together with an answer, so that
// no client sends its next request on a connection that is about to close.
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

// newServer returns a server with time limits, so that no slow client can hold a
// connection for ever.
func newServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
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

// Serve answers requests until ctx is done and the drain delay has passed. Then it
// stops listening, and answers the requests on connections already accepted.
func (s *Service) Serve(ctx context.Context) error {
	conns := connections{open: make(map[net.Conn]bool)}
	server := newServer(&s.handler, s.log)
	server.ConnState = conns.note
	ended, failed := make(chan error, 1), make(chan error, 1)
	if s.cert == nil {
		go func() { ended <- server.Serve(s.listener) }()
	} else {
		server.TLSConfig = &tls.Config{GetCertificate: s.cert.get}
		go func() { ended <- server.ServeTLS(s.listener, "", "") }()
	}
	s.log.Info("listening", "address", s.listener.Addr().String(),
		"url", s.config.PublicURL, "replay", s.config.Replay.Name())
	if s.scrapes != nil {
		scrapes := newServer(scrapeHandler(s.metrics, s.keyrings, s.log), s.log)
		defer scrapes.Close() // a scrape need not be waited for
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
	s.log.Info("stopping", "drain_delay", s.config.DrainDelay)
	s.handler.stopping.Store(true)
	select {
	case err := <-ended:
		return err
	case <-time.After(s.config.DrainDelay):
	}
	return s.stop(server, &conns, ended)
}

// stop ends a server whose drain delay has passed. The server sends to ended when it
// has stopped accepting connections.
func (s *Service) stop(server *http.Server, conns *connections, ended <-chan error) error {
	grace, cancel := context.WithTimeout(context.Background(), ShutdownGrace)
	defer cancel()
	// Shutdown comes last: once it is called, net/http drops a request that was read
	// and not begun.
	if err := s.listener.Close(); err != nil {
		return err
	}
	<-ended // all accepted connections are noted
	s.handler.last.Store(true)
	conns.finish(grace)
	if err := server.Shutdown(grace); err != nil {
		return fmt.Errorf("requests were still open after %v: %w", ShutdownGrace, err)
	}
	s.log.Info("stopped")
	return nil
}
