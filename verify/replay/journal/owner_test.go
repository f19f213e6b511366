package journal

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/internal/claimtest"
)

// noLock is a lock that excludes nobody, as on some network file systems.
func noLock(string) (io.Closer, error) { return io.NopCloser(nil), nil }

func nothing(string) error { return nil }

func openUnlocked(t *testing.T, dir string, clock *claimtest.Clock, at func(step string) error) *Store {
	t.Helper()
	j, err := openLocked(t.Context(), Config{Dir: dir, Now: clock.Now}, at, noLock)
	require.NoError(t, err)
	t.Cleanup(func() { j.Close() })
	return j
}

// A pause stops the first goroutine that comes to it while it is armed.
type pause struct {
	step    string
	armed   chan struct{} // has a value while it is armed
	reached chan struct{}
	over    chan struct{}
	end     func() // ends the pause; again is nothing
}

func newPause(step string) *pause {
	p := &pause{step: step, armed: make(chan struct{}, 1), reached: make(chan struct{}), over: make(chan struct{})}
	p.end = sync.OnceFunc(func() { close(p.over) })
	return p
}

func (p *pause) at(step string) error {
	if step == p.step {
		select {
		case <-p.armed:
			close(p.reached)
			<-p.over
		default:
		}
	}
	return nil
}

// hold runs f, and returns when f is at the pause. The channel is closed when f has returned.
func (p *pause) hold(f func()) (returned chan struct{}) {
	returned = make(chan struct{})
	p.armed <- struct{}{}
	go func() { defer close(returned); f() }()
	<-p.reached
	return returned
}

func admits(j *Store, c replay.Claim) int {
	if a, err := j.Claim(context.Background(), c); err == nil && a.Status == replay.Admitted {
		return 1
	}
	return 0
}

// admissions lets three owners claim the same ticket, and returns how many admit. The second
// owner takes over while a commit of the first is at the given step, and the third comes last.
func admissions(t *testing.T, step string, blind bool) (n int) {
	clock := claimtest.NewClock()
	dir := t.TempDir()
	p := newPause(step)
	defer p.end()
	first := openUnlocked(t, dir, clock, p.at)
	if blind {
		first.lookAgain = func() error { return nil }
	}
	clock.Step(time.Minute)
	c := ticket(1, clock.Now(), lifetime, skew)
	slow := 0
	returned := p.hold(func() { slow = admits(first, c) })
	clock.Step(time.Second)
	n = admits(openUnlocked(t, dir, clock, nothing), c)
	p.end()
	<-returned
	clock.Step(time.Second)
	return n + slow + admits(openUnlocked(t, dir, clock, nothing), c)
}

// trap R34: a lock that excludes nobody. Wherever the first owner is in its commit, the
// ticket is admitted at most once. An owner that does not look at the token after its commit
// is caught.
func TestTakenOverDuringCommit(t *testing.T) {
	for _, step := range []string{"create", "write header", "sync directory", "write state", "write", "sync"} {
		assert.LessOrEqual(t, admissions(t, step, false), 1, step)
	}
	assert.Equal(t, 1, admissions(t, "write", false), "the second owner admits what the first did not write")
	assert.Equal(t, 2, admissions(t, "write", true), "the owner that does not look again")
}

// trap R34: a first owner is slow to read the directory, and reads a second owner's new file
// before this has its record. The first owner gives up, and removes nothing.
func TestTakenOverDuringOpen(t *testing.T) {
	clock := claimtest.NewClock()
	dir := t.TempDir()
	earlier := openUnlocked(t, dir, clock, nothing)
	clock.Step(time.Minute)
	c := ticket(1, clock.Now(), lifetime, skew)

	p, q := newPause("now"), newPause("write")
	defer p.end()
	defer q.end()
	var err error
	slow := p.hold(func() { // it reads the clock after it wrote its token
		now := func() time.Time { _ = p.at("now"); return clock.Now() }
		_, err = openLocked(context.Background(), Config{Dir: dir, Now: now}, nothing, noLock)
	})
	_, taken := earlier.Claim(t.Context(), c)
	require.ErrorIs(t, taken, errTaken, "as soon as another owner can have read the directory")
	clock.Step(time.Second)
	second := openUnlocked(t, dir, clock, q.at)
	admitted := 0
	commit := q.hold(func() { admitted = admits(second, c) })
	p.end()
	<-slow
	require.ErrorIs(t, err, errTaken)
	require.ErrorContains(t, err, "cannot open the journal in "+dir)
	q.end()
	<-commit
	require.Equal(t, 1, admitted)
	clock.Step(time.Second)
	requireSpent(t, openUnlocked(t, dir, clock, nothing), []replay.Claim{c})
}

