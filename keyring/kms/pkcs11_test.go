//go:build pkcs11 && cgo

package kms

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/miekg/pkcs11"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/keyring"
)

// softHSM is a token of SoftHSM2 in a directory of its own.
type softHSM struct {
	module string
	tokens string // the directory
	ctx    *pkcs11.Ctx
}

// newSoftHSM makes the token "admitone" with the PIN 1234 and the AES-256 keys
// kek (ID 0101), other (ID 02ff), which does not decrypt, reader, which does not
// encrypt, and, twice, double.
func newSoftHSM(t *testing.T) *softHSM {
	t.Helper()
	h := &softHSM{tokens: filepath.Join(t.TempDir(), "tokens")}
	for _, path := range []string{
		"/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/softhsm/libsofthsm2.so", "/usr/lib64/libsofthsm2.so",
		"/usr/local/lib/softhsm/libsofthsm2.so", "/opt/homebrew/lib/softhsm/libsofthsm2.so",
	} {
		if _, err := os.Stat(path); err == nil {
			h.module = path
		}
	}
	tool, err := exec.LookPath("softhsm2-util")
	if h.module == "" || err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("SoftHSM2 is missing; install softhsm2")
		}
		t.Skip("SoftHSM2 is missing; install softhsm2")
	}
	require.NoError(t, os.Mkdir(h.tokens, 0o700))
	conf := filepath.Join(t.TempDir(), "softhsm2.conf")
	text := fmt.Appendf(nil, "directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n", h.tokens)
	require.NoError(t, os.WriteFile(conf, text, 0o600))
	t.Setenv("SOFTHSM2_CONF", conf)
	out, err := exec.Command(tool, "--init-token", "--free", "--label", "admitone", "--pin", "1234", "--so-pin",
		"12345678").CombinedOutput()
	require.NoError(t, err, "%s", out)

	h.ctx = pkcs11.New(h.module)
	require.NotNil(t, h.ctx)
	require.NoError(t, h.ctx.Initialize())
	t.Cleanup(func() { h.ctx.Finalize() })
	session := h.session(t)
	for _, k := range []struct{ label, id string }{
		{"kek", "\x01\x01"}, {"other", "\x02\xff"}, {"reader", "5"}, {"double", "3"}, {"double", "4"},
	} {
		_, err := h.ctx.GenerateKey(session, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_KEY_GEN, nil)}, []*pkcs11.Attribute{
			pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true), pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true),
			pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true), pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, false),
			pkcs11.NewAttribute(pkcs11.CKA_ENCRYPT, k.label != "reader"),
			pkcs11.NewAttribute(pkcs11.CKA_DECRYPT, k.label != "other"),
			pkcs11.NewAttribute(pkcs11.CKA_VALUE_LEN, 32), pkcs11.NewAttribute(pkcs11.CKA_LABEL, k.label),
			pkcs11.NewAttribute(pkcs11.CKA_ID, []byte(k.id)),
		})
		require.NoError(t, err)
	}
	require.NoError(t, h.ctx.CloseSession(session))
	return h
}

