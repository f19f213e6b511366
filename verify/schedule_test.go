package verify_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"time"

	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
	"github.com/admitone/admitone/verify/replay"
)

// A schedule is one random run.
type schedule struct {
	*kind
	rng       *rand.Rand
	clock     modelClock
	high      time.Time // the clock's highest reading
	gate      gate
	base, dir string // of a journal
	made      int    // directories
	keys      int    // rotation that is in use
	skews     []time.Duration
	off       time.Duration // the most that an issuer's clock is off
	configs   [2]*verify.Config
	verifiers [2]*verify.Verifier
	tickets   []*modelTicket
	model     model
	tally     map[verify.Reason]int
	repeated  int
}

func newSchedule(k *kind, seed uint64, dir string) (*schedule, error) {
	s := &schedule{kind: k, rng: rand.New(rand.NewPCG(seed, 0)), base: dir, tally: map[verify.Reason]int{}}
	s.clock.ns.Store(time.Date(2025, 1, 19, 14, 0, 0, int(s.rng.Int64N(1e9)), time.UTC).UnixNano())
	// Issuers' clocks are off by up to what the laxest verifier tolerates, and
	// strict ones meet, after a restart too, what that one has let in.
	s.skews = pick(s.rng, []time.Duration{0, 3 * time.Second, verify.Skew},
		[]time.Duration{0, verify.Skew, time.Minute, 90 * time.Second})
	s.off = pick(s.rng, 0, verify.Skew, s.maxSkew())
	s.model = model{windows: map[int64]*window{}}
	s.gate.clock = &s.clock
	s.newDir()
	if err := s.begin(); err != nil {
		return nil, err
	}
	s.model.epoch = s.clock.store()
	s.configure(0)
	s.configure(1)
	s.clock.step(s.maxSkew() + time.Second)
	return s, nil
}

func (s *schedule) newDir() {
	s.made++
	s.dir = filepath.Join(s.base, fmt.Sprint(s.made))
}

func (s *schedule) begin() (err error) {
	s.gate.Store, err = s.open(s)
	s.model.looks(s.clock.store())
	return err
}

