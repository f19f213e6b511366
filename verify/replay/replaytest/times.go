package replaytest

import (
	"testing"
	"time"

	"github.com/admitone/admitone/verify/replay"
)

// binding: a retry is a claim with the first claim's binding, and no other claim.
//
// trap R25
func binding(s *suite, t *testing.T) {
	store := s.open(t)
	for _, test := range []struct {
		first, second byte
		repeated      bool
	}{{7, 7, true}, {7, 8, false}, {0, 7, false}, {7, 0, false}, {0, 0, false}} {
		c, begin := s.ticket(), s.Now()
		admit(t, store, bound(c, test.first))
		used := claim(t, store, bound(c, 99)).FirstUsed
		want := replay.Answer{Status: replay.AlreadyUsed, FirstUsed: used}
		if test.repeated {
			want = replay.Answer{Status: replay.Admitted, FirstUsed: used, Repeated: true}
		}
		for range 2 {
			for _, a := range []replay.Answer{peek(t, store, bound(c, test.second)), claim(t, store, bound(c, test.second))} {
				same := a.Status == want.Status && a.Repeated == want.Repeated
				over := test.repeated && s.graceOver(begin)
				if !over && !same || !a.FirstUsed.Equal(want.FirstUsed) {
					t.Errorf("first with binding %d, then with %d (0 is none): %+v; want %+v", test.first, test.second, a, want)
				}
			}
		}
	}
}

// graceEnds: the grace counts from the first use, and retries do not lengthen the grace.
//
// trap R25
// trap R27
func graceEnds(s *suite, t *testing.T) {
	store := s.open(t)
	c := bound(s.ticket(), 7)
	admit(t, store, c)
	used := claim(t, store, bound(c, 8)).FirstUsed
	for _, age := range []time.Duration{0, 3 * time.Second, 6 * time.Second, replay.Grace - 4*s.tolerance()} {
		s.advanceTo(t, used.Add(age))
		if a := claim(t, store, c); s.Now().Sub(used) < replay.Grace-s.tolerance() && !a.Repeated {
			t.Fatalf("%v after the first use, a retry with its binding is answered %+v", s.Now().Sub(used), a)
		}
	}
	end := used.Add(replay.Grace)
	if s.Step == nil {
		end = end.Add(s.tolerance())
	}
	s.advanceTo(t, end)
	if a := claim(t, store, c); a.Status != replay.AlreadyUsed || !a.FirstUsed.Equal(used) {
		t.Fatalf("%v after the first use, a retry with its binding is answered %+v; want AlreadyUsed at %v",
			s.Now().Sub(used), a, used)
	}
}

// retention: a nonce is known to the last moment of its retention, even as its neighbours
// in time expire, and then refused.
//
// trap R6
// trap R7
// trap R12
func retention(s *suite, t *testing.T) {
	s.needsStep(t)
	store := s.open(t)
	var all []replay.Claim
	for n := range 36 { // over a bit more than two slices of 16 s
		c := newTicket(s.Now().Add(skew+time.Duration(n)*time.Second), lifetime+123_456_789, skew)
		c.NotBefore = s.Now()
		admit(t, store, c)
		all = append(all, c)
	}
	for len(all) > 0 {
		next := all[0]
		edge := next.RetainUntil.Sub(s.Now()) - time.Millisecond
		if edge > 0 {
			s.Step(min(edge, 5*time.Second))
			for _, c := range all {
				s.wantSpent(t, store, c)
			}
			admit(t, store, s.ticket())
			continue
		}
		s.Step(next.RetainUntil.Sub(s.Now()) - 1)
		requireNotAdmitted(t, store, next)
		s.Step(1)
		wantStatus(t, store, next, replay.TooLate)
		all = all[1:]
	}
}

// retentionByTheClock is the same in real time and for a few seconds.
//
// trap R6
// trap R29
func retentionByTheClock(s *suite, t *testing.T) {
	store := s.open(t)
	var c replay.Claim
	for life := 3 * time.Second; ; life *= 2 { // a busy machine may take so long over a claim
		c = s.ticket()
		c.Expires, c.RetainUntil = s.Now().Add(time.Second), s.Now().Add(life+123_456_789)
		a := claim(t, store, c)
		if a == (replay.Answer{Status: replay.Admitted}) {
			break
		}
		if a.Status != replay.TooLate || s.Now().Before(c.RetainUntil.Add(-s.tolerance())) || life > longestSleep/2 {
			t.Fatalf("a fresh ticket, %+v, is answered %+v; want it admitted", c, a)
		}
	}
	for left := c.RetainUntil.Sub(s.Now()); left > s.tolerance(); left = c.RetainUntil.Sub(s.Now()) {
		requireNotAdmitted(t, store, c)
		if a := peek(t, store, c); c.RetainUntil.Sub(s.Now()) > s.tolerance() && !calledSpent(a) {
			t.Fatalf("%v before its end, a spent nonce is answered %+v", left, a)
		}
		s.advance(t, min(200*time.Millisecond, left))
	}
	for until := c.RetainUntil.Add(2 * s.tolerance()); s.Now().Before(until); {
		requireNotAdmitted(t, store, c)
		s.advance(t, time.Millisecond)
	}
	wantStatus(t, store, c, replay.TooLate)
}

