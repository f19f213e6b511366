package directory

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pressly/goose/v3"
)

// OpenAsIs opens a directory that must exist and have the schema of this program. An SQLite
// file is read as a whole to find damage. OpenAsIs makes and migrates nothing, and leaves the
// file's modes.
func OpenAsIs(ctx context.Context, dsn string) (*DB, error) {
	if err := Check(dsn); err != nil {
		return nil, err
	}
	if strings.Contains(dsn, "://") {
		return openPostgres(ctx, dsn, func(ctx context.Context, pool *sql.DB) error {
			return isCurrent(ctx, pool, goose.DialectPostgres, "postgres")
		})
	}
	f, err := openFile(ctx, dsn, true, intact)
	if err != nil {
		return nil, err
	}
	c, err := f.connections(ctx)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", f.name, err), f.close())
	}
	db := newDB(c)
	db.file = &watch{db: db, path: dsn, file: f}
	return db, nil
}

// Checkpoint writes the WAL of an SQLite file into the file, so that the file alone is the
// directory. Close does the same, but tells of no failure. Nobody else may use the file.
func (db *DB) Checkpoint(ctx context.Context) error {
	var busy, log, written int
	pool, err := db.write.db(ctx)
	if err == nil {
		err = pool.QueryRowContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`).Scan(&busy, &log, &written)
	}
	if err == nil && (busy != 0 || log != written) {
		err = fmt.Errorf("busy %d, %d of %d pages written", busy, written, log)
	}
	if err != nil {
		return fmt.Errorf("writing the WAL into the directory's file: %w%s", err, remedy(err))
	}
	return nil
}

// Clocks returns the time of the server, which is zero for an SQLite file, and the time of the
// newest event in the audit trail, which is zero without events.
func (db *DB) Clocks(ctx context.Context) (server, event time.Time, err error) {
	query := `SELECT NULL, (SELECT max(at) FROM event)`
	if db.file == nil {
		query = `SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT), (SELECT max(at) FROM event)`
	}
	_, err = list(ctx, db.read, func(r row) (struct{}, error) {
		return struct{}{}, r.Scan(instant{&server}, instant{&event})
	}, query)
	return server, event, failed("read the clocks", err)
}
