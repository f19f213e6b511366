package replay

import (
	"flag"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	schedules = flag.Int("schedules", 2000, "random schedules of TestModel")
	modelSeed = flag.Uint64("seed", 0, "seed of TestModel; 0: a random one")
)

// A model is what a store may answer, said with an exact map that forgets
// nothing. It knows nothing of shards, filters or bytes.
type model struct {
	epoch   time.Time
	barrier bool
	used    map[[16]byte]*use
	order   int // of the latest admission
	windows map[int64]*window
}

type use struct {
	first   time.Time
	binding [32]byte
	order   int
}

// A window is a slice's span of expiry: the end of its latest record, and
// whether a claim was made when that was over, so that it may be gone.
type window struct {
	retain    time.Time
	mayBeGone bool
}

func newModel(epoch time.Time, barrier bool) *model {
	return &model{epoch: epoch, barrier: barrier, used: map[[16]byte]*use{}, windows: map[int64]*window{}}
}

// check returns what is wrong with an answer to c at now, or "". It must be
// called before note.
func (m *model) check(c Claim, now time.Time, a Answer, full bool) string {
	if !now.Before(c.RetainUntil) {
		if a != (Answer{Status: TooLate}) {
			return "a claim past its end must be TooLate"
		}
		return ""
	}
	u, w := m.used[c.Nonce], m.windows[c.Expires.Unix()/16]
	gone := w != nil && (w.mayBeGone || !now.Before(w.retain))
	if u != nil {
		if a.Status == IssuedBeforeStart && m.barrier && !c.NotBefore.After(m.epoch) && m.order-u.order >= 8 {
			return "" // by a verifier with a larger skew
		}
		return u.check(c, now, a, m.order-u.order, gone)
	}
	switch a.Status {
	case Admitted:
		switch {
		case a.Repeated:
			return "a first claim repeats nothing"
		case m.barrier && !c.NotBefore.After(m.epoch):
			return "admitted through the barrier"
		}
	case IssuedBeforeStart:
		if !m.barrier || c.NotBefore.After(m.epoch) {
			return "refused by the barrier without cause"
		}
	case ClockBehind:
		if !gone {
			return "clock behind, but nothing of that time can have been dropped"
		}
	case Full:
		if !full {
			return "full, but there is room"
		}
	default:
		return "fresh ticket refused"
	}
	return ""
}

func (u *use) check(c Claim, now time.Time, a Answer, newer int, gone bool) string {
	age := now.Sub(u.first)
	mayRepeat := c.Binding != [32]byte{} && c.Binding == u.binding && age >= 0 && age < Grace
	switch {
	case a.Status == Admitted && !a.Repeated:
		return "ADMITTED TWICE"
	case a.Status == Admitted && !mayRepeat:
		return "repeated without cause"
	case a.Status == AlreadyUsed && mayRepeat:
		return "not repeated in spite of the binding"
	case a.Status == Admitted, a.Status == AlreadyUsed:
		if !a.FirstUsed.Equal(u.first) {
			return "wrong time of first use"
		}
	case newer < 8:
		return "one of the latest eight admissions must be known exactly"
	case a.Status == ClockBehind && !gone:
		return "clock behind, but nothing of that time can have been dropped"
	case a.Status == PossiblyUsed, a.Status == ClockBehind:
	default:
		return "a spent nonce must be refused as spent"
	}
	return ""
}

// note takes in an answered claim.
func (m *model) note(c Claim, now time.Time, a Answer) {
	for _, w := range m.windows {
		w.mayBeGone = w.mayBeGone || !now.Before(w.retain)
	}
	if a.Status != Admitted || a.Repeated {
		return
	}
	m.order++
	m.used[c.Nonce] = &use{now, c.Binding, m.order}
	i := c.Expires.Unix() / 16
	w := m.windows[i]
	if w == nil {
		w = &window{retain: c.RetainUntil}
		m.windows[i] = w
	}
	if c.RetainUntil.After(w.retain) {
		w.retain = c.RetainUntil
	}
}

// A schedule is one run of claims against a small cache and the model.
type schedule struct {
	rng     *rand.Rand
	clock   *fakeClock
	memory  *Memory
	model   *model
	tickets []Claim // all that were issued
	dense   bool    // a rush at one time, so that filters are chained
	tally   *tally
}

// A tally says what all schedules together came to.
type tally struct {
	answers  map[Status]int
	repeated int
	mistaken int // fresh tickets taken for used by a filter
	longest  int // chain
}

