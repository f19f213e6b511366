package directory

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fillEvents fills the trail with n events, a second apart: of 10 brands and the
// deployment, and 1,000 agents, tickets with 4 events each, and a rare action.
func fillEvents(t testing.TB, db *DB, n int) {
	t.Helper()
	series := `(WITH RECURSIVE series(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < %d) SELECT n FROM series)`
	if db.lockRows != "" {
		series = `generate_series(1, %d) AS series(n)`
	}
	do(t, db, fmt.Sprintf(`INSERT INTO event (brand, at, actor_kind, actor, machine, remote, action, kind, name, fields,
		ticket, issuer, ticket_key, signing_key, reason, count, details)
		SELECT CASE WHEN n %% 11 = 0 THEN '' ELSE 'brand' || (n %% 11) END, n * 1000, 'key', 'key' || (n %% 100), '', '192.0.2.1',
		CASE WHEN n %% 50000 = 1 THEN 'key.revoke' ELSE 'ticket.issue' END, 'agent', 'agent' || (n %% 1000), '[]',
		CASE WHEN n %% 50000 = 1 THEN '' ELSE 'ticket' || (n / 4) END,
		CASE WHEN n %% 11 = 5 THEN 'portal' ELSE '' END, '1', '', '', 1, '' FROM `+series, n))
	if db.lockRows != "" {
		do(t, db, `ANALYZE event`)
	}
}

// eventFilters are the filters for which fillEvents has events, with their indexes.
var eventFilters = map[string]struct {
	EventFilter
	index string
}{
	"everything":      {EventFilter{AllBrands: true}, "event_time"},
	"time":            {EventFilter{AllBrands: true, Since: time.Unix(40, 0), Until: time.Unix(60, 0)}, "event_time"},
	"brand":           {EventFilter{Brand: "brand3"}, "event_brand"},
	"deployment":      {EventFilter{}, "event_brand"},
	"brand, time":     {EventFilter{Brand: "brand3", Since: time.Unix(40, 0), Until: time.Unix(6000, 0)}, "event_brand"},
	"ticket":          {EventFilter{AllBrands: true, Ticket: "ticket7"}, "event_ticket"},
	"brand's ticket":  {EventFilter{Brand: "brand3", Ticket: "ticket9"}, "event_ticket"},
	"record":          {EventFilter{Brand: "brand3", Kind: "agent", Name: "AGENT3"}, "event_record"},
	"actor":           {EventFilter{AllBrands: true, Actor: "key7"}, "event_actor"},
	"brand's actor":   {EventFilter{Brand: "brand3", Actor: "key7", ActorKind: ActorKey}, "event_actor"},
	"action":          {EventFilter{AllBrands: true, Action: "key.revoke"}, "event_action"},
	"brand's action":  {EventFilter{Brand: "brand1", Action: "ticket.issue"}, "event_brand"},
	"actions":         {EventFilter{AllBrands: true, Action: "key."}, "event_time"},
	"brand's actions": {EventFilter{Brand: "brand1", Action: "key."}, "event_brand"},
	"issuer":          {EventFilter{AllBrands: true, Issuer: "portal"}, "event_time"},
	"issuer's ticket": {EventFilter{AllBrands: true, Ticket: "ticket9", Issuer: "portal"}, "event_ticket"},
	"nothing":         {EventFilter{Brand: "brand3", Action: "no.such"}, "event_action"},
}

// wants reports whether the filter has the event: the definition for TestEventPages.
func (f EventFilter) wants(e Event) bool {
	return (f.AllBrands || e.Brand == f.Brand) && (f.Ticket == "" || e.Ticket == f.Ticket) &&
		(f.Issuer == "" || e.Issuer == f.Issuer) &&
		(f.Name == "" || e.Name == strings.ToLower(f.Name)) && (f.Kind == "" || e.Kind == f.Kind) &&
		(f.Actor == "" || e.Actor.Name == f.Actor) && (f.ActorKind == "" || e.Actor.Kind == f.ActorKind) &&
		(f.Action == "" || e.Action == f.Action ||
			strings.HasSuffix(f.Action, ".") && strings.HasPrefix(e.Action, f.Action)) &&
		!e.At.Before(f.Since) && (f.Until.IsZero() || e.At.Before(f.Until))
}

