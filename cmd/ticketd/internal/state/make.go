package state

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
)

// Make makes the data folder and its files, and returns their paths. Keys of tickets
// are kept for at least maxLifetime. If Place.Keyrings names a folder with all keyrings,
// Make leaves them as they are and makes the other files. If another of the files exists
// already, Make fails and changes nothing. A Make that fails leaves no file behind.
func (p Place) Make(ctx context.Context, maxLifetime time.Duration) (made []string, err error) {
	if err := os.MkdirAll(p.Data, 0o700); err != nil {
		return nil, fmt.Errorf("making the data folder: %w", err)
	}
	lock, err := p.Lock()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	made, withKeys, err := p.files()
	if err != nil {
		return nil, err
	}
	missing := absent(made, "")
	if len(missing) == 0 {
		return nil, fmt.Errorf("%s is ready for serve already: nothing was changed; "+
			"to make another deployment, choose another data folder", p.Data)
	}
	for _, path := range made {
		if !slices.Contains(missing, path) {
			return nil, fmt.Errorf("%s is there already, and %s is missing: nothing was changed; "+
				"restore the missing files from a copy, or choose another data folder", path, missing[0])
		}
	}
	undo := absent(made, "", ".audit", ".lock", "-wal", "-shm")
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
	if withKeys {
		_, err = p.MakeKeys(maxLifetime)
	}
	return made, err
}

// files returns the paths of the files for Make. A directory on a server is not a file.
// withKeys reports whether the keyrings are among them.
func (p Place) files() (all []string, withKeys bool, err error) {
	var keys []string
	for _, kind := range p.Role.made() {
		keys = append(keys, p.KeyringFile(kind))
	}
	if withKeys = p.Keyrings == "" || len(absent(keys, "")) > 0; withKeys {
		if p.KEK == "" {
			all = append(all, p.keyFile())
		}
		all = append(all, keys...)
	} else if kek, err := p.OpenKEK(); err != nil {
		return nil, false, err
	} else if err := p.checkKeyrings(kek); err != nil {
		return nil, false, err
	}
	// The other half of a deployment may have made a directory that both have.
	shared := p.Role != Both && p.Role != "" && p.Database != ""
	if p.DirectoryIsFile() && (!shared || len(absent([]string{p.Directory()}, "")) > 0) {
		all = append(all, p.Directory())
	}
	return all, withKeys, nil
}

// absent returns the missing files among the paths with each of the suffixes.
func absent(paths []string, suffixes ...string) (all []string) {
	for _, path := range paths {
		for _, suffix := range suffixes {
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
