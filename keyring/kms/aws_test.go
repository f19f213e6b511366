package kms

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
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

const (
	awsARN   = "arn:aws:kms:eu-west-1:123456789012:key/3ee50705-5a82-4f5b-9753-05c4f473922f"
	awsOther = "arn:aws:kms:eu-west-1:123456789012:key/b3ca2efd-a8fb-47f2-b541-7e20f8c5cd11"
)

// fakeAWS answers as AWS KMS does, with its limits: 4,096 bytes, and the
// encryption context as associated data.
type fakeAWS struct {
	sealer
	t     *testing.T
	fail  atomic.Pointer[string] // the error code of every answer
	blind atomic.Bool            // ignores the encryption context, as AWS does not
	hang  atomic.Bool
	last  atomic.Pointer[string] // the encryption context of the last call
}

type awsRequest struct {
	KeyId, Plaintext, CiphertextBlob string
	EncryptionContext                map[string]string
}

func (f *fakeAWS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if f.hang.Load() {
		io.Copy(io.Discard, r.Body) // or it is not seen that the caller went away
		<-r.Context().Done()
		panic(http.ErrAbortHandler) // an answer could still arrive
	}
	reject := func(code string) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.Header().Set("X-Amzn-Errortype", code)
		w.WriteHeader(http.StatusBadRequest)
		json.NewEncoder(w).Encode(map[string]string{"__type": code, "message": "said the\nservice"})
	}
	body, err := io.ReadAll(r.Body)
	var in awsRequest
	if !assert.NoError(f.t, err) || !assert.NoError(f.t, json.Unmarshal(body, &in)) {
		return
	}
	assert.Contains(f.t, r.Header.Get("Authorization"), "Credential=AKIDEXAMPLE/")
	assert.Contains(f.t, r.Header.Get("Authorization"), "/eu-west-1/kms/")
	if code := f.fail.Load(); code != nil {
		reject(*code)
		return
	}
	if in.KeyId != awsARN && in.KeyId != awsOther {
		reject("NotFoundException")
		return
	}
	encryptionContext, err := json.Marshal(in.EncryptionContext) // sorts its keys
	assert.NoError(f.t, err)
	f.last.Store(new(string(encryptionContext)))
	if f.blind.Load() {
		encryptionContext = nil
	}
	ad := in.KeyId + string(encryptionContext)
	out := map[string]string{"KeyId": in.KeyId, "EncryptionAlgorithm": "SYMMETRIC_DEFAULT"}
	switch target := r.Header.Get("X-Amz-Target"); target {
	case "TrentService.Encrypt":
		plain, err := base64.StdEncoding.DecodeString(in.Plaintext)
		assert.NoError(f.t, err)
		if len(plain) < 1 || len(plain) > 4096 || len(encryptionContext) > 8192 {
			reject("ValidationException")
			return
		}
		out["CiphertextBlob"] = base64.StdEncoding.EncodeToString(f.seal(plain, ad))
	case "TrentService.Decrypt":
		blob, err := base64.StdEncoding.DecodeString(in.CiphertextBlob)
		assert.NoError(f.t, err)
		plain, err := f.open(blob, ad)
		if err != nil {
			reject("InvalidCiphertextException")
			return
		}
		out["Plaintext"] = base64.StdEncoding.EncodeToString(plain)
	default:
		assert.Fail(f.t, "unknown operation", target)
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	json.NewEncoder(w).Encode(out)
}

// setAWS makes an environment in which the SDK finds what it is given here, and
// asks nobody else.
func setAWS(t *testing.T, endpoint string) {
	absent := filepath.Join(t.TempDir(), "absent")
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL_KMS": endpoint, "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secretexample",
		"AWS_SESSION_TOKEN":         "",
		"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": absent, "AWS_SHARED_CREDENTIALS_FILE": absent,
		"AWS_PROFILE": "", "AWS_MAX_ATTEMPTS": "1",
		"AWS_WEB_IDENTITY_TOKEN_FILE": "", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "",
		"AWS_CONTAINER_CREDENTIALS_FULL_URI": "",
	} {
		t.Setenv(name, value)
	}
}

func newAWS(t *testing.T) (*fakeAWS, keyring.KEK) {
	t.Helper()
	f := &fakeAWS{sealer: newSealer(t), t: t}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	setAWS(t, server.URL)
	kek, err := Open("aws-kms://"+awsARN, nil)
	require.NoError(t, err)
	shrink(kek, patience)
	return f, kek
}

func TestAWS(t *testing.T) {
	f, kek := newAWS(t)
	testRemote(t, kek, "aws-kms")

	_, err := kek.Encrypt([]byte("text"), []byte("ad\x00"))
	require.NoError(t, err)
	wrapped, err := kek.Encrypt([]byte("text"), []byte("ad"))
	require.NoError(t, err)
	_, err = kek.Decrypt(wrapped, []byte("ad"))
	require.NoError(t, err)
	assert.JSONEq(t, `{"associatedData":"`+hex.EncodeToString([]byte("ad"))+`"}`, *f.last.Load())

	other, err := Open("aws-kms://"+awsOther, nil)
	require.NoError(t, err)
	_, err = other.Decrypt(wrapped, []byte("ad"))
	assert.ErrorContains(t, err, "AWS KMS does not open the data key with "+awsOther)
	assert.NotErrorIs(t, err, keyring.ErrKEKUnavailable)
}

