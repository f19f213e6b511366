package pgstore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/internal/servers"
	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/internal/queue"
)

// hold keeps all claims at the server waiting until the returned function is
// called.
func hold(t *testing.T, url string) (release func()) {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	tx, err := conn.Begin(context.Background())
	require.NoError(t, err)
	_, err = tx.Exec(context.Background(), "LOCK TABLE admitone_replay.claims IN EXCLUSIVE MODE")
	require.NoError(t, err)
	return func() {
		t.Helper()
		require.NoError(t, tx.Rollback(context.Background()))
	}
}

// await waits until as many requests wait behind flights that are all under way.
func await(t *testing.T, s *Store, waiting int) {
	t.Helper()
	require.Eventually(t, func() bool {
		w, f := s.requests.State()
		return w == waiting && f == queue.Flights
	}, patience, time.Millisecond)
}

// later claims in the background; the function that it returns waits for the
// answer.
func later(ctx context.Context, call func(context.Context, replay.Claim) (replay.Answer, error),
	c replay.Claim) func() (replay.Answer, error) {
	var a replay.Answer
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		a, err = call(ctx, c)
	}()
	return func() (replay.Answer, error) {
		<-done
		return a, err
	}
}

// occupy sends as many claims as may be under way, and returns when they are; the
// function that it returns waits for their answers.
func occupy(t *testing.T, s *Store) (answered func()) {
	t.Helper()
	// The flight of what was answered just now may not be over yet.
	require.Eventually(t, func() bool {
		w, f := s.requests.State()
		return w == 0 && f == 0
	}, patience, time.Millisecond)
	var answers []func() (replay.Answer, error)
	for n := range queue.Flights {
		answers = append(answers, later(context.Background(), s.Claim, fresh()))
		require.Eventually(t, func() bool {
			w, f := s.requests.State()
			return w == 0 && f == n+1
		}, patience, time.Millisecond)
	}
	return func() {
		for _, answer := range answers {
			_, _ = answer()
		}
	}
}

