package journal

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/internal/cache"
	"github.com/admitone/admitone/verify/replay/internal/claimtest"
	"github.com/stretchr/testify/require"
)

// A journalModel is what a journal may answer, across restarts, crashes and
// failing disks, said with a map that forgets nothing.
type journalModel struct {
	used    map[[16]byte]*journalUse
	windows map[int64]*claimtest.ExpirySpan
}

type journalUse struct {
	admitted bool
	first    time.Time
	binding  [32]byte // of the admission
	failed   map[[32]byte]bool
}

// check returns what is wrong with an answer to c at now, or "", and takes it in.
func (m *journalModel) check(c replay.Claim, now, epoch time.Time, a replay.Answer, err error, faulty bool) string {
	u := m.used[c.Nonce]
	if u == nil {
		u = &journalUse{failed: map[[32]byte]bool{}}
		m.used[c.Nonce] = u
	}
	i := c.Expires.Unix() / 16
	w := m.windows[i]
	for _, w := range m.windows {
		w.MayBeGone = w.MayBeGone || !now.Before(w.RetainUntil)
	}
	if err != nil {
		if !faulty || !errors.Is(err, replay.ErrUnavailable) {
			return "an error without a fault"
		}
		u.failed[c.Binding] = true
	}
	if err != nil || a.Status == replay.Admitted {
		if w == nil {
			w = &claimtest.ExpirySpan{RetainUntil: c.RetainUntil}
			m.windows[i] = w
		}
		// A crash can leave of a window what wants it the shortest.
		if c.RetainUntil.Before(w.RetainUntil) {
			w.RetainUntil = c.RetainUntil
		}
		if c.Issued.After(w.Issued) {
			w.Issued = c.Issued
		}
	}
	if err != nil {
		return ""
	}
	if late := !now.Before(c.RetainUntil); late != (a.Status == replay.TooLate) {
		return "too late, or not"
	}
	switch a.Status {
	case replay.Admitted:
		return u.admit(c, now, a, epoch)
	case replay.AlreadyUsed:
		if !u.admitted && len(u.failed) == 0 {
			return "a fresh ticket called used"
		}
	case replay.IssuedBeforeStart:
		if c.NotBefore.After(epoch) {
			return "refused by the barrier without cause"
		}
	case replay.ClockBehind:
		if !claimtest.Forgotten(m.windows, c, now) {
			return "clock behind, but nothing of that time and issue can have been dropped"
		}
	case replay.TooLate:
	default:
		return "an answer that a journal with room does not give"
	}
	return ""
}

func (u *journalUse) admit(c replay.Claim, now time.Time, a replay.Answer, epoch time.Time) string {
	switch {
	case u.admitted && !a.Repeated:
		return "ADMITTED TWICE"
	case u.admitted && c.Binding != u.binding:
		return "ADMITTED TO ANOTHER BINDING"
	case a.Repeated && c.Binding == [32]byte{}:
		return "repeated without a binding"
	case a.Repeated && (now.Before(a.FirstUsed) || !now.Before(a.FirstUsed.Add(replay.Grace))):
		return "repeated out of time"
	case a.Repeated && !u.admitted && !u.failed[c.Binding]:
		return "a first claim repeats nothing"
	case u.admitted && !a.FirstUsed.Equal(u.first):
		return "wrong time of first use"
	case !u.admitted && !a.Repeated && !c.NotBefore.After(epoch):
		return "admitted through the barrier"
	}
	if !u.admitted {
		u.admitted, u.binding, u.first = true, c.Binding, now
		if a.Repeated {
			u.first = a.FirstUsed
		}
	}
	return ""
}

// A journalRun is one schedule against a journal and the model.
type journalRun struct {
	claimtest.Schedule // for its clock and tickets
	dir                string
	disk               *faultyDisk
	journal            *Store
	model              journalModel
	epoch              time.Time
	unsynced           map[string]int64 // segments whose fsync failed: how much of them is safe
}

