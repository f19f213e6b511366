package kms

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/keyring"
)

func TestIdentityFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	private, public := filepath.Join(dir, "id.key"), filepath.Join(dir, "id.pub")
	id, err := CreateIdentity(private)
	require.NoError(t, err)
	_, err = CreateIdentity(private)
	require.ErrorIs(t, err, fs.ErrExist)
	data, err := PublicIdentity(id)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(public, data, 0o644))
	writer, err := Open("signed:"+private, nil)
	require.NoError(t, err)
	reader, err := Open("verify:"+public, nil)
	require.NoError(t, err)
	for _, k := range []keyring.KEK{writer, reader} {
		got, ok := keyring.IdentityOf(k)
		assert.True(t, ok)
		assert.Equal(t, id, got)
	}
	signed, err := writer.Encrypt([]byte("text"), []byte("ad"))
	require.NoError(t, err)
	plain, err := reader.Decrypt(signed, []byte("ad"))
	require.NoError(t, err)
	assert.Equal(t, "text", string(plain))

	// OpenSSL reads the key, and finds the same public half.
	if openssl, err := exec.LookPath("openssl"); err == nil {
		out, err := exec.Command(openssl, "pkey", "-in", private, "-pubout").Output()
		require.NoError(t, err)
		assert.Equal(t, string(data), string(out))
	}

	data, err = PublicIdentity(keyring.Identity{1})
	require.NoError(t, err)
	weak := filepath.Join(dir, "weak.pub")
	require.NoError(t, os.WriteFile(weak, data, 0o644))

	// A private key is none for readers, and the other way round; a file that others read is no secret.
	for uri, says := range map[string]string{
		"signed:" + public:  "",
		"verify:" + private: "does not hold one PUBLIC KEY",
		"signed:" + dir:     "",
		"verify:" + dir:     "",
		"verify:" + weak:    "small order",
		"signed:absent":     "keyring identity --new makes one",
		"verify:absent":     "is missing",
	} {
		_, err := Open(uri, nil)
		assert.ErrorContains(t, err, says, uri)
	}
	require.NoError(t, os.WriteFile(public, append(data, data...), 0o644))
	_, err = Open("verify:"+public, nil)
	assert.ErrorContains(t, err, "does not hold one")
	for _, uri := range []string{"signed:", "verify:", "signed", "SIGNED:x"} {
		assert.Error(t, CheckURI(uri), uri)
	}
}
