package directory

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// filled returns n events like those of fillEvents, from number first on, the gap apart.
func filled(first, n int, gap time.Duration) []Event {
	all := make([]Event, n)
	for i := range all {
		n := first + i
		all[i] = Event{
			At: time.UnixMilli(0).UTC().Add(time.Duration(n) * gap), Actor: Actor{Kind: ActorKey, Name: fmt.Sprint("key", n%100),
				Remote: "192.0.2.1"},
			Action: ActionIssueTicket, Kind: "agent", Name: fmt.Sprint("agent", n%1000), Ticket: fmt.Sprint("ticket", n/4),
			TicketKey: "1", Count: 1,
		}
		if n%11 != 0 {
			all[i].Brand = fmt.Sprint("brand", n%11)
		}
		if n%11 == 5 {
			all[i].Issuer = "portal"
		}
		if n%50_000 == 1 {
			all[i].Action, all[i].Ticket = "key.revoke", ""
		}
	}
	return all
}

// record writes events in one batch.
func record(t testing.TB, db *DB, r *Recorder, events []Event) {
	t.Helper()
	require.NoError(t, db.RecordEvents(t.Context(), r, events, start))
}

// fillPacks fills the trail of an SQLite file with n events in packs.
func fillPacks(t testing.TB, db *DB, n, each int) {
	t.Helper()
	r, err := db.StartRecorder(t.Context(), "one")
	require.NoError(t, err)
	for first := 1; first <= n; first += each {
		record(t, db, r, filled(first, each, time.Millisecond/2))
	}
	require.NoError(t, db.EndRecorder(t.Context(), r))
	require.Zero(t, count(t, db, `SELECT count(*) FROM event WHERE action <> 'events'`))
}

// Events in rows and in packs are one trail, in both databases: all pages, the order of IDs, and
// the purge.
func TestPacks(t *testing.T) {
	if testing.Short() {
		t.Skip("reads thousands of events in one goroutine, which the race detector makes very slow")
	}
	t.Parallel()
	db := sqliteFile.empty(t)
	r, err := db.StartRecorder(t.Context(), "one")
	require.NoError(t, err)
	random := rand.New(rand.NewPCG(1, 2))
	var want []Event
	for len(want) < 12_000 {
		n := 1 + random.IntN(900)
		events := filled(len(want)+1, n, 9*time.Millisecond) // about a hundred in the time of a pack
		if random.IntN(2) == 0 {                             // all at one time, and so in a pack if there are enough
			begin := time.UnixMilli(int64(random.IntN(90_000))).UTC()
			for i := range events {
				events[i].At = begin.Add(time.Duration(random.IntN(300)) * time.Millisecond)
			}
		}
		record(t, db, r, events)
		want = append(want, events...)
	}
	packs := count(t, db, `SELECT count(*) FROM event WHERE action = 'events'`)
	assert.Greater(t, packs, 5)
	assert.Greater(t, count(t, db, `SELECT count(*) FROM event WHERE action <> 'events'`), 1000)
	require.NoError(t, db.EndRecorder(t.Context(), r))
	var stream bytes.Buffer
	_, err = db.Save(t.Context(), &stream, SaveOptions{})
	require.NoError(t, err)
	for _, d := range both {
		t.Run(d.name, func(t *testing.T) {
			if d.name == postgresServer.name {
				db = d.empty(t)
				_, err := db.Load(t.Context(), bytes.NewReader(stream.Bytes()), LoadOptions{ID: NewID(), KeepSessions: true})
				require.NoError(t, err)
			}
			every := everyEvent(t, db)
			last, err := db.LastEvent(t.Context())
			require.NoError(t, err)
			assert.Equal(t, last, every[len(every)-1].ID)
			if d.name == postgresServer.name {
				require.Equal(t, ActionLoad, every[len(every)-1].Action)
				every = every[:len(every)-1]
				do(t, db, fmt.Sprint(`DELETE FROM event WHERE id = `, last))
				assert.Equal(t, packs, count(t, db, `SELECT count(*) FROM event WHERE action = 'events'`))
			}
			require.Len(t, every, len(want))
			for i, e := range every {
				assert.True(t, i == 0 || e.ID > every[i-1].ID)
				e.ID = 0
				require.Equal(t, want[i], e)
			}
			assertPages(t, db, every, 50)
			assertPages(t, db, every, 2500)
			f := EventFilter{AllBrands: true, Issuer: "portal", Actor: "key7"}
			var got, wanted []Event
			for last := int64(0); ; {
				some, next, err := db.NewEvents(t.Context(), f, last, 7)
				require.NoError(t, err)
				got = append(got, some...)
				if next == last {
					break
				}
				last = next
			}
			for _, e := range every {
				if f.has(&e) {
					wanted = append(wanted, e)
				}
			}
			assert.NotEmpty(t, wanted)
			assert.Equal(t, wanted, got)

			// The purge removes what is old, and of a pack all or nothing.
			before, removed := time.UnixMilli(40_000).UTC(), 0
			for {
				n, err := db.PurgeEvents(t.Context(), before, 300)
				require.NoError(t, err)
				assert.LessOrEqual(t, n, 300+packMax)
				if removed += n; n < 300 {
					break
				}
			}
			left := everyEvent(t, db)
			assert.Equal(t, len(every), removed+len(left))
			old := 0
			for _, e := range left {
				assert.Greater(t, e.At, before.Add(-packSpan*time.Millisecond))
				if e.At.Before(before) {
					old++
				}
			}
			assert.Less(t, old, 10*packMax)
			for _, e := range every {
				assert.True(t, e.At.Before(before) || slices.ContainsFunc(left, func(l Event) bool { return l.ID == e.ID }))
			}
		})
	}
}

