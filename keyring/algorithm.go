package keyring

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tink-crypto/tink-go/v2/aead/aesgcm"
	"github.com/tink-crypto/tink-go/v2/aead/aesgcmsiv"
	"github.com/tink-crypto/tink-go/v2/aead/xaesgcm"
	"github.com/tink-crypto/tink-go/v2/aead/xchacha20poly1305"
	"github.com/tink-crypto/tink-go/v2/daead/aessiv"
	"github.com/tink-crypto/tink-go/v2/hybrid/hpke"
	"github.com/tink-crypto/tink-go/v2/key"
	"github.com/tink-crypto/tink-go/v2/signature/ecdsa"
	"github.com/tink-crypto/tink-go/v2/signature/ed25519"
)

// Kind is the purpose of a keyring's keys.
type Kind string

// The kinds. Ticket and Session keyrings hold AEAD keys, Channel keyrings deterministic AEAD
// keys. For tickets of format 2, an Issuer keyring holds the signing keys of an issuer, and a
// Recipient keyring the decryption keys of a login service; see package signed.
const (
	Ticket    Kind = "ticket"
	Session   Kind = "session"
	Channel   Kind = "channel"
	Issuer    Kind = "issuer"
	Recipient Kind = "recipient"

	// AnyKind is for tools that care for keyrings of every kind. All functions that read
	// or change a file take AnyKind; Create, CreateFrom and Open refuse it.
	AnyKind Kind = "any"
)

const anyKindFault = "is AnyKind; give one kind: Ticket, Session, Channel, Issuer or Recipient"

func (k Kind) check() error {
	switch k {
	case Ticket, Session, Channel, Issuer, Recipient, IssuerPublic, RecipientPublic, Trust:
		return nil
	}
	return fmt.Errorf("is %q; a keyring's kind is ticket, session, channel, issuer or recipient", string(k))
}

// algorithms are the algorithms of keys, each kind's default first.
var algorithms = []struct {
	name   string
	kinds  []Kind
	params func() (key.Parameters, error)
}{
	{"AES256_GCM", []Kind{Ticket, Session}, func() (key.Parameters, error) {
		return aesgcm.NewParameters(aesgcm.ParametersOpts{
			KeySizeInBytes: 32, IVSizeInBytes: 12, TagSizeInBytes: 16, Variant: aesgcm.VariantTink})
	}},
	{"XAES_256_GCM", []Kind{Ticket, Session}, func() (key.Parameters, error) {
		return xaesgcm.NewParameters(xaesgcm.VariantTink, 12) // salt size of C2SP XAES-256-GCM
	}},
	{"AES256_GCM_SIV", []Kind{Ticket, Session}, func() (key.Parameters, error) {
		return aesgcmsiv.NewParameters(32, aesgcmsiv.VariantTink)
	}},
	{"XCHACHA20_POLY1305", []Kind{Ticket, Session}, func() (key.Parameters, error) {
		return xchacha20poly1305.NewParameters(xchacha20poly1305.VariantTink)
	}},
	{"AES256_SIV", []Kind{Channel}, func() (key.Parameters, error) {
		return aessiv.NewParameters(64, aessiv.VariantTink) // two AES-256 keys, RFC 5297
	}},
	{"ED25519", []Kind{Issuer}, func() (key.Parameters, error) {
		p, err := ed25519.NewParameters(ed25519.VariantTink)
		return &p, err
	}},
	{"ECDSA_P256", []Kind{Issuer}, func() (key.Parameters, error) {
		return ecdsa.NewParameters(ecdsa.NistP256, ecdsa.SHA256, ecdsa.IEEEP1363, ecdsa.VariantTink)
	}},
	{"HPKE_X25519_AES256_GCM", []Kind{Recipient}, recipientOf(hpke.DHKEM_X25519_HKDF_SHA256)},
	{"HPKE_P256_AES256_GCM", []Kind{Recipient}, recipientOf(hpke.DHKEM_P256_HKDF_SHA256)},
	{"HPKE_XWING_AES256_GCM", []Kind{Recipient}, recipientOf(hpke.X_WING)},
}

// recipientOf returns a function that returns the parameters of a recipient's keys.
func recipientOf(kem hpke.KEMID) func() (key.Parameters, error) {
	return func() (key.Parameters, error) {
		return hpke.NewParameters(hpke.ParametersOpts{
			KEMID: kem, KDFID: hpke.HKDFSHA256, AEADID: hpke.AES256GCM, Variant: hpke.VariantTink,
		})
	}
}

// hasPublicHalf reports whether an algorithm is for keyrings of kind k, whose public keys others
// have.
func hasPublicHalf(k Kind, algorithm string) bool {
	return (k == Issuer || k == Recipient) && slices.Contains(Algorithms(k), algorithm)
}

// Algorithms returns the names of the algorithms for keys of kind k, the default first.
func Algorithms(k Kind) []string {
	var names []string
	for _, a := range algorithms {
		if slices.Contains(a.kinds, k) {
			names = append(names, a.name)
		}
	}
	return names
}

// parameters returns Tink's parameters of the algorithm with this name. The empty name
// stands for the default.
func parameters(k Kind, name string) (key.Parameters, error) {
	for _, a := range algorithms {
		if slices.Contains(a.kinds, k) && (name == a.name || name == "") {
			return a.params()
		}
	}
	return nil, fmt.Errorf("algorithm %q is not for keyrings of kind %s; take one of %s",
		name, k, strings.Join(Algorithms(k), ", "))
}

// algorithmOf returns the name of a key's algorithm, or an error if the algorithm is not for
// keys of kind k.
func algorithmOf(k Kind, p key.Parameters) (string, error) {
	for _, a := range algorithms {
		want, err := a.params()
		if err != nil {
			return "", err
		}
		if slices.Contains(a.kinds, k) && want.Equal(p) {
			return a.name, nil
		}
	}
	return "", fmt.Errorf("has an algorithm that is not for %s keyrings", k)
}
