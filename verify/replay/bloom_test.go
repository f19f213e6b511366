package replay

import (
	"math"
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
	for _, spread := range []uint64{1, 120, 1000} {
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
