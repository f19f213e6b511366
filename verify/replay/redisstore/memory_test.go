//go:build unix

package redisstore

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/internal/servers"
	"github.com/admitone/admitone/verify/replay"
)

// evict lets the server evict the claim's nonce, and sets the policy right again.
func evict(t *testing.T, server *servers.RedisServer, s *Store, c replay.Claim) {
	t.Helper()
	server.Do("CONFIG", "SET", "maxmemory-policy", "volatile-lru")
	server.Do("CONFIG", "SET", "maxmemory", "1")
	key := s.keys.encode(&c, doClaim).key
	require.Eventually(t, func() bool { return server.Do("EXISTS", key) == "0" }, patience, time.Millisecond)
	server.Do("CONFIG", "SET", "maxmemory", "0")
	server.Do("CONFIG", "SET", "maxmemory-policy", "noeviction")
}

// trap R32: a nonce is evicted during a spell of a wrong policy, between two looks of
// every process. The next claim finds the count of evicted keys changed, also after a reset
// of the server's statistics, and with a store that promises Durable.
func TestEvictionByTheServer(t *testing.T) {
	onEach(t, func(t *testing.T, program string) {
		server := servers.Redis(t, program, servers.Forgetful...)
		for _, durable := range []bool{false, true} {
			config := Config{URL: server.URL, Realm: fmt.Sprint(durable), Durable: durable}
			a, b := openUnwatched(t, config), openUnwatched(t, config)
			for range 2 {
				settle(t, a)
				spent, unspent := ticket(), ticket()
				require.Equal(t, "admitted", status(t, a, spent))
				evict(t, server, a, spent)
				peeked, err := b.Peek(context.Background(), spent)
				require.NoError(t, err)
				require.Equal(t, replay.IssuedBeforeStart, peeked.Status)
				require.Equal(t, "issued_before_start", status(t, b, spent))
				require.Equal(t, "issued_before_start", status(t, a, unspent))
			}
			settle(t, b)
			before := ticket()
			server.Do("CONFIG", "RESETSTAT")
			require.Equal(t, "issued_before_start", status(t, b, before), "the count fell: what did the reset hide?")
			settleAll(t, a, 8*buckets) // one claim was enough for all buckets
		}
	})
}

// trap R32: a wrong policy that was seen ends the epoch, whatever the counter says.
func TestWrongPolicySeen(t *testing.T) {
	onEach(t, func(t *testing.T, program string) {
		server := servers.Redis(t, program, servers.Forgetful...)
		s, other := openUnwatched(t, Config{URL: server.URL}), openUnwatched(t, Config{URL: server.URL})
		unspent := ticket()
		server.Do("CONFIG", "SET", "maxmemory-policy", "volatile-ttl")
		require.NoError(t, s.look(context.Background()))
		server.Do("CONFIG", "SET", "maxmemory-policy", "noeviction")
		require.NoError(t, s.look(context.Background()))
		for _, s := range []*Store{s, other} {
			require.Equal(t, "issued_before_start", status(t, s, unspent))
		}
		settle(t, s)
	})
}

// trap R33: the URL leads to one primary, to an unrelated one, and back. What was redeemed
// on either is refused on the other by a process that saw both, by one that was restarted
// in between, and, once a process that saw both has been there, by all.
func TestAnotherLineage(t *testing.T) {
	onEach(t, func(t *testing.T, program string) {
		for _, durable := range []bool{false, true} {
			one, two := servers.Redis(t, program, servers.Forgetful...), servers.Redis(t, program, servers.Forgetful...)
			proxy := startProxy(t, one.Address)
			lead := func(to *servers.RedisServer) {
				proxy.target.Store(&to.Address)
				proxy.hangUp()
			}
			file := filepath.Join(t.TempDir(), "lineage")
			config := func(url, file string) Config { return Config{URL: url, Durable: durable, LineageFile: file} }
			moved := func() *Store { return openUnwatched(t, config("redis://"+proxy.address(), file)) }
			stays := openUnwatched(t, config(one.URL, "")) // knows the first server alone
			s := moved()
			settle(t, s)
			onOne := ticket()
			require.Equal(t, "admitted", answered(t, s, onOne).Status.String())

			lead(two)
			require.Equal(t, replay.IssuedBeforeStart, answered(t, s, onOne).Status)
			settle(t, s)
			onTwo, unused := ticket(), ticket()
			require.Equal(t, replay.Admitted, answered(t, s, onTwo).Status)

			lead(one)
			require.Equal(t, replay.IssuedBeforeStart, answered(t, s, onTwo).Status)
			require.Equal(t, "issued_before_start", status(t, stays, onTwo))
			require.Equal(t, "issued_before_start", status(t, stays, unused))
			settle(t, s)
			settle(t, stays) // both go on, and neither disturbs the other
			before := ticket()
			settleAll(t, s, 2*buckets)
			settleAll(t, stays, 2*buckets)
			require.Equal(t, "admitted", status(t, stays, before))

			// A process that saw the second server ends, and is started again on the first.
			lead(two)
			settle(t, s)
			onTwo = ticket()
			require.Equal(t, replay.Admitted, answered(t, s, onTwo).Status)
			require.NoError(t, s.Close())
			lead(one)
			s = moved()
			require.Equal(t, "issued_before_start", status(t, s, onTwo))
			require.Equal(t, "issued_before_start", status(t, stays, onTwo))
			settle(t, s)

			// A file that is damaged knows no server, and one that cannot be kept admits nobody.
			require.NoError(t, s.Close())
			before = ticket()
			require.NoError(t, os.WriteFile(file, []byte("["), 0o600))
			s = moved()
			require.Equal(t, "issued_before_start", status(t, s, before))
			settle(t, s)
			_, err := Open(context.Background(), Config{URL: one.URL, LineageFile: filepath.Join(file, "x"), Timeout: patience})
			require.ErrorContains(t, err, "lineage cannot be kept")
		}
	})
}

