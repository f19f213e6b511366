package keyring

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/daead"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/admitone/admitone/token"
)

// set is the keys of one generation, ready for use. It never changes.
type set struct {
	*contents
	loaded  time.Time
	aead    tink.AEAD              // kinds ticket and session
	daead   tink.DeterministicAEAD // kind channel
	enabled map[KeyID]*use
	primary *use
}

var (
	canary = []byte("admitone keyring self-test")

	errNotAEAD  = errors.New("a channel keyring seals deterministically only")
	errNotDAEAD = errors.New("a ticket or session keyring does not seal deterministically")
)

// newSet makes the primitives of a file's keys, and tries them. It counts on with
// the counters of old, if that is not nil.
func newSet(f *contents, old *set, now time.Time) (*set, error) {
	s := &set{contents: f, loaded: now, enabled: make(map[KeyID]*use)}
	for _, k := range f.header.Keys {
		if !k.opens() {
			continue
		}
		id := k.ID
		if old != nil && old.enabled[id] != nil {
			s.enabled[id] = old.enabled[id]
		} else {
			s.enabled[id] = new(use)
		}
		if k.State == Primary {
			s.primary = s.enabled[id]
		}
	}
	var err error
	if f.header.Kind == Channel {
		s.daead, err = daead.New(f.handle)
	} else {
		s.aead, err = aead.New(f.handle)
	}
	if err != nil {
		return nil, err
	}
	if err := s.opens(s); err != nil {
		return nil, fmt.Errorf("the primary key does not open what it seals: %w", err)
	}
	return s, nil
}

func (s *set) encrypt(plaintext, ad []byte) ([]byte, error) {
	if s.daead != nil {
		return s.daead.EncryptDeterministically(plaintext, ad)
	}
	return s.aead.Encrypt(plaintext, ad)
}

func (s *set) decrypt(ciphertext, ad []byte) ([]byte, error) {
	if s.daead != nil {
		return s.daead.DecryptDeterministically(ciphertext, ad)
	}
	return s.aead.Decrypt(ciphertext, ad)
}

// opens reports whether s opens what old's primary seals.
func (s *set) opens(old *set) error {
	sealed, err := old.encrypt(canary, canary)
	if err != nil {
		return err
	}
	plain, err := s.decrypt(sealed, canary)
	if err == nil && !bytes.Equal(plain, canary) {
		err = errors.New("it opens as something else")
	}
	return err
}

// Ring is the keys of a keyring file, kept up to date: it looks at the file
// every second (Config.Poll) and, when that has changed, loads it beside, checks
// it and takes it as a whole. On any failure it keeps the last good keys and
// says so, in its log and Report; a file that it could not take it tries again
// when that changes, and else after a second, two, four and so on up to a minute.
//
// A Ring of kind Ticket or Session is a tink.AEAD, one of kind Channel a
// tink.DeterministicAEAD. It is safe for concurrent use.
type Ring struct {
	path string
	c    Config
	set  atomic.Pointer[set]
	last atomic.Pointer[outcome] // of the last look that ended

	mu      sync.Mutex
	next    *look       // has not begun; nil if there is none
	looking bool        // a goroutine looks, or is about to
	seen    fs.FileInfo // the file as it was last read; this and the next two are that goroutine's
	refused *refusal    // the file, if it was not taken
	changed bool        // new keys were taken

	stop context.CancelFunc
	done chan struct{}
}

