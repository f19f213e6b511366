package api

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
	"github.com/admitone/admitone/verify/web"
)

// makeEntries makes the handlers of the pages where people enter, and of the proxies'
// checks. Package web spends tickets and shows pages. This package decides who may enter,
// and with which settings.
func (s *server) makeEntries() (err error) {
	c := web.Config{
		Verifier: s.Verifier, Sessions: s.Sessions, NamelessTicket: s.NamelessTicket, Log: s.Log, Decided: s.countRedemption,
		Texts: s.Looks.Texts, MayLog: s.mayLogRefusal, RefusalTime: s.RefusalTime, SwitchOf: s.switchOf,
	}
	// The path of the sign-out is relative, so that a proxy in front may take off a part of
	// the path.
	c.Use, c.Admit, c.Page, c.Home, c.Logout = useAgent, s.admitAgent, s.pageAgent, s.AgentHome, "logout"
	if s.agents, err = web.New(c); err != nil {
		return err
	}
	c.Use, c.Admit, c.Page, c.Home, c.Logout = s.useCustomer, s.admitCustomer, s.pageCustomer, "", "../logout"
	if s.customers, err = web.New(c); err != nil {
		return err
	}
	return s.makeChecks()
}

// makeChecks makes the handlers of the proxies' checks. The brand is a part of the path
// before the part that a proxy may leave to its client. At a path without a brand nobody
// passes, or with AnyBrandCheck everybody who is signed in.
func (s *server) makeChecks() (err error) {
	c := web.CheckConfig{
		Sessions: s.Sessions, Headers: s.Headers,
		BrandOf: func(r *http.Request) string { return r.PathValue("brand") },
		EntryOf: entryOfCheck,
	}
	checks := map[token.Audience]*check{token.Agent: &s.checkAgents, token.Customer: &s.checkCustomers}
	for audience, check := range checks {
		c.Audience = audience
		if check.ofBrand, err = web.NewCheck(c); err != nil {
			return err
		}
		any := c
		if s.AnyBrandCheck {
			any.BrandOf, any.AnyBrand = nil, true
		} else {
			any.EntryOf = nil // an entry would help nobody
		}
		if check.bare, err = web.NewCheck(any); err != nil {
			return err
		}
		if !s.AnyBrandCheck {
			check.bare = s.warned(check.bare)
		}
	}
	return nil
}

// entryOfCheck returns the page where nobody is sent from a check: the parameter entry of
// the check's own path. Behind a path, a query may be the proxy's client's.
func entryOfCheck(r *http.Request) string {
	if r.PathValue("path") != "" || strings.HasSuffix(r.URL.Path, "/") {
		return ""
	}
	return r.URL.Query().Get("entry")
}

// check is the check of an audience: at the path with a brand, and at the path without.
type check struct{ ofBrand, bare http.Handler }

// warned notes the first request to the check of any brand, while the check is off.
func (s *server) warned(h http.Handler) http.Handler {
	var once sync.Once
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		once.Do(func() {
			s.Log.Warn("a check without a brand lets nobody pass; let the proxy ask /auth/brand/BRAND/check, "+
				"or allow the check of any brand", "route", pattern(r), "remote", remote(r))
		})
		h.ServeHTTP(w, r)
	})
}

func useAgent(*http.Request, *token.Ticket) verify.Use { return verify.Use{Audience: token.Agent} }

func (s *server) admitAgent(r *http.Request, t token.Ticket, _ verify.Use) (e web.Entry, err error) {
	at, err := s.lookUpSite(r.Context(), t.Brand, "")
	if err != nil {
		return e, err
	}
	a, err := s.admit(r.Context(), t, at, clientOf(r))
	if err != nil {
		return e, err
	}
	e = entryOf(&at.Settings, s.agentsPage(&at.Settings))
	describeAgent(&e.Session, a)
	return e, nil
}

