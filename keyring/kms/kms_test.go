package kms

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/argon2"

	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/token"
)

func writeFile(t *testing.T, data string, mode fs.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(path, []byte(data), 0o600))
	require.NoError(t, os.Chmod(path, mode))
	return path
}

const key = "0123456789abcdefghijklmnopqrstuv"

// No URI means that nothing is encrypted.
//
// trap K2
func TestOpenRefuses(t *testing.T) {
	for _, uri := range []string{
		"cleartext:", "cleartext", "insecure-cleartext:", "none:", "null:",
		"", "file", "file:", "passphrase", "secret", "AWS-KMS://x", "FILE:x", "passphrase:secret", "passphrase:env:",
		"passphrase:env", "passphrase:file:", "passphrase:pass:secret",
	} {
		kek, err := Open(uri, func() (string, error) { return "secret", nil })
		require.Error(t, err, uri)
		assert.Nil(t, kek, uri)
		assert.NotContains(t, err.Error(), "secret", "what is given in the wrong place may be the passphrase")
		assert.Contains(t, err.Error(), "passphrase:env:NAME", uri)
		assert.Equal(t, err, CheckURI(uri), uri)
		field, ok := errors.AsType[*token.ConfigError](err)
		require.True(t, ok, uri)
		assert.Equal(t, "kms.URI", field.Field)
	}
	for _, uri := range []string{
		"file:absent", "passphrase:", "passphrase:env:X", "passphrase:file:absent", "passphrase:file:a:b",
	} {
		assert.NoError(t, CheckURI(uri), uri)
	}
}

func TestKeyFile(t *testing.T) {
	path := writeFile(t, key, 0o600)
	kek, err := Open("file:"+path, nil)
	require.NoError(t, err)
	assert.Equal(t, "file", kek.Hint())

	// What it makes is plain AES-256-GCM: nonce, ciphertext, tag.
	wrapped, err := kek.Encrypt([]byte("text"), []byte("ad"))
	require.NoError(t, err)
	block, err := aes.NewCipher([]byte(key))
	require.NoError(t, err)
	gcm, err := cipher.NewGCM(block)
	require.NoError(t, err)
	plain, err := gcm.Open(nil, wrapped[:12], wrapped[12:], []byte("ad"))
	require.NoError(t, err)
	assert.Equal(t, "text", string(plain))
	_, err = kek.Decrypt(wrapped, []byte("other"))
	assert.Error(t, err)
	for _, s := range []string{
		fmt.Sprint(kek), fmt.Sprintf("%+v", kek), fmt.Sprintf("%#v", kek), fmt.Sprintf("%+v", keyring.Config{KEK: kek}),
	} {
		assert.NotContains(t, s, key[:8])
		assert.NotContains(t, s, "48 49 50 51") // the key's bytes as %v shows them
	}

	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(path, link))
	_, err = Open("file:"+link, nil)
	assert.NoError(t, err)
}

func TestKeyFileRefused(t *testing.T) {
	for _, tc := range []struct{ name, data, text string }{
		{"empty", "", "0 bytes"},
		{"short", key[1:], "31 bytes"},
		{"with a newline", key + "\n", "33 bytes"},
		{"hex", strings.Repeat("0f", 32), "64 bytes"},
		{"zeros", strings.Repeat("\x00", 32), "same byte"},
		{"huge", strings.Repeat("x", 5000), "too large: over 4096 bytes"},
	} {
		_, err := Open("file:"+writeFile(t, tc.data, 0o600), nil)
		assert.ErrorContains(t, err, tc.text, tc.name)
	}
	absent := filepath.Join(t.TempDir(), "absent")
	_, err := Open("file:"+absent, nil)
	assert.ErrorIs(t, err, fs.ErrNotExist)
	assert.ErrorContains(t, err,
		"the key-encryption key "+absent+" is missing; mount or restore it; keyring init makes one for a new keyring")
	_, err = Open("passphrase:file:"+absent, nil)
	assert.ErrorIs(t, err, fs.ErrNotExist)
	assert.ErrorContains(t, err, "the passphrase file "+absent+" is missing")
	assert.NotContains(t, err.Error(), "keyring init")
	_, err = Open("file:"+t.TempDir(), nil)
	assert.ErrorContains(t, err, "not a regular file")
	_, err = Open("file:/dev/null", nil)
	assert.ErrorContains(t, err, "not a regular file")
}

