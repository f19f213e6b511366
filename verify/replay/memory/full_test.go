package memory

import (
	"context"
	"testing"
	"time"

	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/internal/cache"
	"github.com/admitone/admitone/verify/replay/internal/claimtest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Offer three times what fits, then replay all that was admitted.
//
// trap R16
func TestNothingIsForgottenWhenFull(t *testing.T) {
	sizes := []int64{16 << 10, 64 << 10, 1 << 20}
	if testing.Short() {
		sizes = sizes[:2]
	}
	for _, bytes := range sizes {
		clock := claimtest.NewClock()
		m := newMemory(t, clock, Config{MaxBytes: bytes, Recent: 8})
		fresh := func(n uint64) replay.Claim {
			return ticket(n, start, lifetime+time.Duration(cache.Mix(n)%60)*time.Second, skew)
		}
		some, full := admitted(t, m, 1<<30, fresh)
		require.True(t, full)
		capacity := uint64(len(some))
		for n := capacity; n < 3*capacity; n++ {
			if c := fresh(n); claim(t, m, c).Status == replay.Admitted {
				some = append(some, c)
			}
		}
		st := stats(t, m)
		t.Logf("%d bytes: full at %d, %d in the end, %.1f bytes each",
			bytes, capacity, len(some), float64(st.Bytes)/float64(st.Live))
		requireSpent(t, m, some)
		assert.EqualValues(t, len(some), stats(t, m).Live)
		assert.LessOrEqual(t, st.ErrorRate, 1e-6)

		// And room comes back when their time is over.
		clock.Set(start.Add(lifetime + time.Minute + 3*skew + time.Minute))
		again, _ := admitted(t, m, int(capacity)/2, func(n uint64) replay.Claim {
			return ticket(1<<32+n, clock.Now(), lifetime, skew)
		})
		assert.Len(t, again, int(capacity)/2)
	}
}

// The work of one claim at a full cache, counted: no more than a handful of
// windows dropped though hundreds are expired, no chain longer than the
// logarithm allows, nothing allocated.
//
// trap R23
func TestWorkAtFullCache(t *testing.T) {
	clock := claimtest.NewClock()
	m := newMemory(t, clock, Config{MaxBytes: 256 << 10})
	fresh := func(n uint64) replay.Claim {
		return ticket(n, clock.Now(), lifetime+time.Duration(cache.Mix(n)%1000)*time.Second, skew)
	}
	_, full := admitted(t, m, 1<<30, fresh)
	require.True(t, full)
	for n := range uint64(50_000) {
		claim(t, m, fresh(1<<32+n))
	}
	st := stats(t, m)
	require.Greater(t, st.Windows, 60)
	assert.LessOrEqual(t, st.LongestChain, 10)
	ctx := context.Background()
	n := uint64(1 << 33)
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		n++
		if a, _ := m.Claim(ctx, ticket(n, start, 100*time.Hour, skew)); a.Status != replay.Full {
			panic(a.Status)
		}
	}))

	clock.Step(24 * time.Hour) // all is expired
	before := stats(t, m).Windows
	for before > 0 {
		n++
		c := ticket(n, clock.Now(), lifetime, skew)
		assert.Equal(t, replay.Admitted, peek(t, m, c).Status)
		require.Equal(t, before, stats(t, m).Windows, "looking drops nothing")
		require.Equal(t, replay.Admitted, claim(t, m, c).Status)
		after := stats(t, m).Windows
		require.GreaterOrEqual(t, after, before-dropsPerClaim)
		require.LessOrEqual(t, after, max(1, before-dropsPerClaim+1))
		if after == 1 {
			break
		}
		before = after
	}
}

// Claims that need room take it from what is expired before they are refused,
// however much of it they need.
//
// trap R23
func TestFullOnlyWhenNothingIsExpired(t *testing.T) {
	clock := claimtest.NewClock()
	m := newMemory(t, clock, Config{MaxBytes: 64 << 10})
	// Half of the memory for one window, the other for many small ones.
	for n := uint64(0); stats(t, m).Bytes < 40<<10; n++ {
		require.Equal(t, replay.Admitted, claim(t, m, ticket(n, start, time.Hour, skew)).Status)
	}
	_, full := admitted(t, m, 1<<20, func(n uint64) replay.Claim {
		return ticket(1<<32+n, start, time.Duration(n)*replay.Window, skew)
	})
	require.True(t, full)
	clock.Step(50 * time.Minute)
	late, full := admitted(t, m, 3000, func(n uint64) replay.Claim { return ticket(1<<33+n, start, time.Hour, skew) })
	assert.False(t, full)
	requireSpent(t, m, late)
}
