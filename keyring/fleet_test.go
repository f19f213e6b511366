package keyring

import (
	"container/heap"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// machine is one machine of a fleet: its clock is off, and it sees the file late.
type machine struct {
	*Ring
	offset time.Duration
	poll   time.Duration
}

func (m *machine) now() time.Time { return time.Now().Add(m.offset) }

// attempt is a ticket that is shown to a verifier at some time.
type attempt struct {
	at       time.Time
	verifier *machine
	sealed   []byte
	issued   time.Time // by the issuer's clock
	lifetime time.Duration
}

type attempts []attempt

func (a attempts) Len() int           { return len(a) }
func (a attempts) Less(i, j int) bool { return a[i].at.Before(a[j].at) }
func (a attempts) Swap(i, j int)      { a[i], a[j] = a[j], a[i] }
func (a *attempts) Push(x any)        { *a = append(*a, x.(attempt)) }
func (a *attempts) Pop() any {
	last := (*a)[len(*a)-1]
	*a = (*a)[:len(*a)-1]
	return last
}

// fleet is 50 verifiers, 5 issuers and 2 machines that look after the keyring.
// Clocks differ by up to the skew; each process reads the file at its own
// interval, the slowest just within the propagation delay.
type fleet struct {
	path      string
	policy    Policy
	c         Config
	rng       *rand.Rand
	verifiers []*machine
	issuers   []*machine
	offsets   []time.Duration // of the machines that write
	queue     attempts

	shown, refused int
}

func newFleet(t *testing.T, path string, seed uint64) *fleet {
	f := &fleet{path: path, c: config(Ticket), rng: rand.New(rand.NewPCG(seed, 11))}
	f.policy = Policy{Lifetime: 15 * time.Minute, Propagation: 2 * time.Minute, Skew: 10 * time.Second,
		RotateEvery: 10 * time.Minute, DestroyAfter: 20 * time.Minute}
	require.NoError(t, Create(path, f.c, f.policy, ""))
	half := f.policy.Skew / 2
	f.offsets = []time.Duration{half, -half}
	open := func(offset, poll time.Duration) *machine {
		m := &machine{offset: offset, poll: poll}
		c := f.c
		c.Poll, c.Now = poll, m.now
		time.Sleep(time.Duration(f.rng.Int64N(int64(time.Second)))) // so that no two look at once
		r, err := Open(path, c)
		require.NoError(t, err)
		m.Ring = r
		return m
	}
	for i := range 55 {
		// From a fifth of the propagation delay to all of it, and clocks over all the skew.
		poll := f.policy.Propagation/5 + f.policy.Propagation*4/5*time.Duration(i%11)/10
		offset := time.Duration(f.rng.Int64N(int64(f.policy.Skew)+1)) - half
		if i%5 == 0 {
			offset = f.offsets[i%2]
		}
		if m := open(offset, poll); i%11 == 3 || i == 10 {
			f.issuers = append(f.issuers, m)
		} else {
			f.verifiers = append(f.verifiers, m)
		}
	}
	return f
}

func (f *fleet) close() {
	for _, m := range slices.Concat(f.verifiers, f.issuers) {
		m.Close()
	}
}

// issue seals a ticket and has it shown at once, after a while, and at the last
// moment at which a verifier's clock lets it pass.
func (f *fleet) issue(t *testing.T, issuer *machine) {
	sealed, err := issuer.Encrypt([]byte("ticket"), nil)
	require.NoError(t, err)
	issued, lifetime := issuer.now(), issuer.Report().Policy.Lifetime
	for i := range 3 {
		v := f.verifiers[f.rng.IntN(len(f.verifiers))]
		last := issued.Add(lifetime + f.policy.Skew - time.Millisecond).Add(-v.offset)
		at := []time.Time{time.Now(), time.Now().Add(time.Duration(f.rng.Int64N(int64(lifetime)))), last}[i]
		heap.Push(&f.queue, attempt{at, v, sealed, issued, lifetime})
	}
}

// show shows what is due to the verifiers.
func (f *fleet) show() {
	for len(f.queue) > 0 && !f.queue[0].at.After(time.Now()) {
		a := heap.Pop(&f.queue).(attempt)
		now := a.verifier.now()
		if a.issued.After(now.Add(f.policy.Skew)) || !now.Before(a.issued.Add(a.lifetime+f.policy.Skew)) {
			continue // not in time by this clock, whatever the keys
		}
		f.shown++
		if _, err := a.verifier.Decrypt(a.sealed, nil); err != nil {
			f.refused++
		}
	}
}

// run issues tickets and calls apply, each now and then, until the keyring was
// rotated that often, or, if untilRefused, a ticket was refused.
func (f *fleet) run(t *testing.T, rotations int, untilRefused bool, apply func(c Config) error) {
	nextIssue, nextApply := time.Now(), time.Now()
	for n := 0; len(f.made()) <= rotations && !(untilRefused && f.refused > 0); n++ {
		next := nextIssue
		if nextApply.Before(next) {
			next = nextApply
		}
		if len(f.queue) > 0 && f.queue[0].at.Before(next) {
			next = f.queue[0].at
		}
		time.Sleep(time.Until(next))
		f.show()
		if now := time.Now(); !now.Before(nextIssue) {
			f.issue(t, f.issuers[f.rng.IntN(len(f.issuers))])
			nextIssue = now.Add(time.Duration(f.rng.Int64N(int64(6 * time.Second))))
		}
		if now := time.Now(); !now.Before(nextApply) {
			c := f.c
			offset := f.offsets[f.rng.IntN(2)]
			c.Now = func() time.Time { return time.Now().Add(offset) }
			require.NoError(t, apply(c))
			nextApply = now.Add(time.Duration(f.rng.Int64N(int64(80 * time.Second))))
		}
	}
	for len(f.queue) > 0 && !(untilRefused && f.refused > 0) {
		time.Sleep(time.Until(f.queue[0].at))
		f.show()
	}
}

// made returns the IDs of all keys that were ever made, as far as a verifier knows.
func (f *fleet) made() []KeyID {
	h := f.verifiers[0].keys.Load().header
	ids := slices.Clone(h.Tombstones)
	for _, k := range h.Keys {
		ids = append(ids, k.ID)
	}
	return ids
}

// TestFleet runs a fleet through 100 rotations by the policy: no ticket is refused
// that is in time. Then a key is revoked: each verifier refuses what it sealed
// after its next look.
//
// trap K11
// trap K15
func TestFleet(t *testing.T) {
	t.Parallel()
	rotations := 100
	if testing.Short() {
		rotations = 6 // the race detector needs no more
	}
	path := filepath.Join(t.TempDir(), "keyring")
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, path, 1)
		defer f.close()
		f.run(t, rotations, false, func(c Config) error { _, _, err := Apply(path, c, nil); return err })
		assert.Zero(t, f.refused, "of %d", f.shown)
		assert.Greater(t, f.shown, rotations*200)
		info, err := Read(path, f.c)
		require.NoError(t, err)
		assert.Less(t, len(info.Keys), 12, "old keys are disabled and destroyed")
		t.Logf("%d tickets shown, %d keys made, generation %d", f.shown, len(f.made()), info.Generation)

		stolen, err := f.issuers[0].Encrypt([]byte("ticket"), nil)
		require.NoError(t, err)
		leaked := f.issuers[0].Report().Primary
		_, err = Change(path, f.c, "stolen", Step{Do: Revoke, Key: leaked})
		require.NoError(t, err)
		revoked := time.Now()
		byPoll := slices.Clone(f.verifiers)
		slices.SortFunc(byPoll, func(a, b *machine) int { return int(a.poll - b.poll) })
		for _, v := range byPoll {
			time.Sleep(time.Until(revoked.Add(v.poll)))
			synctest.Wait()
			_, err := v.Decrypt(stolen, nil)
			assert.Error(t, err, "a verifier that looks every %v", v.poll)
		}
		fresh, err := f.issuers[0].Encrypt([]byte("ticket"), nil)
		require.NoError(t, err)
		for _, v := range f.verifiers {
			_, err := v.Decrypt(fresh, nil)
			assert.NoError(t, err)
		}
	})
}

