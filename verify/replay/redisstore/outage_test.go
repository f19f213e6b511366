//go:build unix

package redisstore

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/internal/servers"
	"github.com/admitone/admitone/verify/replay"
)

// offer offers every ticket to all stores at once, to each with a binding of its
// own, and tries again for as long as the store is unavailable. It wants each
// admitted to one binding, and returns how many answers were ErrUnavailable. A
// ticket for whose answer somebody tried for longer than the grace may have been
// admitted to nobody. progress is told of each ticket that is done with, and can
// wait until some more answers were ErrUnavailable.
func offer(t *testing.T, stores []*Store, tickets []replay.Claim,
	progress func(done int, awaitOutage func())) (outages int64) {
	t.Helper()
	const workers = 24
	won := make([]atomic.Int32, len(tickets))
	late := make([]atomic.Bool, len(tickets))
	answers := make([][]replay.Answer, len(tickets)) // by store
	var next, done, failed atomic.Int64
	awaitOutage := func() {
		before := failed.Load()
		for begin := time.Now(); failed.Load() < before+20 && time.Since(begin) < patience; time.Sleep(time.Millisecond) {
		}
	}
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for {
				n := int(next.Add(1)) - 1
				if n >= len(tickets) {
					return
				}
				answers[n] = make([]replay.Answer, len(stores))
				var both sync.WaitGroup
				for i, s := range stores {
					both.Go(func() {
						c := tickets[n]
						c.Binding = [32]byte{byte(i + 1)}
						for begin := time.Now(); time.Since(begin) < patience; time.Sleep(5 * time.Millisecond) {
							a, err := s.Claim(context.Background(), c)
							if time.Since(begin) >= replay.Grace {
								late[n].Store(true)
							}
							if err != nil {
								failed.Add(1)
								assert.ErrorIs(t, err, replay.ErrUnavailable)
								assert.Zero(t, a)
								continue
							}
							answers[n][i] = a
							if a.Status == replay.Admitted {
								won[n].Add(1)
							}
							return
						}
						assert.Fail(t, "a claim is unavailable for too long")
					})
				}
				both.Wait()
				progress(int(done.Add(1)), awaitOutage)
			}
		})
	}
	wg.Wait()
	for i := range won {
		n := won[i].Load()
		require.True(t, n == 1 || n == 0 && late[i].Load(), "ticket %d is admitted to %d bindings: %v", i, n, answers[i])
	}
	return failed.Load()
}

// The server stops answering, and comes back; then it is killed, and started
// again, all in the middle of the load. Since it syncs before it answers, every
// ticket is admitted once.
//
// trap R18
// trap R24
// trap R25
func TestServerStopsUnderLoad(t *testing.T) {
	onEach(t, func(t *testing.T, program string) {
		server := servers.Redis(t, program, servers.Durable...)
		config := Config{URL: server.URL, Durable: true, Timeout: 300 * time.Millisecond}
		stores := []*Store{open(t, config), open(t, config)}
		settle(t, stores[0])
		tickets := make([]replay.Claim, 3000)
		for i := range tickets {
			tickets[i] = ticket()
		}
		var faults sync.WaitGroup
		outages := offer(t, stores, tickets, func(done int, awaitOutage func()) {
			switch done {
			case len(tickets) / 3:
				faults.Go(func() {
					server.Freeze()
					awaitOutage()
					server.Thaw()
				})
			case 2 * len(tickets) / 3:
				faults.Go(func() {
					server.Kill()
					awaitOutage()
					server.Start()
				})
			}
		})
		faults.Wait()
		assert.GreaterOrEqual(t, outages, int64(40), "both faults were met")
	})
}

// A server that has stopped answering holds nobody up for long, however many
// wait, and is of service when it answers again.
//
// trap R17
// trap R24
func TestStoppedServerHoldsNobodyUp(t *testing.T) {
	onEach(t, func(t *testing.T, program string) {
		server := servers.Redis(t, program, servers.Forgetful...)
		const timeout = 400 * time.Millisecond
		s := open(t, Config{URL: server.URL, Timeout: timeout})
		settle(t, s)
		server.Freeze()
		var longest atomic.Int64
		var wg sync.WaitGroup
		for range 3000 { // more than the client library's queues hold
			wg.Go(func() {
				begin := time.Now()
				a, err := s.Claim(context.Background(), ticket())
				assert.ErrorIs(t, err, replay.ErrUnavailable)
				assert.Zero(t, a)
				for took := int64(time.Since(begin)); ; {
					if old := longest.Load(); took <= old || longest.CompareAndSwap(old, took) {
						return
					}
				}
			})
		}
		wg.Wait()
		t.Logf("3000 callers, the last one waited for %v", time.Duration(longest.Load()))
		// One after the other they would wait for 20 minutes.
		assert.Less(t, time.Duration(longest.Load()), patience)
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		defer cancel()
		a, err := s.Claim(ctx, ticket())
		requireUnavailable(t, a, err)
		server.Thaw()
		settle(t, s)
	})
}

