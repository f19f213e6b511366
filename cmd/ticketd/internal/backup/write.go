package backup

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/state"
	"github.com/admitone/admitone/keyring"
)

const (
	keyringSuffix = ".keyring"
	auditSuffix   = ".audit"
	generations   = "generations.json"
)

// Options say what Write writes.
type Options struct {
	WithoutEvents bool             // leave the audit trail out
	Progress      func(rows int64) // is called now and then; nil is allowed
}

// A Written tells of a backup.
type Written struct {
	Made     time.Time `json:"made"`
	Rows     int64     `json:"rows"`    // of the directory
	Serving  bool      `json:"serving"` // a service was running, or had been killed
	Keyrings []string  `json:"keyrings"`
}

// Write writes a backup of the state at a place to w. Services may run meanwhile, and keyrings
// may be rotated. Each keyring must open. The directory is read as it is: one with another
// schema than this program's is refused.
func Write(ctx context.Context, w io.Writer, p state.Place, o Options) (Written, error) {
	kek, err := p.OpenKEK()
	if err != nil {
		return Written{}, err
	}
	f, err := collect(p, kek)
	if err != nil {
		return Written{}, err
	}
	db, err := directory.OpenAsIs(ctx, p.Directory())
	if err != nil {
		return Written{}, fmt.Errorf("opening the directory: %w", err)
	}
	defer db.Close()
	now := time.Now().UTC().Truncate(time.Second)
	sealed, err := seal(w, kek, p.Realm, now)
	if err != nil {
		return Written{}, err
	}
	line, err := json.Marshal(f)
	if err != nil {
		return Written{}, err
	}
	if _, err := sealed.Write(append(line, '\n')); err != nil {
		return Written{}, err
	}
	saved, err := db.Save(ctx, sealed, directory.SaveOptions{WithoutEvents: o.WithoutEvents, Progress: o.Progress})
	if err != nil {
		return Written{}, err
	}
	did := Written{Made: now, Rows: saved.Rows, Serving: saved.Serving, Keyrings: []string{}}
	for _, k := range f.Keyrings {
		if isKeyringName(k.Name) {
			did.Keyrings = append(did.Keyrings, k.Name)
		}
	}
	return did, sealed.Close()
}

// WriteFile is Write into a new file. The file appears when the backup is whole.
func WriteFile(ctx context.Context, path string, p state.Place, o Options) (did Written, err error) {
	if _, err := os.Lstat(path); err == nil {
		return Written{}, fmt.Errorf("%s is there already: no backup is overwritten; give another name", path)
	}
	unfinished := path + ".unfinished"
	f, err := os.OpenFile(unfinished, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return Written{}, fmt.Errorf("%s is there: another backup is being written, or was killed; "+
			"if none is being written, remove it", unfinished)
	}
	if err != nil {
		return Written{}, err
	}
	defer func() { err = errors.Join(err, removeAll([]string{unfinished})) }()
	did, err = Write(ctx, f, p, o)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return Written{}, err
	}
	return did, place(unfinished, path)
}

// isKeyringName reports whether a file's name is that of a keyring. The name has no folder.
func isKeyringName(name string) bool {
	kind, ok := strings.CutSuffix(name, keyringSuffix)
	return ok && kind != "" && filepath.Base(name) == name && !strings.HasPrefix(name, ".") && !strings.Contains(name, `\`)
}

// collect reads the files of a place.
func collect(p state.Place, kek keyring.KEK) (files, error) {
	var f files
	// Before the keyrings: a generation that is newer than its keyring would refuse the keyring.
	var err error
	if f.Generations, err = os.ReadFile(p.File(generations)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	if f.Replay, err = os.ReadFile(p.File(state.ReplayFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	folder := keyringFolder(p)
	entries, err := os.ReadDir(folder)
	if err != nil {
		return f, err
	}
	for _, e := range entries {
		if !isKeyringName(e.Name()) {
			continue
		}
		both, err := readKeyring(filepath.Join(folder, e.Name()), p, kek)
		if err != nil {
			return f, err
		}
		f.Keyrings = append(f.Keyrings, both...)
	}
	return f, nil
}

// keyringFolder returns the folder of the keyrings.
func keyringFolder(p state.Place) string { return cmp.Or(p.Keyrings, p.Data) }

// kindOf returns the kind of the keyring in a file of the deployment's own names; "" for another.
func kindOf(name string) keyring.Kind {
	kind := keyring.Kind(strings.TrimSuffix(filepath.Base(name), keyringSuffix))
	if keyring.Algorithms(kind) == nil {
		return ""
	}
	return kind
}

// maxTries bounds the readings of a keyring that changes all the time.
const maxTries = 100

// readKeyring reads a keyring and its audit log, as they are together.
func readKeyring(path string, p state.Place, kek keyring.KEK) ([]file, error) {
	name := filepath.Base(path)
	for range maxTries {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		log, err := os.ReadFile(path + auditSuffix)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if kind := kindOf(name); kind != "" {
			if _, err := keyring.Read(path, keyring.Config{Kind: kind, Realm: p.Realm, KEK: kek}); err != nil {
				return nil, fmt.Errorf("a backup of this keyring would be useless: %w", err)
			}
		}
		again, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		logAgain, err := os.ReadFile(path + auditSuffix)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if !bytes.Equal(data, again) || !bytes.Equal(log, logAgain) {
			continue
		}
		all := []file{{name, data}}
		if log != nil {
			all = append(all, file{name + auditSuffix, log})
		}
		return slices.Clip(all), nil
	}
	return nil, fmt.Errorf("%s changes all the time; try again later", path)
}
