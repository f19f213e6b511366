//go:build unix

package redisstore

import (
	"context"
	"fmt"
	"net"
	"strconv"
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

// What is on the server is what the package comment says; looking writes
// nothing, and neither does a replay.
//
// trap R27
func TestKeysOnTheServer(t *testing.T) {
	onEach(t, func(t *testing.T, program string) {
		server := servers.Redis(t, program, servers.Forgetful...)
		s := openUnwatched(t, Config{URL: server.URL, Realm: "prod"})
		assert.Equal(t, fmt.Sprint(buckets), server.Do("DBSIZE"))
		assert.Equal(t, "-1", server.Do("PTTL", "admitone:1:{00/prod}:epoch"))
		c := ticket()
		key := s.keys.encode(&c, doClaim).key
		require.Regexp(t, `^admitone:1:\{[0-3][0-9a-f]/prod\}:[0-9a-f]{32}$`, key)

		writes := func() string {
			for line := range strings.Lines(server.Do("INFO", "commandstats")) {
				if strings.HasPrefix(line, "cmdstat_set:") {
					return strings.SplitN(line, ",", 2)[0]
				}
			}
			return ""
		}
		before := writes()
		peeked, err := s.Peek(context.Background(), c)
		require.NoError(t, err)
		require.Equal(t, replay.Answer{Status: replay.Admitted}, peeked)
		epoch := s.keys.epoch[s.keys.encode(&c, doClaim).bucket]
		server.Do("DEL", epoch)
		peeked, err = s.Peek(context.Background(), c)
		require.NoError(t, err)
		require.Equal(t, replay.Answer{Status: replay.IssuedBeforeStart}, peeked)
		require.Equal(t, before, writes())
		require.Equal(t, "0", server.Do("EXISTS", epoch))
		_, err = s.touch(context.Background(), doTouch)
		require.NoError(t, err)
		require.Equal(t, "1", server.Do("EXISTS", epoch))

		c = ticket()
		key = s.keys.encode(&c, doClaim).key
		c.Binding = [32]byte{1}
		begin := time.Now()
		require.Equal(t, "admitted", status(t, s, c))
		value := server.Do("GET", key)
		require.Len(t, value, 48)
		until, err := strconv.ParseInt(server.Do("PEXPIRETIME", key), 10, 64)
		require.NoError(t, err)
		require.False(t, time.UnixMilli(until).Before(c.RetainUntil.Truncate(time.Microsecond)))
		require.Less(t, time.UnixMilli(until).Sub(c.RetainUntil), 2*time.Millisecond)

		before = writes()
		other := c
		other.Binding, other.RetainUntil = [32]byte{2}, c.RetainUntil.Add(time.Hour)
		for range 3 {
			require.Equal(t, "already_used", status(t, s, other))
		}
		require.Equal(t, before, writes())
		a := claim(t, s, c)
		require.True(t, a.Repeated || time.Since(begin) >= replay.Grace)
		assert.Equal(t, value, server.Do("GET", key))
		assert.Equal(t, strconv.FormatInt(until, 10), server.Do("PEXPIRETIME", key))
		assert.Equal(t, "redisstore(realm \"prod\", standalone)", s.String())
	})
}

// A deployment's first start refuses what was issued before it, its second
// process nothing. Realms do not know each other.
//
// trap R2
func TestFirstStart(t *testing.T) {
	onEach(t, func(t *testing.T, program string) {
		server := servers.Redis(t, program, servers.Forgetful...)
		early := ticket()
		time.Sleep(2 * time.Millisecond)
		first := open(t, Config{URL: server.URL, Realm: "a"})
		require.Equal(t, "issued_before_start", status(t, first, early))
		time.Sleep(2 * time.Millisecond)
		c, d := ticket(), ticket()
		require.Equal(t, "admitted", status(t, first, c))
		second := open(t, Config{URL: server.URL, Realm: "a"})
		require.Equal(t, "issued_before_start", status(t, second, early))
		require.Equal(t, "already_used", status(t, second, c))
		require.Equal(t, "admitted", status(t, second, d))

		otherRealm := open(t, Config{URL: server.URL, Realm: "b"})
		require.Equal(t, "issued_before_start", status(t, otherRealm, c))
		e := ticket()
		require.Equal(t, "admitted", status(t, otherRealm, e))
		require.Equal(t, "admitted", status(t, first, e))
	})
}

// A server at its bound says so, forgets nothing, and admits again when there
// is room.
//
// trap R1
// trap R16
func TestFull(t *testing.T) {
	onEach(t, func(t *testing.T, program string) {
		server := servers.Redis(t, program, append([]string{"--maxmemory", "4mb"}, servers.Forgetful...)...)
		s := open(t, Config{URL: server.URL, Timeout: patience})
		settle(t, s)
		var mu sync.Mutex
		var admitted []replay.Claim
		var full atomic.Int64
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				for full.Load() < 20_000 { // far more than there is room for
					c := ticket()
					a, err := s.Claim(context.Background(), c)
					switch {
					case assert.NoError(t, err) && a.Status == replay.Admitted:
						mu.Lock()
						admitted = append(admitted, c)
						mu.Unlock()
					case assert.Equal(t, replay.Answer{Status: replay.Full}, a):
						full.Add(1)
					}
					if t.Failed() {
						return
					}
				}
			})
		}
		wg.Wait()
		require.Greater(t, len(admitted), 1000)
		t.Logf("%d nonces in 4 MB, keys of the empty server included", len(admitted))
		for part := range 16 {
			wg.Go(func() {
				for i := part; i < len(admitted); i += 16 {
					a, err := s.Claim(context.Background(), admitted[i])
					if err != nil || a.Status != replay.AlreadyUsed {
						t.Error(a, err)
						return
					}
				}
			})
		}
		wg.Wait()
		server.Do("CONFIG", "SET", "maxmemory", "0")
		require.Equal(t, "admitted", status(t, s, ticket()))
	})
}

