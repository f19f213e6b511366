package keyring

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/admitone/admitone/internal/textrule"
	"github.com/admitone/admitone/token"
)

// KEK is a key-encryption key: it wraps the keyset in a file. See package kms
// for those there are. A KEK must authenticate the associated data. Its errors
// wrap ErrKEKUnavailable where they say nothing about the ciphertext.
type KEK interface {
	Encrypt(plaintext, associatedData []byte) ([]byte, error)
	Decrypt(ciphertext, associatedData []byte) ([]byte, error)

	// Hint stands in the header, so that a file under another KEK is told from a
	// damaged one: "file", "passphrase". It has no secret and no path in it.
	Hint() string
}

// ErrKEKUnavailable is wrapped by the error of a KEK that could not do its work:
// its service is out of reach, refuses this caller, or has the key disabled.
// Whether the ciphertext is good is not known then.
var ErrKEKUnavailable = errors.New("the key-encryption key cannot be used now")

// InsecureCleartext is the KEK that encrypts nothing: whoever can read the file
// has the keys, and whoever can write it chooses them. It is for tests and trials.
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

// checkWrapping makes sure that k authenticates the associated data. A KEK that
// ignores them would leave the header unprotected, and let a keyring be moved
// to another realm.
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
			return errors.New("the KEK does not authenticate associated data; nothing was written; take another KEK")
		}
		// A service may refuse a caller who gives no associated data at all.
		if wrong != nil && errors.Is(err, ErrKEKUnavailable) {
			return fmt.Errorf("nothing was written, since the KEK could not be tested: %w", err)
		}
	}
	return nil
}
