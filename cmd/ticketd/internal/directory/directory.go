// Package directory holds the brands of ticketd with their settings, channels, agents
// and customers, the API keys of the backends that ask for tickets, and the administrators
// of brands and of the whole deployment. Issuing and
// redeeming read from here who and what exists.
//
// A directory is one SQLite file, or a PostgreSQL database that several services share.
// The queries and the answers are the same.
//
// API keys, brands, channels, agents and administrators are remembered in 32 MiB of memory,
// for Authenticate, Place, BrandChannel, Effective, StrictestOtherUser, Agent, MatchAgent and
// Administrator. A change,
// such as the revocation of a key, is in force in the same process when the call that made
// the change returns. In other processes it is in force within a millisecond with SQLite,
// and within one second with PostgreSQL. A record that was added is found at once in every
// process. For revoked tickets, see RevokeTicket and TicketRevoked.
// Nobody may change the slices of the records that these methods return.
//
// Brands are strangers to each other. Every look-up of an agent, channel or customer
// takes the brand, and finds nothing of another brand.
//
// Names and channel IDs are compared byte for byte, usernames and email addresses without
// regard to case (see [UsernameKey] and [EqualEmails]), unique IDs with regard to case,
// and phone numbers in E.164 form (see [E164]). Usernames, addresses and unique IDs that
// look alike are the same or refused (see [NormalizeIdentifiers]). Text is
// valid UTF-8 without control characters, and no longer than the same field of a ticket,
// so that a ticket can carry everything in the directory. Anything else is refused with
// a [*FieldError].
//
// Times are kept in whole milliseconds and returned in UTC; the zero time stands for
// "none". Lists are in the order of names and come a page at a time: the argument after
// is the last name of the page before, or "" for the first page.
//
// A change waits at most 15 seconds and any other call at most 5 seconds, unless the
// documentation of the call says otherwise. A call that fails has changed nothing, with
// one exception: if the connection breaks during a commit, the change may have been
// made.
//
// Any error apart from [ErrNotFound], [ErrExists], [ErrChanged], [ErrLastAdministrator],
// *FieldError, [*AuthError], [*InUseError] and [*RepeatedError] means that the database could
// not be asked. Such an error is never an
// answer.
package directory

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/admitone/admitone/token"
)

// ErrNotFound is wrapped by every error for a missing brand, agent, channel, customer,
// administrator or API key, and for an agent with other details in the record.
var ErrNotFound = errors.New("not found in the directory")

// ErrExists is wrapped by every error for a change refused because another record has
// the same name or identifier.
var ErrExists = errors.New("exists already in the directory")

// ErrChanged is wrapped by every error for a change refused because the record has
// another revision than the one of [DB.IfRevision].
var ErrChanged = errors.New("changed meanwhile: read the record again, and repeat the change if it is still wanted")

// An InUseError counts the records of a brand. Because of these records the brand was
// not removed.
type InUseError struct {
	Brand                             string
	Agents, Channels, Customers, Keys int
}

func (e *InUseError) Error() string {
	return fmt.Sprintf("brand %q still has %s: remove them first, or the brand with all that it has",
		e.Brand, e.Records())
}

// Records returns the counts as a list for people: 1 agent, 2 channels.
func (e *InUseError) Records() string {
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
	return strings.Join(parts, ", ")
}

// DB is an open directory. Its methods may be called concurrently.
type DB struct {
	open   *atomic.Pointer[connections]
	read   *pool // of open
	write  *pool // of open: for SQLite the one writer, for PostgreSQL the same as read
	tracer *tracer
	file   *watch // of an SQLite file; nil for PostgreSQL
	cache  *cache
	now    func() time.Time
	actor  Actor // of changes
	jobs   *jobs
	close  func() error

	// lockRows is the end of a SELECT that locks its rows until the transaction ends. A
	// transaction of SQLite has the whole database to itself.
	lockRows string

	ifRevision *int64                 // of the view; nil: changes of any revision
	provided   func(record any) error // of the view; nil: changes of any record
	once       *request               // of the view; nil: changes may be repeated
}

// Open opens the directory at dsn and brings the schema up to date. A schema newer than
// this program is refused. The context bounds the opening alone.
//
// A dsn that begins with postgres:// or postgresql:// is a connection string in the
// form of libpq and pgx. The tables are made in the first schema of the role's search
// path. If the server is not good enough, the error names the remedy. Unless the string
// says otherwise, the pool has at most 16 connections (pool_max_conns), connecting
// takes at most 5 seconds (connect_timeout), and statements are not prepared
// (default_query_exec_mode=exec), so that PgBouncer may stand between. While the server
// is away calls fail; when the server is back, calls work again.
//
// Any other dsn is the path of an SQLite file. A missing file is made with mode 0600;
// the folder must exist. If others may access an existing file, its mode is narrowed.
// Several processes of one machine may have the file open. The file is in WAL mode with
// synchronous=FULL, so that every answered change survives a crash. FILE-wal and
// FILE-shm belong to the file, and a copy of FILE alone is no backup while the service
// runs. Use a local file system: SQLite's locks do not hold on many network file
// systems.
//
// The directory holds personal data. Of an API key it holds the SHA-256 of the secret,
// and not the secret. No error repeats the dsn, which may hold a password.
func Open(ctx context.Context, dsn string) (*DB, error) {
	if err := Check(dsn); err != nil {
		return nil, err
	}
	if strings.Contains(dsn, "://") {
		return openPostgres(ctx, dsn, migratePostgres)
	}
	return openSQLite(ctx, dsn)
}

