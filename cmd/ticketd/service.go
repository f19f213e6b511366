package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/admitone/admitone/cmd/ticketd/internal/api"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/metrics"
	"github.com/admitone/admitone/internal/durable"
	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/keyring/kms"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
	"github.com/admitone/admitone/verify/web"
)

// service is ticketd with all that it has open.
type service struct {
	opts        options
	log         *slog.Logger
	directory   *directory.DB
	rings       map[keyring.Kind]*keyring.Ring
	channels    *token.Channels
	api         api.Config
	front       front
	listener    net.Listener
	certificate *keyPair // nil: plain HTTP
	metrics     *metrics.Metrics
	scrapes     net.Listener // of --metrics-listen, or nil
	closers     []io.Closer  // in the order of opening
}

// dataFile returns the path of a file of the service's state.
func (o *options) dataFile(name string) string { return filepath.Join(o.data, name) }

func keyringFile(k keyring.Kind) string { return string(k) + ".keyring" }

// lockData makes the data folder a process's own.
func lockData(o options) (io.Closer, error) {
	if o.data == "" {
		return nil, errors.New("no data folder: give --data")
	}
	if info, err := os.Stat(o.data); err != nil {
		return nil, fmt.Errorf("the data folder cannot be used: %w", err)
	} else if !info.IsDir() {
		return nil, fmt.Errorf("the data folder %s is a file; give a folder", o.data)
	}
	lock, err := durable.Lock(o.dataFile("ticketd.lock"))
	if errors.Is(err, durable.ErrLocked) {
		return nil, fmt.Errorf("another ticketd uses %s; stop it, or give another --data: %w", o.data, err)
	}
	return lock, err
}

// openKEK opens the key-encryption key of the service's keyrings.
func openKEK(o options) (keyring.KEK, error) {
	kek, err := kms.Open(o.kekURI(), nil)
	if err != nil && o.kek != "" {
		return nil, fmt.Errorf("--kek: %w", err)
	}
	return kek, err
}

func (o *options) kekURI() string {
	if o.kek != "" {
		return o.kek
	}
	return "file:" + o.dataFile("kek.key")
}

// reachable returns the URL under which this machine reaches a listener.
func reachable(a net.Addr, secure bool) string {
	address := a.String()
	if tcp, ok := a.(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		address = net.JoinHostPort("localhost", strconv.Itoa(tcp.Port))
	}
	if secure {
		return "https://" + address
	}
	return "http://" + address
}

// directory says where the directory is, as directory.Open takes it.
func (o *options) directory() string { return cmp.Or(o.database, o.dataFile("admitone.db")) }

