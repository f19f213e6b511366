package kms

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/internal/sealing"
	"github.com/admitone/admitone/keyring"
)

// sealer is AES-256-GCM under a fresh key: what the fakes of services encrypt with.
type sealer struct{ cipher.AEAD }

func newSealer(t *testing.T) sealer {
	t.Helper()
	k := make([]byte, keySize)
	rand.Read(k)
	a, err := sealing.NewGCM(k)
	require.NoError(t, err)
	return sealer{a}
}

func (s sealer) seal(plain []byte, ad string) []byte {
	return s.Seal(nil, nil, plain, []byte(ad))
}

func (s sealer) open(b []byte, ad string) ([]byte, error) {
	if len(b) < nonceSize {
		return nil, errors.New("short")
	}
	return s.Open(nil, nil, b, []byte(ad))
}

// patience is how long a call may take on a machine that is busy.
const patience = 3 * time.Minute

// shrink sets how long a call of a remote KEK may take.
func shrink(k keyring.KEK, d time.Duration) {
	r := k.(*remoteKEK)
	r.timeout = d
	if s, ok := r.service.(*tinkService); ok {
		if v, ok := s.aead.(*vaultAEAD); ok {
			v.client.SetClientTimeout(d)
		}
	}
}

// testRemote is what every KEK in a service must do.
func testRemote(t *testing.T, kek keyring.KEK, hint string) {
	t.Helper()
	assert.Equal(t, hint, kek.Hint())
	for _, ad := range [][]byte{[]byte("associated data"), {0}} {
		// trap K10: over the 4,096 bytes of AWS, and over the 64 KiB of Google.
		for _, size := range []int{0, 1, 4096, 4097, 100_000} {
			plain := bytes.Repeat([]byte("k"), size)
			wrapped, err := kek.Encrypt(plain, ad)
			require.NoError(t, err)
			again, err := kek.Decrypt(wrapped, ad)
			require.NoError(t, err)
			assert.True(t, bytes.Equal(plain, again))
		}
	}

	wrapped, err := kek.Encrypt([]byte("text"), []byte("ad"))
	require.NoError(t, err)
	other, err := kek.Encrypt([]byte("text"), []byte("ad"))
	require.NoError(t, err)
	assert.NotEqual(t, wrapped[len(wrapped)-20:], other[len(other)-20:], "a fresh data key each time")
	for _, ad := range []string{"", "a", "add", "Ad"} {
		_, err := kek.Decrypt(wrapped, []byte(ad))
		require.Error(t, err, ad)
		assert.NotErrorIs(t, err, keyring.ErrKEKUnavailable, ad)
	}
	for i := range wrapped {
		_, err := kek.Decrypt(wrapped[:i], []byte("ad"))
		require.Error(t, err, "cut at %d", i)
		assert.NotErrorIs(t, err, keyring.ErrKEKUnavailable, "cut at %d", i)
		changed := slices.Clone(wrapped)
		changed[i] ^= 0x80
		_, err = kek.Decrypt(changed, []byte("ad"))
		require.Error(t, err, "byte %d", i)
		assert.NotErrorIs(t, err, keyring.ErrKEKUnavailable, "byte %d: %v", i, err)
	}

	// Someone else opens it, with the service and AES-256-GCM.
	length := binary.BigEndian.Uint16(wrapped[1:])
	body := wrapped[3+length:]
	dataKey, err := kek.(*remoteKEK).unwrap(t.Context(), wrapped[3:3+length], []byte("ad"))
	require.NoError(t, err)
	block, err := aes.NewCipher(dataKey)
	require.NoError(t, err)
	gcm, err := cipher.NewGCM(block)
	require.NoError(t, err)
	plain, err := gcm.Open(nil, body[:12], body[12:], []byte("ad"))
	require.NoError(t, err)
	assert.Equal(t, "text", string(plain))

	path := filepath.Join(t.TempDir(), "keyring")
	c := keyring.Config{Kind: keyring.Ticket, Realm: "prod", KEK: kek}
	require.NoError(t, keyring.Create(path, c, keyring.DefaultPolicy(c.Kind), ""))
	_, err = keyring.Change(path, c, "", keyring.Step{Do: keyring.Rotate, Now: true})
	require.NoError(t, err)
	info, err := keyring.Read(path, c)
	require.NoError(t, err)
	assert.Equal(t, hint, info.KEK)
	for _, kek := range []keyring.KEK{cheap("correct horse"), keyring.InsecureCleartext} {
		c.KEK = kek
		_, err = keyring.Read(path, c)
		require.Error(t, err)
		want := keyring.WrongKEK
		if kek == keyring.InsecureCleartext {
			want = keyring.NotCleartext
		}
		assert.Equal(t, want, exitCause(err))
	}
}

