package replaytest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/admitone/admitone/verify/replay"
)

// cancelled: a claim without a waiting caller spends nothing.
//
// trap R24
func cancelled(s *suite, t *testing.T) {
	store := s.open(t)
	c := s.ticket()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for what, call := range calls(store) {
		if a, err := call(ctx, c); !errors.Is(err, replay.ErrUnavailable) || a != (replay.Answer{}) {
			t.Errorf("%s with a cancelled context: %+v, %v; want ErrUnavailable", what, a, err)
		}
	}
	admit(t, store, c)
}

// cancelledOnTheWay: a caller that gives up does not know whether the nonce is spent. In
// any case a single admission at most is possible, and the same binding gets the admission.
//
// trap R25
func cancelledOnTheWay(s *suite, t *testing.T) {
	store := s.open(t)
	for n := range 60 {
		c, begin := bound(s.ticket(), byte(1+n%2)), s.Now()
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(n)*20*time.Microsecond)
		a, err := store.Claim(ctx, c)
		cancel()
		switch {
		case err == nil && a != (replay.Answer{Status: replay.Admitted}):
			t.Fatalf("a fresh ticket is answered %+v", a)
		case err != nil && !errors.Is(err, replay.ErrUnavailable):
			t.Fatalf("a claim that was given up: %v; want ErrUnavailable", err)
		}
		if n%2 == 0 {
			if a := claim(t, store, c); (a.Status != replay.Admitted || err == nil && !a.Repeated) && !s.graceOver(begin) {
				t.Fatalf("a retry of a claim that was given up (%v) is answered %+v; want it admitted", err, a)
			}
		}
		used := claim(t, store, bound(c, 9))
		if (err == nil || n%2 == 0) && used.Status == replay.Admitted {
			t.Fatalf("ADMITTED TWICE: %+v", used)
		}
		requireNotAdmitted(t, store, bound(c, 10))
	}
}

// outage: an unreachable store reports the outage. It admits nobody, and reports no replay
// of an unspent nonce. When the store is reachable again, it answers again, and has
// forgotten nothing.
//
// trap R24
func outage(s *suite, t *testing.T) {
	if s.Outage == nil {
		t.Skip("this store cannot be made unreachable (Harness.Outage)")
	}
	store := s.open(t)
	spent, fresh := s.ticket(), s.ticket()
	admit(t, store, spent)
	restore := s.Outage(t)
	restored := false
	defer func() {
		if !restored {
			restore()
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), s.patience)
	defer cancel()
	for range 3 {
		if a, err := store.Claim(ctx, fresh); !errors.Is(err, replay.ErrUnavailable) || a != (replay.Answer{}) {
			t.Fatalf("Claim during an outage: %+v, %v; want ErrUnavailable", a, err)
		}
	}
	// A spent nonce may be called spent; no other answer is allowed.
	for _, call := range calls(store) {
		a, err := call(ctx, spent)
		if err == nil && !calledSpent(a) || err != nil && !errors.Is(err, replay.ErrUnavailable) {
			t.Fatalf("a spent nonce during an outage: %+v, %v; want ErrUnavailable or AlreadyUsed", a, err)
		}
	}
	restore()
	restored = true
	s.recovered(t, store)
	s.wantSpent(t, store, spent)

	admitted := 0
	for b := range byte(3) {
		if a := claim(t, store, bound(fresh, b)); a.Status == replay.Admitted {
			admitted++
		}
	}
	if admitted > 1 {
		t.Fatalf("ADMITTED TWICE: what was asked for during the outage is admitted %d times after it", admitted)
	}
}

// restart: the holder of the state ends and starts again. All spent nonces stay spent, and
// no good ticket is refused.
//
// trap R2
func restart(s *suite, t *testing.T) {
	if s.Restart == nil {
		t.Skip("this store promises nothing across a restart (Harness.Restart)")
	}
	store := s.open(t)
	unspent := s.ticket()
	var spent []replay.Claim
	for range 100 {
		c := s.ticket()
		admit(t, store, c)
		spent = append(spent, c)
	}
	used := claim(t, store, spent[0]).FirstUsed
	s.Restart(t)
	store = s.open(t)
	s.recovered(t, store)
	for _, c := range spent {
		s.wantSpent(t, store, c)
	}
	if a := claim(t, store, spent[0]); s.Exact && !a.FirstUsed.Equal(used) {
		t.Errorf("FirstUsed was %v before the restart, and is %v", used, a.FirstUsed)
	}
	admit(t, store, unspent)
	s.wantSpent(t, store, unspent)
}

// amnesia: the store loses all its memory. No ticket that may have been spent before is
// admitted; tickets issued afterwards are.
//
// trap R30
func amnesia(s *suite, t *testing.T) {
	if s.Reset == nil {
		t.Skip("this store cannot be made to forget (Harness.Reset)")
	}
	before := s.open(t)
	var old []replay.Claim
	for range 50 {
		c := s.ticket()
		admit(t, before, c)
		old = append(old, c, s.ticket())
	}
	s.Reset(t)
	s.settled = false
	after := s.Open(t)
	check := func() {
		t.Helper()
		for i, c := range old {
			if i%2 == 0 {
				requireNotAdmitted(t, before, c)
			}
			requireNotAdmitted(t, after, c)
		}
	}
	check()
	s.settle(t, after)
	s.settled = true
	check()
	c := s.ticket()
	admit(t, after, c)
	s.wantSpent(t, after, c)
}
