package kms

import (
	"context"
	"errors"
	"regexp"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	awssdk "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/smithy-go"
	"github.com/tink-crypto/tink-go-awskms/v3/integration/awskms"
)

const awsPrefix = "aws-kms://"

// awsKey matches the ARN of a key or of an alias; its first group is the region.
var awsKey = regexp.MustCompile(
	`^arn:aws[a-z-]*:kms:([a-z0-9-]+):[0-9]{12}:(?:key/[a-zA-Z0-9-]+|alias/[a-zA-Z0-9/_-]+)$`)

// openAWS opens the key of an ARN, which has passed CheckURI. It makes no call.
func openAWS(arn string) (*remoteKEK, error) {
	ctx := context.Background()
	cfg, err := config.LoadDefaultConfig(ctx, config.WithRegion(awsKey.FindStringSubmatch(arn)[1]))
	if err != nil {
		return nil, outage(err, "the AWS configuration cannot be read; check the AWS_… variables and ~/.aws/config")
	}
	client := awssdk.NewFromConfig(cfg)
	if endpoint := client.Options().BaseEndpoint; endpoint != nil {
		if err := checkEndpoint("AWS_ENDPOINT_URL_KMS", *endpoint); err != nil {
			return nil, err
		}
	}
	aead, err := awskms.NewAEADWithContext(ctx, arn, awskms.WithKMS(client))
	if err != nil {
		return nil, err
	}
	return &remoteKEK{
		service:   &tinkService{aead, awsErrors{arn, client.Options().Credentials}.explain},
		name:      "AWS KMS",
		hint:      "aws-kms",
		ignoresAD: "the real AWS KMS does; check AWS_ENDPOINT_URL_KMS",
		direct:    4096,
		timeout:   callTimeout,
	}, nil
}

// awsErrors explains the errors of AWS KMS.
type awsErrors struct {
	arn         string
	credentials aws.CredentialsProvider
}

// explain tells what to do about an error, by the codes of
// https://docs.aws.amazon.com/kms/latest/APIReference/API_Decrypt.html#API_Decrypt_Errors
// and .../CommonErrors.html.
func (s awsErrors) explain(ctx context.Context, err error, _ bool) error {
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		// The SDK's error for missing credentials has no code.
		if _, noCredentials := s.credentials.Retrieve(ctx); noCredentials != nil && ctx.Err() == nil {
			return outage(noCredentials, "there are no AWS credentials; set AWS_PROFILE, or AWS_ACCESS_KEY_ID and "+
				"AWS_SECRET_ACCESS_KEY, or give this machine, pod or task a role")
		}
		return err
	}
	switch code := api.ErrorCode(); code {
	case "InvalidCiphertextException", "IncorrectKeyException":
		return refusal(err, notOpened, "AWS KMS", s.arn)
	case "AccessDeniedException", "AccessDenied":
		return outage(err, "these AWS credentials may not use %s; allow kms:Encrypt and kms:Decrypt "+
			"(services that only read need kms:Decrypt), in the credentials' policy and in the key's", s.arn)
	case "UnrecognizedClientException", "InvalidClientTokenId", "InvalidSignatureException", "SignatureDoesNotMatch",
		"IncompleteSignature", "MissingAuthenticationToken", "MissingAuthenticationTokenException",
		"ExpiredToken", "ExpiredTokenException", "AuthFailure":
		return outage(err, badCredentials, "AWS")
	case "DisabledException":
		return outage(err, "the AWS KMS key %s is disabled; enable it", s.arn)
	case "KMSInvalidStateException":
		return outage(err, "the AWS KMS key %s cannot be used in its state; if it is pending deletion, "+
			"cancel the deletion at once and enable the key", s.arn)
	case "NotFoundException":
		return outage(err, "there is no AWS KMS key %s; check the region, account and ID", s.arn)
	case "InvalidKeyUsageException":
		return outage(err, "the AWS KMS key %s does not encrypt; give a symmetric key, for encryption and decryption", s.arn)
	default:
		if strings.Contains(code, "Throttl") || strings.Contains(code, "LimitExceeded") ||
			code == "TooManyRequestsException" {
			return outage(err, tooManyRequests, "AWS KMS", "account")
		}
		return outage(err, "AWS KMS failed with %s; try again", code)
	}
}
