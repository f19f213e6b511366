package kms

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/hashicorp/vault/api"
	"github.com/tink-crypto/tink-go-hcvault/v2/integration/hcvault"
	"github.com/tink-crypto/tink-go/v2/tink"
)

const vaultPrefix = "hcvault://"

// vaultKey matches what follows the prefix: host and port, which may be absent,
// and the key's path.
var vaultKey = regexp.MustCompile(`^([a-zA-Z0-9.-]+(?::[0-9]+)?|\[[0-9a-fA-F:]+\](?::[0-9]+)?)?((?:/[a-zA-Z0-9_-][a-zA-Z0-9._-]*)+/keys/[a-zA-Z0-9_-][a-zA-Z0-9._-]*)$`)

type vaultService struct {
	path   string
	client *api.Client
	aead   tink.AEAD
}

// openVault opens the key that the rest of a URI means, one that CheckURI let
// pass. It calls nobody.
func openVault(rest string) (*remoteKEK, error) {
	parts := vaultKey.FindStringSubmatch(rest)
	host, path := parts[1], parts[2]
	cfg := api.DefaultConfig()
	if cfg.Error != nil {
		return nil, outage(cfg.Error, "the Vault configuration cannot be read; look at the VAULT_… variables")
	}
	switch {
	case host != "":
		cfg.Address, cfg.AgentAddress = "https://"+host, ""
	case os.Getenv(api.EnvVaultAddress) == "" && cfg.AgentAddress == "":
		return nil, outage(nil, "hcvault:/// takes the server from VAULT_ADDR, which is not set; set it, or give hcvault://HOST:PORT%s", path)
	}
	for _, a := range []string{cfg.Address, cfg.AgentAddress} {
		if a == "" {
			continue
		}
		if err := checkEndpoint(api.EnvVaultAddress, a); err != nil {
			return nil, err
		}
	}
	if cfg.TLSConfig().InsecureSkipVerify {
		return nil, outage(nil, "VAULT_SKIP_VERIFY is set, so that anyone could answer for Vault; unset it, and give its certificate authority in VAULT_CACERT")
	}
	cfg.Timeout = callTimeout // of a call with its repetitions; the Tink module takes no context
	client, err := api.NewClient(cfg)
	if err != nil {
		return nil, outage(err, "the Vault client cannot be made; look at the VAULT_… variables")
	}
	aead, err := hcvault.NewAEAD(path, client.Logical())
	if err != nil {
		return nil, outage(err, "the Vault client cannot be made")
	}
	return &remoteKEK{
		service: &vaultService{path, client, aead},
		name:    "Vault",
		hint:    "hcvault",
		blind:   "Vault does from version 1.13 on; use such a one (or OpenBao)",
		direct:  64 << 10,
		timeout: callTimeout,
	}, nil
}

// token returns the token of the environment, or else that of vault login, which
// is also where an agent may keep a renewed one. There is none behind an agent
// that adds its own.
func (*vaultService) token() (string, error) {
	if t := os.Getenv(api.EnvVaultToken); t != "" {
		return strings.TrimSpace(t), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", nil
	}
	path := filepath.Join(home, ".vault-token")
	if _, err := os.Stat(path); err != nil {
		return "", nil
	}
	b, err := readSecret(path, "the Vault token", "or set VAULT_TOKEN")
	if err != nil {
		return "", outage(err, "the Vault token cannot be read")
	}
	return strings.TrimSpace(string(b)), nil
}

func (s *vaultService) wrap(_ context.Context, dataKey, associatedData []byte) ([]byte, error) {
	return s.call(s.aead.Encrypt, dataKey, associatedData, false)
}

func (s *vaultService) unwrap(_ context.Context, wrapped, associatedData []byte) ([]byte, error) {
	return s.call(s.aead.Decrypt, wrapped, associatedData, true)
}

func (s *vaultService) call(f func(_, _ []byte) ([]byte, error), in, associatedData []byte, unwraps bool) ([]byte, error) {
	t, err := s.token()
	if err != nil {
		return nil, err
	}
	s.client.SetToken(t)
	out, err := f(in, associatedData)
	if err != nil {
		return nil, s.explain(err, t != "", unwraps)
	}
	return out, nil
}

// explain tells what to do about an error, by the status and the texts of
// Vault's sdk/helper/keysutil/policy.go and builtin/logical/transit.
func (s *vaultService) explain(err error, hasToken, unwraps bool) error {
	answer, ok := errors.AsType[*api.ResponseError](err)
	if !ok {
		return err
	}
	text := errors.New(strings.Join(answer.Errors, "; "))
	says := func(s string) bool { return strings.Contains(text.Error(), s) }
	switch code := answer.StatusCode; {
	case code == http.StatusForbidden && !hasToken:
		return outage(text, "there is no Vault token; set VAULT_TOKEN, run vault login, or set VAULT_ADDR to an agent that adds one")
	case code == http.StatusForbidden:
		return outage(text, "this Vault token may not use %s, or has expired; renew it, or allow it update on the key's encrypt and decrypt paths (services that only read need decrypt)", s.path)
	case code == http.StatusNotFound || says("encryption key not found"):
		return outage(text, "there is no Vault key %s; look at the secrets engine's mount and the name, and make it with vault write -f", s.path)
	case says("missing 'context'"):
		return outage(text, "the Vault key %s is a derived one; make one with derived=false", s.path)
	case says("associated") && !says("authentication failed"):
		return outage(text, "the Vault key %s does not take associated data; make one of type aes256-gcm96", s.path)
	case code == http.StatusTooManyRequests:
		return outage(text, "Vault has too many requests; try again in a while, or raise its rate limit quota")
	case code == http.StatusServiceUnavailable:
		return outage(text, "Vault is sealed or in maintenance; unseal it and try again")
	case code == http.StatusBadRequest && unwraps:
		return refusal(text, "Vault does not open the data key with %s and these associated data", s.path)
	}
	return outage(text, "Vault failed with status %d", answer.StatusCode)
}
