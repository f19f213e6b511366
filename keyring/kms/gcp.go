package kms

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
)

const (
	gcpPrefix = "gcp-kms://"
	gcpScope  = "https://www.googleapis.com/auth/cloudkms"

	// envGCPEndpoint is the variable of the gcloud command.
	envGCPEndpoint = "CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDKMS"

	// maxGCPAnswer is more than an answer with 64 KiB, the most that Google Cloud KMS decrypts.
	maxGCPAnswer = 1 << 20
)

// gcpKey matches a key's resource name, without a version: the ciphertext names the
// version.
var gcpKey = regexp.MustCompile(`^projects/[a-z0-9:.-]+/locations/[a-z0-9-]+` +
	`/keyRings/[a-zA-Z0-9_-]+/cryptoKeys/[a-zA-Z0-9_-]+$`)

// openGCP opens the key of a name, which has passed CheckURI. It looks for credentials, if
// need be at the machine's metadata server, and makes no other call. A nil transport is
// http.DefaultTransport.
func openGCP(name string, transport http.RoundTripper) (*remoteKEK, error) {
	// The context has no end, since the credentials keep it.
	ctx := context.WithValue(context.Background(), oauth2.HTTPClient, &http.Client{Timeout: callTimeout})
	found, err := google.FindDefaultCredentials(ctx, gcpScope)
	if err != nil {
		return nil, noGCPCredentials(err)
	}
	var file struct {
		Type  string `json:"type"`
		Quota string `json:"quota_project_id"`
	}
	if found.JSON != nil {
		if err := json.Unmarshal(found.JSON, &file); err != nil {
			return nil, noGCPCredentials(err)
		}
	}
	tokens := found.TokenSource
	if file.Type == "service_account" { // signs tokens itself, and asks nobody
		if tokens, err = google.JWTAccessTokenSourceWithScope(found.JSON, gcpScope); err != nil {
			return nil, noGCPCredentials(err)
		}
	}
	host, err := gcpHost(found)
	if err != nil {
		return nil, err
	}
	return &remoteKEK{
		service: &gcpService{
			client: &http.Client{
				Transport: &oauth2.Transport{Source: tokens, Base: transport},
				// No token and no data key goes to another host.
				CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			},
			url:   "https://" + host + "/v1/" + name,
			key:   name,
			quota: cmp.Or(os.Getenv("GOOGLE_CLOUD_QUOTA_PROJECT"), file.Quota),
		},
		name:      "Google Cloud KMS",
		hint:      "gcp-kms",
		ignoresAD: "the real Google Cloud KMS does; check " + envGCPEndpoint,
		direct:    64 << 10,
		timeout:   callTimeout,
	}, nil
}

func noGCPCredentials(err error) error {
	return outage(err, "there are no usable Google Cloud credentials; set GOOGLE_APPLICATION_CREDENTIALS "+
		"to the credentials' file, run gcloud auth application-default login, "+
		"or give this machine or pod a service account")
}

// gcpHost returns the host and port of Google Cloud KMS.
func gcpHost(c *google.Credentials) (string, error) {
	endpoint := os.Getenv(envGCPEndpoint)
	if endpoint == "" {
		domain, err := c.GetUniverseDomain()
		if err != nil {
			return "", noGCPCredentials(err)
		}
		return "cloudkms." + domain, nil
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return "", outage(nil, "%s must be https://HOST/", envGCPEndpoint)
	}
	return u.Host, nil
}

// gcpService is a key of Google Cloud KMS. It uses the REST interface of
// https://cloud.google.com/kms/docs/reference/rest/v1/projects.locations.keyRings.cryptoKeys:
// Google's package for Go would bring gRPC, and make the command keyring two thirds larger.
type gcpService struct {
	client *http.Client
	url    string // of the key
	key    string
	quota  string // the project that the calls count for, or "": the key's
}

// gcpMessage is a request or an answer. The checksums are CRC32C. Zero is a checksum.
type gcpMessage struct {
	Plaintext     []byte `json:"plaintext,omitempty"`
	PlaintextSum  *int64 `json:"plaintextCrc32c,string,omitempty"`
	Ciphertext    []byte `json:"ciphertext,omitempty"`
	CiphertextSum *int64 `json:"ciphertextCrc32c,string,omitempty"`
	AD            []byte `json:"additionalAuthenticatedData,omitempty"`
	ADSum         *int64 `json:"additionalAuthenticatedDataCrc32c,string,omitempty"`

	VerifiedPlaintext bool `json:"verifiedPlaintextCrc32c,omitempty"`
	VerifiedAD        bool `json:"verifiedAdditionalAuthenticatedDataCrc32c,omitempty"`
}

func gcpSum(b []byte) *int64 {
	return new(int64(crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))))
}

func (s *gcpService) wrap(ctx context.Context, dataKey, associatedData []byte) ([]byte, error) {
	out, err := s.call(ctx, "encrypt", &gcpMessage{
		Plaintext: dataKey, PlaintextSum: gcpSum(dataKey), AD: associatedData, ADSum: gcpSum(associatedData),
	})
	if err != nil {
		return nil, s.explain(err, false)
	}
	if !out.VerifiedPlaintext || !out.VerifiedAD {
		return nil, outage(nil, "Google Cloud KMS did not look at the checksums of its request; check the proxies on the way")
	}
	return out.Ciphertext, sameSum(out.Ciphertext, out.CiphertextSum)
}

