package directory

import (
	"bytes"
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// start is the time that the directories of these tests believe it is.
var start = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// open opens the directory in the file and closes it when the test ends.
func open(t *testing.T, file string) *DB {
	t.Helper()
	db, err := Open(t.Context(), file)
	require.NoError(t, err)
	db.now = func() time.Time { return start }
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	return db
}

// fresh opens an empty directory.
func fresh(t *testing.T) *DB {
	t.Helper()
	return open(t, filepath.Join(t.TempDir(), "directory.db"))
}

// withBrands opens a directory that has these brands and nothing else.
func withBrands(t *testing.T, names ...string) *DB {
	t.Helper()
	db := fresh(t)
	for _, name := range names {
		require.NoError(t, db.PutBrand(t.Context(), Brand{Name: name, TicketLogin: true}))
	}
	return db
}

// count is the number that the query counts.
func count(t *testing.T, db *DB, query string, args ...any) int {
	t.Helper()
	var n int
	require.NoError(t, db.read.QueryRowContext(t.Context(), query, args...).Scan(&n))
	return n
}

func TestOpenSettings(t *testing.T) {
	db := fresh(t)
	for pool, settings := range map[*sql.DB]map[string]string{
		db.write: {"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "busy_timeout": "5000", "query_only": "0"},
		db.read:  {"journal_mode": "wal", "foreign_keys": "1", "busy_timeout": "5000", "query_only": "1"},
	} {
		for name, want := range settings {
			var got string
			require.NoError(t, pool.QueryRowContext(t.Context(), "PRAGMA "+name).Scan(&got))
			assert.Equal(t, want, got, name)
		}
	}
	assert.Equal(t, 1, db.write.Stats().MaxOpenConnections, "one writer")
	_, err := db.read.ExecContext(t.Context(), `DELETE FROM brand`)
	assert.ErrorContains(t, err, "readonly")
	assert.NoError(t, db.Ping(t.Context()))
}

func TestOpenFileMode(t *testing.T) {
	modes := func(t *testing.T, file string) (modes []os.FileMode) {
		for _, suffix := range []string{"", "-wal", "-shm"} {
			info, err := os.Stat(file + suffix)
			require.NoError(t, err)
			modes = append(modes, info.Mode().Perm())
		}
		return modes
	}
	want := []os.FileMode{0o600, 0o600, 0o600}

	t.Run("new", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "d.db")
		open(t, file)
		assert.Equal(t, want, modes(t, file))
	})
	t.Run("wider", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "d.db")
		require.NoError(t, open(t, file).Close())
		require.NoError(t, os.Chmod(file, 0o664))
		require.NoError(t, os.WriteFile(file+"-wal", nil, 0o644))
		open(t, file)
		assert.Equal(t, want, modes(t, file))
	})
	t.Run("narrower stays", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "d.db")
		require.NoError(t, open(t, file).Close())
		require.NoError(t, os.Chmod(file, 0o400))
		_, err := prepareFile(file)
		require.NoError(t, err)
		info, err := os.Stat(file)
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o400), info.Mode().Perm())
	})
}

