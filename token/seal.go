package token

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/admitone/admitone/internal/sealing"
	"github.com/admitone/admitone/internal/textrule"
)

// Sealer encrypts with associated data. Any tink.AEAD whose keys carry the TINK
// prefix is one.
type Sealer interface {
	Encrypt(plaintext, associatedData []byte) ([]byte, error)
}

// Opener decrypts what a Sealer made. Any tink.AEAD is one. An Opener that also
// has the method HasKey(id KeyID) bool, as a *Keyset or a keyring.Ring has,
// lets Open tell ErrUnknownKey from ErrForged.
type Opener interface {
	Decrypt(ciphertext, associatedData []byte) ([]byte, error)
}

// Errors of Open. They are wrapped with what is exactly wrong, for operators;
// a stranger should be told one and the same thing for all four.
var (
	ErrMalformed          = errors.New("malformed ticket")
	ErrUnsupportedVersion = errors.New("unsupported ticket version")
	ErrUnknownKey         = errors.New("ticket sealed with an unknown key")
	ErrForged             = errors.New("forged ticket, or one of another realm")
)

const (
	prefix    = "tkt1_"
	maxLength = 2048 // of a ticket, in characters
	maxSealed = (maxLength - len(prefix)) * 6 / 8
)

// Pattern is a regular expression (RE2, PCRE) that finds tickets of every
// version in text: for secret scanners and for scrubbing logs.
const Pattern = `tkt[0-9]+_[A-Za-z0-9_-]{60,}`

// encoding refuses padding and non-zero trailing bits. That it skips CR and LF
// is made good by unarmor.
var encoding = base64.RawURLEncoding.Strict()

// scratch is the working memory of one Issue or Open.
type scratch struct {
	text  [maxLength]byte
	bytes [maxLength]byte
	ids   idSource
}

// idSource makes the IDs of tickets. An ID must not come twice, since one of
// two one-time tickets with the same ID would be refused, and need not be
// secret. So that issuing does not pay for a system call's worth of randomness
// a second time, beside the AEAD's own IV, the IDs come from a ChaCha8
// generator, which crypto/rand seeds anew every 64 IDs.
type idSource struct {
	generator *mathrand.ChaCha8
	left      int
}

func (s *idSource) next() (id ID) {
	if s.left == 0 {
		var seed [32]byte
		rand.Read(seed[:]) // never fails: crypto/rand ends the program instead
		if s.generator == nil {
			s.generator = mathrand.NewChaCha8(seed)
		} else {
			s.generator.Seed(seed)
		}
		s.left = 64
	}
	s.left--
	binary.LittleEndian.PutUint64(id[:8], s.generator.Uint64())
	binary.LittleEndian.PutUint64(id[8:], s.generator.Uint64())
	return id
}

var pool = sync.Pool{New: func() any { return new(scratch) }}

// CheckRealm refuses a realm that cannot name a deployment. A realm is at most 64 bytes of
// UTF-8 without control characters, and may be empty. The error is a *ConfigError for
// field, the Go field that holds the realm, such as "verify.Config.Realm".
func CheckRealm(field, realm string) error {
	if fault := textrule.Fault(realm, maxRealm); fault != "" {
		return &ConfigError{Field: field, Reason: fault}
	}
	return nil
}

const maxRealm = 64

// AssociatedData returns the associated data that tickets of a realm are sealed with:
// "admitone/ticket/1", a zero byte, and the realm. The error is CheckRealm's.
func AssociatedData(realm string) ([]byte, error) {
	if err := CheckRealm("realm", realm); err != nil {
		return nil, err
	}
	return sealing.AssociatedData("admitone/ticket/1", realm), nil
}

// Config says how an Issuer works.
type Config struct {
	Sealer      Sealer           // seals the tickets; must not be nil
	Realm       string           // the deployment's name: issuer and verifier must have the same
	MaxLifetime time.Duration    // longest lifetime to grant; 0 means the constant MaxLifetime
	Now         func() time.Time // the clock; nil means time.Now
}

// Issuer makes tickets. It is safe for concurrent use.
type Issuer struct {
	sealer Sealer
	ad     []byte
	max    time.Duration
	now    func() time.Time
}

// NewIssuer returns an Issuer, or an error that says what in c is wrong.
func NewIssuer(c Config) (*Issuer, error) {
	if c.Sealer == nil {
		return nil, errors.New("Config.Sealer is nil; give a keyring.Ring, a token.Keyset or another tink.AEAD")
	}
	ad, err := AssociatedData(c.Realm)
	if err != nil {
		return nil, err
	}
	i := &Issuer{sealer: c.Sealer, ad: ad, max: c.MaxLifetime, now: c.Now}
	if i.max == 0 {
		i.max = MaxLifetime
	}
	if i.max < time.Millisecond || i.max > maxLifetime*time.Millisecond {
		return nil, fmt.Errorf("Config.MaxLifetime is %v; it must be from 1ms to %v", i.max, maxLifetime*time.Millisecond)
	}
	if i.now == nil {
		i.now = time.Now
	}
	return i, nil
}

