package main

import (
	"fmt"
	"net/http"
	"path/filepath"
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
	t.Parallel()
	redis := servers.Redis(t, servers.RedisPrograms(t)[0])
	dir := t.TempDir()
	start := func(realm string) (*process, func() int) {
		p, info := startDemo(t, "--data", filepath.Join(dir, realm), "--realm", realm, "--rate-store", redis.URL,
			"--rate-limit", "0.001", "--rate-burst", "3")
		return p, func() int {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, info.URL+"/auth/ticket",
				strings.NewReader(info.request(true)))
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
	}
	const forItself = "each process counts for itself"
	// twice asks two times, of one process and then of the next. Where Redis does not
	// answer in time, as on a machine that is busy, that tells nothing.
	twice := func(realm string) (statuses []int, told bool) {
		for range 2 {
			p, ask := start(realm)
			statuses = append(statuses, ask(), ask())
			require.Equal(t, 0, p.end(syscall.SIGTERM))
			if p.stderr.contains(forItself) {
				return nil, false
			}
		}
		return statuses, true
	}
	statuses, told := twice("r0")
	for attempt := 1; !told; attempt++ {
		require.Less(t, attempt, 100, "Redis never answers in time")
		statuses, told = twice(fmt.Sprint("r", attempt))
	}
	assert.Equal(t, []int{http.StatusOK, http.StatusOK, http.StatusOK, http.StatusTooManyRequests}, statuses,
		"what was counted before the restart counts")
	assert.NotEqual(t, "0", redis.Do("DBSIZE"))

	p, ask := start("alone")
	redis.Stop()
	for range 3 {
		assert.Equal(t, http.StatusOK, ask())
	}
	assert.Equal(t, http.StatusTooManyRequests, ask())
	p.logs(forItself)
	require.Equal(t, 0, p.end(syscall.SIGTERM))
}
