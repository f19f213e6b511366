package main

import (
	"fmt"
	"net"
	"net/http"
)

// Metrics, and the state of the keys, have a listener of their own or none: behind a
// proxy on this machine every stranger comes from the loopback interface, so nothing
// about a request on the main one tells that it may see them.
const metricsPath = "/metrics"

// listenForScrapes opens the listener of --metrics-listen, if that is given.
func (s *service) listenForScrapes() (err error) {
	if s.opts.metrics == "" {
		return nil
	}
	if s.scrapes, err = net.Listen("tcp", s.opts.metrics); err != nil {
		return fmt.Errorf("%w; choose another address with --metrics-listen", err)
	}
	s.closers = append(s.closers, s.scrapes)
	return nil
}

func (s *service) scrapeHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET "+metricsPath, s.metrics.Handler(s.log))
	mux.HandleFunc("GET /keyring", s.serveKeyrings)
	return mux
}