func TestOpenFileNames(t *testing.T) {
	for _, name := range []string{"a b.db", "50%.db", "%41.db", "what?mode=ro", "x#y.db", "ä.db", ":memory:", "file:x.db", "a&_query_only=1"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, name)
			db := open(t, file)
			require.NoError(t, db.PutBrand(t.Context(), Brand{Name: "acme"}))
			entries, err := os.ReadDir(dir)
			require.NoError(t, err)
			var names []string
			for _, e := range entries {
				names = append(names, e.Name())
			}
			assert.ElementsMatch(t, []string{name, name + "-wal", name + "-shm"}, names)
		})
	}
	t.Run("relative", func(t *testing.T) {
		t.Chdir(t.TempDir())
		open(t, "file:d.db")
		assert.FileExists(t, "file:d.db")
	})
	t.Run("link", func(t *testing.T) {
		dir := t.TempDir()
		require.NoError(t, os.Mkdir(filepath.Join(dir, "real"), 0o700))
		file := filepath.Join(dir, "real", "d.db")
		require.NoError(t, open(t, file).Close())
		link := filepath.Join(dir, "link.db")
		require.NoError(t, os.Symlink(file, link))
		open(t, link)
		assert.FileExists(t, file+"-wal")
		assert.NoFileExists(t, link+"-wal")
	})
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		file := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
		return file
	}
	newer := filepath.Join(dir, "newer.db")
	db := open(t, newer)
	_, err := db.write.ExecContext(t.Context(), `INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, 1)`)
	require.NoError(t, err)
	require.NoError(t, db.Close())
	half := filepath.Join(dir, "half.db")
	require.NoError(t, open(t, half).Close())
	require.NoError(t, os.Truncate(half, 4096))
	link := filepath.Join(dir, "dangling.db")
	require.NoError(t, os.Symlink(filepath.Join(dir, "nowhere"), link))

	for name, c := range map[string]struct{ file, want string }{
		"no name":           {"", "no file name"},
		"no folder":         {filepath.Join(dir, "none", "d.db"), "no such file"},
		"folder":            {dir, "not a regular file"},
		"dangling link":     {link, "no such file"},
		"other file":        {write("other", strings.Repeat("not a database ", 1000)), "not a database"},
		"truncated":         {half, "malformed"},
		"newer schema":      {newer, "run the newer program"},
		"somebody's tables": {foreign(t, dir), "already exists"},
	} {
		t.Run(name, func(t *testing.T) {
			db, err := Open(t.Context(), c.file)
			require.ErrorContains(t, err, c.want)
			assert.Nil(t, db)
		})
	}
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := Open(ctx, filepath.Join(dir, "cancelled.db"))
		assert.ErrorIs(t, err, context.Canceled)
	})
}

// foreign makes a database of another program that has a table brand.
func foreign(t *testing.T, dir string) string {
	t.Helper()
	file := filepath.Join(dir, "foreign.db")
	pool, err := sql.Open("sqlite", file)
	require.NoError(t, err)
	_, err = pool.ExecContext(t.Context(), `CREATE TABLE brand (x TEXT)`)
	require.NoError(t, err)
	require.NoError(t, pool.Close())
	return file
}

func TestMigrateFromEmptyAndAgain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "d.db")
	schema := func(db *DB) (all []string) {
		rows, err := db.read.QueryContext(t.Context(), `SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name`)
		require.NoError(t, err)
		defer rows.Close()
		for rows.Next() {
			var s string
			require.NoError(t, rows.Scan(&s))
			all = append(all, s)
		}
		require.NoError(t, rows.Err())
		return all
	}
	db := open(t, file)
	first := schema(db)
	for _, table := range []string{"brand", "agent", "channel", "customer", "api_key"} {
		assert.Contains(t, strings.Join(first, "\n"), "CREATE TABLE "+table+" (")
	}
	require.NoError(t, db.Close())
	for range 3 {
		db := open(t, file)
		assert.Equal(t, first, schema(db))
		assert.Equal(t, 1, count(t, db, `SELECT count(*) FROM goose_db_version WHERE version_id = 1`))
		require.NoError(t, db.Close())
	}
}

func TestOpenConcurrently(t *testing.T) {
	file := filepath.Join(t.TempDir(), "d.db")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			db, err := Open(t.Context(), file)
			if assert.NoError(t, err) {
				assert.NoError(t, db.Ping(t.Context()))
				assert.NoError(t, db.Close())
			}
		})
	}
	wg.Wait()
	assert.Equal(t, 1, count(t, open(t, file), `SELECT count(*) FROM goose_db_version WHERE version_id = 1`))
}

