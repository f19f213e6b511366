//go:build unix

package redisstore

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/internal/servers"
	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/replaytest"
)

// movedClock is a server's clock that can be moved: the script reads it from a
// key, and what its steps expire is deleted. It starts at the true time, and
// the tests are at most hours ahead, so the server itself expires nothing.
type movedClock struct {
	t      *testing.T
	mu     sync.Mutex
	client rueidis.Client
	now    time.Time
}

const clockKey = "clock of the test"

var movedScript = strings.Replace(script, "redis.call('TIME')", "redis.call('HMGET', '"+clockKey+"', 's', 'us')", 1)

func newMovedClock(t *testing.T, server *servers.RedisServer) *movedClock {
	require.NotEqual(t, script, movedScript)
	client, err := server.Client()
	require.NoError(t, err)
	t.Cleanup(func() { client.Close() })
	c := &movedClock{t: t, client: client, now: time.Now()}
	c.Step(0)
	return c
}

func (c *movedClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *movedClock) do(arguments ...string) rueidis.RedisResult {
	return c.client.Do(context.Background(), c.client.B().Arbitrary(arguments...).Build())
}

// openMoved opens a store, of a process with the clock now, on a server whose clock
// is moved. It looks at the servers by itself no more.
func openMoved(t *testing.T, server *servers.RedisServer, now func() time.Time) *Store {
	s, err := openWith(context.Background(), Config{URL: server.URL, Timeout: patience}, movedScript, time.Hour, now)
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

// Step counts in whole microseconds, as the server does.
func (c *movedClock) Step(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	us := c.now.UnixMicro()
	require.NoError(c.t, c.do("HSET", clockKey, "s", fmt.Sprint(us/1e6), "us", fmt.Sprint(us%1e6)).Error())
	if d <= 0 {
		return
	}
	names, err := c.do("KEYS", "admitone:*").AsStrSlice()
	require.NoError(c.t, err)
	for _, key := range names {
		expires, err := c.do("PEXPIRETIME", key).AsInt64()
		require.NoError(c.t, err)
		if expires > 0 && us/1000 > expires {
			require.NoError(c.t, c.do("DEL", key).Error())
		}
	}
}

// The conformance suite with a clock that steps, also back.
//
// trap R2
// trap R6
// trap R7
// trap R9
// trap R10
// trap R11
// trap R12
// trap R13
// trap R14
// trap R15
// trap R27
// trap R29
// trap R30
func TestConformanceMovedClock(t *testing.T) {
	onEach(t, func(t *testing.T, program string) {
		server := servers.Redis(t, program, servers.Forgetful...)
		clock := newMovedClock(t, server)
		config := Config{URL: server.URL, Timeout: patience}
		openStore := func(t *testing.T) *Store {
			s, err := openWith(context.Background(), config, movedScript, keepInterval, clock.Now)
			require.NoError(t, err)
			t.Cleanup(func() { s.Close() })
			return s
		}
		replaytest.Run(t, replaytest.Harness{
			Open:  func(t *testing.T) replay.Store { return openStore(t) },
			Now:   clock.Now,
			Step:  clock.Step,
			Epoch: func(t *testing.T) time.Time { return earliest(t, openStore(t)) },
			Reset: func(*testing.T) {
				server.Do("FLUSHALL")
				clock.Step(0)
			},
			Exact: true,
		})
	})
}

// Who steps how far, and what becomes of the epochs: a step ahead is none of
// their business, a small one back is covered by the nonces' longer life, and
// a large one back begins them anew, once.
//
// trap R13
// trap R14
func TestEpochAndSteps(t *testing.T) {
	onEach(t, func(t *testing.T, program string) {
		server := servers.Redis(t, program, servers.Forgetful...)
		clock := newMovedClock(t, server)
		s := openMoved(t, server, clock.Now)
		began := earliest(t, s)
		for _, d := range []time.Duration{time.Minute, time.Hour, -15 * time.Second, time.Second, -5 * time.Second} {
			clock.Step(d)
			require.Equal(t, began, earliest(t, s), "after a step of %v", d)
		}
		// A clock before the first use opens no grace: it would last too long.
		bound := newTicketAt(clock.Now())
		bound.Binding = [32]byte{1}
		require.Equal(t, "admitted", status(t, s, bound))
		require.Equal(t, "admitted", status(t, s, bound))
		clock.Step(-time.Microsecond)
		require.Equal(t, "already_used", status(t, s, bound))

		// The latest time seen may lag by 10 s, so 30 s are always noticed.
		for _, d := range []time.Duration{-31 * time.Second, -time.Hour} {
			clock.Step(time.Minute)
			victim := newTicketAt(clock.Now())
			require.Equal(t, "admitted", status(t, s, victim))
			_, err := s.touch(context.Background(), doTouch)
			require.NoError(t, err)
			clock.Step(d)
			unused := newTicketAt(clock.Now().Add(-time.Second))
			peeked, err := s.Peek(context.Background(), unused)
			require.NoError(t, err)
			require.Equal(t, replay.IssuedBeforeStart, peeked.Status)
			require.Equal(t, "issued_before_start", status(t, s, unused))
			require.Equal(t, "already_used", status(t, s, victim))
			epochs, err := s.touch(context.Background(), doTouch)
			require.NoError(t, err)
			for _, epoch := range epochs {
				require.Equal(t, clock.Now().UnixMicro(), epoch.UnixMicro())
			}
			clock.Step(time.Microsecond)
			require.Equal(t, "admitted", status(t, s, newTicketAt(clock.Now())))
		}
	})
}

// The clock leaps so far ahead that the keys expire, and is set right a moment
// later. The claims that it meets meanwhile are too late, or of what is spent.
//
// trap R13
func TestShortLeapAhead(t *testing.T) {
	onEach(t, func(t *testing.T, program string) {
		server := servers.Redis(t, program, servers.Forgetful...)
		clock := newMovedClock(t, server)
		s := openMoved(t, server, clock.Now)
		for name, meets := range map[string]string{"too late": "too_late", "spent": "already_used"} {
			clock.Step(time.Minute)
			var victims []replay.Claim
			for range 2 * buckets {
				c := newTicketAt(clock.Now())
				require.Equal(t, "admitted", status(t, s, c))
				victims = append(victims, c)
			}
			met := newTicketAt(clock.Now())
			if meets == "already_used" {
				met.Expires, met.RetainUntil = met.Expires.Add(2*time.Hour), met.RetainUntil.Add(2*time.Hour)
			}
			require.Equal(t, "admitted", status(t, s, met))
			clock.Step(time.Hour)
			require.Equal(t, meets, status(t, s, met), name)
			clock.Step(-time.Hour)
			for _, c := range victims {
				require.NotEqual(t, "admitted", status(t, s, c), name)
			}
		}
	})
}

// A server whose clock stands behind the true time when it loses its memory, or
// when it is set right too far, lets in nothing that was redeemed before.
//
// trap R13
// trap R14
// trap R30
func TestEpochOfServerBehind(t *testing.T) {
	onEach(t, func(t *testing.T, program string) {
		server := servers.Redis(t, program, servers.Forgetful...)
		clock := newMovedClock(t, server)
		now := clock.Now() // that of the store's own process, which is right
		s := openMoved(t, server, func() time.Time { return now })
		for _, loss := range []struct {
			name string
			lose func()
		}{
			{"set right, and then back", func() {
				clock.Step(time.Hour)
				_, err := s.touch(context.Background(), doTouch)
				require.NoError(t, err)
				clock.Step(-time.Hour)
				_, err = s.touch(context.Background(), doTouch)
				require.NoError(t, err)
				clock.Step(-time.Hour)
			}},
			{"ahead, and then behind", func() {
				clock.Step(2 * time.Hour)
				_, err := s.touch(context.Background(), doTouch)
				require.NoError(t, err)
				clock.Step(-2 * time.Hour)
			}},
			{"restarted empty", func() { server.Do("FLUSHALL"); clock.Step(0) }},
		} {
			victim := newTicketAt(now.Add(time.Second))
			require.Equal(t, "admitted", status(t, s, victim), loss.name)
			now = now.Add(2 * time.Second)
			loss.lose()
			require.Equal(t, "issued_before_start", status(t, s, victim), loss.name)
			now = now.Add(time.Second)
			require.Equal(t, "admitted", status(t, s, newTicketAt(now)), loss.name)
		}
	})
}

func newTicketAt(notBefore time.Time) replay.Claim {
	c := ticket()
	c.Issued, c.NotBefore = notBefore, notBefore
	c.Expires = notBefore.Add(lifetime)
	c.RetainUntil = c.Expires.Add(90 * time.Second)
	return c
}

// A key's expiry is rounded up, never down: at no moment before RetainUntil is
// it gone, and at none after is the claim admitted.
//
// trap R6
// trap R22
// trap R29
func TestNoGapAtTheEnd(t *testing.T) {
	onEach(t, func(t *testing.T, program string) {
		server := servers.Redis(t, program, servers.Forgetful...)
		s := open(t, Config{URL: server.URL, Timeout: patience})
		settle(t, s)
		var wg sync.WaitGroup
		for n := range 40 {
			wg.Go(func() {
				var c replay.Claim
				admitted := 0
				// a busy machine may take so long over a claim
				for life := 300 * time.Millisecond; admitted == 0 && life < patience; life *= 2 {
					c = ticket()
					c.Expires = time.Now()
					c.RetainUntil = time.Now().Add(life + time.Duration(n)*24_999*time.Nanosecond)
					for {
						a, err := s.Claim(context.Background(), c)
						if !assert.NoError(t, err) {
							return
						}
						if a.Status == replay.TooLate {
							break
						}
						if a.Status == replay.Admitted {
							admitted++
						}
					}
				}
				assert.Equal(t, 1, admitted)
				for range 20 {
					a, err := s.Claim(context.Background(), c)
					assert.NoError(t, err)
					assert.Equal(t, replay.TooLate, a.Status)
				}
			})
		}
		wg.Wait()
		require.Eventually(t, func() bool {
			return server.Do("DBSIZE") == strconv.Itoa(buckets+1) // the epochs and what settle left
		}, patience, 20*time.Millisecond)
	})
}
