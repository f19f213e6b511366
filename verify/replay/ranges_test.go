package replay

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// plainRanges is the same as ranges, said with a list of all the indices.
type plainRanges struct {
	list   []int64 // in ascending order
	merges uint64
}

func (p *plainRanges) add(i int64) {
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
	if runs > maxRanges {
		var gap []int64
		for j := p.list[nearest-1] + 1; j < p.list[nearest]; j++ {
			gap = append(gap, j)
		}
		p.list = slices.Insert(p.list, nearest, gap...)
		p.merges++
	}
}

// The ranges against a plain list: they have what was added and the smallest gaps
// that had to be closed, nothing else, and never are more than the bound.
func TestRangesAgainstList(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	merges := uint64(0)
	for range 500 {
		var r ranges
		var plain plainRanges
		width := int64(1 + rng.IntN(1000))
		next := -width
		for range rng.IntN(400) {
			i := rng.Int64N(width) - width/2
			if rng.IntN(2) == 0 { // as time goes by
				next += rng.Int64N(9)
				i = next
			}
			r.add(i)
			plain.add(i)
			require.LessOrEqual(t, r.n, maxRanges)
			require.True(t, r.has(i))
		}
		for i := -2 * width; i <= max(2*width, next+2); i++ {
			_, has := slices.BinarySearch(plain.list, i)
			require.Equal(t, has, r.has(i), "%d", i)
		}
		for i := 1; i < r.n; i++ {
			require.Greater(t, r.r[i].lo, r.r[i-1].hi+1, "apart and in order")
		}
		require.Equal(t, plain.merges, r.merges)
		merges += r.merges
	}
	require.Positive(t, merges)
}

// The gap that closes at the bound is the smallest, wherever it is, and far
// times are as good as near ones.
func TestRangesMergeTheNearest(t *testing.T) {
	var r ranges
	for i := range int64(maxRanges) {
		r.add(100 * i)
	}
	require.Zero(t, r.merges)
	r.add(3050) // half-way between two
	assert.EqualValues(t, 1, r.merges)
	assert.True(t, r.has(3049))
	assert.False(t, r.has(3051))
	for _, far := range []int64{math.MaxInt64 >> sliceShift, math.MinInt64 >> sliceShift} {
		r.add(far)
		assert.True(t, r.has(far))
		assert.False(t, r.has(far/2))
		assert.Equal(t, maxRanges, r.n)
	}
}

// A clock that ran ahead for a year has dropped many slices apart from each other
// when it is set right. What is refused for it is little, and not all that is
// between them.
//
// trap R13
// trap R14
func TestManySlicesDroppedAhead(t *testing.T) {
	apart := 10 * time.Minute
	for name, s := range map[string]func(*fakeClock) Store{
		"memory": func(c *fakeClock) Store { return newMemory(t, c, MemoryConfig{MaxBytes: 256 << 10}) },
		"journal": func(c *fakeClock) Store {
			j, _ := newJournal(t, c, JournalConfig{})
			return j
		},
	} {
		t.Run(name, func(t *testing.T) {
			clock := newClock()
			store := s(clock)
			var spent []Claim
			for n := range uint64(maxRanges + 10) {
				clock.set(start.Add(time.Duration(n) * apart))
				c := ticket(n, clock.now(), lifetime, skew)
				require.Equal(t, Admitted, claim(t, store, c).Status)
				spent = append(spent, c)
			}
			clock.step(time.Hour)
			claim(t, store, ticket(1000, clock.now(), lifetime, skew))
			for _, c := range spent {
				clock.set(c.Expires.Add(-time.Second))
				require.NotEqual(t, Admitted, claim(t, store, c).Status)
			}
			behind := 0
			for n := range uint64(maxRanges) { // between those that were dropped
				clock.set(start.Add(time.Duration(n)*apart + apart/2))
				if claim(t, store, ticket(2000+n, clock.now(), lifetime, skew)).Status == ClockBehind {
					behind++
				}
			}
			assert.LessOrEqual(t, behind, 10, "the gaps that had to be closed")
			assert.Positive(t, behind)
		})
	}
}
