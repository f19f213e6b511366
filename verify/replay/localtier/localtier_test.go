package localtier_test

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/internal/claimtest"
	"github.com/admitone/admitone/verify/replay/localtier"
	"github.com/admitone/admitone/verify/replay/memory"
	"github.com/admitone/admitone/verify/replay/replaytest"
)

func open(t *testing.T, store replay.Managed, now func() time.Time) *localtier.Store {
	t.Helper()
	s, err := localtier.Open(t.Context(), localtier.Config{Store: store, Now: now})
	require.NoError(t, err)
	return s
}

// counted counts the claims that reach a store.
type counted struct {
	replay.Managed
	claims atomic.Int64
}

func (c *counted) Claim(ctx context.Context, claim replay.Claim) (replay.Answer, error) {
	c.claims.Add(1)
	return c.Managed.Claim(ctx, claim)
}

// openShared returns a store that stands for a shared one, and its clock.
func openShared(t *testing.T) (*counted, *claimtest.Clock) {
	t.Helper()
	clock := claimtest.NewClock()
	s, err := memory.Open(t.Context(), memory.Config{Now: clock.Now})
	require.NoError(t, err)
	return &counted{Managed: s}, clock
}

func TestConformance(t *testing.T) {
	shared, clock := openShared(t)
	replaytest.Run(t, replaytest.Harness{
		Open:  func(t *testing.T) replay.Store { return open(t, shared, clock.Now) }, // each with a memory of its own
		Now:   clock.Now,
		Step:  clock.Step,
		Epoch: func(*testing.T) time.Time { return shared.Epoch() },
	})
}

func TestConfig(t *testing.T) {
	_, err := localtier.Open(t.Context(), localtier.Config{})
	var bad *token.ConfigError
	require.ErrorAs(t, err, &bad)
	assert.Equal(t, "localtier.Config.Store", bad.Field)

	shared, _ := openShared(t)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = localtier.Open(ended, localtier.Config{Store: shared})
	assert.ErrorIs(t, err, replay.ErrUnavailable)
}

// The shared store's epoch, numbers and end are those of the local tier.
func TestManaged(t *testing.T) {
	shared, _ := openShared(t)
	s := open(t, shared, nil)
	assert.Equal(t, shared.Epoch(), s.Epoch())
	assert.Equal(t, claimtest.Stats(t, shared), claimtest.Stats(t, s))
	require.NoError(t, s.Close())
	_, err := shared.Claim(t.Context(), replay.Claim{})
	assert.ErrorIs(t, err, replay.ErrUnavailable)
}

// claimOf returns a claim that is good now.
func claimOf(clock *claimtest.Clock, nonce [16]byte) replay.Claim {
	now := clock.Now()
	return replay.Claim{
		Nonce:       nonce,
		Issued:      now.Add(time.Second),
		NotBefore:   now.Add(time.Second),
		Expires:     now.Add(time.Minute),
		RetainUntil: now.Add(3 * time.Minute),
	}
}

func TestSparesRoundTrips(t *testing.T) {
	shared, clock := openShared(t)
	s := open(t, shared, clock.Now)
	c := claimOf(clock, [16]byte{1})
	want := []replay.Status{replay.Admitted, replay.AlreadyUsed, replay.AlreadyUsed, replay.AlreadyUsed}
	for i, status := range want {
		a := claimtest.Claim(t, s, c)
		assert.Equal(t, status, a.Status)
		assert.EqualValues(t, min(i+1, 2), shared.claims.Load(), "only the first replay asks the shared store")
		assert.Equal(t, i == 0, a.FirstUsed.IsZero())
	}
	claimtest.Claim(t, s, claimtest.Bound(c, 1))
	assert.EqualValues(t, 3, shared.claims.Load(), "only the shared store knows of a grace")

	clock.Step(3 * time.Minute)
	assert.Equal(t, replay.TooLate, claimtest.Claim(t, s, c).Status)
	asked, spared := s.RoundTrips()
	assert.EqualValues(t, 4, asked)
	assert.EqualValues(t, 2, spared)
}

// trap R31: several local tiers before one store, and no nonce admitted twice; a
// claim that a local tier admits is one that the shared store admitted in that call.
func TestNeverAdmitsByItself(t *testing.T) {
	shared, clock := openShared(t)
	tiers := []*localtier.Store{open(t, shared, nil), open(t, shared, nil), open(t, shared, clock.Now)}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	admitted := make(map[[16]byte]bool)
	for range 50_000 {
		n := [16]byte{byte(r.IntN(256)), byte(r.IntN(256))}
		before := shared.claims.Load()
		if claimtest.Claim(t, tiers[r.IntN(3)], claimOf(clock, n)).Status == replay.Admitted {
			require.False(t, admitted[n])
			require.Equal(t, before+1, shared.claims.Load())
			admitted[n] = true
		} else {
			require.True(t, admitted[n])
		}
	}
}
