package directory

import (
	"database/sql"
	"flag"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/internal/servers"
)

func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "6") // most of them wait for disks; the flag -parallel wins
	code := m.Run()
	servers.End()
	os.Exit(code)
}

// start is the time that the directories of these tests believe it is.
var start = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// A database is a kind of database. place returns the dsn of a new, empty one.
type database struct {
	name  string
	place func(t testing.TB) string
}

var (
	sqliteFile     = database{"sqlite", func(t testing.TB) string { return filepath.Join(t.TempDir(), "directory.db") }}
	postgresServer = database{"postgres", func(t testing.TB) string { return servers.Database(t) }}
)

// both are the kinds of database.
var both = []database{sqliteFile, postgresServer}

// onBoth runs the test on both kinds of database, beside other tests.
func onBoth(t *testing.T, f func(t *testing.T, d database)) {
	t.Parallel()
	for _, d := range both {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			f(t, d)
		})
	}
}

// open opens the directory and closes it when the test ends.
func open(t testing.TB, dsn string) *DB {
	t.Helper()
	db, err := Open(t.Context(), dsn)
	require.NoError(t, err)
	db.now = func() time.Time { return start }
	db.cache.interval = 0 // changes of other processes hold at once in these tests
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	return db
}

// empty opens an empty directory.
func (d database) empty(t testing.TB) *DB {
	t.Helper()
	return open(t, d.place(t))
}

// withBrands opens a directory that has these brands and nothing else.
func (d database) withBrands(t testing.TB, names ...string) *DB {
	t.Helper()
	db := d.empty(t)
	for _, name := range names {
		require.NoError(t, db.AddBrand(t.Context(), Brand{Name: name}))
	}
	return db
}

// chosen returns the record with the RecordID and the Revision that the directory chose for
// got. Neither may be empty.
func chosen[T Agent | Brand | Customer | Channel | APIKey](t testing.TB, record, got T) T {
	t.Helper()
	for _, name := range []string{"RecordID", "Revision"} {
		from := reflect.ValueOf(got).FieldByName(name)
		if from.IsValid() {
			assert.NotZero(t, from.Interface(), name)
			reflect.ValueOf(&record).Elem().FieldByName(name).Set(from)
		}
	}
	return record
}

// count is the number that the query counts.
func count(t testing.TB, db *DB, query string, args ...any) int {
	t.Helper()
	n, err := number(t.Context(), db.read, query, args...)
	require.NoError(t, err)
	return n
}

// do runs statements on the database itself.
func do(t testing.TB, db *DB, statements ...string) {
	t.Helper()
	for _, s := range statements {
		_, err := db.write.ExecContext(t.Context(), s)
		require.NoError(t, err, s)
	}
	db.cache.forget()
}

// sql returns the pool of the present connections.
func (p *pool) sql() *sql.DB {
	if c := p.open.Load(); p.writes {
		return c.write
	} else {
		return c.read
	}
}

// with adds a parameter to a dsn of PostgreSQL's.
func with(t testing.TB, dsn, name, value string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	require.NoError(t, err)
	q := u.Query()
	q.Set(name, value)
	u.RawQuery = strings.ReplaceAll(q.Encode(), "+", "%20") // pgx takes a + as it is
	return u.String()
}
