// Package verify decides whether a ticket admits its holder.
//
// A Verifier checks in a fixed order, and the first check that fails decides:
//
//  1. shape: malformed, unsupported_version
//  2. opening: unknown_key, forged; and for format 2, unknown_issuer between decrypting and
//     verifying
//  3. decoding: malformed
//  4. the grant of a named issuer (Config.Issuers): issuer_not_allowed
//  5. the caller's answer to "what is this ticket used for?" (Use.Complete), if the
//     answer depends on the ticket: refused_by_caller
//  6. times: not_yet_valid, expired, lifetime_too_long
//  7. purpose: wrong_audience, wrong_brand, wrong_channel
//  8. the caller's own check (Use.Check): refused_by_caller
//  9. for a one-time ticket, the rate of a named issuer: issuer_over_rate; and last of all,
//     one atomic claim in the replay store: already_used, possibly_used,
//     issued_before_start, store_unavailable, store_full, clock_behind
//
// So a forged, expired or misdirected ticket spends nothing. After the claim, the
// Verifier reads the clock again: a request that took too long is refused as expired.
// Nothing else refuses a ticket after the claim. The Verifier does not read the clock again
// if nothing can have taken time: there is no Use.Check, and the store is Immediate (see
// replay.Store), as that of package memory is.
//
// Redeem does all of this in one call and opens the ticket once. Inspect stops before
// the claim and spends nothing. Neither call needs another step before or after.
//
// A ticket is in time if issuedAt ≤ now + skew and now < issuedAt + lifetime +
// skew. The store keeps a claim until expiry + 3 × MaxSkew + 60 s. By then, no clock
// of any verifier accepts the ticket.
//
// Config.Opener has the keys of a deployment with one keyring: whoever has these keys may
// issue every ticket. Config.Issuers adds named issuers, each with keys of its own and a
// Grant that says which tickets it may issue. The key that opens a ticket decides whose the
// ticket is, and no field of the ticket does.
package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/admitone/admitone/internal/sealing"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/token/signed"
	"github.com/admitone/admitone/verify/replay"
)

// Skew is the tolerance to configure if issuer and verifier are different machines.
const Skew = 10 * time.Second

// longestSkew keeps the times of a claim from overflowing. An overflow would make a
// store forget the claim too soon.
const longestSkew = 24 * time.Hour

// retainSlack is the time for which the store keeps a claim beyond expiry and three times
// the largest skew. It covers a slow request between check and claim.
const retainSlack = 60 * time.Second

// Config says which tickets a Verifier accepts. Opener or Issuers, Store, and either Brands
// or AnyBrand are mandatory.
type Config struct {
	// Opener opens tickets: a keyring.Ring of kind ticket, a token.Keyset, or another
	// tink.AEAD whose keys have the TINK prefix. New tries the Opener, and refuses a primary
	// key without the prefix; see token.CheckKeys.
	Opener tink.AEAD

	// Issuers, if not nil, are named issuers with keys of their own, whose tickets are good
	// as far as their grants go. Opener may be nil then: only named issuers' tickets are good.
	Issuers Issuers

	// Unsealer opens the tickets of format 2 of those Issuers that have SigningKeys: a
	// keyring.Ring of kind recipient, or the answer of signed.NewOpeningKeys. With nil, format 2
	// is an unsupported version. If the Opener is nil and no issuer has Keys, nobody can make
	// tickets with what this service has.
	Unsealer signed.Unsealer

	Realm string       // the deployment's name; the issuer's must be the same
	Store replay.Store // remembers the redeemed one-time tickets; see package replay

	// Brands are the accepted brands. The Verifier searches them in order, so keep the list
	// short. A ticket without a brand, as an administrator may have, is refused.
	Brands []string

	// AnyBrand accepts the tickets of every brand, for a service with its own check of
	// brands. Brands must be empty then.
	AnyBrand bool

	MaxLifetime time.Duration // longest lifetime of a ticket; 0 means token.MaxLifetime

	// Skew is the tolerance between the clocks of issuer and verifier, at most a day:
	// 0 in one process, the constant Skew between machines.
	Skew time.Duration

	// MaxSkew is the largest Skew of all verifiers of this realm, including verifiers that
	// ended or changed within the longest lifetime of a ticket. For MaxSkew after the store
	// began or lost its memory, one-time tickets are refused as issued_before_start. The
	// store also remembers a spent ticket until no verifier can accept it.
	//
	// 0 means the larger of Skew and the constant Skew. If Skew is 0 too, MaxSkew is 0: one
	// process that has always redeemed only its own tickets.
	//
	// To raise Skew by more than a minute above the Skew of all verifiers, first raise the
	// MaxSkew of all of them and wait for the longest lifetime.
	MaxSkew time.Duration

	Now func() time.Time // the clock; nil means time.Now
}