func TestModes(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no such modes")
	}
	for mode, good := range map[fs.FileMode]bool{
		0o600: true, 0o400: true, 0o640: true, 0o440: true, 0o700: true,
		0o644: false, 0o604: false, 0o602: false, 0o620: false, 0o660: false, 0o444: false, 0o777: false,
	} {
		for _, uri := range []string{"file:", "passphrase:file:"} {
			path := writeFile(t, key, mode)
			_, err := Open(uri+path, nil)
			if good {
				assert.NoError(t, err, "%s %04o", uri, mode)
			} else {
				assert.ErrorContains(t, err, "chmod 0600 "+path, "%s %04o", uri, mode)
			}
		}
	}
}

// trap K2
func TestCreateKeyFile(t *testing.T) {
	dir := t.TempDir()
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
	require.NoError(t, CreateKeyFile(one))
	require.NoError(t, CreateKeyFile(two))
	a, err := os.ReadFile(one)
	require.NoError(t, err)
	b, err := os.ReadFile(two)
	require.NoError(t, err)
	assert.NotEqual(t, a, b)
	assert.Len(t, a, 32)
	if info, err := os.Stat(one); assert.NoError(t, err) && runtime.GOOS != "windows" {
		assert.Equal(t, fs.FileMode(0o600), info.Mode().Perm())
	}
	assert.ErrorIs(t, CreateKeyFile(one), fs.ErrExist)
	again, err := os.ReadFile(one)
	require.NoError(t, err)
	assert.Equal(t, a, again)
	_, err = Open("file:"+one, nil)
	assert.NoError(t, err)
}

func TestPassphraseSources(t *testing.T) {
	t.Setenv("KMS_TEST_PASSPHRASE", "correct horse")
	t.Setenv("KMS_TEST_EMPTY", "")
	says := func(p string, err error) Prompt { return func() (string, error) { return p, err } }
	errGone := errors.New("gone to lunch")
	for _, tc := range []struct {
		uri    string
		prompt Prompt
		want   string // the passphrase, or what the error says
		ok     bool
	}{
		{"passphrase:", says("correct horse", nil), "correct horse", true},
		{"passphrase:", says(" correct horse ", nil), " correct horse ", true},
		{"passphrase:", says("", nil), "empty", false},
		{"passphrase:", says("x", errGone), "gone to lunch", false},
		{"passphrase:", nil, "nobody to ask", false},
		{"passphrase:env:KMS_TEST_PASSPHRASE", nil, "correct horse", true},
		{"passphrase:env:KMS_TEST_EMPTY", nil, "empty", false},
		{"passphrase:env:KMS_TEST_UNSET", nil, "empty", false},
		{"passphrase:file:" + writeFile(t, "correct horse", 0o600), nil, "correct horse", true},
		{"passphrase:file:" + writeFile(t, "correct horse\n", 0o600), nil, "correct horse", true},
		{"passphrase:file:" + writeFile(t, "correct horse\r\n", 0o600), nil, "correct horse", true},
		{"passphrase:file:" + writeFile(t, "correct\nhorse\n\n", 0o600), nil, "correct\nhorse", true},
		{"passphrase:file:" + writeFile(t, "\n", 0o600), nil, "empty", false},
	} {
		kek, err := Open(tc.uri, tc.prompt)
		if !tc.ok {
			assert.ErrorContains(t, err, tc.want, tc.uri)
			continue
		}
		require.NoError(t, err, tc.uri)
		assert.Equal(t, tc.want, kek.(*passphraseKEK).passphrase)
		assert.Equal(t, "passphrase", kek.Hint())
		assert.Equal(t, defaultKDF, kek.(*passphraseKEK).kdf)
		for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
			assert.NotContains(t, fmt.Sprintf(verb, kek), "horse")
			assert.NotContains(t, fmt.Sprintf(verb, keyring.Config{KEK: kek}), "horse")
		}
	}
}

