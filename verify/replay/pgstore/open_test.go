package pgstore

import (
	"context"
	"errors"
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
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify/replay"
)

func TestConfigIsChecked(t *testing.T) {
	const url = "postgres://127.0.0.1:1/x"
	tests := []struct {
		config Config
		want   string
	}{
		{Config{}, "pgstore.Config.URL is empty"},
		{Config{URL: url, Pool: &pgxpool.Pool{}}, "pgstore.Config.URL is set, and so is"},
		{Config{URL: url, Timeout: -1}, "Timeout is -1ns; give 0"},
		{Config{URL: url, Realm: strings.Repeat("r", 65)}, "longer than 64 bytes"},
		{Config{URL: url, Realm: "\xff"}, "UTF-8"},
		{Config{URL: url, Realm: "a\u2028b"}, "control character"},
		{Config{URL: url, Realm: "a\nb"}, "control character"},
	}
	for _, tt := range tests {
		_, err := Open(context.Background(), tt.config)
		require.ErrorAs(t, err, new(*token.ConfigError))
		require.ErrorContains(t, err, tt.want)
		assert.NotErrorIs(t, err, replay.ErrUnavailable)
	}
}

// No error and no String contains a password, in whatever way it stands in the
// URL, and whatever is wrong with that.
func TestNoPasswordInTexts(t *testing.T) {
	bad := []string{
		"postgres://me:s3cret@127.0.0.1:notaport/db",
		"postgres://me:s3cret@127.0.0.1:1/db?connect_timeout=x",
		"postgres://me:s3cret@127.0.0.1:1/db?sslmode=nonsense",
		"postgres://me:s3cret@[::1/db",
		"postgres://me:%zzs3cret@127.0.0.1:1/db",
		"postgres://me:s3/cret@127.0.0.1:1/s3cret",
		"postgres://127.0.0.1:1/db?password=s3cret&pool_max_conns=s3cret",
		"postgres://me:s3cret@127.0.0.1:1/db?sslmode=verify-full&sslrootcert=/nonexistent.pem",
		"host=127.0.0.1 port=x password=s3cret",
		"host=127.0.0.1 password='s3cret",
		"s3cret", "=s3cret",
	}
	unreachable := []string{
		"postgres://me:s3cret@127.0.0.1:1/db?sslmode=disable",
		"postgres://127.0.0.1:1/db?sslmode=disable&user=me&password=s3cret",
		"host=127.0.0.1 port=1 password=s3cret user=me sslmode=disable",
	}
	for _, url := range append(bad, unreachable...) {
		config := Config{URL: url, Timeout: time.Second}
		_, err := Open(context.Background(), config)
		require.Error(t, err)
		assert.NotContains(t, err.Error(), "s3", url)
		for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
			assert.NotContains(t, fmt.Sprintf(verb, config), "s3", verb)
			assert.NotContains(t, fmt.Sprintf(verb, &config), "s3", verb)
		}
	}
	for _, url := range unreachable {
		_, err := Open(context.Background(), Config{URL: url, Timeout: time.Second})
		assert.ErrorIs(t, err, replay.ErrUnavailable)
	}
	_, err := Open(context.Background(), Config{URL: bad[7]})
	assert.ErrorContains(t, err, "/nonexistent.pem", "what can be said, is")

	url := servers.Database(t)
	named := strings.Replace(role(t, url, "named", "SUPERUSER"), "named@", "named:s3cret@", 1)
	s := openAt(t, named, func(c *Config) { c.Realm = "realm" })
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		assert.NotContains(t, fmt.Sprintf(verb, s), "s3", verb)
		assert.Contains(t, fmt.Sprintf(verb, s), `realm "realm"`, verb)
	}
}

// Several processes that start at once make the schema once.
func TestOpenTogether(t *testing.T) {
	url := servers.Database(t)
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			s, err := Open(context.Background(), Config{URL: url, PurgeEvery: -1, Timeout: patience})
			if assert.NoError(t, err) {
				s.Close()
			}
		})
	}
	wg.Wait()
	assert.Equal(t, 1, ask1[int](t, url, "SELECT count(*) FROM admitone_replay.epoch"))
}

func role(t *testing.T, url, name, rest string) string {
	t.Helper()
	exec1(t, url, fmt.Sprintf("DROP ROLE IF EXISTS %[1]s; CREATE ROLE %[1]s LOGIN %[2]s", name, rest))
	t.Cleanup(func() { exec1(t, url, "DROP OWNED BY "+name+"; DROP ROLE "+name) })
	return strings.Replace(url, "postgres@", name+"@", 1)
}

