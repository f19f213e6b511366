//go:build unix

package ratelimit

import (
	"bytes"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/internal/servers"
)

func open(t *testing.T, s *servers.RedisServer, realm string, log *slog.Logger) *Redis {
	t.Helper()
	r, err := OpenRedis(t.Context(), RedisConfig{URL: s.URL, Realm: realm, Log: log})
	require.NoError(t, err)
	r.wait = time.Minute // the machine may be busy
	t.Cleanup(func() { _ = r.Close() })
	return r
}

func TestRedisCountsTogether(t *testing.T) {
	s := servers.Redis(t, servers.RedisPrograms(t)[0])
	// So slow that nothing comes back while the test runs.
	limit := Limit{Rate: 0.001, Burst: 40}
	var passed atomic.Int32
	var wg sync.WaitGroup
	for range 4 { // processes
		r := open(t, s, "r", slog.Default())
		for range 4 {
			wg.Go(func() {
				for range 10 {
					a := r.Take(t.Context(), "a", limit)
					if a.OK {
						passed.Add(1)
						assert.Zero(t, a.Retry)
					} else {
						assert.InDelta(t, 1000, a.Retry.Seconds(), 200)
						assert.Zero(t, a.Remaining)
					}
				}
			})
		}
	}
	wg.Wait()
	assert.EqualValues(t, 40, passed.Load())
	r := open(t, s, "r", slog.Default())
	assert.True(t, r.Take(t.Context(), "b", limit).OK, "each caller has its own")
	assert.True(t, open(t, s, "other", slog.Default()).Take(t.Context(), "a", limit).OK, "each realm has its own")

	// A lower limit holds at once, and locks nobody out for longer than it says.
	a := r.Take(t.Context(), "a", Limit{Rate: 0.1, Burst: 1})
	assert.False(t, a.OK)
	assert.LessOrEqual(t, a.Retry, 10*time.Second)
	assert.Equal(t, 38, func() int { r.Take(t.Context(), "c", limit); return r.Take(t.Context(), "c", limit).Remaining }())
}

func TestRedisRefills(t *testing.T) {
	s := servers.Redis(t, servers.RedisPrograms(t)[0])
	r := open(t, s, "r", slog.Default())
	limit := Limit{Rate: 5, Burst: 1}
	start := time.Now()
	require.True(t, r.Take(t.Context(), "a", limit).OK)
	assert.Eventually(t, func() bool { return r.Take(t.Context(), "a", limit).OK }, time.Minute, 10*time.Millisecond)
	assert.GreaterOrEqual(t, time.Since(start), 100*time.Millisecond)
	assert.Eventually(t, func() bool { return s.Do("DBSIZE") == "0" }, time.Minute, 20*time.Millisecond,
		"full buckets take no memory")
}

func TestRedisOutage(t *testing.T) {
	s := servers.Redis(t, servers.RedisPrograms(t)[0])
	var log bytes.Buffer
	r := open(t, s, "r", slog.New(slog.NewTextHandler(&log, nil)))
	limit := Limit{Rate: 0.001, Burst: 2}
	require.True(t, r.Take(t.Context(), "a", limit).OK)
	answers := func() bool {
		r.Take(t.Context(), "x", limit)
		return r.resume.Load() == 0
	}
	s.Freeze()
	r.wait = 50 * time.Millisecond
	for i := range 4 {
		assert.Equal(t, i < 2, r.Take(t.Context(), "a", limit).OK, "the process counts for itself")
	}
	assert.Contains(t, log.String(), "each process counts for itself")
	s.Thaw()
	r.wait = time.Minute
	assert.Eventually(t, answers, time.Minute, 20*time.Millisecond)
	assert.Contains(t, log.String(), "answers again")
	assert.NotContains(t, log.String(), s.URL)
	s.Stop()
	assert.True(t, r.Take(t.Context(), "b", limit).OK)
	s.Start()
	assert.Eventually(t, answers, time.Minute, 20*time.Millisecond)
}

func TestOpenRedisRefuses(t *testing.T) {
	for url, says := range map[string]string{
		"":                                     "not a URL",
		"http://secret@x":                      "not a URL",
		"redis://u:secret%zz@127.0.0.1:1":      "not a URL",
		"rediss://u:secret@x:1?skip_verify=1":  "skip_verify",
		"redis://u:secret@127.0.0.1:1/0":       "connecting",
		"redis://u:secret@127.0.0.1:1/":        "connecting",
		"redis://u:secret@127.0.0.1:1/notanum": "not a URL",
	} {
		_, err := OpenRedis(t.Context(), RedisConfig{URL: url, Realm: "r"})
		require.ErrorContains(t, err, says, url)
		assert.NotContains(t, err.Error(), "secret")
	}
}
