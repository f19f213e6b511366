package kms

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"

	"github.com/admitone/admitone/internal/durable"
	"github.com/admitone/admitone/keyring"
)

const (
	privatePEM = "PRIVATE KEY"
	publicPEM  = "PUBLIC KEY"
)

// CreateIdentity makes the file of an identity key, mode 0600, and returns the identity.
// CreateIdentity never overwrites a file: if path exists, the error wraps fs.ErrExist.
func CreateIdentity(path string) (keyring.Identity, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return keyring.Identity{}, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return keyring.Identity{}, err
	}
	data := pem.EncodeToMemory(&pem.Block{Type: privatePEM, Bytes: der})
	defer clear(data)
	return keyring.Identity(public), durable.Create(path, data, 0o600)
}

// PublicIdentity returns the file for the readers of an identity's signed files, who open it
// as verify:PATH.
func PublicIdentity(id keyring.Identity) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(ed25519.PublicKey(id[:]))
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: publicPEM, Bytes: der}), nil
}

// openIdentity opens signed:PATH.
func openIdentity(path string) (keyring.KEK, error) {
	data, err := readSecret(path, "the identity key", "keyring identity --new makes one")
	if err != nil {
		return nil, err
	}
	defer clear(data)
	der, err := onlyPEM(path, data, privatePEM, "keyring identity --new makes one")
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	private, ok := key.(ed25519.PrivateKey)
	if err != nil || !ok {
		return nil, fmt.Errorf("%s is no private key of Ed25519; keyring identity --new makes one", path)
	}
	return keyring.NewIdentity(private)
}

// openVerifier opens verify:PATH.
func openVerifier(path string) (keyring.KEK, error) {
	data, _, err := durable.ReadFile(path, maxSecret)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the public identity key %s is missing; mount or restore it: %w", path, err)
	}
	if err != nil {
		return nil, fmt.Errorf("the public identity key %s cannot be used: %w", path, err)
	}
	der, err := onlyPEM(path, data, publicPEM, "keyring identity FILE -o PUBLIC writes it")
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKIXPublicKey(der)
	public, ok := key.(ed25519.PublicKey)
	if err != nil || !ok {
		return nil, fmt.Errorf("%s is no public key of Ed25519; keyring identity FILE -o PUBLIC writes it", path)
	}
	id, err := keyring.ParseIdentity(keyring.Identity(public).String())
	if err != nil {
		return nil, fmt.Errorf("the public identity key %s cannot be used: %w", path, err)
	}
	return id, nil
}

// onlyPEM returns the content of a file with one block of PEM.
func onlyPEM(path string, data []byte, kind, instead string) ([]byte, error) {
	block, rest := pem.Decode(data)
	if block == nil || block.Type != kind || len(trimNewlines(string(rest))) > 0 {
		return nil, fmt.Errorf("%s does not hold one %s in PEM; %s", path, kind, instead)
	}
	return block.Bytes, nil
}
