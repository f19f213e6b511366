package pgstore

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/internal/servers"
	"github.com/admitone/admitone/verify/replay"
)

// A proxy stands between a store and a server. It can lose an answer, and lead
// to another server.
type proxy struct {
	mu   sync.Mutex
	open []net.Conn // for hangUp

	l      net.Listener
	server atomic.Int64 // the port
	lose   atomic.Bool  // close both sides in place of passing on an admission
	lost   atomic.Int64 // admissions
}

func newProxy(t *testing.T, port int) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{l: l}
	p.server.Store(int64(port))
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(client)
		}
	}()
	return p
}

func (p *proxy) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", p.server.Load()))
	if err != nil {
		return
	}
	defer server.Close()
	p.mu.Lock()
	p.open = append(p.open, client, server)
	p.mu.Unlock()
	go func() {
		defer server.Close()
		buf := make([]byte, 32<<10)
		for {
			n, err := client.Read(buf)
			if err != nil {
				return
			}
			if _, err := server.Write(buf[:n]); err != nil {
				return
			}
		}
	}()
	buf := make([]byte, 32<<10)
	for {
		n, err := server.Read(buf)
		if err != nil {
			return
		}
		if p.lose.Load() && bytes.Contains(buf[:n], []byte("admitted")) {
			p.lost.Add(1)
			return
		}
		if _, err := client.Write(buf[:n]); err != nil {
			return
		}
	}
}

// hangUp ends all connections.
func (p *proxy) hangUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.open {
		_ = c.Close()
	}
	p.open = nil
}

func (p *proxy) url() string {
	return fmt.Sprintf("postgres://postgres@%s/postgres?sslmode=disable", p.l.Addr())
}

// The claim is committed, and its answer is lost. With its binding it can be
// made again and is answered the same; without one it is not made again behind
// the caller's back.
//
// trap R25
func TestLostAnswer(t *testing.T) {
	for _, isolation := range []string{"read%20committed", "serializable"} {
		url := servers.Database(t)
		config, err := pgx.ParseConfig(url)
		require.NoError(t, err)
		p := newProxy(t, int(config.Port))
		s := open(t, fmt.Sprintf("postgres://postgres@%s/%s?sslmode=disable&default_transaction_isolation=%s", p.l.Addr(), config.Database, isolation))
		for _, binding := range []byte{0, 7} {
			require.Equal(t, replay.Admitted, claim(t, s, fresh()).Status) // there is a connection
			c, begin := bound(fresh(), binding), time.Now()
			lost := p.lost.Load()
			p.lose.Store(true)
			_, err := s.Claim(context.Background(), c)
			p.lose.Store(false)
			require.ErrorIs(t, err, replay.ErrUnavailable)
			require.Equal(t, lost+1, p.lost.Load(), "sent once")

			a, again := retry(t, s, c), claim(t, s, c)
			assert.False(t, a.FirstUsed.IsZero())
			if binding == 0 {
				assert.Equal(t, replay.AlreadyUsed, a.Status)
			} else if time.Since(begin) < replay.Grace {
				assert.Equal(t, replay.Admitted, a.Status)
				assert.True(t, a.Repeated)
				assert.Equal(t, a, again, "and again")
			}
			assert.Equal(t, replay.AlreadyUsed, claim(t, s, bound(c, 8)).Status)
		}
	}
}

// What keeps a claim from being answered in time is an outage, and not for
// longer than it lasts.
//
// trap R24
func TestUnavailable(t *testing.T) {
	ctx := context.Background()
	url := servers.Database(t)
	s := open(t, url+"&pool_max_conns=2", func(c *Config) { c.Timeout = 300 * time.Millisecond })
	conn, err := pgx.Connect(ctx, url)
	require.NoError(t, err)
	defer conn.Close(ctx)
	limited := open(t, url)
	name := ask1[string](t, url, "SELECT current_database()")
	exec1(t, url, "ALTER DATABASE "+name+" SET statement_timeout = 1000")
	limited.pool.Reset()

	lock, err := conn.Begin(ctx)
	require.NoError(t, err)
	_, err = lock.Exec(ctx, "LOCK TABLE admitone_replay.claims IN EXCLUSIVE MODE")
	require.NoError(t, err)
	c := fresh()
	var wg sync.WaitGroup
	for range 6 { // two wait for the table, the others for a connection
		wg.Go(func() {
			begin := time.Now()
			a, err := s.Claim(ctx, c)
			assert.ErrorIs(t, err, replay.ErrUnavailable)
			assert.Zero(t, a)
			assert.Less(t, time.Since(begin), time.Minute)
		})
	}
	wg.Go(func() {
		_, err := limited.Claim(ctx, c)
		assert.ErrorIs(t, err, replay.ErrUnavailable)
		assert.ErrorContains(t, err, "statement timeout")
	})
	wg.Wait()
	require.NoError(t, lock.Rollback(ctx))
	exec1(t, url, "ALTER DATABASE "+name+" RESET statement_timeout")
	assert.LessOrEqual(t, admissions(t, s, c), 1)
	assert.Equal(t, replay.Admitted, retry(t, limited, fresh()).Status)

	// A server that now is read-only.
	exec1(t, url, "ALTER DATABASE "+name+" SET default_transaction_read_only = on")
	s.pool.Reset()
	c = bound(fresh(), 7)
	require.EventuallyWithT(t, func(collect *assert.CollectT) { // connecting may take longer than a claim may
		_, err := s.Claim(ctx, c)
		require.ErrorIs(t, err, replay.ErrUnavailable)
		require.ErrorContains(collect, err, "connect to the primary")
	}, patience, time.Millisecond)
	exec1(t, url+"&default_transaction_read_only=off", "ALTER DATABASE "+name+" SET default_transaction_read_only = off")
	assert.Equal(t, replay.Admitted, retry(t, s, c).Status, "it was not spent, and the connection is another")

	s.Close()
	_, err = s.Claim(ctx, fresh())
	assert.ErrorIs(t, err, replay.ErrUnavailable)
}

