package journal

import (
	"os"
	"testing"
	"time"

	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/internal/claimtest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A real Store under a Load has no more in use than Plan says, in memory and on the
// disk. Without bindings it has less.
func TestPlan(t *testing.T) {
	const rate, life = 128, time.Second
	load := replay.Load{Rate: rate, Retain: life + time.Minute}
	needs, err := Plan(load)
	require.NoError(t, err)
	for _, b := range []byte{0, 1} {
		clock := claimtest.NewClock()
		j, dir := newJournal(t, clock, Config{})
		clock.Step(time.Second)
		var peak replay.Stats
		var onDisk int64
		traffic := claimtest.Traffic{Seconds: 90, Rate: rate, Callers: 64, Lifetime: life, Binding: b}
		claimtest.Stream(t, j, clock, traffic, func() {
			st := stats(t, j)
			peak.Live, peak.Windows = max(peak.Live, st.Live), max(peak.Windows, st.Windows)
			peak.Bytes, peak.DiskBytes = max(peak.Bytes, st.Bytes), max(peak.DiskBytes, st.DiskBytes)
		})
		for _, path := range segmentsIn(t, dir) {
			info, err := os.Stat(path)
			require.NoError(t, err)
			onDisk += info.Size()
		}
		t.Logf("binding %d: %d of %d nonces, %d of %d bytes, on disk %d of %d",
			b, peak.Live, load.Live(), peak.Bytes, needs.Bytes, peak.DiskBytes, needs.DiskBytes)
		assert.LessOrEqual(t, peak.Live, load.Live())
		assert.GreaterOrEqual(t, float64(peak.Live), 0.85*float64(load.Live()))
		assert.LessOrEqual(t, peak.Bytes, needs.Bytes)
		assert.GreaterOrEqual(t, float64(peak.Bytes), 0.5*float64(needs.Bytes))
		assert.LessOrEqual(t, peak.Windows, needs.Segments)
		assert.LessOrEqual(t, peak.DiskBytes, needs.DiskBytes)
		assert.LessOrEqual(t, onDisk, needs.DiskBytes)
		assert.GreaterOrEqual(t, float64(peak.DiskBytes), 0.7*float64(needs.DiskBytes))
	}
}

func TestPlanAtTheEdges(t *testing.T) {
	_, err := Plan(replay.Load{Rate: 1})
	assert.ErrorContains(t, err, "replay.Load.Retain")
	least, err := Plan(replay.Load{Rate: 1e-300, Retain: 1})
	require.NoError(t, err)
	assert.EqualValues(t, DefaultBytes, least.MaxBytes)
}
