package verify

import (
	"context"
	"log/slog"

	"github.com/admitone/admitone/token"
)

// Log writes the outcome of a Redeem to log, as one event of the audit trail: "ticket
// redeemed" with the ticket t, or "ticket refused" or "ticket not decided" with the error.
// All events of a ticket have the ticket's ID, and no event has the ticket or its details
// of the person. The caller's own attributes, in more, come last.
func (v *Verifier) Log(ctx context.Context, log *slog.Logger, t token.Ticket, err error, more ...slog.Attr) {
	if err == nil {
		age := v.c.Now().Sub(t.IssuedAt)
		attrs := append(Identity(&t), slog.Bool("one_time", t.OneTime), slog.Int64("age_ms", age.Milliseconds()))
		log.LogAttrs(ctx, slog.LevelInfo, "ticket redeemed", append(attrs, more...)...)
		return
	}
	e := AsError(err)
	attrs := []slog.Attr{slog.String("reason", string(e.Reason))}
	if e.Refused != nil {
		attrs = append(attrs, Identity(e.Refused)...)
	}
	if e.Cause != nil {
		attrs = append(attrs, slog.String("cause", e.Cause.Error()))
	}
	if !e.FirstUsed.IsZero() {
		attrs = append(attrs, slog.Time("first_used", e.FirstUsed))
	}
	attrs = append(attrs, more...)
	switch {
	case e.Reason == IssuerOverRate:
		log.LogAttrs(ctx, slog.LevelWarn, "ticket not decided", attrs...)
	case e.Reason.CannotTell():
		log.LogAttrs(ctx, slog.LevelError, "ticket not decided", attrs...)
	default:
		log.LogAttrs(ctx, slog.LevelWarn, "ticket refused", attrs...)
	}
}

// Identity returns the attributes of a ticket in all events of the audit trail. They
// contain neither the ticket nor its details of the person. The attribute issuer is there for
// named issuers, and signing_key for tickets of format 2. The actor is the issuer's word.
func Identity(t *token.Ticket) []slog.Attr {
	attrs := append(make([]slog.Attr, 0, 12), // with room for what events add
		slog.String("ticket", t.ID.String()), slog.String("key", t.KeyID.String()), slog.String("brand", t.Brand),
		slog.String("audience", t.Audience.String()), slog.String("actor", t.Actor))
	if t.Issuer != "" {
		attrs = append(attrs, slog.String("issuer", t.Issuer))
	}
	if t.SigningKey != 0 {
		attrs = append(attrs, slog.String("signing_key", t.SigningKey.String()))
	}
	return attrs
}
