package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/metrics"
	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
	"github.com/admitone/admitone/verify/web"
)

// login is where agents enter: with a ticket it redeems, starts the session and
// sends the browser to itself without the ticket; without one it says who is
// signed in.
func (s *server) login(w http.ResponseWriter, r *http.Request) {
	ticket, found := web.Ticket(limited(w, r))
	if !found {
		session, ok := s.Sessions.Current(w, r, token.Agent)
		s.showSession(w, session, ok)
		return
	}
	var agent directory.Agent
	use := verify.Use{Audience: token.Agent, Check: func(t token.Ticket) (err error) {
		agent, err = s.admitAgent(r.Context(), t)
		return err
	}}
	s.enter(w, r, ticket, use, func(t token.Ticket, session *web.Session) error {
		session.User, session.Email = agent.Username, agent.Email
		session.Name = fullName(agent.FirstName, agent.LastName, agent.Username)
		return nil
	})
}

// chat is where customers enter a channel, by the code that stands in its URL.
func (s *server) chat(w http.ResponseWriter, r *http.Request) {
	code := r.PathValue("code")
	ticket, found := web.Ticket(limited(w, r))
	if !found {
		session, ok := s.Sessions.Current(w, r, token.Customer)
		if ok {
			// A session of one channel says nothing in another.
			id, err := s.Channels.ID(session.Brand, code)
			ok = err == nil && id == session.Channel
		}
		s.showSession(w, session, ok)
		return
	}
	channel := s.channelOf(ticket, code)
	var c directory.Customer
	use := verify.Use{Audience: token.Customer, Channel: channel, Check: func(t token.Ticket) (err error) {
		c, err = s.admitCustomer(r.Context(), t, channel)
		return err
	}}
	s.enter(w, r, ticket, use, func(t token.Ticket, session *web.Session) error {
		if t.OverrideUserInfo {
			c = s.updateCustomer(r.Context(), t, c)
		}
		session.User, session.Channel, session.Email = strconv.FormatInt(c.ID, 10), channel, c.Email
		session.Name = fullName(c.FirstName, c.LastName, "a guest")
		return nil
	})
}

// updateCustomer gives a customer's record what the ticket says, once that is
// spent. The person is in by then, whether or not the record can be written and
// the browser still waits.
func (s *server) updateCustomer(ctx context.Context, t token.Ticket, c directory.Customer) directory.Customer {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	updated, _, err := s.Directory.ResolveCustomer(ctx, t.Brand, customerOf(t), redemptionOf(t, true))
	if err != nil {
		s.Log.Error("customer record not updated", "ticket", t.ID, "brand", t.Brand, "customer", c.ID, "error", err)
		return c
	}
	return updated
}

// customerOf returns what a ticket says of a customer.
func customerOf(t token.Ticket) directory.Customer {
	return directory.Customer{
		Email: t.Email, Phone1: t.Phone1, UniqueID: t.UniqueID, FirstName: t.FirstName, LastName: t.LastName, Remark: t.Remark,
	}
}

// redemptionOf returns on whose behalf a customer's record is found or made.
func redemptionOf(t token.Ticket, override bool) directory.Redemption {
	return directory.Redemption{Ticket: t.ID.String(), Expires: t.IssuedAt.Add(t.Lifetime), Override: override}
}

// limited bounds the body of a request whose form is about to be read.
func limited(w http.ResponseWriter, r *http.Request) *http.Request {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	return r
}

// channelOf returns the ID of the channel that a code stands for in the brand
// of a ticket, or "" where there is none. It decides nothing about the ticket.
func (s *server) channelOf(ticket, code string) string {
	var t token.Ticket
	if token.Open(s.Opener, s.ad, ticket, &t) != nil {
		return ""
	}
	id, err := s.Channels.ID(t.Brand, code)
	if err != nil {
		return ""
	}
	return id
}

// admitAgent is the service's own check of an agent's ticket: the brand and the
// agent still exist, and neither was switched off since.
func (s *server) admitAgent(ctx context.Context, t token.Ticket) (directory.Agent, error) {
	if err := s.admitSettings(ctx, t, ""); err != nil {
		return directory.Agent{}, err
	}
	agent, err := s.Directory.Agent(ctx, t.Brand, t.Username)
	if err != nil {
		return agent, lookup(err)
	}
	if !agent.Active {
		return agent, errors.New("the agent is inactive")
	}
	return agent, nil
}

