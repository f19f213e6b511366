// Package verify decides whether a ticket admits.
//
// A Verifier checks in a fixed order, and the first check that fails decides:
//
//  1. shape: malformed, unsupported_version
//  2. opening: unknown_key, forged
//  3. decoding: malformed
//  4. times: not_yet_valid, expired, lifetime_too_long
//  5. purpose: wrong_audience, wrong_brand, wrong_channel
//  6. the caller's own check: refused_by_caller
//  7. for a one-time ticket, and last of all, one atomic claim in the replay
//     store: already_used, possibly_used, issued_before_start,
//     store_unavailable, store_full, clock_behind
//
// So a forged, expired or misdirected ticket spends nothing. After the claim
// the clock is read again: a request that sat too long is refused as expired.
//
// Redeem does all of it in one call. Inspect stops before the claim and spends
// nothing. There is no other step to remember.
//
// A ticket is in time iff issuedAt ≤ now + skew and now < issuedAt + lifetime +
// skew. A claim is kept until expiry + 3 × MaxSkew + 60 s, well past the last
// moment at which the ticket could be accepted by any verifier's clock.
package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify/replay"
)

// Skew is the tolerance to give where issuer and verifier are different
// machines.
const Skew = 10 * time.Second

// longestSkew keeps the times of a claim from overflowing, which would make a
// store forget it too soon.
const longestSkew = 24 * time.Hour

// retainSlack is how long, beyond expiry and three times the largest skew, a claim is
// kept: for a request that is slow between its check and its claim.
const retainSlack = 60 * time.Second

// Config says what a Verifier accepts. Opener, Store and one of Brands and
// AnyBrand are mandatory.
type Config struct {
	Opener      token.Opener     // opens tickets: a keyring.Ring, a token.Keyset, or any tink.AEAD
	Realm       string           // the deployment's name, as the issuer's
	Brands      []string         // the brands whose tickets are accepted: a few, since they are searched in order
	AnyBrand    bool             // accept every brand, for a service that looks brands up itself; then Brands must be empty
	Store       replay.Store     // remembers which one-time tickets were redeemed; see package replay
	MaxLifetime time.Duration    // a ticket with a longer lifetime is refused; 0 means token.MaxLifetime
	Skew        time.Duration    // tolerance between the clocks of issuer and verifier, at most a day: 0 where they are one process, else Skew
	Now         func() time.Time // the clock; nil means time.Now

	// MaxSkew is the largest Skew of all verifiers of this realm, of those that
	// were ended or changed within the longest lifetime of a ticket included.
	// For as long after it began or lost its memory, the store refuses one-time
	// tickets as issued_before_start; and a spent one is remembered for as long
	// as the laxest verifier may accept it. 0 means Skew, or the constant Skew if
	// that is larger; where Skew is 0 it means 0, for one process that has always
	// redeemed its own tickets only. Who raises Skew to more than a minute over
	// what all verifiers had raises MaxSkew of all of them first, and waits for
	// the longest lifetime.
	MaxSkew time.Duration
}

// Verifier checks tickets. It is safe for concurrent use.
type Verifier struct {
	c  Config
	ad []byte
}

// New returns a Verifier, or an error that says what in c is wrong.
func New(c Config) (*Verifier, error) {
	if err := token.CheckRealm("verify.Config.Realm", c.Realm); err != nil {
		return nil, err
	}
	ad, err := token.AssociatedData(c.Realm)
	if err != nil {
		return nil, err
	}
	v := &Verifier{c: c, ad: ad}
	if c.MaxLifetime == 0 {
		v.c.MaxLifetime = token.MaxLifetime
	}
	if c.MaxSkew == 0 && c.Skew > 0 {
		v.c.MaxSkew = max(c.Skew, Skew)
	}
	if c.Now == nil {
		v.c.Now = time.Now
	}
	switch {
	case c.Opener == nil:
		return nil, errors.New("verify: Config.Opener is nil; give a keyring.Ring, a token.Keyset or another tink.AEAD")
	case c.Store == nil:
		return nil, errors.New("verify: Config.Store is nil; give a replay store, such as memory.Open's")
	case c.MaxLifetime < 0 || c.Skew < 0:
		return nil, errors.New("verify: Config.MaxLifetime and Config.Skew must not be negative")
	case v.c.MaxSkew > longestSkew || c.Skew > longestSkew:
		return nil, fmt.Errorf("verify: Config.Skew and Config.MaxSkew must not exceed %v; set the clocks right instead", longestSkew)
	case v.c.MaxSkew < c.Skew:
		return nil, errors.New("verify: Config.MaxSkew is less than Skew; give the largest Skew of all verifiers, or 0")
	case c.AnyBrand && len(c.Brands) > 0:
		return nil, errors.New("verify: Config has both Brands and AnyBrand; choose one")
	case !c.AnyBrand && len(c.Brands) == 0:
		return nil, errors.New("verify: Config names no brand; list Brands, or set AnyBrand and check the brand yourself")
	}
	v.c.Brands = slices.Clone(c.Brands)
	return v, nil
}

// AnyAudience as Use.Audience accepts agents' and customers' tickets alike.
const AnyAudience token.Audience = 0xff

// Use is what a ticket is about to be used for.
type Use struct {
	// Audience is the kind of login. The zero Audience accepts no ticket.
	Audience token.Audience

	// Channel is the internal ID of the channel that is being entered, and
	// empty where it is none: then only tickets bound to no channel are good.
	Channel string

	// Check, if not nil, is the caller's own check of a ticket that is genuine,
	// in time and for this use. It runs before anything is spent. An error
	// refuses the ticket as refused_by_caller, and is wrapped; an error that is
	// or wraps an *Error keeps that one's reason, so that a check can say
	// wrong_channel, or store_unavailable when it could not look something up.
	Check func(token.Ticket) error

	// Binding ties a retry to its first attempt: the SHA-256 of a secret that
	// the client had before it sent the ticket, such as a cookie. Where an
	// answer is lost, the same ticket with the same Binding redeems again
	// within replay.Grace of the first time. Zero means none.
	Binding [32]byte
}

