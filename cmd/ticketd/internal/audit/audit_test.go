package audit

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/internal/servers"
	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/token"
)

func TestMain(m *testing.M) {
	code := m.Run()
	servers.End()
	os.Exit(code)
}

// world is a directory, and trails with a clock of the test's.
type world struct {
	t                *testing.T
	db               *directory.DB
	now              time.Time
	log              bytes.Buffer
	written, dropped int
}

// onBoth runs a test on both kinds of database.
func onBoth(t *testing.T, f func(w *world)) {
	t.Parallel()
	for name, dsn := range map[string]string{
		"sqlite": filepath.Join(t.TempDir(), "directory.db"), "postgres": servers.Database(t),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &world{t: t, now: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)}
			var err error
			w.db, err = directory.Open(t.Context(), dsn)
			require.NoError(t, err)
			t.Cleanup(func() { assert.NoError(t, w.db.Close()) })
			w.db.SetClock(func() time.Time { return w.now })
			f(w)
		})
	}
}

// trail starts a trail that writes when the test calls flush.
func (w *world) trail() *Trail {
	w.t.Helper()
	trail, err := newTrail(w.t.Context(), Config{
		Directory: w.db, Name: "host:/data", Machine: "host", Retention: time.Hour,
		Log: slog.New(slog.NewTextHandler(&w.log, nil)), Now: func() time.Time { return w.now },
		Written: func(n int) { w.written += n }, Dropped: func(n int) { w.dropped += n },
	})
	require.NoError(w.t, err)
	return trail
}

func (w *world) flush(t *Trail) {
	w.t.Helper()
	_, err := t.flush(w.t.Context(), false)
	require.NoError(w.t, err)
}

// told returns the events of the trail, the oldest first, as lines.
func (w *world) told() (lines []string) {
	w.t.Helper()
	var events []directory.Event
	for last := int64(-1); ; {
		page, next, err := w.db.NewEvents(w.t.Context(), directory.EventFilter{AllBrands: true}, max(last, 0), 10_000)
		require.NoError(w.t, err)
		if next == last {
			break
		}
		events, last = append(events, page...), next
	}
	for _, e := range events {
		record := ""
		if e.Kind != "" {
			record = e.Kind + " " + e.Name
		}
		lines = append(lines, strings.Join(strings.Fields(fmt.Sprint(e.At.Format("15:04:05"), " ", e.Action, " ", e.Brand, " ",
			record, " ", strings.TrimLeft(e.Ticket, "0"), " ", e.Reason, " ", e.Actor.Kind, " ", e.Actor.Name, " ",
			e.Actor.Remote, " x", e.Count, " ", e.Details)), " "))
	}
	return lines
}

// refusal is the refusal of a ticket at a page.
func (w *world) refusal(ticket byte, remote string) Event {
	return Event{
		At: w.now, ActorKind: directory.ActorTicket, Remote: remote, Action: directory.ActionRefuseTicket,
		Brand: "acme", Ticket: token.ID{15: ticket}, Key: 1, Reason: "used",
	}
}

func TestTrail(t *testing.T) {
	onBoth(t, func(w *world) {
		trail := w.trail()
		w.flush(trail)
		trail.Add(Event{
			At: w.now, ActorKind: directory.ActorKey, Actor: "k1", Remote: "192.0.2.1", Action: directory.ActionIssueTicket,
			Brand: "acme", Kind: "agent", Name: "John.D", Ticket: token.ID{15: 7}, Key: 1,
		})
		assert.Empty(w.t, w.told(), "off the path of requests")
		w.flush(trail)
		assert.Equal(w.t, []string{"12:00:00 ticket.issue acme agent john.d 7 key k1 192.0.2.1 x1"}, w.told())
		assert.Equal(w.t, 1, w.written)

		// The end writes all that waits, and leaves no gap.
		trail.Add(w.refusal(7, "192.0.2.1"))
		trail.Add(w.refusal(7, "192.0.2.1"))
		trail.Stranger("192.0.2.2", "no API key")
		require.NoError(w.t, trail.finish(w.t.Context()))
		assert.Len(w.t, w.told(), 4)
		w.flush(w.trail())
		assert.Len(w.t, w.told(), 4)

		// A nil trail forgets.
		trail = nil
		trail.Add(Event{})
		trail.Stranger("", "")
		trail.Keyring(keyring.Report{})
	})
}

