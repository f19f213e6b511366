package service

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/admitone/admitone/cmd/ticketd/internal/api"
	"github.com/admitone/admitone/cmd/ticketd/internal/metrics"
	"github.com/admitone/admitone/cmd/ticketd/internal/state"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/journal"
	"github.com/admitone/admitone/verify/replay/localtier"
	"github.com/admitone/admitone/verify/replay/memory"
	"github.com/admitone/admitone/verify/replay/pgstore"
	"github.com/admitone/admitone/verify/replay/redisstore"
)

// Replay describes the store of redeemed one-time tickets.
type Replay struct {
	URI      string // memory, journal:DIR, redis://…, rediss://… or postgres://…
	MaxBytes int64  // bound of a memory or journal, in bytes; 0 for the default of the store
	Timeout  time.Duration
	Durable  bool   // Redis loses nothing at a restart
	Wait     int    // replicas of Redis that must have a claim before its answer
	CAFile   string // PEM file of the authorities to trust for rediss; "" for the system's
}

// StoreKind is a kind of replay store.
type StoreKind string

// The kinds of replay store.
const (
	Memory   StoreKind = "memory"
	Journal  StoreKind = "journal"
	Redis    StoreKind = "redis"
	Postgres StoreKind = "postgres"
)

// Shared reports whether several processes can use one store of the kind.
func (k StoreKind) Shared() bool { return k == Redis || k == Postgres }

// Kind returns the kind of store at the URI; "" for a URI of no store.
func (r Replay) Kind() StoreKind {
	scheme, _, _ := strings.Cut(r.URI, ":")
	switch scheme {
	case "memory":
		if r.URI == "memory" {
			return Memory
		}
	case "journal":
		if strings.HasPrefix(r.URI, "journal:") {
			return Journal
		}
	case "redis", "rediss", "valkey", "valkeys", "postgres", "postgresql":
		if _, err := url.Parse(r.URI); err != nil || !strings.HasPrefix(r.URI, scheme+"://") {
			break
		}
		if strings.HasPrefix(scheme, "postgres") {
			return Postgres
		}
		return Redis
	}
	return ""
}

// Name returns the URI without the possibly secret parts: the user, password and
// parameters of a server.
func (r Replay) Name() string {
	if !r.Kind().Shared() {
		return r.URI
	}
	u, err := url.Parse(r.URI)
	if err != nil { // Kind has parsed the URI
		return string(r.Kind())
	}
	return u.Scheme + "://" + u.Host + u.Path
}

// Redis returns the configuration of a Redis store.
func (r Replay) Redis(realm string, roots *tls.Config) redisstore.Config {
	return redisstore.Config{
		URL: r.URI, Realm: realm, TLS: roots, Timeout: r.Timeout, Durable: r.Durable,
		Wait: redisstore.Wait{Replicas: r.Wait},
	}
}

// Postgres returns the configuration of a PostgreSQL store.
func (r Replay) Postgres(realm string, log *slog.Logger) pgstore.Config {
	return pgstore.Config{URL: r.URI, Realm: realm, Timeout: r.Timeout, Log: log}
}

// open opens the store, and shows its state in the metrics. A shared store gets a local
// tier in front. With newKeys, this process made the ticket keys itself.
func (r Replay) open(
	ctx context.Context, p state.Place, newKeys bool, m *metrics.Metrics, log *slog.Logger,
) (replay.Managed, error) {
	s, err := r.openStore(ctx, p, newKeys, log)
	if err != nil {
		return nil, err
	}
	m.WatchStore(string(r.Kind()), s)
	if !r.Kind().Shared() {
		return s, nil
	}
	tier, err := localtier.Open(ctx, localtier.Config{Store: s})
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	m.WatchLocalTier(tier)
	return tier, nil
}

