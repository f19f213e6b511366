package cache

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// errorRate is a formula; strange keys tell whether it is the right one. A
// block with 320 bits set errs often enough to count.
func TestErrorRateIsTheMeasuredRate(t *testing.T) {
	var b Block
	n := uint64(0)
	for ; b.ones() < 320; n++ {
		b.add(NewKey(Mix(n)))
	}
	const probes = 10_000_000
	hits := 0
	for i := range uint64(probes) {
		if b.has(NewKey(Mix(n + i))) {
			hits++
		}
	}
	want := b.ErrorRate() * probes
	require.Greater(t, want, 500.0)
	assert.InDelta(t, want, float64(hits), 4*math.Sqrt(want), "four standard deviations")
}

func TestFilterHasNoFalseNegatives(t *testing.T) {
	f := make(Filter, 37)
	for n := range uint64(5000) { // far beyond what it is meant for
		k := NewKey(Mix(n))
		a, b := f.blocks(k)
		[]*Block{a, b}[n%2].add(k)
		for i := n - min(n, 20); i <= n; i++ {
			k := NewKey(Mix(i))
			a, b := f.blocks(k)
			require.True(t, a.has(k) || b.has(k))
		}
	}
}

// Growth under pressure makes no long chains: however little room there is at
// a time, a new filter has at least a quarter of what is there. And no chain's
// limit of errors goes beyond the promise.
func TestChainsStayShort(t *testing.T) {
	chain := new(Chain)
	chain.Grow(MinBlocks)
	assert.InEpsilon(t, firstError, chain.limit, 1e-9)
	for chain.blocks < 1<<18 { // 16 MiB in one chain of one shard
		want, least := chain.Growth()
		require.LessOrEqual(t, least, want)
		require.GreaterOrEqual(t, 4*least, chain.blocks)
		limit := chain.limit
		chain.Grow(least)
		require.Greater(t, chain.limit, limit)
		require.LessOrEqual(t, chain.limit, 0.95e-6)
	}
	assert.Less(t, len(chain.Filters), 50)
}

// A chain against a map: whatever the order of additions, repetitions and growth,
// with filters of any size and hashes that crowd into one block or half of it,
// what was added is there, and the error rate is that of the bits as they are.
func TestChainHasNoFalseNegatives(t *testing.T) {
	seeds := 400
	if testing.Short() {
		seeds = 60
	}
	base := rand.Uint64()
	t.Logf("seed %d", base)
	for seed := range seeds {
		rng := rand.New(rand.NewPCG(base, uint64(seed)))
		chain := new(Chain)
		chain.Grow(FilterSize(1 + rng.IntN(40)))
		crowd := rng.Uint64() // some keys share the hash's halves, which choose the blocks
		fresh := func() Key {
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
			return NewKey(hash)
		}
		added := map[Key]int{}
		var keys []Key
		for range 50 + rng.IntN(3000) {
			k := fresh()
			if len(keys) > 0 && rng.IntN(8) == 0 {
				k = keys[rng.IntN(len(keys))] // again
			}
			if chain.Full() || rng.IntN(300) == 0 {
				want, least := chain.Growth()
				chain.Grow(least + rng.IntN(want-least+1))
			}
			chain.Add(k)
			added[k]++
			keys = append(keys, k)
			require.True(t, chain.Has(k))
			require.True(t, chain.Has(keys[rng.IntN(len(keys))]))
		}
		for k := range added {
			require.True(t, chain.Has(k), "seed %d, %d", base, seed)
		}
		sum, blocks := 0.0, 0
		for _, f := range chain.Filters {
			for i := range f {
				sum += 2 * f[i].ErrorRate() / float64(len(f))
			}
			blocks += len(f)
		}
		require.InDelta(t, sum, chain.errorRate, 1e-9*sum+1e-18)
		require.Equal(t, blocks, chain.blocks)
	}
}

// A chain that is allowed no growth errs as often as its errorRate says: a lookup
// meets two blocks, which seldom err both.
func TestChainErrsAsItSays(t *testing.T) {
	chain := new(Chain)
	chain.Grow(64)
	for n := uint64(0); chain.errorRate < 0.01; n++ {
		chain.Add(NewKey(Mix(n)))
	}
	const probes = 1_000_000
	hits := 0
	for i := range uint64(probes) {
		if chain.Has(NewKey(Mix(1<<40 + i))) {
			hits++
		}
	}
	want := chain.errorRate * probes
	sigma := math.Sqrt(want)
	assert.LessOrEqual(t, float64(hits), want+4*sigma)
	assert.GreaterOrEqual(t, float64(hits), 0.97*want-4*sigma)
}
