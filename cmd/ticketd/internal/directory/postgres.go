package directory

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

const (
	maxConns       = 16
	connectTimeout = 5 * time.Second
	oldestServer   = 130000 // as server_version_num
	migrationLock  = 5201947603821174091
)

// openPostgres opens the directory in the PostgreSQL database at the URL.
func openPostgres(ctx context.Context, dsn string) (*DB, error) {
	config, err := postgresConfig(dsn)
	if err != nil {
		return nil, err
	}
	conns, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	pool := stdlib.OpenDBFromPool(conns)
	closePools := func() error {
		err := pool.Close()
		conns.Close()
		return err
	}
	cc := config.ConnConfig
	err = checkServer(ctx, pool)
	if err == nil {
		err = migratePostgres(ctx, pool, config.ConnConfig)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("postgres %s:%d/%s: %w", cc.Host, cc.Port, cc.Database, err), closePools())
	}
	return newDB(pool, pool, closePools), nil
}

// postgresConfig is the configuration that the URL says, with the defaults that
// Open states.
func postgresConfig(dsn string) (*pgxpool.Config, error) {
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		// What pgx says of it may quote it, and with it the password.
		var file *fs.PathError
		if errors.As(err, &file) {
			return nil, badDSN("names a file that cannot be read", file)
		}
		return nil, badDSN("is not a connection string; write postgres://user:password@host:5432/database?sslmode=verify-full, "+
			"with special characters of the password percent-encoded", nil)
	}
	given := url.Values{}
	if u, err := url.Parse(dsn); err == nil {
		given = u.Query()
	}
	if !given.Has("pool_max_conns") {
		config.MaxConns = maxConns
	}
	if !given.Has("connect_timeout") {
		config.ConnConfig.ConnectTimeout = connectTimeout
	}
	if !given.Has("default_query_exec_mode") {
		config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	}
	return config, nil
}

// checkServer refuses a server that would forget, or could not hold, what the
// directory is given.
func checkServer(ctx context.Context, pool *sql.DB) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	var version int
	var standby bool
	var commit, readonly, encoding string
	err := pool.QueryRowContext(ctx, `SELECT CAST(current_setting('server_version_num') AS INTEGER), pg_is_in_recovery(),
		current_setting('synchronous_commit'), current_setting('default_transaction_read_only'), current_setting('server_encoding')`).
		Scan(&version, &standby, &commit, &readonly, &encoding)
	switch {
	case err != nil:
		return err
	case version < oldestServer:
		return fmt.Errorf("the server is PostgreSQL %d: use 13 or newer", version/10000)
	case standby:
		return errors.New("the server is a standby, which nothing can be written to: connect to the primary, " +
			"for instance with several hosts and target_session_attrs=read-write in the URL")
	case readonly == "on":
		return errors.New("default_transaction_read_only is on: ALTER ROLE … SET default_transaction_read_only = off, or connect to the primary")
	case commit == "off":
		return errors.New("synchronous_commit is off, so a crash of the server could forget a key's revocation: " +
			"add synchronous_commit=on to the URL, or ALTER DATABASE … SET synchronous_commit = on")
	case encoding != "UTF8":
		return fmt.Errorf("the database's encoding is %s: make one with ENCODING 'UTF8' TEMPLATE template0", encoding)
	}
	return nil
}

// migratePostgres brings the schema up to date, one process at a time. The lock
// is a transaction's, which PgBouncer keeps on one connection; that is not one of
// the pool's, of which there may be no second.
func migratePostgres(ctx context.Context, pool *sql.DB, config *pgx.ConnConfig) error {
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer conn.Close(ctx) // which ends the transaction
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(migrationLock)); err != nil {
		return err
	}
	return migrate(ctx, pool, goose.DialectPostgres, "postgres")
}
