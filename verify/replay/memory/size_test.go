package memory

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/internal/claimtest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A million live nonces, redeemed at a steady rate over the time for which they
// are remembered, take at most eight bytes each of the heap, all that belongs
// to the cache included, and none is mistaken for another more often than
// promised.
func TestBytesPerNonce(t *testing.T) {
	if testing.Short() {
		t.Skip("with -short: it takes long, on one goroutine")
	}
	clock := claimtest.NewClock()
	before := claimtest.HeapInUse()
	m := newMemory(t, clock, Config{})
	for n := range uint64(million) {
		c, at := traffic(n)
		clock.Set(start.Add(at))
		if _, err := m.Claim(context.Background(), c); err != nil {
			t.Fatal(err)
		}
	}
	used := claimtest.HeapInUse() - before
	st := stats(t, m)
	t.Logf("%d live nonces: %.2f bytes each, stated %.2f; error rate %.2g, longest chain %d",
		st.Live, float64(used)/million, float64(st.Bytes)/million, st.ErrorRate, st.LongestChain)
	require.LessOrEqual(t, st.Answers[replay.PossiblyUsed], uint64(5))
	require.EqualValues(t, million, uint64(st.Live)+st.Answers[replay.PossiblyUsed])
	assert.LessOrEqual(t, used, int64(8*million))
	assert.LessOrEqual(t, st.Bytes, int64(8*million))
	assert.LessOrEqual(t, st.ErrorRate, 1e-6)
	runtime.KeepAlive(m)
}

// The next million costs nothing beside new filters, of which a claim makes few:
// the windows before them say how large.
func TestSteadyStateDoesNotAllocate(t *testing.T) {
	if testing.Short() {
		t.Skip("with -short: it takes long, on one goroutine")
	}
	clock := claimtest.NewClock()
	m := newMemory(t, clock, Config{MaxBytes: 16 << 20})
	n := uint64(0)
	next := func() {
		c, at := traffic(n)
		clock.Set(start.Add(at))
		n++
		if _, err := m.Claim(context.Background(), c); err != nil {
			t.Fatal(err)
		}
	}
	for range million {
		next()
	}
	assert.Zero(t, testing.AllocsPerRun(million, next),
		"rounded down: the average over claims that include those that make a filter")
	assert.Positive(t, stats(t, m).Live)
	assert.Less(t, int(stats(t, m).Live), 1_100_000, "what is expired was dropped meanwhile")
}

// isolated is the nth of tickets that share their window with none.
func isolated(n uint64, from time.Time) replay.Claim {
	return ticket(n, from, lifetime+time.Duration(n)*replay.Window, skew)
}

// Sparse traffic, tickets far apart in their expiry, costs most. The package
// documentation says how many of them the default holds.
func TestSparseCapacity(t *testing.T) {
	clock := claimtest.NewClock()
	m := newMemory(t, clock, Config{})
	refused := 0
	for n := range uint64(80_000) {
		// The shards fill unequally, by chance.
		if a := claim(t, m, isolated(n, start)); a.Status != replay.Admitted {
			require.Equal(t, replay.Full, a.Status)
			refused++
		}
	}
	assert.LessOrEqual(t, refused, 80)
}

// The bound holds also for a cache that had many windows, of which its maps keep
// the room, and then has few large ones; and over and over.
func TestSparseThenDense(t *testing.T) {
	if testing.Short() {
		t.Skip("with -short: it takes long, on one goroutine")
	}
	clock := claimtest.NewClock()
	before := claimtest.HeapInUse()
	m := newMemory(t, clock, Config{MaxBytes: 8 << 20})
	n := uint64(0)
	for round := range 3 {
		for _, sparse := range []bool{true, false} {
			clock.Step(24 * 365 * time.Hour)
			for full, i := 0, uint64(0); full < 1000; i++ {
				c := ticket(n, clock.Now(), lifetime, skew)
				if sparse {
					c = isolated(i, clock.Now())
					c.Nonce = claimtest.Nonce(n)
				}
				n++
				if a := claim(t, m, c); a.Status == replay.Full {
					full++
				}
			}
			used, st := claimtest.HeapInUse()-before, stats(t, m)
			t.Logf("round %d, sparse %v: heap %d, stated %d of %d, %d nonces in %d windows",
				round, sparse, used, st.Bytes, st.MaxBytes, st.Live, st.Windows)
			assert.LessOrEqual(t, st.Bytes, st.MaxBytes)
			assert.LessOrEqual(t, used, st.MaxBytes)
			assert.GreaterOrEqual(t, used, st.Bytes*9/10)
		}
	}
	runtime.KeepAlive(m)
}
