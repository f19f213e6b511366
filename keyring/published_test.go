package keyring

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// version is a keyring file from a time on, and the time at which the next file took its place.
type version struct {
	from, to time.Time
	Info
}

// last returns the time until which a process may go on with the version.
func (v version) last() time.Time { return v.to.Add(v.Policy.Propagation) }

// bundleOf is a bundle and the policy at its publication.
type bundleOf struct {
	Bundle
	policy Policy
}

// history is what random people have done to a keyring.
type history struct {
	versions []version
	bundles  []bundleOf
}

// randomHistory changes the policy of a keyring at random, does what the policy says, and publishes.
func randomHistory(t *testing.T, kind Kind, seed uint64, events int) history {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "keyring-test") // hundreds of writes
	if err != nil {
		dir = t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	rng := rand.New(rand.NewPCG(seed, 1))
	clock := newClock()
	c := config(kind)
	c.Now, c.Log = clock.now, slog.New(slog.DiscardHandler)
	path := dir + "/keyring"
	// between is even over the orders of magnitude.
	between := func(a, b time.Duration) time.Duration {
		for range rng.IntN(12) {
			b = max(a, b/2)
		}
		return (a + time.Duration(rng.Int64N(int64(b-a)+1))).Truncate(time.Second)
	}
	policy := func() *Policy {
		p := DefaultPolicy(kind)
		p.Published, p.Propagation = between(time.Minute, 10*24*time.Hour), between(0, 24*time.Hour)
		p.Lifetime, p.Skew = between(time.Minute, 4*24*time.Hour), 10*time.Second
		p.RotateEvery = max(p.Published, p.Propagation, p.Lifetime/4).Truncate(time.Second)
		p.RotateEvery += between(time.Hour, 10*24*time.Hour)
		p.DestroyAfter = between(time.Minute, 24*time.Hour)
		return &p
	}
	require.NoError(t, Create(path, c, *policy(), ""))
	kek, _ := identityOf(t, 1)
	var h history
	var bundle []byte
	longest := time.Duration(0)
	record := func(info Info) {
		if n := len(h.versions); n > 0 && h.versions[n-1].Generation != info.Generation {
			h.versions[n-1].to = clock.t
		} else if n > 0 {
			return
		}
		h.versions = append(h.versions, version{clock.t, clock.t, info})
	}
	for range events {
		if rng.IntN(6) == 0 {
			info, err := Change(path, c, "", Step{Do: SetPolicy, Policy: policy()})
			require.NoError(t, err)
			record(info)
		}
		info, err := Read(path, c)
		require.NoError(t, err)
		longest = max(longest, info.Policy.spread(kind))
		for _, k := range info.Keys {
			assert.False(t, info.Policy.PromoteFrom(k).After(k.Enabled.Add(2*longest)), "a key waits for ever")
		}
		// People hold keys, and end holds.
		if i := rng.IntN(len(info.Keys)); info.Keys[i].State == Pending && rng.IntN(2) == 0 {
			do := Hold
			if info.Keys[i].Held {
				do = Unhold
			}
			info, err = Change(path, c, "a doubt", Step{Do: do, Key: info.Keys[i].ID})
			require.NoError(t, err)
			record(info)
		}
		// The policy is done now and then, and often as soon as something is due.
		if steps := info.Plan(clock.t).Steps; rng.IntN(2) == 0 && len(steps) > 0 && steps[0].At.After(clock.t) {
			clock.t = steps[0].At
		}
		info, _, err = Apply(path, c, nil)
		require.NoError(t, err)
		record(info)
		if rng.IntN(3) > 0 || bundle == nil {
			as := Publication{Name: "acme", Identity: kek, Before: bundle}
			if rng.IntN(3) == 0 {
				as.Valid = between(time.Minute, info.Policy.Published)
			}
			var b Bundle
			bundle, b, err = Publish(path, c, as)
			require.NoError(t, err)
			h.bundles = append(h.bundles, bundleOf{b, info.Policy})
		}
		clock.t = clock.t.Add(between(time.Millisecond, 48*time.Hour))
	}
	h.versions[len(h.versions)-1].to = clock.t
	return h
}