func TestOpenWaitsForALock(t *testing.T) {
	file := filepath.Join(t.TempDir(), "d.db")
	other, err := sql.Open("sqlite", file)
	require.NoError(t, err)
	defer other.Close()
	other.SetMaxOpenConns(1)
	_, err = other.ExecContext(t.Context(), `BEGIN EXCLUSIVE`)
	require.NoError(t, err)

	opened := make(chan error)
	go func() {
		db, err := Open(t.Context(), file)
		if err == nil {
			err = db.Close()
		}
		opened <- err
	}()
	_, err = other.ExecContext(t.Context(), `COMMIT`)
	require.NoError(t, err)
	assert.NoError(t, <-opened)
}

func TestReopenKeepsEverything(t *testing.T) {
	ctx := t.Context()
	file := filepath.Join(t.TempDir(), "d.db")
	db := open(t, file)
	brand := Brand{Name: "acme", Region: "GB", TicketLogin: true, RequiredAgentFields: []string{"email"}}
	agent := Agent{Brand: "acme", Username: "ann", Email: "ann@example.com", Active: true}
	channel := Channel{Brand: "acme", ID: "sales", Name: "Sales"}
	require.NoError(t, db.PutBrand(ctx, brand))
	require.NoError(t, db.PutAgent(ctx, agent))
	require.NoError(t, db.PutChannel(ctx, channel))
	customer, created, err := db.ResolveCustomer(ctx, "acme", Customer{Email: "bob@example.com"}, false)
	require.NoError(t, err)
	require.True(t, created)
	bearer, err := db.CreateAPIKey(ctx, APIKey{Scopes: []Scope{ScopeIssue}})
	require.NoError(t, err)
	require.NoError(t, db.Close())

	db = open(t, file)
	gotBrand, err := db.Brand(ctx, "acme")
	require.NoError(t, err)
	assert.Equal(t, brand, gotBrand)
	gotAgent, err := db.Agent(ctx, "acme", "ann")
	require.NoError(t, err)
	assert.Equal(t, agent, gotAgent)
	gotChannel, err := db.Channel(ctx, "acme", "sales")
	require.NoError(t, err)
	assert.Equal(t, channel, gotChannel)
	gotCustomer, created, err := db.ResolveCustomer(ctx, "acme", Customer{Email: "bob@example.com"}, false)
	require.NoError(t, err)
	assert.False(t, created)
	assert.Equal(t, customer, gotCustomer)
	_, err = db.Authenticate(ctx, bearer, start)
	assert.NoError(t, err)
}

// everyCall makes one call of every method and hands its error to check.
func everyCall(ctx context.Context, db *DB, bearer string, check func(name string, err error)) {
	check("Ping", db.Ping(ctx))
	check("PutBrand", db.PutBrand(ctx, Brand{Name: "acme"}))
	_, err := db.Brand(ctx, "acme")
	check("Brand", err)
	_, err = db.Brands(ctx)
	check("Brands", err)
	check("PutAgent", db.PutAgent(ctx, Agent{Brand: "acme", Username: "ann"}))
	_, err = db.Agent(ctx, "acme", "ann")
	check("Agent", err)
	_, err = db.MatchAgent(ctx, "acme", "ann", Fields{})
	check("MatchAgent", err)
	check("PutChannel", db.PutChannel(ctx, Channel{Brand: "acme", ID: "sales"}))
	_, err = db.Channel(ctx, "acme", "sales")
	check("Channel", err)
	_, _, err = db.ResolveCustomer(ctx, "acme", Customer{UniqueID: "1"}, false)
	check("ResolveCustomer", err)
	_, _, err = db.ResolveCustomer(ctx, "acme", Customer{UniqueID: "1"}, true)
	check("ResolveCustomer, override", err)
	_, err = db.CreateAPIKey(ctx, APIKey{Scopes: []Scope{ScopeIssue}})
	check("CreateAPIKey", err)
	check("RevokeAPIKey", db.RevokeAPIKey(ctx, "aaaaaaaaaa"))
	_, err = db.Authenticate(ctx, bearer, start)
	check("Authenticate", err)
}

