package main

import (
	"context"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hpke"
	"crypto/rand"
	"encoding/base64"
	"errors"

	"aidanwoods.dev/go-paseto"
	"github.com/go-jose/go-jose/v4"
	josejwt "github.com/go-jose/go-jose/v4/jwt"
	"github.com/tink-crypto/tink-go/v2/hybrid"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/signature"

	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/token/signed"
	"github.com/admitone/admitone/verify"
	"github.com/admitone/admitone/verify/replay/memory"
)

const (
	partner    = "acme" // the named issuer of format 2
	partnerFor = "prod"
)

// oursSigned returns admitone's tickets of format 2, and the floor.
func (b *bench) oursSigned() ([]*maker, error) {
	signing, err := keyset.NewHandle(signature.ED25519KeyTemplate())
	if err != nil {
		return nil, err
	}
	opening, err := keyset.NewHandle(hybrid.DHKEM_X25519_HKDF_SHA256_HKDF_SHA256_AES_256_GCM_Key_Template())
	if err != nil {
		return nil, err
	}
	issuer, err := signedIssuer(signing, opening)
	if err != nil {
		return nil, err
	}
	verifier, err := signedVerifier(signing, opening)
	if err != nil {
		return nil, err
	}
	ours := &maker{
		name: "**admitone**, format 2", does: "Inspect",
		issue: func() (string, error) { return issuer.Issue(ticketOfJohn(false)) },
		check: func(s string) error {
			_, err := verifier.Inspect(context.Background(), s, verify.Use{Audience: token.Agent})
			return err
		},
	}
	ticket, err := ours.issue()
	if err != nil {
		return nil, err
	}
	floor, err := signedFloor(len(ticket))
	return []*maker{ours, floor}, err
}

func signedIssuer(signing, opening *keyset.Handle) (*token.Issuer, error) {
	signer, err := signed.NewSigner(signing)
	if err != nil {
		return nil, err
	}
	public, err := opening.Public()
	if err != nil {
		return nil, err
	}
	recipient, err := signed.NewSealingKey(public)
	if err != nil {
		return nil, err
	}
	sealer, err := signed.NewSealer(partner, signer, recipient)
	if err != nil {
		return nil, err
	}
	return token.NewIssuer(token.Config{Signed: sealer, Realm: partnerFor})
}

func signedVerifier(signing, opening *keyset.Handle) (*verify.Verifier, error) {
	keys, err := signed.NewOpeningKeys(opening)
	if err != nil {
		return nil, err
	}
	public, err := signing.Public()
	if err != nil {
		return nil, err
	}
	verifying, err := signed.NewVerifyingKeys(partner, public)
	if err != nil {
		return nil, err
	}
	issuers, err := verify.NewIssuers(verify.Issuer{
		Name: partner, SigningKeys: verifying,
		Grant: verify.Grant{Brands: []string{brand}, Audiences: []token.Audience{token.Agent}, ManyTimes: true},
	})
	if err != nil {
		return nil, err
	}
	store, err := memory.Open(context.Background(), memory.Config{NoBarrier: true})
	if err != nil {
		return nil, err
	}
	return verify.New(verify.Config{
		Issuers: issuers, Unsealer: keys, Realm: partnerFor, Brands: []string{brand}, Store: store,
	})
}

// signedFloor signs, seals and encodes as many bytes as a ticket of the given length has.
func signedFloor(length int) (*maker, error) {
	kem, kdf, aead := hpke.DHKEM(ecdh.X25519()), hpke.HKDFSHA256(), hpke.AES256GCM()
	private, err := kem.GenerateKey()
	if err != nil {
		return nil, err
	}
	public, info := private.PublicKey(), []byte("admitone/ticket/2\x00"+partnerFor)
	verifying, signing, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	encoding := base64.RawURLEncoding.Strict()
	empty, err := hpke.Seal(public, kdf, aead, info, nil)
	if err != nil {
		return nil, err
	}
	const prefix = len("tkt2_")
	payload := make([]byte, (length-prefix)*6/8-len(empty)-ed25519.SignatureSize)
	return &maker{
		name: "the floor of format 2", does: "base64, Open, Verify",
		issue: func() (string, error) {
			sealed, err := hpke.Seal(public, kdf, aead, info, append(ed25519.Sign(signing, payload), payload...))
			return encoding.EncodeToString(sealed), err
		},
		check: func(s string) error {
			sealed, err := encoding.DecodeString(s)
			if err != nil {
				return err
			}
			plain, err := hpke.Open(private, kdf, aead, info, sealed)
			if err != nil {
				return err
			}
			if !ed25519.Verify(verifying, plain[ed25519.SignatureSize:], plain[:ed25519.SignatureSize]) {
				return errors.New("forged")
			}
			return nil
		},
	}, nil
}

// peersOfPairs returns other kinds of tickets with a key pair for each side, or for the issuer.
func peersOfPairs() ([]*maker, error) {
	verifying, signing, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	opening, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader) // go-jose has no X25519
	if err != nil {
		return nil, err
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: signing}, nil)
	if err != nil {
		return nil, err
	}
	encrypter, err := jose.NewEncrypter(jose.A256GCM, jose.Recipient{Algorithm: jose.ECDH_ES, Key: &opening.PublicKey},
		(&jose.EncrypterOptions{}).WithContentType("JWT"))
	if err != nil {
		return nil, err
	}
	encryption, signature := []jose.ContentEncryption{jose.A256GCM}, []jose.SignatureAlgorithm{jose.EdDSA}
	agreement := []jose.KeyAlgorithm{jose.ECDH_ES}
	claims := func(t *josejwt.JSONWebToken, err error) error {
		if err != nil {
			return err
		}
		var c contents
		if err := t.Claims(verifying, &c); err != nil {
			return err
		}
		return c.check()
	}
	return []*maker{
		{
			name: "JWS EdDSA in JWE ECDH-ES P-256 (go-jose)", does: "decrypt, verify, JSON", encrypted: true,
			issue: func() (string, error) {
				return josejwt.SignedAndEncrypted(signer, encrypter).Claims(newContents()).Serialize()
			},
			check: func(s string) error {
				outer, err := jose.ParseEncryptedCompact(s, agreement, encryption)
				if err != nil {
					return err
				}
				inner, err := outer.Decrypt(opening)
				if err != nil {
					return err
				}
				return claims(josejwt.ParseSigned(string(inner), signature))
			},
		},
		{
			name: "JWS EdDSA (go-jose)", does: "verify, JSON",
			issue: func() (string, error) { return josejwt.Signed(signer).Claims(newContents()).Serialize() },
			check: func(s string) error { return claims(josejwt.ParseSigned(s, signature)) },
		},
		pasetoPublicMaker(),
	}, nil
}

func pasetoPublicMaker() *maker {
	key := paseto.NewV4AsymmetricSecretKey()
	public, parser := key.Public(), paseto.NewParser() // checks the times
	return &maker{
		name: "PASETO v4.public (go-paseto)", does: "verify, JSON",
		issue: func() (string, error) {
			t := pasetoOfJohn()
			return t.V4Sign(key, nil), nil
		},
		check: func(s string) error {
			t, err := parser.ParseV4Public(public, s, nil)
			if err != nil {
				return err
			}
			return checkPaseto(t)
		},
	}
}
