package sealing

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/aead/aesgcm"
	"github.com/tink-crypto/tink-go/v2/aead/xaesgcm"
	"github.com/tink-crypto/tink-go/v2/insecuresecretdataaccess"
	"github.com/tink-crypto/tink-go/v2/key"
	"github.com/tink-crypto/tink-go/v2/keyset"
	prf "github.com/tink-crypto/tink-go/v2/prf/subtle"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// NewAEAD returns the AEAD of a keyset. All keys must have the TINK output prefix. The
// ciphertexts are Tink's: each opens what the other seals.
//
// AES-GCM and XAES-256-GCM run on Go's own packages, without Tink between. Opening takes an
// eighth less time so, and works under GODEBUG=fips140=only. There, Go's module must draw the
// nonces of AES-GCM. Tink draws the nonces itself, so Tink's AES256_GCM and XAES_256_GCM refuse
// to run.
func NewAEAD(handle *keyset.Handle) (*AEAD, error) {
	a := &AEAD{byID: make(map[uint32]tink.AEAD)}
	for i := range handle.Len() {
		entry, err := handle.Entry(i)
		if err != nil {
			return nil, err
		}
		if entry.KeyStatus() != keyset.Enabled {
			continue
		}
		k, err := newKey(entry.Key())
		if err != nil {
			return nil, fmt.Errorf("key %08x: %w", entry.KeyID(), err)
		}
		a.byID[entry.KeyID()] = k
		if entry.IsPrimary() {
			a.primary, a.primaryID = k, entry.KeyID()
		}
	}
	if a.primary == nil {
		return nil, errors.New("the keyset has no primary key")
	}
	a.sealer = NewSealer(a.primary)
	return a, nil
}

// AEAD is the AEAD of a keyset: its enabled keys by their IDs.
type AEAD struct {
	sealer    Sealer    // of the primary key
	primary   tink.AEAD // sealed nearly everything that is opened: found without the map
	primaryID uint32
	byID      map[uint32]tink.AEAD
}

// Encrypt implements tink.AEAD.
func (k *AEAD) Encrypt(plaintext, associatedData []byte) ([]byte, error) {
	return k.primary.Encrypt(plaintext, associatedData)
}

// AppendEncrypt implements Sealer.
func (k *AEAD) AppendEncrypt(dst, plaintext, associatedData []byte) ([]byte, error) {
	return k.sealer.AppendEncrypt(dst, plaintext, associatedData)
}

// Decrypt implements tink.AEAD. A key that is not in the keyset is ErrUnknownKey.
func (k *AEAD) Decrypt(ciphertext, associatedData []byte) ([]byte, error) {
	id, ok := KeyID(ciphertext)
	if !ok {
		return nil, ErrUnknownKey
	}
	key := k.primary
	if id != k.primaryID {
		if key = k.byID[id]; key == nil {
			return nil, ErrUnknownKey
		}
	}
	return key.Decrypt(ciphertext, associatedData)
}

// newKey returns the AEAD of a single key: our own for AES-GCM and XAES-256-GCM, and Tink's
// for the others.
func newKey(k key.Key) (tink.AEAD, error) {
	switch k := k.(type) {
	case *aesgcm.Key:
		p := k.Parameters().(*aesgcm.Parameters)
		if p.IVSizeInBytes() != 12 || p.TagSizeInBytes() != 16 {
			break
		}
		gcm, err := NewGCM(k.KeyBytes().Data(insecuresecretdataaccess.Token{}))
		return gcmKey{k.OutputPrefix(), gcm}, err
	case *xaesgcm.Key:
		p := k.Parameters().(*xaesgcm.Parameters)
		mac, err := prf.NewAESCMACPRF(k.KeyBytes().Data(insecuresecretdataaccess.Token{}))
		return xaesKey{k.OutputPrefix(), p.SaltSizeInBytes(), mac}, err
	}
	m := keyset.NewManager()
	id, err := m.AddKey(k)
	if err != nil {
		return nil, err
	}
	if err := m.SetPrimary(id); err != nil {
		return nil, err
	}
	handle, err := m.Handle()
	if err != nil {
		return nil, err
	}
	return aead.New(handle)
}

// NewGCM returns AES-GCM whose nonces the module draws. Seal and Open take a nil nonce, and
// the nonce of 12 bytes stands before the ciphertext.
func NewGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// gcmKey is a key of AES-GCM: prefix nonce ciphertext tag.
type gcmKey struct {
	prefix []byte
	gcm    cipher.AEAD
}

func (k gcmKey) Encrypt(plaintext, associatedData []byte) ([]byte, error) {
	room := len(k.prefix) + len(plaintext) + k.gcm.Overhead()
	return k.AppendEncrypt(make([]byte, 0, room), plaintext, associatedData)
}

func (k gcmKey) AppendEncrypt(dst, plaintext, associatedData []byte) ([]byte, error) {
	return k.gcm.Seal(append(dst, k.prefix...), nil, plaintext, associatedData), nil
}

func (k gcmKey) Decrypt(ciphertext, associatedData []byte) ([]byte, error) {
	return k.gcm.Open(nil, nil, ciphertext[len(k.prefix):], associatedData)
}

// xaesKey is a key of XAES-256-GCM (C2SP): prefix salt nonce ciphertext tag. The salt gives a
// key of AES-256-GCM for one message, by AES-CMAC in counter mode (NIST SP 800-108).
type xaesKey struct {
	prefix   []byte
	saltSize int
	mac      *prf.AESCMACPRF
}

func (k xaesKey) derive(salt []byte) (cipher.AEAD, error) {
	var padded [12]byte
	copy(padded[:], salt)
	var derived []byte
	for counter := byte(1); counter <= 2; counter++ {
		half, err := k.mac.ComputePRF(slices.Concat([]byte{0, counter, 'X', 0}, padded[:]), 16)
		if err != nil {
			return nil, err
		}
		derived = append(derived, half...)
	}
	return NewGCM(derived)
}

func (k xaesKey) Encrypt(plaintext, associatedData []byte) ([]byte, error) {
	salt := make([]byte, k.saltSize)
	rand.Read(salt) // never fails
	gcm, err := k.derive(salt)
	if err != nil {
		return nil, err
	}
	out := make([]byte, 0, len(k.prefix)+len(salt)+len(plaintext)+gcm.Overhead())
	out = append(append(out, k.prefix...), salt...)
	return gcm.Seal(out, nil, plaintext, associatedData), nil
}

func (k xaesKey) Decrypt(ciphertext, associatedData []byte) ([]byte, error) {
	rest := ciphertext[len(k.prefix):]
	if len(rest) < k.saltSize {
		return nil, ErrForged
	}
	gcm, err := k.derive(rest[:k.saltSize])
	if err != nil {
		return nil, err
	}
	return gcm.Open(nil, nil, rest[k.saltSize:], associatedData)
}