// openStore opens the store at the URI.
func (r Replay) openStore(
	ctx context.Context, p state.Place, newKeys bool, log *slog.Logger,
) (replay.Managed, error) {
	switch r.Kind() {
	case Memory:
		return memory.Open(ctx, memory.Config{NoBarrier: newKeys, MaxBytes: r.MaxBytes})
	case Journal:
		dir := strings.TrimPrefix(r.URI, "journal:")
		if dir == "" {
			dir = p.File("replay")
		}
		return journal.Open(ctx, journal.Config{Dir: dir, MaxBytes: r.MaxBytes, Log: log})
	case Postgres:
		config := r.Postgres(p.Realm, log)
		config.LineageFile = p.File(lineageFile)
		return pgstore.Open(ctx, config)
	}
	roots, err := r.roots()
	if err != nil {
		return nil, err
	}
	config := r.Redis(p.Realm, roots)
	config.LineageFile = p.File(lineageFile)
	return redisstore.Open(ctx, config)
}

// lineageFile is the file of the data folder in which a shared store keeps the lineage of the
// servers last seen.
const lineageFile = "replay-lineage.json"

// inTime is a store that gives up a claim after api.ClaimTime. A journal waits for its disk
// without a time limit of its own, and a shared store under load for longer than its.
type inTime struct {
	replay.Store
	failed atomic.Bool // the last claim got no answer
}

// Claim implements replay.Store.
func (s *inTime) Claim(ctx context.Context, c replay.Claim) (replay.Answer, error) {
	limited := api.Limited{Parent: ctx, Until: time.Now().Add(api.ClaimTime)}
	defer limited.End()
	a, err := s.Store.Claim(&limited, c)
	if failed := err != nil; s.failed.Load() != failed { // a write takes the line from the other processors
		s.failed.Store(failed)
	}
	return a, err
}

// record returns the store in the form for the data folder's record.
func (r Replay) record(s replay.Managed) state.ReplayStore {
	epoch := s.Epoch()
	if r.Kind() == Memory {
		epoch = time.Time{} // each start of a memory is a new epoch, and no loss
	}
	return state.ReplayStore{Store: s, Name: r.Name(), Epoch: epoch}
}

// replayEvery is the time between two looks at the epoch of a shared store.
const replayEvery = 5 * time.Second

// epochs tells the log when a shared store has lost its past while the service runs, and notes
// the new epoch in the data folder's record.
type epochs struct {
	service *Service
	store   replay.Managed
	last    time.Time // at the last look
}

// look compares the store's epoch with that of the last look.
func (e *epochs) look() {
	epoch := e.store.Epoch()
	if epoch.Equal(e.last) {
		return
	}
	e.last = epoch
	c := &e.service.config
	_, _, err := c.State.ResumeReplay(c.Replay.record(e.store), c.Skew, time.Now(), e.service.log)
	if err != nil {
		e.service.log.Error("the new epoch of the replay store cannot be noted", "error", err)
	}
}

// keep looks until ctx is done.
func (e *epochs) keep(ctx context.Context) {
	tick := time.NewTicker(replayEvery)
	defer tick.Stop()
	for e.service.config.Replay.Kind().Shared() {
		e.look()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// roots returns the authorities for certificates of Redis; nil for the system's.
func (r Replay) roots() (*tls.Config, error) {
	if r.CAFile == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(r.CAFile)
	if err != nil {
		return nil, &token.ConfigError{Field: "service.Replay.CAFile", Reason: "cannot be read", Cause: err}
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, &token.ConfigError{Field: "service.Replay.CAFile", Reason: r.CAFile + " has no PEM certificate; " +
			"give the certificates of the authorities that signed the servers'"}
	}
	return &tls.Config{RootCAs: pool}, nil
}

// Try opens a shared store as a further process does, and closes it.
func (r Replay) Try(ctx context.Context, realm string) error {
	log := slog.New(slog.DiscardHandler)
	if r.Kind() == Postgres {
		s, err := pgstore.Open(ctx, r.Postgres(realm, log))
		if err != nil {
			return err
		}
		return s.Close()
	}
	roots, err := r.roots()
	if err != nil {
		return err
	}
	s, err := redisstore.Open(ctx, r.Redis(realm, roots))
	if err != nil {
		return err
	}
	return s.Close()
}
