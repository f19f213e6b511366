package journal

import (
	"context"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/internal/cache"
	"github.com/admitone/admitone/verify/replay/internal/claimtest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Offer three times what fits, in rounds with restarts between them, then replay
// all that was admitted.
//
// trap R16
func TestForgetsNothingWhenFull(t *testing.T) {
	clock := claimtest.NewClock()
	j, _ := newJournal(t, clock, Config{MaxBytes: 64 << 10})
	fresh := func(n uint64) replay.Claim {
		return ticket(n, start, lifetime+time.Duration(cache.Mix(n)%60)*time.Second, skew)
	}
	some, full := admitted(t, j, 1<<20, fresh)
	require.True(t, full)
	capacity := uint64(len(some))
	for n := capacity; n < 3*capacity; n++ {
		if n%capacity == 0 {
			j = restarted(t, j, clock)
		}
		if c := fresh(n); claim(t, j, c).Status == replay.Admitted {
			some = append(some, c)
		}
	}
	requireSpent(t, j, some)
	j = restarted(t, j, clock)
	requireSpent(t, j, some)
	assert.EqualValues(t, len(some), stats(t, j).Live)
	assert.LessOrEqual(t, stats(t, j).Bytes, stats(t, j).MaxBytes)
}

// A window that is over, and held by a record on its way, is no room: the bound
// holds though the disk hangs.
//
// trap R16
func TestBoundHoldsWhileTheDiskHangs(t *testing.T) {
	clock := claimtest.NewClock()
	j, d := newFaultyJournal(t, clock)
	j.maxBytes = leastBytes
	reached, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	d.hook = func(step string) {
		if step == "sync" {
			once.Do(func() { close(reached); <-release })
		}
	}
	var wg sync.WaitGroup
	held := ticket(1, start, time.Second, 0)
	wg.Go(func() { _, _ = j.Claim(context.Background(), held) })
	<-reached
	clock.Set(held.RetainUntil)
	n, status := uint64(2), replay.Admitted
	for ; status == replay.Admitted; n++ {
		require.Less(t, n, uint64(leastBytes/nonceBytes))
		c := ticket(n, clock.Now(), lifetime, skew)
		a, _, _, err := j.step(&c)
		require.NoError(t, err)
		status = a.Status
	}
	require.Equal(t, replay.Full, status)
	assert.LessOrEqual(t, stats(t, j).Bytes, j.maxBytes)
	close(release)
	wg.Wait()
	require.Eventually(t, func() bool {
		return claim(t, j, ticket(n+1, clock.Now(), lifetime, skew)).Status == replay.Admitted
	},
		time.Minute, time.Millisecond, "there is room when it is let go of")
}

// Every method at once, with a clock that jumps both ways, a journal that is
// full and a Close in the middle: all return.
//
// trap R17
func TestNoDeadlock(t *testing.T) {
	clock := claimtest.NewClock()
	j, _ := newJournal(t, clock, Config{MaxBytes: 64 << 10})
	done := make(chan struct{})
	go func() {
		defer close(done)
		var wg sync.WaitGroup
		for g := range uint64(8) {
			wg.Go(func() {
				for i := range uint64(300) {
					c := bound(ticket(g%4<<32|i, clock.Now(), time.Duration(cache.Mix(i)%1000)*time.Second, skew), byte(g%3))
					switch i % 8 {
					case 0:
						stats(t, j)
					case 1, 2:
						_, _ = j.Peek(context.Background(), c)
					case 3:
						clock.Step(time.Duration(cache.Mix(g<<32|i)%2000) * time.Second)
					case 4:
						clock.Step(-time.Duration(cache.Mix(i)%1900) * time.Second)
					default:
						if _, err := j.Claim(context.Background(), c); err != nil {
							assert.ErrorIs(t, err, replay.ErrUnavailable)
						}
					}
					if g == 7 && i == 200 {
						assert.NoError(t, j.Close())
					}
				}
			})
		}
		wg.Wait()
	}()
	select {
	case <-done:
	case <-time.After(5 * time.Minute):
		t.Fatal("deadlock")
	}
}

// Nonces that nearly are the same are different ones on the disk, too.
//
// trap R19
func TestDistinctNoncesAcrossRestart(t *testing.T) {
	clock := claimtest.NewClock()
	j, _ := newJournal(t, clock, Config{})
	all := []replay.Claim{ticket(0, start, lifetime, skew)}
	for bit := range 128 {
		c := all[0]
		c.Nonce[bit/8] ^= 1 << (bit % 8)
		all = append(all, c)
	}
	for i, c := range all {
		if i%2 == 0 {
			require.Equal(t, replay.Admitted, claim(t, j, c).Status)
		}
	}
	j = restarted(t, j, clock)
	for i, c := range all {
		want := replay.Admitted
		if i%2 == 0 {
			want = replay.AlreadyUsed
		}
		require.Equal(t, want, claim(t, j, c).Status, "nonce %d", i)
	}
	j = restarted(t, j, clock)
	for _, c := range all {
		require.Equal(t, replay.AlreadyUsed, claim(t, j, c).Status)
	}
}

// Nothing is special about a nonce of zeros, nor about a first use at time zero
// or before it; and zeros in the place of a record are no record of that nonce: before
// another record they are damage, and behind all records they are room.
//
// trap R21
// trap R28
func TestSentinels(t *testing.T) {
	for _, at := range []time.Time{start, time.Unix(0, 0).UTC(), time.Unix(-5, 7).UTC()} {
		clock := claimtest.NewClock()
		clock.Set(at)
		j, dir := newJournal(t, clock, Config{})
		zero := ticket(0, at, lifetime, skew)
		zero.Nonce = [16]byte{}
		one := zero
		one.Nonce[15] = 1
		require.Equal(t, replay.Answer{Status: replay.Admitted}, claim(t, j, zero))
		want := replay.Answer{Status: replay.AlreadyUsed, FirstUsed: at}
		require.Equal(t, want, claim(t, j, zero))
		require.Equal(t, replay.Admitted, claim(t, j, one).Status)
		require.NoError(t, j.Close())

		segment := segmentsIn(t, dir)[0]
		info, err := os.Stat(segment)
		require.NoError(t, err)
		require.NoError(t, os.Truncate(segment, info.Size()+2*recordSize))
		j = reopen(t, dir, clock, Config{})
		require.Zero(t, stats(t, j).Damaged)
		require.EqualValues(t, 2, stats(t, j).Live)
		require.Equal(t, want, claim(t, j, zero))
		require.NoError(t, j.Close())
		overwrite(t, segment, headerSize, make([]byte, recordSize)) // zero's own
		j = reopen(t, dir, clock, Config{})
		assert.Equal(t, 1, stats(t, j).Damaged)
		assert.EqualValues(t, 1, stats(t, j).Live)
		assert.Equal(t, replay.IssuedBeforeStart, claim(t, j, zero).Status)
		assert.Equal(t, replay.AlreadyUsed, claim(t, j, one).Status)
		require.NoError(t, j.Close())
	}
}

// The work of one claim at a full journal, counted: no more than a handful of
// windows let go of though hundreds are over, and more only if it needs their room;
// looking lets go of none; a refusal allocates nothing. And the disk is at work,
// on commits and on what is removed, while nobody holds the lock.
//
// trap R23
func TestWorkWhenFull(t *testing.T) {
	clock := claimtest.NewClock()
	j, d := newFaultyJournal(t, clock)
	j.maxBytes = 1 << 20
	d.hook = func(step string) {
		for deadline := time.Now().Add(time.Minute); !j.mu.TryLock(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Errorf("the lock is held at the step %q", step)
				return
			}
		}
		j.mu.Unlock()
	}
	// Many windows of one nonce, and one of so many that the journal is full.
	const small = 300
	for n := range uint64(small) {
		require.Equal(t, replay.Admitted, claim(t, j, ticket(n, start, time.Duration(n)*replay.Window, skew)).Status)
	}
	j.mu.Lock()
	big := start.Add(100 * time.Hour)
	for n := uint64(1 << 32); !j.index.full(clock.Now(), j.maxBytes); n++ { // as if it had been written
		r := record{nonce: claimtest.Nonce(n), first: start.UnixNano(), retain: big.Unix()}
		j.index.load(cache.WindowOf(big), &r, start)
	}
	j.mu.Unlock()
	full := ticket(1<<33, start, time.Minute, skew)
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		if a, err := j.Claim(context.Background(), full); err != nil || a.Status != replay.Full {
			panic(a.Status)
		}
	}))

	queued := func() int {
		j.mu.Lock()
		defer j.mu.Unlock()
		return len(j.index.queue)
	}
	swept := func() bool {
		j.mu.Lock()
		defer j.mu.Unlock()
		return len(j.index.gone) == 0
	}
	clock.Set(start.Add(50 * time.Hour)) // all but the big one are over
	before, most := queued(), 0
	require.Equal(t, small+1, before)
	for n := uint64(1 << 34); before > 2; n++ {
		c := ticket(n, clock.Now(), lifetime, skew)
		assert.Equal(t, replay.Admitted, peek(t, j, c).Status)
		require.Equal(t, before, queued(), "looking lets go of nothing")
		require.Equal(t, replay.Admitted, claim(t, j, c).Status)
		after := queued()
		dropped := before - after
		if n == 1<<34 {
			dropped++ // it made a window
			require.LessOrEqual(t, dropped, 1+spare/nonceBytes, "as many as it needs the room of")
			// What a window takes beside its nonces comes free when it is off the disk.
			require.Eventually(t, swept, time.Minute, time.Millisecond)
		} else {
			most = max(most, dropped)
			require.LessOrEqual(t, dropped, dropsPerClaim)
		}
		before = after
	}
	assert.Equal(t, dropsPerClaim, most)
	require.Eventually(t, func() bool { return len(segmentsIn(t, j.dir)) == 1 }, time.Minute, time.Millisecond)
	assert.EqualValues(t, 0, stats(t, j).Failures)
}

