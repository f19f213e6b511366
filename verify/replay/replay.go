package replay

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"time"
)

// Claim asks for one nonce, once. All but Binding comes from the
// authenticated content of a ticket and the verifier's own configuration.
type Claim struct {
	// Nonce is the ticket's authenticated ID, never the string the ticket
	// arrived as: one ticket may be spelt in several ways, its ID has one.
	Nonce [16]byte

	// NotBefore is issuedAt − the largest skew of any verifier that has used the
	// store: the earliest true moment at which the ticket can have been issued
	// if one of them took it. At or before the store's epoch, the claim is
	// refused as IssuedBeforeStart.
	NotBefore time.Time

	// Expires is issuedAt + lifetime. It belongs to the ticket, so it is
	// the same in every claim of a nonce, whatever verifier makes it.
	Expires time.Time

	// RetainUntil is the end of the claim: Expires + 3 × skew + 60 s, with the
	// largest skew of any verifier that uses the store, and not before Expires. At
	// or past RetainUntil, by the store's own clock, the claim is
	// refused as TooLate; until then a spent nonce is remembered.
	RetainUntil time.Time

	// Binding is the SHA-256 of what ties a retry to its first attempt.
	// Zero means that there is nothing, and so no grace.
	Binding [32]byte
}

// Check refuses a claim that no verifier in its senses makes. Every Store calls
// it first, and returns its error as it is.
func (c *Claim) Check() error {
	if c.RetainUntil.Before(c.Expires) {
		return errors.New("the claim's RetainUntil is before its Expires; set it to Expires + 3 × skew + 60 s")
	}
	return nil
}

// Status is a store's answer to a claim. The zero value is none of them:
// whoever meets it must treat the store as unavailable.
type Status uint8

// Only Admitted lets anybody in.
const (
	// Admitted: the nonce had never been claimed, and now it is.
	Admitted Status = iota + 1
	// AlreadyUsed: this nonce was claimed before, for certain.
	AlreadyUsed
	// PossiblyUsed: the nonce is one of those claimed before, or, rarely,
	// a filter mistakes it for one (see Stats.ErrorRate).
	PossiblyUsed
	// IssuedBeforeStart: the ticket may be older than the store's memory.
	IssuedBeforeStart
	// TooLate: the store's clock is at or past the claim's RetainUntil.
	TooLate
	// Full: there is no room to remember another nonce.
	Full
	// ClockBehind: the store has let go of the tickets that expire at this
	// time, so its clock stands behind what it once was.
	ClockBehind
)

var statusNames = [...]string{
	Admitted:          "admitted",
	AlreadyUsed:       "already_used",
	PossiblyUsed:      "possibly_used",
	IssuedBeforeStart: "issued_before_start",
	TooLate:           "too_late",
	Full:              "full",
	ClockBehind:       "clock_behind",
}

// String returns the status as a stable word for logs and metrics, such as
// "already_used".
func (s Status) String() string {
	if s == 0 || int(s) >= len(statusNames) {
		return fmt.Sprintf("status(%d)", uint8(s))
	}
	return statusNames[s]
}

// Answer is what a store says to a claim.
type Answer struct {
	Status Status

	// FirstUsed is when the nonce was admitted, by the store's clock. It is
	// set with AlreadyUsed and with a repeated Admitted, otherwise zero.
	FirstUsed time.Time

	// Repeated marks an Admitted that is a retry of an earlier one: same
	// nonce, same binding, within Grace. The caller must give it the same
	// outcome as the first, not another.
	Repeated bool
}

// Spent returns the answer to a claim whose nonce was admitted at first, with
// the given binding, when it is now: AlreadyUsed, or the same Admitted again to
// the same binding within Grace. All times are by the store's clock.
func (c *Claim) Spent(first time.Time, binding [32]byte, now time.Time) Answer {
	a := Answer{Status: AlreadyUsed, FirstUsed: first}
	bound := c.Binding != [32]byte{} && subtle.ConstantTimeCompare(binding[:], c.Binding[:]) == 1
	// A clock that stands before the first use opens no grace: it would
	// last for as long as the clock was set back.
	if bound && !now.Before(first) && now.Before(first.Add(Grace)) {
		a.Status, a.Repeated = Admitted, true
	}
	return a
}

// Grace is how long after its admission a nonce is admitted again to a claim
// with the same binding, for an answer that was lost on its way.
const Grace = 10 * time.Second

// ErrUnavailable is wrapped by the errors of a store that cannot tell now
// whether a nonce is spent. Nobody is admitted on it, and it is no evidence
// of a replay; the same claim may be tried again.
var ErrUnavailable = errors.New("the replay store is unavailable")

// Unavailable returns err as an error that wraps ErrUnavailable, and nil for nil.
func Unavailable(err error) error {
	if err == nil || errors.Is(err, ErrUnavailable) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// Store remembers the nonces of one-time tickets. All methods are safe for
// concurrent use. There is no method that forgets a nonce, and no store may
// have one: a nonce is forgotten by its RetainUntil and nothing else.
type Store interface {
	// Claim spends the nonce if it was never spent. Looking and spending
	// are one atomic step: of any number of claims of a nonce, wherever
	// they are made, one is Admitted (with retries of its own binding).
	// An error means that nobody may be admitted; one that wraps
	// ErrUnavailable says that the claim may be tried again, and any other
	// that the claim is invalid.
	Claim(ctx context.Context, c Claim) (Answer, error)

	// Peek answers as Claim would now, and changes nothing. Its answer is
	// a courtesy to those who look; only Claim decides.
	Peek(ctx context.Context, c Claim) (Answer, error)
}
