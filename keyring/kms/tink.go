package kms

import (
	"fmt"

	"github.com/admitone/admitone/keyring"
)

// Tink returns kek in the way in which Tinkey, and Tink in other languages, use it for
// keysets: AWS KMS, Google Cloud KMS and Vault's transit engine encrypt the keyset itself,
// without a data key. Tink is for keyring.Export, Import and CreateFrom; keyring files use
// the KEK of Open. Tink returns a KEK of any other sort unchanged.
func Tink(kek keyring.KEK) keyring.KEK {
	k, ok := kek.(*remoteKEK)
	if !ok || k.direct == 0 {
		return kek
	}
	return &directKEK{k}
}

// directKEK encrypts with a service's key, without a data key.
type directKEK struct{ remote *remoteKEK }

// Hint implements keyring.KEK.
func (k *directKEK) Hint() string { return k.remote.Hint() }

// Encrypt lets the service encrypt the plaintext, up to the service's size limit.
func (k *directKEK) Encrypt(plaintext, associatedData []byte) ([]byte, error) {
	if len(plaintext) > k.remote.direct {
		return nil, fmt.Errorf("%s encrypts at most %d bytes, and the keyset has %d; "+
			"destroy disabled keys, or give another key-encryption key", k.remote.name, k.remote.direct, len(plaintext))
	}
	return k.remote.call(k.remote.wrap, plaintext, associatedData)
}

// Decrypt opens a ciphertext of Encrypt.
func (k *directKEK) Decrypt(ciphertext, associatedData []byte) ([]byte, error) {
	return k.remote.call(k.remote.unwrap, ciphertext, associatedData)
}
