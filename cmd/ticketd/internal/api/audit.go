package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/admitone/admitone/cmd/ticketd/internal/audit"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/metrics"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
)

// The audit trail has an event for each ticket that was issued, inspected, redeemed or
// refused. Events of one ticket have the same ID. No event has a ticket, or what a
// ticket says of a person. Redemptions are logged by verify.Verifier.Log.

func (s *server) logIssued(r *http.Request, t *token.Ticket) {
	traceTicket(r, t)
	s.record(r, directory.ActionIssueTicket, t, "")
	s.logIssuedFor(r.Context(), remote(r), t)
}

// logIssuedFor logs a ticket that was issued for a client's address.
func (s *server) logIssuedFor(ctx context.Context, remote string, t *token.Ticket) {
	if s.Log.Enabled(ctx, slog.LevelInfo) {
		// Not by a Logger, which looks for its caller on the stack.
		event := slog.NewRecord(time.Now(), slog.LevelInfo, "ticket issued", 0)
		event.AddAttrs(append(verify.Identity(t),
			slog.Bool("one_time", t.OneTime), slog.Int64("lifetime_ms", t.Lifetime.Milliseconds()),
			slog.String("remote", remote))...)
		_ = s.Log.Handler().Handle(ctx, event) // there is nobody to tell
	}
}

// logInspected says who looked at a ticket: the answer tells the ticket's contents.
func (s *server) logInspected(r *http.Request, t token.Ticket, err error, by string) {
	s.recordVerdict(r, directory.ActionInspectTicket, &t, err)
	level, attrs := slog.LevelInfo, []slog.Attr{slog.String("result", "acceptable")}
	if err == nil {
		attrs = append(attrs, verify.Identity(&t)...)
	} else {
		e := verify.AsError(err)
		result := "refused"
		if e.Reason.CannotTell() {
			level, result = slog.LevelError, "cannot_tell"
		}
		attrs = []slog.Attr{slog.String("result", result), slog.String("reason", string(e.Reason))}
		if e.Refused != nil {
			attrs = append(attrs, verify.Identity(e.Refused)...)
		}
		if e.Cause != nil {
			attrs = append(attrs, slog.String("cause", e.Cause.Error()))
		}
	}
	s.Log.LogAttrs(r.Context(), level, "ticket inspected",
		append(attrs, slog.String("inspected_by", by), slog.String("remote", remote(r)))...)
}

// joining is the handler of the service's log. A request and its first event are one line:
// the event is kept in the request's visit until the answer is known.
type joining struct{ slog.Handler }

// Handle implements slog.Handler.
func (h joining) Handle(ctx context.Context, event slog.Record) error {
	if v, ok := ctx.Value(visitKey{}).(*visit); ok && !v.noted {
		v.noted, v.event = true, event
		return nil
	} else if ok {
		event = event.Clone()
		event.AddAttrs(slog.String("request_id", v.id[0]))
	}
	return h.Handler.Handle(ctx, event)
}

// logVisit writes the line of an answered request: its first event, or "request".
func (s *server) logVisit(r *http.Request, v *visit, status int, took time.Duration) {
	ctx := r.Context()
	if !v.noted {
		if v.quiet || !s.Log.Enabled(ctx, slog.LevelInfo) {
			return
		}
		v.noted, v.event = true, slog.NewRecord(time.Now(), slog.LevelInfo, "request", 0)
		v.event.AddAttrs(slog.String("remote", v.remote))
	}
	v.event.AddAttrs(slog.String("method", method(r)), slog.String("route", pattern(r)), slog.Int("status", status),
		slog.Int64("duration_us", took.Microseconds()))
	// The handler adds the request's ID.
	_ = s.Log.Handler().Handle(ctx, v.event) // there is nobody to tell
}

// actorOf returns who sends a request: an API key, or the holder of a ticket.
func actorOf(r *http.Request) directory.Actor {
	if key := visitOf(r).key; key != "" {
		return Actor(r, directory.ActorKey, key)
	}
	return Actor(r, directory.ActorTicket, "")
}

