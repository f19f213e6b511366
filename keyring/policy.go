package keyring

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/admitone/admitone/token"
)

// Policy is what a keyring must know to say what is due. Durations are whole
// seconds, at most ten years.
type Policy struct {
	// Lifetime is the longest lifetime of anything that the keys seal. Nothing
	// may be sealed for longer, or it dies with its key. A Channel keyring has
	// none (0): what its keys seal never runs out.
	Lifetime time.Duration

	// Propagation is the longest time that a new file may take to reach every
	// process that reads it, as a Ring.
	Propagation time.Duration

	// Skew is how far the clocks of two machines may be apart.
	Skew time.Duration

	// RotateEvery is how long a key is the primary; 0 means that only people rotate.
	RotateEvery time.Duration

	// DestroyAfter is how long a disabled key is kept, so that disabling it can be
	// undone; 0 means that the policy destroys none.
	DestroyAfter time.Duration

	// ExpectedRate is how many things are sealed in a second, on average and by all
	// processes together; 0 means that it is not known. See Info.Warnings.
	ExpectedRate int64
}

// DefaultPolicy returns the policy of a new keyring of kind k. Lifetime is 15
// minutes for tickets, 24 hours for sessions; both are rotated every 30 days,
// and old keys destroyed 30 days after they were disabled. Channel keyrings are
// not rotated by themselves. Propagation is 2 minutes, since a Kubernetes node
// looks for changed Secrets about once a minute. Skew is 10 seconds.
func DefaultPolicy(k Kind) Policy {
	const month = 30 * 24 * time.Hour
	p := Policy{Propagation: 2 * time.Minute, Skew: 10 * time.Second}
	switch k {
	case Ticket:
		p.Lifetime, p.RotateEvery, p.DestroyAfter = 15*time.Minute, month, month
	case Session:
		p.Lifetime, p.RotateEvery, p.DestroyAfter = 24*time.Hour, month, month
	}
	return p
}

// PromoteFrom returns the time from which every process has the pending key k:
// enabled + propagation + skew, since it may be another machine's clock that
// said when it was enabled. For a key that is not pending it is the zero time.
func (p Policy) PromoteFrom(k Key) time.Time {
	if k.State != Pending {
		return time.Time{}
	}
	return k.Enabled.Add(p.spread())
}

// spread is how long after a change every process has it, by any clock.
func (p Policy) spread() time.Duration { return p.Propagation + p.Skew }

// DisableFrom returns the time from which nothing good needs the retiring key
// k any more: demoted + propagation + lifetime + 3 × skew, and not before
// k.Needed. (Of the skews, one is the sealer's clock against ours, one the
// tolerance of who opens, one that clock against ours.) It returns the zero
// time where there is no such time: for a key that is not retiring, and for the
// keys of a Channel keyring.
func (p Policy) DisableFrom(k Key) time.Time {
	if k.State != Retiring || p.Lifetime == 0 {
		return time.Time{}
	}
	// A key that was disabled and is back gets as long as one that retires now.
	return later(later(k.Demoted, k.Enabled).Add(p.needed()), k.Needed)
}

// needed is how long a key is needed after it ceased to be the primary.
func (p Policy) needed() time.Duration { return p.Propagation + p.Lifetime + 3*p.Skew }