// TestFleetFindsMutants runs the fleet with rules that others have, each of which
// refuses good tickets, so that TestFleet is seen to be able to fail.
//
// trap K11
func TestFleetFindsMutants(t *testing.T) {
	t.Parallel()
	disableWhen := func(due func(i Info, k Key, now time.Time) bool) func(string, Config) error {
		return func(path string, c Config) error {
			info, _, err := Apply(path, c, nil)
			if err != nil {
				return err
			}
			var steps []Step
			for _, k := range info.Keys {
				if k.State == Retiring && due(info, k, c.now()) {
					steps = append(steps, Step{Do: Disable, Key: k.ID, Unsafe: true})
				}
			}
			if len(steps) > 0 {
				_, err = Change(path, c, "", steps...)
			}
			return err
		}
	}
	for name, apply := range map[string]func(string, Config) error{
		"from its creation":  disableWhen(func(i Info, k Key, now time.Time) bool { return now.After(k.Created.Add(i.Policy.needed(i.Kind))) }),
		"from its promotion": disableWhen(func(i Info, k Key, now time.Time) bool { return now.After(k.Promoted.Add(i.Policy.needed(i.Kind))) }),
		"by the number of keys": disableWhen(func(i Info, k Key, _ time.Time) bool {
			opening := slices.DeleteFunc(slices.Clone(i.Keys), func(k Key) bool { return !k.opens() })
			return len(opening) > 2 && opening[0].ID == k.ID
		}),
		"without the propagation delay": disableWhen(func(i Info, k Key, now time.Time) bool {
			return now.After(k.Demoted.Add(i.Policy.Lifetime + i.Policy.Skew))
		}),
		"promoted at once": func(path string, c Config) error {
			info, _, err := Apply(path, c, nil)
			if err != nil {
				return err
			}
			for _, k := range info.Keys {
				if k.State == Pending {
					_, err = Change(path, c, "", Step{Do: Promote, Key: k.ID, Unsafe: true})
				}
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "keyring")
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, path, 2)
				defer f.close()
				f.run(t, 100, true, func(c Config) error { return apply(path, c) })
				assert.NotZero(t, f.refused, "of %d", f.shown)
			})
		})
	}
}