func exitCause(err error) keyring.Reason {
	if f, ok := errors.AsType[*keyring.FileError](err); ok {
		return f.Reason
	}
	return ""
}

// assertOutage says that both directions fail with an outage that tells text.
func assertOutage(t *testing.T, kek keyring.KEK, wrapped []byte, text string) {
	t.Helper()
	out, err := kek.Encrypt([]byte("the keyset"), []byte("ad"))
	assert.Empty(t, out)
	assert.ErrorIs(t, err, keyring.ErrKEKUnavailable)
	assert.ErrorContains(t, err, text)
	_, err = kek.Decrypt(wrapped, []byte("ad"))
	assert.ErrorIs(t, err, keyring.ErrKEKUnavailable)
	assert.ErrorContains(t, err, text)
	assert.NotContains(t, fmt.Sprint(err), "\n")
}

// fakeService is a service in memory whose faults a test chooses.
type fakeService struct {
	sealer
	blind   bool                    // ignores associated data
	unwraps int                     // calls so far
	fail    func(call int) error    // of unwrap, before the call is done; nil means none
	change  func(dataKey []byte)    // of what unwrap gives
	wrapAs  func(out []byte) []byte // what wrap gives instead
}

func (s *fakeService) ad(ad []byte) string {
	if s.blind {
		return ""
	}
	return string(ad)
}

func (s *fakeService) wrap(_ context.Context, dataKey, ad []byte) ([]byte, error) {
	out := s.seal(dataKey, s.ad(ad))
	if s.wrapAs != nil {
		out = s.wrapAs(out)
	}
	return out, nil
}

func (s *fakeService) unwrap(_ context.Context, wrapped, ad []byte) ([]byte, error) {
	s.unwraps++
	if s.fail != nil {
		if err := s.fail(s.unwraps); err != nil {
			return nil, err
		}
	}
	out, err := s.open(wrapped, s.ad(ad))
	if err != nil {
		return nil, refusal(err, "refused")
	}
	if s.change != nil {
		s.change(out)
	}
	return out, nil
}

func newFake(t *testing.T) (*fakeService, *remoteKEK) {
	s := &fakeService{sealer: newSealer(t)}
	return s, &remoteKEK{service: s, name: "the fake", hint: "fake", ignoresAD: "take another", timeout: time.Minute}
}

func TestRemote(t *testing.T) {
	_, kek := newFake(t)
	testRemote(t, kek, "fake")
}

