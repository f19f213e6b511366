package signed

import (
	"crypto/hpke"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/admitone/admitone/internal/sealing"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/token/internal/armor"
)

const (
	prefix  = "tkt2_"
	purpose = "admitone/ticket/2" // the beginning of info

	// sigSize is the length of a signature in a ticket: 0x01, the key ID, and 64 bytes.
	sigSize = sealing.PrefixSize + 64
)

// context appends to b what the signature covers before the payload:
//
//	"admitone/ticket/2" 0x00 realm 0x00 issuer 0x00 hash of the recipient's public key
//
// No realm and no issuer has a zero byte, so a text has one reading. The info of HPKE is the
// part before the second zero byte.
func context(b []byte, realm, issuer string, recipient *[32]byte) []byte {
	b = append(appendInfo(b, realm), 0)
	b = append(append(b, issuer...), 0)
	return append(b, recipient[:]...)
}

func appendInfo(b []byte, realm string) []byte {
	return append(append(append(b, purpose...), 0), realm...)
}

// scratch is the working memory of a call of Seal or Open.
type scratch struct {
	text [armor.MaxLength]byte
	data [armor.MaxLength + 512]byte // what is signed, or sealed
	info [len(purpose) + 1 + 64]byte
	// ran tells which algorithms have verified something.
	ran [2]bool
}

var pool = sync.Pool{New: func() any { return new(scratch) }}

// Sealer is the token.Envelope of format 2: the Signed of a token.Config. A Sealer is safe for
// concurrent use.
type Sealer struct {
	issuer    string
	signer    tink.Signer
	recipient Recipient
}

// NewSealer returns a Sealer for an issuer, known to verifiers by this name. The signer is
// the answer of NewSigner, or another tink.Signer whose keys are of the algorithms above and have
// the TINK prefix. NewSealer tries the signer and the recipient.
//
// If the signer or the recipient has the method Lifetime() time.Duration, it is the longest
// lifetime of a ticket. The error is a *token.ConfigError.
func NewSealer(issuer string, signer tink.Signer, recipient Recipient) (*Sealer, error) {
	if err := token.CheckIssuer("signed.NewSealer.issuer", issuer); err != nil {
		return nil, err
	}
	const signerField, recipientField = "signed.NewSealer.signer", "signed.NewSealer.recipient"
	if sealing.IsNil(signer) {
		return nil, &token.ConfigError{Field: signerField, Reason: "is nil; give the answer of NewSigner, or a tink.Signer"}
	}
	if sealing.IsNil(recipient) {
		return nil, &token.ConfigError{Field: recipientField, Reason: "is nil; give the public key of the login service"}
	}
	if _, err := sign(signer, probe); err != nil {
		return nil, &token.ConfigError{Field: signerField, Reason: "cannot sign", Cause: err}
	}
	if _, err := sealingKey(recipient); err != nil {
		return nil, &token.ConfigError{Field: recipientField, Reason: "has no key", Cause: err}
	}
	return &Sealer{issuer, signer, recipient}, nil
}

// Lifetime returns the longest lifetime of a ticket that the keys allow, or 0.
func (s *Sealer) Lifetime() time.Duration {
	var least time.Duration
	for _, keys := range []any{s.signer, s.recipient} {
		k, ok := keys.(interface{ Lifetime() time.Duration })
		if !ok {
			continue
		}
		if d := k.Lifetime(); least == 0 || d != 0 && d < least {
			least = d
		}
	}
	return least
}

// Seal implements token.Envelope.
func (s *Sealer) Seal(dst []byte, realm string, payload []byte, t *token.Ticket) ([]byte, error) {
	if s.recipient == nil {
		return nil, errors.New("the Sealer is empty; take the answer of NewSealer")
	}
	to, err := sealingKey(s.recipient)
	if err != nil {
		return nil, err
	}
	w := pool.Get().(*scratch)
	defer pool.Put(w)
	// The signature takes the place of the context, whose end is at from.
	data := context(w.data[:sigSize], realm, s.issuer, &to.hash)
	from := len(data)
	data = append(data, payload...)
	signature, err := sign(s.signer, data[sigSize:])
	if err != nil {
		return nil, err
	}
	copy(data[from-sigSize:], signature)
	sealed, err := hpke.Seal(to.public, kdf, aead, appendInfo(w.info[:0], realm), data[from-sigSize:])
	if err != nil {
		return nil, err
	}
	t.KeyID, t.Issuer = to.id, s.issuer
	key, _ := sealing.KeyID(signature)
	t.SigningKey = token.KeyID(key)
	dst = binary.BigEndian.AppendUint32(append(dst, 1), uint32(to.id))
	return append(dst, sealed...), nil
}

// sign signs, and checks the form of the signature.
func sign(signer tink.Signer, data []byte) ([]byte, error) {
	signature, err := signer.Sign(data)
	if err != nil {
		return nil, err
	}
	if _, ok := sealing.KeyID(signature); !ok || len(signature) != sigSize {
		return nil, errors.New("the signature is not the TINK prefix and 64 bytes; " +
			"take keys of type ED25519 or ECDSA_P256 (IEEE_P1363) with the TINK prefix")
	}
	return signature, nil
}

// sealingKey asks a recipient for its key.
func sealingKey(r Recipient) (*SealingKey, error) {
	k, err := r.SealingKey()
	if err == nil && (k == nil || k.public == nil) {
		err = errors.New("the recipient has no key, and does not say why; give a SealingKey of NewSealingKey")
	}
	if err != nil {
		return nil, fmt.Errorf("asking for the key of the recipient: %w", err)
	}
	return k, nil
}
