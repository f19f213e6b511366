package directory

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/internal/servers"
)

// No error about a connection string repeats its password.
func TestOpenRefusesConnectionStrings(t *testing.T) {
	const secret = "hunter2"
	for dsn, want := range map[string]string{
		"mysql://root:hunter2@localhost/db":                                                    "is not of a database that is known",
		"postgres:root:hunter2@localhost/db":                                                   "is not of a database",
		"POSTGRES://root:hunter2@localhost/db":                                                 "is not of a database",
		"mysql:host=localhost;password=hunter2":                                                "connection string in keywords",
		"host=localhost password=hunter2":                                                      "connection string in keywords",
		"dbname=x user=y password = hunter2":                                                   "connection string in keywords",
		"postgres://root:hunter2%zz@localhost/db":                                              "is not a connection string",
		"postgres://root:hunter2@localhost:port/db":                                            "is not a connection string",
		"postgres://root:hunter2@localhost/db?sslmode=perhaps":                                 "is not a connection string",
		"postgres://root:hunter2@localhost/db?pool_max_conns=hunter2":                          "is not a connection string",
		"postgres://root:hunter2@localhost/db?sslmode=verify-full&sslrootcert=/nowhere/ca.pem": "/nowhere/ca.pem",
		"postgres://root:hunter2@127.0.0.1:1/db":                                               "connect",
		"postgresql://root:hunter2@127.0.0.1:1/db?sslmode=disable":                             "postgres 127.0.0.1:1/db",
	} {
		t.Run(want, func(t *testing.T) {
			t.Chdir(t.TempDir()) // where no file may appear
			db, err := Open(t.Context(), dsn)
			require.ErrorContains(t, err, want)
			assert.Nil(t, db)
			assert.NotContains(t, err.Error(), secret)
		})
	}
}

func TestPostgresConfig(t *testing.T) {
	config, err := postgresConfig("postgres://u@localhost/db")
	require.NoError(t, err)
	assert.EqualValues(t, maxConns, config.MaxConns)
	assert.Equal(t, connectTimeout, config.ConnConfig.ConnectTimeout)
	assert.Equal(t, pgx.QueryExecModeExec, config.ConnConfig.DefaultQueryExecMode)
	config, err = postgresConfig("postgres://u@localhost/db?pool_max_conns=3&connect_timeout=7&default_query_exec_mode=cache_statement")
	require.NoError(t, err)
	assert.EqualValues(t, 3, config.MaxConns)
	assert.Equal(t, 7*time.Second, config.ConnConfig.ConnectTimeout)
	assert.Equal(t, pgx.QueryExecModeCacheStatement, config.ConnConfig.DefaultQueryExecMode)
}

// Every way of sending statements, every isolation, and a single connection do.
func TestPostgresModes(t *testing.T) {
	t.Parallel()
	for _, parameters := range [][2]string{
		{"default_query_exec_mode", "exec"}, {"default_query_exec_mode", "cache_statement"}, {"default_query_exec_mode",
			"cache_describe"},
		{"default_query_exec_mode", "describe_exec"}, {"default_query_exec_mode", "simple_protocol"},
		{"default_transaction_isolation", "repeatable read"}, {"default_transaction_isolation", "serializable"},
		{"pool_max_conns", "1"}, {"standard_conforming_strings", "on"}, {"TimeZone", "Asia/Kathmandu"}, {"DateStyle",
			"German"},
	} {
		t.Run(strings.Join(parameters[:], "="), func(t *testing.T) {
			t.Parallel()
			dsn := with(t, postgresServer.place(t), parameters[0], parameters[1])
			d := database{postgresServer.name, func(testing.TB) string { return dsn }}
			db, bearer := d.prepared(t)
			var wg sync.WaitGroup
			for i := range 16 {
				wg.Go(func() {
					_, _, err := db.ResolveCustomer(t.Context(), "acme", Customer{Email: "jane@example.com", Remark: fmt.Sprint(i)},
						Redemption{Ticket: fmt.Sprint(i), Expires: start, Override: i%2 == 0})
					assert.NoError(t, err)
				})
			}
			wg.Wait()
			found := all(t, db)
			require.Len(t, found, 1)
			require.NoError(t, db.RemoveCustomer(t.Context(), "acme", found[0].ID))
			everyCall(t.Context(), db, bearer, func(name string, err error) { assert.NoError(t, err, name) })
		})
	}
}