// Being unable to answer is neither "not found" nor "not accepted".
func TestOutageIsItsOwnError(t *testing.T) {
	isOutage := func(t *testing.T) func(string, error) {
		return func(name string, err error) {
			assert.Error(t, err, name)
			assert.NotErrorIs(t, err, ErrNotFound, name)
			var auth *AuthError
			assert.NotErrorAs(t, err, &auth, name)
		}
	}
	prepare := func(t *testing.T) (*DB, string) {
		db := withBrands(t, "acme")
		require.NoError(t, db.PutAgent(t.Context(), Agent{Brand: "acme", Username: "ann", Active: true}))
		bearer, err := db.CreateAPIKey(t.Context(), APIKey{Scopes: []Scope{ScopeIssue}})
		require.NoError(t, err)
		return db, bearer
	}
	t.Run("closed", func(t *testing.T) {
		db, bearer := prepare(t)
		require.NoError(t, db.Close())
		require.NoError(t, db.Close(), "again")
		everyCall(t.Context(), db, bearer, isOutage(t))
	})
	t.Run("cancelled", func(t *testing.T) {
		db, bearer := prepare(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		everyCall(ctx, db, bearer, isOutage(t))
	})
	t.Run("tables gone", func(t *testing.T) {
		db, bearer := prepare(t)
		for _, table := range []string{"api_key", "customer", "channel", "agent", "brand"} {
			_, err := db.write.ExecContext(t.Context(), `DROP TABLE `+table)
			require.NoError(t, err)
		}
		everyCall(t.Context(), db, bearer, isOutage(t))
	})
	t.Run("pages overwritten", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "d.db")
		db := open(t, file)
		require.NoError(t, db.PutBrand(t.Context(), Brand{Name: "acme"}))
		damage(t, db, file)
		everyCall(t.Context(), open(t, file), "adm_aaaaaaaaaa_"+strings.Repeat("a", 52), isOutage(t))
	})
}

// damage closes the directory and overwrites the first page of each of its tables
// and indexes, but for those of the schema's version.
func damage(t *testing.T, db *DB, file string) {
	t.Helper()
	pageSize := count(t, db, `PRAGMA page_size`)
	rows, err := db.read.QueryContext(t.Context(), `
		SELECT rootpage FROM sqlite_schema WHERE tbl_name IN ('brand', 'agent', 'channel', 'customer', 'api_key') AND rootpage > 1`)
	require.NoError(t, err)
	defer rows.Close()
	var pages []int
	for rows.Next() {
		var page int
		require.NoError(t, rows.Scan(&page))
		pages = append(pages, page)
	}
	require.NoError(t, rows.Err())
	require.GreaterOrEqual(t, len(pages), 5)
	require.NoError(t, db.Close())
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	for _, page := range pages {
		copy(content[(page-1)*pageSize:], bytes.Repeat([]byte{0xA5}, pageSize))
	}
	require.NoError(t, os.WriteFile(file, content, 0o600))
}

// A list or a hash that was damaged must not turn into a wider permission.
func TestDamagedRowsGiveErrors(t *testing.T) {
	for name, statement := range map[string]string{
		"brands null":     `UPDATE api_key SET brands = 'null'`,
		"brands empty":    `UPDATE api_key SET brands = ''`,
		"brands spaced":   `UPDATE api_key SET brands = '[ ]'`,
		"brands object":   `UPDATE api_key SET brands = '{}'`,
		"scopes not JSON": `UPDATE api_key SET scopes = 'issue'`,
		"hash empty":      `UPDATE api_key SET secret_sha256 = ''`,
		"expiry text":     `UPDATE api_key SET expires = 'never'`,
	} {
		t.Run(name, func(t *testing.T) {
			db := withBrands(t, "acme")
			bearer, err := db.CreateAPIKey(t.Context(), APIKey{Scopes: []Scope{ScopeIssue}, Brands: []string{"acme"}})
			require.NoError(t, err)
			_, err = db.write.ExecContext(t.Context(), statement)
			require.NoError(t, err)
			got, err := db.Authenticate(t.Context(), bearer, start)
			assert.Error(t, err)
			assert.Zero(t, got)
		})
	}
	db := withBrands(t, "acme")
	_, err := db.write.ExecContext(t.Context(), `UPDATE brand SET required_agent_fields = 'null'`)
	require.NoError(t, err)
	_, err = db.Brand(t.Context(), "acme")
	assert.Error(t, err)
	_, err = db.Brands(t.Context())
	assert.Error(t, err)
}

