package pgstore

import (
	"context"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/internal/servers"
	"github.com/admitone/admitone/verify/replay"
)

// What a nonce takes is what is stated, on a real server, and a role with the
// least of rights may ask.
func TestStats(t *testing.T) {
	t.Parallel()
	server := servers.PostgreSQL(t, "-c", "fsync=off", "-c", "autovacuum=off") // for speed, and so that nobody else counts
	claims := 0
	fill := func(s *Store, n int, b byte) {
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				for range n / 16 {
					// Redeemed as they are issued, so in the order of their expiry.
					if a, err := s.Claim(t.Context(), bound(fresh(), b)); err != nil || a.Status != replay.Admitted {
						t.Error(a, err)
						return
					}
				}
			})
		}
		wg.Wait()
		claims += n
	}
	s := open(t, server.URL, func(c *Config) { c.Realm, c.AllowNoFsync = "a realm of 16 by", true })
	st, err := s.Stats(t.Context())
	require.NoError(t, err)
	empty := st.DiskBytes
	fill(s, 12_000, 1)
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		st, err = s.Stats(t.Context())
		assert.NoError(c, err)
		assert.EqualValues(c, claims, st.Live)
	}, patience, 50*time.Millisecond)
	each := float64(st.DiskBytes-empty) / float64(st.Live)
	t.Logf("%d nonces: %.0f bytes each", claims, each)
	assert.LessOrEqual(t, each, float64(NonceBytes))
	assert.GreaterOrEqual(t, each, 0.6*NonceBytes)

	exec1(t, server.URL, "CREATE ROLE redeemer LOGIN; GRANT USAGE ON SCHEMA admitone_replay TO redeemer")
	u, err := url.Parse(server.URL)
	require.NoError(t, err)
	u.User = url.User("redeemer")
	least := openAt(t, u.String(), func(c *Config) { c.AllowNoFsync = true })
	st, err = least.Stats(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, claims, st.Live)

	server.Kill()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = s.Stats(ctx)
	assert.ErrorIs(t, err, replay.ErrUnavailable)
}
