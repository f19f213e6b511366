package replay_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/internal/cache"
	"github.com/admitone/admitone/verify/replay/internal/claimtest"
	"github.com/admitone/admitone/verify/replay/journal"
	"github.com/admitone/admitone/verify/replay/memory"
)

// The stores of one process, on a clock of the test's own. Their epochs are an
// hour before claimtest.Start.
var local = map[string]func(*testing.T, *claimtest.Clock) replay.Managed{
	"memory": func(t *testing.T, clock *claimtest.Clock) replay.Managed {
		s, err := memory.Open(t.Context(), memory.Config{MaxBytes: 256 << 10, Now: clock.Now})
		require.NoError(t, err)
		return s
	},
	"journal": func(t *testing.T, clock *claimtest.Clock) replay.Managed {
		s, err := journal.Open(t.Context(), journal.Config{Dir: filepath.Join(t.TempDir(), "journal"), Now: clock.Now})
		require.NoError(t, err)
		return s
	},
}

func openLocal(t *testing.T, name string) (replay.Managed, *claimtest.Clock) {
	t.Helper()
	clock := claimtest.NewClock()
	clock.Step(-time.Hour)
	s := local[name](t, clock)
	t.Cleanup(func() { assert.NoError(t, s.Close()) })
	clock.Step(time.Hour)
	return s, clock
}

// A clock that ran ahead for a year has dropped many windows apart from each other
// when it is set right. Few claims are refused for this, and not all between the
// dropped windows.
//
// trap R13
// trap R14
func TestManyWindowsDroppedAhead(t *testing.T) {
	const apart = 10 * time.Minute
	ticket := func(n uint64, issued time.Time) replay.Claim {
		return claimtest.Ticket(n, issued, claimtest.Lifetime, claimtest.Skew)
	}
	for name := range local {
		t.Run(name, func(t *testing.T) {
			store, clock := openLocal(t, name)
			var spent []replay.Claim
			for n := range uint64(cache.MaxRanges + 10) {
				clock.Set(claimtest.Start.Add(time.Duration(n) * apart))
				c := ticket(n, clock.Now())
				require.Equal(t, replay.Admitted, claimtest.Claim(t, store, c).Status)
				spent = append(spent, c)
			}
			clock.Step(time.Hour)
			claimtest.Claim(t, store, ticket(1000, clock.Now()))
			for _, c := range spent {
				clock.Set(c.Expires.Add(-time.Second))
				require.NotEqual(t, replay.Admitted, claimtest.Claim(t, store, c).Status)
			}
			behind := 0
			for n := range uint64(cache.MaxRanges) { // between those that were dropped
				clock.Set(claimtest.Start.Add(time.Duration(n)*apart + apart/2))
				if claimtest.Claim(t, store, ticket(2000+n, clock.Now())).Status == replay.ClockBehind {
					behind++
				}
			}
			assert.LessOrEqual(t, behind, 10, "the gaps that had to be closed")
			assert.Positive(t, behind)
		})
	}
}

// After Close nobody is admitted, a second Close does nothing, and nothing opens
// for a context that has ended.
func TestClose(t *testing.T) {
	for name := range local {
		t.Run(name, func(t *testing.T) {
			store, clock := openLocal(t, name)
			assert.Equal(t, claimtest.Start.Add(-time.Hour), store.Epoch())
			require.NoError(t, store.Close())
			require.NoError(t, store.Close())
			c := claimtest.Ticket(1, clock.Now(), claimtest.Lifetime, claimtest.Skew)
			for _, ask := range []func() (replay.Answer, error){
				func() (replay.Answer, error) { return store.Claim(t.Context(), c) },
				func() (replay.Answer, error) { return store.Peek(t.Context(), c) },
			} {
				a, err := ask()
				require.ErrorIs(t, err, replay.ErrUnavailable)
				assert.Zero(t, a)
			}
		})
	}
}
