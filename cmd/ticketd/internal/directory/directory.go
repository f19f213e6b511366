// Package directory is the directory of ticketd: brands with their settings,
// their channels, agents and customers, and the API keys of the backends that ask
// for tickets. It answers what issuing and redeeming need to know.
//
// It is kept in one SQLite file, or in a PostgreSQL database that several
// services share; the queries and the answers are the same. Nothing is cached: a
// change, such as the revocation of a key, is in force when the call that made it
// returns, in every process.
//
// Brands are strangers to each other. Every look-up of an agent, channel or
// customer takes the brand, and nothing of one brand is found through another.
//
// Names are compared byte for byte, usernames and channel IDs too; email
// addresses without regard to case (see [EqualEmails]), phone numbers in E.164
// form (see [E164]). Text is valid UTF-8 without control characters and no
// longer than the same field of a ticket: what the directory holds, a ticket
// can carry. Anything else is refused with a [*FieldError] that names the field.
//
// Times are kept in whole milliseconds and returned in UTC; the zero time
// stands for "none". Lists are in the order of their names, a page at a time:
// after is the last name of the page before, "" for the first.
//
// A call that changes something waits at most 15 seconds, any other 5, unless it
// says otherwise, and where it fails nothing has changed; when the connection breaks in the very moment of
// a commit, it may have. Errors that wrap neither [ErrNotFound] nor [ErrExists]
// and are neither a *FieldError, an [*AuthError] nor an [*InUseError] mean that
// the database could not be asked: they are never an answer.
package directory

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/admitone/admitone/token"
)

// ErrNotFound is wrapped by every error that says that a brand, agent, channel,
// customer or API key does not exist, or that an agent's record does not match.
var ErrNotFound = errors.New("not found in the directory")

// ErrExists is wrapped by every error that says that a record cannot be added,
// or changed to, because another has its name or identifier.
var ErrExists = errors.New("exists already in the directory")

// An InUseError says what is still there of a brand that was not removed.
type InUseError struct {
	Brand                             string
	Agents, Channels, Customers, Keys int
}

func (e *InUseError) Error() string {
	var parts []string
	for _, p := range []struct {
		n    int
		kind string
	}{{e.Agents, "agent"}, {e.Channels, "channel"}, {e.Customers, "customer"}, {e.Keys, "API key"}} {
		switch {
		case p.n == 1:
			parts = append(parts, "1 "+p.kind)
		case p.n > 1:
			parts = append(parts, fmt.Sprintf("%d %ss", p.n, p.kind))
		}
	}
	return fmt.Sprintf("brand %q still has %s: remove them first, or the brand with all that it has",
		e.Brand, strings.Join(parts, ", "))
}

// DB is an open directory. Its methods may be called concurrently.
type DB struct {
	read   *pool
	write  *pool // SQLite has one writer, which queues here; for PostgreSQL it is read
	tracer *tracer
	now    func() time.Time
	jobs   *jobs
	close  func() error
}

// Open opens the directory that dsn names and brings its schema up to date. A
// schema that is newer than this program is refused. ctx is for opening alone.
//
// A dsn that begins with postgres:// or postgresql:// is a connection string as
// libpq and pgx take it. The tables are made in the first schema of the role's
// search path; Open says what keeps the server from being a directory. Unless the
// string says otherwise there are at most 16 connections (pool_max_conns),
// connecting takes 5 seconds at most (connect_timeout), and statements are not
// prepared (default_query_exec_mode=exec), so that PgBouncer may stand between.
// When the server is gone calls fail, and when it is back they work again.
//
// Any other dsn is the path of an SQLite file, which is made with mode 0600 if
// there is none; the folder must exist. An existing file that others may access
// has its mode narrowed. Several processes of one machine may have it open. The
// file is in WAL mode with synchronous=FULL, so that what was answered survives a
// crash; FILE-wal and FILE-shm belong to it, and a copy of FILE alone is not a
// backup while the service runs. It wants a local file system: SQLite's locks do
// not hold on many network ones.
//
// The directory holds personal data, and of each API key no more than the
// SHA-256 of its secret. No error repeats the dsn, which may hold a password.
func Open(ctx context.Context, dsn string) (*DB, error) {
	if err := Check(dsn); err != nil {
		return nil, err
	}
	if strings.Contains(dsn, "://") {
		return openPostgres(ctx, dsn)
	}
	return openSQLite(ctx, dsn)
}

// Check reports what is wrong with a dsn as it is written, in a *token.ConfigError
// whose Field is directory.dsn. It asks no server, and looks at no file of a
// directory.
func Check(dsn string) error {
	scheme, _, isURL := strings.Cut(dsn, "://")
	switch {
	case isURL && (scheme == "postgres" || scheme == "postgresql"):
		if _, err := postgresConfig(dsn); err != nil {
			return err
		}
	case isURL, strings.HasPrefix(dsn, "postgres:"), strings.HasPrefix(dsn, "postgresql:"):
		return badDSN("is not of a database that is known; give the path of a file, "+
			"or postgres://user:password@host:5432/database", nil)
	case keywords.MatchString(dsn):
		return badDSN("is a connection string in keywords; write postgres://user:password@host:5432/database", nil)
	}
	return nil
}

// badDSN returns the error for a dsn that cannot be one.
func badDSN(reason string, cause error) error {
	return &token.ConfigError{Field: "directory.dsn", Reason: reason, Cause: cause}
}

// keywords finds libpq's other form of connection string, which would make a
// file with a password in its name.
var keywords = regexp.MustCompile(`(^|\s)(host|hostaddr|dbname|user|password|service)\s*=`)

// newDB is the DB on two pools, whose schema is up to date. closePools closes
// them.
func newDB(read, write *sql.DB, closePools func() error) *DB {
	t := new(tracer)
	db := &DB{read: &pool{read, t}, write: &pool{write, t}, tracer: t, now: time.Now}
	db.jobs = startJobs(write)
	db.close = sync.OnceValue(func() error {
		db.jobs.stop()
		return closePools()
	})
	return db
}

// Close writes what is still to be written and closes the directory. Later calls
// of other methods fail; a second Close returns what the first one did.
func (db *DB) Close() error { return db.close() }

// Ping reads from the directory and reports whether that worked.
func (db *DB) Ping(ctx context.Context) error {
	_, err := list(ctx, db.read, func(r row) (some bool, err error) { return some, r.Scan(&some) },
		`SELECT EXISTS (SELECT 1 FROM brand)`)
	return failed("read", err)
}

// missing is the error for a record that does not exist.
func missing(kind, name string) error {
	return fmt.Errorf("%s %q: %w", kind, name, ErrNotFound)
}

// failed is err with what failed, unless it says so itself.
func failed(what string, err error) error {
	var field *FieldError
	var inUse *InUseError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrExists), errors.As(err, &field), errors.As(err, &inUse):
		return err
	case isBusy(err):
		return fmt.Errorf("%s: another process keeps the database to itself, as an import does; try again when it has ended: %w", what, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}