// TestRemoteSelfTest: nothing is encrypted under a data key that the service
// would not give back, or would give to those who ask for another realm's.
//
// trap K10
func TestRemoteSelfTest(t *testing.T) {
	gone := outage(errors.New("no route"), "away")
	for _, tc := range []struct {
		name   string
		set    func(*fakeService)
		text   string
		outage bool
	}{
		{"ignores associated data", func(s *fakeService) { s.blind = true }, "does not authenticate associated data; nothing was encrypted; take another", false},
		{"gives back another key", func(s *fakeService) { s.change = func(k []byte) { k[0] ^= 1 } }, "does not return", false},
		{"away for the first test", func(s *fakeService) { s.fail = func(int) error { return gone } }, "away", true},
		{"away for the second test", func(s *fakeService) {
			s.fail = func(call int) error {
				if call == 2 {
					return gone
				}
				return nil
			}
		}, "cannot test whether", true},
		{"does not open what it made", func(s *fakeService) { s.fail = func(int) error { return refusal(nil, "refused") } }, "just been wrapped", false},
		{"wraps to nothing", func(s *fakeService) { s.wrapAs = func([]byte) []byte { return nil } }, "0 bytes", false},
		{"wraps to too much", func(s *fakeService) { s.wrapAs = func([]byte) []byte { return make([]byte, 4097) } }, "4097 bytes", false},
	} {
		s, kek := newFake(t)
		tc.set(s)
		for _, ad := range []string{"ad", ""} {
			out, err := kek.Encrypt([]byte("text"), []byte(ad))
			assert.Empty(t, out, tc.name)
			assert.ErrorContains(t, err, tc.text, tc.name)
			assert.Equal(t, tc.outage, errors.Is(err, keyring.ErrKEKUnavailable), tc.name)
			s.unwraps = 0
		}
		path := filepath.Join(t.TempDir(), "keyring")
		c := keyring.Config{Kind: keyring.Ticket, KEK: kek}
		require.ErrorContains(t, keyring.Create(path, c, keyring.DefaultPolicy(c.Kind), ""), tc.text, tc.name)
		assert.NoFileExists(t, path)
	}
}

func TestRemoteDecryptRefuses(t *testing.T) {
	s, kek := newFake(t)
	wrapped, err := kek.Encrypt([]byte("text"), []byte("ad"))
	require.NoError(t, err)
	s.unwraps = 0
	for _, b := range [][]byte{
		nil, {1}, {1, 0, 0}, {1, 0, 1, 0}, {2, 0, 1, 0}, {1, 0xff, 0xff, 0}, append([]byte{2}, wrapped[1:]...),
	} {
		_, err := kek.Decrypt(b, []byte("ad"))
		assert.Error(t, err, "%x", b)
	}
	assert.Zero(t, s.unwraps, "the service is not asked about what has no shape")

	// A service that gives a key of another size.
	short := append([]byte{1, 0, 60}, s.seal(make([]byte, 32), "ad")...)
	short = append(short, make([]byte, 28)...)
	_, err = kek.Decrypt(short, []byte("ad"))
	assert.ErrorContains(t, err, "was changed")
	small := s.seal(make([]byte, 16), "ad")
	short = append([]byte{1, 0, byte(len(small))}, small...)
	_, err = kek.Decrypt(append(short, make([]byte, 28)...), []byte("ad"))
	assert.ErrorContains(t, err, "16 bytes instead of 32")
	// None at all says nothing about the file.
	none := s.seal(nil, "ad")
	short = append([]byte{1, 0, byte(len(none))}, none...)
	_, err = kek.Decrypt(append(short, make([]byte, 28)...), []byte("ad"))
	assert.ErrorIs(t, err, keyring.ErrKEKUnavailable)
	assert.ErrorContains(t, err, "answered with nothing")
}

func TestFaultIsOneLine(t *testing.T) {
	f := outage(errors.New("Error making request.\n\n* first\n* "+string(bytes.Repeat([]byte("ä"), 1000))), "it failed")
	assert.NotContains(t, f.Error(), "\n")
	assert.Less(t, len(f.Error()), 1000)
	assert.Contains(t, f.Error(), "it failed: Error making request. * first")
}

func TestCheckEndpoint(t *testing.T) {
	for address, good := range map[string]bool{
		"https://vault.example:8200": true, "http://127.0.0.1:8200": true, "http://localhost:1": true,
		"http://[::1]:1": true, "unix:///run/vault": true,
		"http://vault.example": false, "http://10.0.0.1": false, "http://127.0.0.1.example": false,
		"http://localhost.example": false, "ftp://x": false, "vault": false, "": false, "http://%": false,
	} {
		assert.Equal(t, good, checkEndpoint("VAULT_ADDR", address) == nil, address)
	}
}

