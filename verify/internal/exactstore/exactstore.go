// Package exactstore is a test double: a replay.Store in plain maps, right except for a
// chosen fault. Only tests import it.
package exactstore

import (
	"context"
	"crypto/sha256"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/admitone/admitone/verify/replay"
)

// Store is a replay.Store with a fault. Its methods beside Claim and Peek are for the
// test.
type Store struct {
	fault    Fault
	now      func() time.Time
	capacity int

	mu      sync.Mutex
	epoch   time.Time
	windows map[int64]*window
	dropped map[int64]time.Time // the latest issue of a dropped window's tickets
	down    bool
	newest  time.Time // expiry, for AnchoredAtNewest
	latest  time.Time // reading of the clock, for LeapNotSeen
	swept   time.Time // by a Fault of forgetsEarly
}

var _ replay.Store = (*Store)(nil)

// window has the nonces of a replay.Window.
type window struct {
	retain, issued time.Time
	used           map[[16]byte]use
}

type use struct {
	first, retain time.Time
	binding       [32]byte
}

// New returns an empty store whose epoch is now. A capacity of 0 is unlimited.
func New(now func() time.Time, capacity int, fault Fault) *Store {
	return &Store{
		fault: fault, now: now, capacity: capacity, epoch: now(),
		windows: make(map[int64]*window), dropped: make(map[int64]time.Time),
	}
}

// Claim implements replay.Store.
func (s *Store) Claim(ctx context.Context, c replay.Claim) (replay.Answer, error) {
	return s.answer(ctx, c, true)
}

// Peek implements replay.Store.
func (s *Store) Peek(ctx context.Context, c replay.Claim) (replay.Answer, error) {
	return s.answer(ctx, c, s.fault == PeekSpends)
}

// Len returns the number of nonces.
func (s *Store) Len() int {
	s.mu.Lock()
	if s.fault == Deadlock {
		s.mu.Lock()
	}
	defer s.mu.Unlock()
	return s.count()
}

// Epoch returns the beginning of the complete memory.
func (s *Store) Epoch() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.epoch
}

// Reset forgets everything, and begins a new epoch.
func (s *Store) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clear()
	if s.fault != EpochStays {
		s.epoch = s.now()
	}
}

// Restart ends the store and begins it again, with its memory.
func (s *Store) Restart() {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch s.fault {
	case ForgetsAtRestart:
		s.clear()
	case ForgetsAWindow:
		fullest := int64(0)
		for i, w := range s.windows {
			if f := s.windows[fullest]; f == nil || len(w.used) > len(f.used) {
				fullest = i
			}
		}
		delete(s.windows, fullest)
	case BarrierAtRestart:
		s.epoch = s.now()
	}
}

// Outage makes claims replay.ErrUnavailable until end is called.
func (s *Store) Outage() (end func()) {
	s.setDown(true)
	return func() { s.setDown(s.fault == OutageForEver) }
}

func (s *Store) setDown(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
	if !down && s.fault == ForgetsInOutage {
		s.clear()
	}
}

func (s *Store) clear() {
	clear(s.windows)
	clear(s.dropped)
}

func (s *Store) count() (n int) {
	for _, w := range s.windows {
		n += len(w.used)
	}
	return n
}

