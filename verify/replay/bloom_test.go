package replay

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// errorRate is a formula; strange keys tell whether it is the right one. A
// block with 320 bits set errs often enough to count.
func TestErrorRateIsTheMeasuredRate(t *testing.T) {
	var b block
	n := uint64(0)
	for ; b.ones() < 320; n++ {
		b.add(newKey(mix(n)))
	}
	const probes = 10_000_000
	hits := 0
	for i := range uint64(probes) {
		if b.has(newKey(mix(n + i))) {
			hits++
		}
	}
	want := b.errorRate() * probes
	require.Greater(t, want, 500.0)
	assert.InDelta(t, want, float64(hits), 4*math.Sqrt(want), "four standard deviations")
}

func TestFilterHasNoFalseNegatives(t *testing.T) {
	f := make(filter, 37)
	for n := range uint64(5000) { // far beyond what it is meant for
		k := newKey(mix(n))
		a, b := f.blocks(k)
		[]*block{a, b}[n%2].add(k)
		for i := n - min(n, 20); i <= n; i++ {
			k := newKey(mix(i))
			a, b := f.blocks(k)
			require.True(t, a.has(k) || b.has(k))
		}
	}
}

// Fill a cache to the brim over many slices; its error rate, from the bits as
// they are and summed over the filters a lookup meets, is within the promise,
// and what Stats reports is that rate. Then ask: hardly anybody is mistaken.
//
// trap R8
func TestErrorRateAtCapacity(t *testing.T) {
	spreads := []uint64{120, 1, 1000}
	if testing.Short() {
		spreads = spreads[:1]
	}
	for _, spread := range spreads {
		clock := newClock()
		m := newMemory(t, clock, MemoryConfig{MaxBytes: 1 << 20})
		fresh := func(n uint64) Claim {
			return ticket(n, start, lifetime+time.Duration(mix(n)%spread)*time.Second, skew)
		}
		n := uint64(0)
		for full := 0; full < 5000; n++ { // go on while some shard has room
			require.Less(t, n, uint64(1<<20))
			if claim(t, m, fresh(n)).Status == Full {
				full++
			}
		}
		worst := 0.0
		for i := range m.shards {
			for _, sl := range m.shards[i].live {
				sum := 0.0
				for _, f := range sl.filters {
					perFilter := 0.0
					for j := range f {
						perFilter += f[j].errorRate()
					}
					sum += 2 * perFilter / float64(len(f)) // a lookup meets two blocks
				}
				worst = max(worst, sum)
			}
		}
		st := m.Stats()
		t.Logf("spread %d s: %d nonces, %.1f bytes each, longest chain %d, error rate %.2g", spread, st.Live,
			float64(st.Bytes)/float64(st.Live), st.LongestChain, worst)
		assert.InDelta(t, worst, st.ErrorRate, 1e-3*worst)
		assert.LessOrEqual(t, worst, 1e-6)
		assert.Greater(t, worst, 1e-10, "a cache so empty proves nothing")

		mistaken := 0
		for i := range uint64(100_000) {
			if peek(t, m, fresh(1<<40+i)).Status == PossiblyUsed {
				mistaken++
			}
		}
		assert.LessOrEqual(t, mistaken, 3)
	}
}

// Growth under pressure makes no long chains: however little room there is at
// a time, a new filter has at least a quarter of what is there. And no chain's
// limit of errors goes beyond the promise.
func TestChainsStayShort(t *testing.T) {
	sl := &slice{}
	sl.grow(minBlocks)
	assert.InEpsilon(t, firstError, sl.limit, 1e-9)
	for sl.blocks < 1<<18 { // 16 MiB in one slice of one shard
		want, least, _ := growth(sl)
		require.LessOrEqual(t, least, want)
		require.GreaterOrEqual(t, 4*least, sl.blocks)
		limit := sl.limit
		sl.grow(least)
		require.Greater(t, sl.limit, limit)
		require.LessOrEqual(t, sl.limit, 0.95e-6)
	}
	assert.Less(t, len(sl.filters), 50)
}

// A slice against a map: whatever the order of additions, repetitions and growth,
// with filters of any size and hashes that crowd into one block or half of it,
// what was added is there, and the error rate is that of the bits as they are.
func TestSliceHasNoFalseNegatives(t *testing.T) {
	seeds := 400
	if testing.Short() {
		seeds = 60
	}
	base := rand.Uint64()
	t.Logf("seed %d", base)
	for seed := range seeds {
		rng := rand.New(rand.NewPCG(base, uint64(seed)))
		sl := new(slice)
		sl.grow(filterSize(1 + rng.IntN(40)))
		crowd := rng.Uint64() // some keys share the hash's halves, which choose the blocks
		fresh := func() key {
			hash := rng.Uint64()
			switch rng.IntN(12) {
			case 0:
				hash = crowd
			case 1:
				hash = crowd&^(1<<32-1) | hash&(1<<32-1)
			case 2:
				hash = hash&^(1<<32-1) | crowd&(1<<32-1)
			case 3:
				hash = hash&(1<<32-1) | hash<<32 // both blocks are one
			}
			return newKey(hash)
		}
		added := map[key]int{}
		var keys []key
		for range 50 + rng.IntN(3000) {
			k := fresh()
			if len(keys) > 0 && rng.IntN(8) == 0 {
				k = keys[rng.IntN(len(keys))] // again
			}
			if sl.full() || rng.IntN(300) == 0 {
				want, least, _ := growth(sl)
				sl.grow(least + rng.IntN(want-least+1))
			}
			sl.add(k)
			added[k]++
			keys = append(keys, k)
			require.True(t, sl.has(k))
			require.True(t, sl.has(keys[rng.IntN(len(keys))]))
		}
		for k := range added {
			require.True(t, sl.has(k), "seed %d, %d", base, seed)
		}
		require.Equal(t, len(keys), sl.records)
		sum, blocks := 0.0, 0
		for _, f := range sl.filters {
			for i := range f {
				sum += 2 * f[i].errorRate() / float64(len(f))
			}
			blocks += len(f)
		}
		require.InDelta(t, sum, sl.errorRate, 1e-9*sum+1e-18)
		require.Equal(t, blocks, sl.blocks)
	}
}

// A slice that is allowed no growth errs as often as its errorRate says: a lookup
// meets two blocks, which seldom err both.
func TestSliceErrsAsItSays(t *testing.T) {
	sl := new(slice)
	sl.grow(64)
	for n := uint64(0); sl.errorRate < 0.01; n++ {
		sl.add(newKey(mix(n)))
	}
	const probes = 1_000_000
	hits := 0
	for i := range uint64(probes) {
		if sl.has(newKey(mix(1<<40 + i))) {
			hits++
		}
	}
	want := sl.errorRate * probes
	sigma := math.Sqrt(want)
	assert.LessOrEqual(t, float64(hits), want+4*sigma)
	assert.GreaterOrEqual(t, float64(hits), 0.97*want-4*sigma)
}