func TestRemoteURIs(t *testing.T) {
	const pkcs11 = "pkcs11:token=t;object=o?module-path=/lib/m.so"
	for _, uri := range []string{
		"aws-kms://arn:aws:kms:eu-west-1:123456789012:key/3ee50705-5a82-4f5b-9753-05c4f473922f",
		"aws-kms://arn:aws-us-gov:kms:us-gov-west-1:123456789012:key/mrk-1234",
		"aws-kms://arn:aws:kms:eu-west-1:123456789012:alias/admitone/prod",
		"gcp-kms://projects/p-1/locations/europe-west1/keyRings/r/cryptoKeys/k",
		"gcp-kms://projects/example.com:p/locations/global/keyRings/r_1/cryptoKeys/k-1",
		"hcvault://vault.example:8200/transit/keys/admitone",
		"hcvault://vault.example/ns/team/transit/keys/admitone",
		"hcvault://[::1]:8200/transit/keys/admitone",
		"hcvault:///transit/keys/admitone",
		pkcs11, pkcs11 + "&pin-source=file:/p", pkcs11 + "&pin-source=env:PIN",
		"pkcs11:serial=12;id=%01%ff;type=secret-key?module-path=%2Flib/m.so",
	} {
		assert.NoError(t, CheckURI(uri), uri)
	}
	for _, uri := range []string{
		"aws-kms:", "aws-kms://", "aws-kms:arn:secret", "aws-kms://secret",
		"aws-kms://arn:aws:kms:eu-west-1:123456789012:secret/x", "aws-kms://arn:aws:s3:eu-west-1:123456789012:key/secret",
		"AWS-KMS://arn:aws:kms:eu-west-1:123456789012:key/secret", "aws-kms://arn:aws:kms:eu-west-1:123456789012:key/secret/x", "aws-kms://arn:aws:kms:evil.example/:123456789012:key/secret",
		"gcp-kms://secret", "gcp-kms://projects/p/locations/l/keyRings/r/cryptoKeys/secret/cryptoKeyVersions/1", "gcp-kms:projects/p/locations/l/keyRings/r/cryptoKeys/secret/",
		"hcvault://secret", "hcvault://vault.example/transit/secret", "hcvault://user:secret@vault.example/transit/keys/k",
		"hcvault://vault.example/keys/secret",
		"hcvault://vault.example/transit/../sys/keys/secret", "hcvault://vault.example/transit/keys/secret?x=1",
		"hcvault://vault.example:8200/transit/keys/secret/", "hcvault:/transit/keys/secret",
		"pkcs11:", "pkcs11:secret", "pkcs11:token=secret", "pkcs11:object=secret?module-path=/m",
		"pkcs11:token=t;object=secret", "pkcs11:token=t;object=secret?module-path=m.so",
		pkcs11 + "&pin-value=secret", pkcs11 + "&pin-source=secret", pkcs11 + "&pin-source=file:",
		pkcs11 + "&pin-source=|secret", pkcs11 + "&module-name=secret",
		"pkcs11:token=t;token=secret;object=o?module-path=/m", "pkcs11:token=t;object=o;slot-id=1;x=secret?module-path=/m", "pkcs11:token=t;object=;id=secret?module-path=/m",
		"pkcs11:token=%zz;object=secret?module-path=/m", "pkcs11:token=t;object=secret;type=private?module-path=/m",
		pkcs11 + "&module-path=/secret",
	} {
		kek, err := Open(uri, nil)
		require.Error(t, err, uri)
		assert.Nil(t, kek, uri)
		assert.NotContains(t, err.Error(), "secret/", uri)
		assert.NotContains(t, err.Error(), "=secret", uri)
		assert.NotContains(t, err.Error(), "//secret", uri)
		assert.NotContains(t, err.Error(), ":secret", uri)
		assert.Equal(t, err, CheckURI(uri), uri)
	}
	assert.ErrorContains(t, CheckURI(pkcs11+"&pin-value=1234"), "pin-source")
}
