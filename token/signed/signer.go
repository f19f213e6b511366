package signed

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"fmt"

	"github.com/tink-crypto/tink-go/v2/insecuresecretdataaccess"
	"github.com/tink-crypto/tink-go/v2/keyset"
	tinkecdsa "github.com/tink-crypto/tink-go/v2/signature/ecdsa"
	tinked25519 "github.com/tink-crypto/tink-go/v2/signature/ed25519"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// NewSigner returns a tink.Signer that signs under the primary key of a keyset of private
// signing keys. The error is a *token.ConfigError.
func NewSigner(handle *keyset.Handle) (tink.Signer, error) {
	const field = "signed.NewSigner.handle"
	e, err := primaryOf(field, handle)
	if err != nil {
		return nil, err
	}
	s, err := newSigner(e)
	if err != nil {
		return nil, keyFault(field, e, err)
	}
	return s, nil
}

// signer signs under one key: prefix signature.
type signer struct {
	prefix []byte
	ed     ed25519.PrivateKey // or
	ec     *ecdsa.PrivateKey
}

func newSigner(e *keyset.Entry) (*signer, error) {
	switch k := e.Key().(type) {
	case *tinked25519.PrivateKey:
		seed := k.PrivateKeyBytes().Data(insecuresecretdataaccess.Token{})
		return &signer{prefix: k.OutputPrefix(), ed: ed25519.NewKeyFromSeed(seed)}, nil
	case *tinkecdsa.PrivateKey:
		if err := checkECDSA(k.Parameters().(*tinkecdsa.Parameters)); err != nil {
			return nil, err
		}
		value := k.PrivateKeyValue().Data(insecuresecretdataaccess.Token{})
		private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), value)
		if err != nil {
			return nil, fmt.Errorf("the private key is refused: %w", err)
		}
		return &signer{prefix: k.OutputPrefix(), ec: private}, nil
	}
	return nil, wrongType(e.Key(), "private Ed25519 or ECDSA P-256")
}

// Sign implements tink.Signer.
func (s *signer) Sign(data []byte) ([]byte, error) {
	out := append(make([]byte, 0, sigSize), s.prefix...)
	if s.ed != nil {
		return append(out, ed25519.Sign(s.ed, data)...), nil
	}
	hash := sha256.Sum256(data)
	r, v, err := ecdsa.Sign(rand.Reader, s.ec, hash[:])
	if err != nil {
		return nil, err
	}
	out = out[:sigSize]
	r.FillBytes(out[sigSize-64 : sigSize-32])
	v.FillBytes(out[sigSize-32:])
	return out, nil
}

func checkECDSA(p *tinkecdsa.Parameters) error {
	if p.CurveType() != tinkecdsa.NistP256 || p.HashType() != tinkecdsa.SHA256 ||
		p.SignatureEncoding() != tinkecdsa.IEEEP1363 {
		return fmt.Errorf("it is ECDSA with %v, %v and the encoding %v; take P-256, SHA256 and IEEE_P1363",
			p.CurveType(), p.HashType(), p.SignatureEncoding())
	}
	return nil
}
