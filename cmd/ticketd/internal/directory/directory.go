// Package directory is the embedded directory of ticketd: brands, their agents,
// channels and customers, and the API keys of the backends that ask for tickets.
// It answers what issuing and redeeming need to know, from one SQLite file.
//
// Brands are strangers to each other. Every look-up but that of a brand by its
// name takes the brand, and nothing of one brand is found through another.
//
// Names are compared byte for byte, usernames and channel IDs too; email
// addresses without regard to case (see [EqualEmails]), phone numbers in E.164
// form (see [E164]). Text is valid UTF-8 without control characters and no
// longer than the same field of a ticket: what the directory holds, a ticket
// can carry. Anything else is refused with a [*FieldError] that names the field.
//
// Times are kept in whole milliseconds and returned in UTC; the zero time
// stands for "none".
//
// The file has mode 0600 and holds personal data, and of each API key no more
// than the SHA-256 of its secret. It is in WAL mode with synchronous=FULL, so
// that what was answered survives a crash; FILE-wal and FILE-shm belong to it,
// and a copy of FILE alone is not a backup while the service runs. It wants a
// local file system: SQLite's locks do not hold on many network ones.
package directory

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// ErrNotFound is wrapped by every error that says that a brand, agent, channel
// or API key does not exist, or that an agent's record does not match.
var ErrNotFound = errors.New("not found in the directory")

const (
	maxReaders  = 8               // connections that read at the same time
	busyTimeout = 5 * time.Second // for a lock that another process holds
)

//go:embed migrations/sqlite/*.sql
var migrations embed.FS

// DB is an open directory. Its methods may be called concurrently.
type DB struct {
	read  *sql.DB // any number of readers, unable to write
	write *sql.DB // one connection: SQLite has one writer, and here it queues in Go
	now   func() time.Time
	uses  *useLog
	close func() error
}

// Open opens the directory in the SQLite file at path, creating it with mode
// 0600 if there is none, and brings its schema up to date. An existing file
// that others may access has its mode narrowed. The folder must exist. A file
// whose schema is newer than this program is refused. ctx is for opening alone.
//
// Several processes may have the same directory open, as happens when a restart
// overlaps.
func Open(ctx context.Context, path string) (*DB, error) {
	file, err := prepareFile(path)
	if err != nil {
		return nil, fmt.Errorf("directory: %w", err)
	}
	write, err := openPool(file, 1, url.Values{
		"_txlock":       {"immediate"}, // a transaction that reads first must not fail when it comes to write
		"_journal_mode": {"WAL"},
		"_synchronous":  {"FULL"},
	})
	if err != nil {
		return nil, fmt.Errorf("directory: open %s: %w", file, err)
	}
	err = connect(ctx, write)
	if err == nil {
		err = migrate(ctx, write)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("directory: %s: %w", file, err), write.Close())
	}
	read, err := openPool(file, maxReaders, url.Values{"_query_only": {"1"}})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("directory: open %s: %w", file, err), write.Close())
	}
	db := &DB{read: read, write: write, now: time.Now, uses: startUseLog(write)}
	db.close = sync.OnceValue(func() error {
		db.uses.stop()
		return errors.Join(db.read.Close(), db.write.Close())
	})
	return db, nil
}

// Close writes what is still to be written and closes the file. Later calls of
// other methods fail; a second Close returns what the first one did.
func (db *DB) Close() error { return db.close() }

// Ping reads from the file and reports whether that worked.
func (db *DB) Ping(ctx context.Context) error {
	var some bool
	if err := db.read.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM brand)`).Scan(&some); err != nil {
		return fmt.Errorf("directory: %w", err)
	}
	return nil
}

// prepareFile creates the file at path if there is none, sees to its mode and
// returns its absolute name without symbolic links, beside which SQLite puts
// its other files.
//
// An existing file is never opened here: closing it would release the locks
// that SQLite may hold on it elsewhere in this process (POSIX locks are like
// that).
func prepareFile(path string) (string, error) {
	if path == "" {
		return "", errors.New("no file name: say where the directory is to be kept")
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		err = f.Close()
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	file, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", err
	}
	if file, err = filepath.Abs(file); err != nil {
		return "", err
	}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := narrowMode(file + suffix); err != nil {
			return "", err
		}
	}
	return file, nil
}

// narrowMode takes all access to the file from everyone but its owner. SQLite
// gives the files that it adds later the mode of the first.
func narrowMode(file string) error {
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a regular file: name a file for the directory", file)
	case info.Mode().Perm()&0o077 == 0:
		return nil
	}
	if err := os.Chmod(file, info.Mode().Perm()&^0o077); err != nil {
		return fmt.Errorf("others may access %s: chmod it to 0600 (%w)", file, err)
	}
	return nil
}

// openPool opens a pool of at most size connections to the file.
func openPool(file string, size int, params url.Values) (*sql.DB, error) {
	params.Set("_busy_timeout", strconv.FormatInt(busyTimeout.Milliseconds(), 10))
	params.Set("_foreign_keys", "1")
	params.Set("_dqs", "0")       // "x" is a name and never a string, as in PostgreSQL
	params.Set("_defensive", "1") // no SQL that damages the file
	params.Set("_error_rc", "1")  // error texts of the failing call, not of an earlier one
	name := url.URL{Scheme: "file", Path: filepath.ToSlash(file), RawQuery: params.Encode()}
	pool, err := sql.Open("sqlite", name.String())
	if err != nil {
		return nil, err
	}
	pool.SetMaxOpenConns(size)
	pool.SetMaxIdleConns(size)
	return pool, nil
}

// connect makes the first connection, which puts a new file into WAL mode. While
// another process is doing that, SQLite says "busy" without waiting.
func connect(ctx context.Context, pool *sql.DB) error {
	ctx, cancel := context.WithTimeout(ctx, busyTimeout)
	defer cancel()
	for {
		err := pool.PingContext(ctx)
		if code := errorCode(err); code&0xff != sqlite3.SQLITE_BUSY { // with any extension
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// migrate brings the schema up to date.
func migrate(ctx context.Context, pool *sql.DB) error {
	dir, err := fs.Sub(migrations, "migrations/sqlite")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, pool, dir,
		goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return err
	}
	current, target, err := p.GetVersions(ctx)
	for err == nil && current < target {
		_, upErr := p.Up(ctx)
		before := current
		current, target, err = p.GetVersions(ctx)
		// A migration may fail because another process has just done it: that
		// is progress, and only a failure without progress is one.
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

// row is a *sql.Row or *sql.Rows.
type row interface{ Scan(dest ...any) error }

// missing is the error for a record of the brand that does not exist.
func missing(kind, name string) error {
	return fmt.Errorf("directory: %s %q: %w", kind, name, ErrNotFound)
}

// isForeignKey reports whether a write failed for naming a brand that does not
// exist, the only thing that rows refer to.
func isForeignKey(err error) bool { return errorCode(err) == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY }

// errorCode is SQLite's extended result code of the error, 0 if it has none.
func errorCode(err error) int {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return 0
	}
	return e.Code()
}

// millis is the column value of a time, NULL for none.
func millis(t time.Time) sql.NullInt64 {
	return sql.NullInt64{Int64: t.UnixMilli(), Valid: !t.IsZero()}
}

// fromMillis is the inverse of millis.
func fromMillis(n sql.NullInt64) time.Time {
	if !n.Valid {
		return time.Time{}
	}
	return time.UnixMilli(n.Int64).UTC()
}
