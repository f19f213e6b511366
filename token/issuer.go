package token

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"time"

	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/admitone/admitone/internal/base64url"
	"github.com/admitone/admitone/internal/sealing"
	"github.com/admitone/admitone/token/internal/armor"
)

// Config says how an Issuer works. Either Sealer or Signed is mandatory.
type Config struct {
	// Sealer seals the tickets: a keyring.Ring of kind ticket, a Keyset, or another
	// tink.AEAD whose keys have the TINK prefix. NewIssuer tries the Sealer, and refuses a
	// primary key without the prefix. If the Sealer has the method
	// Lifetime() time.Duration, as a keyring.Ring has, it is the longest lifetime of
	// anything that the keys seal, and MaxLifetime must not exceed it; 0 sets no bound.
	// If the Sealer has the method AppendEncrypt of a Keyset, Issue seals with this method.
	Sealer tink.AEAD

	// Signed makes tickets of format 2: a signed.Sealer. The lifetime of Signed bounds
	// MaxLifetime as the Sealer's does. Sealer must be nil then.
	Signed Envelope

	Realm       string           // the deployment's name, the same for issuer and verifier; see CheckRealm
	MaxLifetime time.Duration    // the longest lifetime of a ticket; 0 means the constant MaxLifetime
	Now         func() time.Time // the clock; nil means time.Now
}

// Envelope seals payloads in another format than 1. A signed.Sealer is the Envelope of
// format 2; there are no others.
type Envelope interface {
	// Seal seals the payload of t, and appends the sealed bytes to dst, which must not overlap
	// the payload. Seal sets t.KeyID, t.Issuer and t.SigningKey.
	Seal(dst []byte, realm string, payload []byte, t *Ticket) ([]byte, error)
}

// Issuer makes tickets. An Issuer is safe for concurrent use.
type Issuer struct {
	sealer sealing.Sealer
	signed Envelope // instead of sealer, or nil
	realm  string
	ad     []byte
	max    time.Duration
	now    func() time.Time
}

// NewIssuer returns an Issuer. The error is a *ConfigError.
func NewIssuer(c Config) (*Issuer, error) {
	if c.Signed == nil {
		if err := CheckKeys("token.Config.Sealer", c.Sealer); err != nil {
			return nil, err
		}
	} else if sealing.IsNil(c.Signed) {
		return nil, &ConfigError{Field: "token.Config.Signed", Reason: "is nil; give the answer of signed.NewSealer"}
	} else if c.Sealer != nil {
		return nil, &ConfigError{Field: "token.Config.Sealer", Reason: "stands beside Signed; choose one of the two"}
	}
	if err := CheckRealm("token.Config.Realm", c.Realm); err != nil {
		return nil, err
	}
	ad, err := AssociatedData(c.Realm)
	if err != nil {
		return nil, err
	}
	i := &Issuer{
		sealer: sealing.NewSealer(c.Sealer), signed: c.Signed, realm: c.Realm, ad: ad, max: c.MaxLifetime, now: c.Now,
	}
	if i.max == 0 {
		i.max = MaxLifetime
	}
	if i.now == nil {
		i.now = time.Now
	}
	const field = "token.Config.MaxLifetime"
	if i.max < time.Millisecond || i.max > maxLifetime*time.Millisecond {
		return nil, &ConfigError{Field: field, Reason: fmt.Sprintf(
			"is %v; it must be from 1ms to %v", i.max, maxLifetime*time.Millisecond)}
	}
	for _, keys := range []any{c.Sealer, c.Signed} {
		if fault := sealing.LifetimeFault(keys, i.max); fault != "" {
			return nil, &ConfigError{Field: field, Reason: fault}
		}
	}
	return i, nil
}

// Issue seals t and returns the ticket: at most 2,048 characters of A-Z a-z 0-9 '-' '_',
// which need no escaping in a URL. The last character is a letter or a digit.
//
// Issue sets t.ID to 16 new random bytes, t.IssuedAt to the time of the clock, and the fields
// that name keys.
// If t.Lifetime is 0, Issue sets t.Lifetime to AgentLifetime, CustomerLifetime or
// AdministratorLifetime, or to the Issuer's maximum if the maximum is less.
//
// The error is a *FieldError if a field of t is at fault; nothing was sealed then.
func (i *Issuer) Issue(t *Ticket) (string, error) {
	if err := t.Validate(); err != nil {
		return "", err
	}
	longest, ordinary := i.max, AgentLifetime
	switch t.Audience {
	case Customer:
		ordinary = CustomerLifetime
	case Administrator:
		ordinary = AdministratorLifetime
		longest = min(longest, AdministratorLifetime)
	}
	if t.Lifetime == 0 {
		t.Lifetime = min(longest, ordinary)
	}
	if t.Lifetime < time.Millisecond || t.Lifetime > longest || t.Lifetime%time.Millisecond != 0 {
		return "", &FieldError{"expiresIn", fmt.Sprintf("is not a whole number of milliseconds from 1ms to %v", longest)}
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
	if len(payload) > armor.MaxSealed {
		return "", errTooLong
	}
	for again := 0; ; again++ {
		sealed, err := i.seal(s.sealed[:0], payload, t)
		if err != nil {
			return "", fmt.Errorf("sealing a ticket: %w", err)
		}
		if len(sealed) > armor.MaxSealed {
			return "", errTooLong
		}
		if again < mostAgain && armor.EndsInMark(sealed) {
			t.ID = s.ids.next()
			copy(payload[idOffset:], t.ID[:])
			continue
		}
		if i.signed != nil {
			return base64url.Encode(prefix2, sealed), nil
		}
		return base64url.Encode(prefix, sealed), nil
	}
}

// seal seals the payload of t in the Issuer's format, and sets the fields of t that name keys.
// The sealed bytes may be in buffer, which is empty and must not overlap the payload.
func (i *Issuer) seal(buffer, payload []byte, t *Ticket) ([]byte, error) {
	if i.signed != nil {
		return i.signed.Seal(buffer, i.realm, payload, t)
	}
	sealed, key, err := sealing.Seal(i.sealer, buffer, payload, i.ad)
	t.KeyID, t.Issuer, t.SigningKey = KeyID(key), "", 0
	return sealed, err
}

// mostAgain is how often Issue seals a ticket again, under a new ID, if the ticket ends in
// '-' or '_'. Programs that find links in text leave such an ending out of the link.
const mostAgain = 16

var errTooLong = &FieldError{"ticket",
	"would be longer than 2048 characters; shorten or leave out claims, remark and other fields"}

// idSource makes the IDs of tickets. An ID must not come twice, since a verifier refuses
// the second of two one-time tickets with the same ID; an ID need not be secret. A ChaCha8
// generator, which crypto/rand seeds anew every 64 IDs, spares issuing a second system
// call for randomness beside the one for the AEAD's IV.
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