// trap R34: a first owner drops a window, and is slow to say so in the state. Meanwhile a
// second owner admits another ticket of this window. The late state does not hide that.
func TestTakenOverDuringSweep(t *testing.T) {
	clock := claimtest.NewClock()
	dir := t.TempDir()
	p := newPause("write state")
	defer p.end()
	first := openUnlocked(t, dir, clock, p.at)
	clock.Step(time.Minute)
	issued := clock.Now()
	early, late := ticket(1, issued, lifetime, skew), ticket(2, issued.Add(time.Second), lifetime, skew)
	late.Expires = early.Expires
	late.RetainUntil = early.RetainUntil.Add(time.Hour)
	require.Equal(t, 1, admits(first, early))
	clock.Set(early.RetainUntil)
	returned := p.hold(func() { // dropped by this claim, which is too late
		admits(first, early)
		require.NoError(t, first.Close())
	})
	clock.Step(time.Second)
	second := openUnlocked(t, dir, clock, nothing)
	require.Equal(t, 1, admits(second, late))
	require.NoError(t, second.Close()) // so that its own state is not the last one
	p.end()
	<-returned
	clock.Step(time.Second)
	requireSpent(t, openUnlocked(t, dir, clock, nothing), []replay.Claim{late})
}

// trap R34: the loser admits nobody from then on, says why, and shows it in its numbers. The
// winner goes on, and knows what the loser admitted.
func TestTakenOver(t *testing.T) {
	clock := claimtest.NewClock()
	dir := t.TempDir()
	loser := openUnlocked(t, dir, clock, nothing)
	clock.Step(time.Minute)
	old := ticket(1, clock.Now(), lifetime, skew)
	require.Equal(t, replay.Admitted, claim(t, loser, old).Status)

	winner := openUnlocked(t, dir, clock, nothing)
	requireSpent(t, winner, []replay.Claim{old})
	for n := range uint64(3) {
		_, err := loser.Claim(t.Context(), ticket(10+n, clock.Now(), lifetime, skew))
		require.ErrorIs(t, err, replay.ErrUnavailable)
		require.ErrorContains(t, err, "another process has taken over the journal's directory")
	}
	_, err := loser.Peek(t.Context(), old)
	require.ErrorIs(t, err, replay.ErrUnavailable)
	require.ErrorContains(t, stats(t, loser).Err, "give each process a directory of its own or a shared store")
	require.NoError(t, loser.Close())

	c := ticket(2, clock.Now(), lifetime, skew)
	require.Equal(t, replay.Admitted, claim(t, winner, c).Status)
	require.NoError(t, winner.Close())
	requireSpent(t, openUnlocked(t, dir, clock, nothing), []replay.Claim{old, c})
}

// trap R34: owners follow each other at random moments, and all claim the same tickets. No
// ticket is admitted twice. Several owners at once can leave a damaged window, so in some
// runs all these tickets are refused; but the last owner admits a ticket of later issue.
func TestManyOwners(t *testing.T) {
	seed := claimtest.Seed(t)
	for run := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, run))
		clock := claimtest.NewClock()
		dir := t.TempDir()
		openUnlocked(t, dir, clock, nothing)
		clock.Step(time.Minute)
		issued := clock.Now()
		var mu sync.Mutex
		admitted := make(map[uint64]int)
		var claims sync.WaitGroup
		var last *Store
		for range 4 {
			clock.Step(time.Millisecond)
			last = openUnlocked(t, dir, clock, nothing)
			for range 3 {
				j, from := last, rng.Uint64N(50)
				claims.Go(func() {
					for n := from; n < from+100; n++ {
						a, err := j.Claim(context.Background(), ticket(n, issued, lifetime, skew))
						if errors.Is(err, errTaken) {
							return
						}
						if err == nil && a.Status == replay.Admitted {
							mu.Lock()
							admitted[n]++
							mu.Unlock()
						}
					}
				})
			}
			for range rng.IntN(2000) {
				_ = clock.Now()
			}
		}
		claims.Wait()
		for n, times := range admitted {
			require.Equal(t, 1, times, "ticket %d", n)
		}
		clock.Step(skew + time.Second)
		fresh := ticket(1000, clock.Now(), lifetime, skew)
		require.Equal(t, replay.Admitted, claim(t, last, fresh).Status)
		next := openUnlocked(t, dir, clock, nothing)
		requireSpent(t, next, []replay.Claim{fresh})
		for n := range admitted {
			require.NotEqual(t, replay.Admitted, claim(t, next, ticket(n, issued, lifetime, skew)).Status)
		}
	}
}

// A process that is taken over in the middle of a claim leaves a record of a ticket that the
// new owner admits without the binding. Nobody knows later which of the two records admitted,
// so no binding is admitted again.
func TestTakenOverWithAnotherBinding(t *testing.T) {
	clock := claimtest.NewClock()
	dir := t.TempDir()
	clock.Step(-time.Hour)
	p := newPause("write")
	defer p.end()
	first := openUnlocked(t, dir, clock, p.at)
	clock.Step(time.Hour)
	require.Equal(t, replay.Admitted, claim(t, first, ticket(1, start, lifetime, skew)).Status)
	late := bound(ticket(2, start, lifetime, skew), 7)
	slow := 0
	returned := p.hold(func() { slow = admits(first, late) })
	second := openUnlocked(t, dir, clock, nothing)
	require.Equal(t, replay.Answer{Status: replay.Admitted}, claim(t, second, ticket(2, start, lifetime, skew)))
	p.end()
	<-returned
	require.Zero(t, slow)
	require.NoError(t, second.Close())
	third := openUnlocked(t, dir, clock, nothing)
	assert.Equal(t, replay.AlreadyUsed, claim(t, third, late).Status)
	assert.Equal(t, replay.AlreadyUsed, claim(t, third, bound(late, 8)).Status)
}
