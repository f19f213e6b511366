package keyring

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/admitone/admitone/token"
)

// Policy says when the steps of a key's life are due. Durations are whole seconds, at most
// ten years.
type Policy struct {
	// Lifetime is the longest lifetime of anything that the keys seal. A ticket or session
	// with a longer lifetime dies with its key. For a Channel keyring it must be 0: channel
	// codes never run out.
	Lifetime time.Duration

	// Propagation is the longest time until a new file has reached every process that
	// reads it as a Ring. With 0 a new key seals at once, and processes without the new
	// file refuse the ciphertexts; see Info.Warnings.
	Propagation time.Duration

	// Published is the longest time for which others go on with an older list of the public
	// keys of an Issuer or Recipient keyring. A new signing key waits for Published before it
	// becomes the primary, since others must know the key. A former primary of a recipient
	// opens for Published longer, since others still seal for it. With 0, others have public
	// keys as soon as the own processes have the file. Other keyrings must have 0.
	Published time.Duration

	// Skew is the largest difference between the clocks of two machines.
	Skew time.Duration

	// RotateEvery is the time of a key as the primary; with 0 only people rotate.
	RotateEvery time.Duration

	// DestroyAfter is the time from disabling a key to destroying it. Until then, disabling
	// can be undone. With 0 the policy destroys no key.
	DestroyAfter time.Duration

	// ExpectedRate is the average number of ciphertexts that all processes together make
	// in a second; 0 means unknown. See Info.Warnings.
	ExpectedRate int64
}

// DefaultPolicy returns the policy of a new keyring of kind k.
//
// Lifetime is 15 minutes for tickets and 24 hours for sessions. Both rotate every 30 days,
// and destroy old keys 30 days after disabling. Channel keyrings do not rotate by
// themselves. Propagation is 2 minutes, since a Kubernetes node looks for changed Secrets
// about once a minute. Skew is 10 seconds.
//
// Issuer and Recipient keyrings are as Ticket keyrings, and Published is 7 days. A Recipient
// keyring destroys old keys 7 days after disabling: a person who gets such a key can read all
// tickets under it that were ever logged.
func DefaultPolicy(k Kind) Policy {
	const week, month = 7 * 24 * time.Hour, 30 * 24 * time.Hour
	p := Policy{Propagation: 2 * time.Minute, Skew: 10 * time.Second}
	switch k {
	case Ticket:
		p.Lifetime, p.RotateEvery, p.DestroyAfter = 15*time.Minute, month, month
	case Session:
		p.Lifetime, p.RotateEvery, p.DestroyAfter = 24*time.Hour, month, month
	case Issuer:
		p.Lifetime, p.RotateEvery, p.DestroyAfter, p.Published = 15*time.Minute, month, month, week
	case Recipient:
		p.Lifetime, p.RotateEvery, p.DestroyAfter, p.Published = 15*time.Minute, month, week, week
	}
	return p
}

// PromoteFrom returns the time from which every process has the pending key k: enabled +
// propagation + skew; for a signing key, enabled + published + skew, if published is longer;
// and not before k.Known. The skew is there because another machine's clock may have dated
// enabled. PromoteFrom returns the zero time for a key that is not pending.
func (p Policy) PromoteFrom(k Key) time.Time {
	if k.State != Pending {
		return time.Time{}
	}
	return p.knownFrom(k)
}

// knownFrom returns the time from which every process that opens has the key k.
func (p Policy) knownFrom(k Key) time.Time {
	return later(k.Enabled.Add(p.spread(kindOf(k))), k.Known)
}

// kindOf returns Issuer or Recipient for a key with a public half, and otherwise "".
func kindOf(k Key) Kind {
	for _, kind := range []Kind{Issuer, Recipient} {
		if hasPublicHalf(kind, k.Algorithm) {
			return kind
		}
	}
	return ""
}

// spread returns the time after a change of a keyring of kind k from which every process that
// opens has the change, by any clock.
func (p Policy) spread(k Kind) time.Duration {
	if k == Issuer { // others open
		return max(p.Propagation, p.Published) + p.Skew
	}
	return p.Propagation + p.Skew
}