// Whatever brand A holds, no query finds it through brand B.
func TestBrandsAreStrangers(t *testing.T) {
	ctx := t.Context()
	db := withBrands(t, "a", "b")
	require.NoError(t, db.PutAgent(ctx, Agent{Brand: "a", Username: "ann", Email: "ann@example.com", Active: true}))
	require.NoError(t, db.PutChannel(ctx, Channel{Brand: "a", ID: "sales"}))
	person := Customer{Email: "bob@example.com", Phone1: "+442012345678", UniqueID: "7", FirstName: "Bob"}
	ofA, _, err := db.ResolveCustomer(ctx, "a", person, false)
	require.NoError(t, err)
	bearer, err := db.CreateAPIKey(ctx, APIKey{Scopes: []Scope{ScopeIssue}, Brands: []string{"a"}})
	require.NoError(t, err)

	_, err = db.Agent(ctx, "b", "ann")
	assert.ErrorIs(t, err, ErrNotFound)
	_, err = db.MatchAgent(ctx, "b", "ann", Fields{Email: "ann@example.com"})
	assert.ErrorIs(t, err, ErrNotFound)
	_, err = db.Channel(ctx, "b", "sales")
	assert.ErrorIs(t, err, ErrNotFound)
	key, err := db.Authenticate(ctx, bearer, start)
	require.NoError(t, err)
	assert.True(t, key.Allows(ScopeIssue, "a"))
	assert.False(t, key.Allows(ScopeIssue, "b"))

	for _, id := range []Customer{{Email: person.Email}, {Phone1: person.Phone1}, {UniqueID: person.UniqueID}} {
		ofB, created, err := db.ResolveCustomer(ctx, "b", id, true)
		require.NoError(t, err)
		assert.True(t, created)
		assert.NotEqual(t, ofA.ID, ofB.ID)
		assert.Equal(t, "b", ofB.Brand)
		assert.Empty(t, ofB.FirstName)
	}
	again, created, err := db.ResolveCustomer(ctx, "a", person, false)
	require.NoError(t, err)
	assert.False(t, created)
	assert.Equal(t, ofA, again, "what b wrote changed nothing of a's")

	// The same names in b are other records.
	require.NoError(t, db.PutAgent(ctx, Agent{Brand: "b", Username: "ann", Email: "other@example.com"}))
	require.NoError(t, db.PutChannel(ctx, Channel{Brand: "b", ID: "sales", Name: "other"}))
	agent, err := db.Agent(ctx, "a", "ann")
	require.NoError(t, err)
	assert.Equal(t, "ann@example.com", agent.Email)
	channel, err := db.Channel(ctx, "a", "sales")
	require.NoError(t, err)
	assert.Empty(t, channel.Name)
}

