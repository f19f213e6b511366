package cache

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// listedRanges is the same as Ranges, with a list of all the indices.
type listedRanges struct {
	list   []int64 // in ascending order
	merges uint64
}

func (p *listedRanges) add(i int64) {
	at, has := slices.BinarySearch(p.list, i)
	if has {
		return
	}
	p.list = slices.Insert(p.list, at, i)
	runs, nearest := 1, -1
	for j := 1; j < len(p.list); j++ {
		gap := p.list[j] - p.list[j-1]
		if gap == 1 {
			continue
		}
		runs++
		if nearest < 0 || gap < p.list[nearest]-p.list[nearest-1] {
			nearest = j
		}
	}
	if runs > MaxRanges {
		var gap []int64
		for j := p.list[nearest-1] + 1; j < p.list[nearest]; j++ {
			gap = append(gap, j)
		}
		p.list = slices.Insert(p.list, nearest, gap...)
		p.merges++
	}
}

// The ranges against a list: they have what was added and the smallest gaps
// that had to be closed, nothing else, and never are more than the bound.
func TestRangesAgainstList(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	merges := uint64(0)
	for range 500 {
		var r Ranges
		var want listedRanges
		width := int64(1 + rng.IntN(1000))
		next := -width
		for range rng.IntN(400) {
			i := rng.Int64N(width) - width/2
			if rng.IntN(2) == 0 { // as time goes by
				next += rng.Int64N(9)
				i = next
			}
			r.Add(i)
			want.add(i)
			require.LessOrEqual(t, r.n, MaxRanges)
			require.True(t, r.Has(i))
		}
		for i := -2 * width; i <= max(2*width, next+2); i++ {
			_, has := slices.BinarySearch(want.list, i)
			require.Equal(t, has, r.Has(i), "%d", i)
		}
		for i := 1; i < r.n; i++ {
			require.Greater(t, r.r[i].From, r.r[i-1].To+1, "apart and in order")
		}
		require.Equal(t, want.merges, r.merges)
		merges += r.merges
	}
	require.Positive(t, merges)
}

// The gap that closes at the bound is the smallest, wherever it is, and far
// times are as good as near ones.
func TestRangesMergeTheNearest(t *testing.T) {
	var r Ranges
	for i := range int64(MaxRanges) {
		r.Add(100 * i)
	}
	require.Zero(t, r.merges)
	r.Add(3050) // half-way between two
	assert.EqualValues(t, 1, r.merges)
	assert.True(t, r.Has(3049))
	assert.False(t, r.Has(3051))
	for _, far := range []int64{math.MaxInt64 >> windowShift, math.MinInt64 >> windowShift} {
		r.Add(far)
		assert.True(t, r.Has(far))
		assert.False(t, r.Has(far/2))
		assert.Equal(t, MaxRanges, r.n)
	}
}
