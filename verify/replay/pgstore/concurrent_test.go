package pgstore

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/internal/servers"
	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/internal/cache"
)

// race claims c in all the stores at once, several times in each.
func race(t *testing.T, stores []*Store, c replay.Claim) (first, repeated, used int) {
	t.Helper()
	answers := make([]replay.Answer, 6*len(stores))
	errs := make([]error, len(answers))
	begin := make(chan struct{})
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() {
			<-begin
			answers[i], errs[i] = stores[i%len(stores)].Claim(context.Background(), c)
		})
	}
	close(begin)
	wg.Wait()
	for i, a := range answers {
		require.NoError(t, errs[i])
		switch {
		case a.Status == replay.Admitted && a.Repeated:
			repeated++
		case a.Status == replay.Admitted:
			first++
		case a.Status == replay.AlreadyUsed:
			used++
		default:
			t.Fatalf("%+v", a)
		}
	}
	return first, repeated, used
}

// Of many clients at once one wins, and the others are told so, without an
// error: at every default isolation and in every way of sending statements.
//
// trap R18
// trap R31
func TestOneWinner(t *testing.T) {
	t.Parallel()
	for isolation, modes := range map[string][]string{
		"read uncommitted": {""},
		"read committed":   {"", "cache_statement", "cache_describe", "describe_exec", "simple_protocol"},
		"repeatable read":  {""},
		"serializable":     {"", "cache_statement", "cache_describe", "describe_exec", "simple_protocol"},
	} {
		for _, mode := range modes {
			t.Run(isolation+" "+mode, func(t *testing.T) {
				url := servers.Database(t)
				openAt(t, url)
				name := ask1[string](t, url, "SELECT current_database()")
				exec1(t, url, fmt.Sprintf("ALTER DATABASE %s SET default_transaction_isolation = '%s'", name, isolation))
				var stores []*Store
				for range 3 {
					stores = append(stores, open(t, url, func(c *Config) {
						if mode != "" {
							c.URL += "&default_query_exec_mode=" + mode
						}
					}))
				}
				for n := range 12 {
					c, begin := bound(fresh(), byte(n%2)), time.Now()
					first, repeated, used := race(t, stores, c)
					assert.Equal(t, 1, first)
					switch {
					case n%2 == 0:
						assert.Equal(t, 17, used)
					case time.Since(begin) < replay.Grace:
						assert.Equal(t, 17, repeated)
					default: // on a machine that is so busy
						assert.Equal(t, 17, repeated+used)
					}
				}
				for _, s := range stores {
					assert.Equal(t, isolation == "repeatable read" || isolation == "serializable", s.explicit.Load())
				}
				assert.Zero(t, purge(t, stores[0]))
			})
		}
	}
}

