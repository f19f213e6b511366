package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/admitone/admitone/cmd/ticketd/internal/metrics"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
)

// The audit trail has an event for each ticket that was issued, inspected, redeemed or
// refused. Events of one ticket have the same ID. No event has a ticket, or what a
// ticket says of a person. Redemptions are logged by verify.Verifier.Log.

func (s *server) logIssued(r *http.Request, t *token.Ticket) {
	traceTicket(r, t)
	if ctx := r.Context(); s.Log.Enabled(ctx, slog.LevelInfo) {
		// Not by a Logger, which looks for its caller on the stack.
		event := slog.NewRecord(time.Now(), slog.LevelInfo, "ticket issued", 0)
		event.AddAttrs(append(verify.Identity(t),
			slog.Bool("one_time", t.OneTime), slog.Int64("lifetime_ms", t.Lifetime.Milliseconds()),
			slog.String("remote", remote(r)))...)
		_ = s.Log.Handler().Handle(ctx, event) // there is nobody to tell
	}
}

// logInspected says who looked at a ticket: the answer tells the ticket's contents.
func (s *server) logInspected(r *http.Request, t token.Ticket, err error, by string) {
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
	_ = s.Log.Handler().Handle(ctx, v.event) // there is nobody to tell
}

// countRedemption counts the outcome of a redemption and names the ticket in the trace
// of the request.
func (s *server) countRedemption(r *http.Request, t token.Ticket, err error) {
	s.Metrics.Verified(metrics.Redeem, t, err, s.Now())
	if errors.Is(err, errRevoked) {
		s.Metrics.RefusedRevoked()
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