// Refusals that anybody can cause are bounded, and all are counted.
func TestRefusals(t *testing.T) {
	onBoth(t, func(w *world) {
		trail := w.trail()
		for range 100 {
			trail.Stranger("192.0.2.1", "no API key")
			trail.Stranger("192.0.2.2", "API key unknown")
			trail.Add(w.refusal(7, "192.0.2.7"))
			trail.Add(w.refusal(7, "192.0.2.8"))
		}
		trail.Add(w.refusal(8, "192.0.2.7"))
		w.flush(trail)
		assert.ElementsMatch(w.t, []string{
			"12:00:00 ticket.refuse acme 7 used ticket 192.0.2.7 x1",
			"12:00:00 ticket.refuse acme 8 used ticket 192.0.2.7 x1",
		}, w.told(), "the first of each ticket")
		w.now = w.now.Add(time.Minute)
		w.flush(trail)
		assert.ElementsMatch(w.t, []string{
			"12:00:00 ticket.refuse acme 7 used ticket 192.0.2.8 x199",
			"12:00:00 stranger.refused no API key stranger 192.0.2.1 x100",
			"12:00:00 stranger.refused API key unknown stranger 192.0.2.2 x100",
		}, w.told()[2:])
		trail.Add(w.refusal(7, "192.0.2.7"))
		w.flush(trail)
		w.now = w.now.Add(time.Minute)
		w.flush(trail)
		assert.Equal(w.t, []string{"12:01:00 ticket.refuse acme 7 used ticket 192.0.2.7 x1"}, w.told()[5:])

		// Beyond a number of addresses, the rest is one event.
		for i := range maxStrangers + 50 {
			trail.Stranger(fmt.Sprint("host", i), "no API key")
		}
		w.now = w.now.Add(time.Minute)
		w.flush(trail)
		told := w.told()[6:]
		assert.Len(w.t, told, maxStrangers+1)
		assert.Contains(w.t, told, "12:02:00 stranger.refused no API key stranger x50")
	})
}

// While the directory is away, events wait, up to a bound. The dropped ones are counted, and
// each of the others is written once.
func TestOutage(t *testing.T) {
	if testing.Short() {
		t.Skip("writes thousands of events through SQLite, which the race detector makes very slow")
	}
	onBoth(t, func(w *world) {
		trail := w.trail()
		away, cancel := context.WithCancel(w.t.Context())
		cancel()
		for i := range maxWaiting + 30 {
			trail.Add(Event{At: w.now, ActorKind: directory.ActorKey, Action: directory.ActionIssueTicket, Actor: fmt.Sprint(i)})
			if i%5000 == 10 {
				_, err := trail.flush(away, false)
				require.Error(w.t, err)
			}
		}
		// Events of the batch that failed are not among those that wait.
		lost := 30 - len(trail.batch)
		assert.Equal(w.t, lost, w.dropped)
		w.now = w.now.Add(time.Second)
		for range 3 {
			_, err := trail.flush(away, false)
			require.Error(w.t, err)
		}
		const inLog = "events of the audit trail are dropped"
		assert.Equal(w.t, 1, strings.Count(w.log.String(), inLog))
		w.now = w.now.Add(toldEvery)
		_, err := trail.flush(away, false)
		require.Error(w.t, err)
		assert.Equal(w.t, 2, strings.Count(w.log.String(), inLog))
		for range maxWaiting/maxBatch + 2 {
			w.flush(trail)
		}
		told := w.told()
		assert.Equal(w.t, maxWaiting+30-lost+1, len(told))
		count := make(map[string]int)
		for _, line := range told {
			count[line]++
		}
		assert.Equal(w.t, len(told), len(count), "no event is there twice")
		line := fmt.Sprintf(`12:01:01 audit.dropped service x%d {"since":"2026-11-21T12:00:00Z"}`, lost)
		assert.Equal(w.t, 1, count[line], line)
		assert.Equal(w.t, len(told), w.written)
		w.now = w.now.Add(toldEvery)
		w.flush(trail)
		assert.Equal(w.t, 2, strings.Count(w.log.String(), inLog), "no more")
	})
}

// A backlog is written in parts of bounded size. What was written stays, if a later part fails.
func TestParts(t *testing.T) {
	onBoth(t, func(w *world) {
		trail := w.trail()
		begun := w.now
		const all = 3*maxPart + 7
		for i := range all {
			w.now = w.now.Add(time.Millisecond)
			trail.Add(Event{At: w.now, ActorKind: directory.ActorKey, Action: directory.ActionIssueTicket, Actor: fmt.Sprint(i)})
		}
		w.now = w.now.Add(time.Minute)
		ctx, cancel := context.WithCancel(w.t.Context())
		defer cancel()
		var parts []int
		trail.Written = func(n int) {
			if parts = append(parts, n); len(parts) == 2 {
				cancel()
			}
		}
		n, err := trail.flush(ctx, false)
		require.Error(w.t, err)
		assert.Equal(w.t, 2*maxPart, n)
		assert.Len(w.t, w.told(), 2*maxPart)
		w.flush(trail)
		assert.Equal(w.t, []int{maxPart, maxPart, maxPart, 7}, parts)
		told := w.told()
		assert.Len(w.t, told, all)
		slices.Sort(told)
		assert.Len(w.t, slices.Compact(told), all, "no event is there twice")

		// Killed between two parts, the gap begins with the next part.
		for i := range maxPart + 1 {
			trail.Add(Event{
				At: begun.Add(time.Hour + time.Duration(i)*time.Millisecond), ActorKind: directory.ActorKey,
				Action: directory.ActionIssueTicket,
			})
		}
		w.now = begun.Add(2 * time.Hour)
		next, stop := context.WithCancel(w.t.Context())
		defer stop()
		trail.Written = func(int) { stop() }
		_, err = trail.flush(next, false)
		require.Error(w.t, err)
		w.trail()
		told = w.told()
		assert.Contains(w.t, told[len(told)-1], `"since":"2026-11-21T13:00:02Z"`)
	})
}

