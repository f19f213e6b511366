package api

import (
	"errors"
	"net/http"

	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
)

// The audit trail: what was issued, redeemed and refused, joined by the ticket's
// ID. It never has a ticket, nor what a ticket says of a person.

func (s *server) logIssued(r *http.Request, t *token.Ticket) {
	traceTicket(r, t)
	s.Log.Info("ticket issued", "ticket", t.ID, "key", t.KeyID.String(), "brand", t.Brand, "audience", t.Audience,
		"one_time", t.OneTime, "lifetime", t.Lifetime, "actor", t.Actor, "remote", remote(r))
}

// logRedeemed says who asked for the ticket (actor), and in more who redeemed
// it where that was not the person's browser.
func (s *server) logRedeemed(r *http.Request, t token.Ticket, more ...any) {
	traceTicket(r, &t)
	s.Log.Info("ticket redeemed", append([]any{"ticket", t.ID, "key", t.KeyID.String(), "brand", t.Brand, "audience", t.Audience,
		"one_time", t.OneTime, "age", s.Now().Sub(t.IssuedAt), "actor", t.Actor, "remote", remote(r)}, more...)...)
}

// logInspected says who looked at a ticket: the answer tells what is in it. t is a
// good ticket, foreign one that is not for the caller's brands.
func (s *server) logInspected(r *http.Request, t, foreign *token.Ticket, err error, by string) {
	log, attrs := s.Log.Info, []any{"result", "acceptable"}
	if err != nil {
		e := asError(err)
		attrs = []any{"result", "refused", "reason", e.Reason}
		if e.Reason.CannotTell() {
			log, attrs[1] = s.Log.Error, "cannot_tell"
		}
		if cause := errors.Unwrap(e); cause != nil {
			attrs = append(attrs, "cause", cause.Error())
		}
		if t = e.Refused; t == nil {
			t = foreign
		}
	}
	if t != nil {
		attrs = append(attrs, "ticket", t.ID, "brand", t.Brand, "actor", t.Actor)
	}
	log("ticket inspected", append(attrs, "inspected_by", by, "remote", remote(r))...)
}

// logRefusal says why a ticket does not admit.
func (s *server) logRefusal(r *http.Request, err error, more ...any) *verify.Error {
	e := asError(err)
	attrs := []any{"reason", e.Reason, "remote", remote(r)}
	if t := e.Refused; t != nil {
		traceTicket(r, t)
		attrs = append(attrs, "ticket", t.ID, "key", t.KeyID.String(), "brand", t.Brand, "audience", t.Audience, "actor", t.Actor)
	}
	if cause := errors.Unwrap(e); cause != nil {
		attrs = append(attrs, "cause", cause.Error())
	}
	if !e.FirstUsed.IsZero() {
		attrs = append(attrs, "first_used", e.FirstUsed)
	}
	attrs = append(attrs, more...)
	if e.Reason.CannotTell() {
		s.Log.Error("ticket not decided", attrs...)
	} else {
		s.Log.Warn("ticket refused", attrs...)
	}
	return e
}
