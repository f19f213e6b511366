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
)

// Sealer encrypts with associated data. Any tink.AEAD whose keys carry the TINK
// prefix is one.
type Sealer interface {
	Encrypt(plaintext, associatedData []byte) ([]byte, error)
}

// Opener decrypts what a Sealer made. Any tink.AEAD is one. An Opener that also
// has the method HasKey(id uint32) bool, as a *Keyset or a keyring.Ring has,
// lets Open tell ErrUnknownKey from ErrForged.
type Opener interface {
	Decrypt(ciphertext, associatedData []byte) ([]byte, error)
}

type keyHolder interface{ HasKey(id uint32) bool }

// Errors of Open. They are wrapped with what is exactly wrong, for operators;
// a stranger should be told one and the same thing for all four.
var (
	ErrMalformed          = errors.New("token: malformed ticket")
	ErrUnsupportedVersion = errors.New("token: unsupported ticket version")
	ErrUnknownKey         = errors.New("token: ticket sealed with an unknown key")
	ErrForged             = errors.New("token: forged ticket, or one of another realm")
)

const (
	prefix     = "tkt1_"
	maxLength  = 2048 // of a ticket, in characters
	maxSealed  = (maxLength - len(prefix)) * 6 / 8
	tinkPrefix = 5 // the byte 0x01 and the key ID
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

// CheckRealm reports whether realm can name a deployment: at most 64 bytes of
// UTF-8 without control characters. It may be empty.
func CheckRealm(realm string) error {
	if reason := textFault(realm, 64); reason != "" {
		return &FieldError{"realm", reason}
	}
	return nil
}

// AssociatedData returns the associated data that tickets of a realm are sealed
// with: "admitone/ticket/1", a zero byte, and the realm. See CheckRealm for
// what a realm may be.
func AssociatedData(realm string) ([]byte, error) {
	if err := CheckRealm(realm); err != nil {
		return nil, err
	}
	return []byte("admitone/ticket/1\x00" + realm), nil
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
		return nil, errors.New("token: Config.Sealer is nil; give a keyring.Ring, a token.Keyset or another tink.AEAD")
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
		return nil, fmt.Errorf("token: Config.MaxLifetime is %v; it must be from 1ms to %v", i.max, maxLifetime*time.Millisecond)
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
		return "", errors.New("token: the clock is before 1970 or after 10889; set it")
	}
	t.IssuedAt = time.UnixMilli(ms).UTC()

	s := pool.Get().(*scratch)
	defer pool.Put(s)
	t.ID = s.ids.next()
	payload := t.appendPayload(s.bytes[:0])
	if len(payload) > maxSealed {
		return "", errTooLong
	}
	sealed, err := i.sealer.Encrypt(payload, i.ad)
	if err != nil {
		return "", fmt.Errorf("token: sealing a ticket: %w", err)
	}
	if len(sealed) > maxSealed {
		return "", errTooLong
	}
	// A key without the TINK prefix begins with a random byte: it would make
	// tickets that name no key.
	if len(sealed) < tinkPrefix || sealed[0] != 1 {
		return "", errors.New("token: the primary key has no TINK output prefix; rotate to one that has")
	}
	t.KeyID = binary.BigEndian.Uint32(sealed[1:])
	text := append(s.text[:0], prefix...)
	return string(encoding.AppendEncode(text, sealed)), nil
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
	sealed, err := unarmor(s, ticket)
	var payload []byte
	if err == nil {
		payload, err = decrypt(o, sealed, associatedData)
	}
	if err == nil {
		// The copy keeps t clear of memory that an Opener may use again.
		if err = t.decodePayload(string(payload)); err == nil {
			t.KeyID = binary.BigEndian.Uint32(sealed[1:])
		} else {
			*t = Ticket{}
		}
	}
	pool.Put(s)
	return err
}

// decrypt opens sealed bytes. Only where that fails does it ask which keys there
// are: the answer may make a keyring.Ring load the one that was missing.
func decrypt(o Opener, sealed, associatedData []byte) ([]byte, error) {
	payload, err := o.Decrypt(sealed, associatedData)
	if err == nil {
		return payload, nil
	}
	keyID := binary.BigEndian.Uint32(sealed[1:])
	if h, ok := o.(keyHolder); ok {
		if !h.HasKey(keyID) {
			return nil, fmt.Errorf("%w: %08x", ErrUnknownKey, keyID)
		}
		if payload, err = o.Decrypt(sealed, associatedData); err == nil {
			return payload, nil
		}
	}
	return nil, fmt.Errorf("%w: key %08x does not open it", ErrForged, keyID)
}

// KeyID returns the ID of the key that a ticket says it was sealed with. It
// needs no key, and proves nothing. The error is as Open's.
func KeyID(ticket string) (uint32, error) {
	s := pool.Get().(*scratch)
	defer pool.Put(s)
	sealed, err := unarmor(s, ticket)
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint32(sealed[1:]), nil
}

// unarmor decodes a ticket's text into s, and returns the sealed bytes.
func unarmor(s *scratch, ticket string) ([]byte, error) {
	if len(ticket) > maxLength {
		return nil, fmt.Errorf("%w: longer than %d characters", ErrMalformed, maxLength)
	}
	body, ok := strings.CutPrefix(ticket, prefix)
	if !ok {
		return nil, prefixFault(ticket)
	}
	n, err := encoding.Decode(s.bytes[:], []byte(body))
	// The decoder skips CR and LF: then there is more text than n bytes need.
	if err != nil || encoding.EncodedLen(n) != len(body) {
		return nil, fmt.Errorf("%w: not base64url without padding", ErrMalformed)
	}
	if n < tinkPrefix || s.bytes[0] != 1 {
		return nil, fmt.Errorf("%w: no key ID", ErrMalformed)
	}
	return s.bytes[:n], nil
}

// prefixFault tells a ticket of another version from what is no ticket.
func prefixFault(ticket string) error {
	version, _, ok := strings.Cut(strings.TrimPrefix(ticket, "tkt"), "_")
	if !ok || !strings.HasPrefix(ticket, "tkt") || version == "" || len(version) > 3 || strings.Trim(version, "0123456789") != "" || version[0] == '0' {
		return fmt.Errorf("%w: does not begin with %q", ErrMalformed, prefix)
	}
	return fmt.Errorf("%w: %s", ErrUnsupportedVersion, version)
}