func (r *journalRun) open(t *testing.T) {
	var err error
	r.journal, err = openSteps(t.Context(), Config{Dir: r.dir, Now: r.Clock.Now}, r.disk.at)
	require.NoError(t, err)
	st := stats(t, r.journal)
	require.Zero(t, st.Damaged)
	require.False(t, st.Restored)
	if r.epoch.IsZero() {
		r.epoch = r.journal.Epoch()
	}
	require.Equal(t, r.epoch, r.journal.Epoch())
	for _, w := range r.model.windows {
		w.MayBeGone = w.MayBeGone || !r.Clock.Now().Before(w.RetainUntil)
	}
}

// restart loses, of what was not synced, some.
func (r *journalRun) restart(t *testing.T) {
	require.NoError(t, r.journal.Close())
	for path, safe := range r.unsynced {
		if info, err := os.Stat(path); err == nil && info.Size() > safe {
			require.NoError(t, os.Truncate(path, safe+r.Rand.Int64N(info.Size()-safe+1)))
		}
	}
	clear(r.unsynced)
	r.disk.failAt("")
	r.open(t)
}

func (r *journalRun) claim(t *testing.T, n int) {
	r.Step()
	c, now := r.Next(), r.Clock.Now()
	a, err := r.journal.Claim(context.Background(), c)
	if wrong := r.model.check(c, now, r.epoch, a, err, r.disk.fail != ""); wrong != "" {
		require.FailNow(t, wrong, "claim %d, at %v: %+v answered %+v, %v", n, now, c, a, err)
	}
	r.Tally.Count(a)
	if w := r.model.windows[c.Expires.Unix()/16]; w != nil && w.MayBeGone && a.Status == replay.Admitted {
		r.Tally.Again++
	}
	if err != nil && r.disk.fail == "sync" { // the last record of the window's last segment
		latest := uint64(0)
		for _, path := range segmentsIn(t, r.dir) {
			if index, number, ok := parseSegmentName(filepath.Base(path)); ok && index == cache.WindowOf(c.Expires) {
				latest = max(latest, number)
			}
		}
		path := filepath.Join(r.dir, segmentName(cache.WindowOf(c.Expires), latest))
		info, err := os.Stat(path)
		require.NoError(t, err)
		r.unsynced[path] = info.Size() - recordSize
	}
}

// Random schedules of claims, restarts, crashes that lose what was not synced,
// clock steps both ways and failing disks: no nonce is admitted twice or to two
// bindings, and nothing good is refused.
//
// trap R2
// trap R25
// trap R28
func TestModel(t *testing.T) {
	seed := claimtest.Seed(t)
	total := claimtest.Tally{Answers: map[replay.Status]int{}}
	runs := *claimtest.Schedules / 10
	if testing.Short() {
		runs /= 5
	}
	for i := range runs {
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		r := &journalRun{
			Schedule: claimtest.Schedule{Rand: rng, Clock: claimtest.NewClock(), Tally: &total},
			dir:      filepath.Join(t.TempDir(), "journal"),
			disk:     new(faultyDisk),
			model:    journalModel{map[[16]byte]*journalUse{}, map[int64]*claimtest.ExpirySpan{}},
			unsynced: map[string]int64{},
		}
		r.open(t)
		for n := range 20 + rng.IntN(60) {
			switch rng.IntN(12) {
			case 0:
				r.restart(t)
			case 1, 2:
				steps := []string{"create", "write header", "sync directory", "write", "sync", "write state"}
				r.disk.failAt(steps[rng.IntN(len(steps))])
			case 3, 4, 5:
				r.disk.failAt("")
			}
			r.claim(t, n)
		}
		require.NoError(t, r.journal.Close())
	}
	t.Logf("%+v", total)
	if runs >= 100 {
		for _, status := range []replay.Status{
			0, replay.Admitted, replay.AlreadyUsed, replay.IssuedBeforeStart, replay.TooLate, replay.ClockBehind,
		} {
			require.Positive(t, total.Answers[status], "%v never happened", status)
		}
		require.Positive(t, total.Repeated)
		require.Positive(t, total.Again)
	}
}
