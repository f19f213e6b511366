package api

import (
	"errors"
	"net/http"

	"github.com/admitone/admitone/cmd/ticketd/internal/metrics"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
)

// The audit trail has an event for each ticket that was issued, inspected, redeemed or
// refused. Events of one ticket have the same ID. No event has a ticket, or what a
// ticket says of a person. Redemptions are logged by verify.Verifier.Log.

func (s *server) logIssued(r *http.Request, t *token.Ticket) {
	traceTicket(r, t)
	s.Log.Info("ticket issued", append(verify.Identity(t),
		"one_time", t.OneTime, "lifetime_ms", t.Lifetime.Milliseconds(), "remote", remote(r))...)
}

// logInspected says who looked at a ticket: the answer tells the ticket's contents.
func (s *server) logInspected(r *http.Request, t token.Ticket, err error, by string) {
	log, attrs := s.Log.Info, []any{"result", "acceptable"}
	if err == nil {
		attrs = append(attrs, verify.Identity(&t)...)
	} else {
		e := verify.AsError(err)
		attrs = []any{"result", "refused", "reason", string(e.Reason)}
		if e.Reason.CannotTell() {
			log, attrs[1] = s.Log.Error, "cannot_tell"
		}
		if e.Refused != nil {
			attrs = append(attrs, verify.Identity(e.Refused)...)
		}
		if e.Cause != nil {
			attrs = append(attrs, "cause", e.Cause.Error())
		}
	}
	log("ticket inspected", append(attrs, "inspected_by", by, "remote", remote(r))...)
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
