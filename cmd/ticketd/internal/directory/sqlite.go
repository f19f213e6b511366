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
	file, err := prepareFile(path)
	if err != nil {
		return nil, err
	}
	write, err := openPool(file, 1, url.Values{
		"_txlock":       {"immediate"}, // else a transaction that reads first may fail when writing
		"_journal_mode": {"WAL"},
		"_synchronous":  {"FULL"},
	})
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", file, err)
	}
	err = connect(ctx, write)
	if err == nil {
		err = migrate(ctx, write, goose.DialectSQLite3, "sqlite")
	}
	if err == nil {
		err = narrowModes(file) // only now: the mode of a file that is no directory stays
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w%s", file, err, remedy(err)), write.Close())
	}
	read, err := openPool(file, maxReaders, url.Values{"_query_only": {"1"}})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", file, err), write.Close())
	}
	return newDB(read, write, func() error { return errors.Join(read.Close(), write.Close()) }), nil
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

// prepareFile makes a missing file at path with mode 0600. It returns the absolute name
// without symbolic links; SQLite puts its other files beside that name.
//
// An existing file is never opened here: closing the file would release the POSIX locks
// that SQLite may hold on the same file elsewhere in this process.
func prepareFile(path string) (string, error) {
	if path == "" {
		return "", badDSN("is empty; say where the directory is to be kept", nil)
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
