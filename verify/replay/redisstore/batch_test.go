//go:build unix

package redisstore

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/internal/servers"
	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/internal/queue"
)

type asked struct {
	answer replay.Answer
	err    error
}

// later calls in the background, and returns when so many requests wait for a script to come back.
func later(t *testing.T, s *Store, waiting, flying int, ctx context.Context,
	call func(context.Context, replay.Claim) (replay.Answer, error), c replay.Claim,
) chan asked {
	t.Helper()
	result := make(chan asked, 1)
	go func() {
		a, err := call(ctx, c)
		result <- asked{a, err}
	}()
	require.Eventually(t, func() bool {
		w, f := s.requests[0].State()
		return w == waiting && f == flying
	}, patience, time.Millisecond)
	return result
}

// occupy sends as many scripts as may be on their way to a server that is stopped.
func occupy(t *testing.T, s *Store) {
	t.Helper()
	require.Eventually(t, func() bool { // the flight of what was answered just now may not be over yet
		w, f := s.requests[0].State()
		return w+f == 0
	}, patience, time.Millisecond)
	for n := range queue.Flights {
		later(t, s, 0, n+1, context.Background(), s.Peek, ticket())
	}
}

// Claims that share a script are answered as they would be one after the other, each for itself.
// Who gives up waiting takes his claim with him, and nobody else's.
//
// trap R18
// trap R25
// trap R29
func TestSharedScript(t *testing.T) {
	onEach(t, func(t *testing.T, program string) {
		ctx := context.Background()
		server := servers.Redis(t, program, servers.Forgetful...)
		s := openUnwatched(t, Config{URL: server.URL})
		settle(t, s)
		bound := func(c replay.Claim, to byte) replay.Claim {
			c.Binding = [32]byte{to}
			return c
		}
		spent, foreign := bound(ticket(), 1), ticket()
		require.Equal(t, "admitted", status(t, s, spent))
		server.Do("LPUSH", s.keys.encode(&foreign, doClaim).key, "1")
		late, old := ticket(), ticket()
		late.Expires, late.RetainUntil = time.Now(), time.Now()
		old.NotBefore = old.NotBefore.Add(-time.Hour)

		server.Freeze()
		occupy(t, s)
		queued := 0
		ask := func(call func(context.Context, replay.Claim) (replay.Answer, error), c replay.Claim) chan asked {
			t.Helper()
			queued++
			return later(t, s, queued, queue.Flights, ctx, call, c)
		}
		twice, retried := ticket(), bound(ticket(), 7)
		type want struct {
			result   chan asked
			status   replay.Status
			repeated bool
		}
		wants := []want{
			{ask(s.Peek, twice), replay.Admitted, false},
			{ask(s.Claim, twice), replay.Admitted, false},
			{ask(s.Claim, twice), replay.AlreadyUsed, false},
			{ask(s.Peek, twice), replay.AlreadyUsed, false},
			{ask(s.Claim, retried), replay.Admitted, false},
			{ask(s.Claim, retried), replay.Admitted, true},
			{ask(s.Claim, bound(retried, 8)), replay.AlreadyUsed, false},
			{ask(s.Claim, bound(spent, 2)), replay.AlreadyUsed, false},
			{ask(s.Claim, late), replay.TooLate, false},
			{ask(s.Claim, old), replay.IssuedBeforeStart, false},
		}
		failed := ask(s.Claim, foreign)
		for range 40 {
			wants = append(wants, want{ask(s.Claim, ticket()), replay.Admitted, false})
		}
		impatient, cancel := context.WithCancel(ctx)
		given := ticket()
		gaveUp := later(t, s, queued+1, queue.Flights, impatient, s.Claim, given)
		cancel()
		result := <-gaveUp
		require.ErrorIs(t, result.err, replay.ErrUnavailable)
		require.ErrorIs(t, result.err, context.Canceled)

		server.Thaw()
		for i, want := range wants {
			got := <-want.result
			require.NoError(t, got.err, i)
			assert.Equal(t, want.status, got.answer.Status, i)
			assert.Equal(t, want.repeated, got.answer.Repeated, i)
			assert.Equal(t, want.repeated || want.status == replay.AlreadyUsed, !got.answer.FirstUsed.IsZero(), i)
		}
		result = <-failed
		requireUnavailable(t, result.answer, result.err)
		require.ErrorContains(t, result.err, "WRONGTYPE")
		require.Equal(t, "0", server.Do("EXISTS", s.keys.encode(&given, doClaim).key), "it was never sent")
	})
}