// A ticket's events are found without a look at the IDs that a restore leaves out.
func TestTicketBlocks(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		db := d.withBrands(t, "a")
		for range 3 {
			require.NoError(t, db.transact(t.Context(), "test", func(ctx context.Context, tx *change) error {
				tx.note(Event{At: start, Action: ActionIssueTicket, Ticket: "t", Count: 1})
				return db.advance(ctx, tx, "event", eventGap)
			}))
		}
		page, err := db.Events(t.Context(), EventFilter{AllBrands: true, Ticket: "t"}, "", 10)
		require.NoError(t, err)
		assert.Len(t, page.Events, 3)
		blocks, err := number(t.Context(), db.read, ticketBlocks+"SELECT count(*) FROM block")
		require.NoError(t, err)
		assert.LessOrEqual(t, blocks, 5, "four, and the end")
	})
}

// The pages of each filter have the events of the filter, each once, the newest first.
func TestEventPages(t *testing.T) {
	if testing.Short() {
		t.Skip("reads thousands of events in one goroutine, which the race detector makes very slow")
	}
	onBoth(t, func(t *testing.T, d database) {
		db := d.empty(t)
		const n = 12_000
		if d.name == postgresServer.name { // the events are in several blocks of ticketBlocks
			do(t, db, `ALTER TABLE event ALTER COLUMN id SET INCREMENT BY 20`)
			fillEvents(t, db, n)
		} else {
			fillEvents(t, db, n)
			do(t, db, `UPDATE event SET id = -id`)
			do(t, db, `UPDATE event SET id = -20 * id`)
		}
		do(t, db, `UPDATE event SET at = at - at % 3000`) // several of one time
		every := everyEvent(t, db)
		require.Len(t, every, n)
		assertPages(t, db, every, 500)
		for _, cursor := range []string{"x", "1", "1-", "-1", "1-x"} {
			var wrong *FieldError
			_, err := db.Events(t.Context(), EventFilter{}, cursor, 1)
			assert.ErrorAs(t, err, &wrong, cursor)
		}
	})
}

// assertPages reads all pages of each filter, and compares them with the events of a directory.
func assertPages(t *testing.T, db *DB, every []Event, limit int) {
	t.Helper()
	every = slices.Clone(every)
	slices.SortStableFunc(every, func(a, b Event) int { return a.At.Compare(b.At) })
	slices.Reverse(every)
	for name, f := range eventFilters {
		var want, got []Event
		for _, e := range every {
			if f.wants(e) {
				want = append(want, e)
			}
		}
		cursor := ""
		for range len(every) {
			page, err := db.Events(t.Context(), f.EventFilter, cursor, limit)
			require.NoError(t, err, name)
			require.LessOrEqual(t, len(page.Events), limit)
			got = append(got, page.Events...)
			if cursor = page.Next; cursor == "" {
				break
			}
		}
		require.Equal(t, len(want), len(got), name)
		for i := range want {
			require.Equal(t, want[i], got[i], name)
		}
		assert.Equal(t, name == "nothing", len(want) == 0, name)
	}
}

