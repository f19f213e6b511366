package journal

import (
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
