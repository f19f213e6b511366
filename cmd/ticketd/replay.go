package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/cmd/ticketd/internal/metrics"
	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/journal"
	"github.com/admitone/admitone/verify/replay/localtier"
	"github.com/admitone/admitone/verify/replay/memory"
	"github.com/admitone/admitone/verify/replay/pgstore"
	"github.com/admitone/admitone/verify/replay/redisstore"
)

// replayOptions say where redeemed one-time tickets are remembered: --replay and
// the flags that begin so.
type replayOptions struct {
	uri     string
	memory  size // 0: the store's default
	timeout time.Duration
	durable bool
	wait    int
	ca      string
}

// size is a flag's number of bytes, such as 64MiB.
type size int64

func (s *size) String() string {
	if *s == 0 {
		return ""
	}
	return strings.Replace(strings.Replace(humanize.IBytes(uint64(*s)), ".0", "", 1), " ", "", 1)
}

func (s *size) Set(text string) error {
	n, err := humanize.ParseBytes(text)
	if err != nil || n > 1<<50 {
		return errors.New("write a number and a unit, such as 64MiB or 2GiB")
	}
	*s = size(n)
	return nil
}

func (*size) Type() string { return "size" }

// The kinds of store.
const (
	memoryStore   = "memory"
	journalStore  = "journal"
	redisStore    = "redis"
	postgresStore = "postgres"
)

func (o *replayOptions) flags(cmd *cobra.Command, store string) {
	f := cmd.Flags()
	f.StringVar(&o.uri, "replay", store, "`store` of which one-time tickets were redeemed: memory, journal:DIR (journal: alone is DATA/replay), redis://…, rediss://… or postgres://…")
	f.Var(&o.memory, "replay-memory", "memory and journal: bound of the memory in use, as a `SIZE`; at the bound no one-time ticket is admitted (default 64MiB for memory, 256MiB for a journal; see ticketd replay plan)")
	f.DurationVar(&o.timeout, "replay-timeout", 0, "redis and postgres: how long a redemption waits for the store (default 1s for redis, 3s for postgres)")
	f.BoolVar(&o.durable, "replay-durable", false, "redis: the servers run with appendonly yes and appendfsync always, and --replay-wait counts all replicas that may take over; then a restart refuses no good ticket (where this is not true, it admits tickets twice)")
	f.IntVar(&o.wait, "replay-wait", 0, "redis: how many `replicas` must have an admission before it is answered")
	f.StringVar(&o.ca, "replay-ca", "", "rediss: `FILE` with the PEM certificates of the authorities to trust, in place of the system's (postgres: sslrootcert=FILE in the URL)")
}

// kind returns which store the URI names, and "" for none.
func (o *replayOptions) kind() string {
	scheme, _, _ := strings.Cut(o.uri, ":")
	switch scheme {
	case memoryStore:
		if o.uri == memoryStore {
			return memoryStore
		}
	case journalStore:
		if strings.HasPrefix(o.uri, "journal:") {
			return journalStore
		}
	case "redis", "rediss", "valkey", "valkeys", "postgres", "postgresql":
		if _, err := url.Parse(o.uri); err != nil || !strings.HasPrefix(o.uri, scheme+"://") {
			break
		}
		if strings.HasPrefix(scheme, "postgres") {
			return postgresStore
		}
		return redisStore
	}
	return ""
}

// shared reports whether the store is one that several processes share.
func (o *replayOptions) shared() bool {
	return slices.Contains([]string{redisStore, postgresStore}, o.kind())
}

// name returns what --replay names, without what may be a secret: a server's user,
// password and parameters.
func (o *replayOptions) name() string {
	if !o.shared() {
		return o.uri
	}
	u, err := url.Parse(o.uri)
	if err != nil { // kind has parsed it
		return o.kind()
	}
	return u.Scheme + "://" + u.Host + u.Path
}

// The least that may be said; the stores themselves take as little.
const (
	leastReplayMemory  = 64 << 10
	leastReplayTimeout = 10 * time.Millisecond
)

// check refuses what is wrong, and flags that would do nothing. Its errors do not
// quote the URI, which may hold a password.
func (o *replayOptions) check(cmd *cobra.Command) error {
	kind := o.kind()
	given := func(flag string) bool { return cmd.Flags().Changed(flag) }
	scheme, _, _ := strings.Cut(o.uri, ":")
	switch {
	case kind == "":
		return cli.Usagef("--replay is memory, journal:DIR, redis://…, rediss://… or postgres://…")
	case given("replay-memory") && kind == redisStore:
		return cli.Usagef("--replay-memory is of memory and journal; bound Redis by its own maxmemory, with maxmemory-policy noeviction")
	case given("replay-memory") && kind == postgresStore:
		return cli.Usagef("--replay-memory is of memory and journal; what PostgreSQL keeps is on its disk")
	case given("replay-memory") && o.memory < leastReplayMemory:
		return cli.Usagef("--replay-memory is less than 64KiB; ticketd replay plan says how much is needed")
	case given("replay-timeout") && !o.shared():
		return cli.Usagef("--replay-timeout is of redis and postgres; %s waits for nothing but its disk", kind)
	case given("replay-timeout") && o.timeout < leastReplayTimeout:
		return cli.Usagef("--replay-timeout %v is less than %v", o.timeout, leastReplayTimeout)
	case o.durable && kind == journalStore, o.durable && kind == postgresStore:
		return cli.Usagef("--replay-durable is of redis; a %s store is durable without it", kind)
	case o.durable && kind != redisStore:
		return cli.Usagef("--replay-durable is of redis; for what a restart does not forget give --replay journal:DIR")
	case given("replay-wait") && kind == postgresStore:
		return cli.Usagef("--replay-wait is of redis; PostgreSQL waits as its synchronous_standby_names says")
	case given("replay-wait") && kind != redisStore:
		return cli.Usagef("--replay-wait is of redis; a %s store has no replicas", kind)
	case o.wait < 0:
		return cli.Usagef("--replay-wait %d is less than 0", o.wait)
	case o.ca != "" && kind == postgresStore:
		return cli.Usagef("--replay-ca is of rediss; for PostgreSQL write sslrootcert=FILE and sslmode=verify-full into the URL")
	case o.ca != "" && scheme != "rediss" && scheme != "valkeys":
		return cli.Usagef("--replay-ca is of a connection with TLS; give --replay rediss://…")
	}
	return o.checkURL(kind)
}