// Each page is read in the order of an index: the plan has no scan of the whole table and no
// sorting, except of one ticket's events. So a page takes as long in a million events as in these.
func TestEventPlans(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		db := d.empty(t)
		n := 100_000
		if testing.Short() {
			n = 10_000
		}
		fillEvents(t, db, n)
		explain := "EXPLAIN QUERY PLAN "
		if d.name == postgresServer.name {
			explain = "EXPLAIN "
		}
		for name, f := range eventFilters {
			for _, cursor := range []string{"", "50000000-50000"} {
				q, err := f.query(cursor)
				require.NoError(t, err)
				queries := map[string][]any{q.page(50): q.args}
				if len(q.rest) > 0 {
					queries[q.last()] = q.args[:q.indexed]
				}
				for query, args := range queries {
					plan := planOf(t, db, explain+query, args...)
					// PostgreSQL's planner chooses between the indexes by how common the values are.
					if d.name == postgresServer.name {
						assert.Regexp(t, `(using|on) event_`, plan, "%s: %s", name, query)
						assert.NotRegexp(t, `Seq Scan`, plan, "%s: %s", name, query)
						continue
					}
					if strings.HasPrefix(query, "SELECT at, id") && !q.inBlocks {
						assert.NotRegexp(t, `(?m)SCAN event$|USE TEMP B-TREE|Seq Scan|Sort`, plan, "%s: %s", name, query)
						continue
					}
					assert.Regexp(t, `USING INDEX `+f.index+`\b`, plan, "%s: %s", name, query)
					assert.NotRegexp(t, `(?m)SCAN event$|Seq Scan`, plan, "%s: %s", name, query)
					if len(q.rest) == 0 && !q.inBlocks {
						assert.NotRegexp(t, `USE TEMP B-TREE|Sort`, plan, "%s: %s", name, query)
					}
				}
			}
		}
		for query, args := range map[string][]any{
			`SELECT at, id, CASE WHEN action = 'events' THEN count ELSE 1 END FROM event
				WHERE at < $1 ORDER BY at, id LIMIT $2`: {1, 1000},
			`DELETE FROM event WHERE (at, id) <= ($1, $2)`:                              {1000, 1},
			selectPack + " AND " + notFrequent + ` ORDER BY at DESC, id DESC LIMIT 500`: nil,
		} {
			plan := planOf(t, db, explain+query, args...)
			assert.NotRegexp(t, `(?m)SCAN event$|USE TEMP B-TREE|Seq Scan|Sort`, plan, query)
		}
	})
}

// planOf returns the plan of a query, a line for each row.
func planOf(t testing.TB, db *DB, query string, args ...any) string {
	t.Helper()
	rows, err := db.read.QueryContext(t.Context(), query, args...)
	require.NoError(t, err)
	defer rows.Close()
	columns, err := rows.Columns()
	require.NoError(t, err)
	var lines []string
	for rows.Next() {
		row := make([]any, len(columns))
		for i := range row {
			row[i] = new(any)
		}
		require.NoError(t, rows.Scan(row...))
		lines = append(lines, fmt.Sprint(*row[len(row)-1].(*any)))
	}
	require.NoError(t, rows.Err())
	return strings.Join(lines, "\n")
}

// A brand's reader sees the brand's events and no others, whatever else the filter says.
func TestEventsOfBrand(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		db := d.empty(t)
		fillEvents(t, db, 2000)
		for name, f := range eventFilters {
			f.AllBrands, f.Brand = false, "brand5"
			page, err := db.Events(t.Context(), f.EventFilter, "", 2000)
			require.NoError(t, err, name)
			recent, _, err := db.NewEvents(t.Context(), f.EventFilter, 0, 2000)
			require.NoError(t, err, name)
			for _, e := range append(page.Events, recent...) {
				assert.Equal(t, "brand5", e.Brand, name)
			}
		}
	})
}

// The purge takes the oldest events, a batch at a time, and leaves the others.
func TestPurgeEvents(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		db := d.empty(t)
		fillEvents(t, db, 1000)
		for _, want := range []int{300, 199, 0} {
			n, err := db.PurgeEvents(t.Context(), time.Unix(500, 0), 300)
			require.NoError(t, err)
			assert.Equal(t, want, n)
		}
		left := everyEvent(t, db)
		assert.Len(t, left, 501)
		assert.Equal(t, time.Unix(500, 0).UTC(), left[0].At)
	})
}

