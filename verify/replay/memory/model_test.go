package memory

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/internal/claimtest"
	"github.com/stretchr/testify/require"
)

// A model is what a store may answer, said with an exact map that forgets
// nothing. It knows nothing of shards, filters or bytes.
type model struct {
	epoch   time.Time
	barrier bool
	used    map[[16]byte]*use
	order   int // of the latest admission
	windows map[int64]*claimtest.ExpirySpan
}

type use struct {
	first   time.Time
	binding [32]byte
	order   int
}

func newModel(epoch time.Time, barrier bool) *model {
	return &model{epoch: epoch, barrier: barrier, used: map[[16]byte]*use{}, windows: map[int64]*claimtest.ExpirySpan{}}
}

// check returns what is wrong with an answer to c at now, or "". It must be
// called before note.
func (m *model) check(c replay.Claim, now time.Time, a replay.Answer, full bool) string {
	if !now.Before(c.RetainUntil) {
		if a != (replay.Answer{Status: replay.TooLate}) {
			return "a claim past its end must be replay.TooLate"
		}
		return ""
	}
	u := m.used[c.Nonce]
	gone := claimtest.Forgotten(m.windows, c, now)
	if u != nil {
		if a.Status == replay.IssuedBeforeStart && m.barrier && !c.NotBefore.After(m.epoch) && m.order-u.order >= 8 {
			return "" // by a verifier with a larger skew
		}
		return u.check(c, now, a, m.order-u.order, gone)
	}
	switch a.Status {
	case replay.Admitted:
		switch {
		case a.Repeated:
			return "a first claim repeats nothing"
		case m.barrier && !c.NotBefore.After(m.epoch):
			return "admitted through the barrier"
		}
	case replay.IssuedBeforeStart:
		if !m.barrier || c.NotBefore.After(m.epoch) {
			return "refused by the barrier without cause"
		}
	case replay.ClockBehind:
		if !gone {
			return "clock behind, but nothing of that time and issue can have been dropped"
		}
	case replay.Full:
		if !full {
			return "full, but there is room"
		}
	default:
		return "fresh ticket refused"
	}
	return ""
}

func (u *use) check(c replay.Claim, now time.Time, a replay.Answer, newer int, gone bool) string {
	age := now.Sub(u.first)
	mayRepeat := c.Binding != [32]byte{} && c.Binding == u.binding && age >= 0 && age < replay.Grace
	switch {
	case a.Status == replay.Admitted && !a.Repeated:
		return "ADMITTED TWICE"
	case a.Status == replay.Admitted && !mayRepeat:
		return "repeated without cause"
	case a.Status == replay.AlreadyUsed && mayRepeat:
		return "not repeated in spite of the binding"
	case a.Status == replay.Admitted, a.Status == replay.AlreadyUsed:
		if !a.FirstUsed.Equal(u.first) {
			return "wrong time of first use"
		}
	case newer < 8:
		return "one of the latest eight admissions must be known exactly"
	case a.Status == replay.ClockBehind && !gone:
		return "clock behind, but nothing of that time and issue can have been dropped"
	case a.Status == replay.PossiblyUsed, a.Status == replay.ClockBehind:
	default:
		return "a spent nonce must be refused as spent"
	}
	return ""
}

// note takes in an answered claim.
func (m *model) note(c replay.Claim, now time.Time, a replay.Answer) {
	for _, w := range m.windows {
		w.MayBeGone = w.MayBeGone || !now.Before(w.RetainUntil)
	}
	if a.Status != replay.Admitted || a.Repeated {
		return
	}
	m.order++
	m.used[c.Nonce] = &use{now, c.Binding, m.order}
	i := c.Expires.Unix() / 16
	w := m.windows[i]
	if w == nil {
		w = &claimtest.ExpirySpan{RetainUntil: c.RetainUntil}
		m.windows[i] = w
	}
	if c.RetainUntil.After(w.RetainUntil) {
		w.RetainUntil = c.RetainUntil
	}
	if c.Issued.After(w.Issued) {
		w.Issued = c.Issued
	}
}

// modelRun is one schedule of claims against a small store and the model.
type modelRun struct {
	claimtest.Schedule
	memory *Store
	model  *model

	mistaken int // good tickets that a filter takes for used
	longest  int // chain
}

// full reports whether there is so little room that Full can be true: a window
// that grows needs at most half of what it has already, a new one next to
// nothing, and what is expired does not count.
func (r *modelRun) full(now time.Time) bool {
	shard := &r.memory.shards[0]
	var kept int64
	for _, w := range shard.queue {
		if now.Before(w.RetainUntil) {
			kept += w.bytes()
		}
	}
	return kept > shard.budget*6/10
}

func (r *modelRun) run(t *testing.T, claims int) {
	for n := range claims {
		r.Step()
		c, now := r.Next(), r.Clock.Now()
		full := r.full(now)
		before := stats(t, r.memory)
		looked := peek(t, r.memory, c)
		require.Equal(t, before, stats(t, r.memory), "looking changes nothing")
		a := claim(t, r.memory, c)
		require.Equal(t, looked, a, "looking tells what claiming does")
		if a.Status == replay.PossiblyUsed && r.model.used[c.Nonce] == nil {
			r.mistaken++
		} else if wrong := r.model.check(c, now, a, full); wrong != "" {
			require.FailNow(t, wrong, "claim %d, at %v: %+v answered %+v", n, now, c, a)
		}
		if w := r.model.windows[c.Expires.Unix()/16]; w != nil && w.MayBeGone && a.Status == replay.Admitted {
			r.Tally.Again++
		}
		r.model.note(c, now, a)
		r.Tally.Count(a)
		after := stats(t, r.memory)
		r.longest = max(r.longest, after.LongestChain)
		require.LessOrEqual(t, after.Bytes, after.MaxBytes)
	}
}

// Random schedules against the model: no nonce is admitted twice, and nothing
// good is refused but for the stated reasons.
func TestModel(t *testing.T) {
	seed := claimtest.Seed(t)
	total := claimtest.Tally{Answers: map[replay.Status]int{}}
	mistaken, longest := 0, 0
	schedules := *claimtest.Schedules
	if testing.Short() {
		schedules /= 10
	}
	for i := range schedules {
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		clock := claimtest.NewClock()
		barrier := rng.IntN(2) == 0
		m, err := Open(t.Context(), Config{MaxBytes: 16 << 10, Recent: 8, NoBarrier: !barrier, Now: clock.Now})
		require.NoError(t, err)
		r := modelRun{
			Schedule: claimtest.Schedule{Rand: rng, Clock: clock, Tally: &total},
			memory:   m,
			model:    newModel(start, barrier),
		}
		claims := 20 + rng.IntN(100)
		if i%50 == 0 {
			r.Dense, claims = true, 2000
		}
		r.run(t, claims)
		mistaken, longest = mistaken+r.mistaken, max(longest, r.longest)
	}
	t.Logf("%+v, %d mistaken, longest chain %d", total, mistaken, longest)
	require.LessOrEqual(t, mistaken, 2, "more than the filters' error rate explains")
	if schedules >= 1000 {
		for status := replay.Admitted; status <= replay.ClockBehind; status++ {
			require.Positive(t, total.Answers[status], "%v never happened", status)
		}
		require.Positive(t, total.Repeated)
		require.Positive(t, total.Again)
		require.Greater(t, longest, 3)
	}
}