// A server restarted empty: what was issued before is refused by all, also by
// those that never noticed, and what is issued now is not.
//
// trap R30
func TestRestartedEmpty(t *testing.T) {
	onEach(t, func(t *testing.T, program string) {
		server := servers.Redis(t, program, servers.Forgetful...)
		for _, promised := range []bool{false, true} {
			config := Config{URL: server.URL, Realm: fmt.Sprint(promised), Durable: promised}
			stores := []*Store{open(t, config), open(t, config)}
			settle(t, stores[0])
			var spent, unspent []replay.Claim
			for range 2 * buckets {
				c := ticket()
				require.Equal(t, "admitted", status(t, stores[0], c))
				spent, unspent = append(spent, c), append(unspent, ticket())
			}
			server.Kill()
			a, err := stores[0].Claim(context.Background(), spent[0])
			requireUnavailable(t, a, err)
			server.Start()
			for _, s := range append(stores, open(t, config)) {
				require.EventuallyWithT(t, func(c *assert.CollectT) {
					for range connections {
						_, err := s.Claim(context.Background(), spent[0])
						require.NoError(c, err)
					}
				}, patience, 10*time.Millisecond)
				for i := range spent {
					require.Equal(t, "issued_before_start", status(t, s, spent[i]))
					require.Equal(t, "issued_before_start", status(t, s, unspent[i]))
				}
			}
			// One claim was enough for all buckets.
			for range 8 * buckets {
				require.Equal(t, "admitted", status(t, stores[1], ticket()))
			}
		}
	})
}

// A server restarted empty, and nobody claims: the first ticket that is issued
// and redeemed once it is back is not refused for a barrier that begins with it.
// The epochs are begun by who notices that it was away, and not by the clock.
//
// trap R30
func TestRestartedEmptyAndIdle(t *testing.T) {
	onEach(t, func(t *testing.T, program string) {
		server := servers.Redis(t, program, servers.Forgetful...)
		s, err := openWith(context.Background(), Config{URL: server.URL, Timeout: patience}, script, time.Hour, time.Now)
		require.NoError(t, err)
		t.Cleanup(func() { s.Close() })
		spent := ticket()
		require.Equal(t, "admitted", status(t, s, spent))
		for range 3 {
			before := s.known.of(0)
			server.Kill()
			server.Start()
			// The second of the two touches that a change of the lineage takes is over.
			require.Eventually(t, func() bool {
				now := s.known.of(0)
				return now != before && !strings.HasPrefix(now, unknownLineage)
			}, patience, 10*time.Millisecond)
			require.Equal(t, fmt.Sprint(buckets), server.Do("DBSIZE"))
			for range 8 * buckets {
				require.Equal(t, replay.Admitted, answered(t, s, ticket()).Status)
			}
			require.Equal(t, "issued_before_start", status(t, s, spent))
		}
	})
}

// A server that comes back from a snapshot has lost what followed it, and says
// nothing. The replication ID tells; whoever promises Durable without reason is
// admitted twice, which shows that this test loses something.
//
// trap R30
func TestRestartFromSnapshot(t *testing.T) {
	onEach(t, func(t *testing.T, program string) {
		server := servers.Redis(t, program, servers.Forgetful...)
		stores := make(map[bool]*Store)
		for _, promised := range []bool{false, true} {
			stores[promised] = open(t, Config{URL: server.URL, Realm: fmt.Sprint(promised), Durable: promised})
			settle(t, stores[promised])
		}
		kept, lost := ticket(), ticket()
		for _, s := range stores {
			require.Equal(t, "admitted", status(t, s, kept))
		}
		server.Do("SAVE")
		for _, s := range stores {
			require.Equal(t, "admitted", status(t, s, lost))
		}
		unspent := ticket()
		server.Kill()
		server.Start()
		for promised, s := range stores {
			settleAll(t, s, connections)
			require.Equal(t, "already_used", status(t, s, kept))
			want := "issued_before_start"
			if promised {
				want = "admitted"
			}
			require.Equal(t, want, status(t, s, lost))
			require.Equal(t, want, status(t, s, unspent))
			require.Equal(t, "admitted", status(t, s, ticket()))
		}
	})
}
