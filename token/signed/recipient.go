package signed

import (
	"bytes"
	"crypto/hpke"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/tink-crypto/tink-go/v2/insecuresecretdataaccess"
	"github.com/tink-crypto/tink-go/v2/keyset"

	tinkhpke "github.com/tink-crypto/tink-go/v2/hybrid/hpke"

	"github.com/admitone/admitone/token"
)

// The KDF and the AEAD of all suites. The key says which KEM.
var (
	kdf  = hpke.HKDFSHA256()
	aead = hpke.AES256GCM()
)

// probe is the info and the plaintext of trials of keys. No ticket has an info that begins so.
// A keyring.Ring does not count a signature of the probe as a use of its key.
var probe = []byte("admitone/probe/1")

// SealingKey is a recipient's public key with its ID. It was tried and cannot change.
type SealingKey struct {
	id     token.KeyID
	public hpke.PublicKey
	hash   [sha256.Size]byte
}

// Recipient knows the public key of the login service for which tickets are made. A SealingKey
// is a Recipient whose key stays the same.
type Recipient interface {
	// SealingKey returns the key for the next ticket, or an error that says why there is none
	// and what to do.
	SealingKey() (*SealingKey, error)
}

// NewSealingKey returns the primary key of a keyset of public HPKE keys. The error is a
// *token.ConfigError.
func NewSealingKey(handle *keyset.Handle) (*SealingKey, error) {
	const field = "signed.NewSealingKey.handle"
	e, err := primaryOf(field, handle)
	if err != nil {
		return nil, err
	}
	k, err := newSealingKey(e)
	if err != nil {
		return nil, keyFault(field, e, err)
	}
	return k, nil
}

func newSealingKey(e *keyset.Entry) (*SealingKey, error) {
	k, ok := e.Key().(*tinkhpke.PublicKey)
	if !ok {
		return nil, wrongType(e.Key(), "public HPKE")
	}
	kem, err := kemOf(k.Parameters().(*tinkhpke.Parameters))
	if err != nil {
		return nil, err
	}
	public, err := kem.NewPublicKey(k.PublicKeyBytes())
	if err != nil {
		return nil, fmt.Errorf("the public key is refused: %w", err)
	}
	if err := checkCanonical(kem, k.PublicKeyBytes()); err != nil {
		return nil, err
	}
	// A point of small order passes as a key, and fails here.
	if _, err := hpke.Seal(public, kdf, aead, probe, probe); err != nil {
		return nil, fmt.Errorf("nothing can be sealed for the public key: %w", err)
	}
	return &SealingKey{token.KeyID(e.KeyID()), public, recipientHash(public)}, nil
}

// ID returns the key's ID, with which tickets for the key begin.
func (k *SealingKey) ID() token.KeyID { return k.id }

// SealingKey returns k, and no error.
func (k *SealingKey) SealingKey() (*SealingKey, error) { return k, nil }

// recipientHash is the name of a recipient in what an issuer signs.
func recipientHash(public hpke.PublicKey) [sha256.Size]byte {
	b := append([]byte("admitone/recipient/2"), 0)
	for _, id := range []uint16{public.KEM().ID(), kdf.ID(), aead.ID()} {
		b = binary.BigEndian.AppendUint16(b, id)
	}
	return sha256.Sum256(append(b, public.Bytes()...))
}

// OpeningKey is a recipient's private key. It was tried and cannot change.
type OpeningKey struct {
	private hpke.PrivateKey
	hash    [sha256.Size]byte // of the public key
}

// Unsealer knows the private keys of a login service. An Unsealer with the method
// Opened(key token.KeyID, issuer string, signingKey token.KeyID) learns of each ticket whose
// signature and payload were good; whether the ticket admits is not known then. Strangers' tickets
// do not count.
type Unsealer interface {
	// OpeningKey returns the key with an ID, or nil if there is none.
	OpeningKey(id token.KeyID) *OpeningKey
}

// OpeningKeys is an Unsealer whose keys stay the same.
type OpeningKeys struct {
	byID map[token.KeyID]*OpeningKey
}

