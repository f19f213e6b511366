package main

import (
	"database/sql"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"
)

// A replaced is a running service whose directory's file is replaced. The copy was
// made before key and agent were added.
type replaced struct {
	t              *testing.T
	p              *process
	info           demoInfo
	dir, file, old string // data folder, directory's file, copy
	key, agent     string // an API key, and the body of a request for an agent's ticket
}

// execute runs statements on an SQLite file.
func execute(t *testing.T, file string, statements ...string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+file+"?_busy_timeout=60000")
	require.NoError(t, err)
	defer db.Close()
	for _, s := range statements {
		_, err = db.ExecContext(t.Context(), s)
		require.NoError(t, err, s)
	}
}

func newReplaced(t *testing.T) *replaced {
	t.Helper()
	r := &replaced{t: t, dir: filepath.Join(t.TempDir(), "data")}
	r.file, r.old = filepath.Join(r.dir, "admitone.db"), filepath.Join(t.TempDir(), "copy.db")
	r.p, r.info = startDemo(t, "--data", r.dir, "--metrics-listen", "127.0.0.1:0")
	execute(t, r.file, "VACUUM INTO '"+r.old+"'")
	administer(t, "agent", "add", "new", "--brand", "commbox", "--email", "new@example.com", "--data", r.dir)
	r.agent = `{"brand":"commbox","username":"new","email":"new@example.com"}`
	r.key = administer(t, "apikey", "add", "--brands", "commbox", "--data", r.dir)
	assert.Equal(t, http.StatusOK, r.status(r.key, r.agent))
	return r
}

func (r *replaced) status(key, body string) int {
	status, _ := statusOf(r.t, r.info, key, body)
	return status
}

// sees waits until the service no longer accepts what the copy does not have. From then
// on it must never do so again.
func (r *replaced) sees() {
	r.t.Helper()
	require.Eventually(r.t, func() bool { return r.status(r.key, r.agent) != http.StatusOK }, time.Minute,
		5*time.Millisecond)
	r.p.logs("the directory's old file is closed") // SQLite may mix the two until then
	r.refuses()
}

// refuses checks that the service and the commands do not know what the copy does not have.
func (r *replaced) refuses() {
	r.t.Helper()
	unavailable := http.StatusServiceUnavailable
	assert.Contains(r.t, []int{http.StatusUnauthorized, unavailable}, r.status(r.key, r.info.request(true)))
	assert.Contains(r.t, []int{http.StatusNotFound, unavailable}, r.status(r.info.APIKey, r.agent))
	show := start(r.t, "agent", "show", "new", "--brand", "commbox", "--data", r.dir)
	assert.NotEqual(r.t, exitOK, show.wait())
}

// works waits until the service works with the copy: with its records, and with changes
// by commands.
func (r *replaced) works() {
	r.t.Helper()
	require.Eventually(r.t, func() bool { return r.status(r.info.APIKey, r.info.request(true)) == http.StatusOK },
		time.Minute, 5*time.Millisecond, r.p.stderr.String())
	require.Eventually(r.t, func() bool { return get(r.t, r.info.URL+"/readyz") == http.StatusOK }, time.Minute,
		20*time.Millisecond)
	assert.Equal(r.t, http.StatusUnauthorized, r.status(r.key, r.info.request(true)))
	r.refuses()
	administer(r.t, "agent", "add", "later", "--brand", "commbox", "--email", "later@example.com", "--data", r.dir)
	later := `{"brand":"commbox","username":"later","email":"later@example.com"}`
	assert.Equal(r.t, http.StatusOK, r.status(r.info.APIKey, later))
	r.p.logs("the new file is in use")
	assert.Equal(r.t, 0, r.p.end(syscall.SIGTERM))
	assert.Equal(r.t, exitOK, start(r.t, "agent", "show", "later", "--brand", "commbox", "--data", r.dir).wait())
}

// stops waits until the service says everywhere that it has no directory.
func (r *replaced) stops(reason string) {
	r.t.Helper()
	r.sees()
	r.p.logs(reason)
	assert.Equal(r.t, http.StatusServiceUnavailable, r.status(r.info.APIKey, r.info.request(true)))
	require.Eventually(r.t, func() bool {
		status, body := fetch(r.t, r.info.URL+"/readyz")
		return status == http.StatusServiceUnavailable && body == "not ready: directory\n"
	}, time.Minute, 20*time.Millisecond)
	_, metrics := fetch(r.t, r.p.scrapeURL())
	assert.Contains(r.t, metrics, "ticketd_directory_up 0\n")
}

func (r *replaced) move(from, to string) {
	r.t.Helper()
	require.NoError(r.t, os.Rename(from, to))
}

// copyOver writes the contents of a file over another file, which stays the same file.
func (r *replaced) copyOver(from, to string) {
	r.t.Helper()
	content, err := os.ReadFile(from)
	require.NoError(r.t, err)
	require.NoError(r.t, os.WriteFile(to, content, 0o600))
}

// walStays lets a reader keep the WAL from being written into the file, and makes sure
// that something is in the WAL. The function that it returns ends the reader.
func (r *replaced) walStays() func() {
	r.t.Helper()
	db, err := sql.Open("sqlite", "file:"+r.file+"?mode=ro")
	require.NoError(r.t, err)
	tx, err := db.BeginTx(r.t.Context(), nil)
	require.NoError(r.t, err)
	var n int
	require.NoError(r.t, tx.QueryRow("SELECT count(*) FROM brand").Scan(&n))
	administer(r.t, "agent", "set", "new", "--brand", "commbox", "--first-name", "New", "--data", r.dir)
	info, err := os.Stat(r.file + "-wal")
	require.NoError(r.t, err)
	require.NotZero(r.t, info.Size())
	return func() { _, _ = tx.Rollback(), db.Close() }
}

