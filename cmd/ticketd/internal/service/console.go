package service

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/admitone/admitone/cmd/ticketd/internal/adminapi"
	"github.com/admitone/admitone/cmd/ticketd/internal/api"
	"github.com/admitone/admitone/cmd/ticketd/internal/console"
	"github.com/admitone/admitone/cmd/ticketd/internal/console/pages"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/manage"
	"github.com/admitone/admitone/cmd/ticketd/internal/state"
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
		Realm: s.config.State.Realm, URL: s.config.ConsoleURL, Home: pages.Root, Log: api.JoiningLog(s.log),
		Decided: func(r *http.Request, t token.Ticket, err error) { s.gate.Load().Decided(r, t, err) },
		MayLog:  func(r *http.Request) bool { return s.gate.Load().MayLog(r) },
	})
	return err
}

// mountConsole puts everything together that the console's listener serves: the entry, the
// pages and the administration by HTTP. The parts are the API's, with its live settings, and so
// are the log and the rule for clients' addresses.
func (s *Service) mountConsole(c api.Config) error {
	if s.doors == nil {
		return nil
	}
	office := &manage.Office{
		Directory: s.directory, Now: time.Now, Tickets: api.NewTickets(c), LoginURL: s.loginURL() + "/login",
		Issuer: s.config.IssuerName, CheckLanguage: s.looks.CheckLanguage,
		ChatURL: s.ChatURL, NoteUses: s.register.Write, Keyrings: s.keyrings.Report, Settings: s.shown(),
	}
	for _, check := range c.Checks {
		office.Health = append(office.Health, manage.Check(check))
	}
	page, err := console.SameOrigin(s.config.ConsoleURL, pages.New(pages.Config{
		Office: office, Caller: s.administrator, ServiceURL: s.config.PublicURL, Log: api.JoiningLog(s.log),
	}))
	if err != nil {
		return err
	}
	gate := api.NewGate(c)
	mux := http.NewServeMux()
	mux.Handle("/admin/", adminapi.New(office, gate, s.linkForKey))
	mux.Handle(console.EnterPath, s.console)
	mux.Handle(console.LogoutPath, s.console)
	mux.Handle(pages.Root, page)
	mux.Handle(pages.Root+"/", page)
	mux.Handle("GET /{$}", http.RedirectHandler(pages.Root, http.StatusSeeOther))
	h := gate.Guard(mux)
	s.gate.Store(gate)
	s.office.Store(&h)
	return nil
}

// linkForKey makes a link that lets an administrator into the console, for the holder of an
// API key.
func (s *Service) linkForKey(
	ctx context.Context, key directory.APIKey, by directory.Actor, username string,
) (adminapi.Link, error) {
	links := s.links
	links.Directory = s.directory.As(by)
	link, err := links.ForKey(ctx, key, username)
	if errors.Is(err, console.ErrNotActive) {
		err = &directory.FieldError{
			Field: "username", Reason: "is of an inactive administrator; make the record active first",
		}
	}
	if err != nil {
		return adminapi.Link{}, err
	}
	return adminapi.Link{URL: link.URL, TicketID: link.Ticket.ID.String(), Expires: link.Expires}, nil
}

// administrator returns the administrator whose session a request has, for the pages.
func (s *Service) administrator(r *http.Request) (c manage.Caller, v pages.Visit, err error) {
	visitor, err := s.console.Visitor(r)
	if err != nil {
		return c, v, err
	}
	return manage.Caller{
		Actor: api.Actor(r, directory.ActorAdministrator, visitor.Username),
		Role:  visitor.Role, Brands: visitor.Brands, AllBrands: visitor.AllBrands,
	}, pages.Visit{Name: cmp.Or(visitor.Name, visitor.Username), Age: visitor.Age, SignOut: console.LogoutPath}, nil
}

// shown returns the settings of the service that administrators may see.
func (s *Service) shown() []manage.Setting {
	c := &s.config
	return []manage.Setting{
		{Name: "audit-retention", Value: c.Retention.String()},
		{Name: "console-url", Value: c.ConsoleURL},
		{Name: "login-url", Value: s.loginURL()},
		{Name: "max-lifetime", Value: c.MaxLifetime.String()},
		{Name: "public-url", Value: c.PublicURL},
		{Name: "replay", Value: string(c.Replay.Kind())},
		{Name: "role", Value: string(cmp.Or(c.State.Role, state.Both))},
		{Name: "skew", Value: c.Skew.String()},
	}
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
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*s.office.Load()).ServeHTTP(w, r) })
	server := newServer(h, s.config.IdleTimeout, s.log)
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