// trap R37: claims that wait behind a WAIT that fell short are not sent, and are told why.
func TestReplicaStopsInACrowd(t *testing.T) {
	onEach(t, func(t *testing.T, program string) {
		options := append(noDelay, servers.Forgetful...)
		primary := servers.Redis(t, program, options...)
		replica := primary.Replicas(1, options...)[0]
		s := open(t, Config{URL: primary.URL, Timeout: patience, Wait: Wait{Replicas: 1, Timeout: time.Second}})
		settle(t, s)
		replica.Freeze()
		var ended sync.WaitGroup
		claims := make([]replay.Claim, 600)
		for i := range claims {
			claims[i] = ticket()
			ended.Go(func() {
				a, err := s.Claim(context.Background(), claims[i])
				assert.ErrorIs(t, err, replay.ErrUnavailable)
				assert.ErrorContains(t, err, "replicas")
				assert.Zero(t, a)
			})
		}
		ended.Wait()
		spent := 0
		for _, c := range claims {
			if primary.Do("EXISTS", s.keys.encode(&c, doClaim).key) == "1" {
				spent++
			}
		}
		assert.LessOrEqual(t, spent, queue.Flights*queue.MaxBatch)
		t.Logf("%d of %d tickets are spent", spent, len(claims))
		replica.Thaw()
		settle(t, s)
	})
}

// A Cluster that looks like a single server gets a script for each bucket.
func TestClusterLooksSingle(t *testing.T) {
	onEach(t, func(t *testing.T, program string) {
		server := servers.Redis(t, program, append([]string{"--cluster-enabled", "yes"}, servers.Forgetful...)...)
		server.Do("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
		require.Eventually(t, func() bool { return strings.Contains(server.Do("CLUSTER", "INFO"), "cluster_state:ok") },
			patience, time.Millisecond)
		server.Do("ACL", "SETUSER", "single", "on", "nopass", "~*", "+@all", "-cluster")
		s := open(t, Config{URL: "redis://single:x@" + server.Address})
		require.True(t, s.apart)
		settle(t, s)
		var ended sync.WaitGroup
		for range 300 {
			ended.Go(func() {
				a, err := s.Claim(context.Background(), ticket())
				assert.NoError(t, err)
				assert.Equal(t, replay.Admitted, a.Status)
			})
		}
		ended.Wait()
	})
}

// However many claims wait, Close waits for the scripts on their way, of all shards at once.
func TestCloseInACrowd(t *testing.T) {
	onEach(t, func(t *testing.T, program string) {
		nodes := servers.RedisCluster(t, program, servers.Forgetful...)
		const timeout = 2 * time.Second
		s, err := Open(context.Background(), Config{URL: nodes[0].URL, Timeout: timeout})
		require.NoError(t, err)
		settleAll(t, s, connections)
		for _, node := range nodes {
			node.Freeze()
		}
		stop := make(chan struct{})
		var ended sync.WaitGroup
		for range 256 {
			ended.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						_, err := s.Claim(context.Background(), ticket())
						assert.ErrorIs(t, err, replay.ErrUnavailable)
					}
				}
			})
		}
		require.Eventually(t, func() bool {
			busy := 0
			for _, requests := range s.requests {
				if _, flying := requests.State(); flying > 0 {
					busy++
				}
			}
			return busy >= buckets/2
		}, patience, time.Millisecond)
		begin := time.Now()
		require.NoError(t, s.Close())
		t.Logf("Close took %v", time.Since(begin))
		// One shard after the other would take a minute and more.
		assert.Less(t, time.Since(begin), buckets*timeout/4)
		close(stop)
		ended.Wait()
		for _, node := range nodes {
			node.Thaw()
		}
	})
}