// The directory's file is replaced under a running service, in each way that people do
// it. The service notices, and accepts nothing that the new file does not have.
//
// trap R38
func TestDirectoryReplaced(t *testing.T) {
	t.Parallel()
	for name, replace := range map[string]func(r *replaced){
		"another file in its place": func(r *replaced) {
			r.move(r.old, r.file)
			r.sees()
			r.works()
		},
		"another file in its place, the old one kept": func(r *replaced) {
			kept := filepath.Join(t.TempDir(), "kept.db")
			r.move(r.file, kept)
			r.move(r.old, r.file)
			r.sees()
			r.works()
			db, err := sql.Open("sqlite", kept)
			require.NoError(t, err)
			defer db.Close()
			var n int
			require.NoError(t, db.QueryRow("SELECT count(*) FROM agent WHERE username = 'new'").Scan(&n))
			assert.Equal(t, 1, n, "the old file is whole")
		},
		"another file in its place, beside a full WAL": func(r *replaced) {
			defer r.walStays()()
			r.move(r.old, r.file)
			r.sees()
			r.works()
		},
		"copied over": func(r *replaced) {
			r.settled()
			r.copyOver(r.old, r.file)
			r.sees()
			r.works()
		},
		"copied over, beside a full WAL": func(r *replaced) {
			end := r.walStays()
			r.copyOver(r.old, r.file)
			end()
			r.sees()
			r.works()
			assert.FileExists(t, r.file+"-wal.replaced")
		},
		"removed": func(r *replaced) {
			require.NoError(t, os.Remove(r.file))
			r.stops("the file is gone")
			r.copyOver(r.old, r.file)
			r.works()
		},
		"folder replaced": func(r *replaced) {
			r.move(r.dir, r.dir+".before")
			require.NoError(t, os.CopyFS(r.dir, os.DirFS(r.dir+".before")))
			for _, suffix := range []string{"", "-wal", "-shm"} {
				require.NoError(t, os.Remove(r.file+suffix))
			}
			r.copyOver(r.old, r.file)
			r.sees()
			r.works()
		},
		"folder gone": func(r *replaced) {
			r.move(r.dir, r.dir+".before")
			r.stops("the file is gone")
			r.move(r.dir+".before", r.dir)
			r.move(r.old, r.file)
			r.works()
		},
		"no database": func(r *replaced) {
			other := filepath.Join(r.dir, "other")
			require.NoError(t, os.WriteFile(other, []byte(strings.Repeat("not a database ", 1000)), 0o600))
			r.move(other, r.file)
			r.stops("not a database")
			r.move(r.old, r.file)
			r.works()
		},
		"another database": func(r *replaced) {
			other := filepath.Join(r.dir, "other")
			execute(t, other, "CREATE TABLE agent (x TEXT)")
			r.move(other, r.file)
			r.stops("the file has no directory")
			r.move(r.old, r.file)
			r.works()
		},
		"another schema": func(r *replaced) {
			other := filepath.Join(r.dir, "other")
			r.copyOver(r.old, other)
			execute(t, other, "INSERT INTO directory_version (version_id, is_applied) VALUES (99, 1)")
			r.move(other, r.file)
			r.stops("the schema has version 99")
			r.move(r.old, r.file)
			r.works()
		},
		"empty": func(r *replaced) {
			require.NoError(t, os.Truncate(r.file, 0))
			r.stops("the file is empty")
			r.move(r.old, r.file)
			r.works()
		},
		"torn": func(r *replaced) {
			other := filepath.Join(r.dir, "other")
			r.copyOver(r.old, other)
			require.NoError(t, os.Truncate(other, 20*4096))
			r.move(other, r.file)
			r.stops("malformed")
			r.move(r.old, r.file)
			r.works()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newReplaced(t)
			replace(r)
		})
	}
}

// settled waits until the file has all changes, and the WAL none.
func (r *replaced) settled() {
	r.t.Helper()
	require.Eventually(r.t, func() bool {
		info, err := os.Stat(r.file + "-wal")
		return err == nil && info.Size() == 0
	}, time.Minute, 10*time.Millisecond)
}

// What is no replacement leaves the service as it is: a copy is read, the file's times
// change, and somebody else works on the file and writes its WAL.
//
// trap R38
func TestDirectoryNotReplaced(t *testing.T) {
	t.Parallel()
	r := newReplaced(t)
	now := time.Now()
	for range 3 {
		require.NoError(t, os.Chtimes(r.file, now, now.Add(-time.Hour)))
		require.NoError(t, os.Chmod(r.file, 0o600))
		execute(t, r.file, "UPDATE agent SET first_name = first_name", "PRAGMA wal_checkpoint(PASSIVE)")
		assert.Equal(t, http.StatusOK, r.status(r.key, r.agent))
		r.settled()
		assert.Equal(t, http.StatusOK, r.status(r.key, r.agent))
	}
	assert.Equal(t, 0, r.p.end(syscall.SIGTERM))
	assert.NotContains(t, r.p.stderr.String(), "replaced")
	assert.NoFileExists(t, r.file+"-wal")
}
