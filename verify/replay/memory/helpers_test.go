package memory

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/verify/replay/internal/claimtest"
)

// The claims and checks of package claimtest, by short names.
var (
	start        = claimtest.Start
	ticket       = claimtest.Ticket
	bound        = claimtest.Bound
	claim        = claimtest.Claim
	peek         = claimtest.Peek
	admitted     = claimtest.Admit
	requireSpent = claimtest.RequireSpent
	stats        = claimtest.Stats
)

const (
	lifetime = claimtest.Lifetime
	skew     = claimtest.Skew
)

// newMemory returns a store without a barrier: the tests' tickets are good from
// the first moment.
func newMemory(t testing.TB, clock *claimtest.Clock, config Config) *Store {
	t.Helper()
	config.Now, config.NoBarrier = clock.Now, true
	m, err := Open(t.Context(), config)
	require.NoError(t, err)
	return m
}
