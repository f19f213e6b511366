//go:build unix

package redisstore

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/internal/servers"
	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/replaytest"
)

// home is the index of the node that has the claim's keys.
func home(c replay.Claim, realm string) int {
	return int(slot(newKeys(realm).encode(&c, doClaim).key)) * 3 / 16384
}

// ticketAt returns a ticket whose home is the given node.
func ticketAt(node int) replay.Claim {
	for {
		if c := ticket(); home(c, "") == node {
			return c
		}
	}
}

// The suite on a Cluster of three. What one answers for all is FLUSHALL on each.
//
// trap R18
// trap R24
// trap R30
func TestClusterConformance(t *testing.T) {
	onEach(t, func(t *testing.T, program string) {
		nodes := servers.RedisCluster(t, program, servers.Durable...)
		config := Config{URL: nodes[1].URL, Realm: "cluster", Durable: true, Timeout: patience}
		replaytest.Run(t, replaytest.Harness{
			Open:  func(t *testing.T) replay.Store { return open(t, config) },
			Now:   time.Now,
			Epoch: func(t *testing.T) time.Time { return earliest(t, open(t, config)) },
			Reset: func(*testing.T) {
				for _, node := range nodes {
					node.Do("FLUSHALL")
				}
			},
			Restart: func(t *testing.T) {
				for _, node := range nodes {
					node.Kill()
					node.Start()
				}
				for _, node := range nodes {
					node.AwaitCluster()
				}
			},
			Exact: true,
		})
	})
}

// One node of three: the load is spread over all, the loss of one's data is a
// new epoch for its nonces only, and its outage is theirs only.
//
// trap R24
// trap R30
func TestClusterNodes(t *testing.T) {
	onEach(t, func(t *testing.T, program string) {
		nodes := servers.RedisCluster(t, program, servers.Forgetful...)
		s := open(t, Config{URL: nodes[0].URL + "?addr=" + nodes[2].Address})
		assert.Equal(t, `redisstore(realm "", cluster)`, s.String())
		var spent [3][]replay.Claim
		for i := range spent {
			for range 30 {
				c := ticketAt(i)
				require.Equal(t, "admitted", status(t, s, c))
				spent[i] = append(spent[i], c)
			}
		}
		epochs := 0
		for _, node := range nodes {
			size, err := strconv.Atoi(node.Do("DBSIZE"))
			require.NoError(t, err)
			assert.Greater(t, size, 30+buckets/3-10)
			epochs += size - 30
		}
		assert.Equal(t, buckets, epochs)

		nodes[1].Do("FLUSHALL")
		for i, want := range []string{"already_used", "issued_before_start", "already_used"} {
			for _, c := range spent[i] {
				require.Equal(t, want, status(t, s, c))
			}
		}
		require.Equal(t, "admitted", status(t, s, ticketAt(1)))

		nodes[1].Kill()
		a, err := s.Claim(context.Background(), spent[1][0])
		requireUnavailable(t, a, err)
		require.Equal(t, "already_used", status(t, s, spent[0][0]))
		require.Equal(t, "admitted", status(t, s, ticketAt(2)))
		nodes[1].Start()
		require.EventuallyWithT(t, func(c *assert.CollectT) {
			for range connections {
				a, err := s.Claim(context.Background(), ticketAt(1))
				require.NoError(c, err)
				require.Equal(c, replay.Admitted, a.Status)
			}
		}, patience, 20*time.Millisecond)
		require.Equal(t, "issued_before_start", status(t, s, spent[1][0]))
	})
}

// A slot moves to another shard under way. Until it has, and after, a spent
// nonce is not admitted; the claim goes where the slot is, also with Wait's
// connections of their own.
//
// trap R18
func TestClusterSlotMoves(t *testing.T) {
	onEach(t, func(t *testing.T, program string) {
		nodes := servers.RedisCluster(t, program, servers.Forgetful...)
		for _, promised := range []bool{true, false} {
			realm := fmt.Sprint("move", promised)
			config := Config{URL: nodes[0].URL, Realm: realm, Durable: promised, Timeout: patience}
			stores := []*Store{open(t, config), open(t, config)}
			spent := ticket()
			from := home(spent, realm)
			to := (from + 1) % 3
			same := func() replay.Claim { // another ticket in its bucket
				c := ticket()
				c.Nonce[0] = spent.Nonce[0]
				return c
			}
			unspent := same()
			require.Equal(t, "admitted", status(t, stores[0], spent))

			place := int(slot(stores[0].keys.encode(&spent, doClaim).key))
			name := strconv.Itoa(place)
			source, target := nodes[from].Do("CLUSTER", "MYID"), nodes[to].Do("CLUSTER", "MYID")
			nodes[to].Do("CLUSTER", "SETSLOT", name, "IMPORTING", source)
			nodes[from].Do("CLUSTER", "SETSLOT", name, "MIGRATING", target)
			requireSpent := func(want ...string) {
				t.Helper()
				for _, s := range stores {
					a, err := s.Claim(context.Background(), spent)
					if err != nil {
						require.ErrorIs(t, err, replay.ErrUnavailable)
						continue
					}
					require.Contains(t, want, a.Status.String())
				}
			}
			requireSpent("already_used")
			for _, key := range []string{stores[0].keys.epoch[spent.Nonce[0]%buckets],
				stores[0].keys.encode(&spent, doClaim).key} {
				nodes[from].Do("MIGRATE", "127.0.0.1", strconv.Itoa(nodes[to].Port), key, "0",
					strconv.Itoa(int(patience.Milliseconds())))
				requireSpent("already_used", "issued_before_start")
			}
			nodes[to].Do("CLUSTER", "SETSLOT", name, "NODE", target)
			nodes[from].Do("CLUSTER", "SETSLOT", name, "NODE", target)
			for _, s := range stores {
				require.EventuallyWithT(t, func(c *assert.CollectT) {
					_, err := s.Claim(context.Background(), spent)
					require.NoError(c, err)
				}, patience, 20*time.Millisecond)
				requireSpent("already_used")
			}
			want := "issued_before_start"
			if promised {
				want = "admitted"
			}
			require.Equal(t, want, status(t, stores[1], unspent))
			require.Equal(t, "admitted", status(t, stores[0], same()))
		}
	})
}

// In a Cluster each primary waits for its own replicas: here it has none.
func TestClusterWait(t *testing.T) {
	onEach(t, func(t *testing.T, program string) {
		nodes := servers.RedisCluster(t, program, servers.Forgetful...)
		s := open(t, Config{URL: nodes[0].URL, Timeout: patience, Wait: Wait{Replicas: 1, Timeout: 100 * time.Millisecond}})
		size := dbSizes(nodes)
		for node := range 3 {
			c := ticketAt(node)
			a, err := s.Claim(context.Background(), c)
			requireUnavailable(t, a, err)
			require.ErrorContains(t, err, "fewer than 1 replicas")
			require.Equal(t, size, dbSizes(nodes), "trap R37: nothing is spent")
		}
	})
}

// dbSizes returns the number of keys on each node.
func dbSizes(nodes []*servers.RedisServer) (sizes []string) {
	for _, node := range nodes {
		sizes = append(sizes, node.Do("DBSIZE"))
	}
	return sizes
}
