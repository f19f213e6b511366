package memory

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/internal/cache"
)

// DefaultBytes is the default of Config.MaxBytes.
const DefaultBytes = 64 << 20

const (
	leastBytes    = 16 << 10
	defaultRecent = 32768

	maxShards  = 64
	shardBytes = 256 << 10 // a store with less than twice this has one shard
)

// Config configures a Store. The zero value works.
type Config struct {
	// MaxBytes bounds all memory in use, in bytes; at the bound, claims of new
	// nonces are Full. 0 is DefaultBytes, and less than 16 KiB is refused.
	// Garbage comes on top: Go's collector frees dropped windows at its next
	// cycle.
	MaxBytes int64

	// Recent is the number of the latest admissions that are known exactly,
	// rounded up to a multiple of eight in each shard. An entry takes 64 bytes
	// within MaxBytes; more than half of MaxBytes is refused. 0 is 32,768, or as
	// many entries as an eighth of MaxBytes holds.
	Recent int

	// NoBarrier admits tickets from before the start. Set NoBarrier only in a process that
	// made the tickets' keys itself. If an old ticket can have been redeemed before, the
	// ticket can be redeemed again.
	NoBarrier bool

	// Now is the store's clock; nil is time.Now. The store calls Now with a lock
	// held, so Now must not call the store. Only the wall clock counts.
	Now func() time.Time
}

// Store is a replay.Store in the memory of one process. The package comment has the
// promises.
type Store struct {
	now    func() time.Time
	seed   maphash.Seed
	shards []shard
	fixed  int64 // bytes beside the windows
	max    int64
	epoch  time.Time // zero: no barrier
	closed atomic.Bool
}

var _ replay.Managed = (*Store)(nil)

// Open returns an empty store with the present as its epoch. An error is a
// *token.ConfigError, or replay.ErrUnavailable if ctx has ended.
func Open(ctx context.Context, config Config) (*Store, error) {
	if err := replay.Unavailable(ctx.Err()); err != nil {
		return nil, err
	}
	maxBytes := cmp.Or(config.MaxBytes, DefaultBytes)
	if maxBytes < leastBytes {
		return nil, &token.ConfigError{
			Field:  "memory.Config.MaxBytes",
			Reason: fmt.Sprintf("is %d; give at least %d, or 0 for %d", maxBytes, leastBytes, DefaultBytes),
		}
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
	s := &Store{
		// Without Round a reading of time.Now compares by the monotonic clock, and this clock
		// stops while the machine sleeps.
		now:    func() time.Time { return clock().Round(0).UTC() },
		seed:   maphash.MakeSeed(),
		shards: make([]shard, shards),
		fixed:  fixedBytes(shards, sets),
		max:    maxBytes,
	}
	start := s.now()
	if !config.NoBarrier {
		s.epoch = start
	}
	for i := range s.shards {
		s.shards[i] = shard{
			barrier: !config.NoBarrier,
			epoch:   start,
			budget:  (maxBytes - s.fixed) / int64(shards),
			live:    make(map[int64]*window),
			recent:  cache.NewRecent(sets),
			latest:  start,
		}
	}
	return s, nil
}

// shardsFor returns the number of shards for a bound.
func shardsFor(maxBytes int64) int {
	shards := 1
	for shards < maxShards && maxBytes/int64(2*shards) >= shardBytes {
		shards *= 2
	}
	return shards
}

// fixedBytes returns the memory of a Store without windows.
func fixedBytes(shards, sets int) int64 {
	return int64(unsafe.Sizeof(Store{})) + int64(shards)*(int64(unsafe.Sizeof(shard{}))+int64(sets)*cache.SetBytes)
}

// recentSets returns the number of sets in a shard's table of recent admissions.
func recentSets(n int, maxBytes int64, shards int) (int, error) {
	perSet := int64(shards) * cache.Ways
	if n < 0 {
		return 0, &token.ConfigError{
			Field:  "memory.Config.Recent",
			Reason: fmt.Sprintf("is %d; give 0 for the default", n),
		}
	}
	if n == 0 {
		entries := min(defaultRecent, maxBytes/8/cache.EntryBytes)
		return int(max(1, entries/perSet)), nil
	}
	sets := (int64(n)-1)/perSet + 1
	if sets > maxBytes/2/(int64(shards)*cache.SetBytes) {
		return 0, &token.ConfigError{
			Field: "memory.Config.Recent",
			Reason: fmt.Sprintf("is %d, and entries of %d bytes take more than half of MaxBytes, %d; "+
				"raise MaxBytes or lower Recent", n, cache.EntryBytes, maxBytes),
		}
	}
	return int(sets), nil
}

// Claim implements replay.Store. A claim takes almost no time, so the context counts only
// at the start: after its end, nothing is spent.
func (s *Store) Claim(ctx context.Context, c replay.Claim) (replay.Answer, error) {
	if err := s.check(ctx, &c); err != nil {
		return replay.Answer{}, err
	}
	sh, k := s.locate(&c)
	return sh.claim(&c, k, s.now), nil
}

// Immediate reports true: a claim waits for nothing but a lock. See replay.Store.
func (s *Store) Immediate() bool { return true }

// Peek implements replay.Store.
func (s *Store) Peek(ctx context.Context, c replay.Claim) (replay.Answer, error) {
	if err := s.check(ctx, &c); err != nil {
		return replay.Answer{}, err
	}
	sh, k := s.locate(&c)
	return sh.peek(&c, k, s.now), nil
}

var errClosed = errors.New("the store is closed")

func (s *Store) check(ctx context.Context, c *replay.Claim) error {
	switch {
	case s.closed.Load():
		return replay.Unavailable(errClosed)
	case ctx.Err() != nil:
		return replay.Unavailable(ctx.Err())
	}
	return c.Check()
}

// locate returns the nonce's shard and key. The hash is keyed anew in each process, so
// nobody can choose tickets for the same place.
func (s *Store) locate(c *replay.Claim) (*shard, cache.Key) {
	hash := maphash.Bytes(s.seed, c.Nonce[:])
	return &s.shards[hash%uint64(len(s.shards))], cache.NewKey(hash)
}

// Epoch implements replay.Managed: the time of Open, or zero with NoBarrier.
func (s *Store) Epoch() time.Time { return s.epoch }

// Stats implements replay.Managed. Stats locks each shard in turn for a walk over the
// shard's windows, so call Stats for a scrape and not for a request.
func (s *Store) Stats(context.Context) (replay.Stats, error) {
	st := replay.Stats{
		Bytes:    s.fixed,
		MaxBytes: s.max,
		Answers:  make(map[replay.Status]uint64),
	}
	for i := range s.shards {
		s.shards[i].addTo(&st, s.now)
	}
	return st, nil
}

// Close ends the store: claims are replay.ErrUnavailable from then on.
func (s *Store) Close() error {
	s.closed.Store(true)
	return nil
}
