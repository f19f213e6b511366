package memory_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/internal/claimtest"
	"github.com/admitone/admitone/verify/replay/memory"
	"github.com/admitone/admitone/verify/replay/replaytest"
)

func TestConformance(t *testing.T) {
	clock := claimtest.NewClock()
	var store *memory.Store
	begin := func(t *testing.T) {
		var err error
		store, err = memory.Open(t.Context(), memory.Config{Now: clock.Now})
		require.NoError(t, err)
	}
	begin(t)
	replaytest.Run(t, replaytest.Harness{
		Open:  func(*testing.T) replay.Store { return store },
		Now:   clock.Now,
		Step:  clock.Step,
		Epoch: func(*testing.T) time.Time { return store.Epoch() },
		Reset: begin,
	})
}

// The same on the machine's clock, which nobody moves.
func TestConformanceInRealTime(t *testing.T) {
	t.Parallel()
	store, err := memory.Open(t.Context(), memory.Config{})
	require.NoError(t, err)
	replaytest.Run(t, replaytest.Harness{
		Open:  func(*testing.T) replay.Store { return store },
		Now:   time.Now,
		Epoch: func(*testing.T) time.Time { return store.Epoch() },
	})
}
