// Package service is ticketd while it runs: it opens the state, the directory and the
// replay store, listens, serves the API, and ends when all accepted requests are
// answered.
//
// The answers themselves belong to package api. The flags, variables and files that
// make a Config belong to package settings. What must survive a restart belongs to
// package state.
package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/admitone/admitone/cmd/ticketd/internal/api"
	"github.com/admitone/admitone/cmd/ticketd/internal/audit"
	"github.com/admitone/admitone/cmd/ticketd/internal/bundles"
	"github.com/admitone/admitone/cmd/ticketd/internal/console"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/issuers"
	"github.com/admitone/admitone/cmd/ticketd/internal/looks"
	"github.com/admitone/admitone/cmd/ticketd/internal/metrics"
	"github.com/admitone/admitone/cmd/ticketd/internal/ratelimit"
	"github.com/admitone/admitone/cmd/ticketd/internal/state"
	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/web"
)

// Config says what to serve and where.
type Config struct {
	State         state.Place
	Listen        string // HOST:PORT
	MetricsListen string // HOST:PORT of the metrics' own listener; "" for none
	ConsoleListen string // HOST:PORT of the console's own listener; "" for no console
	ConsoleURL    string // origin of the console for browsers; "" for the address listened on
	PublicURL     string // URL under which browsers reach the service; "" for the address listened on
	CertFile      string // PEM file of the TLS certificate; "" for plain HTTP
	KeyFile       string // PEM file of the certificate's key
	Replay        Replay
	Issuers       string        // file of the named issuers, as package issuers reads it; "" for none
	Recipient     string        // with the role Issue: bundle of the login services
	RecipientName string        // with the role Issue: the name that Recipient must have; "" for its name at the start
	RecipientOf   string        // identity that signs Recipient: a fingerprint or verify:PATH
	IssuerName    string        // with the role Issue: the name of this issuer in trust lists
	LoginURL      string        // with the role Issue: URL under which browsers reach the login services
	Bundles       []string      // files of the bundles to serve
	BundleOf      string        // identity that signs Bundles: a fingerprint or verify:PATH
	Trust         string        // list of the issuers of format 2, as package verify/trust reads it; "" for none
	TrustKEK      string        // URI of the identity key that signs the trust list: verify:PATH
	Pages         string        // folder of texts and logos, as package looks reads it; "" for none
	RateStore     string        // URL of the Redis that counts the requests of API keys; "" for this process's memory
	Skew          time.Duration // tolerance for the clocks of other issuers
	MaxLifetime   time.Duration // longest lifetime of a ticket
	Retention     time.Duration // how long the audit trail is kept; 0 for audit.Retention
	DrainDelay    time.Duration // time between the request to stop and the end of listening
	IdleTimeout   time.Duration // time for which a connection without a request is kept; 0 for IdleTimeout
	Live          Live
	Log           *slog.Logger // nil means slog.Default()
}

// Live holds the settings of a running service that can change.
type Live struct {
	Limit          ratelimit.Limit // of API keys without a limit of their own
	Proxies        api.Proxies     // in front of the service
	Headers        web.Headers     // names of the headers of the proxies' checks
	AnyBrandCheck  bool            // sessions of every brand pass at /auth/check
	AgentHome      string          // path to which agents go after the entry
	AgentSignInURL string          // page where agents sign in, if their brand has none; "" for none
	NamelessTicket bool            // tickets of the older form ?=TA<ticket> are taken too
	IntegerStatus  bool            // the status in answers is a number
}

// bundlesEvery is the time between two looks at the ends of bundles.
const bundlesEvery = time.Second