// A role that may not create gets by with USAGE of the schema, with which it can
// spend, look and purge, and can neither see nor remove a row.
//
// trap R20
func TestRoleOfTheService(t *testing.T) {
	url := servers.Database(t)
	service := role(t, url, "service", "")
	_, err := Open(context.Background(), Config{URL: service, Timeout: patience})
	require.ErrorContains(t, err, "run schema.sql of package pgstore")
	assert.NotErrorIs(t, err, replay.ErrUnavailable)
	exec1(t, url, "BEGIN;"+Schema()+"COMMIT")
	_, err = Open(context.Background(), Config{URL: service, Timeout: patience})
	require.ErrorContains(t, err, "GRANT USAGE")
	exec1(t, url, "GRANT USAGE ON SCHEMA admitone_replay TO service")
	s := open(t, service)
	c := fresh()
	require.Equal(t, replay.Admitted, claim(t, s, c).Status)
	purge(t, s)
	assert.True(t, ask1[bool](t, url, "SELECT binding IS NULL FROM admitone_replay.claims"))

	conn, err := pgx.Connect(context.Background(), service)
	require.NoError(t, err)
	defer conn.Close(context.Background())
	for _, sql := range []string{
		"SELECT * FROM admitone_replay.claims",
		"DELETE FROM admitone_replay.claims",
		"UPDATE admitone_replay.claims SET retain_until = 0",
		"TRUNCATE admitone_replay.claims",
		"UPDATE admitone_replay.epoch SET began = 0",
		"DELETE FROM admitone_replay.dropped",
		"SELECT admitone_replay.drop_window(1, 1)",
		"CREATE OR REPLACE FUNCTION admitone_replay.clock() RETURNS bigint LANGUAGE sql AS 'SELECT 9e15::bigint'",
	} {
		_, err := conn.Exec(context.Background(), sql)
		assert.Equal(t, noRight, sqlState(err), "%s: %v", sql, err)
	}
	// Nor by objects of its own that hide those of the system.
	exec1(t, url, "CREATE SCHEMA evil; GRANT ALL ON SCHEMA evil TO service")
	_, err = conn.Exec(context.Background(), `CREATE FUNCTION evil.always(bigint, bigint) RETURNS boolean LANGUAGE sql AS 'SELECT true';
		CREATE OPERATOR evil.<= (FUNCTION = evil.always, LEFTARG = bigint, RIGHTARG = bigint);
		CREATE OPERATOR evil.< (FUNCTION = evil.always, LEFTARG = bigint, RIGHTARG = bigint);
		SET search_path = evil, pg_catalog; SELECT admitone_replay.purge(1000)`, pgx.QueryExecModeSimpleProtocol)
	require.NoError(t, err)
	assert.Equal(t, replay.AlreadyUsed, claim(t, s, c).Status)
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	url := servers.Database(t)
	openAt(t, url)
	refused := func(url, want string) {
		t.Helper()
		_, err := Open(context.Background(), Config{URL: url, Timeout: patience})
		require.ErrorContains(t, err, want)
		assert.NotErrorIs(t, err, replay.ErrUnavailable)
	}
	refused(url+"&default_transaction_read_only=on", "default_transaction_read_only = off")
	exec1(t, url, "ALTER TABLE admitone_replay.claims SET UNLOGGED")
	refused(url, "SET LOGGED")
	exec1(t, url, "ALTER TABLE admitone_replay.claims SET LOGGED")
	exec1(t, url, "CREATE OR REPLACE FUNCTION admitone_replay.version() RETURNS integer "+
		"LANGUAGE sql IMMUTABLE AS "+
		"'SELECT 1'")
	refused(url, "has version 1, and this program knows 4")

	noFsync := servers.PostgreSQL(t, "-c", "fsync=off")
	refused(noFsync.URL, "fsync = on")
	openAt(t, noFsync.URL, func(c *Config) { c.AllowNoFsync = true })
}

// A claim is on disk before its answer, though the role's default is to answer
// first and to write later.
func TestClaimsAreDurable(t *testing.T) {
	t.Parallel()
	server := servers.PostgreSQL(t, "-c", "wal_writer_delay=10s")
	url := server.URL
	for _, isolation := range []string{"read%20committed", "repeatable%20read"} {
		s := open(t, url+"&synchronous_commit=off&default_transaction_isolation="+isolation)
		var spent []replay.Claim
		for range 20 {
			c := fresh()
			require.Equal(t, replay.Admitted, claim(t, s, c).Status)
			spent = append(spent, c)
		}
		server.Kill()
		server.Start()
		for _, c := range spent {
			assert.Equal(t, replay.AlreadyUsed, retry(t, s, c).Status)
		}
	}
}

// retry claims until there is an answer.
func retry(t testing.TB, s *Store, c replay.Claim) replay.Answer {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		a, err := s.Claim(context.Background(), c)
		if err == nil {
			return a
		}
		if !errors.Is(err, replay.ErrUnavailable) || time.Now().After(deadline) {
			t.Fatalf("%v", err)
		}
	}
}

// An answer that is none admits nobody.
func TestUnknownAnswer(t *testing.T) {
	c := fresh()
	for _, r := range []row{{}, {status: "ADMITTED"}, {status: "already_used"}} {
		a, err := r.answer(&c)
		assert.ErrorIs(t, err, replay.ErrUnavailable)
		assert.Zero(t, a)
	}
}
