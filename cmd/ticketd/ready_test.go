package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/internal/servers"
	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/keyring/kms"
)

// /readyz says no while the replay store is away, and yes again after it. The command health
// ends with the answer.
func TestReadyz(t *testing.T) {
	t.Parallel()
	redis := servers.Redis(t, servers.RedisPrograms(t)[0])
	p, info := startDemo(t, "--replay", redis.URL, "--replay-timeout", "4s")
	says := func(wantStatus int, wantBody string) {
		t.Helper()
		require.Eventually(t, func() bool {
			status, body := fetch(t, info.URL+"/readyz")
			return status == wantStatus && body == wantBody
		}, time.Minute, 20*time.Millisecond)
	}
	health := func() (int, string) {
		var out, stderr bytes.Buffer
		args := []string{"health", "--listen", strings.TrimPrefix(info.URL, "http://"), "--json"}
		code := run(t.Context(), args, &out, &stderr)
		return code, out.String()
	}
	says(http.StatusOK, "ready\n")
	code, out := health()
	assert.Equal(t, exitOK, code, out)
	assert.Equal(t, `{"checks":[{"name":"service","result":"ok","text":"`+info.URL+`/readyz answers: ready"}],"exit":0}`+"\n",
		out)
	redis.Stop()
	says(http.StatusServiceUnavailable, "not ready: replay store\n")
	code, out = health()
	assert.Equal(t, exitFailed, code, out)
	assert.Contains(t, out, "503 Service Unavailable: not ready: replay store")
	p.logs(`msg="not ready" check="replay store"`)
	status, _ := fetch(t, info.URL+"/healthz")
	assert.Equal(t, http.StatusOK, status, "restarting the process would not help")
	redis.Start()
	says(http.StatusOK, "ready\n")
}

// /keyring of the metrics' address tells of a rotation, and nothing secret.
func TestKeyringReport(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p, info := startDemo(t, "--data", dir, "--metrics-listen", "127.0.0.1:0")
	url := strings.TrimSuffix(p.scrapeURL(), "/metrics") + "/keyring"
	report := func() (r struct{ Keyrings []keyring.Report }) {
		status, body := fetch(t, url)
		require.Equal(t, http.StatusOK, status)
		require.NoError(t, json.Unmarshal([]byte(body), &r))
		require.Len(t, r.Keyrings, 3)
		return r
	}
	info.ticket(t, info.request(true))
	kek, err := kms.Open("file:"+filepath.Join(dir, "kek.key"), nil)
	require.NoError(t, err)
	file := filepath.Join(dir, "ticket.keyring")
	config := keyring.Config{Kind: keyring.Ticket, KEK: kek}
	was, err := keyring.Read(file, config)
	require.NoError(t, err)
	got := report().Keyrings[0]
	assert.Equal(t, was.Fingerprint, got.Fingerprint)
	require.NotEmpty(t, got.Use)
	assert.EqualValues(t, 2, got.Use[0].Sealed, "the link to the console, and the ticket")
	now, err := keyring.Change(file, config, "", keyring.Step{Do: keyring.Rotate, Now: true})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return report().Keyrings[0].Fingerprint == now.Fingerprint }, time.Minute,
		20*time.Millisecond)
	for _, where := range []string{"/keyring", "/metrics"} {
		status, _ := fetch(t, info.URL+where)
		assert.Equal(t, http.StatusNotFound, status, "strangers do not see it")
	}
}
