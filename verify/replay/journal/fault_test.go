package journal

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/internal/cache"
	"github.com/admitone/admitone/verify/replay/internal/claimtest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A faulty disk fails at the step that it is told to.
type faultyDisk struct {
	mu   sync.Mutex
	fail string
	seen []string
	hook func(step string)
}

var errDisk = errors.New("disk on fire")

func (d *faultyDisk) at(step string) error {
	d.mu.Lock()
	d.seen = append(d.seen, step)
	fail, hook := d.fail == step, d.hook
	d.mu.Unlock()
	if hook != nil {
		hook(step)
	}
	if fail {
		return errDisk
	}
	return nil
}

func (d *faultyDisk) failAt(step string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail = step
}

func newFaultyJournal(t *testing.T, clock *claimtest.Clock) (*Store, *faultyDisk) {
	t.Helper()
	d := new(faultyDisk)
	clock.Step(-time.Hour)
	j, err := openSteps(t.Context(), Config{Dir: t.TempDir(), Now: clock.Now}, d.at)
	require.NoError(t, err)
	t.Cleanup(func() {
		if !t.Failed() { // or else the disk may hang, and Close with it
			j.Close()
		}
	})
	clock.Step(time.Hour)
	return j, d
}

func unavailableClaim(t *testing.T, j *Store, c replay.Claim) {
	t.Helper()
	a, err := j.Claim(context.Background(), c)
	require.ErrorIs(t, err, replay.ErrUnavailable)
	require.Zero(t, a)
}

// Whatever step of a commit fails, nobody is admitted, the journal goes on when
// the disk does, and what may be on the disk is never another's.
//
// trap R24
// trap R25
// trap R28
func TestFailingSteps(t *testing.T) {
	for _, step := range []string{"create", "write header", "sync directory", "write", "sync"} {
		mayBeWritten := step == "write" || step == "sync"
		for _, begun := range []bool{false, true} { // there is a segment already
			if begun && !mayBeWritten {
				continue
			}
			t.Run(step, func(t *testing.T) {
				clock := claimtest.NewClock()
				j, d := newFaultyJournal(t, clock)
				if begun {
					require.Equal(t, replay.Admitted, claim(t, j, ticket(100, start, lifetime, skew)).Status)
				}
				c := bound(ticket(1, start, lifetime, skew), 7)
				d.failAt(step)
				unavailableClaim(t, j, c)
				require.ErrorIs(t, stats(t, j).Err, errDisk)
				unavailableClaim(t, j, c)
				unavailableClaim(t, j, ticket(2, start, lifetime, skew))
				d.failAt("")
				assert.Equal(t, replay.Admitted, claim(t, j, ticket(3, start, lifetime, skew)).Status)
				assert.NoError(t, stats(t, j).Err)
				assert.EqualValues(t, 3, stats(t, j).Failures)

				if mayBeWritten {
					clock.Step(1)
					require.Equal(t, replay.AlreadyUsed, claim(t, j, bound(c, 8)).Status)
					require.Equal(t, replay.Answer{Status: replay.Admitted, FirstUsed: start, Repeated: true}, claim(t, j, c))
					require.Equal(t, replay.AlreadyUsed, claim(t, j, bound(c, 8)).Status)
				} else {
					require.Equal(t, replay.Admitted, claim(t, j, bound(c, 8)).Status, "it was spent by nobody")
					require.Equal(t, replay.AlreadyUsed, claim(t, j, c).Status)
				}
				live := stats(t, j).Live
				j = restarted(t, j, clock)
				winner, loser := byte(8), byte(7)
				if mayBeWritten {
					winner, loser = 7, 8
				}
				assert.True(t, claim(t, j, bound(c, winner)).Repeated)
				assert.Equal(t, replay.AlreadyUsed, claim(t, j, bound(c, loser)).Status)
				assert.Zero(t, stats(t, j).Damaged)
				assert.LessOrEqual(t, stats(t, j).Live, live)
			})
		}
	}
}

