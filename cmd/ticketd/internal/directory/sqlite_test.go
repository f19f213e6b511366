package directory

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestOpenSettings(t *testing.T) {
	db := sqliteFile.empty(t)
	for pool, settings := range map[*pool]map[string]string{
		db.write: {"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "busy_timeout": "10000",
			"query_only": "0"},
		db.read: {"journal_mode": "wal", "foreign_keys": "1", "busy_timeout": "10000", "query_only": "1"},
	} {
		for name, want := range settings {
			var got string
			require.NoError(t, pool.sql().QueryRowContext(t.Context(), "PRAGMA "+name).Scan(&got))
			assert.Equal(t, want, got, name)
		}
	}
	assert.Equal(t, 1, db.write.sql().Stats().MaxOpenConnections, "one writer")
	_, err := db.read.ExecContext(t.Context(), `DELETE FROM brand`)
	assert.ErrorContains(t, err, "readonly")
	assert.NoError(t, db.Ping(t.Context()))
}

// Who has waited for another process in vain is told what to do.
func TestLockedByAnother(t *testing.T) {
	file := filepath.Join(t.TempDir(), "d.db")
	db, other := open(t, file), open(t, file)
	require.NoError(t, db.AddBrand(t.Context(), Brand{Name: "acme"}))
	do(t, db, "PRAGMA busy_timeout = 0")
	tx, err := other.write.BeginTx(t.Context())
	require.NoError(t, err)
	_, err = tx.ExecContext(t.Context(), `UPDATE brand SET revision = revision + 1`)
	require.NoError(t, err)
	assert.ErrorContains(t, db.AddBrand(t.Context(), Brand{Name: "other"}), "try again when that process has ended")
	_, err = db.Brand(t.Context(), "acme")
	assert.NoError(t, err, "readers do not wait")
	require.NoError(t, tx.Rollback())
	assert.NoError(t, db.AddBrand(t.Context(), Brand{Name: "other"}))
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
		require.NoError(t, narrowModes(file))
		info, err := os.Stat(file)
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o400), info.Mode().Perm())
	})
}

// A file that was named by mistake, such as /etc/passwd by root, stays as it is.
func TestOpenLeavesOthersFiles(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	require.NoError(t, os.WriteFile(text, []byte(strings.Repeat("not a database ", 1000)), 0o644))
	for _, file := range []string{text, foreign(t, dir)} {
		require.NoError(t, os.Chmod(file, 0o644))
		_, err := Open(t.Context(), file)
		require.Error(t, err)
		info, err := os.Stat(file)
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o644), info.Mode().Perm(), file)
	}
}

func TestOpenFileNames(t *testing.T) {
	for _, name := range []string{"a b.db", "50%.db", "%41.db", "what?mode=ro", "x#y.db", "ä.db", ":memory:",
		"file:x.db", "a&_query_only=1"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, name)
			db := open(t, file)
			require.NoError(t, db.AddBrand(t.Context(), Brand{Name: "acme"}))
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
		open(t, "./file:d.db")
		assert.FileExists(t, "file:d.db")
		assert.Error(t, Check("file:d.db"), "it may be meant for another database")
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
	_, err := db.write.ExecContext(t.Context(), `INSERT INTO directory_version (version_id, is_applied) VALUES (99, 1)`)
	require.NoError(t, err)
	require.NoError(t, db.Close())
	half := filepath.Join(dir, "half.db")
	require.NoError(t, open(t, half).Close())
	require.NoError(t, os.Truncate(half, 4096))
	link := filepath.Join(dir, "dangling.db")
	require.NoError(t, os.Symlink(filepath.Join(dir, "nowhere"), link))

	for name, c := range map[string]struct{ file, want string }{
		"no name":       {"", "dsn is empty"},
		"no folder":     {filepath.Join(dir, "none", "d.db"), "no such file"},
		"folder":        {dir, "not a regular file"},
		"dangling link": {link, "no such file"},
		"other file": {write("other", strings.Repeat("not a database ", 1000)),
			"file is not a database (26); name the directory's file, or restore it from a copy"},
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

// damage closes the directory and overwrites the first page of each of its tables
// and indexes, but for those of the schema's version.
func damage(t *testing.T, db *DB, file string) {
	t.Helper()
	pageSize := count(t, db, `PRAGMA page_size`)
	rows, err := db.read.QueryContext(t.Context(), `
		SELECT rootpage FROM sqlite_schema WHERE rootpage > 1 AND tbl_name IN ('`+strings.Join(tables, "', '")+`')
		AND tbl_name <> 'directory_state'`)
	require.NoError(t, err)
	defer rows.Close()
	var pages []int
	for rows.Next() {
		var page int
		require.NoError(t, rows.Scan(&page))
		pages = append(pages, page)
	}
	require.NoError(t, rows.Err())
	require.GreaterOrEqual(t, len(pages), len(tables))
	require.NoError(t, db.Close())
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	for _, page := range pages {
		copy(content[(page-1)*pageSize:], bytes.Repeat([]byte{0xA5}, pageSize))
	}
	require.NoError(t, os.WriteFile(file, content, 0o600))
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
		bearer, err := db.CreateAPIKey(ctx, APIKey{Scopes: []Scope{ScopeIssue}, AllBrands: true})
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

// A file whose pages are damaged gives no answers.
func TestDamagedFile(t *testing.T) {
	file := sqliteFile.place(t)
	db := open(t, file)
	require.NoError(t, db.AddBrand(t.Context(), Brand{Name: "acme"}))
	damage(t, db, file)
	outage := isOutage(t)
	everyCall(t.Context(), open(t, file), "adm_aaaaaaaaaa_"+strings.Repeat("a", 52), func(name string, err error) {
		if name != "ID" { // whose page is whole: otherwise the file would not open
			outage(name, err)
		}
	})
}

// OpenAsIs leaves the file's modes.
func TestAsIsKeepsModes(t *testing.T) {
	t.Parallel()
	path := sqliteFile.place(t)
	db := open(t, path)
	require.NoError(t, db.Close())
	plain, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	_, err = plain.ExecContext(t.Context(), `PRAGMA journal_mode = DELETE`)
	require.NoError(t, errors.Join(err, plain.Close()))
	require.NoError(t, os.Chmod(path, 0o640))
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	asIs, err := OpenAsIs(t.Context(), path)
	require.NoError(t, err)
	_, err = asIs.Brands(t.Context(), "", 1)
	require.NoError(t, err)
	require.NoError(t, asIs.Close())
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, before, after)
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o640), info.Mode())
}

// SQLite keeps whatever it is given in a column; what is not a time is no time.
func TestDamagedTime(t *testing.T) {
	db, bearer := sqliteFile.prepared(t)
	do(t, db, `UPDATE api_key SET expires = 'never'`)
	_, err := db.Authenticate(t.Context(), bearer, start)
	isOutage(t)("Authenticate", err)
}
