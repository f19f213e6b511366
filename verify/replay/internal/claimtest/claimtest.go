// Package claimtest has a clock, claims and checks for the tests of stores. Only
// tests import it.
package claimtest

import (
	"context"
	"encoding/binary"
	"sync/atomic"
	"testing"
	"time"

	"github.com/admitone/admitone/verify/replay"
)

// Start is the first time of a Clock: the first second of a window.
var Start = time.Unix(1_800_000_000, 0).UTC()

// Clock is a clock moved by tests.
type Clock struct{ ns atomic.Int64 }

// NewClock returns a clock at Start.
func NewClock() *Clock {
	c := new(Clock)
	c.Set(Start)
	return c
}

// Now returns the clock's time.
func (c *Clock) Now() time.Time { return time.Unix(0, c.ns.Load()) }

// Step moves the clock, forward or back.
func (c *Clock) Step(d time.Duration) { c.ns.Add(int64(d)) }

// Set moves the clock to t.
func (c *Clock) Set(t time.Time) { c.ns.Store(t.UnixNano()) }

// The usual ticket and verifier of the tests.
const (
	Lifetime = 5 * time.Minute
	Skew     = 10 * time.Second
)

// Nonce returns the nth nonce.
func Nonce(n uint64) (id [16]byte) {
	binary.BigEndian.PutUint64(id[8:], n)
	id[0] = 0xa1
	return id
}

// Ticket returns the claim of the nth ticket, issued at the given time.
func Ticket(n uint64, issued time.Time, lifetime, skew time.Duration) replay.Claim {
	return replay.Claim{
		Nonce:       Nonce(n),
		Issued:      issued,
		NotBefore:   issued.Add(-skew),
		Expires:     issued.Add(lifetime),
		RetainUntil: issued.Add(lifetime + 3*skew + time.Minute),
	}
}

// Bound returns the claim with a binding.
func Bound(c replay.Claim, b byte) replay.Claim {
	c.Binding = [32]byte{31: b}
	return c
}

// Claim makes the claim; the store must answer.
func Claim(t testing.TB, s replay.Store, c replay.Claim) replay.Answer {
	t.Helper()
	a, err := s.Claim(context.Background(), c)
	if err != nil {
		t.Fatalf("Claim: %v", err)
	}
	return a
}

// Peek looks at the claim, which must get an answer.
func Peek(t testing.TB, s replay.Store, c replay.Claim) replay.Answer {
	t.Helper()
	a, err := s.Peek(context.Background(), c)
	if err != nil {
		t.Fatalf("Peek: %v", err)
	}
	return a
}

// Calls returns the two methods that answer claims, by name.
func Calls(s replay.Store) map[string]func(context.Context, replay.Claim) (replay.Answer, error) {
	return map[string]func(context.Context, replay.Claim) (replay.Answer, error){"Claim": s.Claim, "Peek": s.Peek}
}

// Stats returns the store's numbers.
func Stats(t testing.TB, s replay.Managed) replay.Stats {
	t.Helper()
	st, err := s.Stats(context.Background())
	if err != nil {
		t.Fatalf("Stats: %v", err)
	}
	return st
}

// Admit redeems new tickets until the store is full or most are admitted, and
// returns the claims admitted. make returns the nth ticket. One or two tickets
// may be mistaken for used, as the filters' error rate allows.
func Admit(t testing.TB, s replay.Store, most int, make func(n uint64) replay.Claim) (
	claims []replay.Claim, full bool,
) {
	t.Helper()
	mistaken := 0
	for n := uint64(0); len(claims) < most; n++ {
		if n >= 1<<20 {
			t.Fatal("no test's store holds so many")
		}
		c := make(n)
		switch a := Claim(t, s, c); a.Status {
		case replay.Admitted:
			claims = append(claims, c)
		case replay.Full:
			return claims, true
		case replay.PossiblyUsed:
			if mistaken++; mistaken > 2 {
				t.Fatalf("%d good tickets are possibly used", mistaken)
			}
		default:
			t.Fatalf("good ticket %d is answered %v", n, a.Status)
		}
	}
	return claims, false
}

// RequireSpent replays all claims; each claim must be refused as used.
func RequireSpent(t testing.TB, s replay.Store, claims []replay.Claim) {
	t.Helper()
	for i, c := range claims {
		if a := Claim(t, s, c); a.Status != replay.AlreadyUsed && a.Status != replay.PossiblyUsed {
			t.Fatalf("the replay of ticket %d is answered %v", i, a.Status)
		}
	}
}
