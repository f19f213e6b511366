package kms

import (
	"context"
	"errors"
	"net/url"
	"os"
	"regexp"
	"strings"

	"github.com/tink-crypto/tink-go-gcpkms/v2/integration/gcpkms"
	"github.com/tink-crypto/tink-go/v2/tink"
	"google.golang.org/api/option"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	gcpPrefix = "gcp-kms://"

	// The variable of the gcloud command.
	envGCPEndpoint = "CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDKMS"
)

// gcpKey matches a key's resource name. A version is not named: the ciphertext
// names it.
var gcpKey = regexp.MustCompile(`^projects/[a-z0-9:.-]+/locations/[a-z0-9-]+/keyRings/[a-zA-Z0-9_-]+/cryptoKeys/[a-zA-Z0-9_-]+$`)

type gcpService struct {
	name string
	aead tink.AEADWithContext
}

// openGCP opens the key of a name that CheckURI let pass. It looks for
// credentials, at the machine's metadata server if need be, and calls nobody else.
func openGCP(name string, options ...option.ClientOption) (*remoteKEK, error) {
	if endpoint := os.Getenv(envGCPEndpoint); endpoint != "" {
		u, err := url.Parse(endpoint)
		if err != nil || u.Scheme != "https" || u.Host == "" {
			return nil, outage(nil, "%s must be https://HOST/", envGCPEndpoint)
		}
		host := u.Host
		if u.Port() == "" {
			host += ":443"
		}
		options = append(options, option.WithEndpoint(host))
	}
	// The context is not one that ends: credentials may keep it.
	aead, err := gcpkms.GetAEADWithContext(context.Background(), gcpPrefix+name, gcpkms.WithGoogleAPIClientOptions(options...))
	if err != nil {
		return nil, outage(err, "there are no Google Cloud credentials that can be used; set GOOGLE_APPLICATION_CREDENTIALS to their file, run gcloud auth application-default login, or give this machine or pod a service account")
	}
	return &remoteKEK{
		service: &gcpService{name, aead},
		name:    "Google Cloud KMS",
		hint:    "gcp-kms",
		blind:   "this is not Google Cloud KMS, which does; look at " + envGCPEndpoint,
		direct:  64 << 10,
		timeout: callTimeout,
	}, nil
}

func (s *gcpService) wrap(ctx context.Context, dataKey, associatedData []byte) ([]byte, error) {
	out, err := s.aead.EncryptWithContext(ctx, dataKey, associatedData)
	return out, s.explain(err)
}

func (s *gcpService) unwrap(ctx context.Context, wrapped, associatedData []byte) ([]byte, error) {
	out, err := s.aead.DecryptWithContext(ctx, wrapped, associatedData)
	if status.Code(err) == codes.InvalidArgument && !strings.Contains(err.Error(), "checksum") {
		return nil, refusal(err, "Google Cloud KMS does not open the data key with %s and these associated data", s.name)
	}
	return out, s.explain(err)
}

// explain tells what to do about an error, by the codes of
// https://cloud.google.com/kms/docs/reference/error-codes-and-messages.
func (s *gcpService) explain(err error) error {
	if status.Code(err) == codes.DeadlineExceeded || errors.Is(err, context.DeadlineExceeded) {
		return context.DeadlineExceeded // after repetitions, the SDK's own error is one or the other
	}
	switch status.Code(err) {
	case codes.OK:
		return nil
	case codes.PermissionDenied:
		return outage(err, "these Google Cloud credentials may not use %s, or there is none; allow them cloudkms.cryptoKeyVersions.useToEncrypt and useToDecrypt (roles/cloudkms.cryptoKeyEncrypterDecrypter; services that only read need roles/cloudkms.cryptoKeyDecrypter)", s.name)
	case codes.Unauthenticated:
		return outage(err, "Google Cloud does not accept the credentials; renew or correct them (and see that the clock is right)")
	case codes.NotFound:
		return outage(err, "there is no Google Cloud KMS key %s; look at its project, location and names", s.name)
	case codes.FailedPrecondition:
		return outage(err, "a version of the Google Cloud KMS key %s is disabled or destroyed, or it does not encrypt; enable or restore the version (a destroyed one can be for 30 days)", s.name)
	case codes.ResourceExhausted:
		return outage(err, "Google Cloud KMS has too many requests from this project; try again in a while, or raise its quota")
	case codes.Unavailable:
		return outage(err, "Google Cloud KMS cannot be reached; check the network, its firewalls and proxies, and try again")
	}
	return outage(err, "Google Cloud KMS failed; try again")
}