func (s *Store) answer(ctx context.Context, c replay.Claim, spend bool) (replay.Answer, error) {
	if err := ctx.Err(); err != nil {
		switch s.fault {
		case CancelledSpends:
			_, _ = s.answer(context.Background(), c, spend)
		case CancelledAnswers:
			return s.answer(context.Background(), c, spend)
		}
		return replay.Answer{}, replay.Unavailable(err)
	}
	if err := c.Check(); err != nil && s.fault != InvalidAccepted {
		if s.fault == InvalidIsOutage {
			err = replay.ErrUnavailable
		}
		return replay.Answer{}, err
	}
	switch s.fault {
	case NonceCut:
		clear(c.Nonce[8:])
	case NonceJoined:
		digits := strings.NewReplacer(" ", "", "[", "", "]", "").Replace(fmt.Sprint(c.Nonce))
		joined := sha256.Sum256([]byte(digits))
		c.Nonce = [16]byte(joined[:])
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if s.down {
		switch s.fault {
		case OutageAdmits:
			return replay.Answer{Status: replay.Admitted}, nil
		case OutageIsReplay:
			return replay.Answer{Status: replay.AlreadyUsed, FirstUsed: now}, nil
		}
		return replay.Answer{}, replay.ErrUnavailable
	}
	if spend || forgets(s.fault) {
		s.drop(now)
	}
	a := s.judge(&c, now)
	if s.fault == ChecksThenSets {
		s.mu.Unlock()
		for range 20 {
			runtime.Gosched() // others look, too
		}
		s.mu.Lock()
	}
	if spend {
		s.settle(&c, a, now)
	}
	return a, nil
}

func forgets(f Fault) bool { _, ok := forgetsEarly[f]; return ok }

// settle notes the consequences of an answer.
func (s *Store) settle(c *replay.Claim, a replay.Answer, now time.Time) {
	switch {
	case a.Status == replay.Admitted && !a.Repeated,
		a.Status == replay.Full && s.fault == SpendsRefused,
		a.Status == replay.TooLate && s.fault == LateClaimStored:
		s.insert(c, now)
	}
	if c.Expires.After(s.newest) {
		s.newest = c.Expires
	}
}

// drop forgets what has expired.
func (s *Store) drop(now time.Time) {
	early, single := forgetsEarly[s.fault]
	if single && now.Equal(s.swept) {
		return
	}
	s.swept = now
	for index, w := range s.windows {
		switch {
		case single:
			for nonce, u := range w.used {
				if !now.Before(u.retain.Add(-early)) {
					delete(w.used, nonce)
				}
			}
		case !now.Before(w.retain):
			delete(s.windows, index)
			s.dropped[index] = later(s.dropped[index], w.issued)
		}
	}
}

func indexOf(c *replay.Claim) int64 { return c.Expires.Unix() / int64(replay.Window/time.Second) }

func (s *Store) judge(c *replay.Claim, now time.Time) replay.Answer {
	late := !now.Before(c.RetainUntil)
	if s.fault == LeapNotSeen {
		if !late && now.After(s.latest) {
			s.latest = now
		}
		if now.Before(s.latest) {
			s.epoch, s.latest = now, now
		}
	}
	w := s.windows[indexOf(c)]
	var known bool
	var u use
	if w != nil && !(s.fault == ZeroNonceIsNone && c.Nonce == [16]byte{}) {
		u, known = w.used[c.Nonce]
	}
	switch s.fault {
	case EdgeOfRetention:
		late = now.After(c.RetainUntil)
	case LateClaimAdmitted:
		late = false
	case LateClaimStored:
		late = late && !known
	}
	switch {
	case late:
		return replay.Answer{Status: replay.TooLate}
	case known:
		a, u := s.spent(*c, u, now)
		w.used[c.Nonce] = u
		return a
	case s.behindBarrier(c):
		return replay.Answer{Status: replay.IssuedBeforeStart}
	case s.forgotten(c, w != nil), s.fault == AnchoredAtNewest && c.Expires.Before(s.newest):
		return replay.Answer{Status: replay.ClockBehind}
	case s.capacity > 0 && s.count() >= s.capacity && s.fault != EvictsWhenFull:
		return replay.Answer{Status: replay.Full}
	}
	return replay.Answer{Status: replay.Admitted}
}

// forgotten reports whether the nonce can be among those of a dropped window.
func (s *Store) forgotten(c *replay.Claim, live bool) bool {
	latest, dropped := s.dropped[indexOf(c)]
	switch s.fault {
	case DroppedForGood:
		return dropped
	case DroppedBehindLive:
		dropped = dropped && !live
	}
	return dropped && !s.issued(c).After(latest)
}

func (s *Store) issued(c *replay.Claim) time.Time {
	if s.fault == DroppedByNotBefore {
		return c.NotBefore
	}
	return c.Issued
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func (s *Store) behindBarrier(c *replay.Claim) bool {
	issued := c.NotBefore
	switch s.fault {
	case NoBarrier:
		return false
	case BarrierWithoutEpoch:
		return issued.Before(s.epoch)
	case BarrierWithoutSkew:
		issued = issued.Add((c.RetainUntil.Sub(c.Expires) - time.Minute) / 3)
	}
	return !issued.After(s.epoch)
}

// spent returns the answer to a claim of a spent nonce, and the nonce's new use.
func (s *Store) spent(c replay.Claim, u use, now time.Time) (replay.Answer, use) {
	first, at, none := u, now, [32]byte{}
	switch s.fault {
	case GraceToAnybody:
		c.Binding = u.binding
	case GraceForAnyBinding:
		if c.Binding != none {
			first.binding = c.Binding
		}
	case GraceWithoutBinding:
		c.Binding[0]++
		first.binding[0]++
	case GraceForEver:
		at = u.first
	case GraceBeforeFirst:
		if now.Before(u.first) {
			at = u.first
		}
	case NoGrace:
		c.Binding = none
	}
	a := c.Spent(first.first, first.binding, at)
	switch {
	case s.fault == GraceExtended && a.Repeated:
		u.first = now
	case s.fault == ReplayCutsRetention:
		u.retain = c.RetainUntil
	case s.fault == FirstUseForgotten:
		a.FirstUsed = now
	case s.fault == PossiblyUsed && a.Status == replay.AlreadyUsed:
		a = replay.Answer{Status: replay.PossiblyUsed}
	}
	return a, u
}

func (s *Store) insert(c *replay.Claim, now time.Time) {
	if s.fault == EvictsWhenFull && s.count() >= s.capacity {
		s.evict()
	}
	retain := s.retain(c, now)
	w := s.windows[indexOf(c)]
	if w == nil {
		w = &window{retain: retain, used: make(map[[16]byte]use)}
		s.windows[indexOf(c)] = w
	}
	if retain.After(w.retain) && s.fault != WindowTooShort {
		w.retain = retain
	}
	w.issued = later(w.issued, s.issued(c))
	w.used[c.Nonce] = use{now, retain, c.Binding}
}

// retain returns the end of a nonce's retention.
func (s *Store) retain(c *replay.Claim, now time.Time) time.Time {
	month := now.AddDate(0, 1, 0)
	switch {
	case s.fault == ForgetsAtExpiry:
		return c.Expires
	case s.fault == MonthAtMost && c.RetainUntil.After(month):
		return month
	}
	return c.RetainUntil
}

// evict forgets the oldest admission.
func (s *Store) evict() {
	var oldest [16]byte
	var from *window
	for _, w := range s.windows {
		for nonce, u := range w.used {
			if from == nil || u.first.Before(from.used[oldest].first) {
				oldest, from = nonce, w
			}
		}
	}
	if from != nil {
		delete(from.used, oldest)
	}
}
