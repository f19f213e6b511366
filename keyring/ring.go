package keyring

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tink-crypto/tink-go/v2/daead"
	"github.com/tink-crypto/tink-go/v2/signature"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/admitone/admitone/internal/sealing"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/token/signed"
)

// keySet holds the keys of a generation, ready for use. A keySet never changes.
type keySet struct {
	*contents
	loaded  time.Time
	aead    *sealing.AEAD          // kinds ticket and session
	daead   tink.DeterministicAEAD // kind channel
	signer  tink.Signer            // kind issuer
	opening *signed.OpeningKeys    // kind recipient
	sealing *signed.SealingKey     // kind recipient: the public half of the primary
	enabled map[KeyID]*counter
	primary *counter
	parsed  any // content of a signed file
}

var (
	canary = []byte("admitone keyring self-test")

	errNotAEAD      = errors.New("only a ticket or session keyring seals and opens by itself")
	errNotDAEAD     = errors.New("only a channel keyring seals deterministically")
	errNotIssuer    = errors.New("only an issuer keyring signs")
	errNotRecipient = errors.New("only a recipient keyring has keys to seal for")
)

// newKeySet makes and tries the primitives of a file's keys. The counters of old, if old is
// not nil, go on.
func newKeySet(f *contents, old *keySet, now time.Time) (*keySet, error) {
	s := &keySet{contents: f, loaded: now, enabled: make(map[KeyID]*counter)}
	for _, k := range f.header.Keys {
		if !k.opens() {
			continue
		}
		id := k.ID
		if old != nil && old.enabled[id] != nil {
			s.enabled[id] = old.enabled[id]
		} else {
			s.enabled[id] = new(counter)
		}
		if k.State == Primary {
			s.primary = s.enabled[id]
		}
	}
	if f.header.Kind.isSigned() {
		return s, nil
	}
	if err := s.make(); err != nil {
		return nil, err
	}
	if err := s.opens(s); err != nil {
		return nil, fmt.Errorf("the primary key does not open what it seals: %w", err)
	}
	return s, nil
}

// make makes the primitives of the keyring's kind.
func (s *keySet) make() (err error) {
	switch s.header.Kind {
	case Channel:
		s.daead, err = daead.New(s.handle)
	case Issuer:
		s.signer, err = signed.NewSigner(s.handle)
	case Recipient:
		if s.opening, err = signed.NewOpeningKeys(s.handle); err != nil {
			return err
		}
		public, err := s.handle.Public()
		if err != nil {
			return err
		}
		s.sealing, err = signed.NewSealingKey(public)
		return err
	default:
		s.aead, err = sealing.NewAEAD(s.handle)
	}
	return err
}

func (s *keySet) encrypt(plaintext, ad []byte) ([]byte, error) {
	if s.daead != nil {
		return s.daead.EncryptDeterministically(plaintext, ad)
	}
	return s.aead.Encrypt(plaintext, ad)
}

func (s *keySet) decrypt(ciphertext, ad []byte) ([]byte, error) {
	if s.daead != nil {
		return s.daead.DecryptDeterministically(ciphertext, ad)
	}
	return s.aead.Decrypt(ciphertext, ad)
}

// opens reports whether s opens what old's primary seals, or verifies what it signs.
func (s *keySet) opens(old *keySet) error {
	switch s.header.Kind {
	case Issuer:
		return s.verifies(old)
	case Recipient:
		if !s.opening.Opens(old.sealing) {
			return errors.New("the private key is another")
		}
		return nil
	}
	sealed, err := old.encrypt(canary, canary)
	if err != nil {
		return err
	}
	plain, err := s.decrypt(sealed, canary)
	if err == nil && !bytes.Equal(plain, canary) {
		err = errors.New("the plaintext is another")
	}
	return err
}

// verifies reports whether the public keys of s verify what old's primary signs. No ticket
// begins as the canary does.
func (s *keySet) verifies(old *keySet) error {
	public, err := s.handle.Public()
	if err != nil {
		return err
	}
	verifier, err := signature.NewVerifier(public)
	if err != nil {
		return err
	}
	sig, err := old.signer.Sign(canary)
	if err != nil {
		return err
	}
	return verifier.Verify(sig, canary)
}

// Ring holds the keys of a keyring file and keeps them up to date. A Ring looks at the file
// every second (Config.Poll). It loads and checks a changed file, and then takes all keys of
// the file at once. After a failure the Ring keeps the last good keys, and tells the failure
// to its log and in its Report. A Ring tries a refused file again when the file changes, or
// else after a second, two, four and so on up to a minute.
//
// A Ring of kind Ticket or Session is a tink.AEAD, a Ring of kind Channel a
// tink.DeterministicAEAD, a Ring of kind Issuer a tink.Signer, and a Ring of kind Recipient a
// signed.Unsealer and a signed.Recipient. The methods of other kinds return errors. A Ring is
// safe for concurrent use.
type Ring struct {
	path string
	c    Config
	keys atomic.Pointer[keySet]
	last atomic.Pointer[outcome] // of the last look that ended

	mu      sync.Mutex
	next    *look       // a look that has not begun, or nil
	looking bool        // a goroutine looks, or is about to
	seen    fs.FileInfo // status of the file that was last read; that goroutine's, as are the next two fields
	refused *refusal    // of the file, or nil
	changed bool        // new keys were taken

	stop context.CancelFunc
	done chan struct{}
}