// Redeem spends a ticket and returns what it says. Of a one-time ticket at most
// one Redeem succeeds (with a Binding: at most one Binding's); what follows,
// such as starting a session, should be idempotent per ticket ID.
//
// The error is always an *Error.
func (v *Verifier) Redeem(ctx context.Context, ticket string, use Use) (t token.Ticket, err error) {
	if err := v.inspect(&t, ticket, &use); err != nil {
		return token.Ticket{}, err
	}
	if !t.OneTime {
		return t, nil
	}
	if err := verdict(v.c.Store.Claim(ctx, v.claim(&t, &use))); err != nil {
		return refuse(t, err)
	}
	if reason := v.timeFault(&t); reason != "" {
		return refuse(t, &Error{Reason: reason, Cause: errors.New("its time ran out while it was being claimed; it is spent")})
	}
	return t, nil
}

// Inspect returns what a ticket says if Redeem would accept it now, as far as
// that can be told without spending it: what the store has seen is
// already_used.
//
// The error is always an *Error.
func (v *Verifier) Inspect(ctx context.Context, ticket string, use Use) (t token.Ticket, err error) {
	if err := v.inspect(&t, ticket, &use); err != nil {
		return token.Ticket{}, err
	}
	if !t.OneTime {
		return t, nil
	}
	if err := verdict(v.c.Store.Peek(ctx, v.claim(&t, &use))); err != nil {
		return refuse(t, err)
	}
	return t, nil
}

// refuse returns e with the refused ticket. Its t is a copy, so that a good
// ticket stays off the heap.
func refuse(t token.Ticket, e *Error) (token.Ticket, error) {
	e.Refused = &t
	return token.Ticket{}, e
}

// inspect fills t and does all checks but the replay store's.
func (v *Verifier) inspect(t *token.Ticket, ticket string, use *Use) error {
	if err := token.Open(v.c.Opener, v.ad, ticket, t); err != nil {
		return &Error{Reason: openReason(err), Cause: err}
	}
	reason := v.timeFault(t)
	if reason == "" {
		reason = v.purposeFault(t, use)
	}
	if reason != "" {
		_, err := refuse(*t, &Error{Reason: reason})
		return err
	}
	if use.Check != nil {
		if cause := use.Check(*t); cause != nil {
			_, err := refuse(*t, callersError(cause))
			return err
		}
	}
	return nil
}

// callersError is what a caller's check comes to. Whatever that returned, it is a
// refusal: an *Error of its own gives the reason, if it has one.
func callersError(cause error) *Error {
	var own *Error
	if !errors.As(cause, &own) || own == nil || own.Reason == "" {
		return &Error{Reason: RefusedByCaller, Cause: cause}
	}
	if cause == error(own) {
		cause = own.Cause // its text repeats no reason
	}
	return &Error{Reason: own.Reason, Cause: cause}
}

// timeFault compares in whole milliseconds, as the ticket counts: the clock's
// and the skew's fractions are dropped, which never admits more.
func (v *Verifier) timeFault(t *token.Ticket) Reason {
	now, skew := v.c.Now().UnixMilli(), v.c.Skew.Milliseconds()
	issued := t.IssuedAt.UnixMilli()
	switch {
	case issued > now+skew:
		return NotYetValid
	case now >= issued+t.Lifetime.Milliseconds()+skew:
		return Expired
	case t.Lifetime > v.c.MaxLifetime:
		return LifetimeTooLong
	}
	return ""
}

func (v *Verifier) purposeFault(t *token.Ticket, use *Use) Reason {
	if t.Audience != use.Audience && use.Audience != AnyAudience {
		return WrongAudience
	}
	if !v.c.AnyBrand && !slices.Contains(v.c.Brands, t.Brand) {
		return WrongBrand
	}
	if t.Channel != "" && t.Channel != use.Channel {
		return WrongChannel
	}
	return ""
}

func (v *Verifier) claim(t *token.Ticket, use *Use) replay.Claim {
	expires := t.Expires()
	return replay.Claim{
		Nonce:       t.ID,
		NotBefore:   t.IssuedAt.Add(-v.c.MaxSkew),
		Expires:     expires,
		RetainUntil: expires.Add(3*v.c.MaxSkew + retainSlack),
		Binding:     use.Binding,
	}
}

// verdict turns a store's answer into an error, or nil where it admits. What is
// not an answer admits nobody.
func verdict(a replay.Answer, err error) *Error {
	if err != nil {
		return &Error{Reason: StoreUnavailable, Cause: err}
	}
	switch a.Status {
	case replay.Admitted:
		return nil
	case replay.AlreadyUsed:
		return &Error{Reason: AlreadyUsed, FirstUsed: a.FirstUsed}
	case replay.PossiblyUsed:
		return &Error{Reason: PossiblyUsed}
	case replay.IssuedBeforeStart:
		return &Error{Reason: IssuedBeforeStart}
	case replay.TooLate:
		return &Error{Reason: Expired}
	case replay.Full:
		return &Error{Reason: StoreFull}
	case replay.ClockBehind:
		return &Error{Reason: ClockBehind}
	}
	return &Error{Reason: StoreUnavailable, Cause: fmt.Errorf("the replay store answered with status %d, which is none", a.Status)}
}