// retentionNotCutShort: a replay by a verifier of a smaller skew does not end
// the nonce's time early.
//
// trap R9
// trap R27
func retentionNotCutShort(s *suite, t *testing.T) {
	store := s.open(t)
	var long, short replay.Claim
	for life := 2 * time.Second; ; life *= 2 { // a busy machine may take so long over two claims
		long = s.ticket()
		long.Expires, long.RetainUntil = s.Now().Add(time.Second), s.Now().Add(life+s.patience)
		short = long
		short.RetainUntil = s.Now().Add(life)
		admit(t, store, long)
		a := claim(t, store, short)
		if a.Status == replay.AlreadyUsed || a.Status == replay.PossiblyUsed && !s.Exact {
			break
		}
		if a.Status != replay.TooLate || s.Now().Before(short.RetainUntil.Add(-s.tolerance())) || life > longestSleep/2 {
			t.Fatalf("a spent nonce, %+v, is answered %+v; want AlreadyUsed", short, a)
		}
	}
	s.advanceTo(t, short.RetainUntil.Add(2*s.tolerance()))
	wantStatus(t, store, short, replay.TooLate)
	s.wantSpent(t, store, long)
	s.advance(t, time.Second)
	s.wantSpent(t, store, long)
}

// lateClaim: at and past its end a claim is refused, spent or not, and leaves no trace.
//
// trap R29
func lateClaim(s *suite, t *testing.T) {
	store := s.open(t)
	now := s.Now()
	for _, ago := range []time.Duration{2 * s.tolerance(), time.Second, time.Hour, 24 * 365 * time.Hour} {
		c := s.ticket()
		c.Expires, c.RetainUntil = now.Add(-ago), now.Add(-ago)
		wantStatus(t, store, c, replay.TooLate)
		c.RetainUntil = now.Add(time.Hour)
		if a := claim(t, store, c); a.Status != replay.Admitted && a.Status != replay.ClockBehind {
			t.Errorf("a nonce that came too late to one verifier is answered %+v to another of a larger skew; "+
				"want it admitted", a)
		}
	}
	c := s.ticket()
	s.needsStep(t)
	for _, at := range []time.Duration{0, 1, time.Second} {
		s.Step(c.RetainUntil.Add(at).Sub(s.Now()))
		wantStatus(t, store, c, replay.TooLate)
	}
}

// forwardStep: the clock jumps an hour ahead, much is forgotten, and the clock
// is set right.
//
// trap R13
func forwardStep(s *suite, t *testing.T) {
	s.needsStep(t)
	store := s.open(t)
	var victims []replay.Claim
	for n := range 60 {
		c := newTicket(s.Now().Add(skew), time.Duration(n)*5*time.Second, skew)
		admit(t, store, c)
		victims = append(victims, c)
	}
	s.Step(time.Hour)
	var others []replay.Claim
	for range 60 {
		c := s.ticket()
		admit(t, store, c)
		others = append(others, c)
	}
	s.Step(-time.Hour)
	for _, c := range victims {
		requireNotAdmitted(t, store, c)
	}
	for _, c := range others {
		s.wantSpent(t, store, c)
	}
	s.Step(2 * time.Hour) // nobody else is to meet the hour that was dropped
	admit(t, store, s.ticket())
}

// shortLeap: the clock is an hour ahead for a moment. The only claim in this moment is too
// late.
//
// trap R13
func shortLeap(s *suite, t *testing.T) {
	s.needsStep(t)
	store := s.open(t)
	var victims []replay.Claim
	for range 60 {
		c := s.ticket()
		admit(t, store, c)
		victims = append(victims, c)
	}
	s.Step(time.Hour)
	wantStatus(t, store, victims[0], replay.TooLate)
	s.Step(-time.Hour)
	for _, c := range victims {
		requireNotAdmitted(t, store, c)
	}
	s.Step(2 * time.Hour) // nobody else is to meet the hour that was dropped
	admit(t, store, s.ticket())
}

// clockAhead: the clock is an hour ahead for two seconds. Nothing spent is ever admitted
// again, by a verifier of another skew neither; and after at most a skew, every new ticket is
// admitted, of whatever lifetime.
//
// trap R39
func clockAhead(s *suite, t *testing.T) {
	s.needsStep(t)
	store := s.open(t)
	s.Step(2 * skew)
	lifetimes := []time.Duration{time.Minute, lifetime, 15 * time.Minute}
	var spent []replay.Claim
	spend := func() {
		for _, life := range lifetimes {
			c := newTicket(s.Now(), life, skew)
			admit(t, store, c)
			spent = append(spent, c)
		}
	}
	check := func() {
		for _, c := range spent {
			requireNotAdmitted(t, store, c)
			c.NotBefore, c.RetainUntil = c.Issued, c.Expires.Add(time.Minute)
			requireNotAdmitted(t, store, c)
		}
	}
	for range 10 {
		spend()
		s.Step(2 * time.Second)
	}
	s.Step(time.Hour)
	wantStatus(t, store, spent[0], replay.TooLate)
	spend()
	s.Step(2 * time.Second)
	s.Step(-time.Hour)
	check()
	s.Step(skew + time.Millisecond)
	for end := s.Now().Add(lifetime); s.Now().Before(end); s.Step(20 * time.Second) {
		spend()
		check()
	}
	s.Step(2 * time.Hour) // nobody else is to meet the hour that was dropped
	check()
	admit(t, store, s.ticket())
}

// backwardStep: the clock steps back a little. Nothing opens again, and new claims are
// served at once or, at the latest, when the clock has caught up.
//
// trap R14
func backwardStep(s *suite, t *testing.T) {
	s.needsStep(t)
	store := s.open(t)
	s.Step(time.Hour)
	c, retried := s.ticket(), bound(s.ticket(), 7)
	admit(t, store, c)
	admit(t, store, retried)
	s.Step(-time.Minute)
	s.wantSpent(t, store, c)
	requireNotAdmitted(t, store, bound(c, 7))
	s.wantSpent(t, store, retried) // or its grace would last for a minute more
	s.Step(time.Minute)
	s.wantSpent(t, store, c)
	admit(t, store, s.ticket())
}
