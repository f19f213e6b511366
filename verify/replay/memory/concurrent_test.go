package memory

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/internal/cache"
	"github.com/admitone/admitone/verify/replay/internal/claimtest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// race claims n nonces from many goroutines at once, each goroutine all of
// them in an order of its own, and returns how often each was admitted.
func race(t *testing.T, m *Store, n, goroutines int, c func(i uint64) replay.Claim) []int32 {
	t.Helper()
	wins := make([]int32, n)
	var ready, done sync.WaitGroup
	begin := make(chan struct{})
	for g := range goroutines {
		ready.Add(1)
		done.Go(func() {
			ready.Done()
			<-begin
			for i := range n {
				at := i
				if g%2 == 1 { // half of them meet the other half half-way
					at = n - 1 - i
				}
				a, err := m.Claim(context.Background(), c(uint64(at)))
				if err != nil {
					t.Error(err)
				}
				if a.Status == replay.Admitted {
					atomic.AddInt32(&wins[at], 1)
				}
			}
		})
	}
	ready.Wait()
	close(begin)
	done.Wait()
	return wins
}

// Many goroutines, many nonces: each has one winner.
//
// trap R18
func TestOneWinnerEach(t *testing.T) {
	m := newMemory(t, claimtest.NewClock(), Config{})
	for i, n := range race(t, m, 2000, 16, func(i uint64) replay.Claim { return ticket(i, start, lifetime, skew) }) {
		require.EqualValues(t, 1, n, "nonce %d", i)
	}
	assert.EqualValues(t, 2000, stats(t, m).Live)

	// With one binding for all, one is first and the others repeat it.
	m = newMemory(t, claimtest.NewClock(), Config{})
	wins := race(t, m, 2000, 16, func(i uint64) replay.Claim { return bound(ticket(i, start, lifetime, skew), 7) })
	for i, n := range wins {
		require.EqualValues(t, 16, n, "nonce %d", i)
	}
	st := stats(t, m)
	assert.EqualValues(t, 2000, st.Answers[replay.Admitted]-st.Repeated)
	assert.EqualValues(t, 2000, st.Live)
}

// All in one window of one shard, so that the chain of filters grows while
// claims of the same nonce race; and the table too small to settle it.
//
// trap R31
func TestOneWinnerThroughGrowingFilters(t *testing.T) {
	m := newMemory(t, claimtest.NewClock(), Config{MaxBytes: 500 << 10, Recent: 8})
	require.Len(t, m.shards, 1)
	mistaken := 0
	for i, n := range race(t, m, 20_000, 4, func(i uint64) replay.Claim { return ticket(i, start, lifetime, skew) }) {
		require.LessOrEqual(t, n, int32(1), "nonce %d", i)
		mistaken += 1 - int(n)
	}
	assert.LessOrEqual(t, mistaken, 2, "the filters' error rate allows one or two")
	assert.Greater(t, stats(t, m).LongestChain, 6)
}

// Every method at once, with a clock that jumps both ways and a cache that is
// full: all return.
//
// trap R17
func TestNoDeadlock(t *testing.T) {
	clock := claimtest.NewClock()
	m := newMemory(t, clock, Config{MaxBytes: 16 << 10})
	done := make(chan struct{})
	go func() {
		defer close(done)
		var wg sync.WaitGroup
		for g := range uint64(8) {
			wg.Go(func() {
				for i := range uint64(2000) {
					c := ticket(g%4<<32|i, clock.Now(), time.Duration(cache.Mix(i)%1000)*time.Second, skew)
					switch i % 8 {
					case 0:
						stats(t, m)
					case 1, 2:
						_, _ = m.Peek(context.Background(), c)
					case 3:
						clock.Step(time.Duration(cache.Mix(g<<32|i)%2000) * time.Second)
					case 4:
						clock.Step(-time.Duration(cache.Mix(i)%1900) * time.Second)
					default:
						_, _ = m.Claim(context.Background(), c)
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
	st := stats(t, m)
	var claims uint64
	for _, n := range st.Answers {
		claims += n
	}
	assert.EqualValues(t, 8*2000*3/8, claims, "each claim is counted once")
}
