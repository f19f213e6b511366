package replaytest

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/admitone/admitone/verify/replay"
)

// distinctNonces: nearly equal nonces are different nonces.
//
// trap R19
// trap R21
func distinctNonces(s *suite, t *testing.T) {
	store := s.open(t)
	c := s.ticket()
	nonces := [][16]byte{{}, {15: 1}, {0: 1}, c.Nonce,
		{1, 23}, {12, 3}, {0x1, 0x23}, {0x12, 0x3}} // the same digits, in decimal and in hexadecimal
	for bit := range 128 {
		n := c.Nonce
		n[bit/8] ^= 1 << (bit % 8)
		nonces = append(nonces, n)
	}
	for _, text := range []string{
		"::::::::::::::::", ":::::::\x00::::::::", "{{{{{{{}}}}}}}}}", "{}{}{}{}{}{}{}{}", "                ",
		"\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n", "''''''''''''''''", "%%%%%%%%%%%%%%%%",
		strings.Repeat("\xff", 16),
		"aaaaaaaaaaaaaaaa", "AAAAAAAAAAAAAAAA", "aaaaaaaaaaaaaaa\x00", "\x00aaaaaaaaaaaaaaa",
	} {
		nonces = append(nonces, [16]byte([]byte(text)))
	}
	for _, n := range nonces {
		c.Nonce = n
		admit(t, store, c)
	}
	for _, n := range nonces {
		c.Nonce = n
		s.wantSpent(t, store, c)
	}
}

// invalidClaim: a nonsensical claim is an error, other than an outage, and spends nothing.
func invalidClaim(s *suite, t *testing.T) {
	store := s.open(t)
	good := s.ticket()
	bad := good
	bad.RetainUntil = good.Expires.Add(-1)
	for what, call := range calls(store) {
		a, err := call(context.Background(), bad)
		if err == nil || errors.Is(err, replay.ErrUnavailable) || a != (replay.Answer{}) {
			t.Errorf("%s with RetainUntil before Expires: %+v, %v; "+
				"want an error other than ErrUnavailable (see replay.Claim.Check)", what, a, err)
		}
	}
	admit(t, store, good)
	good = s.ticket()
	good.RetainUntil = good.Expires
	admit(t, store, good)
}

// oddTimes: no time is special, and no claim with an unstorable time is admitted and then
// forgotten.
//
// trap R21
func oddTimes(s *suite, t *testing.T) {
	store := s.open(t)
	a, err := store.Claim(context.Background(), replay.Claim{})
	if err != nil || a.Status != replay.TooLate && a.Status != replay.IssuedBeforeStart {
		t.Errorf("a claim that nobody filled in is answered %+v, %v; want it refused", a, err)
	}
	local := s.ticket()
	admit(t, store, local)
	zone := time.FixedZone("", -11*3600-1)
	local.NotBefore, local.Expires = local.NotBefore.In(zone), local.Expires.In(zone)
	local.RetainUntil = local.RetainUntil.In(zone)
	s.wantSpent(t, store, local)

	for _, expires := range []time.Time{
		{}, time.Unix(-5, 5), time.Unix(0, 0), time.Unix(0, 1), s.Now().Add(1), s.Now().Add(time.Minute + 999_999_999),
		time.Unix(math.MaxInt32, 0), time.Unix(1<<32, 0), time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC),
		time.Unix(1<<43, 0), time.Unix(0, math.MaxInt64), time.Unix(math.MaxInt64/1000, 0),
	} {
		c := s.ticket()
		c.Expires, c.RetainUntil = expires, expires.Add(time.Minute)
		admitted := 0
		for range 3 {
			if a, err := store.Claim(context.Background(), c); err == nil && a.Status == replay.Admitted {
				admitted++
			}
		}
		if admitted > 1 {
			t.Errorf("a ticket that expires at %v is admitted %d times", expires, admitted)
		}
	}
	admit(t, store, s.ticket())
}

// order: a newer ticket redeemed first is no reason to refuse an older ticket.
//
// trap R10
func order(s *suite, t *testing.T) {
	store := s.open(t)
	c := s.ticket()
	var all []replay.Claim
	for n := range 100 { // from the latest expiry to one that is nearly past
		c := newTicket(s.Now().Add(skew), lifetime-time.Duration(n)*lifetime/100, skew)
		admit(t, store, c)
		all = append(all, c)
	}
	admit(t, store, c)
	for _, c := range all {
		s.wantSpent(t, store, c)
	}
}

// farExpiry: a ticket dated far ahead refuses no other, and is remembered, for longer than
// the longest time to live of common databases (30 days, for instance).
//
// trap R11
// trap R15
func farExpiry(s *suite, t *testing.T) {
	store := s.open(t)
	far := newTicket(s.Now().Add(skew), 100*365*24*time.Hour, skew)
	admit(t, store, far)
	for range 50 {
		admit(t, store, s.ticket())
	}
	s.wantSpent(t, store, far)
	if s.Step != nil {
		s.Step(400 * 24 * time.Hour)
		s.wantSpent(t, store, far)
	}
}

// barrier: a ticket possibly older than the store's memory is refused.
//
// trap R2
func barrier(s *suite, t *testing.T) {
	if s.Epoch == nil {
		t.Skip("this store has no epoch (Harness.Epoch)")
	}
	store := s.open(t)
	epoch := s.Epoch(t)
	if epoch.IsZero() || epoch.After(s.Now().Add(s.tolerance())) {
		t.Errorf("the store's epoch is %v, and its clock %v", epoch, s.Now())
	}
	for _, before := range []time.Duration{0, 1, time.Millisecond, time.Second, time.Hour, 100 * 365 * 24 * time.Hour} {
		c := s.ticket()
		c.NotBefore = epoch.Add(-before)
		wantStatus(t, store, c, replay.IssuedBeforeStart)
		c.NotBefore = s.Now() // nothing was spent by it
		admit(t, store, c)
	}
	c := s.ticket()
	c.NotBefore = time.Time{}
	wantStatus(t, store, c, replay.IssuedBeforeStart)
}
