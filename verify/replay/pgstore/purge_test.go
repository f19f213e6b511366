package pgstore

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/internal/servers"
	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/internal/cache"
)

func purge(t testing.TB, s *Store) int {
	t.Helper()
	n, err := s.Purge(context.Background())
	require.NoError(t, err)
	return n
}

// fill puts rows into the table whose retention ends from now on backwards,
// a millisecond apart.
func fill(t testing.TB, url string, n int, end time.Time) {
	t.Helper()
	exec1(t, url, fmt.Sprintf(`INSERT INTO admitone_replay.claims (realm, nonce, issued, expires, retain_until, first_used)
		SELECT '', uuid_send(gen_random_uuid()), %[1]d - n - 100000, %[1]d - n - 90000, %[1]d - n, %[1]d - n - 100000 FROM generate_series(0, %[2]d - 1) n`, end.UnixMilli(), n))
}

// A row is deleted at its retain-until and its window's end, and not before.
//
// trap R6
// trap R20
func TestPurgeKeepsWhatIsLive(t *testing.T) {
	url := servers.Database(t)
	openAt(t, url)
	clock := moveClock(t, url)
	s := openBy(t, clock.now, url)
	clock.step(t, 2*time.Minute)
	c := ticket(clock.at, lifetime, skew)
	require.Equal(t, replay.Admitted, claim(t, s, c).Status)
	// Nobody keeps a ticket of a larger skew from being remembered longer.
	longer := ticket(clock.at, lifetime, time.Minute)
	require.Equal(t, replay.Admitted, claim(t, s, longer).Status)

	clock.set(t, c.RetainUntil.Add(-time.Millisecond))
	assert.Zero(t, purge(t, s))
	assert.Equal(t, replay.AlreadyUsed, claim(t, s, c).Status)
	clock.set(t, c.RetainUntil)
	assert.Equal(t, replay.TooLate, claim(t, s, c).Status)
	clock.step(t, 17*time.Second)
	assert.Equal(t, 1, purge(t, s))
	assert.Equal(t, replay.TooLate, claim(t, s, c).Status)
	assert.Equal(t, replay.AlreadyUsed, claim(t, s, longer).Status)
	assert.Zero(t, purge(t, s))

	// A verifier with an hour of skew comes with the ticket that was purged.
	again := c
	again.RetainUntil = c.Expires.Add(time.Hour)
	assert.Equal(t, replay.ClockBehind, peek(t, s, again).Status)
	assert.Equal(t, replay.ClockBehind, claim(t, s, again).Status)
}

// The server's clock jumps ahead, claims are purged, and it is set right: they
// are refused, and what is not of their time is not. A ticket dated a century
// ahead stops nobody, in whatever order the clock goes.
//
// trap R11
// trap R13
// trap R14
func TestClockSteps(t *testing.T) {
	url := servers.Database(t)
	openAt(t, url)
	clock := moveClock(t, url)
	s := openBy(t, clock.now, url)
	clock.step(t, time.Minute)
	start := clock.at
	victim := ticket(start, lifetime, skew)
	far := ticket(start.AddDate(100, 0, 0), lifetime, skew)
	require.Equal(t, replay.Admitted, claim(t, s, victim).Status)
	require.Equal(t, replay.Admitted, claim(t, s, far).Status)

	clock.set(t, far.RetainUntil.Add(time.Minute))
	assert.Equal(t, 2, purge(t, s))
	clock.set(t, start)
	assert.Equal(t, replay.ClockBehind, claim(t, s, victim).Status)
	assert.Equal(t, replay.ClockBehind, peek(t, s, victim).Status)
	assert.Equal(t, replay.ClockBehind, claim(t, s, far).Status)
	for _, life := range []time.Duration{time.Minute, 10 * time.Minute} {
		assert.Equal(t, replay.Admitted, claim(t, s, ticket(start, life, skew)).Status)
	}
	assert.Equal(t, replay.ClockBehind, claim(t, s, ticket(start, lifetime, skew)).Status, "it may be the victim")
	clock.step(t, time.Millisecond)
	again := ticket(clock.at, lifetime, skew) // in the victim's window
	assert.Equal(t, replay.Admitted, claim(t, s, again).Status)
	assert.Equal(t, replay.AlreadyUsed, claim(t, s, again).Status)
	assert.Equal(t, replay.ClockBehind, claim(t, s, victim).Status)

	// Back to before the epoch: refused until it has caught up.
	clock.set(t, start.Add(-time.Hour))
	assert.Equal(t, replay.IssuedBeforeStart, claim(t, s, ticket(clock.at, lifetime, skew)).Status)
	assert.Equal(t, replay.ClockBehind, claim(t, s, victim).Status)
}

