package main

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/keyring/kms"
)

// A data folder that lost a part is not made anew around the rest.
func TestDataLost(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p, _ := startDemo(t, "--data", dir)
	require.Equal(t, 0, p.end(syscall.SIGTERM))
	lose := func(name string) {
		require.NoError(t, os.Rename(filepath.Join(dir, name), filepath.Join(dir, "lost-"+name)))
	}
	lose("kek.key")
	p = start(t, "demo", "--data", dir)
	assert.Equal(t, 1, p.wait())
	assert.Contains(t, p.stderr.String(), "kek.key")
	assert.NoFileExists(t, filepath.Join(dir, "kek.key"), "a new one would open nothing")
	require.NoError(t, os.Rename(filepath.Join(dir, "lost-kek.key"), filepath.Join(dir, "kek.key")))
	lose("admitone.db")
	p = start(t, "serve", "--data", dir)
	assert.Equal(t, 1, p.wait())
	assert.Contains(t, p.stderr.String(), "admitone.db")
	assert.NoFileExists(t, filepath.Join(dir, "admitone.db"))
}

// trap K17: a keyring from before a rotation is refused after a restart as well.
func TestOlderKeyringPutBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p, _ := startDemo(t, "--data", dir)
	file := filepath.Join(dir, "ticket.keyring")
	older, err := os.ReadFile(file)
	require.NoError(t, err)
	kek, err := kms.Open("file:"+filepath.Join(dir, "kek.key"), nil)
	require.NoError(t, err)
	newer, err := keyring.Change(file, keyring.Config{Kind: keyring.Ticket, KEK: kek}, "",
		keyring.Step{Do: keyring.Rotate, Now: true})
	require.NoError(t, err)
	p.logs("generation=2 primary=" + newer.Primary.String())
	require.NoError(t, os.WriteFile(file+".older", older, 0o600))
	require.NoError(t, os.Rename(file+".older", file))
	p.logs("older file was put back")
	require.Equal(t, 0, p.end(syscall.SIGTERM))

	p = start(t, "demo", "--data", dir)
	assert.Equal(t, 1, p.wait())
	assert.Contains(t, p.stderr.String(), "ticket.keyring")
	assert.Contains(t, p.stderr.String(), "generation")

	require.NoError(t, os.WriteFile(filepath.Join(dir, "generations.json"), []byte("{"), 0o600))
	p = start(t, "demo", "--data", dir)
	assert.Equal(t, 1, p.wait())
	assert.Contains(t, p.stderr.String(), "generations.json")
}

// A data folder made with a longest lifetime is not served with a longer one.
func TestLifetimesMustFit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p, _ := startDemo(t, "--data", dir)
	require.Equal(t, 0, p.end(syscall.SIGTERM))
	p = start(t, "serve", "--data", dir, "--max-lifetime", "1h")
	assert.Equal(t, 1, p.wait())
	assert.Contains(t, p.stderr.String(), "--max-lifetime 1h0m0s exceeds")
}

// A brand that allows a longer lifetime than the service keeps nobody from serving: the
// service's maximum holds, and the log names the brand.
func TestBrandOverMaxLifetime(t *testing.T) {
	t.Parallel()
	p, info, dir := served(t)
	healthy(t, p, info.URL)
	require.Equal(t, 0, p.end(syscall.SIGTERM))
	var out bytes.Buffer
	set := []string{"brand", "set", "commbox", "--data", dir, "--max-lifetime", "10m"}
	require.Zero(t, run(t.Context(), set, &out, &out), out.String())
	p = start(t, "serve", "--data", dir, "--listen", strings.TrimPrefix(info.URL, "http://"), "--max-lifetime", "5m")
	healthy(t, p, info.URL)
	p.logs(`allowed_by="brand \"commbox\"" allowed_ms=600000 max_lifetime_ms=300000`)
	info.ticket(t, `{"brand":"commbox","uniqueId":"7","expiresIn":300}`)
	_, err := info.tryTicket(`{"brand":"commbox","uniqueId":"7","expiresIn":301}`)
	assert.ErrorContains(t, err, "status 400")
	assert.Equal(t, 0, p.end(syscall.SIGTERM))
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
