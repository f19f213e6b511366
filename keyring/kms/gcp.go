package kms

import (
	"context"
	"errors"
	"net/url"
	"os"
	"regexp"
	"strings"

	"github.com/tink-crypto/tink-go-gcpkms/v2/integration/gcpkms"
	"google.golang.org/api/option"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	gcpPrefix = "gcp-kms://"

	// envGCPEndpoint is the variable of the gcloud command.
	envGCPEndpoint = "CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDKMS"
)

// gcpKey matches a key's resource name, without a version: the ciphertext names the
// version.
var gcpKey = regexp.MustCompile(`^projects/[a-z0-9:.-]+/locations/[a-z0-9-]+` +
	`/keyRings/[a-zA-Z0-9_-]+/cryptoKeys/[a-zA-Z0-9_-]+$`)

// openGCP opens the key of a name, which has passed CheckURI. It looks for credentials, if
// need be at the machine's metadata server, and makes no other call.
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
	// The context has no end, since the credentials may keep it.
	aead, err := gcpkms.GetAEADWithContext(context.Background(), gcpPrefix+name,
		gcpkms.WithGoogleAPIClientOptions(options...))
	if err != nil {
		return nil, outage(err, "there are no usable Google Cloud credentials; set GOOGLE_APPLICATION_CREDENTIALS "+
			"to the credentials' file, run gcloud auth application-default login, "+
			"or give this machine or pod a service account")
	}
	return &remoteKEK{
		service:   &tinkService{aead, gcpErrors{name}.explain},
		name:      "Google Cloud KMS",
		hint:      "gcp-kms",
		ignoresAD: "the real Google Cloud KMS does; check " + envGCPEndpoint,
		direct:    64 << 10,
		timeout:   callTimeout,
	}, nil
}

// gcpErrors explains the errors of Google Cloud KMS.
type gcpErrors struct{ key string }

// explain tells what to do about an error, by the codes of
// https://cloud.google.com/kms/docs/reference/error-codes-and-messages.
func (s gcpErrors) explain(_ context.Context, err error, unwraps bool) error {
	if status.Code(err) == codes.DeadlineExceeded || errors.Is(err, context.DeadlineExceeded) {
		return context.DeadlineExceeded // after retries, the SDK returns either of the two
	}
	switch code := status.Code(err); {
	case code == codes.InvalidArgument && unwraps && !strings.Contains(err.Error(), "checksum"):
		return refusal(err, notOpened, "Google Cloud KMS", s.key)
	case code == codes.PermissionDenied:
		return outage(err, "these Google Cloud credentials may not use %s, or the key does not exist; "+
			"allow cloudkms.cryptoKeyVersions.useToEncrypt and useToDecrypt "+
			"(roles/cloudkms.cryptoKeyEncrypterDecrypter; services that only read need "+
			"roles/cloudkms.cryptoKeyDecrypter)", s.key)
	case code == codes.Unauthenticated:
		return outage(err, badCredentials, "Google Cloud")
	case code == codes.NotFound:
		return outage(err, "there is no Google Cloud KMS key %s; check the project, location and names", s.key)
	case code == codes.FailedPrecondition:
		return outage(err, "a version of the Google Cloud KMS key %s is disabled or destroyed, or does not encrypt; "+
			"enable or restore the version (possible for 30 days after it was destroyed)", s.key)
	case code == codes.ResourceExhausted:
		return outage(err, tooManyRequests, "Google Cloud KMS", "project")
	case code == codes.Unavailable:
		return outage(err, "Google Cloud KMS cannot be reached; check the network, its firewalls and proxies, and try again")
	}
	return outage(err, "Google Cloud KMS failed; try again")
}
