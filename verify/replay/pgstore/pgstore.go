package pgstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/admitone/admitone/internal/postgres"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/internal/queue"
)

const (
	defaultTimeout    = 3 * time.Second
	defaultPurgeEvery = time.Minute
	defaultMaxConns   = queue.Flights + 2 // for purging, and for what heals
)

// Config names the database. Either URL or Pool is mandatory.
type Config struct {
	// URL is a connection string of the form postgres://user:password@host:5432/database, in
	// the syntax of libpq and pgx. By default the pool has at most 4 connections
	// (pool_max_conns), connecting takes no longer than Timeout (connect_timeout), and
	// statements are not prepared (default_query_exec_mode=exec).
	URL string

	// Pool takes the place of URL, unchanged. Close leaves the pool open. Give the pool at
	// least 4 connections, and think of ShouldPing: pgx does not notice the restart of a
	// server less than a second after the connection's last use.
	Pool *pgxpool.Pool

	// Realm is the deployment's name, as the verifiers': UTF-8, at most 64
	// bytes, no control characters, may be empty. Stores of different realms
	// share a database and no nonce.
	Realm string

	// Timeout bounds a claim, waiting for a connection included; 0 is 3 s. The
	// context's deadline counts, too.
	Timeout time.Duration

	// PurgeEvery is the interval between deletions of expired claims. 0 is a minute. A
	// negative value means never: then call Store.Purge.
	PurgeEvery time.Duration

	// AllowNoFsync accepts a server with fsync off. Use it only with a service that keeps
	// commits by other means: on your own machine a power failure would forget spent tickets.
	AllowNoFsync bool

	// LineageFile is a file of this process alone, in which the store keeps the lineage of the
	// server that it last saw. With the file, a restarted process notices that the URL leads
	// to another server than before. Empty: a process notices only what it has seen itself.
	LineageFile string

	// Log gets failures that no caller waits for: a failed purge, a schema made anew. Nil is
	// slog.Default().
	Log *slog.Logger
}

// String leaves out the URL, because the URL may hold a password.
func (c Config) String() string { return fmt.Sprintf("pgstore.Config(realm %q)", c.Realm) }

// GoString is String.
func (c Config) GoString() string { return c.String() }

// Store is a replay.Store in a PostgreSQL database, for any number of processes. The
// package comment has the promises.
type Store struct {
	now     func() time.Time
	pool    *pgxpool.Pool
	own     bool // the pool
	name    string
	realm   []byte
	timeout time.Duration
	log     *slog.Logger
	noFsync bool
	epoch   atomic.Pointer[time.Time] // the latest that renew has seen

	// fault is why nothing is claimed though the server answers, or nil.
	fault atomic.Pointer[error]

	// explicit is set when the server was found to begin transactions in
	// another isolation than READ COMMITTED.
	explicit atomic.Bool

	lineage   lineage
	requests  *queue.Queue[request]
	repairing sync.Mutex
	stop      context.CancelFunc
	stopped   sync.WaitGroup
}

var _ replay.Managed = (*Store)(nil)

// Open connects, checks whether the server can keep the store's promises, makes the schema
// if need be (see Schema), and begins to purge. An error that wraps replay.ErrUnavailable
// means an unreachable server; any other error requires a change of the configuration. No
// error contains the password.
func Open(ctx context.Context, config Config) (*Store, error) {
	return openWith(ctx, config, time.Now)
}

func openWith(ctx context.Context, config Config, now func() time.Time) (*Store, error) {
	if err := config.check(); err != nil {
		return nil, err
	}
	s := &Store{
		now:     now,
		pool:    config.Pool,
		realm:   []byte(config.Realm),
		timeout: config.Timeout,
		log:     config.Log,
		noFsync: config.AllowNoFsync,
	}
	s.requests = queue.New(0, s.answer)
	if err := s.lineage.load(config.LineageFile); err != nil {
		return nil, err
	}
	if s.timeout == 0 {
		s.timeout = defaultTimeout
	}
	if s.log == nil {
		s.log = slog.Default()
	}
	if s.pool == nil {
		var err error
		if s.pool, err = newPool(ctx, config.URL, s.timeout); err != nil {
			return nil, err
		}
		s.own = true
	}
	cc := s.pool.Config().ConnConfig
	s.name = fmt.Sprintf("postgres %s:%d/%s, realm %q", cc.Host, cc.Port, cc.Database, config.Realm)
	if err := s.prepare(ctx); err != nil {
		s.Close()
		return nil, err
	}
	background, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.stopped.Go(func() { s.lookEvery(background, lookInterval) })
	every := config.PurgeEvery
	if every == 0 {
		every = defaultPurgeEvery
	}
	if every > 0 {
		s.stopped.Go(func() { s.purgeEvery(background, every) })
	}
	return s, nil
}

// Check refuses a Config that Open refuses without asking a server. The error is a
// *token.ConfigError. It quotes nothing of the URL except the name of an unreadable file;
// then the Cause is a *fs.PathError.
func (c Config) Check() error {
	if err := c.check(); err != nil || c.Pool != nil {
		return err
	}
	_, err := parseURL(c.URL, c.Timeout)
	return err
}

// wrong returns the error for a field of Config.
func wrong(field, reason string, args ...any) error {
	return &token.ConfigError{Field: "pgstore.Config." + field, Reason: fmt.Sprintf(reason, args...)}
}

// check refuses a Config without regard to the contents of the URL.
func (c *Config) check() error {
	switch {
	case c.URL == "" && c.Pool == nil:
		return wrong("URL", "is empty, and Config.Pool is nil; give one of them")
	case c.URL != "" && c.Pool != nil:
		return wrong("URL", "is set, and so is Config.Pool; give one of them")
	case c.Timeout < 0:
		return wrong("Timeout", "is %v; give 0 for %v", c.Timeout, defaultTimeout)
	}
	return token.CheckRealm("pgstore.Config.Realm", c.Realm)
}

// parseURL reads a connection string, with the defaults of Config.URL.
func parseURL(url string, timeout time.Duration) (*pgxpool.Config, error) {
	config, err := postgres.Parse(url, postgres.Defaults{MaxConns: defaultMaxConns, ConnectTimeout: timeout})
	if bad, ok := errors.AsType[*postgres.URLError](err); ok {
		return nil, &token.ConfigError{Field: "pgstore.Config.URL", Reason: bad.Reason, Cause: bad.Cause}
	}
	return config, err
}

// newPool makes a pool.
func newPool(ctx context.Context, url string, timeout time.Duration) (*pgxpool.Pool, error) {
	config, err := parseURL(url, timeout)
	if err != nil {
		return nil, err
	}
	// A connection ended by the server, for instance in a restart, is replaced before a claim
	// is sent on it, while this is safe.
	config.ShouldPing = func(_ context.Context, p pgxpool.ShouldPingParams) bool {
		return p.IdleDuration > time.Second || unread(p.Conn.PgConn().Conn())
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, unavailable(err)
	}
	return pool, nil
}

// Close ends the purging and closes the pool, except a Config.Pool. Claims on their way are
// waited for; later claims are ErrUnavailable.
func (s *Store) Close() error {
	s.requests.Close()
	if s.stop != nil {
		s.stop()
	}
	s.stopped.Wait()
	if s.own {
		s.pool.Close()
	}
	return nil
}

// Epoch implements replay.Managed. Every process looks at the epoch every 5 s.
func (s *Store) Epoch() time.Time { return *s.epoch.Load() }

// String names the server, the database and the realm.
func (s *Store) String() string { return s.name }

// GoString is String.
func (s *Store) GoString() string { return s.name }