// Service is an open ticketd.
type Service struct {
	config    Config
	log       *slog.Logger
	metrics   *metrics.Metrics
	keyrings  *state.Keyrings
	bundles   *bundles.List // nil for none
	watches   []*bundles.Watch
	recipient *recipient    // nil unless the role is Issue
	issuers   *issuers.Both // nil for none
	register  *issuers.Register
	directory *directory.DB
	trail     atomic.Pointer[audit.Trail] // nil until the directory is open
	channels  *token.Channels
	api       api.Config // without the live settings
	handler   handler
	listener  net.Listener
	scrapes   net.Listener // of the metrics; nil for none
	doors     net.Listener // of the console; nil for none
	console   *console.Console
	links     console.Links
	office    atomic.Pointer[http.Handler] // what the console's listener serves
	gate      atomic.Pointer[api.Gate]     // of the console's listener
	cert      *certificate                 // nil for plain HTTP
	closers   []io.Closer                  // in the order of opening
	capped    cappedLifetimes
	looks     looks.Folder
	live      Live // in effect
	expiring  *expiring
	epochs    *epochs
}

// Open opens everything for the service. The lock belongs to the data folder; Close
// releases the lock, and so does an Open that fails. With newKeys, this process made
// the ticket keys itself, so no ticket under these keys can have been redeemed before.
func Open(ctx context.Context, c Config, lock io.Closer, newKeys bool) (_ *Service, err error) {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.IdleTimeout == 0 {
		c.IdleTimeout = IdleTimeout
	}
	s := &Service{config: c, log: c.Log, metrics: metrics.New(), closers: []io.Closer{lock}}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if s.looks, err = looks.Open(c.Pages); err != nil {
		return nil, err
	}
	if err := s.openState(ctx); err != nil {
		return nil, err
	}
	// The folder is locked, so every redemption by another process happened before now. The
	// keyrings of issuers are never new: their tickets may have been redeemed before.
	store, maxSkew, err := s.openReplay(ctx, newKeys && c.Issuers == "" && c.Trust == "")
	if err != nil {
		return nil, err
	}
	if err := s.listen(); err != nil {
		return nil, err
	}
	if err := s.prepareAPI(ctx, store, maxSkew); err != nil {
		return nil, err
	}
	return s, s.Apply(c.Live)
}

// name returns the names of this service and of its host. The data folder is locked, so the host
// and the folder name one service at a time.
func (s *Service) name() (name, machine string, err error) {
	machine, err = os.Hostname()
	if err != nil {
		return "", "", err
	}
	folder, err := filepath.Abs(s.config.State.Data)
	return machine + ":" + folder, machine, err
}

// openState opens the keyrings and the directory, and compares their lifetimes.
func (s *Service) openState(ctx context.Context) (err error) {
	c := &s.config
	if err := s.checkRole(); err != nil {
		return err
	}
	if s.keyrings, err = c.State.OpenKeyrings(s.log, s.checkReloaded, s.moreKeyrings()...); err != nil {
		return c.withRemedy(err)
	}
	s.closers = append(s.closers, s.keyrings)
	if err := s.openIssuers(); err != nil {
		return err
	}
	if err := s.openBundles(); err != nil {
		return err
	}
	if err := s.openRecipient(); err != nil {
		return err
	}
	s.watchKeyrings()
	if s.directory, err = directory.Open(ctx, c.State.Directory()); err != nil {
		return fmt.Errorf("opening the directory: %w", err)
	}
	s.closers = append(s.closers, s.directory)
	s.metrics.WatchDirectory(s.directory.Ping)
	if err := s.directory.Watch(ctx, s.log); err != nil {
		return fmt.Errorf("watching the directory: %w", err)
	}
	if err := s.startTrail(ctx); err != nil {
		return fmt.Errorf("starting the audit trail: %w", err)
	}
	if err := s.startRegister(ctx); err != nil {
		return fmt.Errorf("noting the issuers: %w", err)
	}
	s.expiring = &expiring{list: s.directory.ExpiringAPIKeys, now: time.Now, log: s.log}
	s.metrics.WatchAPIKeys(s.expiring.within)
	s.capped = cappedLifetimes{longest: s.directory.LongestLifetime, max: c.MaxLifetime, log: s.log}
	return s.checkLifetimes(ctx)
}

