package ratelimit

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestLocal(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	l := NewLocal(10, func() time.Time { return now })
	limit := Limit{Rate: 2, Burst: 3}
	assert.Equal(t, 1500*time.Millisecond, limit.Window())
	take := func() Answer { return l.Take(t.Context(), "a", limit) }
	assert.Equal(t, Answer{OK: true, Remaining: 2, Reset: 500 * time.Millisecond}, take())
	assert.Equal(t, Answer{OK: true, Remaining: 1, Reset: time.Second}, take())
	assert.Equal(t, Answer{OK: true, Remaining: 0, Reset: 1500 * time.Millisecond}, take())
	for range 3 { // refused ones count nothing
		assert.Equal(t, Answer{Retry: 500 * time.Millisecond, Reset: 1500 * time.Millisecond}, take())
	}
	assert.True(t, l.Take(t.Context(), "b", limit).OK, "each caller has its own")
	now = now.Add(499 * time.Millisecond)
	assert.False(t, take().OK)
	now = now.Add(time.Millisecond)
	assert.True(t, take().OK, "after Retry one is allowed")
	assert.False(t, take().OK)
	now = now.Add(-time.Hour)
	assert.False(t, take().OK, "a clock that steps back grants nothing")
	now = now.Add(2 * time.Hour)
	limit = Limit{Rate: 1, Burst: 1}
	assert.True(t, take().OK)
	assert.False(t, take().OK, "a changed limit holds at once")
	assert.Equal(t, time.Second, take().Retry)
}

// Whatever the schedule, no more than the burst and the rate's share pass.
func TestLocalIsBounded(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 1))
		now := time.Unix(0, 0)
		start := now
		l := NewLocal(10, func() time.Time { return now })
		limit := Limit{Rate: 0.1 + 100*r.Float64(), Burst: 1 + r.IntN(20)}
		passed := 0
		for range 500 {
			now = now.Add(time.Duration(r.ExpFloat64() * float64(20*time.Millisecond)))
			a := l.Take(t.Context(), "a", limit)
			if a.OK {
				passed++
			} else {
				assert.Positive(t, a.Retry)
			}
			most := float64(limit.Burst) + limit.Rate*now.Sub(start).Seconds()
			if float64(passed) > most+1e-6 {
				t.Fatalf("seed %d: %d passed, %f may", seed, passed, most)
			}
		}
	}
}

func TestLocalMemory(t *testing.T) {
	l := NewLocal(100, nil)
	limit := Limit{Rate: 0.001, Burst: 1}
	for i := range 10_000 {
		l.Take(t.Context(), fmt.Sprint(i), limit)
		assert.LessOrEqual(t, len(l.recent)+len(l.previous), 200)
	}
	for i := 9_900; i < 10_000; i++ {
		assert.False(t, l.Take(t.Context(), fmt.Sprint(i), limit).OK, "the last 100 are remembered")
	}
}

func TestLocalConcurrently(t *testing.T) {
	now := time.Now()
	l := NewLocal(10, func() time.Time { return now })
	var passed atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				if l.Take(t.Context(), "a", Limit{Rate: 1, Burst: 50}).OK {
					passed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	assert.EqualValues(t, 50, passed.Load())
}
