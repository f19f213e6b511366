package kms

import (
	"bytes"
	"crypto/cipher"
	"crypto/rand"
	"fmt"

	"github.com/admitone/admitone/internal/durable"
	"github.com/admitone/admitone/internal/sealing"
	"github.com/admitone/admitone/keyring"
)

const keySize = 32

// fileKEK is AES-256-GCM (nonce of 12 random bytes, ciphertext, tag of 16, as Tink's
// subtle.AESGCM) under the bytes of a key file.
type fileKEK struct{ gcm cipher.AEAD }

// Encrypt implements keyring.KEK.
func (k fileKEK) Encrypt(plaintext, associatedData []byte) ([]byte, error) {
	return k.gcm.Seal(nil, nil, plaintext, associatedData), nil
}

// Decrypt implements keyring.KEK.
func (k fileKEK) Decrypt(ciphertext, associatedData []byte) ([]byte, error) {
	return k.gcm.Open(nil, nil, ciphertext, associatedData)
}

// Hint implements keyring.KEK.
func (fileKEK) Hint() string { return "file" }

// String keeps the key out of logs.
func (fileKEK) String() string { return "file KEK" }

func openKeyFile(path string) (keyring.KEK, error) {
	key, err := readSecret(path, "the key-encryption key", "keyring init makes one for a new keyring")
	if err != nil {
		return nil, err
	}
	defer clear(key)
	if len(key) != keySize {
		return nil, fmt.Errorf("%s has %d bytes; a key file has exactly %d random bytes, not text: "+
			"make one with head -c 32 /dev/urandom", path, len(key), keySize)
	}
	if bytes.Count(key, key[:1]) == keySize {
		return nil, fmt.Errorf("%s is the same byte %d times, not a random key", path, keySize)
	}
	a, err := sealing.NewGCM(key)
	if err != nil {
		return nil, err
	}
	return fileKEK{a}, nil
}

// CreateKeyFile makes a key file of 32 random bytes, mode 0600, at path. CreateKeyFile
// never overwrites a file: if path exists, the error wraps fs.ErrExist.
func CreateKeyFile(path string) error {
	key := make([]byte, keySize)
	rand.Read(key) // never fails: crypto/rand ends the program instead
	defer clear(key)
	return durable.Create(path, key, 0o600)
}
