package directory

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// row returns the row of the issuer x, and false if there is none.
func issuerRow(t *testing.T, db *DB) (away bool, since time.Time, ok bool) {
	t.Helper()
	_, err := list(t.Context(), db.read, func(r row) (none struct{}, err error) {
		ok = true
		return none, r.Scan(&away, instant{&since})
	}, `SELECT away, sessions_since FROM issuer WHERE name = 'x'`)
	require.NoError(t, err)
	return away, since, ok
}

// The lists of the issuer x: as the words of the tests name them.
var lists = map[string][]IssuerEntry{
	"without": {},
	"no-list": nil,
	"with":    {{Name: "x", Brands: []string{"acme"}}},
	"changed": {{Name: "x", Brands: []string{"acme", "beta"}}},
	"denied":  {{Name: "x", Brands: []string{"acme"}, Denied: true}},
}

// Each case is a line of steps, "at service list", with the time in seconds. It ends with the
// time since when sessions are good, or - for ever; and with "away" if the issuer is away.
//
// trap F10
func TestSeeIssuers(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		db := d.empty(t)
		for _, c := range []struct{ name, steps, want string }{
			{"a new issuer", "0 a with, 30 a with, 500 a with", "-"},
			{"a denial and its end", "0 a with, 10 a denied, 20 a with, 30 a with", "20"},
			{"a denial", "0 a with, 10 a denied, 20 a denied, 200 a denied", "10 away"},
			{"a removal and the return", "0 a with, 10 a without, 20 a with", "20"},
			{"a removal", "0 a with, 10 a without, 200 a without", "10 away"},
			{"a denial from the first", "5 a denied, 200 a denied", "5 away"},
			{"a denial that only a new service has", "0 a with, 10 c denied, 20 a with", "10 away"},
			{"a denial, then a removal", "0 a with, 10 a denied, 20 a without", "10 away"},
			{"an old list beside a new issuer", "0 a without, 1 b with, 2 a without, 40 b with, 100 a without, 101 b with, 199 a without, 201 a with", "-"},
			{"an old list of a new service", "1 b with, 2 a without, 3 a with", "-"},
			{"another grant", "0 a with, 10 a changed, 20 b changed", "-"},
			{"nobody left with the issuer", "1 b with, 60 a without, 100 a without, 120 a without", "-"},
			{"for two minutes", "1 b with, 60 a without, 121 a without, 130 b with", "121 away"},
			{"and its return", "1 b with, 60 a without, 121 a without, 130 c with", "130"},
			{"a service without lists says nothing", "1 b with, 60 a no-list, 200 a no-list, 210 b with", "-"},
			{"but about what it had", "1 a with, 60 a no-list", "60 away"},
			{"the second service notes its denial too", "0 a with, 0 b with, 10 a denied, 15 b denied", "15 away"},
			{"and goes on with the return of the first", "0 a with, 0 b with, 10 a denied, 15 b denied, 20 a with, 25 b with", "20"},
			{"a late denial ends what began meanwhile", "0 a with, 0 b with, 10 a denied, 20 a with, 25 b denied, 26 b with", "26"},
			{"an old list once more", "0 a with, 10 a denied, 15 c with, 300 a denied", "300 away"},
			{"a change is no return", "0 a with, 0 b with, 10 a denied, 15 b changed", "10 away"},
			{"the clock goes back", "100 a with, 90 a denied, 80 a with", "90"},
		} {
			do(t, db, `DELETE FROM issuer_view`, `DELETE FROM issuer`)
			for step := range strings.SplitSeq(c.steps, ", ") {
				var at int
				var service, list string
				_, err := fmt.Sscan(step, &at, &service, &list)
				require.NoError(t, err)
				require.NoError(t, db.SeeIssuers(t.Context(), service, start.Add(time.Duration(at)*time.Second), lists[list]))
			}
			away, since, ok := issuerRow(t, db)
			require.True(t, ok)
			got := "-"
			if !since.IsZero() {
				got = fmt.Sprint(since.Sub(start).Seconds())
			}
			if away {
				got += " away"
			}
			assert.Equal(t, c.want, got, c.name)
			known, err := db.IssuerSessionsSince(t.Context(), "x")
			require.NoError(t, err)
			assert.Equal(t, since, known)
		}
		none, err := db.IssuerSessionsSince(t.Context(), "nobody")
		require.NoError(t, err)
		assert.Zero(t, none)
	})
}

