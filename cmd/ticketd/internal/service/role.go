package service

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/admitone/admitone/cmd/ticketd/internal/api"
	"github.com/admitone/admitone/cmd/ticketd/internal/bundles"
	"github.com/admitone/admitone/cmd/ticketd/internal/state"
	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/keyring/kms"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/token/signed"
)

// parts are the parts of the API for the roles.
var parts = map[state.Role]api.Part{state.Issue: api.IssuingPart, state.Login: api.LoginPart}

// checkRole refuses keys that a service of its role must not have.
func (s *Service) checkRole() error {
	c := &s.config
	if c.State.Role != state.Login {
		return nil
	}
	var identity keyring.KEK
	if c.TrustKEK != "" {
		var err error
		if identity, err = kms.Open(c.TrustKEK, nil); err != nil {
			return &token.ConfigError{Field: "service.Config.TrustKEK", Reason: "cannot be opened", Cause: err}
		}
	}
	return c.State.CheckLogin(c.Issuers != "", identity)
}

// recipient is the signed.Recipient of the role Issue: the public keys of the login services.
type recipient struct {
	*keyring.RecipientKeys
	starting bool
}

// openRecipient opens the bundle of the login services.
func (s *Service) openRecipient() error {
	c := &s.config
	if c.State.Role != state.Issue {
		return nil
	}
	id, err := bundles.Identity("service.Config.RecipientOf", c.RecipientOf)
	if err != nil {
		return err
	}
	// A file of another name is refused, then and later.
	first, err := keyring.ReadBundle(c.Recipient,
		keyring.Config{Kind: keyring.RecipientPublic, Realm: c.State.Realm, KEK: id})
	if err != nil {
		return &token.ConfigError{Field: "service.Config.Recipient", Reason: "cannot be used", Cause: err}
	}
	name := string(keyring.RecipientPublic)
	keys, err := keyring.OpenRecipient(c.Recipient, cmp.Or(c.RecipientName, first.Name), keyring.Config{
		Realm: c.State.Realm, KEK: id, MinGeneration: s.keyrings.Noted(name), Log: s.log,
	})
	if err != nil {
		return &token.ConfigError{Field: "service.Config.Recipient", Reason: "cannot be used", Cause: err}
	}
	s.keyrings.Note(name, keys)
	s.recipient = &recipient{RecipientKeys: keys}
	s.closers = append(s.closers, keys)
	all := func() []keyring.Bundle { return []keyring.Bundle{keys.Bundle()} }
	s.watches = append(s.watches, &bundles.Watch{
		Bundles: all, Log: s.log, Now: time.Now,
		Advice: "bring the login service's new bundle here; after the end, no ticket can be made",
	})
	s.metrics.WatchBundles("recipient", all)
	return nil
}

// SealingKey implements signed.Recipient.
func (r *recipient) SealingKey() (*signed.SealingKey, error) {
	k, err := r.RecipientKeys.SealingKey()
	if err == nil {
		return k, nil
	}
	if r.starting {
		// The service starts, for the administration, and issues when there is a new bundle.
		b := r.Bundle()
		return b.Primary().SealingKey()
	}
	return nil, fmt.Errorf("%w: %w", api.ErrNoRecipient, err)
}

// ready is the check of /readyz.
func (r *recipient) ready(context.Context) error {
	_, err := r.SealingKey()
	return err
}

// newIssuers returns the Issuer of administrators' links, and that of all other tickets. Both
// are nil in the role Login.
func (s *Service) newIssuers() (links, tickets *token.Issuer, err error) {
	c := &s.config
	if c.State.Role == state.Login {
		return nil, nil, nil
	}
	links, err = token.NewIssuer(token.Config{
		Sealer: s.keyrings.Rings[keyring.Ticket], Realm: c.State.Realm, MaxLifetime: c.MaxLifetime,
	})
	if err != nil || c.State.Role != state.Issue {
		return links, links, err
	}
	s.recipient.starting = true
	sealer, err := signed.NewSealer(c.IssuerName, s.keyrings.Rings[keyring.Issuer], s.recipient)
	s.recipient.starting = false
	if err != nil {
		return nil, nil, err
	}
	tickets, err = token.NewIssuer(token.Config{Signed: sealer, Realm: c.State.Realm, MaxLifetime: c.MaxLifetime})
	return links, tickets, err
}
