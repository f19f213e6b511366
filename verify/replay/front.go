package replay

import (
	"context"
	"errors"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

// Front is a Store in front of a shared one. It spares that the round trips of
// replays: a nonce of which the shared store has said AlreadyUsed is refused
// here, for as long as it is among the latest of those. It admits nobody by
// itself, and what it has forgotten, or never knew, the shared store answers.
// A claim with a Binding always goes there, since only that knows of a grace.
//
// It is safe for concurrent use. Its clock says no more than until when to
// refuse, so it need not agree with the shared store's.
type Front struct {
	store Store
	now   func() time.Time
	seed  maphash.Seed

	mu     sync.Mutex
	recent recent

	spared, asked atomic.Uint64
}

var _ Store = (*Front)(nil)

// NewFront returns a Front before store, with room for the latest 16,384 replays,
// in 1 MiB. now is the clock; nil means time.Now.
func NewFront(store Store, now func() time.Time) (*Front, error) {
	if store == nil {
		return nil, errors.New("replay: there is no store to stand before; open one")
	}
	if now == nil {
		now = time.Now
	}
	return &Front{store: store, now: now, seed: maphash.MakeSeed(), recent: newRecent(16_384 / ways)}, nil
}

// Claim implements Store.
func (f *Front) Claim(ctx context.Context, c Claim) (Answer, error) {
	return f.ask(ctx, c, f.store.Claim)
}

// Peek implements Store.
func (f *Front) Peek(ctx context.Context, c Claim) (Answer, error) {
	return f.ask(ctx, c, f.store.Peek)
}

func (f *Front) ask(ctx context.Context, c Claim, store func(context.Context, Claim) (Answer, error)) (Answer, error) {
	k := newKey(maphash.Bytes(f.seed, c.Nonce[:]))
	if c.Binding == [32]byte{} && ctx.Err() == nil && c.Check() == nil && f.now().Before(c.RetainUntil) {
		f.mu.Lock()
		e := f.recent.find(k, &c.Nonce)
		if e != nil {
			a := Answer{Status: AlreadyUsed, FirstUsed: time.Unix(e.sec, int64(e.nsec)).UTC()}
			f.mu.Unlock()
			f.spared.Add(1)
			return a, nil
		}
		f.mu.Unlock()
	}
	f.asked.Add(1)
	a, err := store(ctx, c)
	if err == nil && a.Status == AlreadyUsed && !a.FirstUsed.IsZero() {
		f.mu.Lock()
		if f.recent.find(k, &c.Nonce) == nil {
			f.recent.add(k, &c, a.FirstUsed)
		}
		f.mu.Unlock()
	}
	return a, err
}

// FrontStats is what operators want to know of a Front.
type FrontStats struct {
	// Spared counts the claims and peeks that were answered here, Asked those
	// that went to the shared store.
	Spared, Asked uint64
}

// Stats gathers the numbers.
func (f *Front) Stats() FrontStats {
	return FrontStats{Spared: f.spared.Load(), Asked: f.asked.Load()}
}