// Purges are made of short transactions, and those of several processes at once
// neither collide nor count a row twice.
func TestPurgeInBatches(t *testing.T) {
	url := servers.Database(t)
	s := openAt(t, url)
	end := time.Now()
	fill(t, url, 3*purgeBatch+7, end)
	fill(t, url, 5, end.Add(time.Hour))
	assert.Equal(t, purgeBatch, ask1[int](t, url, fmt.Sprintf("SELECT admitone_replay.purge(%d)", purgeBatch)))

	var total atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		other := openAt(t, url)
		wg.Go(func() {
			for range 20 {
				n, err := other.Purge(context.Background())
				assert.NoError(t, err)
				total.Add(int64(n))
			}
		})
	}
	wg.Wait()
	total.Add(int64(purge(t, s)))
	fill(t, url, 2*purgeBatch+1, end)
	assert.Equal(t, 2*purgeBatch+1, purge(t, s), "all, if nobody else does")
	assert.EqualValues(t, 2*purgeBatch+7, total.Load())
	assert.Equal(t, 5, ask1[int](t, url, "SELECT count(*) FROM admitone_replay.claims"))
}

// While one purge is at work another returns at once, having done nothing; and no
// claim waits for it, whether of a nonce that is live, or new, or being deleted.
//
// trap R22
// trap R23
func TestPurgeHoldsNobodyUp(t *testing.T) {
	url := servers.Database(t)
	s := openAt(t, url)
	settled := open(t, url)
	live := fresh()
	require.Equal(t, replay.Admitted, claim(t, settled, live).Status)
	fill(t, url, 3, time.Now())
	conn, err := pgx.Connect(context.Background(), url)
	require.NoError(t, err)
	defer conn.Close(context.Background())
	tx, err := conn.Begin(context.Background())
	require.NoError(t, err)
	var n int
	require.NoError(t, tx.QueryRow(context.Background(), "SELECT admitone_replay.purge(1)").Scan(&n))
	require.Equal(t, 1, n)
	assert.Zero(t, purge(t, s))
	for range 50 {
		assert.Equal(t, replay.AlreadyUsed, claim(t, s, live).Status)
		assert.Equal(t, replay.Admitted, claim(t, s, fresh()).Status)
	}
	over := replay.Claim{Expires: time.Now().Add(-2 * time.Minute), RetainUntil: time.Now().Add(-time.Minute)}
	copy(over.Nonce[:], ask1[[]byte](t, url, "SELECT nonce FROM admitone_replay.claims ORDER BY retain_until LIMIT 1"))
	assert.Equal(t, replay.TooLate, claim(t, s, over).Status)
	require.NoError(t, tx.Rollback(context.Background()))
	assert.Equal(t, 3, purge(t, s), "what was rolled back is not lost")
}

// The store purges by itself.
func TestPurgesByItself(t *testing.T) {
	url := servers.Database(t)
	openAt(t, url, func(c *Config) { c.PurgeEvery = 20 * time.Millisecond })
	fill(t, url, 3, time.Now())
	assert.Eventually(t, func() bool {
		return ask1[int](t, url, "SELECT count(*) FROM admitone_replay.claims") == 0
	}, patience, 20*time.Millisecond)
}

