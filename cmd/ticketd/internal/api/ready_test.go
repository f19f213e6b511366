package api

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestReadyz(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	var fails atomic.Bool
	w := newWorld(t, func(c *Config) {
		c.Checks = []Check{
			{"directory", func(context.Context) error { asked.Add(1); return nil }},
			{"replay store", func(context.Context) error {
				if fails.Load() {
					return errors.New("connection refused by secret-host")
				}
				return nil
			}},
		}
	})
	var wg sync.WaitGroup
	start := time.Now()
	for range 50 {
		wg.Go(func() {
			res := w.client().get("/readyz")
			assert.Equal(t, http.StatusOK, res.status)
			assert.Equal(t, "ready\n", res.body)
		})
	}
	wg.Wait()
	assert.LessOrEqual(t, int(asked.Load()), 1+int(time.Since(start)/readyKept), "many who ask are one question")
	fails.Store(true)
	assert.Eventually(t, func() bool {
		res := w.client().get("/readyz")
		return res.status == http.StatusServiceUnavailable && res.body == "not ready: replay store\n"
	}, time.Minute, 20*time.Millisecond)
	assert.Contains(t, w.log.String(), "secret-host", "the error is for operators")
	assert.NoError(t, w.directory.Close())
	assert.Equal(t, http.StatusOK, w.client().get("/healthz").status)
}
