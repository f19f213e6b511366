package journal

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/internal/claimtest"
)

// trap R39: a window that was dropped by a clock ahead is made again for new tickets. A
// restart, in good order or with a state that could not be written, knows the old tickets
// from the new ones.
func TestWindowMadeAgainAcrossRestart(t *testing.T) {
	for _, fails := range []string{"", "write state"} {
		clock := claimtest.NewClock()
		j, d := newFaultyJournal(t, clock)
		old := ticket(1, start, lifetime, skew)
		require.Equal(t, replay.Admitted, claim(t, j, old).Status)
		segment := segmentsIn(t, j.dir)[0]

		d.failAt(fails)
		clock.Step(time.Hour)
		_ = claim(t, j, old) // too late, but the window is dropped in passing
		require.Eventually(t, func() bool {
			_, err := os.Stat(segment)
			return os.IsNotExist(err)
		}, time.Minute, time.Millisecond)
		require.Len(t, retiredIn(t, segment), map[string]int{"": 0, "write state": 1}[fails])
		if fails != "" {
			require.NoError(t, j.Close())
			clock.Set(start.Add(time.Second))
			j = reopen(t, j.dir, clock, Config{})
		}
		clock.Set(start.Add(time.Second))
		again := ticket(2, clock.Now(), lifetime-time.Second, skew)
		require.Equal(t, replay.Admitted, claim(t, j, again).Status)
		for range 3 {
			require.Equal(t, replay.ClockBehind, claim(t, j, old).Status)
			stricter := ticket(1, start, lifetime, 0)
			require.Equal(t, replay.ClockBehind, claim(t, j, stricter).Status)
			requireSpent(t, j, []replay.Claim{again})
			j = restarted(t, j, clock)
			require.Zero(t, stats(t, j).Damaged)
		}
		clock.Set(again.RetainUntil)
		require.Equal(t, replay.Admitted, claim(t, j, ticket(3, clock.Now(), lifetime, skew)).Status)
		clock.Set(start.Add(time.Second))
		for range 2 { // dropped twice
			assert.Equal(t, replay.ClockBehind, claim(t, j, old).Status)
			assert.Equal(t, replay.ClockBehind, claim(t, j, again).Status)
			j = restarted(t, j, clock)
		}
	}
}

// trap R39: the claim that drops a window also makes it again. The records of the new window
// go into a segment of their own: the old segment is removed.
func TestWindowMadeAgainAtOnce(t *testing.T) {
	clock := claimtest.NewClock()
	dir := t.TempDir()
	j := reopen(t, dir, clock, Config{})
	clock.Step(time.Minute)
	old := ticket(1, clock.Now(), lifetime, skew)
	require.Equal(t, replay.Admitted, claim(t, j, old).Status)
	clock.Set(old.RetainUntil)
	laxer := ticket(2, old.Issued.Add(time.Second), lifetime-time.Second, time.Minute)
	require.Equal(t, replay.Admitted, claim(t, j, laxer).Status)
	requireSpent(t, j, []replay.Claim{laxer})
	j = restarted(t, j, clock)
	requireSpent(t, j, []replay.Claim{laxer})
	require.NoError(t, j.Close())
}

// trap R39: of a damaged window, no redemption before the opening is known. So a dropped
// damaged window is made again only for tickets issued after the opening.
func TestDamagedWindowMadeAgain(t *testing.T) {
	clock := claimtest.NewClock()
	dir, claims, segment := closedJournal(t, clock, 2)
	flip(t, segment, 8*(headerSize+recordSize)) // the second record is lost
	j := reopen(t, dir, clock, Config{})
	require.Equal(t, 1, stats(t, j).Damaged)
	before := clock.Now()
	clock.Step(time.Hour)
	_ = claim(t, j, claims[0]) // too late, but the window is dropped in passing
	clock.Set(before)
	for range 2 {
		for _, c := range claims {
			require.NotEqual(t, replay.Admitted, claim(t, j, c).Status)
		}
		unknown := claims[1]
		unknown.Nonce, unknown.Issued = claimtest.Nonce(99), claims[1].Issued.Add(time.Second)
		require.Equal(t, replay.ClockBehind, claim(t, j, unknown).Status, "it may be the lost record's")
		j = restarted(t, j, clock)
	}
	clock.Step(skew + time.Second)
	c := ticket(100, clock.Now(), claims[1].Expires.Sub(clock.Now()), skew)
	require.Equal(t, replay.Admitted, claim(t, j, c).Status)
	require.NoError(t, j.Close())
}
