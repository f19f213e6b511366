package state

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/keyring/kms"
	"github.com/admitone/admitone/token"
)

// OpenKEK opens the key-encryption key of the keyrings.
func (p Place) OpenKEK() (keyring.KEK, error) {
	kek, err := kms.Open(p.KEKURI(), nil)
	if err != nil && p.KEK != "" {
		return nil, &token.ConfigError{Field: "state.Place.KEK", Reason: "cannot be opened", Cause: err}
	}
	return kek, err
}

// MakeKeys makes the key-encryption key and the keyrings that are missing. Keys of
// tickets are kept for at least maxLifetime. newTickets reports whether the keyring
// of tickets is new: then no other process has ever issued or redeemed a ticket under
// these keys.
func (p Place) MakeKeys(maxLifetime time.Duration) (newTickets bool, err error) {
	// A new key-encryption key would open none of the existing keyrings.
	isNew := !slices.ContainsFunc(p.Role.made(), func(k keyring.Kind) bool {
		_, err := os.Lstat(p.KeyringFile(k))
		return !errors.Is(err, fs.ErrNotExist)
	})
	if p.Keyrings != "" {
		if err := os.MkdirAll(p.Keyrings, 0o700); err != nil {
			return false, fmt.Errorf("making the folder of the keyrings: %w", err)
		}
	}
	if p.KEK == "" && isNew {
		if err := kms.CreateKeyFile(p.keyFile()); err != nil && !errors.Is(err, fs.ErrExist) {
			return false, fmt.Errorf("making the key-encryption key: %w", err)
		}
	}
	kek, err := p.OpenKEK()
	if err != nil {
		return false, err
	}
	for _, kind := range p.Role.made() {
		policy := keyring.DefaultPolicy(kind)
		if slices.Contains([]keyring.Kind{keyring.Ticket, keyring.Issuer, keyring.Recipient}, kind) {
			policy.Lifetime = max(policy.Lifetime, (maxLifetime + time.Second - 1).Truncate(time.Second))
		}
		err := keyring.Create(p.KeyringFile(kind), keyring.Config{Kind: kind, Realm: p.Realm, KEK: kek}, policy, "")
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return false, fmt.Errorf("making the %s keyring: %w", kind, err)
		}
		newTickets = kind == keyring.Ticket && err == nil
	}
	return newTickets, nil
}

// checkKeyrings makes sure that all keyrings are there and open.
func (p Place) checkKeyrings(kek keyring.KEK) error {
	for _, kind := range p.Role.made() {
		c := keyring.Config{Kind: kind, Realm: p.Realm, KEK: kek}
		if _, err := keyring.Read(p.KeyringFile(kind), c); err != nil {
			return err
		}
	}
	return nil
}

// Keyrings are the open keyrings of a data folder.
type Keyrings struct {
	Rings       map[keyring.Kind]*keyring.Ring
	kinds       []keyring.Kind // of the Rings, in the order of reports
	generations *generations
	closers     []io.Closer // in the order of opening
}

// OpenKeyrings opens all keyrings, and notes their generations from now on. A keyring
// older than the newest generation noted before is refused. onReload is called after
// each reload of a keyring; nil is allowed. more are the kinds of further keyrings, which
// MakeKeys does not make.
func (p Place) OpenKeyrings(
	log *slog.Logger, onReload func(keyring.Report), more ...keyring.Kind,
) (_ *Keyrings, err error) {
	kek, err := p.OpenKEK()
	if err != nil {
		return nil, err
	}
	path := p.File("generations.json")
	seen, err := readGenerations(path)
	if err != nil {
		return nil, err
	}
	k := &Keyrings{Rings: make(map[keyring.Kind]*keyring.Ring), kinds: slices.Concat(p.Role.Kinds(), more)}
	defer func() {
		if err != nil {
			err = errors.Join(err, k.Close())
		}
	}()
	for _, kind := range k.kinds {
		ring, err := keyring.Open(p.KeyringFile(kind), keyring.Config{
			Kind: kind, Realm: p.Realm, KEK: kek, MinGeneration: seen[string(kind)], Log: log, OnReload: onReload,
		})
		if err != nil {
			return nil, err
		}
		k.Rings[kind] = ring
		k.closers = append(k.closers, ring)
	}
	named := make(map[string]Reporter)
	for kind, ring := range k.Rings {
		named[string(kind)] = ring
	}
	if k.generations, err = watchGenerations(path, seen, named, log); err != nil {
		return nil, err
	}
	k.closers = append(k.closers, k.generations)
	return k, nil
}

// Noted returns the highest generation seen of a further file, which Note was told of under
// the same name.
func (k *Keyrings) Noted(name string) uint64 { return k.generations.noted(name) }

// Note notes the generations of a further file from now on: of an issuer's keyring, for
// example.
func (k *Keyrings) Note(name string, of Reporter) { k.generations.add(name, of) }

// OpenRing opens a single keyring for reading. A ticketd may be running meanwhile.
func (p Place) OpenRing(kind keyring.Kind) (*keyring.Ring, error) {
	kek, err := p.OpenKEK()
	if err != nil {
		return nil, err
	}
	ring, err := keyring.Open(p.KeyringFile(kind), keyring.Config{
		Kind: kind, Realm: p.Realm, KEK: kek, Log: slog.New(slog.DiscardHandler),
	})
	if errors.Is(err, fs.ErrNotExist) && kind == keyring.Ticket && p.TicketsAreSigned() {
		return nil, fmt.Errorf("the folder %s is of a login service, which has no key that makes tickets; "+
			"use the folder of the issuing service", p.Data)
	}
	return ring, err
}

// Report returns the state of each keyring.
func (k *Keyrings) Report() (all []keyring.Report) {
	for _, kind := range k.kinds {
		all = append(all, k.Rings[kind].Report())
	}
	return all
}

// Close notes the generations once more and closes the keyrings.
func (k *Keyrings) Close() error {
	var errs []error
	for _, c := range slices.Backward(k.closers) {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}
