package signed

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"github.com/tink-crypto/tink-go/v2/keyset"
	tinkecdsa "github.com/tink-crypto/tink-go/v2/signature/ecdsa"
	tinked25519 "github.com/tink-crypto/tink-go/v2/signature/ed25519"

	"github.com/admitone/admitone/token"
)

// VerifyingKey is a public key of an issuer, with the name by which the verifier knows the
// issuer. It was tried and cannot change.
type VerifyingKey struct {
	issuer string
	id     token.KeyID
	ed     ed25519.PublicKey // or
	ec     *ecdsa.PublicKey
	last   time.Time // see NotAfter
}

// NewVerifyingKeys returns the enabled keys of a keyset of public signing keys, as keys of an
// issuer. The error is a *token.ConfigError.
func NewVerifyingKeys(issuer string, handle *keyset.Handle) ([]*VerifyingKey, error) {
	if err := token.CheckIssuer("signed.NewVerifyingKeys.issuer", issuer); err != nil {
		return nil, err
	}
	const field = "signed.NewVerifyingKeys.handle"
	entries, err := entriesOf(field, handle)
	if err != nil {
		return nil, err
	}
	var keys []*VerifyingKey
	for _, e := range entries {
		k, err := newVerifyingKey(issuer, e)
		if err != nil {
			return nil, keyFault(field, e, err)
		}
		keys = append(keys, k)
	}
	return keys, nil
}

func newVerifyingKey(issuer string, e *keyset.Entry) (*VerifyingKey, error) {
	v := &VerifyingKey{issuer: issuer, id: token.KeyID(e.KeyID())}
	switch k := e.Key().(type) {
	case *tinked25519.PublicKey:
		v.ed = k.KeyBytes()
		return v, checkEd25519(v.ed)
	case *tinkecdsa.PublicKey:
		if err := checkECDSA(k.Parameters().(*tinkecdsa.Parameters)); err != nil {
			return nil, err
		}
		var err error
		if v.ec, err = ecdsa.ParseUncompressedPublicKey(elliptic.P256(), k.PublicPoint()); err != nil {
			return nil, fmt.Errorf("the public key is refused: %w", err)
		}
		return v, nil
	}
	return nil, wrongType(e.Key(), "public Ed25519 or ECDSA P-256")
}

// Issuer returns the name of the key's issuer.
func (k *VerifyingKey) Issuer() string { return k.issuer }

// ID returns the key's ID.
func (k *VerifyingKey) ID() token.KeyID { return k.id }

// NotAfter returns k as a key that its issuer has retired: a ticket that is issued after the time
// last is forged.
func (k *VerifyingKey) NotAfter(last time.Time) *VerifyingKey {
	retired := *k
	retired.last = last
	return &retired
}

// algorithm is the place of the key's algorithm in an array.
func (k *VerifyingKey) algorithm() int {
	if k.ed != nil {
		return 0
	}
	return 1
}

// verify reports whether a signature of 64 bytes is good.
func (k *VerifyingKey) verify(signature, data []byte) bool {
	if k.ed != nil {
		return ed25519.Verify(k.ed, data, signature)
	}
	hash := sha256.Sum256(data)
	var r, s big.Int
	return ecdsa.Verify(k.ec, hash[:], r.SetBytes(signature[:32]), s.SetBytes(signature[32:]))
}

// checkEd25519 refuses a key that is not a point of the curve, is not in canonical form, or has
// a small order: under a key of small order, strangers can make signatures.
func checkEd25519(public ed25519.PublicKey) error {
	b := slices.Clone(public)
	b[31] &= 0x7f // the sign of x
	if !belowP(b) {
		return errors.New("the public key is not in canonical form")
	}
	slices.Reverse(b)
	y := new(big.Int).SetBytes(b)
	// x^2 = (y^2 - 1) / (d y^2 + 1). A quotient is a square if the product is.
	y2 := new(big.Int).Mul(y, y)
	product := new(big.Int).Mul(y2, curveD)
	product.Add(product, big.NewInt(1))
	product.Mul(product, y2.Sub(y2, big.NewInt(1))).Mod(product, curveP)
	switch {
	case big.Jacobi(product, curveP) < 0:
		return errors.New("the public key is no point of the curve")
	case slices.ContainsFunc(smallOrder, func(other *big.Int) bool { return y.Cmp(other) == 0 }):
		return errors.New("the public key has a small order: anybody could sign for it")
	}
	return nil
}

// The curve of Ed25519, and the y of the points whose order is 1, 4, 2, and twice 8.
var (
	curveP     = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	curveD     = number("52036cee2b6ffe738cc740797779e89800700a4d4141d8ab75eb4dca135978a3")
	order8     = number("05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826")
	smallOrder = []*big.Int{
		big.NewInt(1), big.NewInt(0), new(big.Int).Sub(curveP, big.NewInt(1)),
		order8, new(big.Int).Sub(curveP, order8),
	}
)

func number(hexadecimal string) *big.Int {
	n, ok := new(big.Int).SetString(hexadecimal, 16)
	if !ok {
		panic(hexadecimal)
	}
	return n
}

// mostWithID is how many keys may share an ID. Open may have to try all of them.
const mostWithID = 4

// Trusted holds the keys of all trusted issuers, and never changes. The zero Trusted trusts nobody.
type Trusted struct {
	byID   map[token.KeyID][]*VerifyingKey
	decoys [2]*VerifyingKey // a key of each algorithm that an issuer has, or nil
}

// NewTrusted returns the Trusted with keys. The error names a key that is refused: a key that
// another issuer has too, or a fifth key with one ID. A key of the same issuer may come twice.
func NewTrusted(keys ...*VerifyingKey) (*Trusted, error) {
	t := &Trusted{byID: make(map[token.KeyID][]*VerifyingKey)}
	owners := make(map[string]*VerifyingKey)
	for _, k := range keys {
		if k == nil || k.ed == nil && k.ec == nil {
			return nil, errors.New("a key is nil or empty; give the keys of NewVerifyingKeys")
		}
		public := k.public()
		before := owners[public]
		if before != nil && before.issuer != k.issuer {
			return nil, fmt.Errorf("key %v of issuer %q is also key %v of issuer %q; a key belongs to one issuer",
				k.id, k.issuer, before.id, before.issuer)
		}
		owners[public] = k
		same := t.byID[k.id]
		if slices.ContainsFunc(same, func(o *VerifyingKey) bool { return o.public() == public }) {
			continue
		}
		if len(same) == mostWithID {
			return nil, fmt.Errorf("key %v of issuer %q: %d other keys have the same ID; let the issuer rotate to another ID",
				k.id, k.issuer, mostWithID)
		}
		t.byID[k.id] = append(same, k)
		if t.decoys[k.algorithm()] == nil {
			t.decoys[k.algorithm()] = k
		}
	}
	return t, nil
}

// public returns the key's algorithm and bytes.
func (k *VerifyingKey) public() string {
	if k.ed != nil {
		return "ed" + string(k.ed)
	}
	b, err := k.ec.Bytes()
	if err != nil {
		panic(err) // the point was checked
	}
	return "ec" + string(b)
}
