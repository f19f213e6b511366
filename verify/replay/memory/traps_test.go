package memory

import (
	"testing"
	"time"

	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/internal/cache"
	"github.com/admitone/admitone/verify/replay/internal/claimtest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Redeem one ticket, then more than the cache can hold. The first falls out of
// the exact table, and is still known.
//
// trap R1
func TestEvictionReplay(t *testing.T) {
	clock := claimtest.NewClock()
	m := newMemory(t, clock, Config{MaxBytes: 64 << 10, Recent: 8})
	victim := ticket(1<<40, start, lifetime, skew)
	require.Equal(t, replay.Answer{Status: replay.Admitted}, claim(t, m, victim))
	require.Equal(t, replay.AlreadyUsed, claim(t, m, victim).Status)
	_, full := admitted(t, m, 1<<20, func(n uint64) replay.Claim { return ticket(n, start, lifetime, skew) })
	require.True(t, full)
	assert.Equal(t, replay.Answer{Status: replay.PossiblyUsed}, peek(t, m, victim))
	assert.Equal(t, replay.Answer{Status: replay.PossiblyUsed}, claim(t, m, victim))
	clock.Set(victim.RetainUntil.Add(-1))
	assert.Equal(t, replay.Answer{Status: replay.PossiblyUsed}, claim(t, m, victim))
	clock.Step(1)
	assert.Equal(t, replay.Answer{Status: replay.TooLate}, claim(t, m, victim))
}

// What another process redeemed is refused, also if the issuer's clock was
// ahead by all that the skew allows.
//
// trap R2
func TestRestartReplay(t *testing.T) {
	clock := claimtest.NewClock()
	first, err := Open(t.Context(), Config{Now: clock.Now})
	require.NoError(t, err)
	clock.Step(time.Minute)
	exact := ticket(1, clock.Now(), lifetime, skew)
	ahead := ticket(2, clock.Now().Add(skew), lifetime, skew)
	require.Equal(t, replay.Admitted, claim(t, first, exact).Status)
	require.Equal(t, replay.Admitted, claim(t, first, ahead).Status)

	second, err := Open(t.Context(), Config{Now: clock.Now}) // in the same instant
	require.NoError(t, err)
	for _, after := range []time.Duration{0, 1, skew, lifetime} {
		clock.Step(after)
		assert.Equal(t, replay.IssuedBeforeStart, claim(t, second, exact).Status)
		assert.Equal(t, replay.IssuedBeforeStart, claim(t, second, ahead).Status)
	}
	assert.Equal(t, replay.Admitted, claim(t, second, ticket(3, clock.Now(), lifetime, skew)).Status)
}

// A nonce is known until the last moment at which any verifier might ask:
// past the expiry, past the skew, and for a ticket from an issuer ahead of us.
//
// trap R6
func TestRetentionOutlastsLeeway(t *testing.T) {
	for _, issued := range []time.Duration{-skew, 0, skew} {
		clock := claimtest.NewClock()
		m := newMemory(t, clock, Config{})
		c := ticket(1, start.Add(issued), lifetime, skew)
		require.Equal(t, replay.Admitted, claim(t, m, c).Status)
		for _, at := range []time.Time{
			c.Expires.Add(-1), c.Expires, c.Expires.Add(skew - 1), c.Expires.Add(skew), c.RetainUntil.Add(-1),
		} {
			clock.Set(at)
			// Others of the same expiry and of all around come and go.
			claim(t, m, ticket(uint64(at.UnixNano()), at, lifetime, skew))
			assert.Equal(t, replay.AlreadyUsed, claim(t, m, c).Status, "issued %v, at %v", issued, at)
		}
		clock.Set(c.RetainUntil)
		assert.Equal(t, replay.TooLate, claim(t, m, c).Status)
	}
}

// Wherever in its window a ticket falls, and however busy its neighbours are,
// it lives to the end.
//
// trap R7
func TestNoShortWindow(t *testing.T) {
	for offset := -time.Second; offset <= 17*time.Second; offset += 250 * time.Millisecond {
		clock := claimtest.NewClock()
		m := newMemory(t, clock, Config{MaxBytes: 64 << 10})
		c := ticket(1<<40, start.Add(offset), lifetime, 0)
		clock.Set(c.Expires.Add(-1)) // first use at the last moment
		require.Equal(t, replay.Admitted, claim(t, m, c).Status)
		for n := uint64(0); clock.Now().Before(c.RetainUntil); n++ {
			requireSpent(t, m, []replay.Claim{c})
			claim(t, m, ticket(n, clock.Now(), lifetime, 0))
			clock.Step(500 * time.Millisecond)
		}
	}
}

// Verifiers with other lifetimes and skews, one after another by reload or at
// once, share a cache: what one has spent, none admits.
//
// trap R9
func TestLifetimesAndSkewsMixed(t *testing.T) {
	skews := []time.Duration{0, time.Second, skew, time.Minute, time.Hour}
	for _, first := range skews {
		for _, life := range []time.Duration{time.Second, time.Minute, 15 * time.Minute, 24 * time.Hour} {
			clock := claimtest.NewClock()
			m := newMemory(t, clock, Config{MaxBytes: 256 << 10})
			require.Equal(t, replay.Admitted, claim(t, m, ticket(1, start, life, first)).Status)
			// One more in its window, retained for longer or shorter than it.
			claim(t, m, ticket(2, start, life, skew))
			for range 200 {
				for _, other := range skews {
					a := claim(t, m, ticket(1, start, life, other))
					require.NotEqual(t, replay.Admitted, a.Status, "spent with skew %v, lifetime %v; asked with %v at +%v",
						first, life, other, clock.Now().Sub(start))
				}
				claim(t, m, ticket(uint64(clock.Now().UnixNano()), clock.Now(), time.Minute, skew))
				clock.Step((life + 4*time.Hour) / 190)
			}
		}
	}
}

// A record whose verifier has the larger skew keeps its window, though the
// other verifiers' records in it are all past.
//
// trap R9
func TestLongestRetentionKeepsTheWindow(t *testing.T) {
	for _, order := range [][2]time.Duration{{time.Minute, 0}, {0, time.Minute}} {
		clock := claimtest.NewClock()
		m := newMemory(t, clock, Config{MaxBytes: 64 << 10}) // of one shard
		long := ticket(uint64(time.Minute), start, lifetime, time.Minute)
		for _, s := range order {
			require.Equal(t, replay.Admitted, claim(t, m, ticket(uint64(s), start, lifetime, s)).Status)
		}
		clock.Set(long.RetainUntil.Add(-1))
		assert.Equal(t, replay.AlreadyUsed, claim(t, m, long).Status)
		assert.Equal(t, replay.Admitted, claim(t, m, ticket(9, start, lifetime, time.Minute)).Status)
	}
}

// A newer ticket, redeemed first, is no reason to refuse an older one.
//
// trap R10
func TestOlderTicketAfterNewer(t *testing.T) {
	clock := claimtest.NewClock()
	m := newMemory(t, clock, Config{})
	clock.Step(lifetime)
	for n := uint64(0); n < 100; n++ { // from the newest to the oldest that is good
		c := ticket(n, clock.Now().Add(-time.Duration(n)*lifetime/100), lifetime, skew)
		require.Equal(t, replay.Admitted, claim(t, m, c).Status)
	}
}

// A ticket dated far ahead takes nothing from the others: neither while it
// waits, nor when a clock that ran ahead has dropped it.
//
// trap R11
func TestFuturePoison(t *testing.T) {
	clock := claimtest.NewClock()
	m := newMemory(t, clock, Config{})
	far := ticket(1, start.AddDate(100, 0, 0), lifetime, skew)
	require.Equal(t, replay.Admitted, claim(t, m, far).Status)
	n := uint64(2)
	current := func() {
		t.Helper()
		for range 300 {
			require.Equal(t, replay.Admitted, claim(t, m, ticket(n, clock.Now(), lifetime, skew)).Status)
			n++
			clock.Step(time.Second)
		}
		require.Equal(t, replay.AlreadyUsed, claim(t, m, far).Status)
	}
	current()
	before := clock.Now()
	clock.Set(far.RetainUntil)
	claim(t, m, ticket(n, clock.Now(), lifetime, skew)) // drops all
	n++
	clock.Set(before.Add(time.Hour))
	current()
}

// First use just before the turn of a window, by either clock that could turn
// it, replay just after.
//
// trap R12
func TestRollover(t *testing.T) {
	turn := cache.WindowEnd(cache.WindowOf(start.Add(lifetime)) - 1)
	for _, at := range []time.Duration{-1, 0, 1} {
		clock := claimtest.NewClock()
		m := newMemory(t, clock, Config{})
		c := ticket(1, turn.Add(at-lifetime), lifetime, skew) // expires at the turn
		clock.Set(turn.Add(-1))                               // and is used before it
		require.Equal(t, replay.Admitted, claim(t, m, c).Status)
		for range 3 {
			claim(t, m, ticket(2+uint64(clock.Now().UnixNano()), clock.Now(), lifetime, skew))
			assert.Equal(t, replay.AlreadyUsed, claim(t, m, c).Status)
			clock.Step(1)
		}
	}
}

// The clock jumps an hour ahead, drops windows, and is set right.
//
// trap R13
func TestForwardStepAndCorrection(t *testing.T) {
	clock := claimtest.NewClock()
	m := newMemory(t, clock, Config{Recent: 1, MaxBytes: 64 << 10})
	victims, _ := admitted(t, m, 100, func(n uint64) replay.Claim {
		return ticket(n, start, 5*time.Second+time.Duration(n)*3*time.Second, skew)
	})
	clock.Step(time.Hour)
	others, _ := admitted(t, m, 100, func(n uint64) replay.Claim { return ticket(1000+n, clock.Now(), lifetime, skew) })
	clock.Step(-time.Hour)
	behind := 0
	for _, c := range victims {
		a := claim(t, m, c)
		require.Contains(t, []replay.Status{replay.ClockBehind, replay.AlreadyUsed}, a.Status)
		if a.Status == replay.ClockBehind {
			behind++
		}
	}
	assert.GreaterOrEqual(t, behind, 90, "all but the table's eight")
	requireSpent(t, m, others)

	// Fresh tickets of a dropped window are refused, too; of others they are not.
	assert.Equal(t, replay.ClockBehind, claim(t, m, ticket(5000, start, time.Minute, skew)).Status)
	assert.Equal(t, replay.ClockBehind, peek(t, m, ticket(5000, start, time.Minute, skew)).Status)
	assert.Equal(t, replay.Admitted, claim(t, m, ticket(5001, start, 10*time.Minute, skew)).Status)
	assert.Equal(t, time.Hour, stats(t, m).ClockBehind)
	// The refusal ends with the time it is about.
	clock.Step(306 * time.Second)
	assert.Equal(t, replay.Admitted, claim(t, m, ticket(5002, clock.Now(), lifetime, skew)).Status)
}

// The clock steps back. What was used is still used, what comes is served, the
// step shows, and its effects end by themselves.
//
// trap R14
func TestBackwardStep(t *testing.T) {
	clock := claimtest.NewClock()
	m, err := Open(t.Context(), Config{Now: clock.Now})
	require.NoError(t, err)
	clock.Step(2 * time.Hour)
	old, _ := admitted(t, m, 50, func(n uint64) replay.Claim { return ticket(n, clock.Now(), lifetime, skew) })
	assert.Zero(t, stats(t, m).ClockBehind)
	clock.Step(-time.Hour)
	assert.Equal(t, time.Hour, stats(t, m).ClockBehind)
	requireSpent(t, m, old)
	fresh, _ := admitted(t, m, 50, func(n uint64) replay.Claim { return ticket(1000+n, clock.Now(), lifetime, skew) })
	requireSpent(t, m, fresh)
	clock.Step(2 * time.Hour)
	assert.Equal(t, replay.Admitted, claim(t, m, ticket(5000, clock.Now(), lifetime, skew)).Status)
	assert.Zero(t, stats(t, m).ClockBehind)

	// Back to before the start: refused by the barrier, until it is over.
	clock.Set(start.Add(-time.Minute))
	assert.Equal(t, replay.IssuedBeforeStart, claim(t, m, ticket(6000, clock.Now(), lifetime, skew)).Status)
	assert.Positive(t, stats(t, m).ClockBehind)
	clock.Set(start.Add(skew + 1))
	assert.Equal(t, replay.Admitted, claim(t, m, ticket(6001, clock.Now(), lifetime, skew)).Status)
}

// One ticket of a far expiry comes first; those behind it are dropped in
// their time.
//
// trap R15
func TestHeadOfLine(t *testing.T) {
	clock := claimtest.NewClock()
	m := newMemory(t, clock, Config{MaxBytes: 64 << 10})
	far := ticket(1, start.AddDate(1, 0, 0), lifetime, skew)
	require.Equal(t, replay.Admitted, claim(t, m, far).Status)
	most := int64(0)
	for n := range uint64(3600) {
		require.Equal(t, replay.Admitted, claim(t, m, ticket(2+n, clock.Now(), time.Minute, 0)).Status)
		clock.Step(time.Second)
		most = max(most, stats(t, m).Live)
	}
	assert.LessOrEqual(t, int(most), 1+120+16+2, "a lifetime, the retention and a window's width at one a second")
	requireSpent(t, m, []replay.Claim{far})
}

// Nor may a window whose retention was raised, by a record of a larger skew,
// keep those behind it that it was ahead of.
//
// trap R15
func TestHeadOfLineRaised(t *testing.T) {
	clock := claimtest.NewClock()
	m := newMemory(t, clock, Config{MaxBytes: 64 << 10})
	for n := range uint64(10) {
		require.Equal(t, replay.Admitted, claim(t, m, ticket(n, start, time.Duration(1+n)*time.Minute, skew)).Status)
	}
	raised := ticket(10, start, time.Minute, 24*time.Hour)
	require.Equal(t, replay.Admitted, claim(t, m, raised).Status)
	clock.Step(time.Hour)
	for n := range uint64(3) {
		require.Equal(t, replay.Admitted, claim(t, m, ticket(11+n, clock.Now(), time.Minute, skew)).Status)
	}
	assert.EqualValues(t, 5, stats(t, m).Live, "the window that was raised, of two, and the three new ones")
	requireSpent(t, m, []replay.Claim{raised})
}

// Nothing is special about a nonce of zeros, nor about the zero time, nor
// about times before 1970.
//
// trap R21
func TestSentinels(t *testing.T) {
	zeroTime := time.Time{}
	for _, at := range []time.Time{start, zeroTime.Add(time.Hour), zeroTime.Add(skew), time.Unix(0, 0), time.Unix(-5, 0)} {
		now := at
		m, err := Open(t.Context(), Config{NoBarrier: true, Now: func() time.Time { return now }})
		require.NoError(t, err)
		c := ticket(0, at.Add(-skew), time.Minute, skew)
		c.Nonce = [16]byte{}
		assert.Equal(t, replay.Answer{Status: replay.Admitted}, peek(t, m, c), "an empty table knows no nonce: %v", at)
		assert.Equal(t, replay.Answer{Status: replay.Admitted}, claim(t, m, c))
		a := claim(t, m, c)
		assert.Equal(t, replay.AlreadyUsed, a.Status)
		assert.True(t, at.Equal(a.FirstUsed), "%v is not %v", a.FirstUsed, at)
		one := c
		one.Nonce[15] = 1
		assert.Equal(t, replay.Admitted, claim(t, m, one).Status)
	}

	// A store whose epoch is the zero time still has a barrier.
	m, err := Open(t.Context(), Config{Now: func() time.Time { return zeroTime }})
	require.NoError(t, err)
	assert.Equal(t, replay.IssuedBeforeStart, claim(t, m, ticket(1, zeroTime, time.Minute, skew)).Status)

	// Nor does an empty table know a nonce of zeros when it is refused.
	zero := ticket(0, zeroTime, time.Minute, skew)
	zero.Nonce = [16]byte{}
	assert.Equal(t, replay.Answer{Status: replay.IssuedBeforeStart}, claim(t, m, zero))

	// A claim that nobody filled in is refused.
	clock := claimtest.NewClock()
	assert.Equal(t, replay.TooLate, claim(t, newMemory(t, clock, Config{}), replay.Claim{}).Status)
}

// A replay, even a thousand times, makes nothing live longer, keeps
// nothing in the exact table and takes no room.
//
// trap R27
func TestReplayRefreshesNothing(t *testing.T) {
	clock := claimtest.NewClock()
	m := newMemory(t, clock, Config{MaxBytes: 16 << 10, Recent: 8})
	victim := ticket(1<<40, start, lifetime, skew)
	require.Equal(t, replay.Admitted, claim(t, m, victim).Status)
	before := stats(t, m)
	for range 1000 {
		longer := victim
		longer.RetainUntil = victim.RetainUntil.Add(time.Hour)
		require.Equal(t, replay.AlreadyUsed, claim(t, m, longer).Status)
	}
	after := stats(t, m)
	assert.Equal(t, before.Bytes, after.Bytes)
	assert.EqualValues(t, before.Live, after.Live)
	assert.EqualValues(t, 1000, after.Answers[replay.AlreadyUsed])

	// Eight newer ones push it out of the table, replayed or not.
	for n := range uint64(8) {
		require.Equal(t, replay.AlreadyUsed, claim(t, m, victim).Status)
		require.Equal(t, replay.Admitted, claim(t, m, ticket(n, start, lifetime, skew)).Status)
	}
	require.Equal(t, replay.PossiblyUsed, claim(t, m, victim).Status)

	// And its window goes when it would have gone.
	clock.Set(victim.RetainUntil)
	claim(t, m, ticket(99, clock.Now(), lifetime, skew))
	assert.EqualValues(t, 1, stats(t, m).Live)
}

// A claim that comes at or after its end is refused, whether or not its nonce
// was ever spent, and whether or not the window is still there.
//
// trap R29
func TestLateClaim(t *testing.T) {
	for _, spent := range []bool{false, true} {
		for _, late := range []time.Duration{0, 1, time.Hour} {
			clock := claimtest.NewClock()
			m := newMemory(t, clock, Config{MaxBytes: 64 << 10}) // of one shard
			c := ticket(1, start, lifetime, skew)
			claim(t, m, ticket(2, start, lifetime, time.Hour)) // keeps the window
			live := 1
			if spent {
				require.Equal(t, replay.Admitted, claim(t, m, c).Status)
				live = 2
			}
			clock.Set(c.RetainUntil.Add(late))
			assert.Equal(t, replay.Answer{Status: replay.TooLate}, peek(t, m, c))
			assert.Equal(t, replay.Answer{Status: replay.TooLate}, claim(t, m, c))
			assert.EqualValues(t, live, stats(t, m).Live, "a late claim is not inserted")
		}
	}
}

// The clock that judges a claim is read when its turn has come, with the lock
// held, and not when it began to wait.
//
// trap R29
func TestClockIsReadUnderTheLock(t *testing.T) {
	var m *Store
	readings, unlocked := 0, 0
	m, err := Open(t.Context(), Config{MaxBytes: 64 << 10, NoBarrier: true, Now: func() time.Time {
		if m != nil { // not in Open
			readings++
			if m.shards[0].mu.TryLock() {
				unlocked++
				m.shards[0].mu.Unlock()
			}
		}
		return start
	}})
	require.NoError(t, err)
	require.Len(t, m.shards, 1)
	c := ticket(1, start, lifetime, skew)
	require.Equal(t, replay.Admitted, peek(t, m, c).Status)
	require.Equal(t, replay.Admitted, claim(t, m, c).Status)
	assert.Equal(t, 2, readings, "once for each call")
	assert.Zero(t, unlocked)
}
