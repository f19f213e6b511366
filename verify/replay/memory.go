package replay

import (
	"context"
	"fmt"
	"hash/maphash"
	"time"
	"unsafe"
)

// DefaultMemoryBytes is a Memory's MaxBytes where none is given.
const DefaultMemoryBytes = 64 << 20

const (
	minMaxBytes   = 16 << 10
	defaultRecent = 32768

	maxShards     = 64
	minShardBytes = 256 << 10 // or else there is one shard
)

// MemoryConfig says what a Memory is made with. The zero value is good.
type MemoryConfig struct {
	// MaxBytes bounds the memory in use, all of it; 0 is 64 MiB, and less
	// than 16 KiB is refused. (What was dropped is no longer in use, and
	// is with Go's garbage collector until its next cycle.)
	MaxBytes int64

	// Recent is how many of the latest admissions are known exactly, rounded
	// up to a multiple of eight per shard, at 64 bytes each within MaxBytes;
	// more than half of MaxBytes is refused. 0 is 32,768, or as many as an
	// eighth of MaxBytes holds.
	Recent int

	// NoBarrier admits tickets issued before the start. It is for a process
	// that made the tickets' keys itself, and nothing else: wherever such a
	// ticket can have been redeemed before, it can be redeemed again.
	NoBarrier bool

	// Now is the store's clock; nil is time.Now. It is called with a lock
	// held, so it must not call the Memory. Only its wall clock counts.
	Now func() time.Time
}

// Memory is a Store in the memory of one process. The package comment says
// what it promises.
type Memory struct {
	now    func() time.Time
	seed   maphash.Seed
	shards []shard
	fixed  int64 // bytes beside the slices
	max    int64
	epoch  time.Time // zero: no barrier
}

var _ Store = (*Memory)(nil)

// NewMemory returns an empty cache whose epoch is now.
func NewMemory(config MemoryConfig) (*Memory, error) {
	maxBytes := config.MaxBytes
	if maxBytes == 0 {
		maxBytes = DefaultMemoryBytes
	}
	if maxBytes < minMaxBytes {
		return nil, fmt.Errorf("replay: MaxBytes is %d; give at least %d, or 0 for %d",
			config.MaxBytes, minMaxBytes, DefaultMemoryBytes)
	}
	shards := shardsFor(maxBytes)
	sets, err := recentSets(config.Recent, maxBytes, shards)
	if err != nil {
		return nil, err
	}
	clock := config.Now
	if clock == nil {
		clock = time.Now
	}
	m := &Memory{
		// Without Round a reading of time.Now compares by its monotonic
		// clock, which stops while the machine sleeps.
		now:    func() time.Time { return clock().Round(0).UTC() },
		seed:   maphash.MakeSeed(),
		shards: make([]shard, shards),
		max:    maxBytes,
	}
	m.fixed = fixedBytes(shards, sets)
	start := m.now()
	if !config.NoBarrier {
		m.epoch = start
	}
	for i := range m.shards {
		m.shards[i] = shard{
			barrier: !config.NoBarrier,
			epoch:   start,
			budget:  (maxBytes - m.fixed) / int64(shards),
			live:    make(map[int64]*slice),
			recent:  newRecent(sets),
			latest:  start,
		}
	}
	return m, nil
}

// shardsFor returns how many shards divide the memory.
func shardsFor(maxBytes int64) int {
	shards := 1
	for shards < maxShards && maxBytes/int64(2*shards) >= minShardBytes {
		shards *= 2
	}
	return shards
}

// fixedBytes is what a Memory takes without a slice.
func fixedBytes(shards, sets int) int64 {
	return int64(unsafe.Sizeof(Memory{})) + int64(shards)*(int64(unsafe.Sizeof(shard{}))+int64(sets)*setBytes)
}