func TestStatementsInTextAreText(t *testing.T) {
	ctx := t.Context()
	db := withBrands(t, "bystander")
	for _, s := range []string{
		`'; DROP TABLE brand; --`, `" OR 1=1 --`, `$1`, `?`, `:x`, `@x`, `%`, `_`, `\`, `')`, `null`, `[]`, `x'00'`, "`", `/*`,
		`{"a":1}`, `adm_`, `<script>`, `ą'ß"`,
	} {
		t.Run(s, func(t *testing.T) {
			brand := Brand{Name: s}
			agent := Agent{Brand: s, Username: s, Email: s, UniqueID: s, FirstName: s, LastName: s, Active: true}
			channel := Channel{Brand: s, ID: s, Name: s}
			require.NoError(t, db.PutBrand(ctx, brand))
			require.NoError(t, db.PutAgent(ctx, agent))
			require.NoError(t, db.PutChannel(ctx, channel))
			gotBrand, err := db.Brand(ctx, s)
			require.NoError(t, err)
			assert.Equal(t, brand, gotBrand)
			gotAgent, err := db.MatchAgent(ctx, s, s, Fields{Email: s, UniqueID: s, FirstName: s, LastName: s})
			require.NoError(t, err)
			assert.Equal(t, agent, gotAgent)
			gotChannel, err := db.Channel(ctx, s, s)
			require.NoError(t, err)
			assert.Equal(t, channel, gotChannel)
			given := Customer{Brand: s, Email: s, UniqueID: s, FirstName: s, LastName: s, Remark: s}
			first, created, err := db.ResolveCustomer(ctx, s, given, true)
			require.NoError(t, err)
			assert.True(t, created)
			given.ID, given.Created, given.Updated = first.ID, start, start
			assert.Equal(t, given, first)
			again, created, err := db.ResolveCustomer(ctx, s, Customer{Email: s}, false)
			require.NoError(t, err)
			assert.False(t, created)
			assert.Equal(t, first, again)
			bearer, err := db.CreateAPIKey(ctx, APIKey{Scopes: []Scope{ScopeIssue}, Brands: []string{s}, Note: s})
			require.NoError(t, err)
			key, err := db.Authenticate(ctx, bearer, start)
			require.NoError(t, err)
			assert.Equal(t, []string{s}, key.Brands)
			assert.Equal(t, s, key.Note)
			_, err = db.Agent(ctx, "bystander", s)
			assert.ErrorIs(t, err, ErrNotFound)
		})
	}
	_, err := db.Brand(ctx, "bystander")
	assert.NoError(t, err)
}

// Text that a record cannot hold is looked up without harm and not found.
func TestLookUpOfImpossibleText(t *testing.T) {
	ctx := t.Context()
	db := withBrands(t, "acme")
	for _, s := range []string{"", "\x00", "acme\x00", "\xff", strings.Repeat("x", 1<<16), "a\nb"} {
		_, err := db.Brand(ctx, s)
		assert.ErrorIs(t, err, ErrNotFound)
		assert.NotContains(t, err.Error(), "\n")
		_, err = db.MatchAgent(ctx, "acme", s, Fields{})
		assert.ErrorIs(t, err, ErrNotFound)
		assert.NotContains(t, err.Error(), "\n")
		_, err = db.Channel(ctx, "acme", s)
		assert.ErrorIs(t, err, ErrNotFound)
	}
}

// fileBytes is all that the directory's files hold.
func fileBytes(t *testing.T, file string) []byte {
	t.Helper()
	var all []byte
	for _, suffix := range []string{"", "-wal", "-shm"} {
		content, err := os.ReadFile(file + suffix)
		if !os.IsNotExist(err) {
			require.NoError(t, err)
		}
		all = append(all, content...)
	}
	return all
}

func TestNoSecretInTheFiles(t *testing.T) {
	ctx := t.Context()
	file := filepath.Join(t.TempDir(), "d.db")
	db := open(t, file)
	var secrets []string
	for range 20 {
		bearer, err := db.CreateAPIKey(ctx, APIKey{Scopes: []Scope{ScopeIssue}})
		require.NoError(t, err)
		_, err = db.Authenticate(ctx, bearer, start)
		require.NoError(t, err)
		id, secret, ok := parseKey(bearer)
		require.True(t, ok)
		require.NoError(t, db.RevokeAPIKey(ctx, id))
		assert.True(t, bytes.Contains(fileBytes(t, file), []byte(id)), "the files are the right ones")
		secrets = append(secrets, secret)
	}
	check := func() {
		all := fileBytes(t, file)
		for _, secret := range secrets {
			raw, err := keyEncoding.DecodeString(secret)
			require.NoError(t, err)
			assert.False(t, bytes.Contains(all, []byte(secret)))
			assert.False(t, bytes.Contains(all, []byte(secret[:16])), "nor a part of it")
			assert.False(t, bytes.Contains(all, raw))
		}
	}
	check()
	require.NoError(t, db.Close())
	check()
}