// Verifier checks tickets. It is safe for concurrent use.
type Verifier struct {
	c         Config
	ad        []byte
	rates     rates
	immediate bool      // the Store is
	pool      sync.Pool // of *search
}

// New returns a Verifier. The error is a *token.ConfigError.
func New(c Config) (*Verifier, error) {
	if c.Opener != nil || c.Issuers == nil {
		if err := token.CheckKeys("verify.Config.Opener", c.Opener); err != nil {
			return nil, err
		}
	}
	if err := token.CheckRealm("verify.Config.Realm", c.Realm); err != nil {
		return nil, err
	}
	ad, err := token.AssociatedData(c.Realm)
	if err != nil {
		return nil, err
	}
	v := &Verifier{c: c, ad: ad}
	v.pool.New = func() any { return &search{v: v} }
	if c.MaxLifetime == 0 {
		v.c.MaxLifetime = token.MaxLifetime
	}
	if c.MaxSkew == 0 && c.Skew > 0 {
		v.c.MaxSkew = max(c.Skew, Skew)
	}
	if c.Now == nil {
		v.c.Now = time.Now
	}
	if field, reason := v.c.invalid(); field != "" {
		return nil, &token.ConfigError{Field: "verify.Config." + field, Reason: reason}
	}
	v.c.Brands = slices.Clone(c.Brands)
	if s, ok := c.Store.(interface{ Immediate() bool }); ok {
		v.immediate = s.Immediate()
	}
	return v, nil
}

// invalid returns a field of c that cannot work, and the reason, once the defaults are
// filled in.
func (c *Config) invalid() (field, reason string) {
	tooLong := fmt.Sprintf("exceeds %v; set the clocks right instead", longestSkew)
	switch {
	case c.Unsealer != nil && sealing.IsNil(c.Unsealer):
		return "Unsealer", "is a nil pointer; give a keyring.Ring of kind recipient, or leave it out"
	case c.Issuers != nil && sealing.IsNil(c.Issuers):
		return "Issuers", "is a nil pointer; give a trust.Ring or the answer of NewIssuers, or leave it out"
	case c.Unsealer != nil && c.Issuers == nil:
		return "Unsealer", "stands without Issuers, so nobody's tickets of format 2 would be good; " +
			"give Issuers with SigningKeys"
	case c.Opener != nil && sharesKey(c.Issuers, c.Opener):
		return "Issuers", "has an issuer with a key of the Opener, so the issuer's grant would bind nobody; " +
			"give each its own keys"
	case sealing.IsNil(c.Store):
		return "Store", "is nil; give a replay store, such as the store of memory.Open"
	case c.MaxLifetime < 0:
		return "MaxLifetime", "is negative; give a longer time, or 0 for token.MaxLifetime"
	case c.Skew < 0:
		return "Skew", "is negative; give 0 or more"
	case c.Skew > longestSkew:
		return "Skew", tooLong
	case c.MaxSkew > longestSkew:
		return "MaxSkew", tooLong
	case c.MaxSkew < c.Skew:
		return "MaxSkew", "is less than Skew; give the largest Skew of all verifiers, or 0"
	case c.AnyBrand && len(c.Brands) > 0:
		return "Brands", "stands beside AnyBrand; choose one of the two"
	case !c.AnyBrand && len(c.Brands) == 0:
		return "Brands", "is empty; list the brands, or set AnyBrand and check the brand yourself"
	}
	return "", ""
}

// AnyAudience as Use.Audience accepts the tickets of agents and of customers. It never
// accepts a ticket of an administrator: only a Use that names token.Administrator does.
const AnyAudience token.Audience = 0xff