// Open loads the file at path and returns a Ring over the file. Close ends the Ring's polling.
// The error is a *FileError if the file is at fault, and a *token.ConfigError if c is.
func Open(path string, c Config) (*Ring, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if c.Kind == AnyKind {
		return nil, &token.ConfigError{Field: "keyring.Config.Kind", Reason: anyKindFault}
	}
	if c.Kind.isSigned() {
		return nil, &token.ConfigError{Field: "keyring.Config.Kind",
			Reason: fmt.Sprintf("is %q, the kind of a signed file, which has no Ring; see Follow", string(c.Kind))}
	}
	return openRing(path, c)
}

// openRing is Open after the checks of c.
func openRing(path string, c Config) (*Ring, error) {
	if c.Poll < 0 {
		return nil, &token.ConfigError{
			Field: "keyring.Config.Poll", Reason: fmt.Sprintf("is %v; it must not be negative", c.Poll),
		}
	}
	if c.Poll == 0 {
		c.Poll = time.Second
	}
	c.Log = c.log()
	ctx, stop := context.WithCancel(context.Background())
	r := &Ring{path: path, c: c, stop: stop, done: make(chan struct{})}
	err := r.load(true)
	if err != nil && reasonOf(err) != Unlinked {
		stop()
		return nil, err
	}
	r.last.Store(&outcome{checked: c.now(), good: c.now(), err: err})
	if err != nil {
		c.Log.Error("keyring cannot follow its file", "file", path, "error", err)
	}
	go r.poll(ctx)
	return r, nil
}

// Close ends the polling, and waits at most a second for the end. The Ring keeps its keys.
// The error is nil.
func (r *Ring) Close() error {
	r.stop()
	<-r.done
	return nil
}

// Encrypt seals under the primary key of a Ticket or Session Ring.
func (r *Ring) Encrypt(plaintext, associatedData []byte) ([]byte, error) {
	s := r.keys.Load()
	if s.aead == nil {
		return nil, errNotAEAD
	}
	sealed, err := s.aead.Encrypt(plaintext, associatedData)
	if err == nil && !sealing.IsProbe(associatedData) {
		s.primary.sealed.Add(1)
	}
	return sealed, err
}

// AppendEncrypt is Encrypt, and appends the ciphertext to dst, which must not overlap the
// plaintext.
func (r *Ring) AppendEncrypt(dst, plaintext, associatedData []byte) ([]byte, error) {
	s := r.keys.Load()
	if s.aead == nil {
		return nil, errNotAEAD
	}
	sealed, err := s.aead.AppendEncrypt(dst, plaintext, associatedData)
	if err == nil && !sealing.IsProbe(associatedData) {
		s.primary.sealed.Add(1)
	}
	return sealed, err
}

// Decrypt opens a ciphertext of Encrypt under any key that opens.
func (r *Ring) Decrypt(ciphertext, associatedData []byte) ([]byte, error) {
	s := r.keys.Load()
	if s.aead == nil {
		return nil, errNotAEAD
	}
	plain, err := s.aead.Decrypt(ciphertext, associatedData)
	if err == nil && !sealing.IsProbe(associatedData) {
		s.opened(ciphertext)
	}
	return plain, err
}

// EncryptDeterministically seals under the primary key of a Channel Ring. The same plaintext
// and associated data give the same ciphertext, until the keyring is rotated.
func (r *Ring) EncryptDeterministically(plaintext, associatedData []byte) ([]byte, error) {
	s := r.keys.Load()
	if s.daead == nil {
		return nil, errNotDAEAD
	}
	sealed, err := s.daead.EncryptDeterministically(plaintext, associatedData)
	if err == nil && !sealing.IsProbe(associatedData) {
		s.primary.sealed.Add(1)
	}
	return sealed, err
}

// DecryptDeterministically opens a ciphertext of EncryptDeterministically under any key that
// opens.
func (r *Ring) DecryptDeterministically(ciphertext, associatedData []byte) ([]byte, error) {
	s := r.keys.Load()
	if s.daead == nil {
		return nil, errNotDAEAD
	}
	plain, err := s.daead.DecryptDeterministically(ciphertext, associatedData)
	if err == nil && !sealing.IsProbe(associatedData) {
		s.opened(ciphertext)
	}
	return plain, err
}

// Sign signs under the primary key of an Issuer Ring: a ticket of format 2 for a signed.Sealer.
func (r *Ring) Sign(data []byte) ([]byte, error) {
	s := r.keys.Load()
	if s.signer == nil {
		return nil, errNotIssuer
	}
	sig, err := s.signer.Sign(data)
	if err == nil && !sealing.IsProbe(data) {
		s.primary.sealed.Add(1)
	}
	return sig, err
}

