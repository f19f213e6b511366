package main

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/cmd/ticketd/internal/metrics"
	"github.com/admitone/admitone/internal/servers"
	"github.com/admitone/admitone/verify"
	"github.com/admitone/admitone/verify/replay/memory"
)

// The largest tolerance that a data folder was served with is remembered.
func TestMaxSkew(t *testing.T) {
	store, err := memory.Open(t.Context(), memory.Config{})
	require.NoError(t, err)
	var o options
	o.data, o.replay.uri = t.TempDir(), memoryStore
	for _, row := range []struct{ skew, max time.Duration }{
		{0, 0}, // redeems its own tickets only, and always has
		{5 * time.Second, verify.Skew},
		{time.Minute + time.Microsecond, time.Minute + time.Millisecond},
		{10 * time.Second, time.Minute + time.Millisecond},
		{0, time.Minute + time.Millisecond},
	} {
		o.skew = row.skew
		_, got, err := sinceLastChange(o, openedStore{Store: store}, time.Now(), slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		assert.Equal(t, row.max, got)
	}
	for _, damaged := range []string{`{"store":"memory","maxSkewMillis":-1}`, `{"store":"memory","maxSkewMillis":86400001}`, `{"maxSkewMillis":1}`} {
		require.NoError(t, os.WriteFile(filepath.Join(o.data, "replay.json"), []byte(damaged), 0o600))
		_, _, err := sinceLastChange(o, openedStore{Store: store}, time.Now(), slog.New(slog.DiscardHandler))
		assert.ErrorContains(t, err, "damaged")
	}
}

// The log tells of a store that is another, or has lost its past, and of nothing else.
//
// trap R30
func TestTellOfAmnesia(t *testing.T) {
	var b bytes.Buffer
	log := slog.New(slog.NewTextHandler(&b, nil))
	data := t.TempDir()
	// serve opens the data folder with a store, as a start of the service does.
	serve := func(uri string) string {
		t.Helper()
		b.Reset()
		o := options{data: data}
		o.replay.uri = uri
		s, err := openStore(t.Context(), o, false, metrics.New(), log)
		require.NoError(t, err)
		_, _, err = sinceLastChange(o, s, time.Now(), log)
		require.NoError(t, err)
		require.NoError(t, s.Close())
		return b.String()
	}
	journal := filepath.Join(data, "replay")
	assert.Empty(t, serve("journal:"), "the first start")
	assert.Empty(t, serve("journal:"), "it is as it was")
	require.NoError(t, os.RemoveAll(journal))
	assert.Contains(t, serve("journal:"), `level=WARN msg="the replay store has lost what it knew`)
	assert.Empty(t, serve("journal:"), "it is told once")

	// Restored from a copy.
	require.NoError(t, os.CopyFS(journal+".copy", os.DirFS(journal)))
	require.NoError(t, os.RemoveAll(journal))
	require.NoError(t, os.Rename(journal+".copy", journal))
	assert.Contains(t, serve("journal:"), "the replay store has lost what it knew")

	assert.Contains(t, serve("memory"), `level=WARN msg="another replay store than before is in use`)
	assert.Empty(t, serve("memory"), "that it forgets is what a memory is")

	database := servers.Database(t)
	assert.Contains(t, serve(database), "another replay store")
	assert.Empty(t, serve(database))
	conn, err := pgx.Connect(t.Context(), database)
	require.NoError(t, err)
	defer conn.Close(context.Background())
	_, err = conn.Exec(t.Context(), "TRUNCATE admitone_replay.claims")
	require.NoError(t, err)
	assert.Contains(t, serve(database), "the replay store has lost what it knew")
	assert.Empty(t, serve(database))

	redis := servers.Redis(t, "", servers.Forgetful...)
	assert.Contains(t, serve(redis.URL), "another replay store")
	assert.Empty(t, serve(redis.URL))
	redis.Do("FLUSHALL")
	assert.Contains(t, serve(redis.URL), "the replay store has lost what it knew")
	assert.Empty(t, serve(redis.URL))
}

// trap R2: a service with a memory that is restarted with a smaller tolerance still
// refuses what it may have admitted with the larger one.
func TestSkewLowered(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p, info := startDemo(t, "--data", dir, "--skew", "10m")
	require.Equal(t, 0, p.end(syscall.SIGTERM))
	p, info = startDemo(t, "--data", dir, "--skew", "0s")
	// As far as the service can tell its issuer may be ten minutes ahead.
	assert.Equal(t, http.StatusForbidden, mustEnter(t, info.LoginURL, info.ticket(t, info.request(true))))
	p.logs("reason=issued_before_start")
	require.Equal(t, 0, p.end(syscall.SIGTERM))
}