// checkURL asks the shared stores what is wrong with the options. A file that cannot be
// read may be there later: opening will tell.
func (o *replayOptions) checkURL(kind string) (err error) {
	switch kind {
	case redisStore:
		err = o.redis("", nil).Check()
	case postgresStore:
		err = o.postgres("", nil).Check()
	}
	if _, ok := errors.AsType[*fs.PathError](err); ok || err == nil {
		return nil
	}
	return cli.Usagef("%w", asFlags(err))
}

func (o *replayOptions) redis(realm string, roots *tls.Config) redisstore.Config {
	return redisstore.Config{
		URL: o.uri, Realm: realm, TLS: roots, Timeout: o.timeout, Durable: o.durable, Wait: redisstore.Wait{Replicas: o.wait},
	}
}

func (o *replayOptions) postgres(realm string, log *slog.Logger) pgstore.Config {
	return pgstore.Config{URL: o.uri, Realm: realm, Timeout: o.timeout, Log: log}
}

// asFlags is a store's error with the names of flags for those of its Config's fields.
func asFlags(err error) error {
	text := err.Error()
	for _, f := range flagOfField {
		text = strings.ReplaceAll(text, f.field, f.flag)
	}
	return renamed{err, text}
}

var flagOfField = []struct{ field, flag string }{
	{"Config.URL", "--replay"}, {"Config.Timeout", "--replay-timeout"}, {"Config.TLS", "--replay-ca"}, {"Config.Wait.Replicas", "--replay-wait"},
}

type renamed struct {
	error
	text string
}

func (e renamed) Error() string { return e.text }
func (e renamed) Unwrap() error { return e.error }

type closerFunc func()

func (f closerFunc) Close() error { f(); return nil }

// openedStore is a replay store that is open.
type openedStore struct {
	replay.Store
	io.Closer
	epoch time.Time // from when on its memory is complete; zero if it is not told
}

// openStore opens the replay store that --replay names, and shows its state in the
// metrics. With ownKeys, this process made the ticket keys itself.
func openStore(ctx context.Context, o options, ownKeys bool, m *metrics.Metrics, log *slog.Logger) (none openedStore, err error) {
	r := o.replay
	switch r.kind() {
	case memoryStore:
		s, err := memory.Open(ctx, memory.Config{NoBarrier: ownKeys, MaxBytes: int64(r.memory)})
		if err != nil {
			return none, err
		}
		m.WatchStore(memoryStore, s)
		// That each start is a new epoch is what a memory is.
		return openedStore{s, s, time.Time{}}, nil
	case journalStore:
		dir := strings.TrimPrefix(r.uri, "journal:")
		if dir == "" {
			dir = o.dataFile("replay")
		}
		s, err := journal.Open(ctx, journal.Config{Dir: dir, MaxBytes: int64(r.memory)})
		if err != nil {
			return none, err
		}
		m.WatchStore(journalStore, s)
		return openedStore{s, s, s.Epoch()}, nil
	case postgresStore:
		s, err := pgstore.Open(ctx, r.postgres(o.realm, log))
		if err != nil {
			return none, asFlags(err)
		}
		m.WatchStore(postgresStore, s)
		return withLocalTier(ctx, s, m)
	}
	roots, err := r.roots()
	if err != nil {
		return none, err
	}
	s, err := redisstore.Open(ctx, r.redis(o.realm, roots))
	if err != nil {
		return none, asFlags(err)
	}
	m.WatchStore(redisStore, s)
	return withLocalTier(ctx, s, m)
}

// withLocalTier puts the local tier before a shared store.
func withLocalTier(ctx context.Context, s replay.Managed, m *metrics.Metrics) (openedStore, error) {
	tier, err := localtier.Open(ctx, localtier.Config{Store: s})
	if err != nil {
		return openedStore{}, errors.Join(err, s.Close())
	}
	m.WatchLocalTier(tier)
	return openedStore{tier, tier, tier.Epoch()}, nil
}

// roots returns what to verify Redis' certificates with: nil is the system's way.
func (o *replayOptions) roots() (*tls.Config, error) {
	if o.ca == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(o.ca)
	if err != nil {
		return nil, fmt.Errorf("--replay-ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("--replay-ca: %s has no PEM certificate; give the certificates of the authorities that signed the servers'", o.ca)
	}
	return &tls.Config{RootCAs: pool}, nil
}
