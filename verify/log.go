package verify

import (
	"log/slog"

	"github.com/admitone/admitone/token"
)

// Log writes the outcome of a Redeem to log, as one event of the audit trail: "ticket
// redeemed" with the ticket t, or "ticket refused" or "ticket not decided" with the error.
// All events of a ticket have the ticket's ID, and no event has the ticket or its details
// of the person. The caller's own attributes, in more, come last.
func (v *Verifier) Log(log *slog.Logger, t token.Ticket, err error, more ...any) {
	if err == nil {
		attrs := append(Identity(&t), "one_time", t.OneTime, "age_ms", v.c.Now().Sub(t.IssuedAt).Milliseconds())
		log.Info("ticket redeemed", append(attrs, more...)...)
		return
	}
	e := AsError(err)
	attrs := []any{"reason", string(e.Reason)}
	if e.Refused != nil {
		attrs = append(attrs, Identity(e.Refused)...)
	}
	if e.Cause != nil {
		attrs = append(attrs, "cause", e.Cause.Error())
	}
	if !e.FirstUsed.IsZero() {
		attrs = append(attrs, "first_used", e.FirstUsed)
	}
	attrs = append(attrs, more...)
	if e.Reason.CannotTell() {
		log.Error("ticket not decided", attrs...)
	} else {
		log.Warn("ticket refused", attrs...)
	}
}

// Identity returns the attributes of a ticket in all events of the audit trail. They
// contain neither the ticket nor its details of the person.
func Identity(t *token.Ticket) []any {
	return []any{
		"ticket", t.ID.String(), "key", t.KeyID.String(), "brand", t.Brand,
		"audience", t.Audience.String(), "actor", t.Actor,
	}
}
