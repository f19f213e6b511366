package directory

import (
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
		ticket, issuer, ticket_key, reason, count, details)
		SELECT CASE WHEN n %% 11 = 0 THEN '' ELSE 'brand' || (n %% 11) END, n * 1000, 'key', 'key' || (n %% 100), '', '192.0.2.1',
		CASE WHEN n %% 50000 = 1 THEN 'key.revoke' ELSE 'ticket.issue' END, 'agent', 'agent' || (n %% 1000), '[]',
		CASE WHEN n %% 50000 = 1 THEN '' ELSE 'ticket' || (n / 4) END, '', '1', '', 1, '' FROM `+series, n))
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
	"brand's action":  {EventFilter{Brand: "brand1", Action: "ticket.issue"}, "event_action"},
	"actions":         {EventFilter{AllBrands: true, Action: "key."}, "event_time"},
	"brand's actions": {EventFilter{Brand: "brand1", Action: "key."}, "event_brand"},
	"nothing":         {EventFilter{Brand: "brand3", Action: "no.such"}, "event_action"},
}

// wants reports whether the filter has the event: the definition for TestEventPages.
func (f EventFilter) wants(e Event) bool {
	return (f.AllBrands || e.Brand == f.Brand) && (f.Ticket == "" || e.Ticket == f.Ticket) &&
		(f.Name == "" || e.Name == strings.ToLower(f.Name)) && (f.Kind == "" || e.Kind == f.Kind) &&
		(f.Actor == "" || e.Actor.Name == f.Actor) && (f.ActorKind == "" || e.Actor.Kind == f.ActorKind) &&
		(f.Action == "" || e.Action == f.Action ||
			strings.HasSuffix(f.Action, ".") && strings.HasPrefix(e.Action, f.Action)) &&
		!e.At.Before(f.Since) && (f.Until.IsZero() || e.At.Before(f.Until))
}

// The pages of each filter have the events of the filter, each once, the newest first.
func TestEventPages(t *testing.T) {
	if testing.Short() {
		t.Skip("reads thousands of events in one goroutine, which the race detector makes very slow")
	}
	onBoth(t, func(t *testing.T, d database) {
		db := d.empty(t)
		const n = 12_000
		fillEvents(t, db, n)
		do(t, db, `UPDATE event SET at = at - at % 3000`) // several of one time
		every := everyEvent(t, db)
		require.Len(t, every, n)
		slices.SortStableFunc(every, func(a, b Event) int { return a.At.Compare(b.At) })
		slices.Reverse(every)
		for name, f := range eventFilters {
			var want, got []int64
			for _, e := range every {
				if f.wants(e) {
					want = append(want, e.ID)
				}
			}
			cursor := ""
			for range n {
				page, err := db.Events(t.Context(), f.EventFilter, cursor, 500)
				require.NoError(t, err, name)
				for _, e := range page.Events {
					got = append(got, e.ID)
				}
				if cursor = page.Next; cursor == "" {
					break
				}
			}
			assert.Equal(t, want, got, name)
			assert.Equal(t, name == "nothing", len(want) == 0, name)
		}
		for _, cursor := range []string{"x", "1", "1-", "-1", "1-x"} {
			var wrong *FieldError
			_, err := db.Events(t.Context(), EventFilter{}, cursor, 1)
			assert.ErrorAs(t, err, &wrong, cursor)
		}
	})
}

// Each page is read in the order of an index: the plan has no scan of the whole table and no
// sorting. So a page takes as long in a million events as in these.
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
					if strings.HasPrefix(query, "SELECT at, id") {
						assert.NotRegexp(t, `(?m)SCAN event$|USE TEMP B-TREE|Seq Scan|Sort`, plan, "%s: %s", name, query)
						continue
					}
					assert.Regexp(t, `USING INDEX `+f.index+`\b`, plan, "%s: %s", name, query)
					assert.NotRegexp(t, `(?m)SCAN event$|Seq Scan`, plan, "%s: %s", name, query)
					if len(q.rest) == 0 {
						assert.NotRegexp(t, `USE TEMP B-TREE|Sort`, plan, "%s: %s", name, query)
					}
				}
			}
		}
		purge := planOf(t, db, explain+`DELETE FROM event WHERE id IN
			(SELECT id FROM event WHERE at < $1 ORDER BY at, id LIMIT $2)`, 1, 1000)
		assert.NotRegexp(t, `(?m)SCAN event$|USE TEMP B-TREE|Seq Scan|Sort`, purge)
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

// A page of each filter in a million events.
func BenchmarkEvents(b *testing.B) {
	for _, d := range both {
		b.Run(d.name, func(b *testing.B) {
			db := d.empty(b)
			fillEvents(b, db, 1_000_000)
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