// DestroyFrom returns the time from which the disabled key k may be destroyed:
// disabled + destroy-after. It returns the zero time for a key that is not
// disabled, and where the policy has no such time.
func (p Policy) DestroyFrom(k Key) time.Time {
	if k.State != Disabled || p.DestroyAfter == 0 {
		return time.Time{}
	}
	return k.Disabled.Add(p.DestroyAfter)
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

const (
	maxPolicy = 10 * 365 * 24 * time.Hour
	maxRate   = 1e12
	maxKeys   = 500 // so that the header has room for them, and for their tombstones
)

// Check refuses a policy that no keyring of kind k can have. The error is a
// *token.ConfigError for a field such as keyring.Policy.RotateEvery.
func (p Policy) Check(k Kind) error {
	refuse := func(field, format string, args ...any) error {
		return &token.ConfigError{Field: "keyring.Policy." + field, Reason: fmt.Sprintf(format, args...)}
	}
	for _, d := range []struct {
		field string
		value time.Duration
	}{
		{"Lifetime", p.Lifetime}, {"Propagation", p.Propagation}, {"Skew", p.Skew},
		{"RotateEvery", p.RotateEvery}, {"DestroyAfter", p.DestroyAfter},
	} {
		if d.value < 0 || d.value > maxPolicy || d.value%time.Second != 0 {
			return refuse(d.field, "is %v; it must be a whole number of seconds, from 0 to ten years", d.value)
		}
	}
	switch {
	case p.ExpectedRate < 0 || p.ExpectedRate > maxRate:
		return refuse("ExpectedRate", "is %d; it must be from 0 to %d a second", p.ExpectedRate, int64(maxRate))
	case k == Channel && p.Lifetime != 0:
		return refuse("Lifetime", "is %v; leave it out: what a channel keyring's keys seal never runs out", p.Lifetime)
	case k != Channel && p.Lifetime == 0:
		return refuse("Lifetime", "is 0s; give the longest lifetime of anything that the %s keyring's keys seal", k)
	case p.RotateEvery == 0:
		return nil
	case p.RotateEvery <= p.spread():
		return refuse("RotateEvery", "is %v; it must be longer than propagation + skew, %v, "+
			"or a key is due for replacement before every process has it", p.RotateEvery, p.spread())
	case k == Channel:
		return nil
	}
	if n := int64((p.needed() + p.DestroyAfter) / p.RotateEvery); n > maxKeys {
		return refuse("RotateEvery", "is %v, and the file would hold about %d keys at once; the most is %d: "+
			"rotate less often, or destroy sooner", p.RotateEvery, n, maxKeys)
	}
	return nil
}

// gcmLimit is how many messages a key of AES-GCM may seal with random nonces of
// 96 bits (NIST SP 800-38D, section 8.3).
const gcmLimit = 1 << 32

// Warnings says what is allowed and not wise.
func (i Info) Warnings() []string {
	var w []string
	at := slices.IndexFunc(i.Keys, func(k Key) bool { return k.State == Primary })
	p := i.Policy
	if at < 0 || i.Keys[at].Algorithm != "AES256_GCM" || p.ExpectedRate == 0 {
		return nil
	}
	reached := time.Duration(gcmLimit / p.ExpectedRate * int64(time.Second))
	const take = "take a key of XAES_256_GCM or XCHACHA20_POLY1305, which have no such limit"
	switch {
	case p.RotateEvery == 0 && reached < maxPolicy:
		w = append(w, fmt.Sprintf("at %d a second, a key of AES256_GCM passes its limit of 2^32 messages after %v, and the policy never rotates: %s, or set rotate-every to less than that",
			p.ExpectedRate, reached, take))
	case p.RotateEvery > reached:
		w = append(w, fmt.Sprintf("at %d a second, a key of AES256_GCM passes its limit of 2^32 messages after %v, before the next rotation at rotate-every %v: %s, or set rotate-every to less than %v",
			p.ExpectedRate, reached, p.RotateEvery, take, reached))
	}
	return w
}

// policyJSON is a Policy in JSON; all but the rate in seconds.
type policyJSON struct {
	Lifetime     int64 `json:"lifetime,omitempty"`
	Propagation  int64 `json:"propagation,omitempty"`
	Skew         int64 `json:"skew,omitempty"`
	RotateEvery  int64 `json:"rotateEvery,omitempty"`
	DestroyAfter int64 `json:"destroyAfter,omitempty"`
	ExpectedRate int64 `json:"expectedRate,omitempty"`
}

// MarshalJSON implements json.Marshaler: an object of whole seconds, and the
// rate, in which what is 0 is left out.
func (p Policy) MarshalJSON() ([]byte, error) {
	seconds := func(d time.Duration) int64 { return int64(d / time.Second) }
	return json.Marshal(policyJSON{seconds(p.Lifetime), seconds(p.Propagation), seconds(p.Skew),
		seconds(p.RotateEvery), seconds(p.DestroyAfter), p.ExpectedRate})
}

// UnmarshalJSON implements json.Unmarshaler.
func (p *Policy) UnmarshalJSON(b []byte) error {
	var j policyJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	for _, n := range []int64{j.Lifetime, j.Propagation, j.Skew, j.RotateEvery, j.DestroyAfter} {
		if n < 0 || n > int64(maxPolicy/time.Second) {
			return fmt.Errorf("policy: %d seconds is not from 0 to %v", n, maxPolicy)
		}
	}
	seconds := func(n int64) time.Duration { return time.Duration(n) * time.Second }
	*p = Policy{seconds(j.Lifetime), seconds(j.Propagation), seconds(j.Skew), seconds(j.RotateEvery), seconds(j.DestroyAfter), j.ExpectedRate}
	return nil
}