// cheap is a passphrase KEK whose KDF takes no time.
func cheap(p string) *passphraseKEK {
	k := newPassphraseKEK(p)
	k.kdf = kdf{memory: 64, passes: 1, threads: 2}
	return k
}

func TestPassphraseFormat(t *testing.T) {
	wrapped, err := cheap("correct horse").Encrypt([]byte("text"), []byte("ad"))
	require.NoError(t, err)
	assert.Equal(t, []byte{1, 0, 0, 0, 64, 0, 0, 0, 1, 2}, wrapped[:10])
	block, err := aes.NewCipher(argon2.IDKey([]byte("correct horse"), wrapped[10:26], 1, 64, 2, 32))
	require.NoError(t, err)
	gcm, err := cipher.NewGCM(block)
	require.NoError(t, err)
	plain, err := gcm.Open(nil, wrapped[26:38], wrapped[38:], append(slices.Clone(wrapped[:26]), "ad"...))
	require.NoError(t, err)
	assert.Equal(t, "text", string(plain))
}

func TestPassphraseDecrypt(t *testing.T) {
	k := cheap("correct horse")
	wrapped, err := k.Encrypt([]byte("text"), []byte("ad"))
	require.NoError(t, err)
	other, err := k.Encrypt([]byte("text"), []byte("ad"))
	require.NoError(t, err)
	assert.NotEqual(t, wrapped[saltOffset:nonceOffset], other[saltOffset:nonceOffset], "a fresh salt each time")

	plain, err := cheap("correct horse").Decrypt(wrapped, []byte("ad"))
	require.NoError(t, err)
	assert.Equal(t, "text", string(plain))
	_, err = cheap("Correct horse").Decrypt(wrapped, []byte("ad"))
	assert.ErrorContains(t, err, "wrong passphrase")
	_, err = k.Decrypt(wrapped, []byte("da"))
	assert.Error(t, err)
	_, err = k.Decrypt(wrapped, nil)
	assert.Error(t, err)
	for i := range wrapped {
		_, err := k.Decrypt(wrapped[:i], []byte("ad"))
		assert.Error(t, err)
		changed := slices.Clone(wrapped)
		changed[i] ^= 1 // in the parameters, too: they are authenticated
		p := kdf{binary.BigEndian.Uint32(changed[1:]), binary.BigEndian.Uint32(changed[5:]), changed[9]}
		if p.check() == nil && p.memory > 1024 {
			continue // would only take long
		}
		_, err = cheap("correct horse").Decrypt(changed, []byte("ad"))
		assert.Error(t, err, "byte %d", i)
		assert.NotErrorIs(t, err, keyring.ErrKEKUnavailable)
	}
}

// TestPassphraseBounds refuses parameters before it uses them: the first would
// take 4 TiB of memory, the second days.
func TestPassphraseBounds(t *testing.T) {
	require.NoError(t, defaultKDF.check())
	require.NoError(t, kdf{memory: 256 << 10, passes: 3, threads: 4}.check())
	wrapped, err := cheap("correct horse").Encrypt([]byte("text"), nil)
	require.NoError(t, err)
	for _, p := range []kdf{
		{0xffffffff, 1, 1}, {64, 0xffffffff, 1}, {0xffffffff, 0xffffffff, 255},
		{0, 1, 1}, {7, 1, 1}, {15, 1, 2}, {64, 0, 1}, {64, 1, 0}, {1 << 10, 1, 17},
		{1 << 20, 1, 4}, {256<<10 + 1, 1, 1}, {256 << 10, 4, 1}, {64 << 10, 13, 4},
	} {
		binary.BigEndian.PutUint32(wrapped[1:], p.memory)
		binary.BigEndian.PutUint32(wrapped[5:], p.passes)
		wrapped[9] = p.threads
		_, err := cheap("correct horse").Decrypt(wrapped, nil)
		assert.ErrorContains(t, err, "out of bounds", "%+v", p)
	}
	wrapped[0] = 2
	_, err = cheap("correct horse").Decrypt(wrapped, nil)
	assert.ErrorContains(t, err, "version 2")
}