// A service that was killed is told of at its next start, with the time since when events may
// be missing.
func TestKilled(t *testing.T) {
	onBoth(t, func(w *world) {
		trail := w.trail()
		w.now = w.now.Add(30 * time.Second)
		trail.Add(Event{At: w.now, ActorKind: directory.ActorKey, Action: directory.ActionIssueTicket})
		w.flush(trail)
		w.now = w.now.Add(5 * time.Second)
		trail.Add(Event{At: w.now, ActorKind: directory.ActorKey, Action: directory.ActionIssueTicket, Actor: "lost"})
		w.trail()
		assert.Equal(w.t, []string{
			"12:00:30 ticket.issue key x1",
			`12:00:35 audit.gap service killed service x1 {"recorder":"host:/data","since":"2026-11-21T12:00:29Z"}`,
		}, w.told())
	})
}

func TestKeyringChange(t *testing.T) {
	onBoth(t, func(w *world) {
		trail := w.trail()
		for _, generation := range []uint64{3, 3, 4} {
			for _, kind := range []keyring.Kind{keyring.Ticket, keyring.Session} {
				r := keyring.Report{}
				r.Kind, r.Generation, r.Primary = kind, generation, 7
				trail.Keyring(r)
			}
			w.flush(trail)
		}
		assert.Equal(w.t, []string{
			`12:00:00 keyring.change keyring ticket service x1 {"generation":4,"primary":"00000007"}`,
			`12:00:00 keyring.change keyring session service x1 {"generation":4,"primary":"00000007"}`,
		}, w.told())
	})
}

// The purge takes what is older than the retention, while events are written beside it.
func TestPurge(t *testing.T) {
	if testing.Short() {
		t.Skip("writes thousands of events through SQLite, which the race detector makes very slow")
	}
	onBoth(t, func(w *world) {
		trail := w.trail()
		add := func(n int) {
			for range n {
				trail.Add(Event{At: w.now, ActorKind: directory.ActorKey, Action: directory.ActionIssueTicket})
			}
		}
		add(2*purgeBatch + 500)
		w.flush(trail)
		w.flush(trail)
		w.now = w.now.Add(time.Hour)
		add(100)
		w.flush(trail)
		trail.purge(w.t.Context())
		assert.Len(w.t, w.told(), 2*purgeBatch+600, "not older than an hour")
		w.now = w.now.Add(time.Millisecond)
		purged := make(chan struct{})
		go func() {
			defer close(purged)
			trail.purge(w.t.Context())
		}()
		for range 10 {
			add(10)
			w.flush(trail)
		}
		<-purged
		assert.Len(w.t, w.told(), 200)
	})
}

// A trail that runs writes by itself, and to its end.
func TestStart(t *testing.T) {
	onBoth(t, func(w *world) {
		trail, err := Start(w.t.Context(), Config{
			Directory: w.db, Name: "host:/data", Machine: "host", Retention: Retention, Log: slog.New(slog.DiscardHandler),
			Now: time.Now, Written: func(int) {}, Dropped: func(int) {},
		})
		require.NoError(w.t, err)
		trail.Add(Event{At: time.Now(), ActorKind: directory.ActorKey, Action: directory.ActionIssueTicket})
		require.Eventually(w.t, func() bool { return len(w.told()) == 1 }, time.Minute, 10*time.Millisecond)
		trail.Add(Event{At: time.Now(), ActorKind: directory.ActorKey, Action: directory.ActionIssueTicket})
		require.NoError(w.t, trail.Close())
		assert.Len(w.t, w.told(), 2)
	})
}

// Taking an event allocates nothing.
func TestAddAllocates(t *testing.T) {
	trail := &Trail{Config: Config{Now: time.Now, Dropped: func(int) {}}}
	trail.waiting = make([]Event, 0, maxWaiting)
	e := Event{ActorKind: directory.ActorKey, Actor: "k1", Action: directory.ActionIssueTicket}
	assert.Zero(t, testing.AllocsPerRun(1000, func() { trail.Add(e) }))
}
