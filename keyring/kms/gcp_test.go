package kms

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"hash/crc32"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/keyring"
)

const gcpName = "projects/p/locations/europe-west1/keyRings/r/cryptoKeys/admitone"

// fakeGCP answers as Google Cloud KMS does, with its limits: 64 KiB, and the
// CRC32C of all that it is sent and sends.
type fakeGCP struct {
	sealer
	t       *testing.T
	fail    atomic.Pointer[gcpFault]
	failed  atomic.Int32
	quota   atomic.Pointer[string]
	blind   atomic.Bool // ignores associated data, as Google does not
	hang    atomic.Bool
	corrupt atomic.Bool // a bit of each answer changes on its way
	deaf    atomic.Bool // looks at no checksum
}

// gcpFault is an answer with an error. With the status "", the answer is a proxy's.
type gcpFault struct {
	code            int
	status, message string
}

func crc32c(b []byte) string {
	return strconv.FormatUint(uint64(crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))), 10)
}

// gcpRequest has the fields as Google writes them.
type gcpRequest struct {
	Plaintext, Ciphertext, AdditionalAuthenticatedData                   []byte
	PlaintextCrc32c, CiphertextCrc32c, AdditionalAuthenticatedDataCrc32c *string
}

func (f *fakeGCP) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	assert.True(f.t, strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ey"))
	f.quota.Store(new(r.Header.Get("X-Goog-User-Project")))
	if f.hang.Load() {
		_, _ = io.Copy(io.Discard, r.Body) // so that the end of the connection is noticed
		<-r.Context().Done()
		panic(http.ErrAbortHandler) // an answer could still arrive
	}
	if fault := f.fail.Load(); fault != nil {
		f.failed.Add(1)
		fault.write(w)
		return
	}
	var q gcpRequest
	if !assert.NoError(f.t, json.NewDecoder(r.Body).Decode(&q)) {
		return
	}
	path, method, _ := strings.Cut(r.URL.Path, ":")
	data, sum := q.Plaintext, q.PlaintextCrc32c
	if method == "decrypt" {
		data, sum = q.Ciphertext, q.CiphertextCrc32c
	}
	ad, adSum := q.AdditionalAuthenticatedData, q.AdditionalAuthenticatedDataCrc32c
	switch {
	case r.Method != http.MethodPost || path != "/v1/"+gcpName:
		gcpFault{404, "NOT_FOUND", "CryptoKey not found."}.write(w)
		return
	case sum == nil || adSum == nil || *sum != crc32c(data) || *adSum != crc32c(ad):
		gcpFault{400, "INVALID_ARGUMENT", "The checksum in field plaintext_crc32c did not match the data."}.write(w)
		return
	case len(data)+len(ad) > 64<<10:
		gcpFault{400, "INVALID_ARGUMENT", "too large"}.write(w)
		return
	}
	if f.blind.Load() {
		ad = nil
	}
	var out []byte
	answer := map[string]any{}
	if method == "encrypt" {
		out = f.seal(data, string(ad))
		answer["ciphertextCrc32c"] = crc32c(out)
		answer["name"] = gcpName + "/cryptoKeyVersions/1"
		if !f.deaf.Load() {
			answer["verifiedPlaintextCrc32c"], answer["verifiedAdditionalAuthenticatedDataCrc32c"] = true, true
		}
	} else {
		var err error
		if out, err = f.open(data, string(ad)); err != nil {
			gcpFault{400, "INVALID_ARGUMENT", "Decryption failed: verify that 'name' refers to the correct CryptoKey."}.write(w)
			return
		}
		answer["plaintextCrc32c"] = crc32c(out)
	}
	if f.corrupt.Load() {
		out[len(out)-1] ^= 1
	}
	answer[map[string]string{"encrypt": "ciphertext", "decrypt": "plaintext"}[method]] = out
	assert.NoError(f.t, json.NewEncoder(w).Encode(answer))
}

func (f gcpFault) write(w http.ResponseWriter) {
	w.WriteHeader(f.code)
	if f.status == "" {
		_, _ = io.WriteString(w, "<html>a proxy")
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{
		"error": map[string]any{"code": f.code, "message": f.message, "status": f.status},
	})
}

// setGCP makes an environment with a service account's key: tokens are signed with this key,
// and nobody is asked.
func setGCP(t *testing.T, address string) {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(k)
	require.NoError(t, err)
	account, err := json.Marshal(map[string]string{
		"type": "service_account", "project_id": "p", "private_key_id": "1",
		"client_email": "admitone@p.iam.gserviceaccount.com", "client_id": "1",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		"token_uri":   "https://127.0.0.1:1/token",
	})
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "account.json")
	require.NoError(t, os.WriteFile(path, account, 0o600))
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", path)
	t.Setenv("GCE_METADATA_HOST", "127.0.0.1:1")
	t.Setenv("CLOUDSDK_CONFIG", t.TempDir())
	t.Setenv("NO_PROXY", "*")
	t.Setenv(envGCPEndpoint, "https://"+address+"/")
}