// Sessions in odd time zones and styles claim, and one in another odd time zone
// purges without a pause. Nothing that is live is forgotten, and all that is
// over goes.
//
// trap R22
func TestPurgeDuringRedemptionInOddTimeZones(t *testing.T) {
	url := servers.Database(t)
	openAt(t, url) // makes the schema
	zones := []string{"Pacific/Apia", "Pacific/Pago_Pago", "<-1345>13:45"}
	var stores []*Store
	for _, zone := range zones {
		stores = append(stores, open(t, url, func(c *Config) {
			c.URL += "&timezone=" + zone + "&datestyle=SQL,DMY&intervalstyle=sql_standard"
		}))
	}
	fill(t, url, 20*purgeBatch, time.Now())
	ctx, cancel := context.WithCancel(context.Background())
	var purging sync.WaitGroup
	var purged atomic.Int64
	for _, s := range stores[:2] {
		purging.Go(func() {
			for ctx.Err() == nil {
				n, err := s.Purge(context.Background())
				assert.NoError(t, err)
				purged.Add(int64(n))
			}
		})
	}
	var wg sync.WaitGroup
	for _, s := range stores {
		for range 3 {
			wg.Go(func() {
				for range 40 {
					// Expired, with little time left to be remembered.
					c := ticket(time.Now().Add(skew), lifetime, skew)
					c.Expires = time.Now().Add(-time.Minute)
					c.RetainUntil = time.Now().Add(5 * time.Second)
					admitted := 0
					for _, by := range stores {
						a, err := by.Claim(context.Background(), c)
						if assert.NoError(t, err) && a.Status == replay.Admitted {
							admitted++
						}
					}
					assert.LessOrEqual(t, admitted, 1)
					live := fresh()
					a, err := s.Claim(context.Background(), live)
					assert.NoError(t, err)
					assert.Equal(t, replay.Admitted, a.Status)
					for _, by := range stores {
						a, err := by.Claim(context.Background(), live)
						assert.NoError(t, err)
						assert.Equal(t, replay.AlreadyUsed, a.Status)
						assert.InDelta(t, 0, time.Since(a.FirstUsed).Seconds(), 60)
					}
				}
			})
		}
	}
	wg.Wait()
	assert.Eventually(t, func() bool { return purged.Load() >= 20*purgeBatch }, patience, 10*time.Millisecond)
	cancel()
	purging.Wait()
	assert.Equal(t, 360, ask1[int](t, url,
		"SELECT count(*) FROM admitone_replay.claims WHERE expires > admitone_replay.clock()"))
}

// The ranges of dropped windows are the set of what was dropped, and beyond 64
// of them a set that holds it.
func TestDroppedRangesModel(t *testing.T) {
	url := servers.Database(t)
	openAt(t, url)
	conn, err := pgx.Connect(context.Background(), url)
	require.NoError(t, err)
	defer conn.Close(context.Background())
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for _, space := range []int64{40, 120, 2000} {
		_, err := conn.Exec(context.Background(), "DELETE FROM admitone_replay.dropped")
		require.NoError(t, err)
		model := map[int64]bool{}
		merged := false
		issued := map[int64]int64{}
		for range 150 {
			window := rng.Int64N(space) - space/2
			latest := rng.Int64N(100)
			model[window], issued[window] = true, max(issued[window], latest)
			_, err := conn.Exec(context.Background(), "SELECT admitone_replay.drop_window($1, $2)", window, latest)
			require.NoError(t, err)
			rows, err := conn.Query(context.Background(), "SELECT lo, hi, issued FROM admitone_replay.dropped ORDER BY lo")
			require.NoError(t, err)
			type span struct{ Lo, Hi, Issued int64 }
			spans, err := pgx.CollectRows(rows, pgx.RowToStructByPos[span])
			require.NoError(t, err)
			require.LessOrEqual(t, len(spans), 64)
			merged = merged || len(spans) == 64
			has := func(i int64) bool {
				return slices.ContainsFunc(spans, func(s span) bool { return s.Lo <= i && i <= s.Hi })
			}
			for _, s := range spans {
				latest := int64(0)
				for i := s.Lo; i <= s.Hi; i++ {
					latest = max(latest, issued[i])
				}
				require.Equal(t, latest, s.Issued)
			}
			for i := range spans[1:] {
				require.Greater(t, spans[i+1].Lo, spans[i].Hi+1, "%v", spans)
			}
			for i := -space; i <= space; i++ {
				if model[i] {
					require.True(t, has(i), "%d of %v", i, spans)
				} else if !merged {
					require.False(t, has(i), "%d of %v", i, spans)
				}
			}
		}
		assert.Equal(t, space == 2000, merged)
	}
}

// The database's windows are those of the other stores.
func TestWindows(t *testing.T) {
	url := servers.Database(t)
	openAt(t, url)
	for _, ms := range []int64{0, 1, 15_999, 16_000, -1, -15_999, -16_000, -16_001, 1_800_000_000_123, -1 << 40} {
		got := ask1[int64](t, url, fmt.Sprintf("SELECT admitone_replay.window_of(%d)", ms))
		assert.Equal(t, cache.WindowOf(time.UnixMilli(ms)), got, "%d ms", ms)
	}
}
