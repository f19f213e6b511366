package kms

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/keyring"
)

// fakeVault answers as Vault's transit engine does.
type fakeVault struct {
	sealer
	t     *testing.T
	token string
	old   atomic.Bool // as before version 1.13: ignores associated_data
	hang  atomic.Bool
	fail  atomic.Pointer[vaultError]
}

type vaultError struct {
	status int
	text   string
}

func (f *fakeVault) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if f.hang.Load() {
		io.Copy(io.Discard, r.Body) // or it is not seen that the caller went away
		<-r.Context().Done()
		panic(http.ErrAbortHandler) // an answer could still arrive
	}
	reject := func(status int, text string) {
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(map[string]any{"errors": []string{text}})
	}
	var in struct {
		Plaintext, Ciphertext string
		AssociatedData        string `json:"associated_data"`
	}
	if !assert.NoError(f.t, json.NewDecoder(r.Body).Decode(&in)) {
		return
	}
	if f.old.Load() {
		in.AssociatedData = ""
	}
	e := f.fail.Load()
	operation, ok := strings.CutPrefix(r.URL.Path, "/v1/transit/")
	switch {
	case e != nil:
		reject(e.status, e.text)
	case r.Header.Get("X-Vault-Token") != f.token:
		reject(http.StatusForbidden, "permission denied")
	case !ok:
		reject(http.StatusNotFound, "no handler for route")
	case operation == "encrypt/admitone":
		plain, err := base64.StdEncoding.DecodeString(in.Plaintext)
		assert.NoError(f.t, err)
		f.answer(w, "ciphertext", "vault:v1:"+base64.StdEncoding.EncodeToString(f.seal(plain, in.AssociatedData)))
	case operation == "decrypt/admitone":
		blob, prefixed := strings.CutPrefix(in.Ciphertext, "vault:v1:")
		b, err := base64.StdEncoding.DecodeString(blob)
		if !prefixed || err != nil {
			reject(http.StatusBadRequest, "invalid ciphertext: no prefix")
			return
		}
		plain, err := f.open(b, in.AssociatedData)
		if err != nil {
			reject(http.StatusBadRequest, "cipher: message authentication failed")
			return
		}
		f.answer(w, "plaintext", base64.StdEncoding.EncodeToString(plain))
	default:
		reject(http.StatusBadRequest, "encryption key not found")
	}
}

func (f *fakeVault) answer(w http.ResponseWriter, name, value string) {
	assert.NoError(f.t, json.NewEncoder(w).Encode(map[string]any{"data": map[string]string{name: value}}))
}

// setVault makes an environment of nothing but what is given here.
func setVault(t *testing.T, address, token string) {
	for _, pair := range os.Environ() {
		if name, _, _ := strings.Cut(pair, "="); strings.HasPrefix(name, "VAULT_") {
			t.Setenv(name, "") // comes back at the end
			os.Unsetenv(name)
		}
	}
	t.Setenv("HOME", t.TempDir())
	t.Setenv("VAULT_ADDR", address)
	t.Setenv("VAULT_TOKEN", token)
	t.Setenv("VAULT_MAX_RETRIES", "0")
}

func newVault(t *testing.T) (*fakeVault, string) {
	t.Helper()
	f := &fakeVault{sealer: newSealer(t), t: t, token: "hvs.secret"}
	server := httptest.NewTLSServer(f)
	t.Cleanup(server.Close)
	setVault(t, server.URL, f.token)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	block := &pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}
	require.NoError(t, os.WriteFile(ca, pem.EncodeToMemory(block), 0o600))
	t.Setenv("VAULT_CACERT", ca)
	return f, strings.TrimPrefix(server.URL, "https://")
}

func mustOpen(t *testing.T, uri string) keyring.KEK {
	t.Helper()
	kek, err := Open(uri, nil)
	require.NoError(t, err)
	shrink(kek, patience)
	return kek
}

func TestVault(t *testing.T) {
	_, host := newVault(t)
	testRemote(t, mustOpen(t, "hcvault:///transit/keys/admitone"), "hcvault")

	// The URI's own server, whatever VAULT_ADDR says.
	wrapped, err := mustOpen(t, "hcvault:///transit/keys/admitone").Encrypt([]byte("text"), []byte("ad"))
	require.NoError(t, err)
	t.Setenv("VAULT_ADDR", "https://127.0.0.1:1")
	t.Setenv("VAULT_AGENT_ADDR", "https://127.0.0.1:1")
	_, err = mustOpen(t, "hcvault://"+host+"/transit/keys/admitone").Decrypt(wrapped, []byte("ad"))
	assert.NoError(t, err)
}

// TestVaultBlind: a server that ignores associated data, as Vault before 1.13
// does without a word, is found out.
//
// trap K10
func TestVaultBlind(t *testing.T) {
	f, _ := newVault(t)
	f.old.Store(true)
	kek := mustOpen(t, "hcvault:///transit/keys/admitone")
	_, err := kek.Encrypt([]byte("text"), []byte("ad"))
	assert.ErrorContains(t, err,
		"Vault does not authenticate associated data; nothing was encrypted; Vault does from version 1.13 on")

	path := filepath.Join(t.TempDir(), "keyring")
	c := keyring.Config{Kind: keyring.Ticket, KEK: kek}
	assert.ErrorContains(t, keyring.Create(path, c, keyring.DefaultPolicy(c.Kind), ""), "does not authenticate")
	assert.NoFileExists(t, path)
	f.old.Store(false)
	require.NoError(t, keyring.Create(path, c, keyring.DefaultPolicy(c.Kind), ""))
	f.old.Store(true)
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	_, err = keyring.Change(path, c, "", keyring.Step{Do: keyring.Rotate, Now: true})
	assert.Error(t, err)
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, before, after)
}

