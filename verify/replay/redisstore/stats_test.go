//go:build unix

package redisstore

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/internal/servers"
	"github.com/admitone/admitone/verify/replay"
)

// What a nonce takes is what is stated, on a real server, at numbers at which its
// tables have just doubled as well.
func TestNonceBytes(t *testing.T) {
	onEach(t, func(t *testing.T, program string) {
		for _, binding := range [][32]byte{{}, {1}} {
			s := servers.Redis(t, program, servers.Forgetful...)
			store := open(t, Config{URL: s.URL, Realm: "a realm of 16 by"})
			used := func() int64 {
				info := parseInfo(s.Do("INFO", "memory"))
				n, err := strconv.ParseInt(info["used_memory"], 10, 64)
				require.NoError(t, err)
				return n
			}
			before, claimed := used(), 0
			for _, n := range []int{17_000, 32_000, 34_000} {
				var wg sync.WaitGroup
				for part := range 16 {
					wg.Go(func() {
						for i := claimed + part; i < n; i += 16 {
							c := ticket()
							c.Binding = binding
							a, err := store.Claim(context.Background(), c)
							if err != nil || a.Status != replay.Admitted && a.Status != replay.IssuedBeforeStart {
								t.Error(a, err)
								return
							}
						}
					})
				}
				wg.Wait()
				claimed = n
				st, err := store.Stats(t.Context())
				require.NoError(t, err)
				require.InDelta(t, n, st.Live, 50, "but those issued before the start, every nonce has its key")
				each := float64(used()-before) / float64(st.Live)
				t.Logf("binding %t, %d nonces: %.0f bytes each", binding != [32]byte{}, n, each)
				assert.LessOrEqual(t, each, float64(NonceBytes))
				assert.GreaterOrEqual(t, each, 0.4*NonceBytes, "Valkey 8 takes the least")
			}
		}
	})
}

func TestStats(t *testing.T) {
	onEach(t, func(t *testing.T, program string) {
		s := servers.Redis(t, program, append([]string{"--maxmemory", "100mb"}, servers.Forgetful...)...)
		store := open(t, Config{URL: s.URL + "/3"})
		st, err := store.Stats(t.Context())
		require.NoError(t, err)
		assert.Zero(t, st.Live, "an epoch does not expire")
		assert.Greater(t, st.Bytes, int64(100_000))
		assert.EqualValues(t, 100<<20, st.MaxBytes)
		settle(t, store)
		for range 9 {
			require.Equal(t, "admitted", status(t, store, ticket()))
		}
		st, err = store.Stats(t.Context())
		require.NoError(t, err)
		assert.GreaterOrEqual(t, st.Live, int64(10))
		assert.Contains(t, s.Do("INFO", "keyspace"), fmt.Sprintf("expires=%d", st.Live))

		s.Do("CONFIG", "SET", "maxmemory", "0")
		st, err = store.Stats(t.Context())
		require.NoError(t, err)
		assert.Zero(t, st.MaxBytes, "no bound")

		s.Kill()
		_, err = store.Stats(t.Context())
		assert.ErrorIs(t, err, replay.ErrUnavailable)
	})
}
