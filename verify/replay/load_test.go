package replay

import (
	"context"
	"math"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// stream claims tickets at a steady rate, in steps of a second, and has see look
// after each. What is claimed in one second is claimed by several callers at once.
func stream(t *testing.T, s Store, clock *fakeClock, seconds, rate, callers int, life time.Duration, b byte, see func()) {
	t.Helper()
	var next atomic.Uint64
	for second := range seconds {
		var wg sync.WaitGroup
		for range callers {
			wg.Go(func() {
				for range rate / callers {
					n := next.Add(1)
					a, err := s.Claim(context.Background(), bound(ticket(n, clock.now(), life, 0), b))
					if err != nil || a.Status != Admitted && a.Status != PossiblyUsed {
						t.Errorf("second %d: %v %v", second, a.Status, err)
						return
					}
				}
			})
		}
		wg.Wait()
		see()
		clock.step(time.Second)
	}
}

// A real Memory under a Load has no more in use than was said, and no less than
// nine tenths of it.
func TestLoadOfMemory(t *testing.T) {
	for _, rate := range []int{64, 500, 2000, 6000} {
		const life = 20 * time.Second
		load := Load{Rate: float64(rate), Retain: life + time.Minute}
		needs, err := load.Needs()
		require.NoError(t, err)
		clock := newClock()
		m := newMemory(t, clock, MemoryConfig{MaxBytes: needs.MemoryMaxBytes})
		var peak Stats
		stream(t, m, clock, 120, rate, 1, life, 0, func() {
			st := m.Stats()
			peak.Answers = st.Answers
			peak.Live, peak.Bytes, peak.ErrorRate = max(peak.Live, st.Live), max(peak.Bytes, st.Bytes), max(peak.ErrorRate, st.ErrorRate)
		})
		t.Logf("%d/s: %d of %d nonces, %d of %d bytes, error rate %.2g of %.2g", rate, peak.Live, needs.Live, peak.Bytes, needs.MemoryBytes, peak.ErrorRate, needs.ErrorRate)
		assert.LessOrEqual(t, int64(peak.Live), needs.Live)
		assert.GreaterOrEqual(t, float64(peak.Live), 0.85*float64(needs.Live))
		assert.LessOrEqual(t, peak.Bytes, needs.MemoryBytes)
		assert.GreaterOrEqual(t, float64(peak.Bytes), 0.9*float64(needs.MemoryBytes))
		assert.LessOrEqual(t, needs.ErrorRate, 1e-6)
		assert.LessOrEqual(t, peak.ErrorRate, 1.01*needs.ErrorRate, "a chain's last key may exceed its limit")
		assert.LessOrEqual(t, peak.Answers[PossiblyUsed], uint64(5), "of up to 720,000")
	}
}

// Where the default bound does not do, the one that is named does.
func TestLoadBeyondTheDefault(t *testing.T) {
	needs, err := Load{Rate: 20_000, Retain: 1000 * time.Second}.Needs()
	require.NoError(t, err)
	assert.Greater(t, needs.MemoryMaxBytes, int64(DefaultMemoryBytes))
	assert.LessOrEqual(t, needs.MemoryBytes, needs.MemoryMaxBytes/4*3)
	assert.Greater(t, needs.MemoryBytes, needs.MemoryMaxBytes/2)
	assert.LessOrEqual(t, float64(needs.MemoryBytes)/float64(needs.Live), 10.0)
}

// Nor has a real Journal, in memory and on the disk; without bindings it has less.
func TestLoadOfJournal(t *testing.T) {
	const rate, life = 128, time.Second
	needs, err := Load{Rate: rate, Retain: life + time.Minute}.Needs()
	require.NoError(t, err)
	for _, b := range []byte{0, 1} {
		clock := newClock()
		j, dir := newJournal(t, clock, JournalConfig{})
		clock.step(time.Second)
		var peak JournalStats
		var onDisk int64
		stream(t, j, clock, 90, rate, 64, life, b, func() {
			st := j.Stats()
			peak.Live, peak.Bytes, peak.DiskBytes, peak.Slices = max(peak.Live, st.Live), max(peak.Bytes, st.Bytes), max(peak.DiskBytes, st.DiskBytes), max(peak.Slices, st.Slices)
		})
		for _, path := range segmentsIn(t, dir) {
			info, err := os.Stat(path)
			require.NoError(t, err)
			onDisk += info.Size()
		}
		t.Logf("binding %d: %d of %d nonces, %d of %d bytes, on disk %d of %d", b, peak.Live, needs.Live, peak.Bytes, needs.JournalBytes, peak.DiskBytes, needs.DiskBytes)
		assert.LessOrEqual(t, int64(peak.Live), needs.Live)
		assert.GreaterOrEqual(t, float64(peak.Live), 0.85*float64(needs.Live))
		assert.LessOrEqual(t, peak.Bytes, needs.JournalBytes)
		assert.GreaterOrEqual(t, float64(peak.Bytes), 0.5*float64(needs.JournalBytes))
		assert.LessOrEqual(t, peak.Slices, needs.Segments)
		assert.LessOrEqual(t, peak.DiskBytes, needs.DiskBytes)
		assert.LessOrEqual(t, onDisk, needs.DiskBytes)
		assert.GreaterOrEqual(t, float64(peak.DiskBytes), 0.7*float64(needs.DiskBytes))
	}
}

func TestLoadIsChecked(t *testing.T) {
	for _, l := range []Load{
		{0, time.Minute}, {-1, time.Minute}, {math.NaN(), time.Minute}, {math.Inf(1), time.Minute}, {1e6 + 1, time.Minute},
		{1, 0}, {1, -time.Second}, {1, 367 * 24 * time.Hour},
	} {
		_, err := l.Needs()
		assert.Error(t, err, "%v", l)
	}
	most, err := Load{1e6, 366 * 24 * time.Hour}.Needs()
	require.NoError(t, err)
	assert.Greater(t, most.MemoryMaxBytes, most.MemoryBytes)
	least, err := Load{1e-300, 1}.Needs()
	require.NoError(t, err)
	assert.EqualValues(t, 1, least.Live)
	assert.EqualValues(t, DefaultMemoryBytes, least.MemoryMaxBytes)
	assert.EqualValues(t, DefaultJournalBytes, least.JournalMaxBytes)
}