// Several clients, and goroutines in each: one winner for a nonce, and where
// all have one binding, one first.
//
// trap R18
// trap R31
func TestOneWinner(t *testing.T) {
	onEach(t, func(t *testing.T, program string) {
		server := servers.Redis(t, program, servers.Forgetful...)
		var stores []*Store
		for range 4 {
			stores = append(stores, open(t, Config{URL: server.URL, Timeout: patience}))
		}
		settle(t, stores[0])
		for n := range 300 {
			c := ticket()
			bound := n%2 == 1
			if bound {
				c.Binding = [32]byte{byte(n)}
			}
			var first, repeated, used atomic.Int64
			var wg sync.WaitGroup
			begin := time.Now()
			for i := range 16 {
				wg.Go(func() {
					a, err := stores[i%4].Claim(context.Background(), c)
					switch {
					case err != nil:
						t.Error(err)
					case a.Repeated:
						repeated.Add(1)
					case a.Status == replay.Admitted:
						first.Add(1)
					case a.Status == replay.AlreadyUsed:
						used.Add(1)
					}
				})
			}
			wg.Wait()
			require.EqualValues(t, 1, first.Load())
			switch {
			case !bound:
				require.EqualValues(t, 15, used.Load())
			case time.Since(begin) < replay.Grace:
				require.EqualValues(t, 15, repeated.Load())
			default: // on a machine that is so busy
				require.EqualValues(t, 15, repeated.Load()+used.Load())
			}
		}
	})
}

// A server that has lost the script, and knows nothing else less, is told it
// again.
func TestScriptFlushed(t *testing.T) {
	onEach(t, func(t *testing.T, program string) {
		server := servers.Redis(t, program, servers.Forgetful...)
		s := open(t, Config{URL: server.URL})
		c := ticket()
		require.Equal(t, "admitted", status(t, s, c))
		server.Do("SCRIPT", "FLUSH")
		require.Equal(t, "already_used", status(t, s, c))
		server.Do("SCRIPT", "FLUSH")
		epochs, err := s.touch(context.Background(), doTouch)
		require.NoError(t, err)
		for _, epoch := range epochs {
			require.WithinDuration(t, time.Now(), epoch, time.Minute)
		}
	})
}

// Somebody's junk where our keys are is no answer, and admits nobody.
func TestForeignValues(t *testing.T) {
	onEach(t, func(t *testing.T, program string) {
		server := servers.Redis(t, program, servers.Forgetful...)
		s := openUnwatched(t, Config{URL: server.URL})
		c := ticket()
		a := s.keys.encode(&c, doClaim)
		epoch := s.keys.epoch[a.bucket]
		for _, junk := range [][]string{{"SET", a.key, "junk"}, {"LPUSH", a.key, "1"}, {"SADD", epoch, "1"}} {
			server.Do("DEL", junk[1])
			server.Do(junk...)
			answer, err := s.Claim(context.Background(), c)
			requireUnavailable(t, answer, err)
			server.Do("DEL", junk[1])
		}
		for _, config := range []Config{{URL: server.URL}, {URL: server.URL, Durable: true}} {
			s := openUnwatched(t, config)
			for _, junk := range []string{"", "junk", strings.Repeat("x", 72)} {
				c := ticket()
				server.Do("SET", newKeys("").encode(&c, doClaim).key[:len(epoch)-len("epoch")]+"epoch", junk)
				require.Equal(t, "issued_before_start", status(t, s, c))
			}
			time.Sleep(time.Millisecond)
			require.Equal(t, "admitted", status(t, s, ticket()))
		}
	})
}

