package replay

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"time"
)

// Claim asks to spend a nonce. All fields but Binding come from the authenticated
// content of a ticket and the verifier's own configuration.
type Claim struct {
	// Nonce is the ticket's authenticated ID, scoped by the issuer (token.Ticket.Nonce), so
	// that no issuer spends another issuer's ticket. Never give the string of the ticket: a
	// ticket can be spelt in several ways, and has a single ID.
	Nonce [16]byte

	// Issued is issuedAt. Every claim of a nonce has the same Issued, from any verifier.
	Issued time.Time

	// NotBefore is issuedAt − the largest skew of any verifier on the store: the earliest true
	// moment of issue of an accepted ticket. At or before the store's epoch, the claim is
	// IssuedBeforeStart.
	NotBefore time.Time

	// Expires is issuedAt + lifetime. Every claim of a nonce has the same Expires, from any
	// verifier.
	Expires time.Time

	// RetainUntil is the end of the claim: Expires + 3 × skew + 60 s, with the
	// largest skew of any verifier on the store, and not before Expires. At or past
	// RetainUntil, by the store's own clock, the claim is TooLate. Until then a
	// spent nonce is remembered.
	RetainUntil time.Time

	// Binding is the SHA-256 of a value shared by a retry and the first attempt. Zero means no
	// binding, and so no grace.
	Binding [32]byte
}

// Check refuses a claim that only a bug can make. Every Store calls Check first, and
// returns the error unchanged.
func (c *Claim) Check() error {
	if c.RetainUntil.Before(c.Expires) {
		return errors.New("the claim's RetainUntil is before its Expires; set it to Expires + 3 × skew + 60 s")
	}
	if c.Issued.Before(c.NotBefore) {
		return errors.New("the claim's Issued is before its NotBefore; " +
			"set Issued to issuedAt, and NotBefore to issuedAt − skew")
	}
	return nil
}

// Status is a store's answer to a claim. The zero value is no answer; treat the store as
// unavailable.
type Status uint8

// Only Admitted lets anybody in.
const (
	// Admitted: the nonce had never been claimed, and now is.
	Admitted Status = iota + 1
	// AlreadyUsed: the nonce was certainly claimed before.
	AlreadyUsed
	// PossiblyUsed: the nonce was claimed before, or, rarely, a filter errs (see
	// Stats.ErrorRate).
	PossiblyUsed
	// IssuedBeforeStart: the ticket may be older than the store's memory.
	IssuedBeforeStart
	// TooLate: the store's clock is at or past the claim's RetainUntil.
	TooLate
	// Full: the store has no room for another nonce.
	Full
	// ClockBehind: the nonce may be among those of a dropped window, so the store's clock
	// stands behind an earlier reading. A ticket issued from now on is not ClockBehind.
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

// Answer is a store's answer to a claim, with the circumstances.
type Answer struct {
	Status Status

	// FirstUsed is the time of the nonce's admission, by the store's clock. The time is set
	// with AlreadyUsed and with a repeated Admitted, and otherwise zero.
	FirstUsed time.Time

	// Repeated marks an Admitted as the retry of an earlier claim: same nonce, same
	// binding, within Grace. The caller must give the retry the outcome of the
	// first claim, and no second outcome.
	Repeated bool
}

// Spent returns the answer to a claim of a nonce that was admitted before, at first
// and with the given binding: AlreadyUsed, or the same Admitted again to the same
// binding within Grace. now is the present. All times are by the store's clock.
func (c *Claim) Spent(first time.Time, binding [32]byte, now time.Time) Answer {
	a := Answer{Status: AlreadyUsed, FirstUsed: first}
	bound := c.Binding != [32]byte{} && subtle.ConstantTimeCompare(binding[:], c.Binding[:]) == 1
	// A clock before the first use opens no grace: the grace would last for as long
	// as the clock was set back.
	if bound && !now.Before(first) && now.Before(first.Add(Grace)) {
		a.Status, a.Repeated = Admitted, true
	}
	return a
}

// Grace is the time after the admission of a nonce in which a claim with the same binding
// is admitted again, in case the first answer was lost.
const Grace = 10 * time.Second

// ErrUnavailable is wrapped by a store's errors if the store cannot tell now whether a
// nonce is spent. Admit nobody. The error is no evidence of a replay, and the same claim
// may be tried again.
var ErrUnavailable = errors.New("the replay store is unavailable")

// Unavailable wraps err so that errors.Is finds ErrUnavailable. It returns nil for nil.
func Unavailable(err error) error {
	if err == nil || errors.Is(err, ErrUnavailable) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// Store remembers the nonces of one-time tickets. All methods are safe for concurrent use.
// No method forgets a nonce, and no store may have a method for this: a nonce is forgotten
// at the RetainUntil and never before.
//
// A Store may have the method Immediate() bool. The answer true says that a claim waits for
// nothing but a lock in memory. Then a verifier need not look, after a claim, whether the
// ticket has expired in the meantime.
type Store interface {
	// Claim spends the nonce if the nonce was never spent. Looking and spending are a single
	// atomic step: of any number of claims of a nonce, from anywhere, a single claim is
	// Admitted, with the retries of the same binding.
	//
	// On an error, admit nobody. After ErrUnavailable the claim may be tried again; with any
	// other error the claim is invalid.
	Claim(ctx context.Context, c Claim) (Answer, error)

	// Peek answers as Claim would now, and changes nothing. Use the answer for
	// display; only Claim decides.
	Peek(ctx context.Context, c Claim) (Answer, error)
}
