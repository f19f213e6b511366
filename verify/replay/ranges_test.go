package replay

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The ranges against a plain set: exact while they fit; then they have all
// that was added, nothing above the lowest gaps that had to be closed, and
// never more ranges than the bound.
func TestRangesAgainstSet(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	for range 500 {
		var r ranges
		set := map[int64]bool{}
		merged := int64(math.MinInt64) // the end of the highest gap that was closed
		width := int64(1 + rng.IntN(400))
		for range rng.IntN(300) {
			i := rng.Int64N(width) - width/2
			lowest, merges := r.r[1].hi, r.merges
			r.add(i)
			set[i] = true
			if r.merges > merges {
				merged = max(merged, lowest)
			}
			require.LessOrEqual(t, r.n, maxRanges)
			require.True(t, r.has(i))
		}
		for i := -width; i <= width; i++ {
			switch {
			case set[i]:
				require.True(t, r.has(i), "lost %d", i)
			case i > merged:
				require.False(t, r.has(i), "%d was never added", i)
			}
		}
		for i := 1; i < r.n; i++ {
			require.Greater(t, r.r[i].lo, r.r[i-1].hi+1, "apart and in order")
		}
	}
}

// At the bound the gap that closes is the one farthest in the past.
func TestRangesMergeThePast(t *testing.T) {
	var r ranges
	for i := range int64(maxRanges) {
		r.add(100 * i)
	}
	require.EqualValues(t, 0, r.merges)
	require.False(t, r.has(50))
	r.add(1 << 40)
	assert.EqualValues(t, 1, r.merges)
	assert.True(t, r.has(50))
	assert.False(t, r.has(150))
	assert.False(t, r.has(1<<39))
	assert.True(t, r.has(1<<40))
	r.add(-100) // below all, when there is no room: the lowest gap again
	assert.True(t, r.has(-100))
	assert.Equal(t, maxRanges, r.n)
	assert.False(t, r.has(1<<39))
}
