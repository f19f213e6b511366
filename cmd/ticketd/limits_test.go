package main

import (
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/internal/servers"
)

// --rate-store counts in Redis, across a restart of the process; without Redis the
// process counts for itself.
func TestRateStore(t *testing.T) {
	redis := servers.Redis(t, servers.RedisPrograms(t)[0])
	dir := t.TempDir()
	args := []string{"--data", dir, "--rate-store", redis.URL, "--rate-limit", "0.001", "--rate-burst", "3"}
	p, info := startDemo(t, args...)
	ask := func() int {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, info.URL+"/auth/ticket", strings.NewReader(info.request(true)))
		require.NoError(t, err)
		r.Header.Set("Authorization", "Bearer "+info.APIKey)
		res, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		defer res.Body.Close()
		if res.StatusCode == http.StatusTooManyRequests {
			assert.NotEmpty(t, res.Header.Get("Retry-After"))
		}
		return res.StatusCode
	}
	assert.Equal(t, http.StatusOK, ask())
	assert.Equal(t, http.StatusOK, ask())
	require.Equal(t, 0, p.end(syscall.SIGTERM))
	inTime := func() {
		t.Helper()
		if strings.Contains(p.stderr.String(), "counts for itself") {
			t.Skip("the machine is too slow: Redis did not answer in time")
		}
	}
	inTime()
	assert.Equal(t, "1", redis.Do("DBSIZE"))

	p, info = startDemo(t, args...)
	statuses := []int{ask(), ask()}
	inTime()
	assert.Equal(t, []int{http.StatusOK, http.StatusTooManyRequests}, statuses, "what was counted before the restart counts")
	redis.Stop()
	for range 3 {
		assert.Equal(t, http.StatusOK, ask())
	}
	assert.Equal(t, http.StatusTooManyRequests, ask())
	p.logs("each process counts for itself")
	require.Equal(t, 0, p.end(syscall.SIGTERM))
}
