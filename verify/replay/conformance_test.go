package replay_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/replaytest"
)

// A movedClock stands where it is put.
type movedClock struct{ ns atomic.Int64 }

func newMovedClock() *movedClock {
	c := new(movedClock)
	c.ns.Store(1_800_000_000_123_456_789)
	return c
}

func (c *movedClock) Now() time.Time       { return time.Unix(0, c.ns.Load()) }
func (c *movedClock) Step(d time.Duration) { c.ns.Add(int64(d)) }

func TestMemoryConformance(t *testing.T) {
	clock := newMovedClock()
	var store *replay.Memory
	begin := func(t *testing.T) {
		var err error
		store, err = replay.NewMemory(replay.MemoryConfig{Now: clock.Now})
		require.NoError(t, err)
	}
	begin(t)
	replaytest.Run(t, replaytest.Harness{
		Open:  func(*testing.T) replay.Store { return store },
		Now:   clock.Now,
		Step:  clock.Step,
		Epoch: func(*testing.T) time.Time { return store.Stats().Epoch },
		Reset: begin,
	})
}

// The same on the machine's clock, which nobody moves.
func TestMemoryConformanceInRealTime(t *testing.T) {
	t.Parallel()
	store, err := replay.NewMemory(replay.MemoryConfig{})
	require.NoError(t, err)
	replaytest.Run(t, replaytest.Harness{
		Open:  func(*testing.T) replay.Store { return store },
		Now:   time.Now,
		Epoch: func(*testing.T) time.Time { return store.Stats().Epoch },
	})
}