// at returns the policy at a time.
func (h history) at(when time.Time) Policy {
	i := len(h.versions) - 1
	for i > 0 && h.versions[i].from.After(when) {
		i--
	}
	return h.versions[i].Policy
}

// overlap reports whether the time from a to the end of b has a part of the time from c to before d.
func overlap(a, b, c, d time.Time) bool { return !later(a, c).After(b) && later(a, c).Before(d) }

// refused returns a good ticket that some process refuses, in words, or "". Own processes have each
// version for as long as its policy says, and others have each bundle until its end.
func (h history) refused(kind Kind) string {
	const skew = 10 * time.Second
	if kind == Issuer {
		for _, v := range h.versions {
			for _, made := range []time.Time{v.from, v.to, v.last().Add(-time.Millisecond)} {
				if made.After(v.last()) || v.from == v.last() {
					continue
				}
				for _, b := range h.bundles {
					if !overlap(made, made.Add(v.Policy.Lifetime), b.Published, b.Until) {
						continue
					}
					at := slices.IndexFunc(b.Keys, func(k PublicKey) bool { return k.ID == v.Primary })
					if at < 0 || !b.Keys[at].LastIssue.IsZero() && made.Add(skew).After(b.Keys[at].LastIssue) {
						return fmt.Sprintf("made at %v under %v by generation %d of %v to %v; bundle %d of %v to %v: %v",
							made, v.Primary, v.Generation, v.from, v.to, b.Generation, b.Published, b.Until, b.Keys)
					}
				}
			}
		}
		return ""
	}
	for _, b := range h.bundles {
		for _, made := range []time.Time{b.Published, b.Until.Add(-time.Millisecond),
			b.Published.Add(b.Until.Sub(b.Published) / 2)} {
			life := max(b.policy.Lifetime, h.at(made).Lifetime)
			for _, v := range h.versions {
				if !overlap(made, made.Add(life+2*skew), v.from, v.last()) {
					continue
				}
				if !slices.ContainsFunc(v.Keys, func(k Key) bool { return k.ID == b.Primary().ID && k.opens() }) {
					return fmt.Sprintf("made at %v for %v by bundle %d of %v to %v; generation %d of %v to %v: %v",
						made, b.Primary().ID, b.Generation, b.Published, b.Until, v.Generation, v.from, v.to, v.Keys)
				}
			}
		}
	}
	return ""
}

// trap F18: policies that change at random, in both directions and all fields at once, bundles that are
// published at random, and processes and others that lag as far as they may: no good ticket is refused.
func TestPolicyChangesAmongOthers(t *testing.T) {
	for _, kind := range []Kind{Issuer, Recipient} {
		for seed := range uint64(3) {
			t.Run(fmt.Sprint(kind, " ", seed), func(t *testing.T) {
				t.Parallel()
				h := randomHistory(t, kind, seed, 120)
				assert.Empty(t, h.refused(kind))
				primaries, lowered := make(map[KeyID]bool), 0
				for i, v := range h.versions {
					primaries[v.Primary] = true
					if i > 0 && v.Policy.Published < h.versions[i-1].Policy.Published {
						lowered++
					}
				}
				assert.Greater(t, len(primaries), 3)
				assert.Greater(t, lowered, 3)
			})
		}
	}
}

