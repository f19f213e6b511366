package service

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/issuers"
	"github.com/admitone/admitone/cmd/ticketd/internal/metrics"
	"github.com/admitone/admitone/cmd/ticketd/internal/state"
	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/keyring/kms"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify/trust"
	"github.com/admitone/admitone/verify/web"
)

// moreKeyrings returns the kinds of keyrings beside those that each service has.
func (s *Service) moreKeyrings() []keyring.Kind {
	if s.config.Trust == "" {
		return nil
	}
	return []keyring.Kind{keyring.Recipient}
}

// withRemedy adds the command that makes a missing recipient keyring, or a missing copy of the
// channel keyring, to the error of OpenKeyrings.
func (c *Config) withRemedy(err error) error {
	path := c.State.KeyringFile(keyring.Recipient)
	fault, ok := errors.AsType[*keyring.FileError](err)
	if channels := c.State.KeyringFile(keyring.Channel); ok && fault.Path == channels && c.State.Role == state.Issue &&
		errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is missing: copy channel.keyring and channel.keyring.audit of the login service there, "+
			"and put the copy under the key-encryption key of this service: %s --new-kek %s", channels,
			cli.Line("keyring", "rewrap", channels, "--kek", "URI"), c.State.KEKURI())
	}
	if !ok || fault.Path != path || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	line := []string{"keyring", "init", path, "--kind", "recipient", "--kek", c.State.KEKURI()}
	if c.State.Realm != "" {
		line = append(line, "--realm", c.State.Realm)
	}
	return &token.ConfigError{Field: "service.Config.Trust", Reason: fmt.Sprintf(
		"needs the private keys for which issuers of format 2 encrypt, and %s is missing; put the keyring there, "+
			"or make one: %s", path, cli.Line(line...))}
}

// openIssuers opens the named issuers.
func (s *Service) openIssuers() error {
	c := &s.config
	name, _, err := s.name()
	if err != nil {
		return err
	}
	s.register = issuers.NewRegister(issuers.RegisterConfig{Name: name, Now: time.Now, Log: s.log})
	if c.Issuers == "" && c.Trust == "" {
		return nil
	}
	var list *issuers.List
	if c.Issuers != "" {
		list, err = issuers.Open(issuers.Config{
			File: c.Issuers, Realm: c.State.Realm, KEK: c.State.KEKURI(), Own: s.keyrings.Rings[keyring.Ticket],
			Noted: s.keyrings.Noted, Note: func(path string, ring *keyring.Ring) { s.keyrings.Note(path, ring) },
			Register: s.register, Log: s.log,
		})
		if err != nil {
			return &token.ConfigError{Field: "service.Config.Issuers", Reason: "cannot be used", Cause: err}
		}
	}
	both, err := s.joinTrust(list)
	if err != nil {
		if list != nil {
			err = errors.Join(err, list.Close())
		}
		return err
	}
	s.issuers = both
	s.closers = append(s.closers, both)
	s.metrics.WatchIssuers(s.issuerEnds)
	return nil
}

// issuerEnds returns when the grant or the bundle of each named issuer ends, whichever is first.
// Denied issuers, and issuers without an end, are left out.
func (s *Service) issuerEnds() map[string]time.Time {
	ends := make(map[string]time.Time)
	for _, is := range s.issuers.Entries() {
		for _, end := range []time.Time{is.Until, is.BundleUntil} {
			if first, ok := ends[is.Name]; !is.Denied && !end.IsZero() && (!ok || end.Before(first)) {
				ends[is.Name] = end
			}
		}
	}
	return ends
}

// joinTrust opens the trust list beside the list of issuers, which may be nil.
func (s *Service) joinTrust(list *issuers.List) (*issuers.Both, error) {
	c := &s.config
	if c.Trust == "" {
		return issuers.Join(list, "", keyring.Config{})
	}
	identity, err := kms.Open(c.TrustKEK, nil)
	if err != nil {
		return nil, &token.ConfigError{Field: "service.Config.TrustKEK", Reason: "cannot be opened", Cause: err}
	}
	name := string(keyring.Trust)
	both, err := issuers.Join(list, c.Trust, keyring.Config{
		Realm: c.State.Realm, KEK: identity, MinGeneration: s.keyrings.Noted(name), Log: s.log,
		OnReload: func(r keyring.Report) { s.checkReloaded(r); s.register.Look() },
	})
	if err != nil {
		return nil, &token.ConfigError{Field: "service.Config.Trust", Reason: "cannot be used", Cause: err}
	}
	s.keyrings.Note(name, both.Trust())
	return both, nil
}

// startRegister begins to note the issuers in the directory. Without a list too: an issuer that
// was in the list of the last run is gone.
func (s *Service) startRegister(ctx context.Context) error {
	_, machine, err := s.name()
	if err != nil {
		return err
	}
	service := directory.Actor{Kind: directory.ActorService, Machine: machine}
	if err := s.register.Start(ctx, s.directory.As(service), s.issuers); err != nil {
		return err
	}
	s.closers = append(s.closers, s.register)
	return nil
}

// sessionOver reports whether a session of a named issuer's ticket is over, as this service knows.
func (s *Service) sessionOver(of web.Session) bool {
	return s.issuers.SessionOver(of) || of.Entered.Before(s.register.Ended(of.Issuer))
}

// ReloadIssuers reads the file of the named issuers and the trust list again. After an error,
// the list before stays in use. Without issuers, ReloadIssuers does nothing.
func (s *Service) ReloadIssuers() error {
	if s.issuers == nil {
		return nil
	}
	return s.issuers.Load()
}

// reporters returns the keyrings and the trust list.
func (s *Service) reporters() map[keyring.Kind]metrics.Reporter {
	all := make(map[keyring.Kind]metrics.Reporter)
	for kind, ring := range s.keyrings.Rings {
		all[kind] = ring
	}
	if list := s.issuers.Trust(); list != nil {
		all[keyring.Trust] = list
	}
	return all
}

// watchKeyrings shows the state of the keyrings and of the trust list in the metrics. It logs
// if tickets of both formats are good.
func (s *Service) watchKeyrings() {
	s.metrics.WatchRings(s.reporters())
	if s.issuers.Trust() != nil && (s.keyrings.Rings[keyring.Ticket] != nil || s.config.Issuers != "") {
		s.log.Warn("tickets of format 1 are good beside those of format 2: whoever has the files of this service can "+
			"make them; for a service that can make none, see --role login", "trust", s.config.Trust)
	}
}

// report returns the state of the keyrings, of the trust list, and of the bundle of the login
// services.
func (s *Service) report() []keyring.Report {
	all := s.keyrings.Report()
	if s.recipient != nil {
		all = append(all, s.recipient.Report())
	}
	if list := s.issuers.Trust(); list != nil {
		all = append(all, list.Report())
	}
	return all
}

var _ metrics.Reporter = (*trust.Ring)(nil)