// Claims that share a statement are answered as they would be one after the
// other, each for itself; who gives up waiting takes his claim with him, and
// nobody else's.
//
// trap R18
// trap R25
// trap R29
func TestSharedStatement(t *testing.T) {
	t.Parallel()
	for _, isolation := range []string{"read%20committed", "serializable"} {
		t.Run(isolation, func(t *testing.T) {
			t.Parallel()
			ctx := context.Background()
			url := servers.Database(t)
			old := fresh()
			old.NotBefore = old.NotBefore.Add(-time.Hour)
			s := open(t, url+"&timezone=Pacific/Apia&default_transaction_isolation="+isolation, func(c *Config) { c.Timeout = patience })
			spent := bound(fresh(), 1)
			require.Equal(t, replay.Admitted, claim(t, s, spent).Status)
			late := fresh()
			late.Expires, late.RetainUntil = time.Now(), time.Now()

			release := hold(t, url)
			answered := occupy(t, s)
			var queued int
			ask := func(call func(context.Context, replay.Claim) (replay.Answer, error), c replay.Claim) func() (replay.Answer,
				error) {
				t.Helper()
				answer := later(ctx, call, c)
				queued++
				await(t, s, queued) // so that their order is this one
				return answer
			}
			twice, retried := fresh(), bound(fresh(), 7)
			type want struct {
				answer   func() (replay.Answer, error)
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
			for range 40 {
				wants = append(wants, want{ask(s.Claim, fresh()), replay.Admitted, false})
			}
			impatient, cancel := context.WithCancel(ctx)
			given := fresh()
			gaveUp := later(impatient, s.Claim, given)
			await(t, s, queued+1)
			cancel()
			_, err := gaveUp()
			require.ErrorIs(t, err, replay.ErrUnavailable)
			require.ErrorIs(t, err, context.Canceled)
			await(t, s, queued)

			release()
			for i, want := range wants {
				a, err := want.answer()
				require.NoError(t, err, i)
				assert.Equal(t, want.status, a.Status, i)
				assert.Equal(t, want.repeated, a.Repeated, i)
				assert.Equal(t, want.repeated || want.status == replay.AlreadyUsed, !a.FirstUsed.IsZero(), i)
			}
			assert.Equal(t, replay.Admitted, claim(t, s, given).Status, "it was never sent")
			answered()
			// One claim, then flights of one, then one of all others, and this one.
			statements := ask1[int](t, url, "SELECT count(DISTINCT xmin::text) FROM admitone_replay.claims")
			assert.Equal(t, 1+queue.Flights+1+1, statements)
		})
	}
}

// The answer to a shared statement is lost, or there is none: nobody is admitted.
// All of it was done or nothing; with their bindings they find out.
//
// trap R24
// trap R25
func TestSharedAnswerLost(t *testing.T) {
	t.Parallel()
	url := servers.Database(t)
	config, err := pgx.ParseConfig(url)
	require.NoError(t, err)
	p := newProxy(t, int(config.Port))
	s := open(t, fmt.Sprintf("postgres://postgres@%s/%s?sslmode=disable", p.l.Addr(), config.Database))
	release := hold(t, url)
	occupy(t, s)
	var claims []replay.Claim
	var answers []func() (replay.Answer, error)
	begin := time.Now()
	for i := range 30 {
		c := bound(fresh(), byte(i%2))
		claims = append(claims, c)
		answers = append(answers, later(context.Background(), s.Claim, c))
	}
	await(t, s, len(claims))
	p.lose.Store(true)
	release()
	for _, answer := range answers {
		a, err := answer()
		require.ErrorIs(t, err, replay.ErrUnavailable)
		require.Zero(t, a)
	}
	p.lose.Store(false)
	for _, c := range claims {
		a := retry(t, s, c)
		assert.True(t, a.Repeated == (c.Binding != [32]byte{}) || time.Since(begin) >= replay.Grace, "%+v", a)
		assert.Equal(t, a.Repeated, a.Status == replay.Admitted)
		assert.Equal(t, replay.AlreadyUsed, claim(t, s, bound(c, 9)).Status)
	}
}

// The epoch is lost while a shared statement waits: the server undoes it, it is
// sent again, and every claim is judged anew.
//
// trap R30
func TestSharedStatementUndone(t *testing.T) {
	t.Parallel()
	url := servers.Database(t)
	s := open(t, url)
	release := hold(t, url)
	occupy(t, s)
	var answers []func() (replay.Answer, error)
	for range 30 {
		answers = append(answers, later(context.Background(), s.Claim, fresh()))
	}
	await(t, s, len(answers))
	exec1(t, url, "DELETE FROM admitone_replay.epoch")
	release()
	for _, answer := range answers {
		a, err := answer()
		require.NoError(t, err)
		assert.Equal(t, replay.IssuedBeforeStart, a.Status)
	}
	require.Eventually(t, func() bool { return claim(t, s, fresh()).Status == replay.Admitted }, patience,
		time.Millisecond)
}

// Processes that claim the same nonces at once, in whatever order their callers
// come, never wait for each other in a circle.
//
// trap R17
// trap R18
func TestNoDeadlocks(t *testing.T) {
	t.Parallel()
	url := servers.Database(t)
	stores := []*Store{open(t, url), open(t, url), open(t, url)}
	for range 15 {
		claims := make([]replay.Claim, 60)
		for i := range claims {
			claims[i] = fresh()
		}
		var mu sync.Mutex
		admitted := make(map[[16]byte]int)
		var wg sync.WaitGroup
		for i, s := range stores {
			mine := slices.Clone(claims)
			if i == 1 {
				slices.Reverse(mine)
			}
			for _, c := range mine {
				wg.Go(func() {
					a, err := s.Claim(context.Background(), c)
					if assert.NoError(t, err) && a.Status == replay.Admitted {
						mu.Lock()
						admitted[c.Nonce]++
						mu.Unlock()
					}
				})
			}
		}
		wg.Wait()
		require.Len(t, admitted, len(claims))
		for _, n := range admitted {
			require.Equal(t, 1, n)
		}
	}
	assert.Zero(t, ask1[int](t, url, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"))
}

// A queue that is full says so; nothing is forgotten for it, and it empties.
//
// trap R24
func TestTooManyWait(t *testing.T) {
	t.Parallel()
	url := servers.Database(t)
	s := open(t, url, func(c *Config) { c.Timeout = patience })
	release := hold(t, url)
	occupy(t, s)
	var looks sync.WaitGroup
	for range queue.MaxWaiting {
		looks.Go(func() {
			r := &request{claim: fresh()} // looks
			assert.NoError(t, s.requests.Do(context.Background(), r))
			assert.NoError(t, r.err)
		})
	}
	await(t, s, queue.MaxWaiting)
	c := fresh()
	_, err := s.Claim(context.Background(), c)
	require.ErrorIs(t, err, replay.ErrUnavailable)
	require.ErrorIs(t, err, queue.ErrTooMany)
	release()
	looks.Wait()
	assert.Equal(t, replay.Admitted, retry(t, s, c).Status)
}

// Claims and Close at once: each is answered or told that the store is closed.
//
// trap R17
func TestCloseWhileClaiming(t *testing.T) {
	t.Parallel()
	url := servers.Database(t)
	s := open(t, url)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				if _, err := s.Claim(context.Background(), fresh()); err != nil {
					assert.ErrorIs(t, err, replay.ErrUnavailable)
					assert.True(t, errors.Is(err, queue.ErrClosed), "%v", err)
					return
				}
			}
		})
	}
	require.Eventually(t, func() bool { return ask1[int](t, url, "SELECT count(*) FROM admitone_replay.claims") > 50 },
		patience, time.Millisecond)
	s.Close()
	s.Close()
	wg.Wait()
}

// Connections that the server has ended cost nobody an answer: they are found
// dead before a claim is sent on them.
//
// trap R24
func TestServerRestarted(t *testing.T) {
	t.Parallel()
	server := servers.PostgreSQL(t)
	s := open(t, server.URL)
	for range 3 {
		for _, stop := range []func(){server.Stop, server.Kill} {
			// As many connections as the pool can have, all used just now.
			var warm sync.WaitGroup
			for range defaultMaxConns {
				warm.Go(func() {
					_, err := s.pool.Exec(context.Background(), "SELECT pg_sleep(0.2)")
					assert.NoError(t, err)
				})
			}
			warm.Wait()
			var sockets []net.Conn
			conns := s.pool.AcquireAllIdle(context.Background())
			for _, conn := range conns {
				sockets = append(sockets, conn.Conn().PgConn().Conn())
			}
			require.NotEmpty(t, sockets)
			for _, socket := range sockets {
				assert.False(t, unread(socket))
			}
			spent := fresh()
			stop()
			server.Start()
			for i, conn := range conns {
				assert.Eventually(t, func() bool { return unread(sockets[i]) }, patience, time.Millisecond)
				conn.Release() // so that it was used just now
			}
			for n := range 2 * defaultMaxConns {
				a, err := s.Claim(context.Background(), spent)
				require.NoError(t, err)
				if n == 0 {
					require.Equal(t, replay.Admitted, a.Status)
				} else {
					require.Equal(t, replay.AlreadyUsed, a.Status)
				}
			}
		}
	}
}