// Use says for what purpose a ticket is redeemed or inspected.
type Use struct {
	// Audience is the kind of login. The zero Audience accepts no ticket.
	Audience token.Audience

	// Channel is the internal ID of the channel that the holder enters, or empty for
	// no channel. With an empty Channel, a ticket bound to a channel is refused.
	Channel string

	// Complete, if not nil, completes u, a copy of this Use, if the use depends on the
	// ticket: for example, a code stands for a channel of the ticket's brand. The ticket t
	// is genuine, but its times and purpose are not checked yet. An error refuses the
	// ticket in the same way as an error of Check.
	Complete func(t token.Ticket, u *Use) error

	// Check, if not nil, is the caller's own check of a ticket that is genuine, in
	// time and for this use. It runs before anything is spent. An error refuses the
	// ticket as refused_by_caller and becomes the Cause. If the error is or wraps an
	// *Error, the Reason of that *Error counts instead: a check can say wrong_channel,
	// or store_unavailable if a look-up failed. See ErrAskFirst for a third answer.
	Check func(token.Ticket) error

	// Binding ties a retry to its first attempt. Give the SHA-256 of a secret that the
	// client had before it sent the ticket, such as a cookie. If the answer is lost, the
	// same ticket with the same Binding redeems again within replay.Grace of the first
	// time. Zero means no binding.
	Binding [32]byte
}

// ErrAskFirst in an error of Use.Check says that the ticket is good but must not be spent
// by this call, because the person has to be asked first. Redeem then asks the store about
// earlier uses, as Inspect does. A used ticket is refused for its own reason. Any other
// ticket stays unspent, with an error that is refused_by_caller and wraps ErrAskFirst.
var ErrAskFirst = errors.New("the person must be asked first")

// Redeem spends a ticket and returns its contents. At most one Redeem of a one-time ticket
// succeeds; with a Binding, only retries with the same Binding do. The work after a
// Redeem, such as starting a session, should be idempotent per ticket ID.
//
// The error is always an *Error.
func (v *Verifier) Redeem(ctx context.Context, ticket string, use Use) (t token.Ticket, err error) {
	by, err := v.examine(ctx, &t, ticket, &use)
	if err != nil {
		return token.Ticket{}, err
	}
	if !t.OneTime {
		return t, nil
	}
	if err := v.spend(ctx, v.claim(&t, &use), by); err != nil {
		return token.Ticket{}, refuse(t, err)
	}
	if v.immediate && use.Check == nil {
		return t, nil
	}
	// A clock set back during the claim would say not_yet_valid. The ticket was in time before
	// the claim, and is spent now: only the end of its lifetime still refuses it.
	if v.expired(&t, v.c.Now().UnixMilli()) {
		spent := errors.New("its time ran out while it was being claimed; it is spent")
		return token.Ticket{}, refuse(t, &Error{Reason: Expired, Cause: spent})
	}
	return t, nil
}

// Inspect returns the contents of a ticket that Redeem would accept now, as far as the
// store can tell without spending the ticket. A ticket known to the store is already_used.
//
// The error is always an *Error.
func (v *Verifier) Inspect(ctx context.Context, ticket string, use Use) (t token.Ticket, err error) {
	if _, err := v.examine(ctx, &t, ticket, &use); err != nil {
		return token.Ticket{}, err
	}
	if err := v.peek(ctx, &t, &use); err != nil {
		return token.Ticket{}, refuse(t, err)
	}
	return t, nil
}

// spend claims a nonce of the issuer by, which is nil for the issuer without a name. An
// issuer's rate counts the nonces that the store remembers. The store is asked first whether
// the ticket is spent: else somebody with one used link of the issuer could hold all its room
// while a slow store answers.
func (v *Verifier) spend(ctx context.Context, c replay.Claim, by *Issuer) *Error {
	if by == nil || by.Rate == 0 {
		return verdict(v.c.Store.Claim(ctx, c))
	}
	seen, err := v.c.Store.Peek(ctx, c)
	if e := verdict(seen, err); e != nil {
		return e
	}
	if seen.Repeated { // the same binding again
		return verdict(v.c.Store.Claim(ctx, c))
	}
	room, ok := v.rates.take(by.Name, by.Rate, v.c.Now())
	if !ok {
		return &Error{Reason: IssuerOverRate}
	}
	a, err := v.c.Store.Claim(ctx, c)
	if err == nil && (a.Status != replay.Admitted || a.Repeated) {
		room.give(by.Rate)
	}
	return verdict(a, err)
}

// peek asks the store about a ticket and spends nothing.
func (v *Verifier) peek(ctx context.Context, t *token.Ticket, use *Use) *Error {
	if !t.OneTime {
		return nil
	}
	return verdict(v.c.Store.Peek(ctx, v.claim(t, use)))
}