// openService opens everything that the service needs; lock is of the data
// folder, and closed with the rest. With ownKeys, this process made the ticket
// keys itself.
func openService(ctx context.Context, o options, ownKeys bool, lock io.Closer, log *slog.Logger) (_ *service, err error) {
	s := &service{opts: o, log: log, metrics: metrics.New(), closers: []io.Closer{lock}}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	o.warnOfVariables(log)
	kek, err := openKEK(o)
	if err != nil {
		return nil, err
	}
	seen, err := readGenerations(o.dataFile("generations.json"))
	if err != nil {
		return nil, err
	}
	rings := make(map[keyring.Kind]*keyring.Ring)
	s.rings = rings
	for _, kind := range []keyring.Kind{keyring.Ticket, keyring.Session, keyring.Channel} {
		ring, err := keyring.Open(o.dataFile(keyringFile(kind)), keyring.Config{
			Kind: kind, Realm: o.realm, KEK: kek, MinGeneration: seen[kind], Log: log,
			OnReload: func(r keyring.Report) { o.watchLifetime(r, log) },
		})
		if err != nil {
			return nil, err
		}
		rings[kind] = ring
		s.closers = append(s.closers, ring)
	}
	s.metrics.WatchRings(rings)
	watch, err := watchGenerations(o.dataFile("generations.json"), seen, rings, log)
	if err != nil {
		return nil, err
	}
	s.closers = append(s.closers, watch)
	if s.directory, err = directory.Open(ctx, o.directory()); err != nil {
		return nil, fmt.Errorf("opening the directory: %w", err)
	}
	s.closers = append(s.closers, s.directory)
	if err := checkLifetimes(ctx, o, rings, s.directory); err != nil {
		return nil, err
	}
	// Only now, with the folder locked: whatever another process redeemed was
	// redeemed before this moment.
	opened, err := openStore(ctx, o, ownKeys, s.metrics, log)
	if err != nil {
		return nil, fmt.Errorf("opening the replay store: %w", err)
	}
	s.closers = append(s.closers, opened)
	store, maxSkew, err := sinceLastChange(o, opened, time.Now(), log)
	if err != nil {
		return nil, err
	}
	if o.tlsCert != "" {
		if s.certificate, err = openCertificate(o.tlsCert, o.tlsKey, log); err != nil {
			return nil, err
		}
	}
	if s.listener, err = net.Listen("tcp", o.listen); err != nil {
		return nil, fmt.Errorf("%w; choose another address with --listen", err)
	}
	s.closers = append(s.closers, s.listener)
	if err := s.listenForScrapes(); err != nil {
		return nil, err
	}
	if s.opts.publicURL == "" {
		s.opts.publicURL = reachable(s.listener.Addr(), s.certificate != nil)
	}
	issuer, err := token.NewIssuer(token.Config{Sealer: rings[keyring.Ticket], Realm: o.realm, MaxLifetime: o.maxLifetime})
	if err != nil {
		return nil, err
	}
	verifier, err := verify.New(verify.Config{
		Opener: rings[keyring.Ticket], Realm: o.realm, AnyBrand: true, Store: s.metrics.Store(store), MaxLifetime: o.maxLifetime,
		Skew: o.skew, MaxSkew: maxSkew,
	})
	if err != nil {
		return nil, err
	}
	if s.channels, err = token.NewChannels(rings[keyring.Channel], o.realm); err != nil {
		return nil, err
	}
	// Chats are embedded in other sites' pages. Browsers keep partitioned cookies
	// over TLS only.
	insecure, partitioned := !strings.HasPrefix(s.opts.publicURL, "https:"), token.Customer
	if insecure {
		partitioned = 0
	}
	sessions, err := web.NewSessions(web.SessionConfig{
		Keys: rings[keyring.Session], Realm: o.realm, NotBefore: api.NotBefore(s.directory, log, time.Now),
		Insecure: insecure, Partitioned: partitioned,
	})
	if err != nil {
		return nil, err
	}
	limiter, err := s.openLimiter(ctx, log)
	if err != nil {
		return nil, err
	}
	s.api = api.Config{
		Directory: s.directory, Issuer: issuer, Opener: rings[keyring.Ticket], Realm: o.realm, Verifier: verifier,
		Channels: s.channels, Sessions: sessions, Metrics: s.metrics, Log: log, Now: time.Now, MaxLifetime: o.maxLifetime,
		Limiter: limiter, Checks: s.checks(store),
	}
	if s.api.Tracer, err = s.openTracer(ctx); err != nil {
		return nil, err
	}
	handler, err := s.newAPI(o)
	if err != nil {
		return nil, err
	}
	s.front.api.Store(&handler)
	return s, nil
}

// checkLifetimes refuses settings under which a ticket could outlive its key or
// be issued for longer than it is accepted.
func checkLifetimes(ctx context.Context, o options, rings map[keyring.Kind]*keyring.Ring, d *directory.DB) error {
	if most := rings[keyring.Ticket].Report().Policy.Lifetime; o.maxLifetime > most {
		return fmt.Errorf("--max-lifetime %v exceeds the %v for which the ticket keyring keeps its keys; lower it, or raise that with keyring policy --lifetime", o.maxLifetime, most)
	}
	longest, whose, err := d.LongestLifetime(ctx)
	if err != nil {
		return fmt.Errorf("reading the settings: %w", err)
	}
	if whose != "" && longest > o.maxLifetime {
		return fmt.Errorf("%s allows lifetimes up to %v, and tickets are accepted up to %v; lower the former, or raise --max-lifetime", whose, longest, o.maxLifetime)
	}
	return nil
}

// watchLifetime tells of a policy that was changed since the start to one that
// checkLifetimes would have refused.
func (o *options) watchLifetime(r keyring.Report, log *slog.Logger) {
	if r.Kind == keyring.Ticket && o.maxLifetime > r.Policy.Lifetime {
		log.Error("tickets may be issued for longer than their keys are kept; lower --max-lifetime, or raise the keyring's with keyring policy --lifetime",
			"max_lifetime", o.maxLifetime, "keyring_lifetime", r.Policy.Lifetime)
	}
}

// close closes everything, last opened first.
func (s *service) close() {
	for i := len(s.closers) - 1; i >= 0; i-- {
		if err := s.closers[i].Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			s.log.Error("closing", "error", err)
		}
	}
}
