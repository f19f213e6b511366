package verify

import (
	"errors"
	"time"

	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/token/signed"
)

// Reason tells why a ticket was not accepted: a stable word, the same in Go, JSON,
// logs and metrics.
type Reason string

// Not a ticket of ours.
const (
	Malformed          Reason = "malformed"
	UnsupportedVersion Reason = "unsupported_version"
	UnknownKey         Reason = "unknown_key"
	UnknownIssuer      Reason = "unknown_issuer"
	Forged             Reason = "forged"
)

// Genuine, but refused.
const (
	IssuerNotAllowed  Reason = "issuer_not_allowed"
	NotYetValid       Reason = "not_yet_valid"
	Expired           Reason = "expired"
	LifetimeTooLong   Reason = "lifetime_too_long"
	WrongBrand        Reason = "wrong_brand"
	WrongAudience     Reason = "wrong_audience"
	WrongChannel      Reason = "wrong_channel"
	RefusedByCaller   Reason = "refused_by_caller"
	AlreadyUsed       Reason = "already_used"
	PossiblyUsed      Reason = "possibly_used"
	IssuedBeforeStart Reason = "issued_before_start"
)

// Cannot tell now: the ticket may be good, and is not admitted.
const (
	IssuerOverRate   Reason = "issuer_over_rate"
	StoreUnavailable Reason = "store_unavailable"
	StoreFull        Reason = "store_full"
	ClockBehind      Reason = "clock_behind"
)

// explanations tell an operator the meaning of each reason and what to do.
var explanations = map[Reason]string{
	Malformed:          "this is not a ticket in canonical form; pass on the issuer's string unchanged",
	UnsupportedVersion: "this verifier does not know the ticket's format; update the verifier",
	UnknownKey: "the ticket was sealed with a key that is not in the keyring or is disabled; " +
		"check that issuer and verifier share a keyring",
	UnknownIssuer: "the ticket was signed with a key of no issuer here; " +
		"check that this service has the issuer's present public keys, or whether somebody made the ticket up",
	Forged: "the ticket does not open under its key, or its signature is not good; it was altered, made up, " +
		"or issued for another realm or another recipient",
	IssuerNotAllowed: "the issuer may not issue such a ticket; " +
		"let the issuer ask for less, or extend the issuer's grant",
	NotYetValid: "the ticket was issued in the future; " +
		"check the clocks of issuer and verifier, and the skew",
	Expired: "the ticket's lifetime is over; ask for a new one",
	LifetimeTooLong: "the ticket's lifetime exceeds this verifier's maximum; " +
		"shorten it, or raise the maximum",
	WrongBrand:      "the ticket is for a brand that this verifier does not serve",
	WrongAudience:   "the ticket is for another kind of login",
	WrongChannel:    "the ticket is bound to another channel",
	RefusedByCaller: "the service's own check refused the ticket",
	AlreadyUsed:     "the one-time ticket was redeemed before; ask for a new one",
	PossiblyUsed: "the one-time ticket may have been redeemed before, which cannot be ruled out; " +
		"ask for a new one",
	IssuedBeforeStart: "the one-time ticket was issued before the replay store's memory begins, " +
		"or less than the skew after that; ask for a new one",
	IssuerOverRate: "the issuer's tickets come faster than the issuer's grant allows; " +
		"try again later, or raise the grant's rate",
	StoreUnavailable: "the replay store, or what the service's own check depends on, could not be asked; " +
		"try again when it is back",
	StoreFull: "the replay store's memory is at its bound; raise the bound, or try again later",
	ClockBehind: "the clock has stepped back behind what the replay store has forgotten; " +
		"set it right, or try again later",
}

// CannotTell reports whether the reason is an outage on the verifier's side, or the rate of
// an issuer, rather than a refusal: the same ticket may be good later. All other reasons
// are final. Do not tell a stranger which of the final reasons applied.
func (r Reason) CannotTell() bool {
	return r == StoreUnavailable || r == StoreFull || r == ClockBehind || r == IssuerOverRate
}

// Error tells why a ticket was not accepted. Its text is for operators.
type Error struct {
	Reason    Reason
	FirstUsed time.Time     // with AlreadyUsed: the time of the redemption, if the store knows
	Refused   *token.Ticket // the contents of the refused ticket, for logs only; nil unless the ticket is genuine
	Cause     error         // from the caller, the store or the opening of the ticket; may be nil
}

// Error returns the reason with its meaning and the remedy, and never the ticket.
func (e *Error) Error() string {
	s := string(e.Reason) + ": " + explanations[e.Reason]
	if e.Cause != nil {
		s += " (" + e.Cause.Error() + ")"
	}
	return s
}

// Unwrap returns the Cause.
func (e *Error) Unwrap() error { return e.Cause }

// AsError returns the *Error in err. Any other error is no verdict on a ticket, and
// becomes the Cause of store_unavailable.
func AsError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Reason: StoreUnavailable, Cause: err}
}

func openReason(err error) Reason {
	switch {
	case errors.Is(err, token.ErrUnsupportedVersion):
		return UnsupportedVersion
	case errors.Is(err, token.ErrUnknownKey):
		return UnknownKey
	case errors.Is(err, signed.ErrUnknownIssuer):
		return UnknownIssuer
	case errors.Is(err, token.ErrForged):
		return Forged
	}
	return Malformed
}
