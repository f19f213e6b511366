package state

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
)

// Make makes the data folder and its files, and returns their paths. Keys of tickets
// are kept for at least maxLifetime. If one of the files exists already, Make fails and
// changes nothing. A Make that fails leaves no file behind.
func (p Place) Make(ctx context.Context, maxLifetime time.Duration) (made []string, err error) {
	if err := os.MkdirAll(p.Data, 0o700); err != nil {
		return nil, fmt.Errorf("making the data folder: %w", err)
	}
	lock, err := p.Lock()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	made = p.files()
	for _, path := range made {
		if _, err := os.Lstat(path); err == nil {
			return nil, fmt.Errorf("%s is there already: nothing was changed; "+
				"remove what is left of an init that failed, or choose another data folder", path)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	undo := absent(made)
	defer func() {
		if err != nil {
			err = errors.Join(err, remove(undo))
		}
	}()
	db, err := directory.Open(ctx, p.Directory())
	if err != nil {
		return nil, fmt.Errorf("making the directory: %w", err)
	}
	if err := db.Close(); err != nil {
		return nil, err
	}
	_, err = p.MakeKeys(maxLifetime)
	return made, err
}

// files returns the paths of the files for Make. A directory on a server is not a file.
func (p Place) files() (all []string) {
	if p.KEK == "" {
		all = append(all, p.keyFile())
	}
	for _, kind := range kinds {
		all = append(all, p.KeyringFile(kind))
	}
	if p.directoryIsFile() {
		all = append(all, p.Directory())
	}
	return all
}

// absent returns the missing files among paths and among the files kept beside them.
func absent(paths []string) (all []string) {
	for _, path := range paths {
		for _, suffix := range []string{"", ".audit", ".lock", "-wal", "-shm"} {
			if _, err := os.Lstat(path + suffix); errors.Is(err, fs.ErrNotExist) {
				all = append(all, path+suffix)
			}
		}
	}
	return all
}

// remove removes the files. Some may not exist.
func remove(paths []string) error {
	var errs []error
	for _, path := range paths {
		if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