// useCustomer finds the channel for which the code in the URL stands in the ticket's
// brand. Without a ticket, the channel is that of the session if the code stands for it,
// and otherwise none.
func (s *server) useCustomer(r *http.Request, t *token.Ticket) verify.Use {
	use := verify.Use{Audience: token.Customer}
	code := r.PathValue("code")
	if t != nil {
		use.Channel = s.channelOf(t.Brand, code)
	} else if session, err := s.Sessions.Current(nil, r, token.Customer); err == nil {
		if id := s.channelOf(session.Brand, code); id == session.Channel {
			use.Channel = id
		}
	}
	return use
}

func (s *server) admitCustomer(r *http.Request, t token.Ticket, use verify.Use) (e web.Entry, err error) {
	if use.Channel == "" {
		return e, &verify.Error{Reason: verify.WrongChannel}
	}
	at, err := s.lookUpSite(r.Context(), t.Brand, use.Channel)
	if err != nil {
		return e, err
	}
	if _, err := s.admit(r.Context(), t, at, clientOf(r)); err != nil {
		return e, err
	}
	e = entryOf(&at.Settings, s.customersPage(&at.Settings))
	c, err := s.customerFor(r, t, e.Confirm)
	if err != nil {
		return web.Entry{}, err
	}
	if c.ID != 0 {
		describeCustomer(&e.Session, c.Customer, at.Channel.RecordID)
	}
	e.Then = func(ctx context.Context, session *web.Session) error {
		describeCustomer(session, s.updateCustomer(ctx, t, c), at.Channel.RecordID)
		return nil
	}
	return e, nil
}

// customerFor finds or makes the record of a customer who enters. Opening the confirm
// page, as mail scanners do, makes no record: the Customer is then zero.
func (s *server) customerFor(r *http.Request, t token.Ticket, confirm bool) (f found, err error) {
	if !confirm || r.Method == http.MethodPost {
		return s.findCustomer(r.Context(), t)
	}
	on := directoryRedemption(&t)
	f.Customer, err = s.Directory.KnownCustomer(r.Context(), t.Brand, customerOf(t), on)
	if err != nil && !errors.Is(err, directory.ErrNotFound) {
		return f, refusedOrNotAsked(err)
	}
	return f, nil
}

// entryOf returns how the settings let somebody enter, on a page.
func entryOf(set *directory.Effective, p web.Page) web.Entry {
	return web.Entry{Confirm: set.Confirm, Page: p, Switch: switchIn(set.OtherUser)}
}

// switchIn returns a policy on another user's session.
func switchIn(otherUser string) web.Switch {
	switch otherUser {
	case directory.Confirm:
		return web.ConfirmUser
	case directory.Refuse:
		return web.RefuseUser
	}
	return web.ReplaceUser
}

// switchOf returns the policy that protects a session: that of its channel or brand. If
// the channel is gone, the brand's own policy holds. An unknown session, the zero Session,
// may be any brand's or channel's.
func (s *server) switchOf(ctx context.Context, session web.Session) (web.Switch, error) {
	if session.Brand == "" {
		policy, err := s.Directory.StrictestOtherUser(ctx)
		return switchIn(policy), err
	}
	at, err := s.lookUpSite(ctx, session.Brand, session.Channel)
	if err != nil {
		return web.RefuseUser, err
	}
	return switchIn(at.Settings.OtherUser), nil
}

// describeAgent fills in what a session tells of an agent.
func describeAgent(s *web.Session, a directory.Agent) {
	s.User, s.Record, s.Email, s.Groups = a.Username, a.RecordID, a.Email, a.Groups
	s.Name = fullName(a.FirstName, a.LastName, a.Username)
}

// describeCustomer fills in what a session tells of a customer. The session belongs to the
// customer's record, and to the channel's.
func describeCustomer(s *web.Session, c directory.Customer, channelRecord string) {
	s.User, s.Record, s.Email = strconv.FormatInt(c.ID, 10), c.RecordID+"."+channelRecord, c.Email
	s.Name = fullName(c.FirstName, c.LastName, cmp.Or(c.Email, c.Phone1, c.UniqueID))
}

// fullName returns a person's name for people to read.
func fullName(first, last, otherwise string) string {
	if name := strings.TrimSpace(first + " " + last); name != "" {
		return name
	}
	return otherwise
}
