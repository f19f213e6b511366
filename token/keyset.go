package token

import (
	"fmt"
	"slices"

	"github.com/tink-crypto/tink-go/v2/keyset"
	tinkpb "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/admitone/admitone/internal/sealing"
)

// Keyset is a tink.AEAD over a Tink AEAD keyset, for programs that keep their keys without
// the keyring package. A Keyset knows the IDs of its keys, unlike the tink.AEAD of
// aead.New: Open can tell a ticket under an unknown key from a forgery.
type Keyset struct {
	aead    *sealing.AEAD
	enabled []KeyID
}

// NewKeyset returns the Keyset of a handle. All keys must be AEAD keys with the TINK
// output prefix, by which tickets name their key, and no two keys may share an ID. The
// error is a *ConfigError.
func NewKeyset(handle *keyset.Handle) (*Keyset, error) {
	const field = "token.NewKeyset.handle"
	if handle == nil {
		return nil, &ConfigError{Field: field, Reason: "is nil; give a keyset of AEAD keys"}
	}
	k := new(Keyset)
	for _, info := range handle.KeysetInfo().GetKeyInfo() {
		id, prefix := KeyID(info.GetKeyId()), info.GetOutputPrefixType()
		if prefix != tinkpb.OutputPrefixType_TINK {
			return nil, &ConfigError{Field: field, Reason: fmt.Sprintf(
				"has key %v with output prefix %v; make the keyset's keys with the TINK prefix", id, prefix)}
		}
		if info.GetStatus() == tinkpb.KeyStatusType_ENABLED {
			k.enabled = append(k.enabled, id)
		}
	}
	var err error
	if k.aead, err = sealing.NewAEAD(handle); err != nil {
		return nil, &ConfigError{Field: field, Reason: "is not a keyset of AEAD keys", Cause: err}
	}
	return k, nil
}

// Encrypt seals under the primary key.
func (k *Keyset) Encrypt(plaintext, associatedData []byte) ([]byte, error) {
	return k.aead.Encrypt(plaintext, associatedData)
}

// Decrypt opens a ciphertext of Encrypt under the key that the ciphertext names.
func (k *Keyset) Decrypt(ciphertext, associatedData []byte) ([]byte, error) {
	return k.aead.Decrypt(ciphertext, associatedData)
}

// AppendEncrypt is Encrypt, and appends the ciphertext to dst, which must not overlap the
// plaintext.
func (k *Keyset) AppendEncrypt(dst, plaintext, associatedData []byte) ([]byte, error) {
	return k.aead.AppendEncrypt(dst, plaintext, associatedData)
}

// KeyIDs returns the IDs of the enabled keys.
func (k *Keyset) KeyIDs() []KeyID { return slices.Clone(k.enabled) }

// HasKey reports whether the keyset has an enabled key with this ID.
func (k *Keyset) HasKey(id KeyID) bool {
	return slices.Contains(k.enabled, id)
}

// CheckKeys tries keys for tickets or sessions. They must seal, open what they seal, and
// authenticate associated data, and the primary key must have the TINK output prefix. The
// error is a *ConfigError for field, the Go field that holds the keys, such as
// "verify.Config.Opener".
//
// CheckKeys cannot see keys other than the primary key. NewKeyset looks at every key.
func CheckKeys(field string, keys tink.AEAD) error {
	if sealing.IsNil(keys) {
		return &ConfigError{Field: field, Reason: "is nil; give a keyring.Ring, a token.Keyset or another tink.AEAD"}
	}
	_, err := sealing.Try(keys)
	return keysFault(field, err)
}

// keysFault returns the *ConfigError for an error of package sealing about keys.
func keysFault(field string, err error) error {
	if err == nil {
		return nil
	}
	return &ConfigError{Field: field, Reason: "cannot seal and open", Cause: err}
}