func TestPostgresRefuses(t *testing.T) {
	t.Parallel()
	for parameter, want := range map[[2]string]string{
		{"synchronous_commit", "off"}:           "synchronous_commit is off",
		{"default_transaction_read_only", "on"}: "default_transaction_read_only is on",
	} {
		_, err := Open(t.Context(), with(t, postgresServer.place(t), parameter[0], parameter[1]))
		assert.ErrorContains(t, err, want)
	}
	t.Run("encoding", func(t *testing.T) {
		dsn := postgresServer.place(t)
		conn, err := pgx.Connect(t.Context(), dsn)
		require.NoError(t, err)
		defer conn.Close(context.Background())
		before, _, _ := strings.Cut(dsn, "?")
		_, err = conn.Exec(t.Context(), `CREATE DATABASE `+before[strings.LastIndex(before,
			"/")+1:]+`ascii ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0`)
		require.NoError(t, err)
		_, err = Open(t.Context(), before+"ascii?sslmode=disable")
		assert.ErrorContains(t, err, "the database's encoding is SQL_ASCII")
	})
	t.Run("newer schema", func(t *testing.T) {
		dsn := postgresServer.place(t)
		db := open(t, dsn)
		do(t, db, `INSERT INTO directory_version (version_id, is_applied) VALUES (999, true)`)
		_, err := Open(t.Context(), dsn)
		assert.ErrorContains(t, err, "the schema has version 999 and this program knows 2")
	})
	t.Run("standby", func(t *testing.T) {
		server := servers.PostgreSQL(t)
		standby := server.Standby()
		standby.Start()
		_, err := Open(t.Context(), standby.URL)
		assert.ErrorContains(t, err, "the server is a standby")
	})
}

// A role that may not make tables is enough where they are.
func TestPostgresWithoutRights(t *testing.T) {
	t.Parallel()
	dsn := postgresServer.place(t)
	db := open(t, dsn)
	role := fmt.Sprintf("plain%d", time.Now().UnixNano())
	do(t, db, `CREATE ROLE `+role+` LOGIN`, `REVOKE CREATE ON SCHEMA public FROM PUBLIC`,
		`GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO `+role)
	plain := open(t, strings.Replace(dsn, "postgres@", role+"@", 1))
	require.NoError(t, plain.AddBrand(t.Context(), Brand{Name: "acme"}))
	_, created, err := plain.ResolveCustomer(t.Context(), "acme", Customer{UniqueID: "1"},
		Redemption{Ticket: "t", Expires: start, Override: true})
	require.NoError(t, err)
	assert.True(t, created)
}

// A role without the right to remove rows asks once, and not each minute.
func TestPostgresPurgeRefused(t *testing.T) {
	t.Parallel()
	dsn := postgresServer.place(t)
	db := open(t, dsn)
	require.NoError(t, db.AddBrand(t.Context(), Brand{Name: "acme"}))
	_, _, err := db.ResolveCustomer(t.Context(), "acme", Customer{UniqueID: "1"}, Redemption{Ticket: "t", Expires: start})
	require.NoError(t, err)
	role := fmt.Sprintf("plain%d", time.Now().UnixNano())
	do(t, db, `CREATE ROLE `+role+` LOGIN`, `GRANT SELECT ON ALL TABLES IN SCHEMA public TO `+role)
	dsn = strings.Replace(dsn, "postgres@", role+"@", 1)
	plain := open(t, dsn)
	later := start.Add(redemptionMargin + time.Hour)
	_, err = plain.PurgeEvents(t.Context(), later, 10)
	assert.Equal(t, insufficientPrivilege, sqlState(err))
	plain.jobs.purge(later)
	do(t, db, `GRANT DELETE ON ALL TABLES IN SCHEMA public TO `+role)
	events, redemptions := `SELECT count(*) FROM event`, `SELECT count(*) FROM redemption`
	some := count(t, db, events)
	purge := func(db *DB) {
		_, err := db.PurgeEvents(t.Context(), later, 10)
		require.NoError(t, err)
		db.jobs.purge(later)
	}
	purge(plain)
	assert.Equal(t, some, count(t, db, events), "nothing is asked")
	assert.Equal(t, 1, count(t, db, redemptions), "nothing is asked")
	purge(open(t, dsn))
	assert.Zero(t, count(t, db, events))
	assert.Zero(t, count(t, db, redemptions))
}