// After a failed write the disk may hold the record, half of it or nothing. Nobody is told that
// the ticket is used before the record is there again: after a crash it could be good.
//
// trap R28
func TestAfterAFailedWrite(t *testing.T) {
	for _, kept := range []int64{0, 1, recordSize - 1, recordSize} {
		for _, binding := range []byte{0, 7} {
			clock := claimtest.NewClock()
			j, d := newFaultyJournal(t, clock)
			first := ticket(1, start, lifetime, skew)
			require.Equal(t, replay.Admitted, claim(t, j, first).Status)
			segment := segmentsIn(t, j.dir)[0]
			lost := bound(ticket(2, start, lifetime, skew), binding)
			d.failAt("sync") // the write was done
			unavailableClaim(t, j, lost)
			unavailableClaim(t, j, bound(lost, 8))
			d.failAt("")
			require.NoError(t, os.Truncate(segment, headerSize+recordSize+kept))
			for _, path := range segmentsIn(t, j.dir) {
				if path != segment {
					require.NoError(t, os.Truncate(path, headerSize))
				}
			}
			used := replay.Answer{Status: replay.AlreadyUsed, FirstUsed: start}
			require.Equal(t, used, claim(t, j, bound(lost, 8)))
			next := ticket(3, start, lifetime, skew)
			require.Equal(t, replay.Admitted, claim(t, j, next).Status)
			assert.Len(t, segmentsIn(t, j.dir), 3, "a failed write is the end of a segment")

			j = restarted(t, j, clock)
			requireSpent(t, j, []replay.Claim{first, next})
			require.Equal(t, used, claim(t, j, bound(lost, 8)))
			again := used
			if binding != 0 {
				again.Status, again.Repeated = replay.Admitted, true
			}
			require.Equal(t, again, claim(t, j, lost))
		}
	}
}

// No claim is answered before its record is on the disk, neither that of the
// first nor of others of the same nonce, and one commit serves all who wait.
//
// trap R18
func TestGroupCommit(t *testing.T) {
	clock := claimtest.NewClock()
	j, d := newFaultyJournal(t, clock)
	reached, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	d.hook = func(step string) {
		if step == "sync" {
			once.Do(func() { close(reached); <-release })
		}
	}
	var wg sync.WaitGroup
	answers := make(chan replay.Answer, 1000)
	begin := func(c replay.Claim) {
		wg.Go(func() {
			a, err := j.Claim(context.Background(), c)
			if err != nil {
				t.Error(err)
			}
			answers <- a
		})
	}
	c := ticket(1, start, lifetime, skew)
	begin(c)
	<-reached
	begin(c)
	for n := range uint64(100) {
		begin(bound(ticket(2+n, start, lifetime, skew), 7))
		begin(bound(ticket(2+n, start, lifetime, skew), 7))
	}
	require.Eventually(t, func() bool {
		j.mu.Lock()
		defer j.mu.Unlock()
		return len(j.open.records[cache.WindowOf(c.Expires)]) == 100
	}, time.Minute, time.Millisecond)
	assert.Empty(t, answers, "nothing is answered while the disk is at work")
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	_, err := j.Claim(ctx, c) // gives up waiting
	require.ErrorIs(t, err, replay.ErrUnavailable)
	close(release)
	wg.Wait()
	close(answers)
	counts := map[replay.Status]int{}
	for a := range answers {
		counts[a.Status]++
	}
	assert.Equal(t, map[replay.Status]int{replay.Admitted: 201, replay.AlreadyUsed: 1}, counts)
	st := stats(t, j)
	assert.EqualValues(t, 2, st.Commits)
	assert.EqualValues(t, 100, st.Repeated)
}

