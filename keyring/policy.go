package keyring

import (
	"encoding/json"
	"fmt"
	"time"
)

// Policy is what a keyring must know to say when a key is no longer needed.
// Each is a whole number of seconds, at most ten years.
type Policy struct {
	// Lifetime is the longest lifetime of anything that the keys seal. Nothing
	// may be sealed for longer, or it dies with its key. A Channel keyring has
	// none (0): what its keys seal never runs out.
	Lifetime time.Duration

	// Propagation is the longest time that a new file may take to reach every
	// process that reads it, as a Ring.
	Propagation time.Duration

	// Skew is how far a clock may be off.
	Skew time.Duration
}

// DefaultPolicy returns the policy of a new keyring of kind k. Lifetime is 15
// minutes for tickets, 24 hours for sessions. Propagation is 2 minutes, since a
// Kubernetes node looks for changed Secrets about once a minute. Skew is 10
// seconds.
func DefaultPolicy(k Kind) Policy {
	p := Policy{Propagation: 2 * time.Minute, Skew: 10 * time.Second}
	switch k {
	case Ticket:
		p.Lifetime = 15 * time.Minute
	case Session:
		p.Lifetime = 24 * time.Hour
	}
	return p
}

// DisableFrom returns the time from which nothing good needs the retiring key
// k any more: demoted + propagation + lifetime + 3 × skew. It returns the zero
// time where there is no such time: for a key that is not retiring, and for the
// keys of a Channel keyring.
func (p Policy) DisableFrom(k Key) time.Time {
	if k.State != Retiring || p.Lifetime == 0 {
		return time.Time{}
	}
	return k.Demoted.Add(p.Propagation + p.Lifetime + 3*p.Skew)
}

const maxPolicy = 10 * 365 * 24 * time.Hour

// Check finds what keeps p from being the policy of a keyring of kind k.
func (p Policy) Check(k Kind) error {
	for _, d := range []struct {
		name  string
		value time.Duration
	}{{"lifetime", p.Lifetime}, {"propagation", p.Propagation}, {"skew", p.Skew}} {
		if d.value < 0 || d.value > maxPolicy || d.value%time.Second != 0 {
			return fmt.Errorf("%s is %v; it must be a whole number of seconds, from 0 to ten years", d.name, d.value)
		}
	}
	switch {
	case k == Channel && p.Lifetime != 0:
		return fmt.Errorf("lifetime is %v; a channel keyring has none, since what its keys seal never runs out", p.Lifetime)
	case k != Channel && p.Lifetime == 0:
		return fmt.Errorf("lifetime is 0s; a %s keyring must have one, the longest that anything lives that its keys seal", k)
	}
	return nil
}

// policyJSON is a Policy in JSON; all in seconds.
type policyJSON struct {
	Lifetime    int64 `json:"lifetime,omitempty"`
	Propagation int64 `json:"propagation,omitempty"`
	Skew        int64 `json:"skew,omitempty"`
}

// MarshalJSON implements json.Marshaler: an object of whole seconds, in which
// what is 0 is left out.
func (p Policy) MarshalJSON() ([]byte, error) {
	return json.Marshal(policyJSON{int64(p.Lifetime / time.Second), int64(p.Propagation / time.Second), int64(p.Skew / time.Second)})
}

// UnmarshalJSON implements json.Unmarshaler.
func (p *Policy) UnmarshalJSON(b []byte) error {
	var j policyJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	for _, n := range []int64{j.Lifetime, j.Propagation, j.Skew} {
		if n < 0 || n > int64(maxPolicy/time.Second) {
			return fmt.Errorf("policy: %d seconds is not from 0 to %v", n, maxPolicy)
		}
	}
	*p = Policy{time.Duration(j.Lifetime) * time.Second, time.Duration(j.Propagation) * time.Second, time.Duration(j.Skew) * time.Second}
	return nil
}
