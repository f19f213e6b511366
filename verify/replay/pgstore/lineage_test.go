package pgstore

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/internal/servers"
	"github.com/admitone/admitone/verify/replay"
)

// settle waits until the store admits new tickets.
func settle(t *testing.T, s *Store) {
	t.Helper()
	require.Eventually(t, func() bool {
		a, err := s.Claim(context.Background(), fresh())
		return err == nil && a.Status == replay.Admitted
	}, patience, time.Millisecond)
}

// trap R33: the URL leads to one primary, to an unrelated one, and back. What was redeemed
// on either is refused on the other by a process that saw both, by one that was restarted
// in between, and, once a process that saw both has been there, by all.
func TestAnotherLineage(t *testing.T) {
	t.Parallel()
	one, two := servers.PostgreSQL(t), servers.PostgreSQL(t)
	p := newProxy(t, one.Port)
	lead := func(to *servers.Postgres) {
		p.server.Store(int64(to.Port))
		p.hangUp()
	}
	file := filepath.Join(t.TempDir(), "lineage")
	moved := func() *Store { return openAt(t, p.url(), func(c *Config) { c.LineageFile = file }) }
	stays := open(t, one.URL) // knows the first server alone
	s := moved()
	settle(t, s)
	onOne := fresh()
	require.Equal(t, replay.Admitted, claim(t, s, onOne).Status)

	lead(two)
	require.Equal(t, replay.IssuedBeforeStart, retry(t, s, onOne).Status)
	settle(t, s)
	onTwo, unused := fresh(), fresh()
	require.Equal(t, replay.Admitted, claim(t, s, onTwo).Status)

	lead(one)
	require.Equal(t, replay.IssuedBeforeStart, retry(t, s, onTwo).Status)
	require.Equal(t, replay.IssuedBeforeStart, claim(t, stays, onTwo).Status)
	require.Equal(t, replay.IssuedBeforeStart, claim(t, stays, unused).Status)
	settle(t, s)
	settle(t, stays) // both go on, and neither disturbs the other
	before := fresh()
	for range 20 {
		settle(t, s)
		settle(t, stays)
	}
	require.Equal(t, replay.Admitted, claim(t, stays, before).Status)

	// A process that saw the second server ends, and is started again on the first.
	lead(two)
	require.Equal(t, replay.IssuedBeforeStart, retry(t, s, before).Status)
	settle(t, s)
	onTwo = fresh()
	require.Equal(t, replay.Admitted, claim(t, s, onTwo).Status)
	require.NoError(t, s.Close())
	lead(one)
	s = moved()
	require.Equal(t, replay.IssuedBeforeStart, claim(t, s, onTwo).Status)
	require.Equal(t, replay.IssuedBeforeStart, claim(t, stays, onTwo).Status)
	settle(t, s)

	// A damaged file knows no server, and with a file that cannot be written nothing is claimed.
	require.NoError(t, s.Close())
	before = fresh()
	require.NoError(t, os.WriteFile(file, []byte("{"), 0o600))
	s = moved()
	require.Equal(t, replay.IssuedBeforeStart, claim(t, s, before).Status)
	settle(t, s)
	require.NoError(t, os.RemoveAll(filepath.Dir(file)))
	lead(two)
	_, err := s.Claim(context.Background(), fresh())
	require.ErrorIs(t, err, replay.ErrUnavailable)
	s.look(context.Background())
	st, err := s.Stats(context.Background())
	require.NoError(t, err)
	require.ErrorContains(t, st.Err, "make Config.LineageFile writable")
}

// trap R33: a primary and its promoted standby both take writes, and the URL leads to the
// primary, to the standby and back.
func TestTwoPrimariesOfOneOrigin(t *testing.T) {
	t.Parallel()
	primary := servers.PostgreSQL(t)
	p := newProxy(t, primary.Port)
	s := open(t, p.url())
	standby := primary.Standby()
	standby.Start()
	exec1(t, standby.URL, "SELECT pg_promote()")
	p.server.Store(int64(standby.Port))
	p.hangUp()
	settle(t, s)
	c := fresh()
	require.Equal(t, replay.Admitted, claim(t, s, c).Status)
	p.server.Store(int64(primary.Port))
	p.hangUp()
	assert.Equal(t, replay.IssuedBeforeStart, retry(t, s, c).Status)
	settle(t, s)
}

// renewals calls answer between the end of a renewal on the server and its return.
type renewals struct{ answer func() }

type isRenewal struct{}

func (r *renewals) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	return context.WithValue(ctx, isRenewal{}, strings.Contains(data.SQL, "admitone_replay.renew("))
}

func (r *renewals) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryEndData) {
	if ctx.Value(isRenewal{}) == true && r.answer != nil {
		r.answer()
	}
}

// trap R33: while a store finds out that a connection leads to another server, a claim still
// goes to the server of before.
func TestClaimDuringChangeOfLineage(t *testing.T) {
	t.Parallel()
	one, two := servers.PostgreSQL(t), servers.PostgreSQL(t)
	p := newProxy(t, one.Port)
	now := time.Now().Add(time.Hour) // ahead of the servers', so that epochs begin by this clock
	clock := func() time.Time { return now }
	config, err := pgxpool.ParseConfig(p.url())
	require.NoError(t, err)
	config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	trace := new(renewals)
	config.ConnConfig.Tracer = trace
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	openBy(t, clock, two.URL)
	s := openBy(t, clock, "", func(c *Config) { c.Pool = pool })

	p.server.Store(int64(two.Port))
	pool.Reset()
	var c replay.Claim
	trace.answer = func() { // on a new connection, since the other one is in use
		trace.answer = nil
		p.server.Store(int64(one.Port))
		now = now.Add(time.Second)
		c = ticket(now.Add(skew), lifetime, skew)
		require.Equal(t, replay.Admitted, claim(t, s, c).Status)
	}
	s.look(context.Background())
	require.Nil(t, trace.answer)
	p.server.Store(int64(two.Port))
	pool.Reset()
	require.Equal(t, replay.IssuedBeforeStart, claim(t, s, c).Status)
	now = now.Add(time.Second)
	require.Equal(t, replay.Admitted, claim(t, s, ticket(now.Add(skew), lifetime, skew)).Status)
}

// trap R33: a server that does not compare lineages is caught.
func TestBlindToLineage(t *testing.T) {
	t.Parallel()
	one, two := servers.Database(t), servers.Database(t)
	file := filepath.Join(t.TempDir(), "lineage")
	at := func(url string) *Store { return openAt(t, url, func(c *Config) { c.LineageFile = file }) }
	blind := func(url string) {
		exec1(t, url, `CREATE OR REPLACE VIEW admitone_replay.memory AS
			SELECT e.began, 'the same' AS lineage FROM admitone_replay.epoch e`)
	}
	openAt(t, one)
	blind(one)
	settle(t, at(one))
	openAt(t, two)
	blind(two)
	there := at(two)
	settle(t, there)
	c := fresh()
	require.Equal(t, replay.Admitted, claim(t, there, c).Status)
	require.Equal(t, replay.Admitted, claim(t, at(one), c).Status)
}
