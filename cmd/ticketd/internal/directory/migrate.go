package directory

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
)

//go:embed migrations
var migrations embed.FS

// versionTable is the table with the schema's version. Any other program in the same
// database may use goose's usual name.
const versionTable = "directory_version"

// migrate brings the schema up to date with the scripts of the folder.
func migrate(ctx context.Context, pool *sql.DB, dialect goose.Dialect, folder string) error {
	dir, err := fs.Sub(migrations, "migrations/"+folder)
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(dialect, pool, dir, goose.WithTableName(versionTable),
		goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
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
		return fmt.Errorf("the schema has version %d and this program knows %d: "+
			"run the newer program, or restore the copy made before its first run", current, target)
	}
	return nil
}
