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
	list   []int64         // in ascending order
	issued map[int64]int64 // of those that were added
	merges uint64
}

// latest returns the latest issue in the run of indices around i.
func (p *listedRanges) latest(i int64) int64 {
	at, _ := slices.BinarySearch(p.list, i)
	from, to := at, at
	for from > 0 && p.list[from-1] == p.list[from]-1 {
		from--
	}
	for to+1 < len(p.list) && p.list[to+1] == p.list[to]+1 {
		to++
	}
	latest := int64(math.MinInt64)
	for _, i := range p.list[from : to+1] {
		if issued, ok := p.issued[i]; ok {
			latest = max(latest, issued)
		}
	}
	return latest
}

func (p *listedRanges) add(i, issued int64) {
	at, has := slices.BinarySearch(p.list, i)
	if before, ok := p.issued[i]; !ok || issued > before {
		p.issued[i] = issued
	}
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
// that had to be closed, nothing else, and never are more than the bound. Each
// knows the latest issue of all that was added to it.
func TestRangesAgainstList(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	merges := uint64(0)
	for range 500 {
		var r Ranges
		want := listedRanges{issued: make(map[int64]int64)}
		width := int64(1 + rng.IntN(1000))
		next := -width
		for range rng.IntN(400) {
			i := rng.Int64N(width) - width/2
			if rng.IntN(2) == 0 { // as time goes by
				next += rng.Int64N(9)
				i = next
			}
			issued := rng.Int64N(1000) - 500
			r.Add(i, issued)
			want.add(i, issued)
			require.LessOrEqual(t, r.n, MaxRanges)
			require.True(t, r.Has(i))
		}
		for i := -2 * width; i <= max(2*width, next+2); i++ {
			_, has := slices.BinarySearch(want.list, i)
			require.Equal(t, has, r.Has(i), "%d", i)
			require.False(t, !has && r.Forgotten(i, math.MinInt64), "%d", i)
			if has {
				latest := want.latest(i)
				require.True(t, r.Forgotten(i, latest), "%d", i)
				require.False(t, r.Forgotten(i, latest+1), "%d", i)
			}
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
		r.Add(100*i, i)
	}
	require.Zero(t, r.merges)
	r.Add(3050, 0) // half-way between two
	assert.EqualValues(t, 1, r.merges)
	assert.True(t, r.Has(3049))
	assert.False(t, r.Has(3051))
	for _, far := range []int64{math.MaxInt64 >> windowShift, math.MinInt64 >> windowShift} {
		r.Add(far, 0)
		assert.True(t, r.Has(far))
		assert.False(t, r.Has(far/2))
		assert.Equal(t, MaxRanges, r.n)
	}
}