// Lowering propagation does not shorten the wait of a pending key, nor that of a key made soon
// after: a reader may be as slow as the earlier policy allowed. People who know better need not wait.
func TestPropagationLowered(t *testing.T) {
	clock := newClock()
	c := config(Ticket)
	c.Now = clock.now
	path := newFile(t, c)
	old := DefaultPolicy(Ticket)
	p := old
	p.Propagation = time.Second
	start := clock.t
	first := mustChange(t, path, c, Step{Do: Rotate}).Keys[1]
	clock.t = start.Add(time.Minute)
	info := mustChange(t, path, c, Step{Do: SetPolicy, Policy: &p})
	first = stateOf(t, info, first.ID)
	from := start.Add(old.Propagation + old.Skew)
	assert.Equal(t, from, info.Policy.PromoteFrom(first))
	_, err := Change(path, c, "", Step{Do: Promote, Key: first.ID})
	assertBlocked(t, &BlockedError{Do: Promote, ID: first.ID, State: Pending, From: from}, err)
	info = mustChange(t, path, c, Step{Do: Promote, Key: first.ID, Unsafe: true}, Step{Do: Rotate})
	from = start.Add(time.Minute + old.Propagation + old.Skew)
	assert.Equal(t, from, info.Policy.PromoteFrom(info.Keys[2]), "a reader may have the file from before the change")
	clock.t = from
	info = mustChange(t, path, c, Step{Do: Promote, Key: info.Keys[2].ID}, Step{Do: Rotate})
	assert.Equal(t, from.Add(p.Propagation+p.Skew), info.Policy.PromoteFrom(info.Keys[3]), "all is forgotten")
}

// Lowering published shortens no promise that was made: neither for keys of now nor for the next.
func TestPublishedLowered(t *testing.T) {
	const week = 7 * 24 * time.Hour
	clock := newClock()
	c := config(Issuer)
	c.Now = clock.now
	path := newFile(t, c)
	p := DefaultPolicy(Issuer)
	p.Published = time.Hour
	start := clock.t
	first := mustChange(t, path, c, Step{Do: Rotate}).Keys[1]
	clock.t = clock.t.Add(24 * time.Hour)
	info := mustChange(t, path, c, Step{Do: SetPolicy, Policy: &p})
	assert.Equal(t, start.Add(week+p.Skew), info.Policy.PromoteFrom(stateOf(t, info, first.ID)),
		"bundles without the key are from before it was made")
	clock.t = start.Add(week + p.Skew)
	info = mustChange(t, path, c, Step{Do: Promote, Key: first.ID}, Step{Do: Rotate})
	next := info.Keys[2]
	assert.Equal(t, start.Add(24*time.Hour+week+p.Skew), info.Policy.PromoteFrom(next),
		"a bundle from before the change is good for so long")
	_, err := Change(path, c, "", Step{Do: Promote, Key: next.ID})
	from := start.Add(24*time.Hour + week + p.Skew)
	assertBlocked(t, &BlockedError{Do: Promote, ID: next.ID, State: Pending, From: from}, err)
	clock.t = from
	info = mustChange(t, path, c, Step{Do: Promote, Key: next.ID}, Step{Do: Rotate})
	assert.Equal(t, clock.t.Add(time.Hour+p.Skew), info.Policy.PromoteFrom(info.Keys[3]), "all is forgotten")

	// A recipient's old key opens for those who have an old bundle, with lifetimes of today.
	c = config(Recipient)
	c.Now = clock.now
	path = newFile(t, c)
	p = DefaultPolicy(Recipient)
	p.Published = time.Hour
	before := clock.t
	mustChange(t, path, c, Step{Do: SetPolicy, Policy: &p})
	clock.t = clock.t.Add(time.Hour)
	p.Lifetime = 24 * time.Hour
	info = mustChange(t, path, c, Step{Do: SetPolicy, Policy: &p}, Step{Do: Rotate, Now: true},
		Step{Do: Rotate, Now: true})
	assert.Equal(t, before.Add(week+24*time.Hour+3*p.Skew), info.Policy.DisableFrom(info.Keys[0]))
	assert.Equal(t, clock.t.Add(25*time.Hour+3*p.Skew), info.Policy.DisableFrom(info.Keys[1]), "in no old bundle")
}
