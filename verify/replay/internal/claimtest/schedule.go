package claimtest

import (
	"context"
	"flag"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/admitone/admitone/verify/replay"
)

// The flags of the model tests.
var (
	Schedules = flag.Int("schedules", 2000, "random schedules of TestModel")
	modelSeed = flag.Uint64("seed", 0, "seed of TestModel; 0: a random one")
)

// Seed returns the seed of a model test, and logs it.
func Seed(t *testing.T) uint64 {
	seed := *modelSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("repeat with -seed %d", seed)
	return seed
}

// Schedule makes random claims and moves a clock.
type Schedule struct {
	Rand  *rand.Rand
	Clock *Clock
	Dense bool // a rush at one time, so that filters are chained
	Tally *Tally

	tickets []replay.Claim // all that were issued
}

// Tally sums up what schedules came to.
type Tally struct {
	Answers  map[replay.Status]int
	Repeated int
	Again    int // admissions in a window that may have been dropped before
}

// Count adds an answer.
func (t *Tally) Count(a replay.Answer) {
	t.Answers[a.Status]++
	if a.Repeated {
		t.Repeated++
	}
}

// Step moves the clock: mostly a little ahead, now and then far in either
// direction, and often to the very edge of some ticket's time.
func (s *Schedule) Step() {
	if s.Dense && s.Rand.IntN(200) != 0 {
		s.Clock.Step(time.Duration(s.Rand.Int64N(int64(10 * time.Millisecond))))
		return
	}
	switch s.Rand.IntN(20) {
	case 0:
		s.Clock.Step(time.Duration(s.Rand.Int64N(int64(time.Hour))))
	case 1:
		s.Clock.Step(-time.Duration(s.Rand.Int64N(int64(time.Hour))))
	case 2, 3, 4:
		if len(s.tickets) > 0 {
			c := s.tickets[s.Rand.IntN(len(s.tickets))]
			at := []time.Time{c.NotBefore, c.Expires, c.RetainUntil}[s.Rand.IntN(3)]
			s.Clock.Set(at.Add(time.Duration(s.Rand.IntN(3) - 1)))
		}
	default:
		s.Clock.Step(time.Duration(s.Rand.Int64N(int64(3 * time.Second))))
	}
}

// Next returns a claim of a new ticket or an older one, made by any verifier.
func (s *Schedule) Next() replay.Claim {
	skews := []time.Duration{0, Skew, time.Minute}
	var c replay.Claim
	if n := len(s.tickets); n > 0 && s.Rand.IntN(2) == 0 {
		c = s.tickets[s.Rand.IntN(n)]
		if s.Rand.IntN(2) == 0 {
			c = s.tickets[n-1-s.Rand.IntN(min(n, 4))]
		}
	} else {
		issued := s.Clock.Now().Add(time.Duration(s.Rand.Int64N(int64(20*time.Second))) - Skew)
		life := []time.Duration{time.Second, time.Minute, Lifetime, time.Hour}[s.Rand.IntN(4)]
		if s.Dense {
			issued, life = s.Clock.Now(), Lifetime
		}
		c = Ticket(uint64(n), issued, life, Skew)
		s.tickets = append(s.tickets, c)
	}
	if s.Rand.IntN(4) == 0 { // another verifier, of another skew
		other := skews[s.Rand.IntN(len(skews))]
		c.NotBefore = c.NotBefore.Add(Skew - other)
		c.RetainUntil = c.Expires.Add(3*other + time.Minute)
	}
	c.Binding = [32]byte{byte(s.Rand.IntN(3))}
	return c
}

// ExpirySpan is the end of the latest record in a window of expiry, and whether a
// claim was made after that end, so that the store may have dropped the window. Issued is
// the latest issue of the tickets that the window may have.
type ExpirySpan struct {
	RetainUntil, Issued time.Time
	MayBeGone           bool
}

// Forgotten reports whether a store may call a ticket ClockBehind: a ticket of the same
// issue or a later one may be among the dropped, in this window or another. Tickets have
// whole milliseconds, and so stores keep no more.
func Forgotten(windows map[int64]*ExpirySpan, c replay.Claim, now time.Time) bool {
	w := windows[c.Expires.Unix()/16]
	if w == nil || !w.MayBeGone && now.Before(w.RetainUntil) {
		return false
	}
	for _, w := range windows {
		if (w.MayBeGone || !now.Before(w.RetainUntil)) && c.Issued.UnixMilli() <= w.Issued.UnixMilli() {
			return true
		}
	}
	return false
}

// Stream claims tickets at a steady rate, in steps of a second, and calls see
// after each step. Several callers at once make the claims of one second.
func Stream(t *testing.T, s replay.Store, clock *Clock, traffic Traffic, see func()) {
	t.Helper()
	var next atomic.Uint64
	for second := range traffic.Seconds {
		var wg sync.WaitGroup
		for range traffic.Callers {
			wg.Go(func() {
				for range traffic.Rate / traffic.Callers {
					c := Bound(Ticket(next.Add(1), clock.Now(), traffic.Lifetime, 0), traffic.Binding)
					a, err := s.Claim(context.Background(), c)
					if err != nil || a.Status != replay.Admitted && a.Status != replay.PossiblyUsed {
						t.Errorf("second %d: %v %v", second, a.Status, err)
						return
					}
				}
			})
		}
		wg.Wait()
		see()
		clock.Step(time.Second)
	}
}

// Traffic describes the claims of Stream. A zero Binding is none.
type Traffic struct {
	Seconds, Rate, Callers int
	Lifetime               time.Duration
	Binding                byte
}

// HeapInUse returns the bytes of live objects on the heap.
func HeapInUse() int64 {
	runtime.GC()
	runtime.GC()
	var ms runtime.MemStats
	runtime.ReadMemStats(&ms)
	return int64(ms.HeapAlloc)
}