// A running service of the model, with a list that may be old.
type seer struct {
	name    string
	version int // of its list
	began   []time.Time
}

// Whatever services start, stop and lag, the noted time never goes back; a service that loses
// an issuer ends all sessions that began in it before; and when the issuer was nowhere, its
// return ends all sessions from before. So it is noted if nobody has the issuer for long.
func TestSeeIssuersModel(t *testing.T) {
	if testing.Short() {
		t.Skip("much work in one goroutine")
	}
	onBoth(t, func(t *testing.T, d database) {
		db := d.empty(t)
		for seed := range uint64(6) {
			do(t, db, `DELETE FROM issuer_view`, `DELETE FROM issuer`)
			r := rand.New(rand.NewPCG(seed, 1))
			versions := []string{"without", "with"}
			harmless := seed%3 == 0 // the issuer is new, and only the lists lag
			now, names := start, 0
			var running []*seer
			var last, seen time.Time
			var gone []time.Time // when sessions began in services that are no more
			launch := func(version int) {
				names++
				running = append(running, &seer{name: fmt.Sprint("s", names), version: version})
			}
			launch(1)
			nowhere := false // no service has the issuer, and all know
			for range 60 {
				now = now.Add(time.Duration(1+r.IntN(25)) * time.Second)
				i := r.IntN(len(running))
				s := running[i]
				switch p := r.IntN(10); {
				case p < 2 && !harmless:
					versions = append(versions, []string{"without", "with", "denied"}[r.IntN(3)])
				case p < 5:
					s.version += r.IntN(len(versions) - s.version)
				case p == 5 && len(running) < 4:
					launch(r.IntN(len(versions)))
				case p > 7 && len(running) > 1 && (i > 0 || !harmless): // the first one has the issuer
					gone = append(gone, s.began...)
					running = append(running[:i], running[i+1:]...)
				}
				admitted, lost := false, []time.Time(nil)
				for _, s := range running {
					list := versions[s.version]
					require.NoError(t, db.SeeIssuers(t.Context(), s.name, now, lists[list]))
					if list == "with" {
						admitted = true
						continue
					}
					lost = append(lost, s.began...)
					s.began = nil
				}
				_, since, _ := issuerRow(t, db)
				assert.False(t, since.Before(last), "the time goes back, seed %d", seed)
				for _, began := range lost {
					assert.True(t, began.Before(since), "a session of before a loss is good, seed %d", seed)
				}
				if admitted && nowhere {
					assert.Equal(t, now, since, "a return ends nothing, seed %d", seed)
					for _, began := range gone {
						assert.True(t, began.Before(since), "seed %d", seed)
					}
				}
				if harmless {
					assert.Zero(t, since, "seed %d", seed)
				}
				away, _, ok := issuerRow(t, db)
				if admitted {
					seen = now
				}
				if ok && now.Sub(seen) >= IssuerSilent {
					assert.True(t, away, "nobody has admitted the issuer for long, seed %d", seed)
				}
				nowhere, last = ok && away && !admitted, since
				for _, s := range running {
					if versions[s.version] == "with" {
						s.began = append(s.began, now.Add(time.Millisecond))
					}
				}
			}
		}
	})
}