// session opens a session for writing, logged in.
func (h *softHSM) session(t *testing.T) pkcs11.SessionHandle {
	t.Helper()
	slots, err := h.ctx.GetSlotList(true)
	require.NoError(t, err)
	session, err := h.ctx.OpenSession(slots[0], pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	require.NoError(t, err)
	require.NoError(t, h.ctx.Login(session, pkcs11.CKU_USER, "1234"))
	return session
}

// uri names a key of the token, whose PIN is in the environment.
func (h *softHSM) uri(attributes string) string {
	module := url.PathEscape(h.module)
	return "pkcs11:token=admitone;" + attributes + "?module-path=" + module + "&pin-source=env:KMS_TEST_PIN"
}

func TestPKCS11(t *testing.T) {
	h := newSoftHSM(t)
	t.Setenv("KMS_TEST_PIN", "1234")
	testRemote(t, mustOpen(t, h.uri("object=kek")), "pkcs11")

	// The same key by its ID, with the PIN in a file.
	wrapped, err := mustOpen(t, h.uri("object=kek")).Encrypt([]byte("text"), []byte("ad"))
	require.NoError(t, err)
	uri := "pkcs11:token=admitone;id=%01%01;type=secret-key?pin-source=file:" + writeFile(t, "1234\n", 0o600) + "&module-path=" + h.module
	plain, err := mustOpen(t, uri).Decrypt(wrapped, []byte("ad"))
	require.NoError(t, err)
	assert.Equal(t, "text", string(plain))

	for attributes, text := range map[string]string{
		"object=absent":        `there is no AES key "absent" in the token "admitone"`,
		"object=double":        `more than one AES key "double"`,
		"object=kek;id=%02":    "there is no AES key",
		"object=kek;serial=12": "there is no token",
	} {
		assertOutage(t, mustOpen(t, h.uri(attributes)), wrapped, text)
	}
	_, err = mustOpen(t, h.uri("object=double;id=3")).Decrypt(wrapped, []byte("ad"))
	assert.Error(t, err)
	assert.NotErrorIs(t, err, keyring.ErrKEKUnavailable, "another key")
	_, err = mustOpen(t, h.uri("object=other")).Encrypt([]byte("text"), []byte("ad"))
	assert.ErrorContains(t, err, "must not encrypt and decrypt")
	assert.ErrorIs(t, err, keyring.ErrKEKUnavailable)

	// SoftHSM says CKR_GENERAL_ERROR to a wrong tag. Where it cannot be seen that the
	// token works, that is no word about the ciphertext.
	_, err = mustOpen(t, h.uri("object=reader")).Decrypt(wrapped, []byte("ad"))
	assert.ErrorIs(t, err, keyring.ErrKEKUnavailable)
	assert.ErrorContains(t, err, "CKR_GENERAL_ERROR")

	_, err = Open("pkcs11:token=t;object=o?module-path=/absent/module.so", nil)
	assert.ErrorContains(t, err, "/absent/module.so cannot be loaded")
}

func TestPKCS11Concurrent(t *testing.T) {
	h := newSoftHSM(t)
	t.Setenv("KMS_TEST_PIN", "1234")
	// Two KEKs, as of a service with two keyrings: each closes its sessions, and
	// so logs out, while the other works.
	keks := []keyring.KEK{mustOpen(t, h.uri("object=kek")), mustOpen(t, h.uri("object=kek"))}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 10 {
				wrapped, err := keks[i%2].Encrypt([]byte("text"), []byte("ad"))
				if !assert.NoError(t, err) {
					return
				}
				_, err = keks[(i+1)%2].Decrypt(wrapped, []byte("ad"))
				assert.NoError(t, err)
			}
		})
	}
	wg.Wait()
}

// TestPKCS11PIN: a wrong PIN is tried once, since tokens lock.
func TestPKCS11PIN(t *testing.T) {
	h := newSoftHSM(t)
	t.Setenv("KMS_TEST_PIN", "1234")
	wrapped, err := mustOpen(t, h.uri("object=kek")).Encrypt([]byte("text"), []byte("ad"))
	require.NoError(t, err)

	kek := mustOpen(t, h.uri("object=kek"))
	t.Setenv("KMS_TEST_PIN", "9999")
	_, err = kek.Decrypt(wrapped, []byte("ad"))
	assert.ErrorIs(t, err, keyring.ErrKEKUnavailable)
	assert.ErrorContains(t, err, "the token refuses the PIN")
	for range 20 {
		_, err = kek.Decrypt(wrapped, []byte("ad"))
		assert.ErrorContains(t, err, "the PIN is not tried again")
		assert.NotContains(t, err.Error(), "9999")
	}
	for _, s := range []string{
		fmt.Sprintf("%+v", kek), fmt.Sprintf("%#v", kek), fmt.Sprintf("%+v", keyring.Config{KEK: kek}),
	} {
		assert.NotContains(t, s, "9999")
	}
	t.Setenv("KMS_TEST_PIN", "1234")
	_, err = kek.Decrypt(wrapped, []byte("ad"))
	assert.NoError(t, err)

	t.Setenv("KMS_TEST_PIN", "")
	assertOutage(t, kek, wrapped, "the PIN is empty")
	kek = mustOpen(t, "pkcs11:token=admitone;object=kek?module-path="+h.module)
	assertOutage(t, kek, wrapped, "the token requires a PIN")
	kek = mustOpen(t, "pkcs11:token=admitone;object=kek?module-path="+h.module+"&pin-source=file:/absent/pin")
	assertOutage(t, kek, wrapped, "the PIN file /absent/pin is missing")
}

