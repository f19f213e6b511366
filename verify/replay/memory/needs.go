package memory

import (
	"math"
	"math/rand/v2"

	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/internal/cache"
)

// Needs is an upper bound of the resources for a replay.Load, once the load has lasted for
// Load.Retain.
type Needs struct {
	// Bytes is the memory in use, as Stats.Bytes counts. MaxBytes is a Config.MaxBytes with a
	// quarter to spare: DefaultBytes, if large enough.
	Bytes, MaxBytes int64
	// ErrorRate bounds the probability of PossiblyUsed for a good ticket.
	ErrorRate float64
}

// Plan computes the needs of a load from the sizes in a Store and, for the filters, by
// filling some.
func Plan(load replay.Load) (Needs, error) {
	if err := load.Check(); err != nil {
		return Needs{}, err
	}
	bytes, limit := fillWindows(load)
	inUse := func(bound int64) int64 {
		sets, _ := recentSets(0, bound, maxShards) // the default has no error
		return fixedBytes(maxShards, sets) + maxShards*int64(load.Windows())*bytes*105/100
	}
	n := Needs{MaxBytes: cache.Bound(DefaultBytes, inUse), ErrorRate: limit}
	n.Bytes = inUse(n.MaxBytes)
	return n, nil
}

// fillWindows returns the average bytes of a shard's window, and the limit of the error
// rate for a chain one filter longer than any found.
//
// Shards get different numbers of nonces, and windows of equal size grow at different
// sizes; so fillWindows fills some.
func fillWindows(load replay.Load) (bytes int64, limit float64) {
	mean := load.Rate * cache.WindowLength.Seconds() / maxShards
	windows := int(min(64, 4+(1<<20)/mean))
	r := rand.New(rand.NewPCG(1, 2)) // the same Load has the same Needs
	count := func() int { return max(1, int(math.Round(mean+math.Sqrt(mean)*r.NormFloat64()))) }
	fill := func(blocks int) *window {
		w := new(window)
		w.Grow(blocks)
		for range count() {
			if w.Full() {
				blocks, _ := w.Growth()
				w.Grow(blocks)
			}
			w.add(cache.NewKey(r.Uint64()))
		}
		limit = max(limit, w.NextLimit())
		return w
	}
	fill(cache.MinBlocks) // the first window, of which nothing is expected
	for range windows {
		expected := cache.FilterSize(max(count(), count()) / cache.PerBlock) // see shard.expected
		bytes += fill(expected).bytes() + slotBytes
	}
	return bytes / int64(windows), limit
}
