package token

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAllocations holds the hot paths to their budget, which does not depend on
// the machine as a time would.
func TestAllocations(t *testing.T) {
	keys := newKeyset(t, 3)
	issuer := newIssuer(t, keys, "")
	a := ad(t, "")
	tk := reference()
	s, err := issuer.Issue(tk)
	require.NoError(t, err)
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool drop entries")
	}
	require.LessOrEqual(t, testing.AllocsPerRun(1000, func() { _, _ = issuer.Issue(tk) }), 1.0)
	require.LessOrEqual(t, testing.AllocsPerRun(1000, func() { _ = Open(keys, a, s, new(Ticket)) }), 2.0)
}
