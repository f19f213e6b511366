package directory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/token"
)

// saved returns the stream of a directory.
func saved(t testing.TB, db *DB, o SaveOptions) string {
	t.Helper()
	var b bytes.Buffer
	_, err := db.Save(t.Context(), &b, o)
	require.NoError(t, err)
	return b.String()
}

// contents returns the lines of a stream in an order of their own. Rows that a load adds are
// left out.
func contents(stream string) (lines []string) {
	table := ""
	for line := range strings.Lines(stream) {
		switch {
		case strings.HasPrefix(line, "["):
			if !strings.Contains(line, ActionLoad) {
				lines = append(lines, table+line)
			}
		case strings.HasPrefix(line, `{"table"`):
			table = line
		case strings.Contains(line, `"customer"`), strings.Contains(line, `"revocation"`):
			lines = append(lines, line) // the last number
		}
	}
	slices.Sort(lines)
	return lines
}

// differing returns the lines that only one of two contents has.
func differing(a, b []string) (lines []string) {
	for i, list := range [][]string{a, b} {
		for _, line := range list {
			if !slices.Contains([][]string{b, a}[i], line) {
				lines = append(lines, line)
			}
		}
	}
	return lines
}

// fill makes records by chance.
func fill(t testing.TB, db *DB, r *rand.Rand) {
	ctx := t.Context()
	pick := func(all ...string) string { return all[r.IntN(len(all))] }
	yes := func() bool { return r.IntN(2) == 0 }
	maybe := func() *bool {
		v := yes()
		return map[bool]*bool{true: &v}[yes()]
	}
	settings := func() Settings {
		return Settings{
			TicketLogin: maybe(), OneTime: maybe(), Confirm: maybe(), OtherUser: pick("", Replace, Confirm, Refuse),
			CustomerLifetime: time.Duration(r.IntN(2)) * 123456 * time.Millisecond,
			DisplayName:      pick("", `Ünï "\`, "<a>&"), Colour: pick("", "#1a73e8"), Language: pick("", "de-AT"),
			ReturnOrigins: [][]string{nil, {"https://a.example"}}[r.IntN(2)],
		}
	}
	must := func(err error) {
		t.Helper()
		if !errors.Is(err, ErrExists) && !errors.Is(err, ErrNotFound) {
			require.NoError(t, err)
		}
	}
	brands := []string{"a", "ä", "b c", "漢字"}
	for _, name := range brands {
		must(db.AddBrand(ctx, Brand{Name: name, Region: pick("", "DE"), Settings: settings()}))
	}
	for range 60 {
		brand, name := brands[r.IntN(len(brands))], fmt.Sprintf("%s%d", pick("x", "Ü", "q'"), r.IntN(9))
		switch r.IntN(12) {
		case 0:
			must(db.AddChannel(ctx, Channel{Brand: brand, ID: "c" + name[len(name)-1:], Name: name, Settings: settings()}))
		case 1:
			must(db.RemoveChannel(ctx, brand, "c"+name[len(name)-1:]))
		case 2, 3:
			must(db.AddAgent(ctx, Agent{Brand: brand, Username: name, Email: pick("", "a@example.com"), Active: yes(),
				Groups: [][]string{nil, {"g h", `"`}}[r.IntN(2)], FirstName: pick("", "Zoë")}))
		case 4:
			must(db.RemoveAgent(ctx, brand, name))
		case 5, 6:
			c, err := db.AddCustomer(ctx, Customer{Brand: brand, UniqueID: name, Remark: pick("", "x  y")})
			must(err)
			if err == nil && yes() {
				must(db.RemoveCustomer(ctx, brand, c.ID))
			}
		case 7:
			_, err := db.CreateAPIKey(ctx, APIKey{Scopes: []Scope{ScopeIssue}, Brands: []string{brand}, Note: name,
				Rate: 0.25 * float64(1+r.IntN(9)), Burst: 1 + r.IntN(5)})
			must(err)
		case 8:
			must(db.RevokeTicket(ctx, brand, pick("", "acme"), token.ID{byte(r.IntN(256))}))
		case 9:
			must(db.AddAdministrator(ctx, Administrator{Username: name, Role: RoleAdmin, AllBrands: true, Active: yes()}))
		case 10:
			_, _, err := db.ResolveCustomer(ctx, brand, Customer{UniqueID: name, FirstName: "F"},
				Redemption{Ticket: token.ID{byte(r.IntN(256))}.String(), Expires: start.Add(time.Hour), Override: true})
			must(err)
		case 11:
			_, err := db.UpdateBrand(ctx, brand, func(b *Brand) error { b.SessionsSince = start; return nil })
			must(err)
		}
	}
	if yes() {
		must(db.RemoveBrand(ctx, brands[0], true))
	}
}

// A directory by chance goes from any kind of database to any other and back, and is the same.
func TestSaveAndLoad(t *testing.T) {
	for i, from := range both {
		for j, to := range both {
			t.Run(from.name+" "+to.name, func(t *testing.T) {
				t.Parallel()
				for seed := range uint64(3) {
					seed += 10 * uint64(2*i+j)
					db := from.empty(t)
					fill(t, db, rand.New(rand.NewPCG(1, seed)))
					first := saved(t, db, SaveOptions{})
					other := to.empty(t)
					did, err := other.Load(t.Context(), strings.NewReader(first), LoadOptions{ID: "x", KeepSessions: true})
					require.NoError(t, err)
					assert.Equal(t, start, did.At)
					assert.EqualValues(t, strings.Count("\n"+first, "\n["), did.Rows)
					again := saved(t, other, SaveOptions{})
					require.Empty(t, strings.Join(differing(contents(first), contents(again)), ""), "seed %d", seed)
					id, err := other.ID(t.Context())
					require.NoError(t, err)
					assert.Equal(t, "x", id)
					require.NoError(t, other.AddBrand(t.Context(), Brand{Name: "new"}), "triggers and numbers go on")
					_, err = other.AddCustomer(t.Context(), Customer{Brand: "new", UniqueID: "u"})
					require.NoError(t, err)
				}
			})
		}
	}
}

// Without events, the trail and the services' marks in it are left out.
func TestSaveWithoutEvents(t *testing.T) {
	t.Parallel()
	db := sqliteFile.withBrands(t, "a")
	_, err := db.StartRecorder(t.Context(), "r")
	require.NoError(t, err)
	stream := saved(t, db, SaveOptions{WithoutEvents: true})
	assert.NotContains(t, stream, `{"table":"event"`)
	assert.NotContains(t, stream, `{"table":"recorder"`)
	assert.Contains(t, saved(t, db, SaveOptions{}), "brand.add")
	other := sqliteFile.empty(t)
	_, err = other.Load(t.Context(), strings.NewReader(stream), LoadOptions{ID: "x", KeepSessions: true})
	assert.ErrorContains(t, err, "a service was running")
	_, err = other.Load(t.Context(), strings.NewReader(stream), LoadOptions{ID: "x"})
	assert.NoError(t, err)
}

// A stream that was cut or altered changes nothing.
func TestLoadDamaged(t *testing.T) {
	if testing.Short() {
		t.Skip("much work in one goroutine")
	}
	onBoth(t, func(t *testing.T, d database) {
		from := sqliteFile.withBrands(t, "a", "b")
		require.NoError(t, from.AddAgent(t.Context(), Agent{Brand: "a", Username: "u", Active: true}))
		stream := saved(t, from, SaveOptions{})
		lines := slices.Collect(strings.Lines(stream))
		to := d.empty(t)
		refused := func(text, what string) {
			t.Helper()
			_, err := to.Load(t.Context(), strings.NewReader(text), LoadOptions{ID: "x"})
			require.Error(t, err, what)
		}
		for i := range lines {
			refused(strings.Join(lines[:i], ""), fmt.Sprintf("cut before line %d", i))
			refused(strings.Join(slices.Delete(slices.Clone(lines), i, i+1), ""), fmt.Sprintf("without line %d", i))
		}
		refused(stream[:len(stream)-1], "without the last byte")
		refused(stream+"\n", "with a line behind")
		refused(strings.Replace(stream, `"b"`, `"c"`, 1), "altered")
		refused(strings.Replace(stream, `"agent"`, `"agent; DROP TABLE brand"`, 1), "another table")
		refused(strings.Replace(stream, `"name",`, `"nam",`, 1), "another column")
		refused(strings.Repeat("x", 5<<20), "no stream")
		broken := errors.New("broken pipe")
		_, err := to.Load(t.Context(), io.MultiReader(strings.NewReader(lines[0]), errorReader{broken}), LoadOptions{ID: "x"})
		require.ErrorIs(t, err, broken)
		assert.Zero(t, count(t, to, `SELECT count(*) FROM brand`))
		assert.Zero(t, count(t, to, `SELECT count(*) FROM event`))
		_, err = to.Load(t.Context(), strings.NewReader(stream), LoadOptions{ID: "x"})
		require.NoError(t, err, "nothing is left over")
		_, err = to.Load(t.Context(), strings.NewReader(stream), LoadOptions{ID: "y"})
		require.ErrorIs(t, err, ErrNotEmpty)
	})
}

type errorReader struct{ err error }

func (r errorReader) Read([]byte) (int, error) { return 0, r.err }

// After a load, tickets, sessions and links of before are over, also in a brand that the
// stream does not have, and no number is given again.
func TestLoadBeginsAnew(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		from := d.withBrands(t, "a")
		require.NoError(t, from.AddAdministrator(ctx,
			Administrator{Username: "root", Role: RoleAdmin, AllBrands: true, Active: true}))
		before, err := from.Administrator(ctx, "root")
		require.NoError(t, err)
		c, err := from.AddCustomer(ctx, Customer{Brand: "a", UniqueID: "u"})
		require.NoError(t, err)
		stream := saved(t, from, SaveOptions{})

		to := d.empty(t)
		later := start.Add(time.Hour)
		to.now = func() time.Time { return later }
		_, err = to.Load(ctx, strings.NewReader(stream), LoadOptions{ID: "x"})
		require.NoError(t, err)
		set, err := to.Effective(ctx, "a", "")
		require.NoError(t, err)
		assert.Equal(t, later, set.TicketsSince)
		assert.Equal(t, later, set.SessionsSince)
		restored, err := from.Restored(ctx)
		require.NoError(t, err)
		assert.Zero(t, restored)
		restored, err = to.Restored(ctx)
		require.NoError(t, err)
		assert.Equal(t, later, restored)
		after, err := to.Administrator(ctx, "root")
		require.NoError(t, err)
		assert.NotEqual(t, before.RecordID, after.RecordID)
		another, err := to.AddCustomer(ctx, Customer{Brand: "a", UniqueID: "v"})
		require.NoError(t, err)
		assert.Equal(t, c.ID+customerGap+1, another.ID)
		require.NoError(t, to.AddBrand(ctx, Brand{Name: "lost"}))
		set, err = to.Effective(ctx, "lost", "")
		require.NoError(t, err)
		assert.Equal(t, later, set.TicketsSince)
		last, err := to.LastEvent(ctx)
		require.NoError(t, err)
		assert.Greater(t, last, int64(eventGap))
	})
}

