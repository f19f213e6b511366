package keyring

import (
	"crypto/ed25519"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/token/signed"
)

// Identity is the public key of an organisation's identity, which signs bundles and trust lists.
// As a KEK, an Identity opens signed files, and writes none.
type Identity [ed25519.PublicKeySize]byte

// signedHint is the hint of the KEKs that sign. They do not encrypt.
const signedHint = "signed"

// ParseIdentity reads a fingerprint: the public key of an identity in hexadecimal, 64 digits. A key
// under which strangers could sign is refused.
func ParseIdentity(fingerprint string) (Identity, error) {
	var id Identity
	b, err := hex.DecodeString(fingerprint)
	if err != nil || len(b) != len(id) || hex.EncodeToString(b) != fingerprint {
		return id, fmt.Errorf("a fingerprint has %d digits from 0 to 9 and a to f; give the line that "+
			"keyring identity prints", 2*len(id))
	}
	id = Identity(b)
	return id, id.check()
}

// check refuses a public key that is none, or under which strangers could sign.
func (id Identity) check() error {
	handle, err := PublicKey{ID: 1, Algorithm: "ED25519", Public: id[:]}.handle(Issuer)
	if err == nil {
		_, err = signed.NewVerifyingKeys("identity", handle)
	}
	if bad, ok := errors.AsType[*token.ConfigError](err); ok && bad.Cause != nil {
		err = bad.Cause // without the made-up ID
	}
	if err != nil {
		return fmt.Errorf("%v is no identity: %w; let its owner make another with keyring identity --new", id, err)
	}
	return nil
}

// String returns the fingerprint.
func (id Identity) String() string { return hex.EncodeToString(id[:]) }

// Hint implements KEK.
func (Identity) Hint() string { return signedHint }

// Encrypt implements KEK, and returns an error.
func (Identity) Encrypt([]byte, []byte) ([]byte, error) {
	return nil, errors.New("the public key of an identity signs nothing; " +
		"give the identity's private key, as signed:PATH, on the machine that has it")
}

// Decrypt implements KEK: it verifies the signature at the end, and returns the rest.
func (id Identity) Decrypt(signed, associatedData []byte) ([]byte, error) {
	n := len(signed) - ed25519.SignatureSize
	if n < 0 || !ed25519.Verify(id[:], signedData(signed[:n], associatedData), signed[n:]) {
		return nil, fmt.Errorf("the signature is not of the identity %v", id)
	}
	return slices.Clone(signed[:n]), nil
}

// signedData is what an identity signs. No ticket begins so.
func signedData(plaintext, associatedData []byte) []byte {
	b := append([]byte("admitone/signed/1"), 0)
	b = binary.BigEndian.AppendUint64(b, uint64(len(associatedData)))
	return append(append(b, associatedData...), plaintext...)
}

// identityKey is the private key of an identity as a KEK.
type identityKey struct {
	Identity
	private ed25519.PrivateKey
}

// NewIdentity returns the KEK of an identity's private key. Encrypt returns the plaintext and
// the signature over plaintext and associated data: everybody can read such a file, and only
// the owner of the private key can write one. The KEK is for signed files only.
func NewIdentity(private ed25519.PrivateKey) (KEK, error) {
	if len(private) != ed25519.PrivateKeySize {
		return nil, &token.ConfigError{Field: "keyring.NewIdentity.private", Reason: "is no private Ed25519 key"}
	}
	return identityKey{Identity(private[ed25519.PrivateKeySize-ed25519.PublicKeySize:]), private}, nil
}

// Encrypt implements KEK.
func (k identityKey) Encrypt(plaintext, associatedData []byte) ([]byte, error) {
	return append(slices.Clone(plaintext), ed25519.Sign(k.private, signedData(plaintext, associatedData))...), nil
}

// IdentityOf returns the identity of a KEK of NewIdentity, or of an Identity.
func IdentityOf(k KEK) (Identity, bool) {
	switch k := k.(type) {
	case Identity:
		return k, true
	case identityKey:
		return k.Identity, true
	}
	return Identity{}, false
}

// MarshalText implements encoding.TextMarshaler: the fingerprint.
func (id Identity) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *Identity) UnmarshalText(text []byte) (err error) {
	*id, err = ParseIdentity(string(text))
	return err
}