// A window whose time is over while a record of it waits for the disk is let go
// of when that is written, or has failed, and not before.
//
// trap R7
// trap R12
func TestWindowPending(t *testing.T) {
	for _, fails := range []string{"", "create", "sync"} {
		clock := claimtest.NewClock()
		j, d := newFaultyJournal(t, clock)
		reached, release := make(chan struct{}), make(chan struct{})
		var once sync.Once
		d.hook = func(step string) {
			if step == "sync" {
				once.Do(func() { close(reached); <-release })
			}
		}
		late := bound(ticket(2, start, time.Minute, skew), 7)
		var wg sync.WaitGroup
		var first, second replay.Answer
		var err error
		wg.Go(func() { first, _ = j.Claim(context.Background(), ticket(1, start, time.Hour, skew)) })
		<-reached // the disk is at work on the first
		wg.Go(func() { second, err = j.Claim(context.Background(), late) })
		pending := func() bool {
			j.mu.Lock()
			defer j.mu.Unlock()
			w := j.index.live[cache.WindowOf(late.Expires)]
			return w != nil && w.pending == 1
		}
		require.Eventually(t, pending, time.Minute, time.Millisecond)
		clock.Set(late.RetainUntil) // it was claimed in time
		third := ticket(3, clock.Now(), time.Hour, skew)
		wg.Go(func() { _, _ = j.Claim(context.Background(), third) })
		require.Eventually(t, func() bool {
			j.mu.Lock()
			defer j.mu.Unlock()
			return j.index.inFlight[third.Nonce] != nil
		}, time.Minute, time.Millisecond)
		require.True(t, pending(), "let go of while its record was on the way")
		d.failAt(fails)
		close(release)
		wg.Wait()
		require.Equal(t, replay.Admitted, first.Status)
		if fails == "" {
			require.NoError(t, err)
			require.Equal(t, replay.Answer{Status: replay.Admitted}, second)
		} else {
			require.ErrorIs(t, err, replay.ErrUnavailable)
		}
		d.failAt("")
		gone := func() bool {
			_, _ = j.Claim(context.Background(), ticket(4, clock.Now(), time.Hour, skew))
			j.mu.Lock()
			defer j.mu.Unlock()
			return j.index.live[cache.WindowOf(late.Expires)] == nil
		}
		require.Eventually(t, gone, time.Minute, time.Millisecond)
		assert.Equal(t, replay.TooLate, claim(t, j, late).Status)
		clock.Set(start)
		assert.Equal(t, replay.ClockBehind, claim(t, j, late).Status)
		assert.EqualValues(t, stats(t, j).Live, countUsed(j))
	}
}

// countUsed counts the nonces of all windows.
func countUsed(j *Store) (n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, w := range j.index.live {
		n += len(w.used)
	}
	return n
}

// All who wait for a nonce are told when its commit fails.
//
// trap R24
func TestFailureReachesAll(t *testing.T) {
	clock := claimtest.NewClock()
	j, d := newFaultyJournal(t, clock)
	reached, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	d.failAt("sync")
	d.hook = func(step string) {
		if step == "sync" {
			once.Do(func() { close(reached); <-release })
		}
	}
	c := ticket(1, start, lifetime, skew)
	errs := make(chan error, 10)
	ask := func() { _, err := j.Claim(context.Background(), c); errs <- err }
	go ask()
	<-reached
	for range 9 {
		go ask()
	}
	close(release)
	unavailable, used := 0, 0
	for range 10 {
		if err := <-errs; err != nil {
			require.ErrorIs(t, err, replay.ErrUnavailable)
			unavailable++
		} else {
			used++ // asked when it was over
		}
	}
	assert.Positive(t, unavailable)
	assert.Zero(t, stats(t, j).Answers[replay.Admitted])
	assert.EqualValues(t, used, stats(t, j).Answers[replay.AlreadyUsed])
}

// One window's failure is not another's.
func TestFailureOfOneWindow(t *testing.T) {
	clock := claimtest.NewClock()
	j, _ := newFaultyJournal(t, clock)
	for n := range uint64(2) {
		require.Equal(t, replay.Admitted, claim(t, j, ticket(n, start, time.Duration(1+n)*time.Minute, skew)).Status)
	}
	bad, good := ticket(10, start, time.Minute, skew), ticket(11, start, 2*time.Minute, skew)
	j.mu.Lock()
	s := j.files[cache.WindowOf(bad.Expires)]
	require.NoError(t, s.f.Close()) // every write to it fails
	j.mu.Unlock()
	unavailableClaim(t, j, bad)
	assert.Equal(t, replay.Admitted, claim(t, j, good).Status)
	assert.Equal(t, replay.Admitted, claim(t, j, ticket(12, start, time.Minute, skew)).Status)
}