func (s *gcpService) unwrap(ctx context.Context, wrapped, associatedData []byte) ([]byte, error) {
	out, err := s.call(ctx, "decrypt", &gcpMessage{
		Ciphertext: wrapped, CiphertextSum: gcpSum(wrapped), AD: associatedData, ADSum: gcpSum(associatedData),
	})
	if err != nil {
		return nil, s.explain(err, true)
	}
	return out.Plaintext, sameSum(out.Plaintext, out.PlaintextSum)
}

// sameSum refuses an answer that was changed on its way.
func sameSum(b []byte, sum *int64) error {
	if sum == nil || *sum != *gcpSum(b) {
		return outage(nil, "an answer of Google Cloud KMS does not have its checksum; "+
			"check the proxies on the way, and try again")
	}
	return nil
}

// call makes a call. While Google Cloud KMS is not available, call repeats it until the
// context ends.
func (s *gcpService) call(ctx context.Context, method string, in *gcpMessage) (*gcpMessage, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	defer clear(body) // has the data key
	for wait := 100 * time.Millisecond; ; wait *= 2 {
		out, err := s.try(ctx, method, body)
		if err == nil || !passes(err) {
			return out, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(wait):
		}
	}
}

// passes reports whether an error may be over in a moment.
func passes(err error) bool {
	if e, ok := errors.AsType[*gcpError](err); ok {
		return e.Status == gcpUnavailable
	}
	if _, refused := errors.AsType[*oauth2.RetrieveError](err); refused {
		return false
	}
	e, ok := errors.AsType[*url.Error](err)
	return ok && !e.Timeout()
}

func (s *gcpService) try(ctx context.Context, method string, body []byte) (*gcpMessage, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+":"+method, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	if s.quota != "" {
		r.Header.Set("X-Goog-User-Project", s.quota)
	}
	a, err := s.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer a.Body.Close()
	text, err := io.ReadAll(io.LimitReader(a.Body, maxGCPAnswer))
	if err != nil {
		return nil, err
	}
	if a.StatusCode != http.StatusOK {
		return nil, newGCPError(a.StatusCode, text)
	}
	out := new(gcpMessage)
	if err := json.Unmarshal(text, out); err != nil {
		return nil, outage(err, "Google Cloud KMS answered with something else; check the proxies on the way, and try again")
	}
	return out, nil
}

const gcpUnavailable = "UNAVAILABLE"

// gcpError is an answer with an error. The Status is a name of google.rpc.Code.
type gcpError struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

// newGCPError reads an answer, which comes from a proxy on the way if it is not Google's JSON.
func newGCPError(code int, text []byte) *gcpError {
	var answer struct {
		Error gcpError `json:"error"`
	}
	_ = json.Unmarshal(text, &answer)
	e := &answer.Error
	if e.Status == "" && code >= http.StatusBadGateway || e.Status == "DEADLINE_EXCEEDED" {
		e.Status = gcpUnavailable
	}
	e.Status = cmp.Or(e.Status, fmt.Sprint("status ", code))
	return e
}

func (e *gcpError) Error() string { return strings.TrimSuffix(e.Status+": "+e.Message, ": ") }

// explain tells what to do about an error, by the codes of
// https://cloud.google.com/kms/docs/reference/error-codes-and-messages.
func (s *gcpService) explain(err error, unwraps bool) error {
	if _, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		return outage(err, badCredentials, "Google Cloud")
	}
	answer, ok := errors.AsType[*gcpError](err)
	if !ok {
		return err
	}
	switch answer.Status {
	case "INVALID_ARGUMENT":
		if unwraps && !strings.Contains(answer.Message, "checksum") {
			return refusal(err, notOpened, "Google Cloud KMS", s.key)
		}
	case "PERMISSION_DENIED":
		return outage(err, "these Google Cloud credentials may not use %s, or the key does not exist; "+
			"allow cloudkms.cryptoKeyVersions.useToEncrypt and useToDecrypt "+
			"(roles/cloudkms.cryptoKeyEncrypterDecrypter; services that only read need "+
			"roles/cloudkms.cryptoKeyDecrypter)", s.key)
	case "UNAUTHENTICATED":
		return outage(err, badCredentials, "Google Cloud")
	case "NOT_FOUND":
		return outage(err, "there is no Google Cloud KMS key %s; check the project, location and names", s.key)
	case "FAILED_PRECONDITION":
		return outage(err, "a version of the Google Cloud KMS key %s is disabled or destroyed, or does not encrypt; "+
			"enable or restore the version (possible for 30 days after it was destroyed)", s.key)
	case "RESOURCE_EXHAUSTED":
		return outage(err, tooManyRequests, "Google Cloud KMS", "project")
	case gcpUnavailable:
		return outage(err, "Google Cloud KMS cannot be reached; check the network, its firewalls and proxies, and try again")
	}
	return outage(err, "Google Cloud KMS failed; try again")
}