// admissions claims c a few times and counts.
func admissions(t *testing.T, s *Store, c replay.Claim) (n int) {
	for b := range byte(3) {
		if retry(t, s, bound(c, b)).Status == replay.Admitted {
			n++
		}
	}
	return n
}

// Under load the server is frozen, and ended as by a power failure, and shut
// down in good order, and comes back each time. No ticket is admitted twice,
// what is refused for the outage is refused as that, and service resumes by
// itself.
//
// trap R17
// trap R18
// trap R24
func TestServerStopsUnderLoad(t *testing.T) {
	t.Parallel()
	server := servers.PostgreSQL(t)
	var stores []*Store
	for range 3 {
		stores = append(stores, open(t, server.URL, func(c *Config) {
			c.Timeout, c.PurgeEvery = 2*time.Second, 50*time.Millisecond
		}))
	}
	type tried struct {
		claim    replay.Claim
		admitted atomic.Int64
	}
	var (
		mu          sync.Mutex
		all         []*tried
		served      atomic.Int64
		unavailable atomic.Int64
		end         = make(chan struct{})
		wg          sync.WaitGroup
	)
	for range 8 {
		wg.Go(func() {
			for {
				select {
				case <-end:
					return
				default:
				}
				c := &tried{claim: fresh()}
				mu.Lock()
				all = append(all, c)
				mu.Unlock()
				var offers sync.WaitGroup
				for _, s := range stores { // offered to all three at once
					offers.Go(func() {
						a, err := s.Claim(context.Background(), c.claim)
						switch {
						case err != nil:
							assert.ErrorIs(t, err, replay.ErrUnavailable)
							assert.Zero(t, a)
							unavailable.Add(1)
						case a.Status == replay.Admitted:
							c.admitted.Add(1)
							served.Add(1)
						default:
							assert.Equal(t, replay.AlreadyUsed, a.Status)
						}
					})
				}
				offers.Wait()
			}
		})
	}
	grows := func(n *atomic.Int64, by int64) {
		t.Helper()
		before := n.Load()
		assert.Eventually(t, func() bool { return n.Load() >= before+by }, patience, 5*time.Millisecond)
	}
	for _, stop := range []func() func(){
		func() func() {
			server.Freeze()
			return server.Thaw
		},
		func() func() { server.Kill(); return server.Start },
		func() func() { server.Stop(); return server.Start },
	} {
		grows(&served, 100)
		resume := stop()
		grows(&unavailable, 10)
		resume()
		grows(&served, 100)
	}
	close(end)
	wg.Wait()
	spent, looked := 0, 0
	for _, c := range all {
		require.LessOrEqual(t, c.admitted.Load(), int64(1), "ADMITTED TWICE")
		if c.admitted.Load() == 1 {
			spent++
			if spent%7 == 0 {
				require.Equal(t, replay.AlreadyUsed, retry(t, stores[0], c.claim).Status)
			}
		} else if looked < 500 { // while the server was away there were any number of them
			looked++
			require.LessOrEqual(t, admissions(t, stores[1], c.claim), 1)
		}
	}
	t.Logf("%d tickets, %d admitted, %d answers of unavailable", len(all), spent, unavailable.Load())
}

// A standby that had not been sent the latest claims is promoted. What may have
// been redeemed before is refused, though it does not know of it; before the
// promotion it admits nobody; and the store needs no restart.
//
// trap R24
// trap R30
func TestFailoverThatLosesClaims(t *testing.T) {
	t.Parallel()
	primary := servers.PostgreSQL(t)
	p := newProxy(t, primary.Port)
	s := open(t, p.url(), func(c *Config) { c.Timeout = patience })
	known := fresh()
	require.Equal(t, replay.Admitted, claim(t, s, known).Status)

	standby := primary.Standby()
	lost, unspent := fresh(), fresh()
	require.Equal(t, replay.Admitted, claim(t, s, lost).Status)

	primary.Kill()
	_, err := s.Claim(context.Background(), unspent)
	require.ErrorIs(t, err, replay.ErrUnavailable)
	standby.Start()
	p.server.Store(int64(standby.Port))
	require.Eventually(t, func() bool { // the pool's old connections go
		_, err := s.Claim(context.Background(), lost)
		require.ErrorIs(t, err, replay.ErrUnavailable)
		return sqlState(err) == readOnly
	}, patience, 10*time.Millisecond)
	_, err = Open(context.Background(), Config{URL: p.url(), Timeout: patience})
	require.ErrorContains(t, err, "standby")

	exec1(t, standby.URL, "SELECT pg_promote()")
	assert.Equal(t, replay.IssuedBeforeStart, retry(t, s, lost).Status)
	assert.Equal(t, replay.IssuedBeforeStart, claim(t, s, unspent).Status)
	assert.Equal(t, replay.AlreadyUsed, claim(t, s, known).Status)
	time.Sleep(2 * time.Millisecond) // the clock's resolution is 1 ms
	assert.Equal(t, replay.Admitted, claim(t, s, fresh()).Status)
}

