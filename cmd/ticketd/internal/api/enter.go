package api

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"

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
		MayLog: s.mayLogRefusal, RefusalTime: s.RefusalTime,
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
	if s.checkAgents, err = web.NewCheck(s.Sessions, token.Agent, s.Headers); err != nil {
		return err
	}
	s.checkCustomers, err = web.NewCheck(s.Sessions, token.Customer, s.Headers)
	return err
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
	e = entryOf(at.settings)
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
	} else if session, ok := s.Sessions.Current(nil, r, token.Customer); ok {
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
	e = entryOf(at.settings)
	c, err := s.customerFor(r, t, e.Confirm)
	if err != nil {
		return web.Entry{}, err
	}
	if c.ID != 0 {
		describeCustomer(&e.Session, c.Customer)
	}
	e.Then = func(ctx context.Context, session *web.Session) error {
		describeCustomer(session, s.updateCustomer(ctx, t, c))
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
	on := directory.Redemption{Ticket: t.ID.String(), Expires: t.Expires()}
	f.Customer, err = s.Directory.KnownCustomer(r.Context(), t.Brand, customerOf(t), on)
	if err != nil && !errors.Is(err, directory.ErrNotFound) {
		return f, refusedOrNotAsked(err)
	}
	return f, nil
}

// entryOf returns how the settings let somebody enter.
func entryOf(set directory.Effective) web.Entry {
	e := web.Entry{Confirm: set.Confirm, Page: pageOf(set)}
	switch set.OtherUser {
	case directory.Confirm:
		e.Switch = web.ConfirmUser
	case directory.Refuse:
		e.Switch = web.RefuseUser
	}
	return e
}

// describeAgent fills in what a session tells of an agent.
func describeAgent(s *web.Session, a directory.Agent) {
	s.User, s.Record, s.Email, s.Groups = a.Username, a.RecordID, a.Email, a.Groups
	s.Name = fullName(a.FirstName, a.LastName, a.Username)
}

// describeCustomer fills in what a session tells of a customer.
func describeCustomer(s *web.Session, c directory.Customer) {
	s.User, s.Record, s.Email = strconv.FormatInt(c.ID, 10), c.RecordID, c.Email
	s.Name = fullName(c.FirstName, c.LastName, cmp.Or(c.Email, c.Phone1, c.UniqueID))
}

// fullName returns a person's name for people to read.
func fullName(first, last, otherwise string) string {
	if name := strings.TrimSpace(first + " " + last); name != "" {
		return name
	}
	return otherwise
}