// Changes of the lists are events, once for all services.
func TestIssuerEvents(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		db := d.empty(t)
		at := start
		see := func(service, list string) {
			at = at.Add(time.Second)
			require.NoError(t, db.SeeIssuers(t.Context(), service, at, lists[list]))
		}
		for _, list := range []string{"with", "changed", "with", "denied", "with", "without", "with"} {
			for _, service := range []string{"a", "b", "a"} {
				see(service, list)
			}
		}
		page, err := db.Events(t.Context(), EventFilter{Action: "issuer."}, "", 100)
		require.NoError(t, err)
		var got []string
		for _, e := range page.Events {
			assert.Equal(t, "issuer x", e.Kind+" "+e.Name)
			got = append([]string{fmt.Sprint(e.Action, e.Fields, e.Details)}, got...)
		}
		assert.Equal(t, []string{
			`issuer.add[brands]{"brands":{"is":["acme"]}}`,
			`issuer.set[brands]{"brands":{"was":["acme"],"is":["acme","beta"]}}`,
			`issuer.set[brands]{"brands":{"was":["acme","beta"],"is":["acme"]}}`,
			`issuer.set[denied]{"denied":{"is":true}}`,
			`issuer.set[denied]{"denied":{"was":true}}`,
			`issuer.remove[brands]{"brands":{"was":["acme"]}}`,
			`issuer.add[brands]{"brands":{"is":["acme"]}}`,
		}, got)
	})
}

// An entry that is no JSON, or JSON of another kind, stops no service and no list.
func TestIssuerNonsense(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx, db := t.Context(), d.empty(t)
		require.NoError(t, db.SeeIssuers(ctx, "a", start, lists["with"]))
		for i, nonsense := range []string{"x", "[]", "null", "7", `{"rate":"x","denied":true}`, `{"until":7}`} {
			do(t, db, "UPDATE issuer SET entry = '"+nonsense+"'", "UPDATE issuer_view SET entry = '"+nonsense+"'")
			all, err := db.Issuers(ctx)
			require.NoError(t, err, nonsense)
			require.Len(t, all, 1)
			assert.Equal(t, IssuerEntry{Name: "x"}, all[0].IssuerEntry, nonsense)
			at := start.Add(time.Duration(i+1) * time.Second)
			require.NoError(t, db.SeeIssuers(ctx, "a", at, lists["with"]), nonsense)
			all, err = db.Issuers(ctx)
			require.NoError(t, err)
			assert.Equal(t, []string{"acme"}, all[0].Brands, nonsense)
		}
	})
}

// Times that no calendar has, by a service whose clock is nonsense, stop no list.
func TestIssuerTimesOfNonsense(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		db := d.empty(t)
		require.NoError(t, db.SeeIssuers(ctx, "a", start, lists["with"]))
		for at, year := range map[string]int{
			"9223372036854775807": 9999, "253402300800000": 9999, "-9223372036854775807": 1, "-62135596800000": 1,
		} {
			do(t, db, `UPDATE issuer SET sessions_since = `+at, `DELETE FROM issuer_use`,
				`INSERT INTO issuer_use (issuer, ticket_key, last_used) VALUES ('x', '1', `+at+`)`)
			all, err := db.Issuers(ctx)
			require.NoError(t, err)
			for _, got := range []time.Time{all[0].SessionsSince, all[0].LastUsed, all[0].KeyUses[0].LastUsed} {
				assert.Equal(t, year, got.Year(), at)
				assert.False(t, got.IsZero(), "it is a time")
				_, err := got.MarshalJSON()
				assert.NoError(t, err, at)
			}
		}
	})
}

