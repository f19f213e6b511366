package kms

import (
	"fmt"

	"github.com/admitone/admitone/keyring"
)

// Tink returns kek as Tinkey and Tink in other languages use the key of a service for
// keysets: AWS KMS, Google Cloud KMS and Vault's transit engine encrypt the keyset
// itself, without a data key of ours. It is for keyring.Export, Import and CreateFrom;
// keyring files keep to Open's. Any other KEK is returned as it is.
func Tink(kek keyring.KEK) keyring.KEK {
	k, ok := kek.(*remoteKEK)
	if !ok || k.direct == 0 {
		return kek
	}
	return &directKEK{k}
}

// directKEK is a service's key without a data key.
type directKEK struct{ remote *remoteKEK }

// Hint is that of keyring.KEK.
func (k *directKEK) Hint() string { return k.remote.Hint() }

// Encrypt has the service encrypt the plaintext, up to its limit.
func (k *directKEK) Encrypt(plaintext, associatedData []byte) ([]byte, error) {
	if len(plaintext) > k.remote.direct {
		return nil, fmt.Errorf("kms: %s encrypts at most %d bytes, and the keyset has %d; destroy keys that are disabled, or take another KEK", k.remote.name, k.remote.direct, len(plaintext))
	}
	return k.remote.call(k.remote.wrap, plaintext, associatedData)
}

// Decrypt opens what Encrypt made.
func (k *directKEK) Decrypt(ciphertext, associatedData []byte) ([]byte, error) {
	return k.remote.call(k.remote.unwrap, ciphertext, associatedData)
}
