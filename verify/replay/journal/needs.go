package journal

import (
	"math"

	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/internal/cache"
)

// Needs is an upper bound of the resources for a replay.Load, once the load has lasted for
// Load.Retain, if every claim has a binding.
type Needs struct {
	// Bytes is the memory in use, as Stats.Bytes counts. MaxBytes is a Config.MaxBytes with a
	// quarter to spare: DefaultBytes, if large enough.
	Bytes, MaxBytes int64
	// DiskBytes is the size of the segments in blocks of 4 KiB, with their room for further
	// records, and Segments is their number.
	DiskBytes int64
	Segments  int
}

const diskBlock = 4096

// Plan computes the needs of a load from the sizes in a Store.
func Plan(load replay.Load) (Needs, error) {
	if err := load.Check(); err != nil {
		return Needs{}, err
	}
	live, windows := load.Live(), int64(load.Windows())
	bindings := int64(math.Ceil(load.Rate * (2 * replay.Grace).Seconds()))
	n := Needs{
		Bytes:     live*nonceBytes + windows*windowBytes + min(live, bindings)*bindingBytes,
		DiskBytes: live*recordSize + min(live*recordSize/roomShare, windows*mostRoom) + windows*(headerSize+diskBlock),
		Segments:  load.Windows(),
	}
	n.MaxBytes = cache.Bound(DefaultBytes, func(int64) int64 { return n.Bytes })
	return n, nil
}