// Check reports what is wrong with the text of a dsn, in a *token.ConfigError whose
// Field is directory.dsn. It asks no server and looks at no file of a directory.
func Check(dsn string) error {
	scheme, _, isURL := strings.Cut(dsn, "://")
	switch {
	case isURL && (scheme == "postgres" || scheme == "postgresql"):
		if _, err := postgresConfig(dsn); err != nil {
			return err
		}
	case keywordForm.MatchString(dsn):
		return badDSN("is a connection string in keywords; write postgres://user:password@host:5432/database", nil)
	case !IsPath(dsn):
		return badDSN("is not of a database that is known; give the path of a file, "+
			"or postgres://user:password@host:5432/database", nil)
	}
	return nil
}

// IsPath reports whether a text is a path and no connection string of a server. Taken for
// a path, a connection string would make a file with a password in its name. A relative
// path with a colon or an @ may be written with ./ in front.
func IsPath(text string) bool {
	if strings.Contains(text, "://") || keywordForm.MatchString(text) {
		return false
	}
	if filepath.IsAbs(text) || strings.HasPrefix(text, ".") {
		return true
	}
	return !schemeForm.MatchString(text) && !strings.ContainsAny(text, "@;")
}

// badDSN returns the error for a wrong dsn.
func badDSN(reason string, cause error) error {
	return &token.ConfigError{Field: "directory.dsn", Reason: reason, Cause: cause}
}

// keywordForm matches a connection string in keywords: libpq's (host=…), ADO.NET's
// (Server=…;User Id=…), Oracle's ((HOST=…)) and StackExchange.Redis's (host:6379,password=…).
var keywordForm = regexp.MustCompile(`(?i)(^|[\s;,:(?&])(host|hostaddr|dbname|database|data source|datasource|` +
	`initial catalog|server|service|service_name|dsn|driver|address|user|user id|userid|username|uid|password|passwd|pwd)` +
	`\s*=`)

// schemeForm matches a scheme (mysql:…, file:…), or a host or user before a colon. A drive
// of Windows has one letter.
var schemeForm = regexp.MustCompile(`^[^/\\:]{2,}:`)

// newDB returns the DB on connections to a database with an up-to-date schema.
func newDB(c *connections) *DB {
	t, open := new(tracer), new(atomic.Pointer[connections])
	open.Store(c)
	db := &DB{
		open: open, read: &pool{open: open, tracer: t}, write: &pool{open: open, writes: true, tracer: t},
		tracer: t, now: time.Now, cache: newCache(open), actor: Actor{Kind: ActorService},
	}
	db.jobs = startJobs(&pool{open: open, writes: true})
	db.close = sync.OnceValue(func() error {
		db.jobs.stop()
		if db.file != nil {
			db.file.stop()
		}
		last := open.Swap(&connections{err: errClosed})
		if last.err != nil {
			return nil
		}
		return last.close()
	})
	return db
}

// errClosed is the error of calls after Close.
var errClosed = errors.New("the directory is closed")

// SetClock takes the time of changes from now instead of time.Now. Call it before any other
// method.
func (db *DB) SetClock(now func() time.Time) { db.now = now }

// Close writes the pending last uses of keys and closes the directory. Later calls of
// other methods fail. A second Close returns the error of the first.
func (db *DB) Close() error { return db.close() }

// Ping reads from the directory and returns an error if reading fails.
func (db *DB) Ping(ctx context.Context) error {
	_, err := list(ctx, db.read, func(r row) (some bool, err error) { return some, r.Scan(&some) },
		`SELECT EXISTS (SELECT 1 FROM brand)`)
	return failed("read", err)
}

// notFound returns the error for a record that does not exist.
func notFound(kind, name string) error {
	return fmt.Errorf("%s %q: %w", kind, name, ErrNotFound)
}

// failed adds to err the operation that failed, unless err is an answer.
func failed(operation string, err error) error {
	var field *FieldError
	var inUse *InUseError
	var repeated *RepeatedError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrExists), errors.Is(err, ErrChanged),
		errors.Is(err, ErrLastAdministrator), errors.As(err, &field), errors.As(err, &inUse), errors.As(err, &repeated):
		return err
	case isBusy(err):
		return fmt.Errorf("%s: another process has the database to itself, as an import does; "+
			"try again when that process has ended: %w", operation, err)
	}
	return fmt.Errorf("%s: %w", operation, err)
}
