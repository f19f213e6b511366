package main

import (
	"fmt"
	"net/http"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/internal/servers"
)

// --replay-memory bounds the store: at the bound nobody enters, and those that
// entered stay out.
func TestReplayMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("it fills a journal")
	}
	t.Parallel()
	p, _ := startDemo(t, "--replay", "memory", "--replay-memory", "64KiB", "--metrics-listen", "127.0.0.1:0")
	got, _ := scrape(t, p.scrapeURL())
	assert.EqualValues(t, 64<<10, got["ticketd_replay_bound_bytes"])
	require.Equal(t, 0, p.end(syscall.SIGTERM))

	// A journal, since it is full the sooner: at some thousand.
	p, info := startDemo(t, "--replay", "journal:"+filepath.Join(t.TempDir(), "journal"), "--replay-memory", "64KiB",
		"--metrics-listen", "127.0.0.1:0")
	url := p.scrapeURL()
	got, _ = scrape(t, url)
	assert.EqualValues(t, 64<<10, got["ticketd_replay_bound_bytes"])
	first := info.ticket(t, info.request(true))
	require.Equal(t, http.StatusSeeOther, mustEnter(t, info.LoginURL, first))
	full := false
	for n := 0; n < 2000 && !full; n++ {
		full = mustEnter(t, info.LoginURL, info.ticket(t, info.request(true))) == http.StatusServiceUnavailable
	}
	require.True(t, full)
	p.logs("reason=store_full")
	assert.Equal(t, http.StatusForbidden, mustEnter(t, info.LoginURL, first))
	got, _ = scrape(t, url)
	assert.Less(t, got["ticketd_replay_headroom_ratio"], 0.2)
	assert.EqualValues(t, 1, got["ticketd_replay_claims_total{result=full}"])
	assert.Equal(t, 0, p.end(syscall.SIGTERM))
}

// With --replay-durable, a Redis that loses nothing refuses nothing after a
// restart; without it, what was issued before.
func TestReplayDurable(t *testing.T) {
	t.Parallel()
	redis := servers.Redis(t, "", servers.Durable...)
	_, durable := startDemo(t, "--replay", redis.URL, "--replay-timeout", "4s", "--replay-durable", "--realm", "durable")
	_, careful := startDemo(t, "--replay", redis.URL, "--replay-timeout", "4s", "--realm", "careful")
	spent := durable.ticket(t, durable.request(true))
	require.Equal(t, http.StatusSeeOther, mustEnter(t, durable.LoginURL, spent))
	good, other := several(t, durable), careful.ticket(t, careful.request(true))
	redis.Kill()
	redis.Start()
	wantAdmitted(t, durable.LoginURL, good)
	status, _ := decided(t, durable.LoginURL, spent)
	assert.Equal(t, http.StatusForbidden, status)
	status, _ = decided(t, careful.LoginURL, other)
	assert.Equal(t, http.StatusForbidden, status)
}

// With --replay-wait nobody enters without that many replicas.
func TestReplayWait(t *testing.T) {
	t.Parallel()
	redis := servers.Redis(t, "", servers.Forgetful...)
	lonely := start(t, "demo", "--replay", redis.URL, "--replay-wait", "1", "--replay-timeout", "4s")
	assert.Equal(t, 1, lonely.wait())
	assert.Contains(t, lonely.stderr.String(), "0 replicas connected")

	replica := redis.Replicas(1)[0]
	p, info := startDemo(t, "--replay", redis.URL, "--replay-wait", "1", "--replay-timeout", "4s",
		"--metrics-listen", "127.0.0.1:0")
	works(t, info)
	replica.Freeze()
	ticket := info.ticket(t, info.request(true))
	assert.Equal(t, http.StatusServiceUnavailable, mustEnter(t, info.LoginURL, ticket))
	p.logs("reason=store_unavailable")
	replica.Thaw()
	require.Eventually(t, func() bool { return ready(t, info) }, time.Minute, 20*time.Millisecond)
	works(t, info)

	// trap R37: without its replica the service is not ready, the metrics say so, and a
	// ticket is good when the replica is back.
	up := func() float64 {
		got, _ := scrape(t, p.scrapeURL())
		return got["ticketd_replay_up{store=redis}"]
	}
	replica.Kill()
	require.Eventually(t, func() bool { return !ready(t, info) }, time.Minute, 20*time.Millisecond)
	assert.Zero(t, up())
	ticket = info.ticket(t, info.request(true))
	for range 3 {
		assert.Equal(t, http.StatusServiceUnavailable, mustEnter(t, info.LoginURL, ticket))
	}
	replica.Start()
	require.Eventually(t, func() bool { return ready(t, info) }, time.Minute, 20*time.Millisecond)
	wantAdmitted(t, info.LoginURL, []string{ticket})
	require.Eventually(t, func() bool { return up() == 1 }, time.Minute, 20*time.Millisecond)
}

// ready reports whether /readyz says so.
func ready(t *testing.T, info demoInfo) bool {
	status, _ := fetch(t, info.URL+"/readyz")
	return status == http.StatusOK
}

// --replay-ca says whom to trust for rediss://.
func TestReplayCA(t *testing.T) {
	t.Parallel()
	certificate, key := writePair(t)
	port := servers.Port(t)
	servers.Redis(t, "", append([]string{"--tls-port", fmt.Sprint(port), "--tls-cert-file", certificate,
		"--tls-key-file", key,
		"--tls-ca-cert-file", certificate, "--tls-auth-clients", "no"}, servers.Forgetful...)...)
	uri := fmt.Sprintf("rediss://127.0.0.1:%d", port)

	stranger := start(t, "demo", "--replay", uri, "--replay-timeout", "4s")
	assert.Equal(t, 1, stranger.wait())
	assert.Contains(t, stranger.stderr.String(), "certificate")

	p, info := startDemo(t, "--replay", uri, "--replay-timeout", "4s", "--replay-ca", certificate)
	ticket := info.ticket(t, info.request(true))
	assert.Equal(t, http.StatusSeeOther, mustEnter(t, info.LoginURL, ticket))
	assert.Equal(t, http.StatusForbidden, mustEnter(t, info.LoginURL, ticket))
	assert.Equal(t, 0, p.end(syscall.SIGTERM))
}