func newGCP(t *testing.T) (*fakeGCP, keyring.KEK) {
	t.Helper()
	f := &fakeGCP{sealer: newSealer(t), t: t}
	web := httptest.NewTLSServer(f)
	t.Cleanup(web.Close)
	setGCP(t, web.Listener.Addr().String())
	kek, err := openGCP(gcpName, web.Client().Transport)
	require.NoError(t, err)
	shrink(kek, patience)
	return f, kek
}

func TestGCP(t *testing.T) {
	_, kek := newGCP(t)
	testRemote(t, kek, "gcp-kms")
}

// trap K10
func TestGCPBlind(t *testing.T) {
	f, kek := newGCP(t)
	f.blind.Store(true)
	_, err := kek.Encrypt([]byte("text"), []byte("ad"))
	assert.ErrorContains(t, err, "does not authenticate associated data")
	assert.ErrorContains(t, err, envGCPEndpoint)
}

func TestGCPChecksums(t *testing.T) {
	f, kek := newGCP(t)
	wrapped, err := kek.Encrypt([]byte("text"), []byte("ad"))
	require.NoError(t, err)
	f.corrupt.Store(true)
	assertOutage(t, kek, wrapped, "does not have its checksum")
	f.corrupt.Store(false)
	f.deaf.Store(true)
	_, err = kek.Encrypt([]byte("text"), []byte("ad"))
	assert.ErrorIs(t, err, keyring.ErrKEKUnavailable)
	assert.ErrorContains(t, err, "did not look at the checksums")
}

func TestGCPErrors(t *testing.T) {
	f, kek := newGCP(t)
	wrapped, err := kek.Encrypt([]byte("text"), []byte("ad"))
	require.NoError(t, err)
	for fault, text := range map[gcpFault]string{
		{403, "PERMISSION_DENIED", "no"}:   "useToEncrypt",
		{401, "UNAUTHENTICATED", "no"}:     "does not accept the credentials",
		{404, "NOT_FOUND", "no"}:           "there is no Google Cloud KMS key " + gcpName,
		{400, "FAILED_PRECONDITION", "no"}: "is disabled or destroyed",
		{429, "RESOURCE_EXHAUSTED", "no"}:  "too many requests",
		{500, "INTERNAL", "no"}:            "Google Cloud KMS failed; try again: INTERNAL: no",
		{407, "", ""}:                      "Google Cloud KMS failed; try again: status 407",
		{302, "", ""}:                      "Google Cloud KMS failed; try again: status 302",
		// A damaged request is not a ciphertext that does not open.
		{400, "INVALID_ARGUMENT", "The checksum in field ciphertext_crc32c did not match."}: "Google Cloud KMS failed",
	} {
		f.fail.Store(&fault)
		assertOutage(t, kek, wrapped, text)
	}

	// These are repeated until the time is over.
	for _, fault := range []gcpFault{{503, "UNAVAILABLE", "away"}, {504, "DEADLINE_EXCEEDED", "late"}, {502, "", ""}} {
		f.failed.Store(0)
		f.fail.Store(&fault)
		done := make(chan error, 1)
		go func() {
			_, err := kek.Decrypt(wrapped, []byte("ad"))
			done <- err
		}()
		require.Eventually(t, func() bool { return f.failed.Load() >= 2 }, patience, time.Millisecond)
		f.fail.Store(nil)
		require.NoError(t, <-done)
	}
	shrink(kek, 200*time.Millisecond)
	f.fail.Store(&gcpFault{503, "UNAVAILABLE", "away"})
	_, err = kek.Decrypt(wrapped, []byte("ad"))
	assert.ErrorIs(t, err, keyring.ErrKEKUnavailable)
	f.fail.Store(nil)
	f.hang.Store(true)
	assertOutage(t, kek, wrapped, "did not answer within 200ms")
}

func TestGCPQuotaProject(t *testing.T) {
	f, kek := newGCP(t)
	_, err := kek.Encrypt([]byte("text"), []byte("ad"))
	require.NoError(t, err)
	assert.Empty(t, *f.quota.Load())
	kek.(*remoteKEK).service.(*gcpService).quota = "pays"
	_, err = kek.Encrypt([]byte("text"), []byte("ad"))
	require.NoError(t, err)
	assert.Equal(t, "pays", *f.quota.Load())
}

func TestGCPEnvironment(t *testing.T) {
	setGCP(t, "127.0.0.1:1")
	kek, err := Open("gcp-kms://"+gcpName, nil)
	require.NoError(t, err)
	shrink(kek, 200*time.Millisecond)
	_, err = kek.Encrypt([]byte("text"), []byte("ad"))
	assert.ErrorIs(t, err, keyring.ErrKEKUnavailable)

	for _, endpoint := range []string{"http://127.0.0.1:1", "127.0.0.1:1", "https:///x", "%"} {
		t.Setenv(envGCPEndpoint, endpoint)
		_, err = Open("gcp-kms://"+gcpName, nil)
		assert.ErrorContains(t, err, envGCPEndpoint+" must be https://HOST/", endpoint)
	}
	t.Setenv(envGCPEndpoint, "")
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", filepath.Join(t.TempDir(), "absent"))
	_, err = Open("gcp-kms://"+gcpName, nil)
	assert.ErrorIs(t, err, keyring.ErrKEKUnavailable)
	assert.ErrorContains(t, err, "set GOOGLE_APPLICATION_CREDENTIALS")
}