// A recorder that was killed is told of at its next start, or by another recorder. A
// recorder that ended in order is not.
func TestRecorder(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		db := d.empty(t)
		now := start
		db.now = func() time.Time { return now }
		gaps := func() (since []string) {
			for _, e := range everyEvent(t, db) {
				if e.Action == ActionGap {
					since = append(since, e.Details)
				}
			}
			return since
		}
		one, err := db.StartRecorder(ctx, "one")
		require.NoError(t, err)
		require.NoError(t, db.EndRecorder(ctx, one))
		one, err = db.StartRecorder(ctx, "one")
		require.NoError(t, err)
		assert.Empty(t, gaps())
		now = now.Add(time.Second)
		require.NoError(t, db.RecordEvents(ctx, one, []Event{{At: start, Action: ActionIssueTicket, Count: 1}}, now))
		now = now.Add(time.Second)
		_, err = db.StartRecorder(ctx, "one")
		require.NoError(t, err)
		assert.Equal(t, []string{`{"recorder":"one","since":"2026-11-21T12:00:01Z"}`}, gaps())

		two, err := db.StartRecorder(ctx, "two")
		require.NoError(t, err)
		now = now.Add(RecorderSilent)
		require.NoError(t, db.FlushRecorder(ctx, two, now))
		assert.Len(t, gaps(), 1, "not silent for long enough")
		now = now.Add(time.Millisecond)
		require.NoError(t, db.FlushRecorder(ctx, two, now))
		assert.Len(t, gaps(), 2)
		require.NoError(t, db.EndRecorder(ctx, one), "an earlier run has no say")
		require.NoError(t, db.FlushRecorder(ctx, two, now))
		assert.Len(t, gaps(), 2)
	})
}

// A batch whose answer was lost is written once, though the recorder writes it again.
func TestRecordEventsOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		db := d.empty(t)
		r, err := db.StartRecorder(ctx, "one")
		require.NoError(t, err)
		batch := func(ticket string) []Event {
			return []Event{{At: start, Action: ActionIssueTicket, Ticket: ticket, Count: 1}}
		}
		tickets := func() (all []string) {
			for _, e := range everyEvent(t, db) {
				all = append(all, e.Ticket)
			}
			return all
		}
		require.NoError(t, db.RecordEvents(ctx, r, batch("1"), start))
		r.batch-- // as after an error
		require.NoError(t, db.RecordEvents(ctx, r, batch("1"), start))
		require.NoError(t, db.RecordEvents(ctx, r, batch("2"), start))
		require.NoError(t, db.FlushRecorder(ctx, r, start))
		r.batch--
		require.NoError(t, db.RecordEvents(ctx, r, batch("2"), start))
		assert.Equal(t, []string{"1", "2"}, tickets())

		// A later run of the same name hides no batch.
		_, err = db.StartRecorder(ctx, "one")
		require.NoError(t, err)
		require.NoError(t, db.RecordEvents(ctx, r, batch("3"), start))
		assert.Equal(t, []string{"1", "2", "", "3"}, tickets(), "with the gap of the earlier run")
	})
}

// A page of each filter in a million events. Those of SQLite are in rows, or in packs.
func BenchmarkEvents(b *testing.B) {
	for name, d := range map[string]database{"sqlite": sqliteFile, "packs": sqliteFile, "postgres": postgresServer} {
		b.Run(name, func(b *testing.B) {
			db := d.empty(b)
			if name == "packs" {
				fillPacks(b, db, 1_000_000, 1000)
			} else {
				fillEvents(b, db, 1_000_000)
			}
			for name, f := range eventFilters {
				b.Run(name, func(b *testing.B) {
					for b.Loop() {
						_, err := db.Events(b.Context(), f.EventFilter, "900000000-900000", 50)
						require.NoError(b, err)
					}
				})
			}
		})
	}
}

// FuzzCursor: a cursor is refused by its name, or means one place, whose cursor means the same.
func FuzzCursor(f *testing.F) {
	f.Add("1700000000000-17")
	f.Add("-5--9223372036854775808")
	f.Add("+1-0x2")
	f.Add("-")
	f.Fuzz(func(t *testing.T, cursor string) {
		q, err := EventFilter{AllBrands: true}.query(cursor)
		if cursor == "" {
			require.NoError(t, err)
			return
		}
		if err != nil {
			var wrong *FieldError
			require.ErrorAs(t, err, &wrong)
			require.Equal(t, "after", wrong.Field)
			return
		}
		require.Len(t, q.args, 2)
		again, err := EventFilter{AllBrands: true}.query(cursorAt(q.args[0].(int64), q.args[1].(int64)))
		require.NoError(t, err)
		require.Equal(t, q.args, again.args)
	})
}
