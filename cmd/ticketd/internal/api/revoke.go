package api

import (
	"cmp"
	"context"
	"errors"
	"net/http"

	"github.com/admitone/admitone/client"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
)

// parseRevocation reads the body of POST /auth/revoke. The error is about the body as a
// whole, the list about its fields.
func parseRevocation(raw []byte) (q client.RevokeRequest, id token.ID, _ []client.FieldError, err error) {
	b, err := readBody(raw, `{"brand":"…","ticketId":"…"} or {"ticket":"tkt1_…"}`)
	if err != nil {
		return q, id, nil, err
	}
	q.Ticket = unescaped(b.text("ticket", false))
	q.Brand, q.TicketID = b.text("brand", false), b.text("ticketId", false)
	q.Issuer = b.text("issuer", false)
	wrong := b.finish()
	add := func(name, reason string) {
		if !mentions(wrong, name) {
			wrong = append(wrong, client.FieldError{Field: name, Reason: reason})
		}
	}
	switch {
	case mentions(wrong, "data") || mentions(wrong, "ticket"):
	case q.Ticket != "" && q.Brand+q.TicketID+q.Issuer != "":
		add("ticket", "stands beside brand, ticketId or issuer; send the ticket alone, or the others")
	case q.Ticket != "":
	case q.Brand+q.TicketID == "":
		add("ticket", "is missing; send the ticket, or its brand and ticketId")
	default:
		if q.Brand == "" {
			add("brand", "is missing; name the business account of the ticket")
		}
		if id, err = directory.ParseTicketID(q.TicketID); err != nil {
			add("ticketId", "is not 32 hexadecimal digits; send the ID from the log, or from /auth/inspect")
		}
		if q.Issuer != "" && token.CheckIssuer("issuer", q.Issuer) != nil {
			add("issuer", "cannot be an issuer's name; send the name from the log, or from /auth/inspect")
		}
	}
	return q, id, wrong, nil
}

// errOpened ends an inspection as soon as the ticket is decoded.
var errOpened = errors.New("the ticket is opened")

// openTicket returns a genuine ticket, whether or not its time is over, and spends
// nothing. The error is a *verify.Error.
func (s *server) openTicket(ctx context.Context, text string) (t token.Ticket, err error) {
	_, err = s.Verifier.Inspect(ctx, text, verify.Use{Complete: func(opened token.Ticket, _ *verify.Use) error {
		t = opened
		return errOpened
	}})
	switch refused := verify.AsError(err); {
	case errors.Is(err, errOpened):
		return t, nil
	case refused.Refused != nil: // its issuer may not issue it
		return *refused.Refused, nil
	}
	return t, err
}

// revoke answers POST /auth/revoke. Whether a ticket with the ID exists is not known here.
func (s *server) revoke(w http.ResponseWriter, r *http.Request, c call) *refusal {
	q, id, wrong, err := parseRevocation(c.body)
	if err != nil {
		return badBody(err)
	}
	if len(wrong) > 0 {
		return badFields(wrong)
	}
	t := token.Ticket{Brand: q.Brand, ID: id, Issuer: cmp.Or(q.Issuer, s.IssuerName)}
	switch {
	case s.Part == IssuingPart && q.Ticket != "":
		return badField("ticket", "cannot be opened here, since tickets are encrypted to the login service; "+
			"send it to /auth/revoke of "+s.LoginURL+", or send brand and ticketId here")
	case s.Part == LoginPart && q.Ticket == "" && q.Issuer == "":
		return badField("issuer", "is missing, and all tickets here have the name of an issuer; "+
			"send the name from the log or from /auth/inspect, or the ticket itself")
	case q.Ticket != "":
		// A key learns nothing about a ticket of another brand: the answer is that to a
		// forgery.
		t, err = s.openTicket(r.Context(), q.Ticket)
		if err != nil || t.Audience == token.Administrator || !c.key.Allows(directory.ScopeIssue, t.Brand) {
			return badField("ticket", "is no ticket of the API key's brands; "+
				"send the whole text behind ta=, or brand and ticketId")
		}
	}
	// This check comes before the look-up: a key learns of no brand but its own.
	if !c.key.Allows(directory.ScopeIssue, t.Brand) {
		return unauthorized("the API key is not for this brand; use one of the brand's", "API key of another brand")
	}
	if q.Issuer != "" && q.Issuer != s.IssuerName {
		err := s.Directory.CheckIssuer(r.Context(), q.Issuer)
		if wrong, ok := errors.AsType[*directory.FieldError](err); ok {
			return badField(wrong.Field, wrong.Reason)
		}
		if err != nil {
			return undecided(err)
		}
	}
	at, err := s.Directory.Place(r.Context(), t.Brand, t.Channel)
	if err == nil {
		if !at.Settings.APIAddresses.Allow(clientOf(r)) {
			return addressRefused()
		}
		err = s.Directory.As(actorOf(r)).RevokeTicket(r.Context(), t.Brand, t.Issuer, t.ID)
	}
	switch {
	case errors.Is(err, directory.ErrNotFound):
		return notFound("there is no such brand; check its spelling", "no such brand")
	case err != nil:
		return undecided(err)
	}
	s.Metrics.Revoked()
	traceTicket(r, &t)
	attrs := []any{"ticket", t.ID.String(), "brand", t.Brand, "revoked_by", c.key.ID, "remote", remote(r)}
	if t.Issuer != "" {
		attrs = append(attrs, "issuer", t.Issuer)
	}
	s.Log.InfoContext(r.Context(), "ticket revoked", attrs...)
	s.reply(w, http.StatusOK, "Revoked", client.Revoked{TicketID: t.ID.String(), Issuer: t.Issuer})
	return nil
}
