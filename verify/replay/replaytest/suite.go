package replaytest

import (
	"context"
	"crypto/rand"
	"testing"
	"time"

	"github.com/admitone/admitone/verify/replay"
)

const (
	lifetime = 5 * time.Minute
	skew     = 10 * time.Second

	// longestSleep is the longest sleep of a test if the clock cannot be moved.
	longestSleep = 15 * time.Second
)

// suite is a Harness with the common state of the tests.
type suite struct {
	Harness
	settled bool // the barrier is behind us

	// patience is how long a store may take to be of service again after an
	// outage or a reset, and a call to return, in real time.
	patience time.Duration
}

// open returns a handle on a store that takes tickets issued now.
func (s *suite) open(t *testing.T) replay.Store {
	t.Helper()
	store := s.Open(t)
	if !s.settled {
		s.settle(t, store)
		s.settled = true
	}
	return store
}

// settle waits until the store admits a ticket issued now. Until then the store may be
// unreachable, or its epoch may have just begun.
func (s *suite) settle(t *testing.T, store replay.Store) {
	t.Helper()
	for deadline := time.Now().Add(s.patience); ; {
		a, err := store.Claim(context.Background(), s.ticket())
		if err == nil && a.Status == replay.Admitted {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %v a fresh ticket is answered %+v, %v; want it admitted", s.patience, a, err)
		}
		if s.Step != nil {
			s.Step(time.Millisecond)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// recovered waits until the store is of service again: a client with several connections
// may notice the end of a connection only at its next use.
func (s *suite) recovered(t *testing.T, store replay.Store) {
	t.Helper()
	for deadline, good := time.Now().Add(s.patience), 0; good < 50; good++ {
		a, err := store.Claim(context.Background(), s.ticket())
		if err == nil && a.Status == replay.Admitted {
			continue
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %v a fresh ticket is answered %+v, %v; want it admitted", s.patience, a, err)
		}
		good = -1
		s.settle(t, store)
	}
}

// graceOver reports whether a retry may be refused, because too much time has passed since
// a first use at or after begin. This happens on a very busy machine.
func (s *suite) graceOver(begin time.Time) bool {
	return s.Now().Sub(begin) >= replay.Grace-s.tolerance()
}

// advance moves the clock ahead, or waits, or skips the test.
func (s *suite) advance(t *testing.T, d time.Duration) {
	t.Helper()
	switch {
	case d <= 0:
	case s.Step != nil:
		s.Step(d)
	case d > longestSleep:
		t.Skipf("this store's clock cannot be moved (Harness.Step), and the test would take %v", d)
	case testing.Short():
		t.Skipf("this store's clock cannot be moved (Harness.Step), and with -short the suite does not sleep for %v", d)
	default:
		time.Sleep(d)
	}
}

func (s *suite) needsStep(t *testing.T) {
	t.Helper()
	if s.Step == nil {
		t.Skip("this store's clock cannot be moved (Harness.Step)")
	}
}

// advanceTo brings the clock to at, or a little past at if the clock cannot be moved.
func (s *suite) advanceTo(t *testing.T, at time.Time) {
	t.Helper()
	s.advance(t, at.Sub(s.Now()))
}

// tolerance is how far the store's clock may be from Now.
func (s *suite) tolerance() time.Duration {
	if s.Step != nil {
		return time.Millisecond // its resolution
	}
	return 250 * time.Millisecond
}

// ticket returns the claim of a ticket issued just now, by an issuer with its clock ahead
// by the whole skew.
func (s *suite) ticket() replay.Claim { return newTicket(s.Now().Add(skew), lifetime, skew) }

func newTicket(issued time.Time, life, skew time.Duration) replay.Claim {
	c := replay.Claim{
		Issued:      issued,
		NotBefore:   issued.Add(-skew),
		Expires:     issued.Add(life),
		RetainUntil: issued.Add(life + 3*skew + time.Minute),
	}
	rand.Read(c.Nonce[:])
	return c
}

// bound returns the claim with a binding made from b; 0 is no binding.
func bound(c replay.Claim, b byte) replay.Claim {
	c.Binding = [32]byte{31: b}
	return c
}

func claim(t *testing.T, store replay.Store, c replay.Claim) replay.Answer {
	t.Helper()
	a, err := store.Claim(context.Background(), c)
	if err != nil {
		t.Fatalf("Claim of %+v: %v", c, err)
	}
	return a
}

func peek(t *testing.T, store replay.Store, c replay.Claim) replay.Answer {
	t.Helper()
	a, err := store.Peek(context.Background(), c)
	if err != nil {
		t.Fatalf("Peek of %+v: %v", c, err)
	}
	return a
}

// admit claims and wants the first admission of a nonce.
func admit(t *testing.T, store replay.Store, c replay.Claim) {
	t.Helper()
	if a := claim(t, store, c); a != (replay.Answer{Status: replay.Admitted}) {
		t.Fatalf("a fresh ticket, %+v, is answered %+v; want it admitted", c, a)
	}
}

// wantStatus looks, then claims, and wants the same answer to both.
func wantStatus(t *testing.T, store replay.Store, c replay.Claim, want replay.Status) {
	t.Helper()
	if a := peek(t, store, c); a.Status != want {
		t.Fatalf("Peek of %+v: %+v; want %v", c, a, want)
	}
	if a := claim(t, store, c); a.Status != want {
		t.Fatalf("Claim of %+v: %+v; want %v", c, a, want)
	}
}

// wantSpent looks and claims, and wants the nonce known as spent.
func (s *suite) wantSpent(t *testing.T, store replay.Store, c replay.Claim) {
	t.Helper()
	for what, call := range calls(store) {
		a, err := call(context.Background(), c)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		switch {
		case a.Status == replay.AlreadyUsed && !a.Repeated:
			if a.FirstUsed.IsZero() {
				t.Fatalf("%s of a spent nonce, %+v: AlreadyUsed without FirstUsed", what, c)
			}
		case a.Status == replay.PossiblyUsed && !s.Exact:
		default:
			t.Fatalf("%s of a spent nonce, %+v: %+v at %v; want AlreadyUsed", what, c, a, s.Now())
		}
	}
}

// calls returns the two methods that answer claims, by name.
func calls(store replay.Store) map[string]func(context.Context, replay.Claim) (replay.Answer, error) {
	return map[string]func(context.Context, replay.Claim) (replay.Answer, error){
		"Claim": store.Claim, "Peek": store.Peek,
	}
}

// calledSpent reports whether the answer calls the nonce spent.
func calledSpent(a replay.Answer) bool {
	return a.Status == replay.AlreadyUsed || a.Status == replay.PossiblyUsed
}

// requireNotAdmitted accepts every answer but Admitted.
func requireNotAdmitted(t *testing.T, store replay.Store, c replay.Claim) {
	t.Helper()
	if a, err := store.Claim(context.Background(), c); err == nil && a.Status == replay.Admitted {
		t.Fatalf("ADMITTED TWICE: %+v answered %+v", c, a)
	}
}
