package pgstore

import (
	"context"
	"crypto/rand"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/internal/servers"
	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/replaytest"
)

const (
	lifetime = 5 * time.Minute
	skew     = 10 * time.Second
)

// ticket returns the claim of a ticket issued at the given time.
func ticket(issued time.Time, life, skew time.Duration) replay.Claim {
	c := replay.Claim{
		Issued:      issued,
		NotBefore:   issued.Add(-skew),
		Expires:     issued.Add(life),
		RetainUntil: issued.Add(life + 3*skew + time.Minute),
	}
	_, _ = rand.Read(c.Nonce[:])
	return c
}

// fresh returns the claim of a ticket issued now, by a clock that is ahead by
// all that the skew allows.
func fresh() replay.Claim { return ticket(time.Now().Add(skew), lifetime, skew) }

func bound(c replay.Claim, b byte) replay.Claim {
	c.Binding = [32]byte{31: b}
	return c
}

// open opens a store that does not purge by itself and logs to nowhere, and
// waits until its barrier is behind tickets that are issued now.
func open(t testing.TB, url string, change ...func(*Config)) *Store {
	t.Helper()
	s := openAt(t, url, change...)
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if a, err := s.Peek(context.Background(), fresh()); err == nil && a.Status == replay.Admitted {
			break
		}
	}
	return s
}

func openAt(t testing.TB, url string, change ...func(*Config)) *Store {
	t.Helper()
	return openBy(t, time.Now, url, change...)
}

// openBy opens a store of a process that has another clock.
func openBy(t testing.TB, now func() time.Time, url string, change ...func(*Config)) *Store {
	t.Helper()
	config := Config{URL: url, PurgeEvery: -1, Timeout: patience, Log: slog.New(slog.DiscardHandler)}
	for _, f := range change {
		f(&config)
	}
	s, err := openWith(context.Background(), config, now)
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

func claim(t testing.TB, s replay.Store, c replay.Claim) replay.Answer {
	t.Helper()
	a, err := s.Claim(context.Background(), c)
	require.NoError(t, err)
	return a
}

func peek(t testing.TB, s replay.Store, c replay.Claim) replay.Answer {
	t.Helper()
	a, err := s.Peek(context.Background(), c)
	require.NoError(t, err)
	return a
}

// A movedClock is a database's clock that stands where it is put.
type movedClock struct {
	conn *pgx.Conn
	mu   sync.Mutex
	at   time.Time
}

func (c *movedClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func moveClock(t testing.TB, url string) *movedClock {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	c := &movedClock{conn: conn}
	exec1(t, url, `CREATE TABLE admitone_replay.test_clock (ns bigint);
		INSERT INTO admitone_replay.test_clock VALUES (0);
		CREATE OR REPLACE FUNCTION admitone_replay.clock() RETURNS bigint LANGUAGE sql VOLATILE AS
			'SELECT ns / 1000000 FROM admitone_replay.test_clock'`)
	c.set(t, time.Unix(1_800_000_000, 123_000_000))
	// A new epoch, by this clock, of the same lineage.
	exec1(t, url, "UPDATE admitone_replay.epoch SET began = admitone_replay.clock(), made_in = pg_current_xact_id()")
	return c
}

func (c *movedClock) set(t testing.TB, at time.Time) {
	t.Helper()
	c.mu.Lock()
	c.at = at
	c.mu.Unlock()
	_, err := c.conn.Exec(context.Background(), "UPDATE admitone_replay.test_clock SET ns = $1", at.UnixNano())
	require.NoError(t, err)
}

func (c *movedClock) step(t testing.TB, d time.Duration) { c.set(t, c.at.Add(d)) }

func epoch(t *testing.T, url string) time.Time {
	return time.UnixMilli(ask1[int64](t, url, "SELECT began FROM admitone_replay.epoch"))
}

// The suite with a clock that is stepped, and a purge at every step.
//
// trap R1
// trap R2
// trap R6
// trap R7
// trap R9
// trap R10
// trap R12
// trap R13
// trap R11
// trap R14
// trap R15
// trap R16
// trap R18
// trap R19
// trap R20
// trap R21
// trap R25
// trap R27
// trap R29
// trap R30
func TestConformance(t *testing.T) {
	t.Parallel()
	url := servers.Database(t)
	require.NoError(t, openAt(t, url).Close()) // or else it notices a Reset whenever it looks
	clock := moveClock(t, url)
	purged := 0
	replaytest.Run(t, replaytest.Harness{
		Open: func(t *testing.T) replay.Store { return openBy(t, clock.now, url) },
		Now:  clock.now,
		Step: func(d time.Duration) {
			clock.step(t, d)
			purged += ask1[int](t, url, "SELECT admitone_replay.purge(1000000)")
		},
		Epoch: func(t *testing.T) time.Time { return epoch(t, url) },
		Reset: func(t *testing.T) {
			exec1(t, url, "DELETE FROM admitone_replay.claims; DELETE FROM admitone_replay.dropped; "+
				"DELETE FROM "+
				"admitone_replay.epoch")
		},
		Exact: true,
	})
	assert.Positive(t, purged)
}

// The suite on a server's own clock, with restarts, outages and a schema that
// is dropped under the store.
//
// trap R17
// trap R24
// trap R30
func TestConformanceInRealTime(t *testing.T) {
	t.Parallel()
	server := servers.PostgreSQL(t)
	url := server.URL
	open := func(t *testing.T) replay.Store {
		return openAt(t, url, func(c *Config) { c.PurgeEvery = 100 * time.Millisecond })
	}
	replaytest.Run(t, replaytest.Harness{
		Open:    open,
		Now:     time.Now,
		Epoch:   func(t *testing.T) time.Time { return epoch(t, url) },
		Reset:   func(t *testing.T) { exec1(t, url, "DROP SCHEMA admitone_replay CASCADE") },
		Restart: func(t *testing.T) { server.Kill(); server.Start() },
		Outage: func(t *testing.T) func() {
			server.Kill()
			return server.Start
		},
		Exact: true,
	})
}

// A replay writes nothing: not another row, nor the same one anew.
//
// trap R27
func TestReplayWritesNothing(t *testing.T) {
	url := servers.Database(t)
	s := open(t, url)
	c, begin := bound(fresh(), 7), time.Now()
	require.Equal(t, replay.Admitted, claim(t, s, c).Status)
	rows := func() string {
		return ask1[string](t, url,
			"SELECT count(*) || string_agg(concat_ws(' ', xmin, xmax, ctid, retain_until, first_used), ',') FROM "+
				"admitone_replay.claims")
	}
	before := rows()
	longer := c
	longer.RetainUntil = c.RetainUntil.Add(time.Hour)
	for range 50 {
		for _, a := range []replay.Answer{peek(t, s, longer), claim(t, s, longer)} {
			require.True(t, a.Repeated || time.Since(begin) >= replay.Grace, "%+v", a)
		}
		require.Equal(t, replay.AlreadyUsed, claim(t, s, bound(longer, 8)).Status)
	}
	assert.Equal(t, before, rows())
}