// trap K10
func TestAWSBlind(t *testing.T) {
	f, kek := newAWS(t)
	f.blind.Store(true)
	_, err := kek.Encrypt([]byte("text"), []byte("ad"))
	assert.ErrorContains(t, err, "does not authenticate associated data")
	assert.ErrorContains(t, err, "AWS_ENDPOINT_URL_KMS")
}

func TestAWSErrors(t *testing.T) {
	f, kek := newAWS(t)
	wrapped, err := kek.Encrypt([]byte("text"), []byte("ad"))
	require.NoError(t, err)
	for code, text := range map[string]string{
		"AccessDeniedException":       "kms:Encrypt and kms:Decrypt",
		"UnrecognizedClientException": "does not accept the credentials",
		"ExpiredTokenException":       "does not accept the credentials",
		"DisabledException":           "is disabled; enable it",
		"KMSInvalidStateException":    "pending deletion",
		"NotFoundException":           "there is no AWS KMS key " + awsARN,
		"InvalidKeyUsageException":    "give a symmetric key",
		"ThrottlingException":         "too many requests",
		"LimitExceededException":      "too many requests",
		"KMSInternalException":        "failed with KMSInternalException",
		"ValidationException":         "failed with ValidationException",
	} {
		f.fail.Store(&code)
		assertOutage(t, kek, wrapped, text)
	}
	// An outage in the middle of the self-test is not the refusal that it looks for.
	f.fail.Store(nil)
	_, err = kek.Decrypt(wrapped, []byte("ad"))
	assert.NoError(t, err)
}

func TestAWSUnreachable(t *testing.T) {
	f, kek := newAWS(t)
	wrapped, err := kek.Encrypt([]byte("text"), []byte("ad"))
	require.NoError(t, err)
	shrink(kek, 200*time.Millisecond)
	f.hang.Store(true)
	assertOutage(t, kek, wrapped, "AWS KMS did not answer within 200ms")

	setAWS(t, "http://127.0.0.1:1")
	kek, err = Open("aws-kms://"+awsARN, nil)
	require.NoError(t, err)
	assertOutage(t, kek, wrapped, "AWS KMS cannot be reached")
}

func TestAWSCredentials(t *testing.T) {
	_, kek := newAWS(t)
	wrapped, err := kek.Encrypt([]byte("text"), []byte("ad"))
	require.NoError(t, err)
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	kek, err = Open("aws-kms://"+awsARN, nil)
	require.NoError(t, err)
	assertOutage(t, kek, wrapped, "there are no AWS credentials; set AWS_PROFILE")

	t.Setenv("AWS_ENDPOINT_URL_KMS", "http://kms.example")
	_, err = Open("aws-kms://"+awsARN, nil)
	assert.ErrorContains(t, err, "AWS_ENDPOINT_URL_KMS must be an https: address")
	assert.False(t, strings.Contains(err.Error(), "secretexample"))
}

// TestRingThroughOutage: while the KMS is away a service keeps its keys, says
// why it has no newer ones, and takes them by itself when it is back.
//
// trap K13
func TestRingThroughOutage(t *testing.T) {
	f, kek := newAWS(t)
	c := keyring.Config{Kind: keyring.Ticket, Realm: "prod", KEK: kek, Poll: 20 * time.Millisecond}
	writer, reader := filepath.Join(t.TempDir(), "keyring"), filepath.Join(t.TempDir(), "keyring")
	require.NoError(t, keyring.Create(writer, c, keyring.DefaultPolicy(c.Kind), ""))
	copyOver := func() {
		data, err := os.ReadFile(writer)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(reader+".new", data, 0o600))
		require.NoError(t, os.Rename(reader+".new", reader))
	}
	copyOver()
	ring, err := keyring.Open(reader, c)
	require.NoError(t, err)
	defer ring.Close()
	sealed, err := ring.Encrypt([]byte("ticket"), nil)
	require.NoError(t, err)
	_, err = keyring.Change(writer, c, "", keyring.Step{Do: keyring.Rotate, Now: true})
	require.NoError(t, err)

	f.fail.Store(new("ThrottlingException"))
	copyOver()
	require.Eventually(t, func() bool { return errors.Is(ring.Report().LastErr, keyring.ErrKEKUnavailable) },
		30*time.Second, time.Millisecond)
	assert.ErrorContains(t, ring.Report().LastErr, "too many requests")
	assert.Equal(t, uint64(1), ring.Report().Generation)
	_, err = ring.Decrypt(sealed, nil)
	assert.NoError(t, err)

	f.fail.Store(nil)
	require.Eventually(t, func() bool { return ring.Report().Generation == 2 }, 30*time.Second, time.Millisecond)
	_, err = ring.Decrypt(sealed, nil)
	assert.NoError(t, err)
}
