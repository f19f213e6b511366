package service

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"time"
)

// ShutdownGrace is how long the requests that were accepted may take after the service
// stopped listening. The API gives each request 20 seconds.
const ShutdownGrace = 25 * time.Second

// Serve answers requests until ctx is done and the drain delay has passed. Then it
// stops listening, and answers the requests on connections already accepted. A request
// whose body does not arrive within BodyGrace is ended.
func (s *Service) Serve(ctx context.Context) error {
	collectLess()
	conns := newConnections()
	listener := &roomListener{Listener: s.listener, conns: conns, metrics: s.metrics, log: s.log}
	if limit, ok := descriptorLimit(); ok {
		listener.max = maxConnections(limit)
	}
	server := newServer(&s.handler, s.config.IdleTimeout, s.log)
	server.ConnState = conns.note
	ended, failed := make(chan error, 1), make(chan error, 2)
	if s.cert == nil {
		go func() { ended <- server.Serve(listener) }()
	} else {
		server.TLSConfig = &tls.Config{GetCertificate: s.cert.get}
		go func() { ended <- server.ServeTLS(listener, "", "") }()
	}
	s.log.Info("listening", "address", s.listener.Addr().String(),
		"url", s.config.PublicURL, "replay", s.config.Replay.Name())
	if s.scrapes != nil {
		scrapes := newServer(scrapeHandler(s.metrics, s.keyringReport, s.log), s.config.IdleTimeout, s.log)
		defer scrapes.Close() // a scrape need not be waited for
		go func() { failed <- scrapes.Serve(s.scrapes) }()
		s.log.Info("serving metrics", "address", s.scrapes.Addr().String(), "path", metricsPath)
	}
	if s.doors != nil {
		defer s.serveConsole(failed)()
	}
	go s.capped.keep(ctx)
	go s.expiring.keep(ctx)
	go s.epochs.keep(ctx)
	go s.watchBundles(ctx)
	select {
	case err := <-ended:
		return err
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	s.log.Info("stopping", "drain_delay_ms", s.config.DrainDelay.Milliseconds())
	s.handler.stopping.Store(true)
	select {
	case err := <-ended:
		return err
	case <-time.After(s.config.DrainDelay):
	}
	return s.stop(server, listener, ended)
}

// stop ends a server after the drain delay. The channel ended receives a value when the
// server accepts no more connections.
func (s *Service) stop(server *http.Server, listener *roomListener, ended <-chan error) error {
	grace, cancel := context.WithTimeout(context.Background(), ShutdownGrace)
	defer cancel()
	// Shutdown comes last: after the call, net/http drops a request already read and
	// not begun.
	if err := listener.Close(); err != nil {
		return err
	}
	<-ended // all accepted connections are noted
	s.handler.last.Store(true)
	listener.conns.finish(grace, &s.handler.bodies)
	if err := server.Shutdown(grace); err != nil {
		return fmt.Errorf("requests were still open after %v: %w", ShutdownGrace, err)
	}
	s.log.Info("stopped")
	return nil
}
