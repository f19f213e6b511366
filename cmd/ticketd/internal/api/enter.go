package api

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/metrics"
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
	var h holder
	use := verify.Use{Audience: token.Agent, Check: func(t token.Ticket) (err error) {
		h, err = s.admit(r.Context(), t, "", clientOf(r))
		return err
	}}
	s.enter(w, r, ticket, use, func(t token.Ticket, session *web.Session) error {
		session.User, session.Email = h.agent.Username, h.agent.Email
		session.Name = fullName(h.agent.FirstName, h.agent.LastName, h.agent.Username)
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
		if channel == "" {
			return &verify.Error{Reason: verify.WrongChannel}
		}
		if _, err = s.admit(r.Context(), t, channel, clientOf(r)); err != nil {
			return err
		}
		c, err = s.findCustomer(r.Context(), t)
		return err
	}}
	s.enter(w, r, ticket, use, func(t token.Ticket, session *web.Session) error {
		c = s.updateCustomer(r.Context(), t, c)
		session.User, session.Channel, session.Email = strconv.FormatInt(c.ID, 10), channel, c.Email
		session.Name = fullName(c.FirstName, c.LastName, "a guest")
		return nil
	})
}

// limited bounds the body of a request whose form is about to be read.
func limited(w http.ResponseWriter, r *http.Request) *http.Request {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	return r
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
	s.logRedeemed(r, t)
	w.Header().Set("Location", web.WithoutTicket(r.URL))
	w.WriteHeader(http.StatusSeeOther)
}

// refuseEntry tells the browser whether to try again, and no more.
func (s *server) refuseEntry(w http.ResponseWriter, r *http.Request, err error) {
	if s.logRefusal(r, err).Reason.CannotTell() {
		s.showNotNow(w)
		return
	}
	s.showRefused(w)
}

// fullName returns a person's name for others to read.
func fullName(first, last, otherwise string) string {
	if name := strings.TrimSpace(first + " " + last); name != "" {
		return name
	}
	return otherwise
}
