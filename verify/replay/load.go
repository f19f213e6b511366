package replay

import (
	"fmt"
	"math"
	"time"

	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify/replay/internal/cache"
)

// Window is the span of ticket expiry kept and dropped as a whole.
const Window = cache.WindowLength

// Load is a stream of one-time tickets, for planning. The packages memory and journal
// compute the needs of a Load.
type Load struct {
	// Rate is the number of tickets redeemed in a second, up to a million.
	Rate float64
	// Retain is the longest time from a redemption to the Claim's RetainUntil: lifetime + 3 ×
	// skew + 60 s. Up to a year.
	Retain time.Duration
}

const (
	maxRate   = 1e6
	maxRetain = 366 * 24 * time.Hour
)

// Check refuses a Load out of range, as a *token.ConfigError.
func (l Load) Check() error {
	switch {
	case !(l.Rate > 0 && l.Rate <= maxRate): // NaN is neither
		return &token.ConfigError{
			Field:  "replay.Load.Rate",
			Reason: fmt.Sprintf("is %v a second; give more than 0 and at most %v", l.Rate, float64(maxRate)),
		}
	case l.Retain <= 0 || l.Retain > maxRetain:
		return &token.ConfigError{
			Field:  "replay.Load.Retain",
			Reason: fmt.Sprintf("is %v; give more than 0s and at most %v", l.Retain, maxRetain),
		}
	}
	return nil
}

// remembered returns the longest time of a nonce in a store. Windows are dropped whole, so
// a nonce can stay a Window longer than Retain.
func (l Load) remembered() time.Duration { return l.Retain + Window }

// Live returns the number of nonces remembered at a time.
func (l Load) Live() int64 { return int64(math.Ceil(l.Rate * l.remembered().Seconds())) }

// Windows returns the number of windows remembered at a time.
func (l Load) Windows() int { return int((l.remembered() + Window - 1) / Window) }