// A dump that is restored remembers what it remembers, and refuses the rest.
//
// trap R30
func TestRestoredDump(t *testing.T) {
	url, target := servers.Database(t), servers.Database(t)
	s := open(t, url)
	known := fresh()
	require.Equal(t, replay.Admitted, claim(t, s, known).Status)
	dump, err := servers.PostgresProgram(t, "pg_dump", "--schema=admitone_replay", url).Output()
	require.NoError(t, err)
	lost, unspent := fresh(), fresh()
	require.Equal(t, replay.Admitted, claim(t, s, lost).Status)

	check := func(s *Store) {
		assert.Equal(t, replay.IssuedBeforeStart, peek(t, s, lost).Status)
		assert.Equal(t, replay.IssuedBeforeStart, claim(t, s, lost).Status)
		assert.Equal(t, replay.IssuedBeforeStart, claim(t, s, unspent).Status)
		assert.Equal(t, replay.AlreadyUsed, claim(t, s, known).Status)
	}
	restore := func(url string) {
		psql := servers.PostgresProgram(t, "psql", "--quiet", "--set=ON_ERROR_STOP=1", url)
		in, err := psql.StdinPipe()
		require.NoError(t, err)
		go func() { _, _ = in.Write(dump); _ = in.Close() }()
		out, err := psql.CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	restore(target)
	check(openAt(t, target))
	exec1(t, url, "DROP SCHEMA admitone_replay CASCADE")
	restore(url)
	check(s)
}

// A server whose clock stands behind the true time when it loses its memory, as a
// standby's may, lets in nothing that was redeemed before.
//
// trap R14
// trap R30
func TestEpochOfServerBehind(t *testing.T) {
	t.Parallel()
	url := servers.Database(t)
	openAt(t, url)
	clock := moveClock(t, url)
	now := clock.at.Add(time.Hour) // by the clock of the store's own process, which is right
	exec1(t, url, "TRUNCATE admitone_replay.claims")
	s := openBy(t, func() time.Time { return now }, url)
	assert.Equal(t, now.UTC(), s.Epoch())
	for _, sql := range []string{
		"TRUNCATE admitone_replay.claims",
		"DELETE FROM admitone_replay.epoch; DELETE FROM admitone_replay.claims",
	} {
		now = now.Add(time.Second)
		victim := ticket(now.Add(skew), lifetime, skew)
		require.Equal(t, replay.Admitted, claim(t, s, victim).Status)
		now = now.Add(time.Second)
		exec1(t, url, sql)
		assert.Equal(t, replay.IssuedBeforeStart, peek(t, s, victim).Status, sql)
		assert.Equal(t, replay.IssuedBeforeStart, claim(t, s, victim).Status, sql)
		assert.Equal(t, now.UTC(), epoch(t, url).UTC(), sql)
		assert.Equal(t, now.UTC(), openBy(t, time.Now, url).Epoch(), "who comes later changes nothing")
	}
}

// A table that is emptied, an epoch that is deleted: what was before is
// refused, and what comes is served.
//
// trap R30
func TestAmnesia(t *testing.T) {
	t.Parallel()
	for _, sql := range []string{
		"TRUNCATE admitone_replay.claims",
		"TRUNCATE admitone_replay.dropped",
		"TRUNCATE admitone_replay.claims, admitone_replay.dropped, admitone_replay.epoch",
		"DELETE FROM admitone_replay.epoch; DELETE FROM admitone_replay.claims",
		"DROP SCHEMA admitone_replay CASCADE",
	} {
		url := servers.Database(t)
		s := open(t, url)
		spent, unspent := fresh(), fresh()
		require.Equal(t, replay.Admitted, claim(t, s, spent).Status)
		exec1(t, url, sql)
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() { assert.NotEqual(t, replay.Admitted, retry(t, s, spent).Status, sql) })
		}
		wg.Wait()
		assert.Equal(t, replay.IssuedBeforeStart, claim(t, s, unspent).Status, sql)
		time.Sleep(2 * time.Millisecond) // the clock's resolution is 1 ms
		assert.Equal(t, replay.Admitted, claim(t, s, fresh()).Status, sql)
		assert.Equal(t, 1, ask1[int](t, url, "SELECT count(*) FROM admitone_replay.epoch"))
	}
}