// DisableFrom returns the time from which the retiring key k opens nothing good any more:
// demoted + propagation + lifetime + 3 × skew, and not before k.Sealed + lifetime + 3 × skew or
// k.Needed. For a recipient's key, published stands for propagation, if published is longer. The
// three skews are
// the sealer's clock against ours, the opener's tolerance, and the opener's clock against
// ours. DisableFrom returns the zero time for a key that is not retiring, and for every key
// of a Channel keyring.
func (p Policy) DisableFrom(k Key) time.Time {
	if k.State != Retiring || p.Lifetime == 0 {
		return time.Time{}
	}
	// A key that was disabled and enabled again gets as long as a key that retires now.
	last := later(later(k.Demoted, k.Enabled).Add(p.sealing(kindOf(k))), k.Sealed)
	return later(last.Add(p.lives()), k.Needed)
}

// needed returns the time from the end of a key as the primary of a keyring of kind k to the
// end of the key's last ciphertext.
func (p Policy) needed(k Kind) time.Duration { return p.sealing(k) + p.lives() }

// lives returns the time from the making of a ciphertext to its end, by any clock.
func (p Policy) lives() time.Duration { return p.Lifetime + 3*p.Skew }

// sealing returns how long processes may seal with a key that has ceased to be the primary.
func (p Policy) sealing(k Kind) time.Duration {
	if k == Recipient { // others seal
		return max(p.Propagation, p.Published)
	}
	return p.Propagation
}

// DestroyFrom returns the time from which the disabled key k may be destroyed: disabled +
// destroy-after. DestroyFrom returns the zero time for a key that is not disabled, and if
// the policy destroys no key.
func (p Policy) DestroyFrom(k Key) time.Time {
	if k.State != Disabled || p.DestroyAfter == 0 {
		return time.Time{}
	}
	return k.Disabled.Add(p.DestroyAfter)
}

// sealedUntil returns the time until which processes may seal with the former primary k.
func (p Policy) sealedUntil(k Key) time.Time {
	return later(k.Demoted.Add(p.sealing(kindOf(k))), k.Sealed)
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
	maxKeys   = 500 // the header has room for these keys, and for their tombstones
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
		{"Lifetime", p.Lifetime}, {"Propagation", p.Propagation}, {"Published", p.Published}, {"Skew", p.Skew},
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
	case p.Published != 0 && k != Issuer && k != Recipient:
		return refuse("Published", "is %v; leave it out: the keys of a %s keyring have no public half", p.Published, k)
	case p.RotateEvery == 0:
		return nil
	case k == Issuer && p.Published > p.Propagation && p.RotateEvery <= p.spread(k):
		return refuse("RotateEvery", "is %v; it must be longer than published + skew, %v, "+
			"or a key is due for replacement before others know it", p.RotateEvery, p.spread(k))
	case p.RotateEvery <= p.spread(k):
		return refuse("RotateEvery", "is %v; it must be longer than propagation + skew, %v, "+
			"or a key is due for replacement before every process has it", p.RotateEvery, p.spread(k))
	case k == Channel:
		return nil
	}
	if n := int64(p.needed(k)/p.RotateEvery) + 2; k == Issuer && p.Published != 0 && n > MaxIssuerKeys {
		return refuse("RotateEvery", "is %v, and others would see about %d keys at once; they take at most %d of an issuer: "+
			"rotate less often, or give a shorter lifetime", p.RotateEvery, n, MaxIssuerKeys)
	}
	if n := int64((p.needed(k) + p.DestroyAfter) / p.RotateEvery); n > maxKeys {
		return refuse("RotateEvery", "is %v, and the file would hold about %d keys at once; the most is %d: "+
			"rotate less often, or destroy sooner", p.RotateEvery, n, maxKeys)
	}
	return nil
}

