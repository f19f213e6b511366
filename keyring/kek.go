package keyring

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/admitone/admitone/internal/textrule"
	"github.com/admitone/admitone/token"
)

// KEK is a key-encryption key, which wraps the keyset of a file. Package kms has the
// implementations. A KEK must authenticate the associated data. Errors wrap
// ErrKEKUnavailable if they say nothing about the ciphertext.
type KEK interface {
	Encrypt(plaintext, associatedData []byte) ([]byte, error)
	Decrypt(ciphertext, associatedData []byte) ([]byte, error)

	// Hint returns the type of the KEK, such as "file" or "passphrase", without secrets
	// and paths. The header holds the hint, so that a file under another type of KEK can
	// be told from a damaged file.
	Hint() string
}

// ErrKEKUnavailable is wrapped by the error of a KEK that cannot be used: the KEK's service
// is out of reach, refuses this caller, or has disabled the key. The ciphertext may be good
// or not.
var ErrKEKUnavailable = errors.New("the key-encryption key cannot be used now")

// InsecureCleartext is a KEK for tests and trials that encrypts nothing. Everybody who can
// read the file has the keys, and everybody who can write the file chooses the keys.
var InsecureCleartext KEK = insecureCleartext{}

const cleartextHint = "cleartext"

type insecureCleartext struct{}

func (insecureCleartext) Encrypt(plaintext, _ []byte) ([]byte, error) {
	return bytes.Clone(plaintext), nil
}

func (insecureCleartext) Decrypt(ciphertext, _ []byte) ([]byte, error) {
	return bytes.Clone(ciphertext), nil
}

func (insecureCleartext) Hint() string { return cleartextHint }

// checkKEK refuses a KEK that no file should name. Field is the place of the KEK in a
// *token.ConfigError.
func checkKEK(field string, k KEK) error {
	if k == nil {
		return &token.ConfigError{Field: field, Reason: "is nil; open a KEK with package kms"}
	}
	hint := k.Hint()
	if fault := textrule.Fault(hint, maxKEKHint); fault != "" {
		return &token.ConfigError{Field: field, Reason: "has a hint that " + fault}
	}
	if hint == "" || (hint == cleartextHint) != (k == InsecureCleartext) {
		return &token.ConfigError{Field: field, Reason: fmt.Sprintf("has the hint %q, which is empty or another KEK's", hint)}
	}
	return nil
}

// checkWrapping makes sure that k authenticates the associated data. Otherwise the header
// would be unprotected, and a keyring could be moved to another realm.
func checkWrapping(k KEK, wrapped, ad []byte) error {
	if k == InsecureCleartext {
		return nil
	}
	other := bytes.Clone(ad)
	other[len(other)-1] ^= 1
	for _, wrong := range [][]byte{other, nil} {
		plain, err := k.Decrypt(wrapped, wrong)
		if err == nil {
			clear(plain)
			return errors.New("nothing was written, since the KEK does not authenticate associated data; take another KEK")
		}
		// A service may refuse a call without associated data.
		if wrong != nil && errors.Is(err, ErrKEKUnavailable) {
			return fmt.Errorf("nothing was written, since the KEK could not be tested: %w", err)
		}
	}
	return nil
}
