// Package bundles keeps the bundles of public keys that a running service serves to other
// organisations. Each bundle is followed in its file, as keyrings are.
//
// A file that is damaged, signed by another identity, older, or of another name changes
// nothing: the log says what is wrong, and the bundle before is served until its end.
package bundles

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/keyring/kms"
	"github.com/admitone/admitone/token"
)

// MaxSize is the largest bundle in bytes: keyring trust refresh fetches no more.
const MaxSize = 64 << 10

// Config says which bundles there are.
type Config struct {
	Files    []string
	Identity keyring.Identity // which signed them
	Realm    string
	Log      *slog.Logger
	Now      func() time.Time
}

// List is the bundles of a service. A nil List has none. A List is safe for concurrent use.
type List struct {
	c   Config
	all []*keyring.Follower[Bundle]
}

// Bundle is a bundle with its file.
type Bundle struct {
	keyring.Bundle
	File []byte // as it is served
}

// Open reads all files, and follows them until Close.
func Open(c Config) (*List, error) {
	l := &List{c: c}
	names := make(map[string]string)
	for _, path := range c.Files {
		f, err := l.follow(path, keyring.IssuerPublic)
		if wrong, ok := errors.AsType[*keyring.FileError](err); ok && wrong.Reason == keyring.WrongKind {
			f, err = l.follow(path, keyring.RecipientPublic)
		}
		if err != nil {
			return nil, errors.Join(err, l.Close())
		}
		l.all = append(l.all, f)
		name := f.Load().Name
		if names[name] != "" {
			return nil, errors.Join(l.Close(), fmt.Errorf("%s and %s are both of the name %q, and would be served at one path; "+
				"publish one of them under another name", names[name], path, name))
		}
		names[name] = path
	}
	return l, nil
}

// follow follows the file of a bundle of a kind.
func (l *List) follow(path string, kind keyring.Kind) (*keyring.Follower[Bundle], error) {
	c := keyring.Config{Kind: kind, Realm: l.c.Realm, KEK: l.c.Identity, Log: l.c.Log, Now: l.c.Now}
	var first *keyring.Bundle
	return keyring.Follow(path, c, func(d keyring.Document) (Bundle, error) {
		b, err := keyring.ParseBundle(path, d.File, c)
		if err != nil {
			return Bundle{}, err
		}
		switch {
		case len(d.File) > MaxSize:
			return Bundle{}, fmt.Errorf("it has more than %d bytes, which nobody fetches; "+
				"let keyring apply destroy old keys", MaxSize)
		case first != nil && b.Name != first.Name:
			return Bundle{}, fmt.Errorf("it is of %q, and the bundle in use is of %q; give each bundle a file of its own",
				b.Name, first.Name)
		// An outdated bundle does not keep the service from starting.
		case first != nil && !l.c.Now().Before(b.Until):
			return Bundle{}, fmt.Errorf("it was good until %s only; publish a new one", b.Until.Format(time.RFC3339))
		}
		first = &b
		return Bundle{b, d.File}, nil
	})
}

// Of returns the bundle of a name, if there is one that has not ended.
func (l *List) Of(name string) (Bundle, bool) {
	if l == nil {
		return Bundle{}, false
	}
	for _, f := range l.all {
		if b := f.Load(); b.Name == name {
			return b, l.c.Now().Before(b.Until)
		}
	}
	return Bundle{}, false
}

// All returns the bundles, those that have ended as well.
func (l *List) All() (all []keyring.Bundle) {
	if l == nil {
		return nil
	}
	for _, f := range l.all {
		all = append(all, f.Load().Bundle)
	}
	return all
}

// Close ends the following.
func (l *List) Close() error {
	for _, f := range l.all {
		_ = f.Close() // without an error
	}
	return nil
}

// A Watch logs each bundle that is near its end, once, and each that has ended.
type Watch struct {
	Bundles func() []keyring.Bundle
	Advice  string // what to do about a bundle
	Log     *slog.Logger
	Now     func() time.Time

	mu   sync.Mutex
	told map[told]bool
}

// told is something that the log has.
type told struct {
	name       string
	generation uint64
	ended      bool
}

// Look looks at the bundles. A bundle is near its end after two thirds of its time.
func (w *Watch) Look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.Now()
	still := make(map[told]bool)
	for _, b := range w.Bundles() {
		near := b.Until.Add(-b.Until.Sub(b.Published) / 3)
		if now.Before(near) {
			continue
		}
		t := told{b.Name, b.Generation, !now.Before(b.Until)}
		still[t] = true
		if w.told[t] {
			continue
		}
		level, message := slog.LevelWarn, "a bundle of public keys ends soon; "
		if t.ended {
			level, message = slog.LevelError, "a bundle of public keys has ended; "
		}
		w.Log.Log(context.Background(), level, message+w.Advice,
			"bundle", b.Name, "generation", b.Generation, "until", b.Until)
	}
	w.told = still
}

// Identity opens the identity that signs bundles: a fingerprint, or verify:PATH. field names the
// setting in the error, a *token.ConfigError.
func Identity(field, text string) (keyring.Identity, error) {
	id, err := keyring.ParseIdentity(text)
	if err == nil {
		return id, nil
	}
	fault := &token.ConfigError{Field: field,
		Reason: "is no public identity key; give verify:PATH, or the fingerprint that keyring identity prints"}
	if !strings.Contains(text, ":") {
		return id, fault
	}
	kek, err := kms.Open(text, nil)
	if err != nil {
		return id, &token.ConfigError{Field: field, Reason: "cannot be opened", Cause: err}
	}
	id, ok := kek.(keyring.Identity)
	if !ok {
		return id, fault
	}
	return id, nil
}
