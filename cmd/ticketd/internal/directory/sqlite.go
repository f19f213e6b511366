package directory

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/pressly/goose/v3"
	sqlite3 "modernc.org/sqlite/lib"
)

const (
	maxReaders  = 8                // connections that read at the same time
	busyTimeout = 10 * time.Second // for the lock of another process, such as an import
)

// openSQLite opens the directory in the file at path.
func openSQLite(ctx context.Context, path string) (*DB, error) {
	if err := makeFile(path); err != nil {
		return nil, err
	}
	f, err := openFile(ctx, path, false, func(ctx context.Context, write *sql.DB) error {
		return migrate(ctx, write, goose.DialectSQLite3, "sqlite")
	})
	if err != nil {
		return nil, err
	}
	c, err := f.connections(ctx)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", f.name, err), f.close())
	}
	db := newDB(c)
	db.file = &watch{db: db, path: path, file: f}
	return db, nil
}

// A file is an open SQLite file of a directory.
type file struct {
	name        string // absolute, without symbolic links
	read, write *sql.DB

	// guard is a single connection that cannot write. The last connection that closes
	// writes the WAL into the file; if the last one is guard, the file stays as it is.
	guard *sql.DB
}

// openFile opens the file at path, which exists. ready makes sure of the schema. asIs leaves the
// file's modes, those of access and of SQLite's journal.
func openFile(
	ctx context.Context, path string, asIs bool, ready func(ctx context.Context, write *sql.DB) error,
) (*file, error) {
	name, err := realName(path)
	if err != nil {
		return nil, err
	}
	f := &file{name: name}
	fail := func(err error) (*file, error) {
		return nil, errors.Join(fmt.Errorf("%s: %w%s", name, err, remedy(err)), f.close())
	}
	params := url.Values{
		"mode":          {"rw"},
		"_txlock":       {"immediate"}, // else a transaction that reads first may fail when writing
		"_journal_mode": {"WAL"},
		"_synchronous":  {"FULL"},
		// For batches of events, each of which changes hundreds of pages: 8 MB of them stay in
		// memory, and a page is written into the file after 4,000 pages in the WAL.
		"_pragma": {"cache_size(-8000)", "wal_autocheckpoint(4000)"},
	}
	if asIs {
		params.Del("_journal_mode")
	}
	for _, p := range []struct {
		to     **sql.DB
		size   int
		params url.Values
	}{
		{&f.write, 1, params},
		{&f.read, maxReaders, url.Values{"mode": {"rw"}, "_query_only": {"1"}}},
		{&f.guard, 1, url.Values{"mode": {"ro"}}},
	} {
		if *p.to, err = openPool(name, p.size, p.params); err != nil {
			return fail(err)
		}
	}
	if err := connect(ctx, f.write); err != nil {
		return fail(err)
	}
	if err := ready(ctx, f.write); err != nil {
		return fail(err)
	}
	if asIs {
		return f, nil
	}
	// Only now: the mode of a file that is no directory stays.
	if err := narrowModes(name); err != nil {
		return fail(err)
	}
	return f, nil
}

// connections returns the connections to the file, with statements for the cache's looks.
func (f *file) connections(ctx context.Context) (*connections, error) {
	c := &connections{read: f.read, write: f.write, close: f.close, prepares: true}
	if err := c.prepareLooks(ctx, f.guard); err != nil {
		return c, err
	}
	var err error
	if c.event, err = f.write.PrepareContext(ctx, insertEvent); err == nil {
		c.pack, err = f.write.PrepareContext(ctx, insertPack)
	}
	return c, err
}

// close closes the connections. SQLite then writes the WAL into the file.
func (f *file) close() error {
	var errs []error
	for _, pool := range []*sql.DB{f.guard, f.read, f.write} {
		if pool != nil {
			errs = append(errs, pool.Close())
		}
	}
	return errors.Join(errs...)
}

// remedy returns the remedy for an error of opening a file, where SQLite gives none.
func remedy(err error) string {
	switch sqliteCode(err) & 0xff { // without any extension
	case sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT:
		return "; name the directory's file, or restore it from a copy"
	case sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY:
		return "; SQLite writes to the file and its folder, even to read: mount them for writing, for this user"
	case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL:
		return "; is the disk full, or failing?"
	}
	return ""
}

// makeFile makes a missing file at path with mode 0600.
//
// An existing file is never opened here: closing the file would release the POSIX locks
// that SQLite may hold on the same file elsewhere in this process.
func makeFile(path string) error {
	if path == "" {
		return badDSN("is empty; say where the directory is to be kept", nil)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		err = f.Close()
	}
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// realName returns the absolute name of the file at path, without symbolic links; SQLite
// puts its other files beside that name.
func realName(path string) (string, error) {
	file, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", err
	}
	if file, err = filepath.Abs(file); err != nil {
		return "", err
	}
	for _, suffix := range suffixes {
		info, err := os.Stat(file + suffix)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return "", err
		case !info.Mode().IsRegular():
			return "", fmt.Errorf("%s is not a regular file: name a file for the directory", file+suffix)
		}
	}
	return file, nil
}

// suffixes end the names of the files of a directory.
var suffixes = []string{"", "-wal", "-shm"}

// narrowModes takes all access to the directory's files from everyone but their owner.
// Files that SQLite adds later get the mode of the first.
func narrowModes(file string) error {
	for _, suffix := range suffixes {
		info, err := os.Stat(file + suffix)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return err
		case info.Mode().Perm()&0o077 == 0:
			continue
		}
		if err := os.Chmod(file+suffix, info.Mode().Perm()&^0o077); err != nil {
			return fmt.Errorf("others may access %s: chmod it to 0600 (%w)", file+suffix, err)
		}
	}
	return nil
}

// openPool opens a pool of at most size connections to the file.
func openPool(file string, size int, params url.Values) (*sql.DB, error) {
	params.Set("_busy_timeout", strconv.FormatInt(busyTimeout.Milliseconds(), 10))
	params.Set("_foreign_keys", "1")
	params.Set("_dqs", "0")       // "x" is always a name, as in PostgreSQL
	params.Set("_defensive", "1") // no SQL that damages the file
	params.Set("_error_rc", "1")  // error texts of the failing call, not of an earlier call
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
// another process does the same, SQLite answers "busy" without waiting.
func connect(ctx context.Context, pool *sql.DB) error {
	ctx, cancel := context.WithTimeout(ctx, busyTimeout)
	defer cancel()
	for {
		err := pool.PingContext(ctx)
		if !isBusy(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(10 * time.Millisecond):
		}
	}
}
