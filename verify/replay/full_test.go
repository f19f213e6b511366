package replay

import (
	"context"
	"testing"
	"time"

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
		clock := newClock()
		m := newMemory(t, clock, MemoryConfig{MaxBytes: bytes, Recent: 8})
		fresh := func(n uint64) Claim {
			return ticket(n, start, lifetime+time.Duration(mix(n)%60)*time.Second, skew)
		}
		some, full := admitted(t, m, 1<<30, fresh)
		require.True(t, full)
		capacity := uint64(len(some))
		for n := capacity; n < 3*capacity; n++ {
			if c := fresh(n); claim(t, m, c).Status == Admitted {
				some = append(some, c)
			}
		}
		st := m.Stats()
		t.Logf("%d bytes: full at %d, %d in the end, %.1f bytes each", bytes, capacity, len(some), float64(st.Bytes)/float64(st.Live))
		requireSpent(t, m, some)
		assert.Equal(t, len(some), m.Stats().Live)
		assert.LessOrEqual(t, st.ErrorRate, 1e-6)

		// And room comes back when their time is over.
		clock.set(start.Add(lifetime + time.Minute + 3*skew + time.Minute))
		again, _ := admitted(t, m, int(capacity)/2, func(n uint64) Claim { return ticket(1<<32+n, clock.now(), lifetime, skew) })
		assert.Len(t, again, int(capacity)/2)
	}
}

// The work of one claim at a full cache, counted: no more than a handful of
// slices dropped though hundreds are expired, no chain longer than the
// logarithm allows, nothing allocated.
//
// trap R23
func TestWorkAtFullCache(t *testing.T) {
	clock := newClock()
	m := newMemory(t, clock, MemoryConfig{MaxBytes: 256 << 10})
	fresh := func(n uint64) Claim {
		return ticket(n, clock.now(), lifetime+time.Duration(mix(n)%1000)*time.Second, skew)
	}
	_, full := admitted(t, m, 1<<30, fresh)
	require.True(t, full)
	for n := range uint64(50_000) {
		claim(t, m, fresh(1<<32+n))
	}
	st := m.Stats()
	require.Greater(t, st.Slices, 60)
	assert.LessOrEqual(t, st.LongestChain, 10)
	ctx := context.Background()
	n := uint64(1 << 33)
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		n++
		if a, _ := m.Claim(ctx, ticket(n, start, 100*time.Hour, skew)); a.Status != Full {
			panic(a.Status)
		}
	}))

	clock.step(24 * time.Hour) // all is expired
	before := m.Stats().Slices
	for before > 0 {
		n++
		c := ticket(n, clock.now(), lifetime, skew)
		assert.Equal(t, Admitted, peek(t, m, c).Status)
		require.Equal(t, before, m.Stats().Slices, "looking drops nothing")
		require.Equal(t, Admitted, claim(t, m, c).Status)
		after := m.Stats().Slices
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
	clock := newClock()
	m := newMemory(t, clock, MemoryConfig{MaxBytes: 64 << 10})
	// Half of the memory for one slice, the other for many small ones.
	for n := uint64(0); m.Stats().Bytes < 40<<10; n++ {
		require.Equal(t, Admitted, claim(t, m, ticket(n, start, time.Hour, skew)).Status)
	}
	_, full := admitted(t, m, 1<<20, func(n uint64) Claim {
		return ticket(1<<32+n, start, time.Duration(n)*(1<<sliceShift)*time.Second, skew)
	})
	require.True(t, full)
	clock.step(50 * time.Minute)
	late, full := admitted(t, m, 3000, func(n uint64) Claim { return ticket(1<<33+n, start, time.Hour, skew) })
	assert.False(t, full)
	requireSpent(t, m, late)
}
