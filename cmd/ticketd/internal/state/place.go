// Package state keeps what ticketd must find again after a restart: the data folder
// and its lock, the key-encryption key, the keyrings and the newest generation seen
// of each, and the record of the replay store in use.
//
// The contents of the directory belong to package directory, and the claims of
// one-time tickets to the replay stores. What a running service opens beside these,
// such as listeners, belongs to package service.
package state

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/admitone/admitone/internal/durable"
	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/token"
)

// Place says where the state of a ticketd is, and how its keyrings open.
type Place struct {
	Data     string // data folder
	Keyrings string // folder of the keyrings, which may be read-only; "" for Data
	Database string // directory, as directory.Open takes it; "" for a file in Data
	Realm    string // realm of keys and tickets
	KEK      string // URI of the key-encryption key; "" for a key file in Data
	Role     Role   // which keyrings there are; "" for Both
}

// File returns the path of a file in the data folder.
func (p Place) File(name string) string { return filepath.Join(p.Data, name) }

// KeyringFile returns the path of a keyring.
func (p Place) KeyringFile(kind keyring.Kind) string {
	return filepath.Join(cmp.Or(p.Keyrings, p.Data), string(kind)+".keyring")
}

// Directory returns the place of the directory for directory.Open.
func (p Place) Directory() string { return cmp.Or(p.Database, p.File("admitone.db")) }

// KEKURI returns the URI of the key-encryption key.
func (p Place) KEKURI() string { return cmp.Or(p.KEK, "file:"+p.keyFile()) }

// keyFile returns the path of the default key-encryption key.
func (p Place) keyFile() string { return p.File("kek.key") }

// RestoreFile is in a data folder while a backup is restored into it. After a restore that was
// killed, the folder may have a part of its files only, and no ticketd starts from it.
const RestoreFile = "restore.json"

// Finished returns an error if the last restore into the data folder did not finish.
func (p Place) Finished() error {
	if p.Data == "" {
		return nil
	}
	if _, err := os.Lstat(p.File(RestoreFile)); err == nil {
		return fmt.Errorf("a restore into %s was interrupted: run ticketd restore again, with the same backup", p.Data)
	}
	return nil
}

// Lock reserves the data folder for this process until the lock is closed. A folder into which
// a backup was restored in part is refused.
func (p Place) Lock() (io.Closer, error) {
	lock, err := p.LockForRestore()
	if err != nil {
		return nil, err
	}
	if err := p.Finished(); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}

// LockForRestore is Lock for the command that restores.
func (p Place) LockForRestore() (io.Closer, error) {
	if p.Data == "" {
		return nil, &token.ConfigError{Field: "state.Place.Data", Reason: "is empty; name a folder"}
	}
	if info, err := os.Stat(p.Data); err != nil {
		return nil, &token.ConfigError{
			Field: "state.Place.Data", Reason: "cannot be used; mount the folder, or make one with ticketd init", Cause: err,
		}
	} else if !info.IsDir() {
		return nil, &token.ConfigError{Field: "state.Place.Data", Reason: p.Data + " is a file; give a folder"}
	}
	byGroup, err := durable.CheckFolder(p.Data)
	if err != nil {
		return nil, fmt.Errorf("the data folder cannot be used: %w", err)
	}
	if byGroup {
		slog.Warn("the data folder can be written by its group, whose members can replace keyrings and directory: "+
			"let no other account be in the group, or chmod g-w", "folder", p.Data)
	}
	lock, err := durable.Lock(p.File("ticketd.lock"))
	if errors.Is(err, durable.ErrLocked) {
		return nil, fmt.Errorf("another ticketd uses %s; stop it, or use another data folder: %w", p.Data, err)
	}
	return lock, err
}

// FindDirectory fails if the directory is a missing or empty file. Opening the file
// would make a new directory, and a folder that was not mounted must not look like a
// new deployment.
func (p Place) FindDirectory() error {
	if err := p.Finished(); err != nil {
		return err
	}
	path := p.Directory()
	if !p.DirectoryIsFile() {
		return nil
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("no directory: %w; mount the data folder, or make one with: ticketd init --data DIR", err)
	case err != nil:
		return fmt.Errorf("no directory: %w", err)
	case info.Size() == 0:
		return fmt.Errorf("no directory: %s is empty; restore it from a copy", path)
	}
	return nil
}

// DirectoryIsFile reports whether the directory is an SQLite file, not a server.
func (p Place) DirectoryIsFile() bool { return !strings.Contains(p.Directory(), "://") }