// refuse returns e with the refused ticket. The parameter t is a copy, so that a good
// ticket stays off the heap.
func refuse(t token.Ticket, e *Error) *Error {
	e.Refused = &t
	return e
}

// examine opens the ticket into t and makes all checks before the claim. It returns the
// issuer of the ticket, or nil for the issuer without a name.
func (v *Verifier) examine(ctx context.Context, t *token.Ticket, ticket string, use *Use) (*Issuer, error) {
	by, err := v.open(t, ticket)
	if err != nil {
		return nil, &Error{Reason: openReason(err), Cause: err}
	}
	if by != nil {
		if fault := by.Grant.refuses(t, v.c.Now()); fault != "" {
			return nil, refuse(*t, &Error{Reason: IssuerNotAllowed, Cause: errors.New(fault)})
		}
	}
	return by, v.checkUse(ctx, t, use)
}

// checkUse makes the checks of a ticket that its issuer may issue.
func (v *Verifier) checkUse(ctx context.Context, t *token.Ticket, use *Use) error {
	if use.Complete != nil {
		completed := *use // a Use whose address leaves this function would be on the heap
		if err := use.Complete(*t, &completed); err != nil {
			return refuse(*t, callersError(err))
		}
		*use = completed
	}
	reason := v.checkTimes(t)
	if reason == "" {
		reason = v.checkPurpose(t, use)
	}
	if reason != "" {
		return refuse(*t, &Error{Reason: reason})
	}
	if use.Check == nil {
		return nil
	}
	cause := use.Check(*t)
	if cause == nil {
		return nil
	}
	e := callersError(cause)
	if errors.Is(e, ErrAskFirst) {
		if used := v.peek(ctx, t, use); used != nil {
			e = used
		}
	}
	return refuse(*t, e)
}

// callersError returns the refusal for an error of the caller. If the error has an *Error
// with a reason, that reason counts.
func callersError(cause error) *Error {
	own, ok := errors.AsType[*Error](cause)
	switch {
	case ok && own == nil:
		return &Error{Reason: RefusedByCaller, Cause: errors.New("the check returned a nil *verify.Error")}
	case !ok || own.Reason == "":
		return &Error{Reason: RefusedByCaller, Cause: cause}
	}
	if cause == error(own) {
		cause = own.Cause // otherwise the text would have the reason twice
	}
	return &Error{Reason: own.Reason, Cause: cause}
}

// checkTimes compares in whole milliseconds, as the ticket counts. The fractions of
// the clock and the skew are dropped, which never admits more.
func (v *Verifier) checkTimes(t *token.Ticket) Reason {
	now := v.c.Now().UnixMilli()
	switch {
	case t.IssuedAt.UnixMilli() > now+v.c.Skew.Milliseconds():
		return NotYetValid
	case v.expired(t, now):
		return Expired
	case t.Lifetime > v.c.MaxLifetime, t.Audience == token.Administrator && t.Lifetime > token.AdministratorLifetime:
		return LifetimeTooLong
	}
	return ""
}

// expired reports whether the ticket's lifetime is over, in whole milliseconds.
func (v *Verifier) expired(t *token.Ticket, now int64) bool {
	return now >= t.IssuedAt.UnixMilli()+t.Lifetime.Milliseconds()+v.c.Skew.Milliseconds()
}

// checkPurpose compares the ticket with the Verifier's brands and the use.
func (v *Verifier) checkPurpose(t *token.Ticket, use *Use) Reason {
	switch {
	case t.Audience != use.Audience && (use.Audience != AnyAudience || t.Audience == token.Administrator):
		return WrongAudience
	case !v.c.AnyBrand && !slices.Contains(v.c.Brands, t.Brand):
		return WrongBrand
	case t.Channel != "" && t.Channel != use.Channel:
		return WrongChannel
	}
	return ""
}

func (v *Verifier) claim(t *token.Ticket, use *Use) replay.Claim {
	expires := t.Expires()
	return replay.Claim{
		Nonce:       t.Nonce(),
		Issued:      t.IssuedAt,
		NotBefore:   t.IssuedAt.Add(-v.c.MaxSkew),
		Expires:     expires,
		RetainUntil: expires.Add(3*v.c.MaxSkew + retainSlack),
		Binding:     use.Binding,
	}
}

// verdict turns a store's answer into an error, or nil if the answer admits. An
// unknown answer admits nobody.
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
	return &Error{Reason: StoreUnavailable, Cause: fmt.Errorf("the replay store answered with the unknown status %d",
		a.Status)}
}
