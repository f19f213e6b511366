package kms

import (
	"bytes"
	"context"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/admitone/admitone/keyring"
)

// TestTink exports a keyset under each service's key, which Tink's own integration
// opens, and imports one that Tink's own encrypted.
func TestTink(t *testing.T) {
	_, aws := newAWS(t)
	google, gcp := newGCP(t)
	_, vault := newVault(t)
	for _, kek := range []keyring.KEK{aws, gcp, mustOpen(t, vaultPrefix+vault+"/transit/keys/admitone")} {
		// Tink's integration for Google Cloud KMS gives the service the plaintext and the
		// associated data as they are, and the ciphertext is the service's.
		var theirs tink.AEAD = asIs{google.sealer}
		if s, ok := kek.(*remoteKEK).service.(*tinkService); ok {
			theirs = withoutContext{s.aead} // Tink's own part
		}
		c := keyring.Config{Kind: keyring.Ticket, KEK: kek}
		path := filepath.Join(t.TempDir(), "keyring")
		require.NoError(t, keyring.Create(path, c, keyring.DefaultPolicy(keyring.Ticket), ""), kek.Hint())
		ring, err := keyring.Open(path, c)
		require.NoError(t, err)
		t.Cleanup(func() { ring.Close() })
		sealed, err := ring.Encrypt([]byte("text"), nil)
		require.NoError(t, err)

		data, err := keyring.Export(path, c, keyring.JSON, Tink(kek), "")
		require.NoError(t, err, kek.Hint())
		handle, err := keyset.Read(keyset.NewJSONReader(bytes.NewReader(data)), theirs)
		require.NoError(t, err, kek.Hint())
		plain, err := aead.New(handle)
		require.NoError(t, err)
		_, err = plain.Decrypt(sealed, nil)
		assert.NoError(t, err)

		var out bytes.Buffer
		require.NoError(t, handle.Write(keyset.NewBinaryWriter(&out), theirs))
		made := filepath.Join(t.TempDir(), "keyring")
		require.NoError(t, keyring.CreateFrom(made, c, keyring.DefaultPolicy(keyring.Ticket), out.Bytes(), Tink(kek)))
		again, err := keyring.Open(made, c)
		require.NoError(t, err)
		t.Cleanup(func() { again.Close() })
		_, err = again.Decrypt(sealed, nil)
		assert.NoError(t, err)
	}
	local := cheap("correct horse")
	assert.Same(t, keyring.KEK(local), Tink(local))
}

// TestTinkLimit exports more than AWS KMS encrypts.
//
// trap K10
func TestTinkLimit(t *testing.T) {
	_, kek := newAWS(t)
	c := keyring.Config{Kind: keyring.Ticket, KEK: kek}
	path := filepath.Join(t.TempDir(), "keyring")
	require.NoError(t, keyring.Create(path, c, keyring.DefaultPolicy(keyring.Ticket), ""))
	steps := make([]keyring.Step, 50)
	for i := range steps {
		steps[i] = keyring.Step{Do: keyring.Rotate, Now: true}
	}
	_, err := keyring.Change(path, c, "", steps...)
	require.NoError(t, err, "a keyring file has no such limit")
	_, err = keyring.Export(path, c, keyring.Binary, Tink(kek), "")
	assert.ErrorContains(t, err, "AWS KMS encrypts at most 4096 bytes")
	assert.NotErrorIs(t, err, keyring.ErrKEKUnavailable)
}

type asIs struct{ sealer }

func (a asIs) Encrypt(plaintext, ad []byte) ([]byte, error) {
	return a.seal(plaintext, string(ad)), nil
}

func (a asIs) Decrypt(ciphertext, ad []byte) ([]byte, error) { return a.open(ciphertext, string(ad)) }

type withoutContext struct{ tink.AEADWithContext }

func (a withoutContext) Encrypt(plaintext, ad []byte) ([]byte, error) {
	return a.EncryptWithContext(context.Background(), plaintext, ad)
}

func (a withoutContext) Decrypt(ciphertext, ad []byte) ([]byte, error) {
	return a.DecryptWithContext(context.Background(), ciphertext, ad)
}
