package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/internal/servers"
)

// ran runs a ticketd to its end, and returns its standard output.
func ran(t *testing.T, code int, args ...string) string {
	t.Helper()
	p := start(t, args...)
	out, err := io.ReadAll(p.stdout)
	require.NoError(t, err)
	require.Equal(t, code, p.wait(), p.stderr.String())
	return string(out)
}

// A backup of a service under load is whole. Restored into the other kind of database, it
// admits nobody whom the old service may have admitted, and everybody new.
func TestBackupUnderLoad(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, from, to string }{
		{"sqlite to postgres", "", servers.Database(t)},
		{"postgres to sqlite", servers.Database(t), ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			backupUnderLoad(t, row.from, row.to)
		})
	}
}

func backupUnderLoad(t *testing.T, from, to string) {
	dir, file, listen := t.TempDir(), filepath.Join(t.TempDir(), "backup"), freeAddress(t)
	old := place(dir, from)
	p, info := startDemo(t, append(old, "--listen", listen)...)
	require.Equal(t, 0, p.end(syscall.SIGTERM))
	agents := "username,email\n"
	for i := range 3000 {
		agents += fmt.Sprintf("agent%d,agent%d@example.com\n", i, i)
	}
	csv := filepath.Join(t.TempDir(), "agents.csv")
	require.NoError(t, os.WriteFile(csv, []byte(agents), 0o600))
	ran(t, 0, append([]string{"agent", "import", csv, "--brand", "commbox"}, old...)...)
	serve := append([]string{"serve", "--listen", listen, "--rate-limit", "1e6", "--rate-burst", "1000000"}, old...)
	p = start(t, serve...)
	healthy(t, p, info.URL)

	var stop atomic.Bool
	var issued atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for !stop.Load() {
				if ticket, err := info.tryTicket(info.request(true)); err == nil {
					_, _, err = enter(info.LoginURL, ticket)
					assert.NoError(t, err)
					issued.Add(1)
				}
			}
		})
	}
	unspent, many := info.ticket(t, info.request(true)), info.ticket(t, info.request(false))
	status, res, err := enter(info.LoginURL, many)
	require.NoError(t, err)
	require.Equal(t, http.StatusSeeOther, status)
	cookie := res.Cookies()[0]

	killed := start(t, append([]string{"backup", file + ".killed"}, old...)...)
	appears(t, killed, file+".killed.unfinished")
	require.NoError(t, killed.cmd.Process.Kill())
	killed.wait()

	before := issued.Load()
	var did struct {
		Rows    int64
		Serving bool
	}
	require.NoError(t, json.Unmarshal([]byte(ran(t, 0, append([]string{"backup", file, "--json"}, old...)...)), &did))
	assert.True(t, did.Serving)
	assert.Greater(t, did.Rows, int64(6000))
	require.Eventually(t, func() bool { return issued.Load() > before }, time.Minute, time.Millisecond,
		"it serves meanwhile")
	spent, revoked := info.ticket(t, info.request(true)), info.ticket(t, info.request(false))
	require.Equal(t, http.StatusSeeOther, mustEnter(t, info.LoginURL, spent))
	stop.Store(true)
	wg.Wait()
	require.Equal(t, 0, p.end(syscall.SIGTERM))
	exe, err := os.Executable()
	require.NoError(t, err)
	revoke := exec.Command(exe, append([]string{"ticket", "revoke", "-"}, old...)...)
	revoke.Env, revoke.Stdin = environ(), strings.NewReader(revoked)
	out, err := revoke.CombinedOutput()
	require.NoError(t, err, string(out))

	fresh := t.TempDir()
	require.NoError(t, os.Chmod(fresh, 0o700))
	key, err := os.ReadFile(filepath.Join(dir, "kek.key"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(fresh, "kek.key"), key, 0o600))
	restored := place(fresh, to)
	restoreKilled(t, file, fresh, restored)
	p = start(t, append([]string{"serve", "--listen", listen}, restored...)...)
	healthy(t, p, info.URL)
	for name, ticket := range map[string]string{"spent": spent, "revoked": revoked, "unspent": unspent, "many": many} {
		assert.Equal(t, http.StatusForbidden, mustEnter(t, info.LoginURL, ticket), name)
	}
	p.logs(`cause="the ticket was issued before the directory was restored from a backup"`)
	signedIn := func(c *http.Cookie) int {
		r, err := http.NewRequest(http.MethodGet, info.URL+"/auth/brand/commbox/check", nil)
		require.NoError(t, err)
		r.AddCookie(c)
		res, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		return res.StatusCode
	}
	assert.Equal(t, http.StatusUnauthorized, signedIn(cookie), "the session is over")
	status, res, err = enter(info.LoginURL, info.ticket(t, info.request(true)))
	require.NoError(t, err)
	require.Equal(t, http.StatusSeeOther, status)
	assert.Less(t, signedIn(res.Cookies()[0]), http.StatusMultipleChoices)
	assert.Equal(t, 0, p.end(syscall.SIGTERM))
	audit := ran(t, 0, append([]string{"audit", "--action", "audit.gap"}, restored...)...)
	assert.Contains(t, audit, "directory restored", "the trail says since when uses are missing")
}

// place returns the flags of a data folder, and of a database unless "".
func place(dir, database string) []string {
	if database == "" {
		return []string{"--data", dir}
	}
	return []string{"--data", dir, "--database", database}
}

// appears waits until there is a file, or the process has ended.
func appears(t *testing.T, p *process, path string) {
	t.Helper()
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, p.stdout) // ends with the process
		close(ended)
	}()
	require.Eventually(t, func() bool {
		_, err := os.Stat(path)
		select {
		case <-ended:
			return true
		default:
			return err == nil
		}
	}, time.Minute, 100*time.Microsecond)
}

// restoreKilled kills a restore somewhere. No service starts from what is left, unless
// everything is in place; the next restore finishes.
func restoreKilled(t *testing.T, file, dir string, flags []string) {
	t.Helper()
	p := start(t, append([]string{"restore", file}, flags...)...)
	appears(t, p, filepath.Join(dir, "restore.json"))
	require.NoError(t, p.cmd.Process.Kill())
	p.wait()
	if _, err := os.Stat(filepath.Join(dir, "restore.json")); errors.Is(err, os.ErrNotExist) {
		return // it was faster
	}
	p = start(t, append([]string{"serve", "--listen", freeAddress(t)}, flags...)...)
	require.Equal(t, exitFailed, p.wait())
	p.logs("was interrupted: run ticketd restore again")
	out := ran(t, 0, append([]string{"restore", file}, flags...)...)
	assert.True(t, strings.HasPrefix(out, "restored "), out)
}
