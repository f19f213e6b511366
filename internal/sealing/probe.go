package sealing

import (
	"bytes"
	"errors"
	"reflect"

	"github.com/tink-crypto/tink-go/v2/tink"
)

// A probe is a short text that the constructors of issuers, verifiers, sessions and channel
// codes seal and open, to try the keys that they were given.
const (
	probes = 3 // ciphertexts that must name the same key
	rounds = 4 // keys may be rotated between two probes
)

var (
	probeData = []byte("admitone/probe/1")
	otherData = []byte("admitone/probe/2")
)

// ShareKey reports whether one of two keysets opens what the primary key of the other seals.
// It cannot see a key that is the primary of neither.
func ShareKey(a, b tink.AEAD) bool {
	return opensPrimary(a, b) || opensPrimary(b, a)
}

func opensPrimary(keys, of tink.AEAD) bool {
	sealed, err := of.Encrypt([]byte("probe"), probeData)
	if err == nil {
		_, err = keys.Decrypt(sealed, probeData)
	}
	return err == nil
}

// IsProbe reports whether associated data belong to a probe. A Ring does not count probes
// as uses of its keys.
func IsProbe(associatedData []byte) bool { return bytes.Equal(associatedData, probeData) }

// Faults of keys, as the Cause of a token.ConfigError.
var (
	errNotOpened  = errors.New("the keys do not open what they seal")
	errNoContext  = errors.New("the keys do not authenticate associated data")
	errManyKeyIDs = errors.New("each ciphertext names another key")
)

// Try seals and opens probes. It returns the ID of the primary key, or an error if the keys
// do not seal, do not open what they seal, do not authenticate associated data, or have a
// primary key without the TINK output prefix.
//
// A RAW key begins a ciphertext with random bytes, and passes with a chance below 2^-85:
// the first bytes of three ciphertexts would have to be 0x01, and the next four bytes the
// same.
func Try(keys tink.AEAD) (key uint32, err error) {
	return try(keys.Encrypt, keys.Decrypt)
}

// TryDeterministic is Try for the keys of channel codes.
func TryDeterministic(keys tink.DeterministicAEAD) error {
	_, err := try(keys.EncryptDeterministically, keys.DecryptDeterministically)
	return err
}

func try(seal, open func(text, associatedData []byte) ([]byte, error)) (key uint32, err error) {
	for range rounds {
		if key, err = tryOnce(seal, open); !errors.Is(err, errManyKeyIDs) {
			break
		}
	}
	return key, err
}

func tryOnce(seal, open func(text, associatedData []byte) ([]byte, error)) (key uint32, err error) {
	for i := range probes {
		text := []byte{'p', 'r', 'o', 'b', 'e', byte('0' + i)} // differs, since some keys are deterministic
		sealed, err := seal(bytes.Clone(text), probeData)
		if err != nil {
			return 0, err
		}
		id, ok := KeyID(sealed)
		if !ok {
			return 0, ErrNoPrefix
		}
		if i > 0 && id != key {
			return 0, errManyKeyIDs
		}
		key = id
		plain, err := open(sealed, probeData)
		if err != nil || !bytes.Equal(plain, text) {
			return 0, errors.Join(errNotOpened, err)
		}
		if _, err := open(sealed, otherData); err == nil {
			return 0, errNoContext
		}
	}
	return key, nil
}

// IsNil reports whether x is nil, or an interface that holds a nil pointer: such keys fail at their first
// use.
func IsNil(x any) bool {
	v := reflect.ValueOf(x)
	return !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil()
}