// One ticket of a far expiry comes first; those behind it are let go of in their
// time, in memory and on the disk.
//
// trap R11
// trap R15
func TestHeadOfLine(t *testing.T) {
	clock := claimtest.NewClock()
	j, dir := newJournal(t, clock, Config{})
	far := ticket(1, start.AddDate(100, 0, 0), lifetime, skew)
	require.Equal(t, replay.Admitted, claim(t, j, far).Status)
	most := int64(0)
	for n := range uint64(400) {
		require.Equal(t, replay.Admitted, claim(t, j, ticket(2+n, clock.Now(), time.Minute, 0)).Status)
		clock.Step(10 * time.Second)
		most = max(most, stats(t, j).Live)
	}
	assert.LessOrEqual(t, int(most), 1+12+2+1, "a lifetime, the retention and a window's width at one in 10 s")
	assert.Equal(t, replay.AlreadyUsed, claim(t, j, far).Status)
	require.NoError(t, j.Close())
	assert.LessOrEqual(t, len(segmentsIn(t, dir)), 1+12+2)
	j = reopen(t, dir, clock, Config{})
	assert.Equal(t, replay.AlreadyUsed, claim(t, j, far).Status)
}

// A replay, even a thousand times, writes nothing and makes nothing live longer.
//
// trap R27
func TestReplayRefreshesNothing(t *testing.T) {
	clock := claimtest.NewClock()
	j, _ := newJournal(t, clock, Config{})
	c := bound(ticket(1, start, lifetime, skew), 7)
	require.Equal(t, replay.Admitted, claim(t, j, c).Status)
	before := stats(t, j)
	longer := c
	longer.RetainUntil = c.RetainUntil.Add(time.Hour)
	for range 1000 {
		require.True(t, claim(t, j, longer).Repeated)
		require.Equal(t, replay.AlreadyUsed, claim(t, j, bound(longer, 8)).Status)
	}
	after := stats(t, j)
	assert.Equal(t, before.Commits, after.Commits)
	assert.Equal(t, before.DiskBytes, after.DiskBytes)
	assert.Equal(t, before.Bytes, after.Bytes)
	assert.EqualValues(t, before.Live, after.Live)
	clock.Set(c.RetainUntil)
	require.Equal(t, replay.Admitted, claim(t, j, ticket(2, clock.Now(), lifetime, skew)).Status)
	assert.EqualValues(t, 1, stats(t, j).Live, "its window goes when it would have gone")
}
