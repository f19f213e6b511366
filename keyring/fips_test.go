package keyring_test

import (
	"bytes"
	"crypto/fips140"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/keyset"

	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/keyring/kms"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/token/signed"
)

// Keyrings run under GODEBUG=fips140=only: the AES algorithms, ED25519 and P-256, a key file and
// the rotation.
func TestFIPS(t *testing.T) {
	if !fips140.Enforced() {
		cmd := exec.Command(os.Args[0], "-test.run=^TestFIPS$", "-test.v")
		cmd.Env = append(os.Environ(), "GODEBUG=fips140=only")
		out, err := cmd.CombinedOutput()
		assert.NoError(t, err, string(out))
		assert.Contains(t, string(out), "--- PASS: TestFIPS")
		assert.NotContains(t, string(out), "SKIP")
	}
	dir := t.TempDir()
	require.NoError(t, kms.CreateKeyFile(filepath.Join(dir, "kek")))
	kek, err := kms.Open("file:"+filepath.Join(dir, "kek"), nil)
	require.NoError(t, err)
	for _, algorithm := range []string{"AES256_GCM", "XAES_256_GCM"} {
		path := filepath.Join(dir, algorithm)
		c := keyring.Config{Kind: keyring.Ticket, KEK: kek}
		require.NoError(t, keyring.Create(path, c, keyring.DefaultPolicy(c.Kind), algorithm))
		_, err := keyring.Change(path, c, "", keyring.Step{Do: keyring.Rotate, Now: true})
		require.NoError(t, err)
		ring, err := keyring.Open(path, c)
		require.NoError(t, err)
		defer ring.Close()
		issuer, err := token.NewIssuer(token.Config{Sealer: ring})
		require.NoError(t, err)
		ticket, err := issuer.Issue(&token.Ticket{Audience: token.Agent, Brand: "commbox", Username: "john.d"})
		require.NoError(t, err)
		ad, err := token.AssociatedData("")
		require.NoError(t, err)
		require.NoError(t, token.Open(ring, ad, ticket, new(token.Ticket)))
	}
	path := filepath.Join(dir, "channel")
	c := keyring.Config{Kind: keyring.Channel, KEK: kek}
	require.NoError(t, keyring.Create(path, c, keyring.DefaultPolicy(c.Kind), ""))
	ring, err := keyring.Open(path, c)
	require.NoError(t, err)
	defer ring.Close()
	channels, err := token.NewChannels(ring, "")
	require.NoError(t, err)
	code, err := channels.Code("commbox", "web")
	require.NoError(t, err)
	id, err := channels.ID("commbox", code)
	require.NoError(t, err)
	assert.Equal(t, "web", id)
	format2(t, dir, kek)
}

// format2 issues and opens a ticket of format 2 with the algorithms of keyring init --fips.
func format2(t *testing.T, dir string, kek keyring.KEK) {
	t.Helper()
	rings := make(map[keyring.Kind]*keyring.Ring)
	for kind, algorithm := range map[keyring.Kind]string{
		keyring.Issuer: "ED25519", keyring.Recipient: "HPKE_P256_AES256_GCM",
	} {
		path := filepath.Join(dir, string(kind))
		c := keyring.Config{Kind: kind, KEK: kek}
		require.NoError(t, keyring.Create(path, c, keyring.DefaultPolicy(kind), algorithm))
		_, err := keyring.Change(path, c, "", keyring.Step{Do: keyring.Rotate, Now: true})
		require.NoError(t, err)
		ring, err := keyring.Open(path, c)
		require.NoError(t, err)
		t.Cleanup(func() { ring.Close() })
		rings[kind] = ring
	}
	sealer, err := signed.NewSealer("acme", rings[keyring.Issuer], rings[keyring.Recipient])
	require.NoError(t, err)
	issuer, err := token.NewIssuer(token.Config{Signed: sealer})
	require.NoError(t, err)
	ticket, err := issuer.Issue(&token.Ticket{Audience: token.Agent, Brand: "commbox", Username: "john.d"})
	require.NoError(t, err)
	c := keyring.Config{Kind: keyring.Issuer, KEK: kek}
	data, err := keyring.ExportPublic(filepath.Join(dir, "issuer"), c, keyring.Binary)
	require.NoError(t, err)
	public, err := keyset.ReadWithNoSecrets(keyset.NewBinaryReader(bytes.NewReader(data)))
	require.NoError(t, err)
	keys, err := signed.NewVerifyingKeys("acme", public)
	require.NoError(t, err)
	trusted, err := signed.NewTrusted(keys...)
	require.NoError(t, err)
	_, err = signed.Open(rings[keyring.Recipient], trusted, "", ticket, new(token.Ticket))
	require.NoError(t, err)
}