// With a clock that is behind, a load would let in tickets that were used. Times since when
// tickets count never go back.
func TestLoadWithClockBehind(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		ctx := t.Context()
		from := d.withBrands(t, "a", "b")
		ahead := start.Add(2 * time.Hour)
		_, err := from.UpdateBrand(ctx, "a", func(b *Brand) error { b.SessionsSince = ahead; return nil })
		require.NoError(t, err)
		old := saved(t, from, SaveOptions{})
		from.now = func() time.Time { return start.Add(time.Hour) }
		require.NoError(t, from.AddBrand(ctx, Brand{Name: "c"}))
		from.now = func() time.Time { return start }
		stream := saved(t, from, SaveOptions{})

		to := d.empty(t)
		to.now = func() time.Time { return start.Add(-time.Second) }
		_, err = to.Load(ctx, strings.NewReader(old), LoadOptions{ID: "x"})
		require.ErrorContains(t, err, "set the clock right", "before it was saved")
		to.now = func() time.Time { return start.Add(time.Minute) }
		_, err = to.Load(ctx, strings.NewReader(stream), LoadOptions{ID: "x"})
		require.ErrorContains(t, err, "set the clock right", "before the newest event")
		_, err = to.Load(ctx, strings.NewReader(old), LoadOptions{ID: "x"})
		require.NoError(t, err)
		for brand, want := range map[string]time.Time{"a": ahead, "b": start.Add(time.Minute)} {
			set, err := to.Effective(ctx, brand, "")
			require.NoError(t, err)
			assert.Equal(t, want, set.SessionsSince, brand)
			assert.Equal(t, start.Add(time.Minute), set.TicketsSince, brand)
		}
	})
}