func (s *schedule) end() error {
	if c, ok := s.gate.Store.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// configure gives one of the verifiers a skew and a longest lifetime.
func (s *schedule) configure(i int) {
	var store replay.Store = &s.gate
	if s.wrap != nil {
		store = s.wrap(store)
	}
	c := &verify.Config{
		Opener: rotations()[s.keys], Brands: []string{"acme"}, Store: store, Now: s.clock.now,
		MaxLifetime: pick(s.rng, 24*time.Hour, 24*time.Hour, 5*time.Minute), Skew: pick(s.rng, s.skews...),
		MaxSkew: s.maxSkew(),
	}
	if s.ownSkew {
		c.MaxSkew = c.Skew
	}
	v, err := verify.New(*c)
	noError(err)
	s.configs[i], s.verifiers[i] = c, v
}

// maxSkew is the largest that any of the schedule's verifiers may have.
func (s *schedule) maxSkew() time.Duration { return s.skews[len(s.skews)-1] }

func pick[T any](rng *rand.Rand, of ...T) T { return of[rng.IntN(len(of))] }

func (s *schedule) upTo(d time.Duration) time.Duration {
	return time.Duration(s.rng.Int64N(int64(d) + 1))
}

func (s *schedule) issue(lifetime time.Duration) *modelTicket {
	off := s.upTo(2*s.off) - s.off
	issuer, err := token.NewIssuer(token.Config{
		Sealer: rotations()[s.keys], MaxLifetime: 24 * time.Hour, Now: func() time.Time { return s.clock.now().Add(off) },
	})
	noError(err)
	t := &modelTicket{Ticket: token.Ticket{Audience: token.Agent, OneTime: true, Brand: "acme", Username: "jo",
		Lifetime: lifetime}}
	if s.rng.IntN(16) == 0 {
		t.Brand = "other"
	}
	if s.rng.IntN(2) == 0 {
		t.Audience, t.Username, t.Email, t.Channel = token.Customer, "", "jo@example.com", pick(s.rng, "", "c", "c")
	}
	t.text, err = issuer.Issue(&t.Ticket)
	noError(err)
	s.tickets = append(s.tickets, t)
	return t
}

// any is one of the tickets, often a recent one.
func (s *schedule) any() *modelTicket {
	n := len(s.tickets)
	if n == 0 || s.rng.IntN(6) == 0 {
		return s.issue(pick(s.rng, time.Second, time.Minute, 5*time.Minute, 5*time.Minute, time.Hour))
	}
	if s.rng.IntN(2) == 0 {
		return s.tickets[n-1-s.rng.IntN(min(n, 4))]
	}
	return s.tickets[s.rng.IntN(n)]
}

// offer makes one of t, for the right use.
func (s *schedule) offer(t *modelTicket) *offer {
	i := s.rng.IntN(2)
	o := &offer{t: t, v: s.verifiers[i], by: s.configs[i]}
	o.use = verify.Use{Audience: t.Audience, Channel: t.Channel, Binding: [32]byte{byte(s.rng.IntN(3))}}
	if s.rng.IntN(12) == 0 {
		o.lose = lostBefore + s.rng.IntN(2)
	}
	return o
}

// spoil makes an offer one for a wrong use, a slow one, or a look.
func (s *schedule) spoil(o *offer) *offer {
	switch s.rng.IntN(24) {
	case 0:
		o.use.Audience = token.Agent + token.Customer - o.t.Audience
	case 1:
		o.use.Channel = "elsewhere"
		if o.t.Channel == "" {
			o.use.Channel = ""
		}
	case 2:
		o.use.Check = func(token.Ticket) error { return errors.New("not today") }
	case 3:
		o.slow = s.upTo(3 * time.Minute)
	case 4: // the clock jumps, and is set right
		o.slow = s.upTo(time.Hour)
		o.back = -o.slow
	case 5, 6:
		o.inspect = true
	case 7: // the clock is set back during the claim: trap R41
		o.back = -s.upTo(2 * time.Minute)
	}
	return o
}

// race offers one ticket many times at once.
func (s *schedule) race() []*offer {
	t := s.any()
	offers := make([]*offer, 2+s.rng.IntN(7))
	for i := range offers {
		offers[i] = s.offer(t)
	}
	s.atOnce(offers)
	return offers
}

// flood redeems so many tickets at once that a small store may be full, and some
// of them again.
func (s *schedule) flood() error {
	apart := pick(s.rng, 0, 16*time.Second)
	var offers []*offer
	for i := range 72 + s.rng.IntN(16) {
		offers = append(offers, s.offer(s.issue(5*time.Minute+time.Duration(i)*apart)))
	}
	s.atOnce(offers)
	if err := s.judge(offers...); err != nil {
		return err
	}
	for range 8 {
		if err := s.redeemOne(pick(s.rng, offers...).t); err != nil {
			return err
		}
	}
	return nil
}

// spin moves the clock: mostly a little ahead, now and then far in either
// direction, the store's alone or all.
func (s *schedule) spin() {
	switch s.rng.IntN(12) {
	case 0:
		s.clock.step(s.upTo(20 * time.Minute))
	case 1:
		s.clock.step(-s.upTo(20 * time.Minute))
	case 2:
		s.clock.ahead.Store(int64(s.upTo(20*time.Minute) - 10*time.Minute))
	case 3, 4:
		s.clock.ahead.Store(0)
	default:
		s.clock.step(s.upTo(20 * time.Second))
	}
}

// edge offers a ticket when one of its times is just about to come, or has just
// come, by the verifiers' clock or by the store's.
func (s *schedule) edge() error {
	o := s.offer(s.any())
	off := time.Duration(s.rng.IntN(3) - 1)
	switch s.rng.IntN(4) {
	case 0:
		s.clock.ns.Store(o.t.IssuedAt.Add(-o.by.Skew + off*time.Millisecond).UnixNano())
	case 1:
		s.clock.ns.Store(o.t.Expires().Add(o.by.Skew + off*time.Millisecond).UnixNano())
	case 2:
		s.clock.ns.Store(o.t.Expires().Add(s.upTo(o.by.Skew)).UnixNano())
	case 3:
		ahead := s.clock.ahead.Load()
		defer s.clock.ahead.Store(ahead)
		end := retainUntil(o.t, o.by)
		if s.rng.IntN(2) == 0 { // of another, that may be in the same slice
			end = retainUntil(s.any(), pick(s.rng, s.configs[:]...))
		}
		s.clock.ahead.Store(int64(end.Add(off).Sub(s.clock.now())))
	}
	s.present(o)
	return s.judge(o)
}

// retry offers a ticket again and again, with one binding.
func (s *schedule) retry() error {
	t, binding := s.any(), [32]byte{1}
	for range 4 {
		o := s.offer(t)
		o.use.Binding = binding
		s.present(o)
		if err := s.judge(o); err != nil {
			return err
		}
		s.clock.step(s.upTo(8 * time.Second))
	}
	return nil
}

// siblings redeems tickets that expire together, and again when one of them, as
// some verifier has it, may be forgotten by the store.
func (s *schedule) siblings() error {
	tickets := []*modelTicket{s.issue(time.Minute), s.issue(time.Minute), s.issue(time.Minute)}
	for _, t := range tickets {
		if err := s.redeemOne(t); err != nil {
			return err
		}
	}
	defer s.clock.ahead.Store(s.clock.ahead.Load())
	over := retainUntil(pick(s.rng, tickets...), pick(s.rng, s.configs[:]...))
	s.clock.ahead.Store(int64(over.Sub(s.clock.now())))
	for _, t := range tickets {
		if err := s.redeemOne(t); err != nil {
			return err
		}
	}
	return nil
}

// forge offers a ticket with one character changed: it is refused, and spends
// nothing.
func (s *schedule) forge() error {
	o := s.offer(s.any())
	b := []byte(o.t.text)
	at := s.rng.IntN(len(b))
	b[at] = pick(s.rng, 'A', '=', '\n', b[at]+1)
	if string(b) == o.t.text {
		return nil
	}
	forged := *o.t
	forged.text = string(b)
	o.t = &forged
	s.present(o)
	switch o.reason {
	case verify.Malformed, verify.UnsupportedVersion, verify.UnknownKey, verify.Forged:
		return nil
	}
	return fmt.Errorf("a forgery is answered %q", o.reason)
}

// restart ends the store and opens it again.
func (s *schedule) restart() error {
	if err := s.end(); err != nil {
		return err
	}
	if s.durable {
		s.spin()
	} else {
		s.forget()
	}
	for i := range s.configs { // the new process's
		if s.rng.IntN(2) == 0 {
			s.configure(i)
		}
	}
	return s.begin()
}

// forget is what comes with a store that knows nothing of the past: its clock
// must not be behind, and its epoch is now.
func (s *schedule) forget() {
	s.clock.ahead.Store(0)
	if now := s.clock.now(); now.Before(s.high) {
		s.clock.step(s.high.Sub(now))
	}
	s.model.epoch, s.model.windows, s.model.records = s.clock.store(), map[int64]*window{}, 0
}

// act does one thing of those that can happen.
func (s *schedule) act() error {
	s.high = later(s.high, s.clock.now())
	switch n := s.rng.IntN(100); {
	case n < 1:
		return s.flood() // often enough that no run of 200 schedules goes without
	case n < 15:
		s.issue(pick(s.rng, time.Second, time.Minute, 5*time.Minute, 6*time.Minute))
	case n < 45:
		o := s.spoil(s.offer(s.any()))
		s.present(o)
		return s.judge(o)
	case n < 47:
		return s.retry()
	case n < 49:
		return s.siblings()
	case n < 54:
		return s.judge(s.race()...)
	case n < 73:
		s.spin()
	case n < 84:
		return s.edge()
	case n < 86:
		return s.forge()
	case n < 88:
		s.keys = min(s.keys+1, len(rotations())-1)
		s.configure(0)
		s.configure(1)
	case n < 91:
		s.configure(s.rng.IntN(2))
	case n < 95:
		return s.restart()
	case n < 98:
		return s.crash()
	case n < 99:
		return s.lose()
	default:
		return s.flood()
	}
	return nil
}

// A run ends at the first answer that the model does not allow.
func (s *schedule) run() error {
	for n := range 20 + s.rng.IntN(60) {
		if err := s.act(); err != nil {
			return fmt.Errorf("step %d: %w", n, err)
		}
	}
	return s.end()
}
