package kms

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"hash/crc32"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cloud.google.com/go/kms/apiv1/kmspb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/admitone/admitone/keyring"
)

const gcpName = "projects/p/locations/europe-west1/keyRings/r/cryptoKeys/admitone"

// fakeGCP answers as Google Cloud KMS does, with its limits: 64 KiB, and the
// CRC32C of all that it is sent and sends.
type fakeGCP struct {
	kmspb.UnimplementedKeyManagementServiceServer
	sealer
	t       *testing.T
	fail    atomic.Pointer[status.Status]
	blind   atomic.Bool // ignores associated data, as Google does not
	hang    atomic.Bool
	corrupt atomic.Bool // a bit of each answer changes on its way
	deaf    atomic.Bool // looks at no checksum
}

func crc32c(b []byte) int64 {
	return int64(crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

// begin is what both operations do first.
func (f *fakeGCP) begin(
	ctx context.Context, name string, data, ad []byte, dataSum, adSum *wrapperspb.Int64Value,
) error {
	md, _ := metadata.FromIncomingContext(ctx)
	if assert.Len(f.t, md.Get("authorization"), 1) {
		assert.True(f.t, strings.HasPrefix(md.Get("authorization")[0], "Bearer ey"))
	}
	if f.hang.Load() {
		<-ctx.Done()
		return status.FromContextError(ctx.Err()).Err()
	}
	if s := f.fail.Load(); s != nil {
		return s.Err()
	}
	if name != gcpName {
		return status.Errorf(codes.NotFound, "CryptoKey %s not found.", name)
	}
	if dataSum == nil || adSum == nil || dataSum.Value != crc32c(data) || adSum.Value != crc32c(ad) {
		return status.Error(codes.InvalidArgument, "The checksum in field plaintext_crc32c did not match the data.")
	}
	if len(data)+len(ad) > 64<<10 {
		return status.Error(codes.InvalidArgument, "too large")
	}
	return nil
}

func (f *fakeGCP) ad(ad []byte) string {
	if f.blind.Load() {
		return ""
	}
	return string(ad)
}

func (f *fakeGCP) Encrypt(ctx context.Context, r *kmspb.EncryptRequest) (*kmspb.EncryptResponse, error) {
	err := f.begin(ctx, r.Name, r.Plaintext, r.AdditionalAuthenticatedData,
		r.PlaintextCrc32C, r.AdditionalAuthenticatedDataCrc32C)
	if err != nil {
		return nil, err
	}
	out := f.seal(r.Plaintext, f.ad(r.AdditionalAuthenticatedData))
	sum := wrapperspb.Int64(crc32c(out))
	if f.corrupt.Load() {
		out[len(out)-1] ^= 1
	}
	return &kmspb.EncryptResponse{
		Name: r.Name + "/cryptoKeyVersions/1", Ciphertext: out, CiphertextCrc32C: sum,
		VerifiedPlaintextCrc32C: !f.deaf.Load(), VerifiedAdditionalAuthenticatedDataCrc32C: !f.deaf.Load(),
	}, nil
}

func (f *fakeGCP) Decrypt(ctx context.Context, r *kmspb.DecryptRequest) (*kmspb.DecryptResponse, error) {
	err := f.begin(ctx, r.Name, r.Ciphertext, r.AdditionalAuthenticatedData,
		r.CiphertextCrc32C, r.AdditionalAuthenticatedDataCrc32C)
	if err != nil {
		return nil, err
	}
	out, err := f.open(r.Ciphertext, f.ad(r.AdditionalAuthenticatedData))
	if err != nil {
		return nil, status.Error(codes.InvalidArgument,
			"Decryption failed: verify that 'name' refers to the correct CryptoKey.")
	}
	sum := wrapperspb.Int64(crc32c(out))
	if f.corrupt.Load() {
		out[0] ^= 1
	}
	return &kmspb.DecryptResponse{Plaintext: out, PlaintextCrc32C: sum}, nil
}

// setGCP makes an environment in which the SDK finds a service account's key,
// which it signs its own tokens with, and asks nobody.
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
	// httptest has the certificate.
	web := httptest.NewTLSServer(nil)
	defer web.Close()
	pool := x509.NewCertPool()
	pool.AddCert(web.Certificate())

	f := &fakeGCP{sealer: newSealer(t), t: t}
	server := grpc.NewServer(grpc.Creds(credentials.NewServerTLSFromCert(&web.TLS.Certificates[0])))
	kmspb.RegisterKeyManagementServiceServer(server, f)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go server.Serve(l)
	t.Cleanup(server.Stop)
	setGCP(t, l.Addr().String())
	kek, err := openGCP(gcpName, trusting(pool))
	require.NoError(t, err)
	shrink(kek, patience)
	return f, kek
}

// trusting makes the SDK trust the fake's certificate.
func trusting(pool *x509.CertPool) option.ClientOption {
	return option.WithGRPCDialOption(grpc.WithTransportCredentials(credentials.NewClientTLSFromCert(pool, "")))
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
	assertOutage(t, kek, wrapped, "did not match the data")
	f.corrupt.Store(false)
	f.deaf.Store(true)
	_, err = kek.Encrypt([]byte("text"), []byte("ad"))
	assert.ErrorIs(t, err, keyring.ErrKEKUnavailable)
	assert.ErrorContains(t, err, "plaintext_crc32c")
}

func TestGCPErrors(t *testing.T) {
	f, kek := newGCP(t)
	wrapped, err := kek.Encrypt([]byte("text"), []byte("ad"))
	require.NoError(t, err)
	for code, text := range map[codes.Code]string{
		codes.PermissionDenied:   "useToEncrypt",
		codes.Unauthenticated:    "does not accept the credentials",
		codes.NotFound:           "there is no Google Cloud KMS key " + gcpName,
		codes.FailedPrecondition: "is disabled or destroyed",
		codes.ResourceExhausted:  "too many requests",
		codes.Internal:           "Google Cloud KMS failed; try again",
	} {
		f.fail.Store(status.New(code, "said the\nservice"))
		assertOutage(t, kek, wrapped, text)
	}
	// A damaged request is not a ciphertext that does not open.
	f.fail.Store(status.New(codes.InvalidArgument,
		"The checksum in field ciphertext_crc32c did not match the data in field ciphertext."))
	assertOutage(t, kek, wrapped, "Google Cloud KMS failed")

	// The SDK repeats these until the time is over.
	shrink(kek, 200*time.Millisecond)
	f.fail.Store(status.New(codes.Unavailable, "away"))
	_, err = kek.Decrypt(wrapped, []byte("ad"))
	assert.ErrorIs(t, err, keyring.ErrKEKUnavailable)
	f.fail.Store(nil)
	f.hang.Store(true)
	assertOutage(t, kek, wrapped, "did not answer within 200ms")
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
