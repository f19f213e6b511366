// Package sealing holds the rules that tickets, sessions, channel codes and keyring
// files share about sealed bytes:
//
//	sealed = 0x01 key ID (4 bytes, big-endian) ciphertext     Tink's TINK output prefix
//	AD     = purpose 0x00 realm *( 0x00 context )             the associated data
//
// The package knows no format. The plaintexts, and the text form of a key ID, belong to
// packages token, keyring and web.
package sealing

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
	"unsafe"

	"github.com/tink-crypto/tink-go/v2/tink"
)

// PrefixSize is the length of the TINK output prefix: the byte 0x01 and the key ID.
const PrefixSize = 5

// AssociatedData returns the associated data for sealing in a realm for a purpose, for
// example "admitone/ticket/1". A purpose with more context, for example a brand, gives
// every part of the context.
func AssociatedData(purpose, realm string, context ...string) []byte {
	ad := append([]byte(purpose), 0)
	ad = append(ad, realm...)
	for _, part := range context {
		ad = append(ad, 0)
		ad = append(ad, part...)
	}
	return ad
}

// KeyID returns the key ID in sealed bytes, or false if the bytes do not begin with a
// TINK output prefix.
func KeyID(sealed []byte) (id uint32, ok bool) {
	if len(sealed) < PrefixSize || sealed[0] != 1 {
		return 0, false
	}
	return binary.BigEndian.Uint32(sealed[1:]), true
}

// ErrNoPrefix is the error of Seal for a key without the TINK output prefix. Such a
// key's output begins with a random byte, and names no key.
var ErrNoPrefix = errors.New("the primary key has no TINK output prefix; rotate to a key that has")

// Sealer encrypts and appends the ciphertext to dst, which must not overlap the plaintext.
type Sealer interface {
	AppendEncrypt(dst, plaintext, associatedData []byte) ([]byte, error)
}

// NewSealer returns the Sealer of keys: the keys themselves, if they have the method, or a
// Sealer that copies their ciphertexts.
func NewSealer(keys tink.AEAD) Sealer {
	if s, ok := keys.(Sealer); ok {
		return s
	}
	return copying{keys}
}

type copying struct{ keys tink.AEAD }

func (c copying) AppendEncrypt(dst, plaintext, associatedData []byte) ([]byte, error) {
	sealed, err := c.keys.Encrypt(plaintext, associatedData)
	if err != nil {
		return nil, err
	}
	return append(dst, sealed...), nil
}

// Seal encrypts, and returns the ID of the key used. The sealed bytes may be in buffer, which is
// empty and must not overlap the plaintext.
func Seal(keys Sealer, buffer, plaintext, associatedData []byte) (sealed []byte, key uint32, err error) {
	sealed, err = keys.AppendEncrypt(buffer[:0], plaintext, associatedData)
	if err != nil {
		return nil, 0, err
	}
	key, ok := KeyID(sealed)
	if !ok {
		return nil, 0, ErrNoPrefix
	}
	return sealed, key, nil
}

// Errors of Open.
var (
	ErrUnknownKey = errors.New("sealed with an unknown key")
	ErrForged     = errors.New("does not open under its key")
)

// Open decrypts. If decrypting fails, and keys have the method HasKey, Open asks for
// the key and tries a second time: when asked for a missing key, a keyring.Ring looks at
// its file, since another process may have rotated the keyring a moment ago.
//
// ID is token.KeyID, which this package cannot import. The error is ErrUnknownKey or
// ErrForged; keys without the method HasKey never cause ErrUnknownKey.
func Open[ID ~uint32](keys tink.AEAD, sealed, associatedData []byte) (string, error) {
	plain, err := keys.Decrypt(sealed, associatedData)
	if err == nil {
		return text(plain), nil
	}
	id, ok := KeyID(sealed)
	if !ok {
		return "", ErrForged
	}
	asked, ok := keys.(interface{ HasKey(ID) bool })
	if !ok {
		return "", ErrForged
	}
	if !asked.HasKey(ID(id)) {
		return "", ErrUnknownKey
	}
	if plain, err = keys.Decrypt(sealed, associatedData); err != nil {
		return "", ErrForged
	}
	return text(plain), nil
}

// text returns the bytes of an answer of Decrypt as a string, without a copy. The answer belongs
// to the caller: a tink.AEAD is used by many goroutines at once, and no caller tells it when an
// answer is no longer needed. So no tink.AEAD can write to an answer again.
func text(plain []byte) string { return unsafe.String(unsafe.SliceData(plain), len(plain)) }

// LifetimeFault says why keys cannot seal things with a lifetime, as the Reason of a
// token.ConfigError for the field that sets the lifetime, or returns "". Keys without a
// method Lifetime, and keys whose Lifetime is 0, take every lifetime.
func LifetimeFault(keys any, lifetime time.Duration) string {
	k, ok := keys.(interface{ Lifetime() time.Duration })
	if !ok {
		return ""
	}
	most := k.Lifetime()
	if most == 0 || lifetime <= most {
		return ""
	}
	return fmt.Sprintf("is %v, and the keyring keeps its keys for %v; "+
		"shorten it, or give the keyring's policy a longer lifetime", lifetime, most)
}