// That a window existed is on the disk before it is removed; if that cannot be,
// the window stays, refused, until it can.
func TestDropsNothingUnsaid(t *testing.T) {
	clock := claimtest.NewClock()
	j, d := newFaultyJournal(t, clock)
	c := ticket(1, start, lifetime, skew)
	require.Equal(t, replay.Admitted, claim(t, j, c).Status)
	segment := segmentsIn(t, j.dir)[0]
	clock.Set(c.RetainUntil)
	d.failAt("write state")
	unavailableClaim(t, j, ticket(2, clock.Now(), lifetime, skew)) // its segment must be in the state first
	require.Eventually(t, func() bool {                            // the sweep comes after the answer
		return len(retiredIn(t, segment)) == 1
	}, time.Minute, time.Millisecond, "its name is all that is left of it")
	assert.NoFileExists(t, segment)
	clock.Set(start)
	require.Equal(t, replay.ClockBehind, claim(t, j, c).Status)

	// So it is after a restart, which still cannot say so in the state; and
	// after one that can.
	require.NoError(t, j.Close())
	for range 2 {
		j = reopen(t, j.dir, clock, Config{})
		assert.Equal(t, replay.ClockBehind, claim(t, j, c).Status)
		assert.Empty(t, retiredIn(t, segment))
		require.NoError(t, j.Close())
	}
}

func retiredIn(t *testing.T, segment string) []string {
	names, err := filepath.Glob(segment + ".*.gone")
	require.NoError(t, err)
	return names
}

// A clock that cannot be right admits nobody, and is forgiven when set right.
func TestAbsurdClock(t *testing.T) {
	clock := claimtest.NewClock()
	now := clock.Now
	j, err := Open(t.Context(), Config{Dir: t.TempDir(), Now: func() time.Time { return now() }})
	require.NoError(t, err)
	defer j.Close()
	c := ticket(1, start.Add(time.Minute), lifetime, skew)
	now = func() time.Time { return time.Time{} }
	unavailableClaim(t, j, c)
	now = clock.Now
	assert.Equal(t, replay.Admitted, claim(t, j, c).Status)
}

// A record that Open finds may be in the operating system's memory only: the process was
// killed between write and fsync, or the fsync had failed. So nobody is admitted again by this
// record before the record is written once more, and a power failure then loses nothing.
//
// trap R25
func TestFoundRecordIsWrittenAgain(t *testing.T) {
	clock := claimtest.NewClock()
	j, d := newFaultyJournal(t, clock)
	c := bound(ticket(1, start, lifetime, skew), 7)
	d.failAt("sync") // the write was done
	unavailableClaim(t, j, c)
	unsafe := segmentsIn(t, j.dir)
	require.Len(t, unsafe, 1)
	require.NoError(t, j.Close())

	d.failAt("write")
	j, err := openSteps(t.Context(), Config{Dir: j.dir, Now: clock.Now}, d.at)
	require.NoError(t, err)
	unavailableClaim(t, j, c)
	d.failAt("create")
	unavailableClaim(t, j, c)
	assert.Equal(t, replay.AlreadyUsed, claim(t, j, bound(c, 8)).Status)
	d.failAt("")
	again := replay.Answer{Status: replay.Admitted, FirstUsed: start, Repeated: true}
	require.Equal(t, again, claim(t, j, c))
	commits := stats(t, j).Commits
	require.Equal(t, again, claim(t, j, c))
	assert.Equal(t, commits, stats(t, j).Commits, "once more is enough")
	require.NoError(t, j.Close())

	require.NoError(t, os.Truncate(unsafe[0], headerSize))
	j = reopen(t, j.dir, clock, Config{})
	assert.Equal(t, replay.AlreadyUsed, claim(t, j, bound(c, 8)).Status)
}