// openBundles opens the bundles to serve.
func (s *Service) openBundles() error {
	c := &s.config
	if len(c.Bundles) == 0 {
		return nil
	}
	id, err := bundles.Identity("service.Config.BundleOf", c.BundleOf)
	if err != nil {
		return err
	}
	s.bundles, err = bundles.Open(bundles.Config{
		Files: c.Bundles, Identity: id, Realm: c.State.Realm, Log: s.log, Now: time.Now,
	})
	if err != nil {
		return &token.ConfigError{Field: "service.Config.Bundles", Reason: "cannot be served", Cause: err}
	}
	s.closers = append(s.closers, s.bundles)
	s.watches = append(s.watches, &bundles.Watch{
		Bundles: s.bundles.All, Log: s.log, Now: time.Now,
		Advice: "run keyring publish, and bring its file here; " +
			"after the end, others refuse your tickets, or make no more for you",
	})
	s.metrics.WatchBundles("served", s.bundles.All)
	return nil
}

// watchBundles logs the bundles that are near their end until ctx is done.
func (s *Service) watchBundles(ctx context.Context) {
	tick := time.NewTicker(bundlesEvery)
	defer tick.Stop()
	for {
		for _, w := range s.watches {
			w.Look()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// checkLifetimes refuses settings that would let a ticket outlive its key.
func (s *Service) checkLifetimes(ctx context.Context) error {
	longest := s.config.MaxLifetime
	for _, kind := range ofTickets {
		ring := s.keyrings.Rings[kind]
		if ring == nil {
			continue
		}
		if kept := ring.Report().Policy.Lifetime; longest > kept {
			return &token.ConfigError{Field: "service.Config.MaxLifetime", Reason: fmt.Sprintf(
				"%v exceeds the %v for which the %s keyring keeps its keys; "+
					"lower it, or raise the keyring's with keyring policy --lifetime", longest, kept, kind)}
		}
	}
	return s.capped.tell(ctx)
}

// ofTickets are the kinds of keyrings that make or open tickets.
var ofTickets = []keyring.Kind{keyring.Ticket, keyring.Recipient, keyring.Issuer}

// checkReloaded notes a change of a keyring in the audit trail. It logs a change of a
// keyring's policy that checkLifetimes would have refused at the start.
func (s *Service) checkReloaded(r keyring.Report) {
	s.trail.Load().Keyring(r)
	if slices.Contains(ofTickets, r.Kind) && s.config.MaxLifetime > r.Policy.Lifetime {
		s.log.Error("tickets may be issued for longer than their keys are kept; "+
			"lower the longest lifetime of tickets, or raise the keyring's with keyring policy --lifetime", "keyring", r.Kind,
			"max_lifetime_ms", s.config.MaxLifetime.Milliseconds(), "keyring_lifetime_ms", r.Policy.Lifetime.Milliseconds())
	}
}

// openReplay opens the replay store behind the record of the data folder.
func (s *Service) openReplay(ctx context.Context, newKeys bool) (replay.Store, time.Duration, error) {
	c := &s.config
	opened, err := c.Replay.open(ctx, c.State, newKeys, s.metrics, s.log)
	if err != nil {
		return nil, 0, fmt.Errorf("opening the replay store: %w", err)
	}
	s.closers = append(s.closers, opened)
	s.epochs = &epochs{service: s, store: opened}
	return c.State.ResumeReplay(c.Replay.record(opened), c.Skew, time.Now(), s.log)
}

// listen opens the listeners and the certificate.
func (s *Service) listen() (err error) {
	c := &s.config
	if c.CertFile != "" {
		if s.cert, err = openCertificate(c.CertFile, c.KeyFile, s.log); err != nil {
			return err
		}
		s.metrics.WatchCertificate(func() time.Time { return *s.cert.ends.Load() })
	}
	if s.listener, err = net.Listen("tcp", c.Listen); err != nil {
		return cannotListen("service.Config.Listen", err)
	}
	s.closers = append(s.closers, s.listener)
	if c.MetricsListen != "" {
		if s.scrapes, err = net.Listen("tcp", c.MetricsListen); err != nil {
			return cannotListen("service.Config.MetricsListen", err)
		}
		s.closers = append(s.closers, s.scrapes)
	}
	if c.ConsoleListen != "" {
		if s.doors, err = net.Listen("tcp", c.ConsoleListen); err != nil {
			return cannotListen("service.Config.ConsoleListen", err)
		}
		s.closers = append(s.closers, s.doors)
		if c.ConsoleURL == "" {
			c.ConsoleURL = reachable(s.doors.Addr(), s.cert != nil)
		}
	}
	if c.PublicURL == "" {
		c.PublicURL = reachable(s.listener.Addr(), s.cert != nil)
	}
	return nil
}

// cannotListen returns the error for an address already in use or not of this machine.
func cannotListen(field string, err error) error {
	return &token.ConfigError{Field: field, Reason: "cannot be listened on; choose another address", Cause: err}
}

// reachable returns the URL of a listener for this machine.
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

// prepareAPI makes everything that the API is made of, but for the live settings.
func (s *Service) prepareAPI(ctx context.Context, store replay.Store, maxSkew time.Duration) error {
	c := &s.config
	claims := &inTime{Store: store}
	links, issuer, err := s.newIssuers()
	if err != nil {
		return err
	}
	verifier, err := s.newVerifier(claims, maxSkew)
	if err != nil {
		return err
	}
	if s.channels, err = token.NewChannels(s.keyrings.Rings[keyring.Channel], c.State.Realm); err != nil {
		return err
	}
	if err := s.prepareConsole(links, verifier); err != nil {
		return err
	}
	limiter, err := s.openLimiter(ctx)
	if err != nil {
		return err
	}
	tracer, stop, err := openTracer(ctx, s.log)
	if err != nil {
		return err
	}
	s.closers = append(s.closers, stop)
	s.api = api.Config{
		Part: parts[c.State.Role], Directory: s.directory, Issuer: issuer, Verifier: verifier,
		Channels: s.channels, Metrics: s.metrics, Log: s.log, Now: time.Now, IssuerName: c.IssuerName, LoginURL: c.LoginURL,
		Skew: c.Skew, MaxLifetime: c.MaxLifetime, Limiter: limiter, Checks: checks(s.directory, claims), Tracer: tracer,
		Audit: s.trail.Load(), Issuers: s.register, Bundles: s.bundles, Looks: s.looks,
	}
	if s.recipient != nil {
		s.api.Checks = append(s.api.Checks, api.Check{Name: "bundle of the login service", Ask: s.recipient.ready})
		return nil
	}
	s.api.Sessions, err = s.newSessions()
	return err
}

// newVerifier returns the Verifier of the tickets. In the role Issue, the ticket keyring seals
// administrators' links and nothing else.
func (s *Service) newVerifier(claims replay.Store, maxSkew time.Duration) (*verify.Verifier, error) {
	c := &s.config
	accepts := verify.Config{
		Realm: c.State.Realm, AnyBrand: true, Store: s.metrics.Store(claims), MaxLifetime: c.MaxLifetime,
		Skew: c.Skew, MaxSkew: maxSkew,
	}
	if tickets := s.keyrings.Rings[keyring.Ticket]; tickets != nil {
		accepts.Opener = tickets
	}
	if s.issuers != nil {
		accepts.Issuers = s.issuers
	}
	if recipient := s.keyrings.Rings[keyring.Recipient]; recipient != nil {
		accepts.Unsealer = recipient
	}
	return verify.New(accepts)
}

// newSessions returns the sessions of the people who entered.
func (s *Service) newSessions() (*web.Sessions, error) {
	// Chats are embedded in the pages of other sites. Browsers keep partitioned cookies
	// over TLS only.
	insecure, partitioned := !strings.HasPrefix(s.config.PublicURL, "https:"), token.Customer
	if insecure {
		partitioned = 0
	}
	return web.NewSessions(web.SessionConfig{
		Keys: s.keyrings.Rings[keyring.Session], Realm: s.config.State.Realm,
		Refresh:  api.Refresh(s.directory, s.sessionOver, s.log, time.Now),
		Insecure: insecure, Partitioned: partitioned, PublicURL: s.config.PublicURL,
	})
}

// limitedKeys is the least number of API keys whose requests a process counts at a
// time.
const limitedKeys = 10_000

// openLimiter opens the counter of the API keys' requests.
func (s *Service) openLimiter(ctx context.Context) (ratelimit.Limiter, error) {
	if s.config.RateStore == "" {
		return ratelimit.NewLocal(limitedKeys, nil), nil
	}
	r, err := ratelimit.OpenRedis(ctx, ratelimit.RedisConfig{
		URL: s.config.RateStore, Realm: s.config.State.Realm, Log: s.log,
	})
	if err != nil {
		return nil, &token.ConfigError{Field: "service.Config.RateStore", Reason: "cannot be used", Cause: err}
	}
	s.closers = append(s.closers, r)
	return r, nil
}

// Apply puts live settings into effect. Requests that are being answered keep the
// settings from before.
func (s *Service) Apply(l Live) error {
	c := s.api
	c.Limit, c.Proxies, c.Headers, c.AnyBrandCheck = l.Limit, l.Proxies, l.Headers, l.AnyBrandCheck
	c.AgentHome, c.AgentSignInURL = l.AgentHome, l.AgentSignInURL
	c.NamelessTicket, c.IntegerStatus = l.NamelessTicket, l.IntegerStatus
	h, err := api.New(c)
	if err != nil {
		return err
	}
	if err := s.mountConsole(c); err != nil {
		return err
	}
	s.handler.api.Store(&h)
	s.live = l
	return nil
}

// ReloadPages reads the texts and logos of the pages again. After an error, those from before stay in use.
// Without a folder, ReloadPages does nothing. Call it and Apply from one goroutine.
func (s *Service) ReloadPages() error {
	if s.config.Pages == "" {
		return nil
	}
	folder, err := looks.Open(s.config.Pages)
	if err != nil {
		return err
	}
	before := s.looks
	s.looks, s.api.Looks = folder, folder
	if err := s.Apply(s.live); err != nil {
		s.looks, s.api.Looks = before, before
		return err
	}
	s.log.Info("texts and logos read",
		"folder", s.config.Pages, "languages", len(folder.Texts), "logos", len(folder.Logos))
	return nil
}

// ReloadCertificate reads the TLS certificate again. After an error the last good
// certificate stays in use. Without TLS, ReloadCertificate does nothing.
func (s *Service) ReloadCertificate() error {
	if s.cert == nil {
		return nil
	}
	return s.cert.load()
}

// Directory returns the open directory.
func (s *Service) Directory() *directory.DB { return s.directory }

// PublicURL returns the URL of the service for browsers.
func (s *Service) PublicURL() string { return s.config.PublicURL }

// loginURL returns the URL of the service where people enter.
func (s *Service) loginURL() string { return cmp.Or(s.config.LoginURL, s.config.PublicURL) }

// ChatURL returns the URL of a channel's page for customers.
func (s *Service) ChatURL(brand, channel string) (string, error) {
	code, err := s.channels.Code(brand, channel)
	return s.loginURL() + "/chat/" + code, err
}

// Close closes everything, in the reverse order of opening.
func (s *Service) Close() {
	for i := len(s.closers) - 1; i >= 0; i-- {
		if err := s.closers[i].Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			s.log.Error("closing", "error", err)
		}
	}
}