// step moves the clock: mostly a little ahead, now and then far in either
// direction, and often to the very edge of some ticket's time.
func (s *schedule) step() {
	if s.dense && s.rng.IntN(200) != 0 {
		s.clock.step(time.Duration(s.rng.Int64N(int64(10 * time.Millisecond))))
		return
	}
	switch s.rng.IntN(20) {
	case 0:
		s.clock.step(time.Duration(s.rng.Int64N(int64(time.Hour))))
	case 1:
		s.clock.step(-time.Duration(s.rng.Int64N(int64(time.Hour))))
	case 2, 3, 4:
		if len(s.tickets) > 0 {
			c := s.tickets[s.rng.IntN(len(s.tickets))]
			at := []time.Time{c.NotBefore, c.Expires, c.RetainUntil}[s.rng.IntN(3)]
			s.clock.set(at.Add(time.Duration(s.rng.IntN(3) - 1)))
		}
	default:
		s.clock.step(time.Duration(s.rng.Int64N(int64(3 * time.Second))))
	}
}

// next is a fresh ticket or one of the older ones, asked for by any verifier.
func (s *schedule) next() Claim {
	skews := []time.Duration{0, skew, time.Minute}
	var c Claim
	if n := len(s.tickets); n > 0 && s.rng.IntN(2) == 0 {
		c = s.tickets[s.rng.IntN(n)]
		if s.rng.IntN(2) == 0 {
			c = s.tickets[n-1-s.rng.IntN(min(n, 4))]
		}
	} else {
		issued := s.clock.now().Add(time.Duration(s.rng.Int64N(int64(20*time.Second))) - skew)
		life := []time.Duration{time.Second, time.Minute, lifetime, time.Hour}[s.rng.IntN(4)]
		if s.dense {
			issued, life = s.clock.now(), lifetime
		}
		c = ticket(uint64(n), issued, life, skew)
		s.tickets = append(s.tickets, c)
	}
	if s.rng.IntN(4) == 0 { // another verifier, of another skew
		other := skews[s.rng.IntN(len(skews))]
		c.NotBefore = c.NotBefore.Add(skew - other)
		c.RetainUntil = c.Expires.Add(3*other + time.Minute)
	}
	c.Binding = [32]byte{byte(s.rng.IntN(3))}
	return c
}

// full reports whether there is so little room that Full can be true: a slice
// that grows needs at most half of what it has already, a new one next to
// nothing, and what is expired does not count.
func (s *schedule) full(now time.Time) bool {
	shard := &s.memory.shards[0]
	var kept int64
	for _, sl := range shard.queue {
		if now.Before(sl.retain) {
			kept += sl.bytes()
		}
	}
	return kept > shard.budget*6/10
}

func (s *schedule) run(t *testing.T, claims int) {
	for n := range claims {
		s.step()
		c, now := s.next(), s.clock.now()
		full := s.full(now)
		before := s.memory.Stats()
		looked := peek(t, s.memory, c)
		require.Equal(t, before, s.memory.Stats(), "looking changes nothing")
		a := claim(t, s.memory, c)
		require.Equal(t, looked, a, "looking tells what claiming does")
		if a.Status == PossiblyUsed && s.model.used[c.Nonce] == nil {
			s.tally.mistaken++
		} else if wrong := s.model.check(c, now, a, full); wrong != "" {
			require.FailNow(t, wrong, "claim %d, at %v: %+v answered %+v", n, now, c, a)
		}
		s.model.note(c, now, a)
		s.tally.answers[a.Status]++
		if a.Repeated {
			s.tally.repeated++
		}
		after := s.memory.Stats()
		s.tally.longest = max(s.tally.longest, after.LongestChain)
		require.LessOrEqual(t, after.Bytes, after.MaxBytes)
	}
}

// Random schedules against the model: no nonce is admitted twice, and nothing
// good is refused but for the stated reasons.
func TestModel(t *testing.T) {
	seed := *modelSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("replay with -seed %d", seed)
	total := tally{answers: map[Status]int{}}
	for i := range *schedules {
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		clock := newClock()
		barrier := rng.IntN(2) == 0
		m, err := NewMemory(MemoryConfig{MaxBytes: 16 << 10, Recent: 8, NoBarrier: !barrier, Now: clock.now})
		require.NoError(t, err)
		s := schedule{rng: rng, clock: clock, memory: m, model: newModel(start, barrier), tally: &total}
		claims := 20 + rng.IntN(100)
		if i%50 == 0 {
			s.dense, claims = true, 2000
		}
		s.run(t, claims)
	}
	t.Logf("%+v", total)
	require.LessOrEqual(t, total.mistaken, 2, "more than the filters' error rate explains")
	if *schedules >= 1000 {
		for status := Admitted; status <= ClockBehind; status++ {
			require.Positive(t, total.answers[status], "%v never happened", status)
		}
		require.Positive(t, total.repeated)
		require.Greater(t, total.longest, 3)
	}
}