// gcmLimit is the number of messages that a key of AES-GCM may seal with random nonces of
// 96 bits (NIST SP 800-38D, section 8.3).
const gcmLimit = 1 << 32

// Warnings returns a sentence for each setting that is allowed and not wise: a policy
// without propagation, and more ciphertexts than a key of AES-GCM may make before the next
// rotation. Create, CreateFrom, Change and a Ring log the same sentences to Config.Log.
func (i Info) Warnings() []string {
	if i.Kind.isSigned() {
		return nil
	}
	var w []string
	p := i.Policy
	if p.Propagation == 0 {
		w = append(w, fmt.Sprintf("propagation is 0s: a new key becomes the primary before other processes have read the "+
			"file, and they refuse what it seals; set propagation to the longest time that the file takes to reach "+
			"every process, and skew to the difference between their clocks (the defaults are %v and %v)",
			DefaultPolicy(i.Kind).Propagation, DefaultPolicy(i.Kind).Skew))
	}
	at := slices.IndexFunc(i.Keys, func(k Key) bool { return k.State == Primary })
	if at < 0 || i.Keys[at].Algorithm != "AES256_GCM" || p.ExpectedRate == 0 {
		return w
	}
	reached := time.Duration(gcmLimit / p.ExpectedRate * int64(time.Second))
	const take = "take a key of XAES_256_GCM or XCHACHA20_POLY1305, which have no such limit"
	limit := fmt.Sprintf("at %d a second, a key of AES256_GCM passes its limit of 2^32 messages after %v",
		p.ExpectedRate, reached)
	switch {
	case p.RotateEvery == 0 && reached < maxPolicy:
		w = append(w, limit+", and the policy never rotates: "+take+", or set rotate-every to less than that")
	case p.RotateEvery > reached:
		w = append(w, fmt.Sprintf("%s, before the next rotation at rotate-every %v: %s, or set rotate-every to less than %v",
			limit, p.RotateEvery, take, reached))
	}
	return w
}

// warn logs the warnings about the keyring at path.
func (c *Config) warn(path string, i Info) {
	for _, w := range i.Warnings() {
		c.log().Warn("keyring policy is not wise", "file", path, "generation", i.Generation, "warning", w)
	}
}

// policyJSON is the JSON form of a Policy. Durations are in seconds.
type policyJSON struct {
	Lifetime     int64 `json:"lifetime,omitempty"`
	Propagation  int64 `json:"propagation,omitempty"`
	Published    int64 `json:"published,omitempty"`
	Skew         int64 `json:"skew,omitempty"`
	RotateEvery  int64 `json:"rotateEvery,omitempty"`
	DestroyAfter int64 `json:"destroyAfter,omitempty"`
	ExpectedRate int64 `json:"expectedRate,omitempty"`
}

// MarshalJSON implements json.Marshaler: an object of durations in whole seconds, and the
// rate. Zero values are left out.
func (p Policy) MarshalJSON() ([]byte, error) {
	seconds := func(d time.Duration) int64 { return int64(d / time.Second) }
	return json.Marshal(policyJSON{seconds(p.Lifetime), seconds(p.Propagation), seconds(p.Published),
		seconds(p.Skew), seconds(p.RotateEvery), seconds(p.DestroyAfter), p.ExpectedRate})
}

// UnmarshalJSON implements json.Unmarshaler.
func (p *Policy) UnmarshalJSON(b []byte) error {
	var j policyJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	for _, n := range []int64{j.Lifetime, j.Propagation, j.Published, j.Skew, j.RotateEvery, j.DestroyAfter} {
		if n < 0 || n > int64(maxPolicy/time.Second) {
			return fmt.Errorf("policy: %d seconds is not from 0 to %v", n, maxPolicy)
		}
	}
	seconds := func(n int64) time.Duration { return time.Duration(n) * time.Second }
	*p = Policy{seconds(j.Lifetime), seconds(j.Propagation), seconds(j.Published), seconds(j.Skew),
		seconds(j.RotateEvery), seconds(j.DestroyAfter), j.ExpectedRate}
	return nil
}
