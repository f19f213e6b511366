package service

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A lifetime over the service's maximum is told when the service starts and when the
// lifetime changes, with its owner, and once.
func TestCappedLifetimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		var mu sync.Mutex // of the next three
		allowed, whose, fault := 20*time.Minute, `brand "commbox"`, error(nil)
		set := func(change func()) {
			mu.Lock()
			defer mu.Unlock()
			change()
		}
		c := cappedLifetimes{
			longest: func(context.Context) (time.Duration, string, error) {
				mu.Lock()
				defer mu.Unlock()
				return allowed, whose, fault
			},
			max: 15 * time.Minute, log: slog.New(slog.NewTextHandler(&b, nil)),
		}
		require.NoError(t, c.tell(t.Context()))
		assert.Contains(t, b.String(), `allowed_by="brand \"commbox\"" allowed_ms=1200000 max_lifetime_ms=900000`)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go c.keep(ctx)
		lines := func() int {
			time.Sleep(3 * lifetimesEvery)
			synctest.Wait()
			return strings.Count(b.String(), "\n")
		}
		assert.Equal(t, 1, lines(), "once")
		set(func() { whose = `brand "acme"` })
		assert.Equal(t, 2, lines())
		set(func() { fault = errors.New("the directory is away") })
		assert.Equal(t, 2, lines())
		set(func() { fault, allowed = nil, 15*time.Minute })
		assert.Equal(t, 2, lines())
		set(func() { allowed = time.Hour })
		assert.Equal(t, 3, lines())
	})
}
