package main

import (
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/verify"
	"github.com/admitone/admitone/verify/replay"
)

// The largest tolerance that a data folder was served with is remembered.
func TestMaxSkew(t *testing.T) {
	store, err := replay.NewMemory(replay.MemoryConfig{})
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
		_, got, err := sinceLastChange(o, store, time.Now())
		require.NoError(t, err)
		assert.Equal(t, row.max, got)
	}
	for _, damaged := range []string{`{"store":"memory","maxSkewMillis":-1}`, `{"store":"memory","maxSkewMillis":86400001}`, `{"maxSkewMillis":1}`} {
		require.NoError(t, os.WriteFile(filepath.Join(o.data, "replay.json"), []byte(damaged), 0o600))
		_, _, err := sinceLastChange(o, store, time.Now())
		assert.ErrorContains(t, err, "damaged")
	}
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