// A claim that finds another's transaction in its way waits for it, and then
// judges by what is so after the wait, and not before.
//
// trap R18
// trap R29
func TestLooksAgainAfterWaiting(t *testing.T) {
	tests := []struct {
		name   string
		commit bool
		during func(t *testing.T, url string, clock *movedClock, c replay.Claim)
		want   replay.Status
	}{
		{"the other commits", true, nil, replay.AlreadyUsed},
		{"the other rolls back", false, nil, replay.Admitted},
		{"its time ends meanwhile", false, func(t *testing.T, _ string, clock *movedClock, c replay.Claim) {
			clock.set(t, c.RetainUntil)
		}, replay.TooLate},
		{"its time ends meanwhile, and the other commits", true,
			func(t *testing.T, _ string, clock *movedClock, c replay.Claim) {
				clock.set(t, c.RetainUntil)
			}, replay.TooLate},
		{"its window is dropped meanwhile", false, func(t *testing.T, url string, _ *movedClock, c replay.Claim) {
			exec1(t, url, fmt.Sprintf("SELECT admitone_replay.drop_window(%d, %d)",
				cache.WindowOf(c.Expires), c.Issued.UnixMilli()))
		}, replay.ClockBehind},
		{"the epoch is lost meanwhile", false, func(t *testing.T, url string, clock *movedClock, _ replay.Claim) {
			exec1(t, url, "DELETE FROM admitone_replay.epoch")
		}, replay.IssuedBeforeStart},
	}
	for _, isolation := range []string{"read committed", "serializable"} {
		for _, tt := range tests {
			t.Run(isolation+", "+tt.name, func(t *testing.T) {
				t.Parallel()
				ctx := context.Background()
				url := servers.Database(t)
				openAt(t, url)
				clock := moveClock(t, url)
				s := openBy(t, clock.now, url, func(c *Config) {
					c.URL += "&default_transaction_isolation=" + strings.ReplaceAll(isolation, " ", "%20")
				})
				clock.step(t, time.Minute)
				c := ticket(clock.at.Add(-skew/2), lifetime, skew)

				conn, err := pgx.Connect(ctx, url)
				require.NoError(t, err)
				defer conn.Close(ctx)
				other, err := conn.Begin(ctx)
				require.NoError(t, err)
				_, err = other.Exec(ctx, `INSERT INTO admitone_replay.claims
					(realm, nonce, issued, expires, retain_until, first_used) VALUES ('', $1, 0, $2, $3, $4)`,
					c.Nonce[:], c.Expires.UnixMilli(), c.RetainUntil.UnixMilli(), clock.at.UnixMilli())
				require.NoError(t, err)

				var answer replay.Answer
				done := make(chan error)
				go func() {
					var err error
					answer, err = s.Claim(ctx, c)
					done <- err
				}()
				require.Eventually(t, func() bool {
					return ask1[int](t, url,
						"SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND "+
							"query LIKE '%claim%'") == 1
				}, patience, 5*time.Millisecond)
				if tt.during != nil {
					tt.during(t, url, clock, c)
				}
				if tt.commit {
					require.NoError(t, other.Commit(ctx))
				} else {
					require.NoError(t, other.Rollback(ctx))
				}
				require.NoError(t, <-done)
				assert.Equal(t, tt.want, answer.Status)
				if tt.want != replay.Admitted && !tt.commit {
					assert.Zero(t, ask1[int](t, url, "SELECT count(*) FROM admitone_replay.claims WHERE nonce = '\\x"+fmt.Sprintf("%x",
						c.Nonce)+"'"), "nothing is kept of it")
				}
			})
		}
	}
}

// Realms share a table and no nonce, whatever their names are.
//
// trap R19
func TestRealms(t *testing.T) {
	url := servers.Database(t)
	realms := []string{"", "a", "A", "a ", "ä", "a'; --", `\x00`, "%00"}
	var stores []*Store
	for _, realm := range realms {
		s := open(t, url, func(c *Config) { c.Realm = realm })
		stores = append(stores, s)
	}
	c, begin := fresh(), time.Now()
	for i, s := range stores {
		assert.Equal(t, replay.Answer{Status: replay.Admitted}, claim(t, s, bound(c, byte(i+1))), realms[i])
	}
	for i, s := range stores {
		assert.Equal(t, replay.AlreadyUsed, claim(t, s, c).Status, realms[i])
		assert.True(t, claim(t, s, bound(c, byte(i+1))).Repeated || time.Since(begin) >= replay.Grace, realms[i])
	}
}

// A claim leaves nothing in the session, so that a pooler may give the next one
// another: no prepared statement, setting, lock or open transaction.
func TestNoSessionState(t *testing.T) {
	for _, isolation := range []string{"read%20committed", "serializable"} {
		url := servers.Database(t)
		config, err := pgxpool.ParseConfig(url + "&default_query_exec_mode=exec&pool_max_conns=1&synchronous_commit=off&default_transaction_isolation=" + isolation)
		require.NoError(t, err)
		pool, err := pgxpool.NewWithConfig(context.Background(), config)
		require.NoError(t, err)
		defer pool.Close()
		s, err := Open(context.Background(), Config{Pool: pool, PurgeEvery: -1, Timeout: patience})
		require.NoError(t, err)
		settings := func() (v string) {
			require.NoError(t, pool.QueryRow(context.Background(),
				"SELECT pg_backend_pid() || string_agg(name || setting || source, ',' ORDER BY name) "+
					"FROM pg_settings WHERE "+
					"name NOT LIKE 'transaction%'").Scan(&v))
			return v
		}
		before := settings()
		claim(t, s, fresh())
		peek(t, s, fresh())
		purge(t, s)
		assert.Equal(t, before, settings())
		var prepared, locks int
		require.NoError(t, pool.QueryRow(context.Background(), `SELECT (SELECT count(*) FROM pg_prepared_statements WHERE name <> ''),
			(SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory')`).Scan(&prepared, &locks))
		assert.Zero(t, prepared)
		assert.Zero(t, locks)
		s.Close()
		require.NoError(t, pool.Ping(context.Background()), "a pool that was given is not closed")
	}
}
