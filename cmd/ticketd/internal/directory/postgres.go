package directory

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"github.com/admitone/admitone/internal/postgres"
)

const (
	maxConns       = 16
	connectTimeout = 5 * time.Second
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
		err = fmt.Errorf("postgres %s:%d/%s: %w", cc.Host, cc.Port, cc.Database, err)
		return nil, errors.Join(err, closePools())
	}
	db := newDB(pool, pool, closePools)
	db.write.isolation = sql.LevelReadCommitted // whatever the server's default is
	db.lockRows = " FOR UPDATE"
	return db, nil
}

// postgresConfig returns the configuration of the URL, with the defaults that Open
// states.
func postgresConfig(dsn string) (*pgxpool.Config, error) {
	config, err := postgres.Parse(dsn, postgres.Defaults{MaxConns: maxConns, ConnectTimeout: connectTimeout})
	if wrong, ok := errors.AsType[*postgres.URLError](err); ok {
		return nil, badDSN(wrong.Reason, wrong.Cause)
	}
	return config, err
}

// checkServer refuses a server that would forget or could not hold the records.
func checkServer(ctx context.Context, pool *sql.DB) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	var server postgres.Server
	var commit, encoding string
	err := pool.QueryRowContext(ctx, "SELECT "+postgres.ServerColumns+
		", current_setting('synchronous_commit'), current_setting('server_encoding')").
		Scan(append(server.Fields(), &commit, &encoding)...)
	if err != nil {
		return err
	}
	switch err := server.Check(); {
	case err != nil:
		return err
	case commit == "off":
		return errors.New("synchronous_commit is off, so a crash of the server could forget a key's revocation: " +
			"add synchronous_commit=on to the URL, or ALTER DATABASE … SET synchronous_commit = on")
	case encoding != "UTF8":
		return fmt.Errorf("the database's encoding is %s: make one with ENCODING 'UTF8' TEMPLATE template0", encoding)
	}
	return nil
}

// migratePostgres brings the schema up to date, one process at a time. The lock belongs
// to a transaction, since PgBouncer keeps a transaction on one connection. The
// connection is outside the pool: a pool of one connection must still be able to
// migrate.
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
