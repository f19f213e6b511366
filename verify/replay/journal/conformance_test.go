package journal_test

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/internal/claimtest"
	"github.com/admitone/admitone/verify/replay/journal"
	"github.com/admitone/admitone/verify/replay/replaytest"
)

// journalHarness keeps one journal open, as one process does.
type journalHarness struct {
	dir     string
	now     func() time.Time
	journal *journal.Store
}

func (h *journalHarness) open(t *testing.T) {
	var err error
	h.journal, err = journal.Open(t.Context(), journal.Config{Dir: h.dir, Now: h.now})
	require.NoError(t, err)
}

func (h *journalHarness) restart(t *testing.T) {
	require.NoError(t, h.journal.Close())
	h.open(t)
}

func (h *journalHarness) wipe(t *testing.T) {
	require.NoError(t, h.journal.Close())
	require.NoError(t, os.RemoveAll(h.dir))
	h.open(t)
}

func (h *journalHarness) harness(t *testing.T) replaytest.Harness {
	h.dir = t.TempDir()
	h.open(t)
	t.Cleanup(func() { h.journal.Close() })
	return replaytest.Harness{
		Open:    func(*testing.T) replay.Store { return h.journal },
		Now:     h.now,
		Epoch:   func(*testing.T) time.Time { return h.journal.Epoch() },
		Reset:   h.wipe,
		Restart: h.restart,
		Exact:   true,
	}
}

func TestConformance(t *testing.T) {
	clock := claimtest.NewClock()
	h := &journalHarness{now: clock.Now}
	harness := h.harness(t)
	harness.Step = clock.Step
	replaytest.Run(t, harness)
}

// The same on the machine's clock. For an outage, the directory is taken away.
func TestConformanceInRealTime(t *testing.T) {
	t.Parallel()
	h := &journalHarness{now: time.Now}
	harness := h.harness(t)
	harness.Outage = func(t *testing.T) func() {
		away := h.dir + ".away"
		require.NoError(t, os.Rename(h.dir, away))
		return func() { require.NoError(t, os.Rename(away, h.dir)) }
	}
	replaytest.Run(t, harness)
}