// torn is a client with connections to two servers: claims go to one, and touches to the other.
type torn struct {
	rueidis.Client
	touches rueidis.Client
	answer  func() // called before the answer to a touch is passed on
}

func (c *torn) DoMulti(ctx context.Context, commands ...rueidis.Completed) []rueidis.RedisResult {
	results := c.touches.DoMulti(ctx, commands...)
	c.answer()
	return results
}

// trap R33: while a store finds out by a touch that its connections lead to another server, a
// claim still goes to the server of before.
func TestClaimDuringChangeOfLineage(t *testing.T) {
	onEach(t, func(t *testing.T, program string) {
		for _, durable := range []bool{false, true} {
			one, two := servers.Redis(t, program, servers.Forgetful...), servers.Redis(t, program, servers.Forgetful...)
			now := time.Now().Add(time.Hour) // ahead of the servers', so that epochs begin by this clock
			at := func(server *servers.RedisServer) *Store {
				config := Config{URL: server.URL, Durable: durable, Timeout: patience}
				s, err := openWith(context.Background(), config, script, time.Hour, func() time.Time { return now })
				require.NoError(t, err)
				t.Cleanup(func() { s.Close() })
				return s
			}
			s, there := at(one), at(two)
			var c replay.Claim
			client := &torn{Client: s.client, touches: there.client}
			client.answer = func() {
				client.answer = func() {}
				now = now.Add(time.Second)
				c = newTicketAt(now)
				require.Equal(t, "admitted", status(t, s, c))
			}
			s.client = client
			_, err := s.touch(context.Background(), doTouch)
			require.NoError(t, err)
			client.Client = there.client
			require.Equal(t, "issued_before_start", status(t, s, c))
			now = now.Add(time.Second)
			require.Equal(t, "admitted", status(t, s, newTicketAt(now)))
		}
	})
}

// trap R33: a touch whose answer comes late, after other touches, changes nothing.
func TestLateAnswerToATouch(t *testing.T) {
	var l lineages
	require.NoError(t, l.load(""))
	all := func(text string) (a [buckets]string) {
		for i := range a {
			a[i] = text
		}
		return a
	}
	saw := func(named, seen string) (again bool) {
		n, s := all(named), all(seen)
		again, err := l.saw(&n, &s)
		require.NoError(t, err)
		return again
	}
	require.False(t, saw("", "one"))
	require.Equal(t, "one", l.of(0))
	require.False(t, saw("", "two"), "another was faster")
	require.False(t, saw("one", "one"))
	require.True(t, saw("one", "two"))
	first := l.of(0)
	require.False(t, saw("one", "one"), "the lineage was left in the meantime")
	require.Equal(t, first, l.of(0))
	require.False(t, saw(first, "one"))
	require.False(t, saw(first, "two"))
	require.Equal(t, "one", l.of(0))
	require.True(t, saw("one", "two"))
	second := l.of(0)
	require.NotEqual(t, first, second)
	require.False(t, saw(first, "two"))
	require.Equal(t, second, l.of(0))
	require.False(t, saw(second, "two"))
	require.Equal(t, "two", l.of(0))
}

