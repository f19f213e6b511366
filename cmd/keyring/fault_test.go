package main

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/keyring"
)

// vault is a transit engine that answers a number of calls, and then none.
type vault struct {
	aead cipher.AEAD
	left atomic.Int64
}

func newVault(t *testing.T) *vault {
	t.Helper()
	block, err := aes.NewCipher(make([]byte, 32))
	require.NoError(t, err)
	v := new(vault)
	v.aead, err = cipher.NewGCM(block)
	require.NoError(t, err)
	server := httptest.NewServer(v)
	t.Cleanup(server.Close)
	t.Setenv("VAULT_ADDR", server.URL)
	t.Setenv("VAULT_TOKEN", "t")
	t.Setenv("VAULT_MAX_RETRIES", "0")
	return v
}

func (v *vault) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if v.left.Add(-1) < 0 {
		http.Error(w, `{"errors":["sealed"]}`, http.StatusServiceUnavailable)
		return
	}
	var in struct {
		Plaintext, Ciphertext []byte
		AssociatedData        []byte `json:"associated_data"`
	}
	var raw map[string]string
	if err := json.NewDecoder(r.Body).Decode(&raw); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	decode := base64.StdEncoding.DecodeString
	in.Plaintext, _ = decode(raw["plaintext"])
	in.Ciphertext, _ = decode(strings.TrimPrefix(raw["ciphertext"], "vault:v1:"))
	in.AssociatedData, _ = decode(raw["associated_data"])
	nonce := make([]byte, 12) // of a key that no other test has
	data := map[string]string{}
	if strings.Contains(r.URL.Path, "/encrypt/") {
		sealed := v.aead.Seal(nil, nonce, in.Plaintext, in.AssociatedData)
		data["ciphertext"] = "vault:v1:" + base64.StdEncoding.EncodeToString(sealed)
	} else {
		plain, err := v.aead.Open(nil, nonce, in.Ciphertext, in.AssociatedData)
		if err != nil {
			http.Error(w, `{"errors":["cipher: message authentication failed"]}`, http.StatusBadRequest)
			return
		}
		data["plaintext"] = base64.StdEncoding.EncodeToString(plain)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"data": data})
}

// TestKMSDownHalfway has the KEK's service fail at each of its calls in turn.
// Until the command succeeds, nothing is changed, and nothing made but a lock.
// trap K1, trap K13: when the service is back, the same command does its work.
func TestKMSDownHalfway(t *testing.T) {
	v := newVault(t)
	const kek = "hcvault:///transit/keys/admitone"
	for name, command := range map[string][]string{
		"init":     {"init", "new.keyring", "--kind", "ticket", "--kek", kek},
		"rotate":   {"rotate", "old.keyring", "--now", "--kek", kek},
		"rollback": {"rollback", "old.keyring", "--kek", kek},
		"rewrap":   {"rewrap", "plain.keyring", "--insecure-cleartext", "--new-kek", kek},
		"export":   {"export", "old.keyring", "-o", "tink", "--keyset-insecure-cleartext", "--kek", kek},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			v.left.Store(1 << 30)
			for _, args := range [][]string{
				{"init", "old.keyring", "--kind", "ticket", "--kek", kek},
				{"rotate", "old.keyring", "--now", "--kek", kek},
				{"init", "plain.keyring", "--kind", "ticket", "--insecure-cleartext"},
				{"rotate", "plain.keyring", "--now", "--insecure-cleartext"},
			} {
				require.Equal(t, exitOK, run(args, io.Discard, io.Discard), args)
			}
			before := contents(t)
			for calls := int64(0); ; calls++ {
				require.Less(t, calls, int64(100))
				v.left.Store(calls)
				var stderr strings.Builder
				code := run(command, io.Discard, &stderr)
				if code == exitOK || name == "init" && strings.Contains(stderr.String(), "never overwrites") {
					assert.Greater(t, calls, int64(0), "it was never asked")
					assert.NotEqual(t, before, contents(t))
					return
				}
				require.Equal(t, exitFailed, code, stderr.String())
				if strings.Contains(stderr.String(), "new.keyring is made, and cannot be read back") {
					continue // as it says
				}
				require.Contains(t, stderr.String(), "Vault")
				require.Equal(t, before, contents(t), "after %d calls", calls)
			}
		})
	}
}

// contents are the files of the folder, but for locks.
func contents(t *testing.T) map[string]string {
	t.Helper()
	files := make(map[string]string)
	all, err := os.ReadDir(".")
	require.NoError(t, err)
	for _, f := range all {
		if filepath.Ext(f.Name()) == ".lock" {
			continue
		}
		data, err := os.ReadFile(f.Name())
		require.NoError(t, err)
		files[f.Name()] = string(data)
	}
	return files
}

// TestEditedByte changes each byte of the file outside the keyset in turn: nothing
// of such a file is shown.
// trap K4.
func TestEditedByte(t *testing.T) {
	t.Chdir(t.TempDir())
	init := []string{"init", "t.keyring", "--kind", "ticket", "--realm", "prod", "--kek", "file:kek"}
	require.Equal(t, exitOK, run(init, io.Discard, io.Discard))
	good, err := os.ReadFile("t.keyring")
	require.NoError(t, err)
	header := bytes.IndexByte(good, '\n')
	require.Greater(t, header, 200)
	for i := range header + 1 {
		bad := bytes.Clone(good)
		bad[i] ^= 1
		require.NoError(t, os.WriteFile("edited.keyring", bad, 0o600))
		var stdout, stderr strings.Builder
		code := run([]string{"status", "edited.keyring", "--realm", "prod", "--kek", "file:kek"}, &stdout, &stderr)
		require.Equal(t, exitUnreadable, code, "byte %d", i)
		require.Empty(t, stdout.String())
		require.Contains(t, stderr.String(), "edited.keyring")
	}
}

// TestConcurrentWriters has many change one keyring at once. Each does it, or says
// that another is at it; the log tells of all who did.
// trap K16.
func TestConcurrentWriters(t *testing.T) {
	t.Chdir(t.TempDir())
	flags := []string{"t.keyring", "--realm", "prod", "--kek", "file:kek"}
	require.Equal(t, exitOK, run(append([]string{"init", "--kind", "ticket"}, flags...), io.Discard, io.Discard))
	var wg sync.WaitGroup
	var done atomic.Int64
	for range 8 {
		wg.Go(func() {
			for range 4 {
				var stderr strings.Builder
				switch code := run(append([]string{"rotate", "--now"}, flags...), io.Discard, &stderr); code {
				case exitOK:
					done.Add(1)
				default:
					assert.Equal(t, exitFailed, code)
					assert.Contains(t, stderr.String(), "another process is changing t.keyring; try again")
				}
			}
		})
	}
	wg.Wait()
	assert.Positive(t, done.Load())
	var stdout strings.Builder
	require.Equal(t, exitOK, run(append([]string{"audit", "--json"}, flags...), &stdout, io.Discard))
	var r auditReport
	require.NoError(t, json.Unmarshal([]byte(stdout.String()), &r))
	assert.Len(t, r.Entries, int(done.Load())+1)
	for i, e := range r.Entries {
		assert.EqualValues(t, i+1, e.Generation)
		assert.Equal(t, keyring.Done, e.Result)
	}
}
