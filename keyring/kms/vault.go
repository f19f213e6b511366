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

// vaultKey matches a URI without the prefix: host and port, both optional, and the key's
// path.
var vaultKey = regexp.MustCompile(`^([a-zA-Z0-9.-]+(?::[0-9]+)?|\[[0-9a-fA-F:]+\](?::[0-9]+)?)?` +
	`((?:/[a-zA-Z0-9_-][a-zA-Z0-9._-]*)+/keys/[a-zA-Z0-9_-][a-zA-Z0-9._-]*)$`)

// openVault opens the key of a URI, which has passed CheckURI and lacks the prefix. It
// makes no call.
func openVault(rest string) (*remoteKEK, error) {
	parts := vaultKey.FindStringSubmatch(rest)
	host, path := parts[1], parts[2]
	cfg := api.DefaultConfig()
	if cfg.Error != nil {
		return nil, outage(cfg.Error, "the Vault configuration cannot be read; check the VAULT_… variables")
	}
	switch {
	case host != "":
		cfg.Address, cfg.AgentAddress = "https://"+host, ""
	case os.Getenv(api.EnvVaultAddress) == "" && cfg.AgentAddress == "":
		return nil, outage(nil, "VAULT_ADDR is not set, and hcvault:/// takes the server from VAULT_ADDR; "+
			"set the variable, or give hcvault://HOST:PORT%s", path)
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
		return nil, outage(nil, "VAULT_SKIP_VERIFY is set, so that any server could answer for Vault; "+
			"unset the variable, and give Vault's certificate authority in VAULT_CACERT")
	}
	cfg.Timeout = callTimeout // of a call with its retries; the Tink module takes no context
	client, err := api.NewClient(cfg)
	if err != nil {
		return nil, outage(err, "the Vault client cannot be made; check the VAULT_… variables")
	}
	aead, err := hcvault.NewAEAD(path, client.Logical())
	if err != nil {
		return nil, outage(err, "the Vault client cannot be made")
	}
	return &remoteKEK{
		service:   &tinkService{&vaultAEAD{client, aead}, vaultErrors{path}.explain},
		name:      "Vault",
		hint:      "hcvault",
		ignoresAD: "Vault does from version 1.13 on; use that version or a later one (or OpenBao)",
		direct:    64 << 10,
		timeout:   callTimeout,
	}, nil
}

// vaultAEAD is Tink's module for Vault. Before each call it gives the client the present
// token, since an agent may have renewed the token.
type vaultAEAD struct {
	client *api.Client
	aead   tink.AEAD
}

func (v *vaultAEAD) EncryptWithContext(_ context.Context, plaintext, associatedData []byte) ([]byte, error) {
	return v.call(v.aead.Encrypt, plaintext, associatedData)
}

func (v *vaultAEAD) DecryptWithContext(_ context.Context, ciphertext, associatedData []byte) ([]byte, error) {
	return v.call(v.aead.Decrypt, ciphertext, associatedData)
}

func (v *vaultAEAD) call(f func(_, _ []byte) ([]byte, error), in, associatedData []byte) ([]byte, error) {
	token, err := vaultToken()
	if err != nil {
		return nil, err
	}
	v.client.SetToken(token)
	out, err := f(in, associatedData)
	if e, ok := errors.AsType[*api.ResponseError](err); ok && e.StatusCode == http.StatusForbidden && token == "" {
		return nil, outage(vaultText(e), "there is no Vault token; set VAULT_TOKEN, run vault login, "+
			"or set VAULT_ADDR to an agent that adds a token")
	}
	return out, err
}

// vaultToken returns the token of the environment, or else the token in the file of vault
// login, where an agent may also keep a renewed token. Behind an agent that adds a token
// of its own there is neither, and the result is empty.
func vaultToken() (string, error) {
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

// vaultText returns the part of Vault's answer that is for people. The rest of the error
// repeats the request.
func vaultText(e *api.ResponseError) error { return errors.New(strings.Join(e.Errors, "; ")) }

// vaultErrors explains the errors of Vault.
type vaultErrors struct{ path string }

// explain tells what to do about an error, by the status and the texts of Vault's
// sdk/helper/keysutil/policy.go and builtin/logical/transit.
func (s vaultErrors) explain(_ context.Context, err error, unwraps bool) error {
	answer, ok := errors.AsType[*api.ResponseError](err)
	if !ok {
		return err
	}
	text := vaultText(answer)
	says := func(s string) bool { return strings.Contains(text.Error(), s) }
	switch code := answer.StatusCode; {
	case code == http.StatusForbidden:
		return outage(text, "this Vault token may not use %s, or has expired; renew the token, or allow update on the "+
			"key's encrypt and decrypt paths (services that only read need decrypt)", s.path)
	case code == http.StatusNotFound || says("encryption key not found"):
		return outage(text, "there is no Vault key %s; check the mount of the secrets engine and the key's name, "+
			"or make the key with vault write -f", s.path)
	case says("missing 'context'"):
		return outage(text, "the Vault key %s is derived; make a key with derived=false", s.path)
	case says("associated") && !says("authentication failed"):
		return outage(text, "the Vault key %s does not take associated data; make a key of type aes256-gcm96", s.path)
	case code == http.StatusTooManyRequests:
		return outage(text, tooManyRequests, "Vault", "client")
	case code == http.StatusServiceUnavailable:
		return outage(text, "Vault is sealed or in maintenance; unseal Vault and try again")
	case code == http.StatusBadRequest && unwraps:
		return refusal(text, notOpened, "Vault", s.path)
	}
	return outage(text, "Vault failed with status %d", answer.StatusCode)
}