// trap K22: a stranger to the passphrase who rewrites the file again and again costs a
// bounded number of derivations, each of a bounded size.
func TestPassphraseFloodIsBounded(t *testing.T) {
	now := time.Now()
	k := cheap("correct horse")
	derived := 0
	k.now = func() time.Time { return now }
	k.argon2 = func(password, salt []byte, passes, memory uint32, threads uint8, size uint32) []byte {
		derived++
		return argon2.IDKey(password, salt, passes, memory, threads, size)
	}
	good, err := cheap("correct horse").Encrypt([]byte("text"), nil)
	require.NoError(t, err)
	_, err = k.Decrypt(good, nil)
	require.NoError(t, err)
	derived = 0
	forged := func() error {
		bad := slices.Clone(good)
		rand.Read(bad[saltOffset:])
		_, err := k.Decrypt(bad, nil)
		return err
	}
	for i := range 100 {
		err := forged()
		assert.Equal(t, i >= failBurst, errors.Is(err, keyring.ErrKEKUnavailable), "%d: %v", i, err)
	}
	assert.Equal(t, failBurst, derived)
	for range 20 { // five minutes
		now = now.Add(failEvery)
		for range 10 {
			assert.Error(t, forged())
		}
	}
	assert.Equal(t, failBurst+20, derived)

	// The good file opens as soon as one more is due, and good files do not count.
	_, err = k.Decrypt(good, nil)
	assert.ErrorIs(t, err, keyring.ErrKEKUnavailable)
	now = now.Add(failEvery)
	for range 10 {
		next, err := cheap("correct horse").Encrypt([]byte("text"), nil)
		require.NoError(t, err)
		_, err = k.Decrypt(next, nil)
		require.NoError(t, err)
	}

	// 1 GiB is no cost at all.
	derived = 0
	binary.BigEndian.PutUint32(good[1:], 1<<20)
	_, err = k.Decrypt(good, nil)
	assert.ErrorContains(t, err, "out of bounds")
	assert.Zero(t, derived)
}

// trap K22: a Ring whose file is rewritten keeps its keys, and takes a good file again.
func TestRingSurvivesPassphraseFlood(t *testing.T) {
	now := time.Now()
	k := cheap("correct horse")
	k.now = func() time.Time { return now }
	path := filepath.Join(t.TempDir(), "keyring")
	c := keyring.Config{Kind: keyring.Ticket, KEK: k, Log: slog.New(slog.DiscardHandler)}
	require.NoError(t, keyring.Create(path, c, keyring.DefaultPolicy(c.Kind), ""))
	good, err := os.ReadFile(path)
	require.NoError(t, err)
	c.Poll = time.Hour
	ring, err := keyring.Open(path, c)
	require.NoError(t, err)
	defer ring.Close()
	line, _, _ := bytes.Cut(good, []byte("\n"))
	for range 2 * failBurst {
		other, err := cheap("another").Encrypt([]byte("text"), nil)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(path, slices.Concat(line, []byte("\n"),
			[]byte(base64.StdEncoding.EncodeToString(other)), []byte("\n")), 0o600))
		require.Error(t, ring.Reload())
		_, err = ring.Encrypt([]byte("text"), nil)
		require.NoError(t, err)
	}
	assert.Equal(t, keyring.KEKUnavailable, ring.Report().Reason)
	require.NoError(t, os.WriteFile(path, good, 0o600))
	assert.NoError(t, ring.Reload(), "the file in use needs no derivation")
	writer := c
	writer.KEK = cheap("correct horse")
	_, err = keyring.Change(path, writer, "", keyring.Step{Do: keyring.Rotate})
	require.NoError(t, err)
	now = now.Add(failEvery)
	require.NoError(t, ring.Reload())
	assert.EqualValues(t, 2, ring.Report().Generation)
}