// A pack has all fields of its events.
func TestPackFields(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	wrong := 0 // packs whose filter seems to have a text that is not there
	for range 200 {
		events := make([]Event, 1+random.IntN(50))
		for i := range events {
			e := &events[i]
			for _, text := range e.packTexts() {
				*text = strings.Repeat("é\"\n", random.IntN(3)) + strings.Repeat("x", random.IntN(2)*random.IntN(200))
			}
			for range random.IntN(3) {
				e.Fields = append(e.Fields, fmt.Sprint("field", random.IntN(3)))
			}
			e.At = start.Add(time.Duration(random.IntN(packSpan)) * time.Millisecond)
			e.Count = 1 + random.IntN(3)*random.IntN(1<<40)
		}
		require.Equal(t, len(events), packable(events))
		p, details := packOf(t, events)
		var got []Event
		require.NoError(t, p.unpack(details, func(e *Event) { got = append(got, *e) }))
		for i := range got {
			assert.Equal(t, int64(1001+i), got[i].ID)
			got[i].ID = 0
		}
		require.Equal(t, events, got)
		assert.True(t, p.mayHave([]string{events[0].Name, events[0].Ticket}))
		if p.mayHave([]string{events[0].Name, "0123456789abcdef"}) {
			wrong++
		}
	}
	assert.Less(t, wrong, 10)
}

// packOf returns the row of a pack whose first event has the ID 1001.
func packOf(t testing.TB, events []Event) (p pack, details string) {
	t.Helper()
	v, err := packRow(events)
	require.NoError(t, err)
	row := make(map[string]any)
	for i, column := range packColumns {
		row[column] = v[i]
	}
	assert.Equal(t, actionPack, row["action"])
	return pack{
		id: 1000 + row["id"].(int64), newest: row["at"].(int64), count: row["count"].(int64),
		reason: row["reason"].(string), fields: row["fields"].(string),
	}, row["details"].(string)
}

// A damaged pack is refused, or is another pack: it has as many events, with times in its span.
func TestDamagedPack(t *testing.T) {
	t.Parallel()
	p, details := packOf(t, filled(1, 20, time.Millisecond))
	data, err := base64.StdEncoding.DecodeString(details)
	require.NoError(t, err)
	refused := 0
	try := func(data []byte) {
		n := 0
		err := p.unpack(base64.StdEncoding.EncodeToString(data), func(e *Event) {
			n++
			assert.False(t, e.At.UnixMilli() < p.oldest() || e.At.UnixMilli() > p.newest)
		})
		if err != nil {
			refused++
		} else {
			assert.Equal(t, 20, n)
		}
	}
	for i := range data {
		before := refused
		try(data[:i])
		require.Equal(t, before+1, refused, "cut at %d", i)
		for range 30 {
			damaged := bytes.Clone(data)
			damaged[i] ^= byte(1 + rand.IntN(255))
			try(damaged)
		}
	}
	before := refused
	try(append(bytes.Clone(data), 0))
	assert.Equal(t, before+1, refused)
	for _, wrong := range []pack{
		{id: p.id, newest: p.newest, count: p.count + 1, reason: p.reason},
		{id: p.id, newest: p.newest, count: p.count - 1, reason: p.reason},
		{id: p.count - 1, newest: p.newest, count: p.count, reason: p.reason},
		{id: p.id, newest: p.newest - 1, count: p.count, reason: p.reason},
		{id: p.id, newest: p.newest, count: -1, reason: p.reason},
	} {
		assert.ErrorIs(t, wrong.unpack(details, func(*Event) {}), errPack)
	}
}

// Whoever may add rows can add one that is no pack. The row is shown as an event, and hides no other.
func TestNoPack(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		db := d.empty(t)
		r, err := db.StartRecorder(t.Context(), "one")
		require.NoError(t, err)
		record(t, db, r, filled(1, packMin, time.Millisecond))
		for _, details := range []string{"", "x", "AAAA"} {
			do(t, db, `INSERT INTO event (brand, at, actor_kind, actor, machine, remote, action, kind, name, fields,
				ticket, issuer, ticket_key, signing_key, reason, count, details)
				VALUES ('', 90, '', '', '', '', 'events', '', '', '', '', '', '', '', '', 5, '`+details+`')`)
		}
		for _, limit := range []int{20, 1000} {
			seen := make(map[int64]string)
			for cursor := ""; ; {
				page, err := db.Events(t.Context(), EventFilter{AllBrands: true}, cursor, limit)
				require.NoError(t, err)
				for _, e := range page.Events {
					seen[e.ID] = e.Action
				}
				if cursor = page.Next; cursor == "" {
					break
				}
			}
			assert.Len(t, seen, packMin+3)
		}
		assert.Len(t, everyEvent(t, db), packMin+3)
	})
}

// BenchmarkRecordEvents writes events into a trail of a million, in batches of 2,000: in packs,
// and in rows.
func BenchmarkRecordEvents(b *testing.B) {
	for name, gap := range map[string]time.Duration{"packs": time.Microsecond, "rows": 6 * time.Millisecond} {
		b.Run(name, func(b *testing.B) {
			db := sqliteFile.empty(b)
			fillEvents(b, db, 1_000_000)
			r, err := db.StartRecorder(b.Context(), "one")
			require.NoError(b, err)
			n := 1_000_000
			for b.Loop() {
				b.StopTimer()
				events := filled(n, packMax, gap)
				for i := range events {
					events[i].Ticket = NewID()
				}
				n += packMax
				b.StartTimer()
				record(b, db, r, events)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*packMax), "ns/event")
		})
	}
}