// Issue seals t and returns the ticket: at most 2,048 characters of
// A-Z a-z 0-9 '-' '_', which stand in a URL as they are. It sets t.ID to 16
// fresh random bytes, t.IssuedAt to now and t.KeyID, whatever they were, and
// t.Lifetime, where it is 0, to AgentLifetime or CustomerLifetime (or the
// Issuer's maximum, where that is less). What the ticket says otherwise is as in t.
//
// The error is a *FieldError where t is at fault, and then nothing was sealed.
func (i *Issuer) Issue(t *Ticket) (string, error) {
	if err := t.Validate(); err != nil {
		return "", err
	}
	if t.Lifetime == 0 {
		t.Lifetime = min(i.max, AgentLifetime)
		if t.Audience == Customer {
			t.Lifetime = min(i.max, CustomerLifetime)
		}
	}
	if t.Lifetime < time.Millisecond || t.Lifetime > i.max || t.Lifetime%time.Millisecond != 0 {
		return "", &FieldError{"expiresIn", fmt.Sprintf("is not a whole number of milliseconds from 1ms to %v", i.max)}
	}
	ms := i.now().UnixMilli()
	if ms < 0 || ms > maxIssuedAt {
		return "", errors.New("the clock is before 1970 or after 10889; set it")
	}
	t.IssuedAt = time.UnixMilli(ms).UTC()

	s := pool.Get().(*scratch)
	defer pool.Put(s)
	t.ID = s.ids.next()
	payload := t.appendPayload(s.bytes[:0])
	if len(payload) > maxSealed {
		return "", errTooLong
	}
	sealed, key, err := sealing.Seal(i.sealer, payload, i.ad)
	if err != nil {
		return "", fmt.Errorf("sealing a ticket: %w", err)
	}
	if len(sealed) > maxSealed {
		return "", errTooLong
	}
	t.KeyID = KeyID(key)
	return string(encoding.AppendEncode(append(s.text[:0], prefix...), sealed)), nil
}

var errTooLong = &FieldError{"ticket", "would be longer than 2048 characters; shorten or leave out claims, remark and other fields"}

// Open fills t with what a ticket says, if it was sealed under o and the associated
// data (see AssociatedData) and is exactly the string that Issue returned. It
// looks neither at the clock nor at anything else that decides whether the
// ticket is good: that is the verify package's work.
//
// The error wraps ErrMalformed, ErrUnsupportedVersion, ErrUnknownKey or
// ErrForged, and leaves t zero.
func Open(o Opener, associatedData []byte, ticket string, t *Ticket) error {
	*t = Ticket{}
	s := pool.Get().(*scratch)
	sealed, key, err := unarmor(s, ticket)
	var payload []byte
	if err == nil {
		payload, err = decrypt(o, key, sealed, associatedData)
	}
	if err == nil {
		// The copy keeps t clear of memory that an Opener may use again.
		if err = t.decodePayload(string(payload)); err == nil {
			t.KeyID = key
		} else {
			*t = Ticket{}
		}
	}
	pool.Put(s)
	return err
}

// decrypt opens sealed bytes that name a key.
func decrypt(o Opener, key KeyID, sealed, associatedData []byte) ([]byte, error) {
	payload, err := sealing.Open[KeyID](o, sealed, associatedData)
	switch {
	case err == nil:
		return payload, nil
	case err == sealing.ErrUnknownKey:
		return nil, fmt.Errorf("%w: %v", ErrUnknownKey, key)
	}
	return nil, fmt.Errorf("%w: key %v does not open it", ErrForged, key)
}

// UnverifiedKeyID returns the ID of the key that a ticket names. It needs no key, and
// proves nothing: anybody can write any ID. The error is as Open's.
func UnverifiedKeyID(ticket string) (KeyID, error) {
	s := pool.Get().(*scratch)
	defer pool.Put(s)
	_, key, err := unarmor(s, ticket)
	return key, err
}

// unarmor decodes a ticket's text into s, and returns the sealed bytes with the ID of
// the key that they name.
func unarmor(s *scratch, ticket string) ([]byte, KeyID, error) {
	if len(ticket) > maxLength {
		return nil, 0, fmt.Errorf("%w: longer than %d characters", ErrMalformed, maxLength)
	}
	body, ok := strings.CutPrefix(ticket, prefix)
	if !ok {
		return nil, 0, prefixFault(ticket)
	}
	n, err := encoding.Decode(s.bytes[:], []byte(body))
	// The decoder skips CR and LF: then there is more text than n bytes need.
	if err != nil || encoding.EncodedLen(n) != len(body) {
		return nil, 0, fmt.Errorf("%w: not base64url without padding", ErrMalformed)
	}
	sealed := s.bytes[:n]
	key, ok := sealing.KeyID(sealed)
	if !ok {
		return nil, 0, fmt.Errorf("%w: no key ID", ErrMalformed)
	}
	return sealed, KeyID(key), nil
}

// prefixFault tells a ticket of another version from what is no ticket.
func prefixFault(ticket string) error {
	version, _, ok := strings.Cut(strings.TrimPrefix(ticket, "tkt"), "_")
	if !ok || !strings.HasPrefix(ticket, "tkt") || version == "" || len(version) > 3 || strings.Trim(version, "0123456789") != "" || version[0] == '0' {
		return fmt.Errorf("%w: does not begin with %q", ErrMalformed, prefix)
	}
	return fmt.Errorf("%w: %s", ErrUnsupportedVersion, version)
}
