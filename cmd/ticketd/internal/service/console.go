package service

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/admitone/admitone/cmd/ticketd/internal/audit"
	"github.com/admitone/admitone/cmd/ticketd/internal/console"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/metrics"
	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
)

// prepareConsole makes the console, if it has a listener.
func (s *Service) prepareConsole(issuer *token.Issuer, verifier *verify.Verifier) (err error) {
	if s.doors == nil {
		return nil
	}
	s.links = console.Links{Directory: s.directory, Issuer: issuer, URL: s.config.ConsoleURL}
	s.console, err = console.New(console.Config{
		Directory: s.directory, Verifier: verifier, Keys: s.keyrings.Rings[keyring.Session],
		Realm: s.config.State.Realm, URL: s.config.ConsoleURL, Log: s.log,
		Decided: s.recordEntry,
	})
	return err
}

// recordEntry counts the outcome of a ticket at the console, and takes its event for the audit
// trail.
func (s *Service) recordEntry(r *http.Request, t token.Ticket, err error) {
	now := time.Now()
	s.metrics.Verified(metrics.Redeem, t, err, now)
	remote, _, _ := net.SplitHostPort(r.RemoteAddr)
	e := audit.Event{At: now, ActorKind: directory.ActorTicket, Remote: remote, Action: directory.ActionEnter}
	if err != nil {
		refused := verify.AsError(err)
		e.Action, e.Reason = directory.ActionRefuseTicket, string(refused.Reason)
		if refused.Refused == nil {
			s.trail.Load().Stranger(remote, e.Reason)
			return
		}
		t = *refused.Refused
	}
	e.Brand, e.Ticket, e.Key = t.Brand, t.ID, t.KeyID
	if t.Audience != token.Customer { // a customer has no name that is not personal
		e.Kind, e.Name = t.Audience.String(), t.Username
	}
	s.trail.Load().Add(e)
}

// ConsoleLink makes a link that lets an administrator into the console, as
// console.Links.ForShell does. The URL is empty if there is no console.
func (s *Service) ConsoleLink(ctx context.Context, username, actor string) (console.Link, error) {
	if s.doors == nil {
		return console.Link{}, nil
	}
	return s.links.ForShell(ctx, username, actor)
}

// serveConsole serves the console until the returned function is called, which waits for the
// requests that were accepted. An error of the listener goes to failed.
func (s *Service) serveConsole(failed chan<- error) (stop func()) {
	server := newServer(s.console, s.config.IdleTimeout, s.log)
	go func() {
		if s.cert == nil {
			failed <- server.Serve(s.doors)
			return
		}
		server.TLSConfig = &tls.Config{GetCertificate: s.cert.get}
		failed <- server.ServeTLS(s.doors, "", "")
	}()
	s.log.Info("serving the console", "address", s.doors.Addr().String(), "url", s.config.ConsoleURL)
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), ShutdownGrace)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			s.log.Error("closing the console", "error", fmt.Errorf("requests were still open: %w", err))
		}
	}
}