// PostgreSQL crashes and comes back under load: meanwhile there are errors and
// never wrong answers, nothing that was answered is lost, and afterwards it works
// without our being restarted.
//
// trap R24
func TestPostgresRestart(t *testing.T) {
	t.Parallel()
	server := servers.PostgreSQL(t)
	db := open(t, server.URL)
	ctx := t.Context()
	require.NoError(t, db.AddBrand(ctx, Brand{Name: "acme"}))
	require.NoError(t, db.AddAgent(ctx, Agent{Brand: "acme", Username: "ann", Email: "ann@example.com", Active: true}))
	bearer, err := db.CreateAPIKey(ctx, APIKey{Scopes: []Scope{ScopeIssue}, Brands: []string{"acme"}})
	require.NoError(t, err)
	revoked, revokedID := issueKey(t, db)
	require.NoError(t, db.RevokeAPIKey(ctx, revokedID))

	var stop atomic.Bool
	var answers, outages atomic.Int64
	var mu sync.Mutex
	made := make(map[string]int64) // customers that were answered
	judge := func(err error, right bool) {
		switch {
		case right:
			answers.Add(1)
		case assert.Error(t, err) && assert.NotErrorIs(t, err, ErrNotFound) && assert.NotErrorIs(t, err, ErrExists):
			outages.Add(1)
		}
	}
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := 0; !stop.Load(); i++ {
				_, err := db.Authenticate(ctx, bearer, start)
				var auth *AuthError
				assert.NotErrorAs(t, err, &auth)
				judge(err, err == nil)
				_, err = db.Authenticate(ctx, revoked, start)
				judge(err, errors.As(err, &auth) && auth.Reason == AuthRevoked)
				_, err = db.MatchAgent(ctx, "acme", "ann", Fields{Email: "ann@example.com"})
				judge(err, err == nil)
				_, err = db.MatchAgent(ctx, "acme", "ann", Fields{Email: "x"})
				var mismatch *MismatchError
				judge(err, errors.As(err, &mismatch))
				id := fmt.Sprint(worker, "-", i)
				c, _, err := db.ResolveCustomer(ctx, "acme", Customer{UniqueID: id},
					Redemption{Ticket: id, Expires: start, Override: true})
				judge(err, err == nil)
				if err == nil {
					mu.Lock()
					made[id] = c.ID
					mu.Unlock()
				}
			}
		})
	}
	more := func(of *atomic.Int64) {
		from := of.Load()
		require.Eventually(t, func() bool { return of.Load() > from+100 }, time.Minute, 5*time.Millisecond)
	}
	for range 2 {
		more(&answers)
		server.Kill()
		more(&outages)
		server.Start()
		more(&answers)
		server.Stop()
		more(&outages)
		server.Start()
	}
	more(&answers)
	stop.Store(true)
	wg.Wait()
	t.Logf("%d answers, %d outages, %d customers", answers.Load(), outages.Load(), len(made))
	for id, customer := range made {
		found, err := db.FindCustomers(ctx, "acme", Customer{UniqueID: id})
		require.NoError(t, err)
		require.Len(t, found, 1, "answered, and lost")
		assert.Equal(t, customer, found[0].ID)
	}
}

// A server that does not answer holds nobody up for longer than Open says.
func TestPostgresHangs(t *testing.T) {
	t.Parallel()
	server := servers.PostgreSQL(t)
	db := open(t, server.URL)
	require.NoError(t, db.AddBrand(t.Context(), Brand{Name: "acme"}))
	server.Freeze()
	defer server.Thaw()
	begin := time.Now()
	_, err := db.Brand(t.Context(), "acme")
	isOutage(t)("Brand", err)
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	assert.GreaterOrEqual(t, time.Since(begin), readTimeout-time.Second)
	server.Thaw()
	require.Eventually(t, func() bool {
		_, err := db.Brand(t.Context(), "acme")
		return err == nil
	}, time.Minute, 10*time.Millisecond)
}

// Nor does it hold up a service that ends, however many last uses are not
// written.
func TestPostgresHangsAtTheEnd(t *testing.T) {
	if testing.Short() {
		t.Skip("every write takes its time")
	}
	t.Parallel()
	server := servers.PostgreSQL(t)
	db, err := Open(t.Context(), server.URL)
	require.NoError(t, err)
	server.Freeze()
	defer server.Thaw()
	for i := range useBacklog {
		db.jobs.noteUse(fmt.Sprint(i), time.Time{}, start)
	}
	closed := make(chan error)
	go func() { closed <- db.Close() }()
	select {
	case <-closed:
	case <-time.After(10 * jobTimeout): // of 64
		t.Error("still waiting")
	}
}

// trap S14: a pooler with one connection to the server is enough, in every mode that takes transactions, for a
// new directory and for one that exists, and for several processes that open it at once.
func TestPgBouncerOneConnection(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"transaction", "session"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			pooled := servers.PgBouncerOf(t, servers.Database(t), mode, 1)
			first, err := Open(t.Context(), pooled)
			require.NoError(t, err)
			require.NoError(t, first.AddBrand(t.Context(), Brand{Name: "commbox"}))
			_, err = first.Brand(t.Context(), "commbox")
			require.NoError(t, err)
			require.NoError(t, first.Close())
			again := open(t, pooled)
			_, err = again.Brand(t.Context(), "commbox")
			require.NoError(t, err)
		})
	}
	pooled := servers.PgBouncerOf(t, servers.Database(t), "transaction", 1)
	var group sync.WaitGroup
	for range 5 {
		group.Go(func() {
			db, err := Open(t.Context(), pooled)
			if assert.NoError(t, err) {
				assert.NoError(t, db.Close())
			}
		})
	}
	group.Wait()
}