// TestPKCS11Removed: a token that was taken out works again when it is back.
func TestPKCS11Removed(t *testing.T) {
	h := newSoftHSM(t)
	t.Setenv("KMS_TEST_PIN", "1234")
	kek := mustOpen(t, h.uri("object=kek"))
	wrapped, err := kek.Encrypt([]byte("text"), []byte("ad"))
	require.NoError(t, err)

	// SoftHSM looks for its tokens when it begins.
	require.NoError(t, h.ctx.Finalize())
	require.NoError(t, os.Rename(h.tokens, h.tokens+".out"))
	require.NoError(t, os.Mkdir(h.tokens, 0o700))
	assertOutage(t, kek, wrapped, `there is no token "admitone"`)

	require.NoError(t, h.ctx.Finalize())
	require.NoError(t, os.Remove(h.tokens))
	require.NoError(t, os.Rename(h.tokens+".out", h.tokens))
	_, err = kek.Decrypt(wrapped, []byte("ad"))
	assert.NoError(t, err)

	// So it is when something else ends its sessions.
	slots, err := h.ctx.GetSlotList(true)
	require.NoError(t, err)
	require.NoError(t, h.ctx.CloseAllSessions(slots[0]))
	_, err = kek.Decrypt(wrapped, []byte("ad"))
	assert.NoError(t, err)
	s := kek.(*remoteKEK).service.(*pkcs11Service)
	_, err = s.call(t.Context(), nil, func(pkcs11.SessionHandle, pkcs11.ObjectHandle, []byte) ([]byte, error) {
		return nil, pkcs11.Error(pkcs11.CKR_DEVICE_REMOVED)
	})
	assert.ErrorContains(t, err, "the token went away")
}

// TestPKCS11Hangs: a library that hangs holds nobody up for ever.
func TestPKCS11Hangs(t *testing.T) {
	h := newSoftHSM(t)
	t.Setenv("KMS_TEST_PIN", "1234")
	kek := mustOpen(t, h.uri("object=kek"))
	wrapped, err := kek.Encrypt([]byte("text"), []byte("ad"))
	require.NoError(t, err)
	s := kek.(*remoteKEK).service.(*pkcs11Service)
	begun, end := make(chan struct{}), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-begun; cancel() }()
	_, err = s.call(ctx, []byte("in"), func(pkcs11.SessionHandle, pkcs11.ObjectHandle, []byte) ([]byte, error) {
		close(begun)
		<-end
		return nil, nil
	})
	assert.ErrorIs(t, err, context.Canceled)
	shrink(kek, 1)
	assertOutage(t, kek, wrapped, "the token did not answer within")
	close(end)
	shrink(kek, callTimeout)
	_, err = kek.Decrypt(wrapped, []byte("ad"))
	assert.NoError(t, err)
}

func TestPKCS11Explains(t *testing.T) {
	s := &pkcs11Service{uri: &pkcs11URI{token: "t", object: "o"}}
	for code, text := range map[uint]string{
		pkcs11.CKR_SESSION_HANDLE_INVALID:     "went away",
		pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED: "CKA_ENCRYPT and CKA_DECRYPT",
		pkcs11.CKR_MECHANISM_INVALID:          "lacks AES-GCM",
		pkcs11.CKR_PIN_LOCKED:                 "set a new PIN",
		pkcs11.CKR_GENERAL_ERROR:              "the token failed",
	} {
		err := s.explain(pkcs11.Error(code))
		assert.ErrorIs(t, err, keyring.ErrKEKUnavailable)
		assert.ErrorContains(t, err, text)
	}
	plain := errors.New("plain")
	assert.Equal(t, plain, s.explain(plain))
}