// address returns the client's address for the audit trail, or "" if the address is unknown.
func (v *visit) address() string {
	if !v.client.IsValid() {
		return ""
	}
	return v.remote
}

// record takes an event of a ticket for the audit trail of the directory.
func (s *server) record(r *http.Request, action string, t *token.Ticket, reason string) {
	if s.Audit != nil {
		s.recordBy(actorOf(r), action, t, reason)
	}
}

// recordBy is record for an actor other than the sender of a request under /auth/.
func (s *server) recordBy(by directory.Actor, action string, t *token.Ticket, reason string) {
	e := audit.Event{
		At: s.Now(), ActorKind: by.Kind, Actor: by.Name, Remote: by.Remote, Action: action, Brand: t.Brand,
		Ticket: t.ID, Issuer: t.Issuer, Key: t.KeyID, Signing: t.SigningKey, Reason: reason,
	}
	if t.Audience == token.Agent || t.Audience == token.Administrator { // customers have no name that is not personal
		e.Kind, e.Name = t.Audience.String(), t.Username
	}
	s.Audit.Add(e)
}

// recordVerdict takes the event of a verified ticket: the action, or the refusal of a genuine
// ticket. A text that is no ticket of ours counts as a stranger's, unless an API key sent it.
func (s *server) recordVerdict(r *http.Request, action string, t *token.Ticket, err error) {
	if err == nil {
		s.record(r, action, t, "")
		return
	}
	e := verify.AsError(err)
	reason := string(e.Reason)
	if errors.Is(err, errRevoked) {
		reason = "revoked"
	}
	if denied, ok := errors.AsType[*verify.DeniedKeyError](err); ok {
		reason += ": a denied key of the issuer " + denied.Issuer
	}
	switch {
	case e.Refused != nil:
		s.record(r, directory.ActionRefuseTicket, e.Refused, reason)
	case visitOf(r).key != "":
		s.record(r, directory.ActionRefuseTicket, &token.Ticket{}, reason)
	default:
		s.recordStranger(r, reason)
	}
}

// recordDenied takes the event of a refused call: of a stranger, or of a good API key that may
// not do this.
func (s *server) recordDenied(r *http.Request, denied *refusal) {
	switch {
	case denied.status == http.StatusUnauthorized && visitOf(r).key != "":
		s.record(r, directory.ActionRefuseKey, &token.Ticket{}, denied.reason)
	case denied.status == http.StatusUnauthorized, denied.status == http.StatusTooManyRequests && visitOf(r).key == "":
		s.recordStranger(r, denied.reason)
	}
}

// recordStranger counts the refusal of a stranger. All addresses of an IPv6 network are one.
func (s *server) recordStranger(r *http.Request, reason string) {
	remote := ""
	if client := clientOf(r); client.IsValid() {
		remote = caller(client)
	}
	s.Audit.Stranger(remote, reason)
}

// countRedemption counts the outcome of a redemption, notes the use of its issuer, and names the ticket in the trace
// of the request.
func (s *server) countRedemption(r *http.Request, t token.Ticket, err error) {
	s.Metrics.Verified(metrics.Redeem, t, err, s.Now())
	action := directory.ActionEnter
	if visitOf(r).key != "" {
		action = directory.ActionRedeemTicket
	}
	s.recordVerdict(r, action, &t, err)
	if errors.Is(err, errRevoked) {
		s.Metrics.RefusedRevoked()
	}
	if err == nil {
		s.Issuers.Used(&t, s.Now())
	}
	traceTicket(r, &t)
	if err != nil {
		traceTicket(r, verify.AsError(err).Refused)
	}
}

// mayLogRefusal reports whether a page's refusal of a ticket gets its lines in the log.
func (s *server) mayLogRefusal(r *http.Request) bool {
	return s.floods.mayLog(r, ticketRefused, caller(clientOf(r)))
}
