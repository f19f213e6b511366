//go:build unix

package redisstore

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/internal/servers"
	"github.com/admitone/admitone/verify/replay"
)

// noDelay makes replicas follow at once.
var noDelay = []string{"--repl-diskless-sync-delay", "0"}

// A primary dies in the middle of the load, and a replica takes over. With Wait,
// and Sentinel's choice of the replica that is furthest, nothing is lost: every
// ticket is admitted once.
//
// trap R18
// trap R24
// trap R25
func TestSentinelFailOver(t *testing.T) {
	onEach(t, func(t *testing.T, program string) {
		options := append(noDelay, servers.Durable...)
		primary := servers.Redis(t, program, options...)
		replicas := primary.Replicas(2, options...)
		sentinel := primary.Sentinel(2)
		config := Config{
			URL: sentinel.URL + "?master_set=tickets", Durable: true,
			Timeout: 500 * time.Millisecond, Wait: Wait{Replicas: 1, Timeout: 300 * time.Millisecond},
		}
		stores := []*Store{open(t, config), open(t, config)}
		assert.Equal(t, `redisstore(realm "", sentinel)`, stores[0].String())
		settle(t, stores[0])
		tickets := make([]replay.Claim, 1500)
		for i := range tickets {
			tickets[i] = ticket()
		}
		var fault sync.WaitGroup
		outages := offer(t, stores, tickets, func(done int, _ func()) {
			if done == len(tickets)/2 {
				fault.Go(func() { primary.FailOver(sentinel, replicas...) })
			}
		})
		fault.Wait()
		assert.Greater(t, outages, int64(10), "the fault was met")
	})
}

// A primary dies with writes that no replica has. The new one knows nothing of
// them, and refuses all that was issued before it took over.
//
// trap R30
func TestSentinelFailOverLosesWrites(t *testing.T) {
	onEach(t, func(t *testing.T, program string) {
		options := append(noDelay, servers.Forgetful...)
		primary := servers.Redis(t, program, options...)
		replica := primary.Replicas(1, options...)[0]
		sentinel := primary.Sentinel(1)
		s := open(t, Config{URL: sentinel.URL + "?master_set=tickets"})
		settleAll(t, s, connections) // after the next step it can make none
		kept := ticket()
		require.Equal(t, "admitted", status(t, s, kept))
		require.Eventually(t, func() bool { return replica.Do("EXISTS", s.keys.encode(&kept, doClaim).key) == "1" },
			patience, 5*time.Millisecond)

		// A password that the replica does not know ends its connection, and
		// leaves those that are open and not killed: the store's, Sentinel's.
		admin, err := primary.Client()
		require.NoError(t, err)
		defer admin.Close()
		doOn(t, admin, "CONFIG", "SET", "requirepass", secret)
		doOn(t, admin, "CLIENT", "KILL", "TYPE", "replica")
		var lost []replay.Claim
		for range 100 {
			c := ticket()
			require.Equal(t, "admitted", status(t, s, c))
			lost = append(lost, c)
		}
		primary.Kill()
		a, err := s.Claim(context.Background(), kept)
		requireUnavailable(t, a, err)
		primary.FailOver(sentinel, replica)
		settleAll(t, s, connections)
		require.Equal(t, "already_used", status(t, s, kept))
		for _, c := range lost {
			require.Equal(t, "0", replica.Do("EXISTS", s.keys.encode(&c, doClaim).key), "the test is to lose it")
			require.Equal(t, "issued_before_start", status(t, s, c))
		}
	})
}

// Wait counts what replicas have, and a claim that they have not is not told as
// admitted; when they have it, the same binding is.
//
// trap R25
func TestWait(t *testing.T) {
	onEach(t, func(t *testing.T, program string) {
		options := append(noDelay, servers.Forgetful...)
		primary := servers.Redis(t, program, options...)
		replica := primary.Replicas(1, options...)[0]
		wait := func(limit time.Duration) Config {
			return Config{URL: primary.URL, Timeout: patience, Wait: Wait{Replicas: 1, Timeout: limit}}
		}
		s := open(t, wait(patience/2))
		hasty := []*Store{open(t, wait(200*time.Millisecond)), open(t, wait(200*time.Millisecond))}
		settle(t, s)
		c := ticket()
		require.Equal(t, "admitted", status(t, s, c))
		require.Equal(t, "1", replica.Do("EXISTS", s.keys.encode(&c, doClaim).key))
		primary.Do("SCRIPT", "FLUSH")
		require.Equal(t, "admitted", status(t, s, ticket()))

		for {
			replica.Freeze()
			c = ticket()
			c.Binding = [32]byte{1}
			begin := time.Now()
			for _, s := range hasty { // the second time is a repetition, and waits as well
				a, err := s.Claim(context.Background(), c)
				requireUnavailable(t, a, err)
				require.ErrorContains(t, err, "and 1 must have it")
			}
			other := c
			other.Binding = [32]byte{2}
			for _, s := range append(hasty, open(t, wait(200*time.Millisecond))) {
				a, err := s.Claim(context.Background(), other)
				requireUnavailable(t, a, err) // a primary that is cut off proves no replay: trap R37
			}
			replica.Thaw()
			settle(t, s)
			a := claim(t, s, c)
			if time.Since(begin) >= replay.Grace {
				continue // a busy machine, and no repetition any more
			}
			require.Equal(t, replay.Admitted, a.Status)
			require.True(t, a.Repeated)
			break
		}
	})
}