// admitCustomer is the same for a customer's ticket and the channel that is
// entered, whose own settings take precedence over its brand's. It finds or makes
// the customer's record, so that nothing is spent where the directory fails.
func (s *server) admitCustomer(ctx context.Context, t token.Ticket, channel string) (directory.Customer, error) {
	var none directory.Customer
	if channel == "" {
		return none, &verify.Error{Reason: verify.WrongChannel}
	}
	if err := s.admitSettings(ctx, t, channel); err != nil {
		return none, err
	}
	customer, _, err := s.Directory.ResolveCustomer(ctx, t.Brand, customerOf(t), redemptionOf(t, false))
	if err != nil {
		return none, lookup(err)
	}
	return customer, nil
}

// admitSettings checks the settings that hold for the channel, or the brand.
func (s *server) admitSettings(ctx context.Context, t token.Ticket, channel string) error {
	set, err := s.Directory.Effective(ctx, t.Brand, channel)
	switch {
	case err != nil:
		return lookup(err)
	case !set.TicketLogin:
		return fmt.Errorf("ticket login is switched off for brand %q, channel %q", t.Brand, channel)
	case t.Lifetime > set.MaxLifetime:
		return &verify.Error{Reason: verify.LifetimeTooLong}
	}
	return nil
}

// lookup tells what the directory does not have, which refuses a ticket, from a
// directory that could not be asked, which is no verdict.
func lookup(err error) error {
	if errors.Is(err, directory.ErrNotFound) {
		return err
	}
	return &verify.Error{Reason: verify.StoreUnavailable, Cause: err}
}

// enter redeems a ticket for a use, has fill complete the session, and sends the
// browser on.
func (s *server) enter(w http.ResponseWriter, r *http.Request, ticket string, use verify.Use, fill func(token.Ticket, *web.Session) error) {
	if !web.MaySpend(r) {
		// Whoever looks ahead is told to come back, and spends nothing.
		s.showNotNow(w)
		return
	}
	t, err := s.Verifier.Redeem(r.Context(), ticket, use)
	s.Metrics.Verified(metrics.Redeem, t, err, s.Now())
	if err != nil {
		s.refuseEntry(w, r, err)
		return
	}
	session := web.Session{
		Audience: t.Audience, Brand: t.Brand, TicketID: t.ID, KeyID: t.KeyID,
		OneTime: t.OneTime, Actor: t.Actor, Issued: t.IssuedAt,
	}
	if err = fill(t, &session); err == nil {
		err = s.Sessions.Start(w, r, session)
	}
	if err != nil {
		s.Log.Error("entry failed after redemption", "ticket", t.ID, "brand", t.Brand, "error", err, "remote", remote(r))
		s.showFailed(w)
		return
	}
	s.Log.Info("ticket redeemed", "ticket", t.ID, "key", keyring.KeyID(t.KeyID).String(), "brand", t.Brand, "audience", t.Audience,
		"one_time", t.OneTime, "age", s.Now().Sub(t.IssuedAt), "api_key", t.Actor, "remote", remote(r))
	w.Header().Set("Location", web.WithoutTicket(r.URL))
	w.WriteHeader(http.StatusSeeOther)
}

// refuseEntry logs why a ticket does not admit, and tells the browser only
// whether to try again.
func (s *server) refuseEntry(w http.ResponseWriter, r *http.Request, err error) {
	var e *verify.Error
	if !errors.As(err, &e) {
		e = &verify.Error{Reason: verify.StoreUnavailable}
	}
	attrs := []any{"reason", e.Reason, "remote", remote(r)}
	if t := e.Refused; t != nil {
		attrs = append(attrs, "ticket", t.ID, "key", keyring.KeyID(t.KeyID).String(), "brand", t.Brand, "audience", t.Audience, "api_key", t.Actor)
	}
	if cause := errors.Unwrap(e); cause != nil {
		attrs = append(attrs, "cause", cause.Error())
	}
	if !e.FirstUsed.IsZero() {
		attrs = append(attrs, "first_used", e.FirstUsed)
	}
	if e.Reason.CannotTell() {
		s.Log.Error("ticket not decided", attrs...)
		s.showNotNow(w)
		return
	}
	s.Log.Warn("ticket refused", attrs...)
	s.showRefused(w)
}

// fullName returns a person's name for others to read.
func fullName(first, last, otherwise string) string {
	if name := strings.TrimSpace(first + " " + last); name != "" {
		return name
	}
	return otherwise
}