// trap K25: a newline behind the passphrase makes no other key.
func TestPassphraseWithNewline(t *testing.T) {
	typed, err := Open("passphrase:", func() (string, error) { return "correct horse", nil })
	require.NoError(t, err)
	typed.(*passphraseKEK).kdf = cheap("").kdf
	wrapped, err := typed.Encrypt([]byte("text"), nil)
	require.NoError(t, err)
	for _, end := range []string{"", "\n", "\r\n", "\n\n", "\r\n\r\n"} {
		t.Setenv("KMS_TEST_NEWLINE", "correct horse"+end)
		for uri, prompt := range map[string]Prompt{
			"passphrase:env:KMS_TEST_NEWLINE":                             nil,
			"passphrase:file:" + writeFile(t, "correct horse"+end, 0o600): nil,
			"passphrase:": func() (string, error) { return "correct horse" + end, nil },
		} {
			kek, err := Open(uri, prompt)
			require.NoError(t, err)
			plain, err := kek.Decrypt(wrapped, nil)
			require.NoError(t, err, "%s %q", uri, end)
			assert.Equal(t, "text", string(plain))
		}
	}
	t.Setenv("KMS_TEST_NEWLINE", "\n")
	_, err = Open("passphrase:env:KMS_TEST_NEWLINE", nil)
	assert.ErrorContains(t, err, "empty")
}

func TestPassphraseDerivesOnce(t *testing.T) {
	k, derived := cheap("correct horse"), 0
	k.argon2 = func(password, salt []byte, passes, memory uint32, threads uint8, size uint32) []byte {
		derived++
		return argon2.IDKey(password, salt, passes, memory, threads, size)
	}
	one, err := cheap("correct horse").Encrypt([]byte("text"), nil)
	require.NoError(t, err)
	two, err := cheap("correct horse").Encrypt([]byte("text"), nil)
	require.NoError(t, err)
	for _, row := range []struct {
		sealed  []byte
		derived int
	}{{one, 1}, {one, 1}, {two, 2}, {two, 2}} {
		_, err = k.Decrypt(row.sealed, nil)
		require.NoError(t, err)
		assert.Equal(t, row.derived, derived)
	}
}

func TestKeyringUnderEachKEK(t *testing.T) {
	t.Setenv("KMS_TEST_PASSPHRASE", "correct horse")
	t.Setenv("KMS_TEST_OTHER", "battery staple")
	file, err := Open("file:"+writeFile(t, key, 0o600), nil)
	require.NoError(t, err)
	otherFile, err := Open("file:"+writeFile(t, strings.ToUpper(key), 0o600), nil)
	require.NoError(t, err)
	pass, err := Open("passphrase:env:KMS_TEST_PASSPHRASE", nil)
	require.NoError(t, err)
	otherPass, err := Open("passphrase:env:KMS_TEST_OTHER", nil)
	require.NoError(t, err)

	causes := func(path string, kek keyring.KEK) keyring.Reason {
		_, err := keyring.Read(path, keyring.Config{Kind: keyring.Ticket, KEK: kek})
		f, ok := errors.AsType[*keyring.FileError](err)
		require.True(t, ok, "%v", err)
		return f.Reason
	}
	for kek, other := range map[keyring.KEK]keyring.KEK{file: otherFile, pass: otherPass} {
		path := filepath.Join(t.TempDir(), "keyring")
		c := keyring.Config{Kind: keyring.Ticket, KEK: kek}
		require.NoError(t, keyring.Create(path, c, keyring.DefaultPolicy(c.Kind), ""))
		_, err := keyring.Change(path, c, "", keyring.Step{Do: keyring.Rotate, Now: true})
		require.NoError(t, err)
		info, err := keyring.Read(path, c)
		require.NoError(t, err)
		assert.Equal(t, kek.Hint(), info.KEK)
		assert.Equal(t, keyring.NotOpened, causes(path, other))
		assert.Equal(t, keyring.NotCleartext, causes(path, keyring.InsecureCleartext))
		wrong := map[string]keyring.KEK{"file": pass, "passphrase": file}[kek.Hint()]
		assert.Equal(t, keyring.WrongKEK, causes(path, wrong))
	}
}