// recentSets returns how many sets of eight a shard's table of recent
// admissions has.
func recentSets(n int, maxBytes int64, shards int) (int, error) {
	perSet := int64(shards) * ways
	if n < 0 {
		return 0, fmt.Errorf("replay: Recent is %d; give 0 for the default", n)
	}
	if n == 0 {
		entries := min(defaultRecent, maxBytes/8/entryBytes)
		return int(max(1, entries/perSet)), nil
	}
	sets := (int64(n)-1)/perSet + 1
	if sets > maxBytes/2/(int64(shards)*setBytes) {
		return 0, fmt.Errorf("replay: %d recent entries of %d bytes take more than half of MaxBytes, %d; raise the one or lower the other",
			n, entryBytes, maxBytes)
	}
	return int(sets), nil
}

// Claim implements Store. It takes no time to speak of, so the context is
// looked at once: a claim that nobody waits for any more spends nothing.
func (m *Memory) Claim(ctx context.Context, c Claim) (Answer, error) {
	if err := check(ctx, &c); err != nil {
		return Answer{}, err
	}
	s, k := m.locate(&c)
	return s.claim(&c, k, m.now), nil
}

// Peek implements Store.
func (m *Memory) Peek(ctx context.Context, c Claim) (Answer, error) {
	if err := check(ctx, &c); err != nil {
		return Answer{}, err
	}
	s, k := m.locate(&c)
	return s.peek(&c, k, m.now), nil
}

func check(ctx context.Context, c *Claim) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return c.Check()
}

// locate finds a nonce's place by a hash that is keyed anew in each process,
// so that nobody can choose tickets that crowd into one place.
func (m *Memory) locate(c *Claim) (*shard, key) {
	hash := maphash.Bytes(m.seed, c.Nonce[:])
	return &m.shards[hash%uint64(len(m.shards))], newKey(hash)
}

// Stats is what operators want to know of a Memory.
type Stats struct {
	// Live is the number of nonces remembered. Slices that are expired count,
	// here and below, until claims that come in drop them.
	Live int
	// Slices is the number of slices in all shards, and LongestChain the
	// number of filters of the one that has most.
	Slices, LongestChain int
	// Bytes is the memory in use, and MaxBytes its bound.
	Bytes, MaxBytes int64

	// ErrorRate is the probability that a fresh ticket is refused as
	// PossiblyUsed, in the slice where it is highest. It stays ≤ 1e-6.
	ErrorRate float64

	// Answers counts the answers of Claim since the start, and Repeated
	// those of the Admitted that were repeated. A rise of Full calls for
	// more memory or shorter lifetimes, one of ClockBehind for a look at the
	// clock.
	Answers  map[Status]uint64
	Repeated uint64

	// Epoch is the start, or zero with NoBarrier.
	Epoch time.Time
	// ClockBehind is how far the clock now stands behind its highest
	// reading; alarm when it is more than a second or so.
	ClockBehind time.Duration
	// DroppedRanges is the number of ranges of dropped slices remembered,
	// and RangeMerges how often two of them, for want of room, became one.
	DroppedRanges int
	RangeMerges   uint64
}

// Stats gathers the numbers, one shard after the other. Each shard is locked
// for a walk over its slices, so call it for a scrape and not for a request.
func (m *Memory) Stats() Stats {
	st := Stats{
		Bytes:    m.fixed,
		MaxBytes: m.max,
		Answers:  make(map[Status]uint64),
		Epoch:    m.epoch,
	}
	for i := range m.shards {
		m.shards[i].addTo(&st, m.now)
	}
	return st
}

func (s *shard) addTo(st *Stats, clock func() time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st.Live += s.records
	st.Slices += len(s.queue)
	st.Bytes += s.bytes
	for _, sl := range s.queue {
		st.LongestChain = max(st.LongestChain, len(sl.filters))
		st.ErrorRate = max(st.ErrorRate, sl.errorRate)
	}
	for status := Admitted; status <= ClockBehind; status++ {
		st.Answers[status] += s.answers[status]
	}
	st.Repeated += s.repeated
	st.DroppedRanges += s.dropped.n
	st.RangeMerges += s.dropped.merges
	st.ClockBehind = max(st.ClockBehind, s.latest.Sub(clock()))
}
