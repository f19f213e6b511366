package postgres

import (
	"errors"
	"io/fs"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParse(t *testing.T) {
	d := Defaults{MaxConns: 3, ConnectTimeout: 7 * time.Second}
	for dsn, want := range map[string]struct {
		conns   int32
		connect time.Duration
		mode    pgx.QueryExecMode
	}{
		"postgres://x/y":                            {3, 7 * time.Second, pgx.QueryExecModeExec},
		"host=x dbname=y":                           {3, 7 * time.Second, pgx.QueryExecModeExec},
		"postgres://pool_max_conns@x/y":             {3, 7 * time.Second, pgx.QueryExecModeExec},
		"postgres://x/y?pool_max_conns=5":           {5, 7 * time.Second, pgx.QueryExecModeExec},
		"host=x dbname=y connect_timeout=9":         {3, 9 * time.Second, pgx.QueryExecModeExec},
		"postgresql://x/y?connect_timeout=9":        {3, 9 * time.Second, pgx.QueryExecModeExec},
		"postgres://x?default_query_exec_mode=exec": {3, 7 * time.Second, pgx.QueryExecModeExec},
		"postgres://x?default_query_exec_mode=cache_describe": {
			3, 7 * time.Second, pgx.QueryExecModeCacheDescribe,
		},
	} {
		c, err := Parse(dsn, d)
		require.NoError(t, err, dsn)
		assert.Equal(t, want.conns, c.MaxConns, dsn)
		assert.Equal(t, want.connect, c.ConnConfig.ConnectTimeout, dsn)
		assert.Equal(t, want.mode, c.ConnConfig.DefaultQueryExecMode, dsn)
	}
}

// No error repeats the password.
func TestParseRefuses(t *testing.T) {
	for _, dsn := range []string{
		"postgres://u:hunter2%zz@x/y", "postgres://u:hunter2@x:port/y", "postgres://u:hunter2@x/y?sslmode=perhaps",
		"postgres://u@x/y?pool_max_conns=hunter2", "host=x password=hunter2 port=z",
		"postgres://u:hunter2@x/y?sslmode=verify-full&sslrootcert=/nowhere/ca.pem",
	} {
		_, err := Parse(dsn, Defaults{})
		wrong, ok := errors.AsType[*URLError](err)
		require.True(t, ok, dsn)
		assert.NotContains(t, err.Error(), "hunter2")
		assert.Contains(t, err.Error(), wrong.Reason)
	}
	_, err := Parse("postgres://x/y?sslmode=verify-full&sslrootcert=/nowhere/ca.pem", Defaults{})
	assert.ErrorIs(t, err, fs.ErrNotExist)
	assert.ErrorContains(t, err, "/nowhere/ca.pem")
}

func TestServerCheck(t *testing.T) {
	assert.NoError(t, Server{version: oldest}.Check())
	for says, s := range map[string]Server{
		"PostgreSQL 12":                    {version: 129_999},
		"standby":                          {version: 160_001, standby: true},
		"default_transaction_read_only is": {version: 160_001, readOnly: true},
	} {
		assert.ErrorContains(t, s.Check(), says)
	}
	assert.Len(t, new(Server).Fields(), 3)
}
