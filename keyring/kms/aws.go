package kms

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	awssdk "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/smithy-go"
	"github.com/tink-crypto/tink-go-awskms/v3/integration/awskms"
	"github.com/tink-crypto/tink-go/v2/tink"
)

const awsPrefix = "aws-kms://"

// awsKey matches the ARN of a key or of an alias; its first group is the region.
var awsKey = regexp.MustCompile(`^arn:aws[a-z-]*:kms:([a-z0-9-]+):[0-9]{12}:(?:key/[a-zA-Z0-9-]+|alias/[a-zA-Z0-9/_-]+)$`)

type awsService struct {
	arn         string
	aead        tink.AEADWithContext
	credentials aws.CredentialsProvider
}

// openAWS opens the key of an ARN that CheckURI let pass. It calls nobody.
func openAWS(arn string) (*remoteKEK, error) {
	ctx := context.Background()
	cfg, err := config.LoadDefaultConfig(ctx, config.WithRegion(awsKey.FindStringSubmatch(arn)[1]))
	if err != nil {
		return nil, outage(err, "the AWS configuration cannot be read; look at the AWS_… variables and ~/.aws/config")
	}
	client := awssdk.NewFromConfig(cfg)
	if endpoint := client.Options().BaseEndpoint; endpoint != nil {
		if err := checkEndpoint("AWS_ENDPOINT_URL_KMS", *endpoint); err != nil {
			return nil, err
		}
	}
	aead, err := awskms.NewAEADWithContext(ctx, arn, awskms.WithKMS(client))
	if err != nil {
		return nil, fmt.Errorf("kms: %w", err)
	}
	return &remoteKEK{
		service: &awsService{arn, aead, client.Options().Credentials},
		name:    "AWS KMS",
		hint:    "aws-kms",
		blind:   "this is not AWS KMS, which does; look at AWS_ENDPOINT_URL_KMS",
		direct:  4096,
		timeout: callTimeout,
	}, nil
}

func (s *awsService) wrap(ctx context.Context, dataKey, associatedData []byte) ([]byte, error) {
	out, err := s.aead.EncryptWithContext(ctx, dataKey, associatedData)
	return out, s.explain(ctx, err)
}

func (s *awsService) unwrap(ctx context.Context, wrapped, associatedData []byte) ([]byte, error) {
	out, err := s.aead.DecryptWithContext(ctx, wrapped, associatedData)
	return out, s.explain(ctx, err)
}

// explain tells what to do about an error, by the codes of
// https://docs.aws.amazon.com/kms/latest/APIReference/API_Decrypt.html#API_Decrypt_Errors
// and .../CommonErrors.html.
func (s *awsService) explain(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		// The SDK's error for no credentials has no code.
		if _, noCredentials := s.credentials.Retrieve(ctx); noCredentials != nil && ctx.Err() == nil {
			return outage(noCredentials, "there are no AWS credentials; set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give this machine, pod or task a role")
		}
		return err
	}
	switch code := api.ErrorCode(); code {
	case "InvalidCiphertextException", "IncorrectKeyException":
		return refusal(err, "AWS KMS does not open the data key with %s and these associated data", s.arn)
	case "AccessDeniedException", "AccessDenied":
		return outage(err, "these AWS credentials may not use %s; allow them kms:Encrypt and kms:Decrypt on it (services that only read need kms:Decrypt), in their policy and the key's", s.arn)
	case "UnrecognizedClientException", "InvalidClientTokenId", "InvalidSignatureException", "SignatureDoesNotMatch", "IncompleteSignature",
		"MissingAuthenticationToken", "MissingAuthenticationTokenException", "ExpiredToken", "ExpiredTokenException", "AuthFailure":
		return outage(err, "AWS does not accept the credentials; renew or correct them (and see that the clock is right)")
	case "DisabledException":
		return outage(err, "the AWS KMS key %s is disabled; enable it", s.arn)
	case "KMSInvalidStateException":
		return outage(err, "the AWS KMS key %s is in no state to be used; if it is pending deletion, cancel that at once and enable it", s.arn)
	case "NotFoundException":
		return outage(err, "there is no AWS KMS key %s; look at its region, account and ID", s.arn)
	case "InvalidKeyUsageException":
		return outage(err, "the AWS KMS key %s does not encrypt; take a symmetric one, for encryption and decryption", s.arn)
	default:
		if strings.Contains(code, "Throttl") || strings.Contains(code, "LimitExceeded") || code == "TooManyRequestsException" {
			return outage(err, "AWS KMS has too many requests from this account; try again in a while, or raise its request quota")
		}
		return outage(err, "AWS KMS failed with %s; try again", code)
	}
}
