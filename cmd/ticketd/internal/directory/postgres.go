package directory

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"github.com/admitone/admitone/internal/postgres"
)

const (
	maxConns       = 16
	connectTimeout = 5 * time.Second

	migrationTimeout = time.Minute
	raceDelay        = 50 * time.Millisecond
)

// openPostgres opens the directory in the PostgreSQL database at the URL. ready makes sure of the
// schema.
func openPostgres(
	ctx context.Context, dsn string, ready func(ctx context.Context, pool *sql.DB) error,
) (*DB, error) {
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
		err = ready(ctx, pool)
	}
	if err != nil {
		err = fmt.Errorf("postgres %s:%d/%s: %w", cc.Host, cc.Port, cc.Database, err)
		return nil, errors.Join(err, closePools())
	}
	db := newDB(&connections{read: pool, write: pool, close: closePools})
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

// migratePostgres brings the schema up to date. Several processes may do so at once: all
// but one lose the race, and find the schema as they wanted it. No lock is held, because
// the connection with the lock and the connection that migrates would be two, and a
// pooler may have a single one.
func migratePostgres(ctx context.Context, pool *sql.DB) error {
	ctx, cancel := context.WithTimeout(ctx, migrationTimeout)
	defer cancel()
	for {
		err := migrate(ctx, pool, goose.DialectPostgres, "postgres")
		if err != nil && ctx.Err() != nil {
			return fmt.Errorf("the schema was not there within %v; if a pooler stands between, its connections "+
				"may all be taken: %w", migrationTimeout, err)
		}
		if !lostRace(err) {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(raceDelay):
		}
	}
}

// lostRace reports whether another session has made, at the same time, what a statement
// wanted to make.
func lostRace(err error) bool {
	switch sqlState(err) {
	case "42P07", "42710", "42723", // duplicate_table, duplicate_object, duplicate_function
		"23505",          // unique_violation, of a system catalogue
		"40P01", "40001": // deadlock_detected, serialization_failure
		return true
	}
	return sqlState(err) == "XX000" && strings.Contains(err.Error(), "concurrently")
}