// TestFleetWithOperators has people hold, roll back, disable, enable and promote keys
// and change the policy while it runs, whenever that is not blocked: still no
// ticket is refused that is in time.
//
// trap K11
// trap K12
func TestFleetWithOperators(t *testing.T) {
	t.Parallel()
	rotations := 60
	if testing.Short() {
		rotations = 8
	}
	path := filepath.Join(t.TempDir(), "keyring")
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, path, 3)
		defer f.close()
		done := make(map[Action]int)
		operate := func(c Config) error {
			info, err := Read(path, c)
			if err != nil {
				return err
			}
			p := f.policy
			p.Lifetime = []time.Duration{time.Minute, 15 * time.Minute, time.Hour}[f.rng.IntN(3)]
			id := info.Keys[f.rng.IntN(len(info.Keys))].ID
			s := []Step{
				{Do: Hold, Key: id}, {Do: Unhold, Key: id}, {Do: Rollback}, {Do: Disable, Key: id}, {Do: Disable, Key: id},
				{Do: Enable, Key: id}, {Do: Promote, Key: id}, {Do: Rotate}, {Do: SetPolicy, Policy: &p},
			}[f.rng.IntN(9)]
			if _, err := Change(path, c, "", s); err == nil {
				done[s.Do]++
			}
			return nil
		}
		f.run(t, rotations, false, func(c Config) error {
			if f.rng.IntN(2) == 0 {
				return operate(c)
			}
			_, _, err := Apply(path, c, nil)
			return err
		})
		assert.Zero(t, f.refused, "of %d", f.shown)
		assert.Greater(t, f.shown, rotations*100)
		t.Logf("%d tickets shown, %v", f.shown, done)
		for _, a := range []Action{Hold, Unhold, Rollback, Disable, Enable, SetPolicy} {
			assert.NotZero(t, done[a], a)
		}
	})
}

// TestRetireGuardIsExact has four clocks as far apart as they may be, each to the
// worse: that of who demotes a key is behind, the issuer's is ahead, the
// verifier's behind, that of who disables ahead. The last ticket under the key is
// good to its last moment, and the key goes right after it.
//
// trap K11
func TestRetireGuardIsExact(t *testing.T) {
	path, c, clock := timed(t)
	p := DefaultPolicy(Ticket)
	at := func(offset time.Duration) Config {
		c := c
		c.Now = func() time.Time { return clock.t.Add(offset) }
		return c
	}
	ahead, behind := p.Skew/2, -p.Skew/2
	issuer, verifier := newRing(t, path, at(ahead)), newRing(t, path, at(behind))
	clock.t = clock.t.Add(time.Hour)
	demoted := clock.t
	old := mustChange(t, path, at(behind), Step{Do: Rotate, Now: true}).Keys[0].ID

	clock.t = demoted.Add(p.Propagation - time.Millisecond) // the issuer has not seen that yet
	sealed, err := issuer.Encrypt([]byte("ticket"), nil)
	require.NoError(t, err)
	issued := clock.t.Add(ahead)
	clock.t = issued.Add(p.Lifetime + p.Skew - time.Millisecond).Add(-behind) // the last by the verifier's clock
	_, done, err := Apply(path, at(ahead), nil)
	require.NoError(t, err)
	assert.Empty(t, done)
	require.NoError(t, verifier.Reload())
	_, err = verifier.Decrypt(sealed, nil)
	assert.NoError(t, err)

	clock.t = clock.t.Add(2 * time.Millisecond)
	info, _, err := Apply(path, at(ahead), nil)
	require.NoError(t, err)
	assert.Equal(t, Disabled, stateOf(t, info, old).State)
}

// TestPromotedByAnotherClock has one machine enable a key and another promote it,
// their clocks as far apart as the skew: the file has its full time to spread.
func TestPromotedByAnotherClock(t *testing.T) {
	path, c, clock := timed(t)
	behind, ahead := c, c
	behind.Now = func() time.Time { return clock.t.Add(-5 * time.Second) }
	ahead.Now = func() time.Time { return clock.t.Add(5 * time.Second) }
	clock.t = clock.t.Add(time.Minute)
	enabled := clock.t
	info, err := Change(path, behind, "", Step{Do: Rotate})
	require.NoError(t, err)
	id := info.Keys[1].ID
	for clock.t = enabled; ; clock.t = clock.t.Add(time.Second) {
		if info, _, err = Apply(path, ahead, nil); info.Primary == id {
			break
		}
		require.NoError(t, err)
	}
	assert.Equal(t, info.Policy.Propagation, clock.t.Sub(enabled))
}
