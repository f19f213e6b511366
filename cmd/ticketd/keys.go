package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/keyring/kms"
)

// makeKeys makes the KEK and the keyrings that are not there yet, and reports
// whether the one for tickets was.
func makeKeys(o options) (ownKeys bool, err error) {
	kinds := []keyring.Kind{keyring.Session, keyring.Channel, keyring.Ticket}
	// Where there are keyrings, a new key-encryption key would open none of them.
	isNew := !slices.ContainsFunc(kinds, func(k keyring.Kind) bool {
		_, err := os.Lstat(o.dataFile(keyringFile(k)))
		return !errors.Is(err, fs.ErrNotExist)
	})
	if o.kek == "" && isNew {
		if err := kms.CreateKeyFile(o.dataFile("kek.key")); err != nil && !errors.Is(err, fs.ErrExist) {
			return false, fmt.Errorf("making the key-encryption key: %w", err)
		}
	}
	kek, err := openKEK(o)
	if err != nil {
		return false, err
	}
	for _, kind := range kinds {
		policy := keyring.DefaultPolicy(kind)
		if kind == keyring.Ticket {
			policy.Lifetime = max(policy.Lifetime, (o.maxLifetime + time.Second - 1).Truncate(time.Second))
		}
		err := keyring.Create(o.dataFile(keyringFile(kind)), keyring.Config{Kind: kind, Realm: o.realm, KEK: kek}, policy, "")
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return false, fmt.Errorf("making the %s keyring: %w", kind, err)
		}
		ownKeys = kind == keyring.Ticket && err == nil
	}
	return ownKeys, nil
}