// The list of issuers has the last use of each key, whichever service noted it.
func TestIssuers(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx, db := t.Context(), d.empty(t)
		require.NoError(t, db.SeeIssuers(ctx, "a", start, []IssuerEntry{}))
		all, err := db.Issuers(ctx)
		require.NoError(t, err)
		assert.Empty(t, all)
		want := IssuerEntry{
			Name: "y", Brands: []string{"acme"}, Audiences: []string{"agent"}, MaxLifetime: 5 * time.Minute, ManyTimes: true,
			Override: true, Claims: []string{"plan"}, Until: start.Add(time.Hour), Rate: 2.5, Format: 1,
			Keys: []string{"1", "2"}, DeniedKeys: []string{"3"}, Generation: 7, BundleUntil: start.Add(time.Minute),
		}
		require.NoError(t, db.SeeIssuers(ctx, "a", start, []IssuerEntry{want, {Name: "x", AllBrands: true}}))
		note := func(key string, after time.Duration) {
			require.NoError(t, db.NoteIssuerUses(ctx, map[IssuerKey]time.Time{
				{"y", key}: start.Add(after), {"other", key}: start,
			}))
		}
		require.NoError(t, db.NoteIssuerUses(ctx, nil))
		note("1", time.Second)
		note("1", 0) // of another service, which is late
		note("2", 2*time.Second)
		all, err = db.Issuers(ctx)
		require.NoError(t, err)
		require.Len(t, all, 2)
		assert.Equal(t, "x", all[0].Name)
		assert.Zero(t, all[0].LastUsed)
		assert.Equal(t, want, all[1].IssuerEntry)
		assert.Equal(t, []KeyUse{{"1", start.Add(time.Second)}, {"2", start.Add(2 * time.Second)}}, all[1].KeyUses)
		assert.Equal(t, start.Add(2*time.Second), all[1].LastUsed)

		db.now = func() time.Time { return start.Add(time.Hour) }
		ended, err := db.EndIssuerSessions(ctx, "y")
		require.NoError(t, err)
		assert.Equal(t, start.Add(time.Hour), ended.SessionsSince)
		db.now = func() time.Time { return start } // a clock that is behind
		ended, err = db.EndIssuerSessions(ctx, "y")
		require.NoError(t, err)
		assert.Equal(t, start.Add(time.Hour), ended.SessionsSince)
		_, err = db.EndIssuerSessions(ctx, "nobody")
		assert.ErrorIs(t, err, ErrNotFound)
		_, err = db.Events(ctx, EventFilter{Since: start, Until: start}, "", 10)
		assert.EqualError(t, err, "until is not after since, so no event can be meant; give a later time")
		page, err := db.Events(ctx, EventFilter{Action: ActionEndSessions}, "", 10)
		require.NoError(t, err)
		require.Len(t, page.Events, 1)
		assert.Equal(t, "issuer y", page.Events[0].Kind+" "+page.Events[0].Name)

		assert.ErrorContains(t, db.SeeIssuers(ctx, "a", start, []IssuerEntry{{Name: ""}}), "issuer is empty")
		require.NoError(t, db.SeeIssuers(ctx, "a", start, []IssuerEntry{{Name: "x"}}))
		for name, want := range map[string]string{
			"": "", "x": "", "y": "", "nobody": "is no issuer that a service has had", "a\n": "contains a control character",
		} { // y was removed
			if err := db.CheckIssuer(ctx, name); want == "" {
				assert.NoError(t, err, name)
			} else {
				assert.ErrorContains(t, err, "issuer "+want, name)
			}
		}
	})
}

// Services that look at the same time do not get in each other's way.
func TestSeeIssuersConcurrently(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		db := d.empty(t)
		done := make(chan error)
		for i := range 8 {
			go func() {
				var all []IssuerEntry
				for j := range 10 {
					all = append(all, IssuerEntry{Name: fmt.Sprint("i", (i+j)%10)})
				}
				done <- db.SeeIssuers(context.WithoutCancel(t.Context()), fmt.Sprint("s", i), start, all)
			}()
		}
		for range 8 {
			assert.NoError(t, <-done)
		}
		all, err := db.Issuers(t.Context())
		require.NoError(t, err)
		assert.Len(t, all, 10)
		assert.Equal(t, 10, count(t, db, `SELECT count(*) FROM event WHERE action = 'issuer.add'`))
	})
}
