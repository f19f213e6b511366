package pgstore

import (
	"context"
	_ "embed" // for schema.sql
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/admitone/admitone/internal/postgres"
)

//go:embed schema.sql
var schemaSQL string

const (
	schemaVersion = 4
	migrationLock = 7020957371498726502
)

// Schema returns schema.sql, the SQL script for the schema admitone_replay. Run the script as the
// database's owner or a superuser, and not as the service's role, in a single transaction:
//
//	psql --single-transaction --file schema.sql
//	GRANT USAGE ON SCHEMA admitone_replay TO the_service;
//
// Open runs the script if the schema is missing.
func Schema() string { return schemaSQL }

// prepare checks the server and sees to the schema.
func (s *Store) prepare(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*s.timeout)
	defer cancel()
	var server postgres.Server
	var fsync string
	err := s.pool.QueryRow(ctx, "SELECT "+postgres.ServerColumns+", current_setting('fsync')").
		Scan(append(server.Fields(), &fsync)...)
	if err != nil {
		return unavailable(err)
	}
	switch err := server.Check(); {
	case err != nil:
		return err
	case fsync == "off" && !s.noFsync:
		return errors.New("the server's fsync is off, so a power failure would forget spent tickets; set fsync = on")
	}
	if _, err := s.migrate(ctx); err != nil {
		return err
	}
	// First of all, since a function of a stranger runs with the rights of the caller.
	if err := s.checkOwners(ctx); err != nil {
		return err
	}
	if err := s.checkSchema(ctx); err != nil {
		return err
	}
	return s.begin(ctx)
}

// begin begins the epoch if need be.
func (s *Store) begin(ctx context.Context) error {
	return orUnavailable(s.renew(ctx, *s.lineage.last.Load()))
}

// migrate makes the schema if need be, and reports whether it did. An existing schema needs
// no right to make schemas.
func (s *Store) migrate(ctx context.Context) (made bool, err error) {
	// A query of the catalogue, since to_regnamespace would answer from a cache left stale by
	// the wait below.
	exists := "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'admitone_replay')"
	var there bool
	if err := s.pool.QueryRow(ctx, exists).Scan(&there); err != nil || there {
		return false, orUnavailable(err)
	}
	options := pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadWrite}
	err = pgx.BeginTxFunc(ctx, s.pool, options, func(tx pgx.Tx) error {
		// If several processes start at once, a single one makes the schema.
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1::bigint)", int64(migrationLock)); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, exists).Scan(&there); err != nil || there {
			return err
		}
		_, err := tx.Exec(ctx, schemaSQL, pgx.QueryExecModeSimpleProtocol)
		return err
	})
	if sqlState(err) == noRight {
		return false, fmt.Errorf("the schema admitone_replay is missing, and this role may not make it: let an owner "+
			"run schema.sql of package pgstore, then GRANT USAGE ON SCHEMA admitone_replay to this role (%w)", err)
	}
	return err == nil && !there, orUnavailable(err)
}

// checkSchema checks whether this package knows the schema, and whether the tables outlive
// a crash.
func (s *Store) checkSchema(ctx context.Context) error {
	var version, unlogged int
	err := s.pool.QueryRow(ctx, `SELECT admitone_replay.version(), (SELECT count(*) FROM pg_class
		JOIN pg_namespace n ON n.oid = relnamespace
		WHERE nspname = 'admitone_replay' AND relkind = 'r' AND relpersistence <> 'p')::int`).Scan(&version, &unlogged)
	switch {
	case sqlState(err) == noRight:
		return fmt.Errorf("GRANT USAGE ON SCHEMA admitone_replay to this role (%w)", err)
	case err != nil:
		return unavailable(err)
	case version != schemaVersion:
		return fmt.Errorf("the schema admitone_replay has version %d, and this program knows %d; "+
			"drop the schema, or use the program that made it", version, schemaVersion)
	case unlogged > 0:
		return errors.New("a table of the schema admitone_replay is unlogged, so a crash would forget spent tickets: " +
			"ALTER TABLE … SET LOGGED")
	}
	return nil
}

func orUnavailable(err error) error {
	if err == nil {
		return nil
	}
	return unavailable(err)
}
