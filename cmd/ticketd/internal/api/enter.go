package api

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/metrics"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
	"github.com/admitone/admitone/verify/web"
)

// makeDoors makes where people enter, and what proxies ask about who did. How a
// ticket is spent, and the pages, are package web's; here is who may enter, with
// which settings.
func (s *server) makeDoors() (err error) {
	door := web.Config{
		Verifier: s.Verifier, Sessions: s.Sessions, NamelessTicket: s.NamelessTicket, Log: s.Log,
		Decided: func(r *http.Request, t token.Ticket, err error) {
			traceTicket(r, &t)
			if e, ok := errors.AsType[*verify.Error](err); ok {
				traceTicket(r, e.Refused)
			}
			s.Metrics.Verified(metrics.Redeem, t, err, s.Now())
		},
	}
	// Where one signs out is relative, so that a proxy in front may take off a part of
	// the path.
	door.Use, door.Admit, door.Page, door.Home, door.Logout = s.useAgent, s.admitAgent, s.pageAgent, s.AgentHome, "logout"
	if s.agents, err = web.New(door); err != nil {
		return err
	}
	door.Use, door.Admit, door.Page, door.Home, door.Logout = s.useCustomer, s.admitCustomer, s.pageCustomer, "", "../logout"
	if s.customers, err = web.New(door); err != nil {
		return err
	}
	if s.checkAgents, err = web.NewCheck(s.Sessions, token.Agent, s.Headers); err != nil {
		return err
	}
	s.checkCustomers, err = web.NewCheck(s.Sessions, token.Customer, s.Headers)
	return err
}

func (s *server) login(w http.ResponseWriter, r *http.Request) { s.agents.ServeHTTP(w, withVisit(r)) }
func (s *server) chat(w http.ResponseWriter, r *http.Request) {
	s.customers.ServeHTTP(w, withVisit(r))
}

// The checks are for whatever path and method a proxy asks with. Which of them it
// is must not be the client's to choose: some proxies put its path behind theirs.
func (s *server) check(w http.ResponseWriter, r *http.Request) { s.checkAgents.ServeHTTP(w, r) }
func (s *server) checkCustomer(w http.ResponseWriter, r *http.Request) {
	s.checkCustomers.ServeHTTP(w, r)
}

func (s *server) logout(w http.ResponseWriter, r *http.Request) {
	s.Sessions.Logout("login").ServeHTTP(w, r)
}

// visit is what is found out about a request on the way from one question of
// package web to the next.
type visit struct {
	channel  string // of the code in the URL, in the ticket's brand; "": none
	settings directory.Effective
}

type visitKey struct{}

func withVisit(r *http.Request) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), visitKey{}, new(visit)))
}

func visitOf(r *http.Request) *visit { return r.Context().Value(visitKey{}).(*visit) }

func (s *server) useAgent(*http.Request, string) verify.Use { return verify.Use{Audience: token.Agent} }

func (s *server) admitAgent(r *http.Request, t token.Ticket) (web.Entry, error) {
	h, err := s.admit(r.Context(), t, "", clientOf(r))
	if err != nil {
		return web.Entry{}, err
	}
	visitOf(r).settings = h.settings
	e := entryOf(h.settings)
	a := h.agent
	e.Session = web.Session{User: a.Username, Name: fullName(a.FirstName, a.LastName, a.Username), Email: a.Email, Groups: a.Groups}
	return e, nil
}

// useCustomer has no channel where there is no ticket, nor a session of the
// channel that is asked for.
func (s *server) useCustomer(r *http.Request, ticket string) verify.Use {
	code := r.PathValue("code")
	channel := ""
	if ticket != "" {
		channel = s.channelOf(ticket, code)
	} else if session, ok := s.Sessions.Current(nil, r, token.Customer); ok {
		if id, err := s.Channels.ID(session.Brand, code); err == nil && id == session.Channel {
			channel = id
		}
	}
	visitOf(r).channel = channel
	return verify.Use{Audience: token.Customer, Channel: channel}
}

func (s *server) admitCustomer(r *http.Request, t token.Ticket) (web.Entry, error) {
	channel := visitOf(r).channel
	if channel == "" {
		return web.Entry{}, &verify.Error{Reason: verify.WrongChannel}
	}
	h, err := s.admit(r.Context(), t, channel, clientOf(r))
	if err != nil {
		return web.Entry{}, err
	}
	visitOf(r).settings = h.settings
	e := entryOf(h.settings)
	c, err := s.customerFor(r, t, e.Confirm)
	if err != nil {
		return web.Entry{}, err
	}
	fill := func(session *web.Session, c directory.Customer) {
		session.User, session.Email = strconv.FormatInt(c.ID, 10), c.Email
		session.Name = fullName(c.FirstName, c.LastName, cmp.Or(c.Email, c.Phone1, c.UniqueID))
	}
	if c.ID != 0 {
		fill(&e.Session, c)
	}
	e.Then = func(ctx context.Context, session *web.Session) error {
		fill(session, s.updateCustomer(ctx, t, c))
		return nil
	}
	return e, nil
}

// customerFor finds or makes the record of a customer who enters. Whoever merely
// opens a page that asks first, as mail scanners do, makes none: then it is the
// zero Customer.
func (s *server) customerFor(r *http.Request, t token.Ticket, confirm bool) (directory.Customer, error) {
	if !confirm || r.Method == http.MethodPost {
		return s.findCustomer(r.Context(), t)
	}
	c, err := s.Directory.KnownCustomer(r.Context(), t.Brand, customerOf(t), redemptionOf(t, false))
	if err != nil && !errors.Is(err, directory.ErrNotFound) {
		return c, &verify.Error{Reason: verify.StoreUnavailable, Cause: err}
	}
	return c, nil
}

// entryOf says how the settings let somebody enter.
func entryOf(set directory.Effective) web.Entry {
	e := web.Entry{Confirm: set.Confirm}
	switch set.OtherUser {
	case directory.Confirm:
		e.Switch = web.ConfirmUser
	case directory.Refuse:
		e.Switch = web.RefuseUser
	}
	return e
}

// fullName returns a person's name for others to read.
func fullName(first, last, otherwise string) string {
	if name := strings.TrimSpace(first + " " + last); name != "" {
		return name
	}
	return otherwise
}
