package replay

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

// A Load is a stream of one-time tickets, for planning what a store needs.
type Load struct {
	// Rate is how many tickets are redeemed a second, up to a million.
	Rate float64
	// Retain is the longest time from a redemption to its RetainUntil:
	// lifetime + 3 × skew + 60 s. Up to a year.
	Retain time.Duration
}

// Needs is what a Load takes, at most and when it has lasted for Retain.
type Needs struct {
	// Live is the number of nonces remembered at a time. Each stays for
	// Retain and, since slices are dropped whole, up to 16 s longer.
	Live int64

	// MemoryBytes is what a Memory has in use, as Stats.Bytes counts, with
	// MemoryMaxBytes for its bound: that leaves a quarter of it free, and is
	// DefaultMemoryBytes if that will do. ErrorRate bounds the probability
	// that a good ticket is refused as PossiblyUsed.
	MemoryBytes, MemoryMaxBytes int64
	ErrorRate                   float64

	// JournalBytes and JournalMaxBytes are the same of a Journal, where every
	// claim has a Binding. DiskBytes is the size of its segments, in blocks of
	// 4 KiB, and Segments their number.
	JournalBytes, JournalMaxBytes int64
	DiskBytes                     int64
	Segments                      int
}

const (
	maxLoadRate   = 1e6
	maxLoadRetain = 366 * 24 * time.Hour
	sliceWindow   = time.Second << sliceShift
	diskBlock     = 4096
)

// Needs computes what the Load takes from the very sizes that the stores use,
// and, for the filters, by filling some.
func (l Load) Needs() (Needs, error) {
	switch {
	case !(l.Rate > 0 && l.Rate <= maxLoadRate): // NaN is neither
		return Needs{}, fmt.Errorf("replay: the rate of a Load is %v a second; give more than 0 and at most %v", l.Rate, float64(maxLoadRate))
	case l.Retain <= 0 || l.Retain > maxLoadRetain:
		return Needs{}, fmt.Errorf("replay: the Retain of a Load is %v; give more than 0s and at most %v", l.Retain, maxLoadRetain)
	}
	// A slice is there from its first record to the RetainUntil of its last, and
	// every window another one begins.
	there := l.Retain + sliceWindow
	slices := int64((there + sliceWindow - 1) / sliceWindow)
	n := Needs{
		Live:     int64(math.Ceil(l.Rate * there.Seconds())),
		Segments: int(slices),
	}
	bytes, limit := l.fillSlices()
	for bound := int64(DefaultMemoryBytes); ; bound = larger(bound) {
		sets, err := recentSets(0, bound, maxShards)
		if err != nil {
			return Needs{}, err
		}
		n.MemoryMaxBytes = bound
		n.MemoryBytes = fixedBytes(maxShards, sets) + maxShards*slices*bytes*105/100
		n.ErrorRate = firstError + tightening*limit // there may be a longer chain
		if leavesAQuarter(n.MemoryBytes, bound) {
			break
		}
	}
	bindings := int64(math.Ceil(l.Rate * (2 * Grace).Seconds()))
	n.JournalBytes = n.Live*nonceBytes + slices*journalSliceBytes + min(n.Live, bindings)*bindingBytes
	for n.JournalMaxBytes = DefaultJournalBytes; !leavesAQuarter(n.JournalBytes, n.JournalMaxBytes); {
		n.JournalMaxBytes = larger(n.JournalMaxBytes)
	}
	n.DiskBytes = n.Live*recordSize + slices*(headerSize+diskBlock)
	return n, nil
}

// fillSlices returns the bytes of a shard's slice, on the average, and the highest
// limit of its error rate. Not all shards get the same number of nonces, nor do
// slices of the same number grow at the same one; so it fills some.
func (l Load) fillSlices() (bytes int64, limit float64) {
	mean := l.Rate * sliceWindow.Seconds() / maxShards
	slices := int(min(64, 4+(1<<20)/mean))
	r := rand.New(rand.NewPCG(1, 2)) // the same Load has the same Needs
	count := func() int { return max(1, int(math.Round(mean+math.Sqrt(mean)*r.NormFloat64()))) }
	fill := func(blocks int) *slice {
		s := new(slice)
		s.grow(blocks)
		for range count() {
			if s.full() {
				blocks, _, _ := growth(s)
				s.grow(blocks)
			}
			s.add(newKey(r.Uint64()))
		}
		limit = max(limit, s.limit)
		return s
	}
	fill(minBlocks) // the first of all, of which nothing is known
	for range slices {
		bytes += fill(filterSize(max(count(), count())/perBlock)).bytes() + slotOverhead // see shard.expected
	}
	return bytes / int64(slices), limit
}

func leavesAQuarter(bytes, bound int64) bool { return bytes <= bound/4*3 }

// larger returns the next of 64, 96, 128, 192, 256, 384 … MiB.
func larger(bound int64) int64 {
	if bound&(bound-1) == 0 {
		return bound / 2 * 3
	}
	return bound / 3 * 4
}