// Save writes no line that Load refuses.
func TestSaveWritesNoLongLine(t *testing.T) {
	t.Parallel()
	s := newStreamWriter(io.Discard, nil)
	s.line([]any{strings.Repeat("x", maxLine-5)})
	require.NoError(t, s.err)
	s.line([]any{strings.Repeat("x", maxLine-4)})
	require.ErrorContains(t, s.err, "a row has")
}

// A stream has one moment of the directory, whoever changes it meanwhile.
func TestSaveIsOfOneMoment(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		db := d.withBrands(t, "a")
		require.NoError(t, inTx(t.Context(), db.write, func(ctx context.Context, tx *change) (err error) {
			tx.silent = true
			for i := 0; i < 2*progressStep && err == nil; i++ {
				_, err = exec(ctx, tx, `INSERT INTO departed (brand, kind, name, since) VALUES ('a', 'agent', $1, 1)`, fmt.Sprint(i))
			}
			return err
		}))
		var b bytes.Buffer
		changed := 0
		_, err := db.Save(t.Context(), &b, SaveOptions{Progress: func(int64) {
			changed++
			assert.NoError(t, db.AddAdministrator(t.Context(),
				Administrator{Username: fmt.Sprint("x", changed), Role: RoleAdmin, AllBrands: true}))
		}})
		require.NoError(t, err)
		assert.Positive(t, changed)
		assert.NotContains(t, b.String(), "administrator.add")
		assert.NotContains(t, b.String(), `"admin"`)
	})
}

// Every table is saved, or named here with the reason why not.
func TestEveryTableIsSaved(t *testing.T) {
	t.Parallel()
	left := []string{
		"directory_state",   // a loaded directory is another one
		"directory_version", // of the program
	}
	script, err := os.ReadFile("migrations/sqlite/00001_directory.sql")
	require.NoError(t, err)
	var names []string
	for line := range strings.Lines(string(script)) {
		if name, ok := strings.CutPrefix(line, "CREATE TABLE "); ok {
			names = append(names, strings.TrimSuffix(strings.TrimSpace(name), " ("))
		}
	}
	for _, name := range names {
		assert.NotEqual(t, slices.Contains(savedTables, name), slices.Contains(left, name), name)
	}
	assert.Subset(t, names, savedTables)
	for _, name := range sequences {
		assert.Contains(t, string(script), "CREATE TABLE "+name)
	}
	assert.Equal(t, len(sequences), strings.Count(string(script), "AUTOINCREMENT"))
}