// trap R37: while too few replicas are connected, no claim writes anything, looks and
// statistics say so, and the ticket is good when the replica is back.
func TestReplicaAway(t *testing.T) {
	onEach(t, func(t *testing.T, program string) {
		options := append(noDelay, servers.Forgetful...)
		primary := servers.Redis(t, program, options...)
		replica := primary.Replicas(1, options...)[0]
		s := open(t, Config{URL: primary.URL, Timeout: patience, Wait: Wait{Replicas: 1, Timeout: 200 * time.Millisecond}})
		settle(t, s)
		spent := ticket()
		spent.Binding = [32]byte{1}
		require.Equal(t, "admitted", answered(t, s, spent).Status.String())
		st, err := s.Stats(context.Background())
		require.NoError(t, err)
		require.NoError(t, st.Err)

		replica.Kill()
		require.Eventually(t, func() bool { return s.connected() == 0 }, patience, 10*time.Millisecond)
		c := ticket()
		for range 3 {
			a, err := s.Claim(context.Background(), c)
			requireUnavailable(t, a, err)
			require.ErrorContains(t, err, "fewer than 1 replicas are connected")
			a, err = s.Peek(context.Background(), c)
			requireUnavailable(t, a, err)
			spent.Binding = [32]byte{2}
			a, err = s.Claim(context.Background(), spent)
			requireUnavailable(t, a, err)
		}
		require.Equal(t, "0", primary.Do("EXISTS", s.keys.encode(&c, doClaim).key))
		st, err = s.Stats(context.Background())
		require.NoError(t, err)
		require.Error(t, st.Err)

		replica.Start()
		assert.Equal(t, replay.Admitted, answered(t, s, c).Status)
		assert.Equal(t, "already_used", answered(t, s, c).Status.String())
		require.Eventually(t, func() bool {
			st, err := s.Stats(context.Background())
			return err == nil && st.Err == nil
		}, patience, 10*time.Millisecond)
	})
}

// trap R37: a WAIT that fell short is met by one claim at most, and then by none until the
// replica has caught up.
func TestReplicaStops(t *testing.T) {
	onEach(t, func(t *testing.T, program string) {
		options := append(noDelay, servers.Forgetful...)
		primary := servers.Redis(t, program, options...)
		replica := primary.Replicas(1, options...)[0]
		s := open(t, Config{URL: primary.URL, Timeout: patience, Wait: Wait{Replicas: 1, Timeout: 200 * time.Millisecond}})
		settle(t, s)
		replica.Freeze()
		first := ticket()
		a, err := s.Claim(context.Background(), first)
		requireUnavailable(t, a, err)
		var waiting []replay.Claim
		for range 20 {
			c := ticket()
			a, err := s.Claim(context.Background(), c)
			requireUnavailable(t, a, err)
			require.Equal(t, "0", primary.Do("EXISTS", s.keys.encode(&c, doClaim).key))
			waiting = append(waiting, c)
		}
		replica.Thaw()
		for _, c := range waiting {
			require.Equal(t, replay.Admitted, answered(t, s, c).Status)
		}
	})
}

// connected returns the number of replicas that the primary counts.
func (s *Store) connected() (n int) {
	for _, node := range s.client.Nodes() {
		text, _ := node.Do(context.Background(), node.B().Info().Build()).ToString()
		n += connectedReplicas(parseInfo(text))
	}
	return n
}

// The traps above are met by the script without the line that is for them: without it, the
// ticket is admitted twice, or spent for nothing.
func TestScriptMutants(t *testing.T) {
	onEach(t, func(t *testing.T, program string) {
		mutant := func(old, new string) string {
			require.Equal(t, 1, strings.Count(script, old), old)
			return strings.Replace(script, old, new, 1)
		}
		open := func(server *servers.RedisServer, script string, config Config) *Store {
			config.URL, config.Timeout = server.URL, patience
			s, err := openWith(context.Background(), config, script, time.Hour, time.Now)
			require.NoError(t, err)
			t.Cleanup(func() { s.Close() })
			return s
		}
		t.Run("R32", func(t *testing.T) {
			server := servers.Redis(t, program, servers.Forgetful...)
			s := open(server, mutant("or evicted ~= count and (wrote == id or evicted ~= 0)", ""), Config{})
			settle(t, s)
			c := ticket()
			require.Equal(t, "admitted", status(t, s, c))
			evict(t, server, s, c)
			require.Equal(t, "admitted", status(t, s, c))
		})
		t.Run("R33", func(t *testing.T) {
			one, two := servers.Redis(t, program, servers.Forgetful...), servers.Redis(t, program, servers.Forgetful...)
			blind := mutant("or lineage ~= '' and lineage ~= (fence and id or origin)", "")
			file := filepath.Join(t.TempDir(), "lineage")
			settle(t, open(one, blind, Config{LineageFile: file}))
			there := open(two, blind, Config{LineageFile: file})
			settle(t, there)
			c := ticket()
			require.Equal(t, "admitted", status(t, there, c))
			require.Equal(t, "admitted", status(t, open(one, blind, Config{LineageFile: file}), c))
		})
		t.Run("R37", func(t *testing.T) {
			primary := servers.Redis(t, program, append(noDelay, servers.Forgetful...)...)
			replica := primary.Replicas(1, append(noDelay, servers.Forgetful...)...)[0]
			s := open(primary, mutant("if online < replicas and (what == 'claim' or what == 'peek') then return 7 end", ""),
				Config{Wait: Wait{Replicas: 1, Timeout: 200 * time.Millisecond}})
			settle(t, s)
			replica.Kill()
			c := ticket()
			a, err := s.Claim(context.Background(), c)
			requireUnavailable(t, a, err)
			require.Equal(t, "1", primary.Do("EXISTS", s.keys.encode(&c, doClaim).key))
		})
	})
}