// NewOpeningKeys returns the enabled keys of a keyset of private HPKE keys. The error is a
// *token.ConfigError.
func NewOpeningKeys(handle *keyset.Handle) (*OpeningKeys, error) {
	const field = "signed.NewOpeningKeys.handle"
	entries, err := entriesOf(field, handle)
	if err != nil {
		return nil, err
	}
	keys := &OpeningKeys{make(map[token.KeyID]*OpeningKey)}
	for _, e := range entries {
		k, err := newOpeningKey(e)
		if err != nil {
			return nil, keyFault(field, e, err)
		}
		keys.byID[token.KeyID(e.KeyID())] = k
	}
	return keys, nil
}

func newOpeningKey(e *keyset.Entry) (*OpeningKey, error) {
	k, ok := e.Key().(*tinkhpke.PrivateKey)
	if !ok {
		return nil, wrongType(e.Key(), "private HPKE")
	}
	kem, err := kemOf(k.Parameters().(*tinkhpke.Parameters))
	if err != nil {
		return nil, err
	}
	private, err := kem.NewPrivateKey(k.PrivateKeyBytes().Data(insecuresecretdataaccess.Token{}))
	if err != nil {
		return nil, fmt.Errorf("the private key is refused: %w", err)
	}
	sealed, err := hpke.Seal(private.PublicKey(), kdf, aead, probe, probe)
	if err != nil {
		return nil, fmt.Errorf("nothing can be sealed for the key: %w", err)
	}
	if _, err := hpke.Open(private, kdf, aead, probe, sealed); err != nil {
		return nil, fmt.Errorf("the key does not open what is sealed for it: %w", err)
	}
	public, err := k.PublicKey()
	if err != nil {
		return nil, err
	}
	if p, ok := public.(*tinkhpke.PublicKey); !ok || !bytes.Equal(p.PublicKeyBytes(), private.PublicKey().Bytes()) {
		return nil, errors.New("the public half belongs to another private key")
	}
	return &OpeningKey{private, recipientHash(private.PublicKey())}, nil
}

// Opens reports whether the keys open tickets for a SealingKey.
func (k *OpeningKeys) Opens(other *SealingKey) bool {
	own := k.byID[other.id]
	return own != nil && own.hash == other.hash
}

// OpeningKey returns the key with an ID, or nil.
func (k *OpeningKeys) OpeningKey(id token.KeyID) *OpeningKey { return k.byID[id] }

// kemOf returns the KEM of a key, or an error for a suite that format 2 does not have.
func kemOf(p *tinkhpke.Parameters) (hpke.KEM, error) {
	if p.KDFID() != tinkhpke.HKDFSHA256 || p.AEADID() != tinkhpke.AES256GCM {
		return nil, fmt.Errorf("the key has the KDF %v and the AEAD %v; take HKDF-SHA256 and AES-256-GCM",
			p.KDFID(), p.AEADID())
	}
	kems := map[tinkhpke.KEMID]uint16{
		tinkhpke.DHKEM_X25519_HKDF_SHA256: kemX25519, tinkhpke.DHKEM_P256_HKDF_SHA256: 0x0010, tinkhpke.X_WING: kemXWing,
	}
	id, ok := kems[p.KEMID()]
	if !ok {
		return nil, fmt.Errorf("the key has the KEM %v; take DHKEM_X25519_HKDF_SHA256, DHKEM_P256_HKDF_SHA256 or X_WING",
			p.KEMID())
	}
	return hpke.NewKEM(id)
}

const (
	kemX25519 = 0x0020
	kemXWing  = 0x647a
)

// checkCanonical refuses the second form of an X25519 key: the value is not below p, or the bit
// that nobody reads is set. The recipient computes the hash from the first form.
func checkCanonical(kem hpke.KEM, public []byte) error {
	if kem.ID() != kemX25519 && kem.ID() != kemXWing {
		return nil // the packages of Go take one form only
	}
	if !belowP(public[len(public)-32:]) {
		return errors.New("the public key is not in canonical form")
	}
	return nil
}

// belowP reports whether 32 bytes, little-endian, are a number below 2^255 - 19.
func belowP(b []byte) bool {
	if b[31] != 0x7f {
		return b[31] < 0x7f
	}
	for i := 30; i > 0; i-- {
		if b[i] != 0xff {
			return true
		}
	}
	return b[0] < 0xed
}
