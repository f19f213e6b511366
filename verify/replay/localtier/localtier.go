package localtier

import (
	"context"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/internal/cache"
)

// remembered is the number of replays remembered, in 1 MiB.
const remembered = 16_384

// Config configures a Store. Store is mandatory.
type Config struct {
	// Store is the shared store.
	Store replay.Managed

	// Now is a clock; nil is time.Now. The clock decides only the end of a refusal, so it need
	// not agree with the shared store's clock.
	Now func() time.Time
}

// Store refuses known replays itself, and asks the shared store for all other claims.
// Epoch, Stats and Close come from the shared store. A Store is safe for concurrent use.
type Store struct {
	replay.Managed
	now  func() time.Time
	seed maphash.Seed

	mu     sync.Mutex
	recent cache.Recent

	asked, spared atomic.Uint64
}

var _ replay.Managed = (*Store)(nil)

// Open returns a Store in front of Config.Store. An error is a
// *token.ConfigError, or replay.ErrUnavailable if ctx has ended.
func Open(ctx context.Context, config Config) (*Store, error) {
	if err := replay.Unavailable(ctx.Err()); err != nil {
		return nil, err
	}
	if config.Store == nil {
		return nil, &token.ConfigError{Field: "localtier.Config.Store", Reason: "is nil; give the shared store"}
	}
	now := config.Now
	if now == nil {
		now = time.Now
	}
	return &Store{
		Managed: config.Store,
		now:     now,
		seed:    maphash.MakeSeed(),
		recent:  cache.NewRecent(remembered / cache.Ways),
	}, nil
}

// Claim implements replay.Store.
func (s *Store) Claim(ctx context.Context, c replay.Claim) (replay.Answer, error) {
	return s.answer(ctx, c, s.Managed.Claim)
}

// Peek implements replay.Store.
func (s *Store) Peek(ctx context.Context, c replay.Claim) (replay.Answer, error) {
	return s.answer(ctx, c, s.Managed.Peek)
}

func (s *Store) answer(ctx context.Context, c replay.Claim,
	ask func(context.Context, replay.Claim) (replay.Answer, error),
) (replay.Answer, error) {
	k := cache.NewKey(maphash.Bytes(s.seed, c.Nonce[:]))
	if c.Binding == [32]byte{} && ctx.Err() == nil && c.Check() == nil && s.now().Before(c.RetainUntil) {
		if first, known := s.find(k, &c); known {
			s.spared.Add(1)
			return replay.Answer{Status: replay.AlreadyUsed, FirstUsed: first}, nil
		}
	}
	s.asked.Add(1)
	a, err := ask(ctx, c)
	if err == nil && a.Status == replay.AlreadyUsed && !a.FirstUsed.IsZero() {
		s.note(k, &c, a.FirstUsed)
	}
	return a, err
}

func (s *Store) find(k cache.Key, c *replay.Claim) (first time.Time, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.recent.Find(k, &c.Nonce); e != nil {
		return e.FirstUsed(), true
	}
	return first, false
}

func (s *Store) note(k cache.Key, c *replay.Claim, first time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.recent.Find(k, &c.Nonce) == nil {
		s.recent.Place(k).Add(&c.Nonce, &c.Binding, first)
	}
}

// RoundTrips returns the number of claims and peeks asked of the shared store, and the
// number answered without a question.
func (s *Store) RoundTrips() (asked, spared uint64) { return s.asked.Load(), s.spared.Load() }
