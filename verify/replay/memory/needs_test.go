package memory

import (
	"testing"
	"time"

	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/internal/claimtest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A real Store under a Load has no more in use than was said, and no less than
// nine tenths of it.
func TestPlan(t *testing.T) {
	for _, rate := range []int{64, 500, 2000, 6000} {
		const life = 20 * time.Second
		load := replay.Load{Rate: float64(rate), Retain: life + time.Minute}
		needs, err := Plan(load)
		require.NoError(t, err)
		clock := claimtest.NewClock()
		m := newMemory(t, clock, Config{MaxBytes: needs.MaxBytes})
		var peak replay.Stats
		traffic := claimtest.Traffic{Seconds: 120, Rate: rate, Callers: 1, Lifetime: life}
		claimtest.Stream(t, m, clock, traffic, func() {
			st := stats(t, m)
			peak.Answers = st.Answers
			peak.Live, peak.Bytes = max(peak.Live, st.Live), max(peak.Bytes, st.Bytes)
			peak.ErrorRate = max(peak.ErrorRate, st.ErrorRate)
		})
		t.Logf("%d/s: %d of %d nonces, %d of %d bytes, error rate %.2g of %.2g",
			rate, peak.Live, load.Live(), peak.Bytes, needs.Bytes, peak.ErrorRate, needs.ErrorRate)
		assert.LessOrEqual(t, peak.Live, load.Live())
		assert.GreaterOrEqual(t, float64(peak.Live), 0.85*float64(load.Live()))
		assert.LessOrEqual(t, peak.Bytes, needs.Bytes)
		assert.GreaterOrEqual(t, float64(peak.Bytes), 0.9*float64(needs.Bytes))
		assert.LessOrEqual(t, needs.ErrorRate, 1e-6)
		assert.LessOrEqual(t, peak.ErrorRate, 1.01*needs.ErrorRate, "a chain's last key may exceed its limit")
		assert.LessOrEqual(t, peak.Answers[replay.PossiblyUsed], uint64(5), "of up to 720,000")
	}
}

// Where the default bound does not do, the one that is named does.
func TestPlanBeyondTheDefault(t *testing.T) {
	load := replay.Load{Rate: 20_000, Retain: 1000 * time.Second}
	needs, err := Plan(load)
	require.NoError(t, err)
	assert.Greater(t, needs.MaxBytes, int64(DefaultBytes))
	assert.LessOrEqual(t, needs.Bytes, needs.MaxBytes/4*3)
	assert.Greater(t, needs.Bytes, needs.MaxBytes/2)
	assert.LessOrEqual(t, float64(needs.Bytes)/float64(load.Live()), 10.0)
}

func TestPlanAtTheEdges(t *testing.T) {
	_, err := Plan(replay.Load{})
	assert.ErrorContains(t, err, "replay.Load.Rate")
	most, err := Plan(replay.Load{Rate: 1e6, Retain: 366 * 24 * time.Hour})
	require.NoError(t, err)
	assert.Greater(t, most.MaxBytes, most.Bytes)
	least, err := Plan(replay.Load{Rate: 1e-300, Retain: 1})
	require.NoError(t, err)
	assert.EqualValues(t, DefaultBytes, least.MaxBytes)
}
