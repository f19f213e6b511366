package memory

import (
	"testing"
	"time"

	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/internal/cache"
	"github.com/admitone/admitone/verify/replay/internal/claimtest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Fill a cache to the brim over many windows; its error rate, from the bits as
// they are and summed over the filters a lookup meets, is within the promise,
// and what Stats reports is that rate. Then ask: hardly anybody is mistaken.
//
// trap R8
func TestErrorRateAtCapacity(t *testing.T) {
	spreads := []uint64{120, 1, 1000}
	if testing.Short() {
		spreads = spreads[:1]
	}
	for _, spread := range spreads {
		clock := claimtest.NewClock()
		m := newMemory(t, clock, Config{MaxBytes: 1 << 20})
		fresh := func(n uint64) replay.Claim {
			return ticket(n, start, lifetime+time.Duration(cache.Mix(n)%spread)*time.Second, skew)
		}
		n := uint64(0)
		for full := 0; full < 5000; n++ { // go on while some shard has room
			require.Less(t, n, uint64(1<<20))
			if claim(t, m, fresh(n)).Status == replay.Full {
				full++
			}
		}
		worst := 0.0
		for i := range m.shards {
			for _, w := range m.shards[i].live {
				sum := 0.0
				for _, f := range w.Filters {
					perFilter := 0.0
					for j := range f {
						perFilter += f[j].ErrorRate()
					}
					sum += 2 * perFilter / float64(len(f)) // a lookup meets two blocks
				}
				worst = max(worst, sum)
			}
		}
		st := stats(t, m)
		t.Logf("spread %d s: %d nonces, %.1f bytes each, longest chain %d, error rate %.2g", spread, st.Live,
			float64(st.Bytes)/float64(st.Live), st.LongestChain, worst)
		assert.InDelta(t, worst, st.ErrorRate, 1e-3*worst)
		assert.LessOrEqual(t, worst, 1e-6)
		assert.Greater(t, worst, 1e-10, "a cache so empty proves nothing")

		mistaken := 0
		for i := range uint64(100_000) {
			if peek(t, m, fresh(1<<40+i)).Status == replay.PossiblyUsed {
				mistaken++
			}
		}
		assert.LessOrEqual(t, mistaken, 3)
	}
}