func TestVaultErrors(t *testing.T) {
	f, _ := newVault(t)
	kek := mustOpen(t, "hcvault:///transit/keys/admitone")
	wrapped, err := kek.Encrypt([]byte("text"), []byte("ad"))
	require.NoError(t, err)
	for text, e := range map[string]vaultError{
		"may not use":                     {403, "permission denied"},
		"there is no Vault key":           {400, "encryption key not found"},
		"there is no Vault key /transit/": {404, "no handler for route \"transit/encrypt/admitone\""},
		"make a key with derived=false":   {400, "missing 'context' for key derivation; the key was created using a derived key"},
		"of type aes256-gcm96":            {400, "'[0].associated_data' provided for non-AEAD cipher suite rsa-2048"},
		"too many requests":               {429, "request path: rate limit quota exceeded"},
		"unseal Vault":                    {503, "Vault is sealed"},
		"failed with status 500":          {500, "internal\nerror"},
	} {
		f.fail.Store(&e)
		assertOutage(t, kek, wrapped, text)
	}
	f.fail.Store(nil)
	assertOutage(t, mustOpen(t, "hcvault:///transit/keys/absent"), wrapped, "there is no Vault key /transit/keys/absent")
	assertOutage(t, mustOpen(t, "hcvault:///kv/keys/admitone"), wrapped, "there is no Vault key /kv/keys/admitone")

	shrink(kek, 200*time.Millisecond)
	f.hang.Store(true)
	assertOutage(t, kek, wrapped, "Vault did not answer within 200ms")
}

func TestVaultToken(t *testing.T) {
	f, _ := newVault(t)
	kek := mustOpen(t, "hcvault:///transit/keys/admitone")
	wrapped, err := kek.Encrypt([]byte("text"), []byte("ad"))
	require.NoError(t, err)

	t.Setenv("VAULT_TOKEN", "hvs.other")
	assertOutage(t, mustOpen(t, "hcvault:///transit/keys/admitone"), wrapped, "has expired; renew the token")
	_, err = mustOpen(t, "hcvault:///transit/keys/admitone").Decrypt(wrapped, []byte("ad"))
	assert.NotContains(t, err.Error(), "hvs.")

	t.Setenv("VAULT_TOKEN", "")
	kek = mustOpen(t, "hcvault:///transit/keys/admitone")
	assertOutage(t, kek, wrapped, "there is no Vault token; set VAULT_TOKEN")

	// What vault login leaves, and an agent renews, is read at each call.
	home, err := os.UserHomeDir()
	require.NoError(t, err)
	file := filepath.Join(home, ".vault-token")
	require.NoError(t, os.WriteFile(file, []byte("hvs.secret\n"), 0o600))
	_, err = kek.Decrypt(wrapped, []byte("ad"))
	assert.NoError(t, err)
	f.token = "hvs.next"
	_, err = kek.Decrypt(wrapped, []byte("ad"))
	assert.ErrorIs(t, err, keyring.ErrKEKUnavailable)
	require.NoError(t, os.WriteFile(file, []byte("hvs.next\n"), 0o600))
	_, err = kek.Decrypt(wrapped, []byte("ad"))
	assert.NoError(t, err)
	require.NoError(t, os.Chmod(file, 0o644))
	assertOutage(t, kek, wrapped, "chmod 0600")
}

func TestVaultEnvironment(t *testing.T) {
	_, host := newVault(t)
	t.Setenv("VAULT_SKIP_VERIFY", "true")
	_, err := Open("hcvault:///transit/keys/admitone", nil)
	assert.ErrorContains(t, err, "VAULT_SKIP_VERIFY is set")
	t.Setenv("VAULT_SKIP_VERIFY", "")

	t.Setenv("VAULT_ADDR", "http://vault.example:8200")
	_, err = Open("hcvault:///transit/keys/admitone", nil)
	assert.ErrorContains(t, err, "VAULT_ADDR must be an https: address")
	_, err = Open("hcvault://"+host+"/transit/keys/admitone", nil)
	assert.NoError(t, err, "is not asked")

	t.Setenv("VAULT_ADDR", "")
	_, err = Open("hcvault:///transit/keys/admitone", nil)
	assert.ErrorContains(t, err,
		"VAULT_ADDR is not set, and hcvault:/// takes the server from VAULT_ADDR; set the variable, "+
			"or give hcvault://HOST:PORT/transit/keys/admitone")

	// A server that no trusted authority vouches for.
	t.Setenv("VAULT_CACERT", "")
	kek := mustOpen(t, "hcvault://"+host+"/transit/keys/admitone")
	_, err = kek.Encrypt([]byte("text"), []byte("ad"))
	assert.ErrorIs(t, err, keyring.ErrKEKUnavailable)
	assert.ErrorContains(t, err, "certificate")
	t.Setenv("VAULT_CACERT", "/absent")
	_, err = Open("hcvault://"+host+"/transit/keys/admitone", nil)
	assert.ErrorContains(t, err, "VAULT_… variables")
}