// The answer is lost on its way, the server has the claim: the connection dies
// before it can be read. Whoever retries with the binding is admitted, and the
// library has not retried by itself.
//
// trap R25
func TestLostAnswer(t *testing.T) {
	onEach(t, func(t *testing.T, program string) {
		server := servers.Redis(t, program, servers.Forgetful...)
		proxy := startProxy(t, server.Address)
		s := open(t, Config{URL: "redis://" + proxy.address()})
		for _, bound := range []bool{true, false} {
			settleAll(t, s, connections)
			c, begin := ticket(), time.Now()
			if bound {
				c.Binding = [32]byte{1}
			}
			proxy.swallow.Store(true)
			ctx, cancel := context.WithCancel(context.Background())
			var a replay.Answer
			var err error
			var lost sync.WaitGroup
			lost.Go(func() { a, err = s.Claim(ctx, c) })
			require.Eventually(t, func() bool { return server.Do("EXISTS", s.keys.encode(&c, doClaim).key) == "1" },
				patience, time.Millisecond)
			cancel()
			lost.Wait()
			requireUnavailable(t, a, err)
			proxy.hangUp()
			proxy.swallow.Store(false)
			a = answered(t, s, c)
			if bound && time.Since(begin) < replay.Grace {
				require.Equal(t, replay.Admitted, a.Status)
				require.True(t, a.Repeated, "the claim arrived")
			} else {
				require.Equal(t, replay.AlreadyUsed, a.Status, "the claim arrived, and nobody can say whose it was")
			}
			c.Binding = [32]byte{2}
			require.Equal(t, replay.AlreadyUsed, answered(t, s, c).Status)
		}
	})
}

// A caller's own deadline ends its claim, and takes nobody else's connection
// down.
func TestImpatientCaller(t *testing.T) {
	onEach(t, func(t *testing.T, program string) {
		server := servers.Redis(t, program, servers.Forgetful...)
		proxy := startProxy(t, server.Address)
		s := open(t, Config{URL: "redis://" + proxy.address(), Timeout: patience})
		settleAll(t, s, connections)
		dialed := proxy.dialed.Load()
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for n := range 100 {
					ctx, cancel := context.WithTimeout(context.Background(), time.Duration(n)*5*time.Microsecond)
					a, err := s.Claim(ctx, ticket())
					cancel()
					if err != nil {
						assert.ErrorIs(t, err, replay.ErrUnavailable)
						assert.ErrorIs(t, err, context.DeadlineExceeded)
						assert.Zero(t, a)
					}
					a, err = s.Claim(context.Background(), ticket())
					assert.NoError(t, err)
					assert.Equal(t, replay.Admitted, a.Status)
				}
			})
		}
		wg.Wait()
		assert.Equal(t, dialed, proxy.dialed.Load())
	})
}

// After Close, and during it, nobody is admitted, and nothing hangs.
//
// trap R17
func TestClose(t *testing.T) {
	onEach(t, func(t *testing.T, program string) {
		server := servers.Redis(t, program, servers.Forgetful...)
		s := open(t, Config{URL: server.URL})
		settle(t, s)
		done := make(chan struct{})
		go func() {
			defer close(done)
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					for {
						if _, err := s.Claim(context.Background(), ticket()); err != nil {
							assert.ErrorIs(t, err, replay.ErrUnavailable)
							return
						}
						_, _ = s.Peek(context.Background(), ticket())
						_ = s.String()
					}
				})
			}
			for range 2 {
				wg.Go(func() { s.Close() })
			}
			wg.Wait()
		}()
		select {
		case <-done:
		case <-time.After(patience):
			t.Fatal("Close, Claim and Peek wait for each other")
		}
		// Nor on a connection that the client has not made yet.
		unused := open(t, Config{URL: server.URL})
		unused.Close()
		for range connections {
			for _, s := range []*Store{s, unused} {
				a, err := s.Claim(context.Background(), ticket())
				requireUnavailable(t, a, err)
			}
		}
	})
}

// proxy stands between client and server, as the network does.
type proxy struct {
	listener net.Listener
	target   atomic.Pointer[string]
	swallow  atomic.Bool // the server's answers
	dialed   atomic.Int64
	mu       sync.Mutex
	conns    []net.Conn
}

func startProxy(t *testing.T, target string) *proxy {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{listener: l}
	p.target.Store(&target)
	t.Cleanup(func() {
		_ = l.Close()
		p.hangUp()
	})
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", *p.target.Load())
			if err != nil {
				_ = client.Close()
				continue
			}
			p.dialed.Add(1)
			p.mu.Lock()
			p.conns = append(p.conns, client, server)
			p.mu.Unlock()
			go p.copy(server, client, nil)
			go p.copy(client, server, &p.swallow)
		}
	}()
	return p
}

func (p *proxy) address() string { return p.listener.Addr().String() }

func (p *proxy) copy(to, from net.Conn, swallow *atomic.Bool) {
	buffer := make([]byte, 1<<16)
	for {
		n, err := from.Read(buffer)
		if n > 0 && (swallow == nil || !swallow.Load()) {
			_, _ = to.Write(buffer[:n])
		}
		if err != nil {
			_ = to.Close()
			_ = from.Close()
			return
		}
	}
}

func (p *proxy) hangUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.conns = nil
}
