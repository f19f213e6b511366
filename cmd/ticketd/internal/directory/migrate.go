package directory

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
)

//go:embed migrations
var migrations embed.FS

// versionTable is the table with the schema's version. Any other program in the same
// database may use goose's usual name.
const versionTable = "directory_version"

// provider returns goose's view of the scripts of the folder.
func provider(pool *sql.DB, dialect goose.Dialect, folder string) (*goose.Provider, error) {
	dir, err := fs.Sub(migrations, "migrations/"+folder)
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(dialect, pool, dir, goose.WithTableName(versionTable),
		goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
}

// isCurrent returns an error unless the schema is up to date. It changes nothing.
func isCurrent(ctx context.Context, pool *sql.DB, dialect goose.Dialect, folder string) error {
	p, err := provider(pool, dialect, folder)
	if err != nil {
		return err
	}
	var target, current int64
	for _, s := range p.ListSources() {
		target = max(target, s.Version)
	}
	err = pool.QueryRowContext(ctx, "SELECT max(version_id) FROM "+versionTable).Scan(&current)
	switch {
	case err != nil:
		return fmt.Errorf("the file has no directory: %w", err)
	case current == 0:
		return errors.New("the file has no directory; it is another program's")
	case current > target:
		return newerSchema(current, target)
	case current < target:
		return fmt.Errorf("the schema has version %d and this program knows %d: "+
			"restart the service, which brings the schema up to date", current, target)
	}
	return nil
}

// newerSchema is the refusal of a directory that a newer program has changed.
func newerSchema(current, target int64) error {
	return fmt.Errorf("the schema has version %d and this program knows %d: "+
		"run the newer program, or restore the copy made before its first run", current, target)
}

// migrate brings the schema up to date with the scripts of the folder, and chooses the
// ID of a new directory.
func migrate(ctx context.Context, pool *sql.DB, dialect goose.Dialect, folder string) error {
	p, err := provider(pool, dialect, folder)
	if err != nil {
		return err
	}
	current, target, err := p.GetVersions(ctx)
	for err == nil && current < target {
		_, upErr := p.Up(ctx)
		before := current
		current, target, err = p.GetVersions(ctx)
		// A migration may fail because another process has just done the same. The schema has
		// a higher version then, and only a failure without progress counts.
		if upErr != nil && current <= before {
			return fmt.Errorf("migrate: %w", upErr)
		}
	}
	if err != nil {
		return fmt.Errorf("read the schema version: %w", err)
	}
	if current > target {
		return newerSchema(current, target)
	}
	var made bool
	err = pool.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM directory_state)").Scan(&made)
	if err == nil && !made {
		_, err = pool.ExecContext(ctx, `INSERT INTO directory_state (one, id, changes, stamp) VALUES (1, $1, $2, $3)
			ON CONFLICT (one) DO NOTHING`, newRecordID(), newRecordID(), newRecordID())
	}
	return err
}