// Open loads the file at path and returns a Ring over it; Close ends the Ring's
// polling. The error is a *FileError, with a Reason, where the file is at fault.
func Open(path string, c Config) (*Ring, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if c.Kind == AnyKind {
		return nil, &token.ConfigError{Field: "keyring.Config.Kind", Reason: anyKindFault}
	}
	if c.Poll < 0 {
		return nil, &token.ConfigError{Field: "keyring.Config.Poll", Reason: fmt.Sprintf("is %v; it must not be negative", c.Poll)}
	}
	if c.Poll == 0 {
		c.Poll = time.Second
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &Ring{path: path, c: c, stop: stop, done: make(chan struct{})}
	if err := r.load(true); err != nil {
		stop()
		return nil, err
	}
	r.last.Store(&outcome{checked: c.now(), good: c.now()})
	go r.poll(ctx)
	return r, nil
}

// Close ends the polling, and waits for that, though at most a second. The Ring
// keeps its last keys.
func (r *Ring) Close() error {
	r.stop()
	<-r.done
	return nil
}

// Encrypt seals under the primary key. Of a Channel Ring it is an error.
func (r *Ring) Encrypt(plaintext, associatedData []byte) ([]byte, error) {
	s := r.set.Load()
	if s.aead == nil {
		return nil, errNotAEAD
	}
	sealed, err := s.aead.Encrypt(plaintext, associatedData)
	if err == nil {
		s.primary.sealed.Add(1)
	}
	return sealed, err
}

// Decrypt opens what Encrypt sealed under any key that opens. Of a Channel Ring
// it is an error.
func (r *Ring) Decrypt(ciphertext, associatedData []byte) ([]byte, error) {
	s := r.set.Load()
	if s.aead == nil {
		return nil, errNotAEAD
	}
	plain, err := s.aead.Decrypt(ciphertext, associatedData)
	if err == nil {
		s.opened(ciphertext)
	}
	return plain, err
}

// EncryptDeterministically seals under the primary key of a Channel Ring: the
// same plaintext and associated data always as the same ciphertext, until the
// keyring is rotated. Of another Ring it is an error.
func (r *Ring) EncryptDeterministically(plaintext, associatedData []byte) ([]byte, error) {
	s := r.set.Load()
	if s.daead == nil {
		return nil, errNotDAEAD
	}
	sealed, err := s.daead.EncryptDeterministically(plaintext, associatedData)
	if err == nil {
		s.primary.sealed.Add(1)
	}
	return sealed, err
}

// DecryptDeterministically opens what EncryptDeterministically sealed under any
// key that opens. Of a Ring that is not a Channel Ring it is an error.
func (r *Ring) DecryptDeterministically(ciphertext, associatedData []byte) ([]byte, error) {
	s := r.set.Load()
	if s.daead == nil {
		return nil, errNotDAEAD
	}
	plain, err := s.daead.DecryptDeterministically(ciphertext, associatedData)
	if err == nil {
		s.opened(ciphertext)
	}
	return plain, err
}

// load reads the file and takes its keys if it changed and is fit to follow
// what the Ring has. A file that it did not take is tried again when it changes,
// now and then, or if asked. Only the goroutine that looks calls it, and Open
// before it.
func (r *Ring) load(asked bool) error {
	data, stat, err := readFile(r.path)
	if err != nil {
		return err
	}
	r.seen = stat
	fingerprint := sha256.Sum256(data)
	if old := r.set.Load(); old != nil && old.fingerprint == fingerprint {
		r.refused = nil
		return nil
	}
	before := r.refused
	if before != nil && !before.of(fingerprint, stat) {
		before = nil
	}
	if before != nil && !asked && time.Now().Before(before.again) {
		return before.err
	}
	if err := r.take(data, stat); err != nil {
		r.refused = before.anew(fingerprint, stat, err, r.c.Poll)
		return err
	}
	r.refused = nil
	return nil
}

// take makes a file's keys the Ring's, if they are fit to follow what it has.
func (r *Ring) take(data []byte, stat fs.FileInfo) error {
	old := r.set.Load()
	f, err := decode(r.path, data, &r.c)
	if err != nil {
		return err
	}
	if err := checkMode(r.path, stat, &r.c); err != nil {
		return err
	}
	s, err := newSet(f, old, r.c.now())
	if err != nil {
		return err
	}
	if old != nil {
		if err := s.follows(old); err != nil {
			err.Path = r.path
			return err
		}
	}
	r.set.Store(s)
	r.changed = old != nil
	r.c.Log.Info("keyring loaded", "file", r.path, "generation", s.header.Generation,
		"primary", s.header.primary().ID.String(), "keys", len(s.header.Keys))
	return nil
}

// follows finds what keeps s from taking old's place.
func (s *set) follows(old *set) *FileError {
	have, got := old.header.Generation, s.header.Generation
	switch {
	case got < have:
		return fault(RolledBack, "is generation %d, and %d is in use: an older file was put back; restore the newer one", got, have)
	case got == have:
		return fault(Forked, "is generation %d with other contents than those in use: two writers without a common lock? put back the one in use", got)
	}
	// A key leaves a keyring by being destroyed, and its tombstone stays for ever.
	// A file that lacks either is another keyring, however high its generation.
	for _, k := range old.header.Keys {
		if s.header.key(k.ID) == nil && !slices.Contains(s.header.Tombstones, k.ID) {
			return fault(LostKey, "lacks key %v of the keyring in use, so it is another; put the right one back", k.ID)
		}
	}
	for _, id := range old.header.Tombstones {
		if !slices.Contains(s.header.Tombstones, id) {
			return fault(LostKey, "does not know that key %v was destroyed, so it is another keyring than the one in use; put the right one back", id)
		}
	}
	// A primary that was disabled or destroyed since is not wanted back.
	k := s.header.key(old.header.primary().ID)
	if k == nil || !k.opens() {
		return nil
	}
	if err := s.opens(old); err != nil {
		return fault(LostKey, "does not open what key %v sealed, which it names as %s: %w", k.ID, k.State, err)
	}
	return nil
}