// OpeningKey returns the key of a Recipient Ring with this ID, for signed.Open, or nil. For an
// unknown ID, OpeningKey looks at the file as HasKey does.
func (r *Ring) OpeningKey(id KeyID) *signed.OpeningKey {
	s := r.keys.Load()
	if s.opening == nil {
		return nil
	}
	if k := s.opening.OpeningKey(id); k != nil || !r.HasKey(id) {
		return k
	}
	return r.keys.Load().opening.OpeningKey(id)
}

// Opened counts a ticket that signed.Open has opened and verified: the issuer's key signed it.
func (r *Ring) Opened(id KeyID, issuer string, signingKey KeyID) {
	if u := r.keys.Load().enabled[id]; u != nil {
		u.opened.Add(1)
		u.openedBy(issuer, signingKey)
	}
}

// SealingKey returns the public half of the primary key of a Recipient Ring, for programs that
// issue to their own login service. Other organisations get public keys alone.
func (r *Ring) SealingKey() (*signed.SealingKey, error) {
	s := r.keys.Load()
	if s.sealing == nil {
		return nil, errNotRecipient
	}
	return s.sealing, nil
}

// load reads the file, and takes the keys of a changed file that may follow the file in use.
// A refused file is tried again when it changes, when its time has come, or if asked. The
// keys of a file without a name are taken, with an error: no later file will be seen. Only
// Open and the goroutine that looks call load.
func (r *Ring) load(asked bool) error {
	data, stat, err := readFile(r.path)
	if err != nil {
		return err
	}
	if err := r.loadFile(data, stat, asked); err != nil {
		return err
	}
	return checkLinked(r.path, stat)
}

// loadFile is load for the bytes of the file.
func (r *Ring) loadFile(data []byte, stat fs.FileInfo, asked bool) error {
	r.seen = stat
	fingerprint := sha256.Sum256(data)
	if old := r.keys.Load(); old != nil && old.fingerprint == fingerprint {
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
		r.refused = before.retry(fingerprint, stat, err, r.c.Poll)
		return err
	}
	r.refused = nil
	return nil
}

// take makes a file's keys the keys in use, if the file may follow the file in use.
func (r *Ring) take(data []byte, stat fs.FileInfo) error {
	old := r.keys.Load()
	f, err := decode(r.path, data, &r.c)
	if err != nil {
		return err
	}
	if err := checkMode(r.path, stat, &r.c); err != nil {
		return err
	}
	s, err := newKeySet(f, old, r.c.now())
	if err != nil {
		return err
	}
	if old != nil {
		if err := s.follows(old); err != nil {
			err.Path = r.path
			return err
		}
	}
	if err := s.parseDocument(r.path, &r.c); err != nil {
		return err
	}
	r.keys.Store(s)
	r.changed = old != nil
	if s.header.Kind.isSigned() {
		r.c.Log.Info("signed file loaded", "file", r.path, "generation", s.header.Generation)
		return nil
	}
	r.c.Log.Info("keyring loaded", "file", r.path, "generation", s.header.Generation,
		"primary", s.info().Primary.String(), "keys", len(s.header.Keys))
	if old == nil || old.header.Policy != s.header.Policy {
		r.c.warn(r.path, s.info())
	}
	return nil
}

// follows reports whether s may take the place of old.
func (s *keySet) follows(old *keySet) *FileError {
	have, got := old.header.Generation, s.header.Generation
	switch {
	case got < have:
		return fileError(RolledBack, "is generation %d, and %d is in use: an older file was put back; "+
			"restore the newer file", got, have)
	case got == have:
		return fileError(Forked, "is generation %d with other contents than the file in use: "+
			"two writers without a common lock? put back the file in use", got)
	}
	// A key leaves a keyring only by destruction, and the tombstone stays for ever. A file
	// without key and tombstone is another keyring, even with a higher generation.
	for _, k := range old.header.Keys {
		if s.header.key(k.ID) == nil && !slices.Contains(s.header.Tombstones, k.ID) {
			return fileError(LostKey, "lacks key %v of the file in use, so it is another keyring; put the right file back", k.ID)
		}
	}
	for _, id := range old.header.Tombstones {
		if !slices.Contains(s.header.Tombstones, id) {
			return fileError(LostKey, "does not know that key %v was destroyed, so it is another keyring; "+
				"put the right file back", id)
		}
	}
	if s.header.Kind.isSigned() {
		return nil
	}
	// The old primary may have been disabled or destroyed since.
	k := s.header.key(old.header.primary().ID)
	if k == nil || !k.opens() {
		return nil
	}
	if err := s.opens(old); err != nil {
		return fileError(LostKey, "does not open a ciphertext of key %v, which is %s in it: %w", k.ID, k.State, err)
	}
	return nil
}
