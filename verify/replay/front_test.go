package replay_test

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/replaytest"
)

func newFront(t *testing.T, store replay.Store, now func() time.Time) *replay.Front {
	t.Helper()
	f, err := replay.NewFront(store, now)
	require.NoError(t, err)
	return f
}

func TestFrontConformance(t *testing.T) {
	clock := newMovedClock()
	store, err := replay.NewMemory(replay.MemoryConfig{Now: clock.Now})
	require.NoError(t, err)
	replaytest.Run(t, replaytest.Harness{
		Open:  func(t *testing.T) replay.Store { return newFront(t, store, clock.Now) }, // each with a memory of its own
		Now:   clock.Now,
		Step:  clock.Step,
		Epoch: func(*testing.T) time.Time { return store.Stats().Epoch },
	})
	_, err = replay.NewFront(nil, nil)
	assert.Error(t, err)
}

// counted counts what reaches a store.
type counted struct {
	replay.Store
	claims atomic.Int64
}

func (c *counted) Claim(ctx context.Context, claim replay.Claim) (replay.Answer, error) {
	c.claims.Add(1)
	return c.Store.Claim(ctx, claim)
}

func TestFrontSparesRoundTrips(t *testing.T) {
	clock := newMovedClock()
	memory, err := replay.NewMemory(replay.MemoryConfig{Now: clock.Now})
	require.NoError(t, err)
	shared := &counted{Store: memory}
	f := newFront(t, shared, clock.Now)
	claim := replay.Claim{Nonce: [16]byte{1}, NotBefore: clock.Now().Add(time.Second), Expires: clock.Now().Add(time.Minute), RetainUntil: clock.Now().Add(3 * time.Minute)}
	want := []replay.Status{replay.Admitted, replay.AlreadyUsed, replay.AlreadyUsed, replay.AlreadyUsed}
	for i, status := range want {
		a, err := f.Claim(t.Context(), claim)
		require.NoError(t, err)
		assert.Equal(t, status, a.Status)
		assert.EqualValues(t, min(i+1, 2), shared.claims.Load(), "the first replay is the shared store's, the next are not")
		assert.Equal(t, i == 0, a.FirstUsed.IsZero())
	}
	bound := claim
	bound.Binding = [32]byte{1}
	_, err = f.Claim(t.Context(), bound)
	require.NoError(t, err)
	assert.EqualValues(t, 3, shared.claims.Load(), "only the shared store knows of a grace")

	clock.Step(3 * time.Minute)
	a, err := f.Claim(t.Context(), claim)
	require.NoError(t, err)
	assert.Equal(t, replay.TooLate, a.Status)
	assert.Equal(t, replay.FrontStats{Spared: 2, Asked: 4}, f.Stats())
}

// trap R31: several Fronts before one store, and no nonce admitted twice; what
// a Front admits, the shared store admitted in that call.
func TestFrontNeverAdmitsByItself(t *testing.T) {
	clock := newMovedClock()
	memory, err := replay.NewMemory(replay.MemoryConfig{Now: clock.Now})
	require.NoError(t, err)
	shared := &counted{Store: memory}
	fronts := []*replay.Front{newFront(t, shared, nil), newFront(t, shared, nil), newFront(t, shared, clock.Now)}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	admitted := make(map[[16]byte]bool)
	for range 50_000 {
		n := [16]byte{byte(r.IntN(256)), byte(r.IntN(256))}
		before := shared.claims.Load()
		a, err := fronts[r.IntN(3)].Claim(t.Context(), replay.Claim{
			Nonce: n, NotBefore: clock.Now().Add(time.Second), Expires: clock.Now().Add(time.Minute), RetainUntil: clock.Now().Add(3 * time.Minute),
		})
		require.NoError(t, err)
		if a.Status == replay.Admitted {
			require.False(t, admitted[n])
			require.Equal(t, before+1, shared.claims.Load())
			admitted[n] = true
		} else {
			require.True(t, admitted[n])
		}
	}
}
