// Package kms opens key-encryption keys: what keyring files are wrapped under.
//
// A KEK is named by a URI:
//
//	file:PATH             a file of exactly 32 random bytes, see CreateKeyFile
//	passphrase:           a passphrase, asked for
//	passphrase:env:NAME   a passphrase in an environment variable
//	passphrase:file:PATH  a passphrase in a file; one newline at its end is not of it
//	aws-kms://arn:aws:kms:REGION:ACCOUNT:key/ID
//	gcp-kms://projects/PROJECT/locations/LOCATION/keyRings/RING/cryptoKeys/KEY
//	hcvault://HOST:PORT/transit/keys/NAME
//	pkcs11:token=LABEL;object=LABEL?module-path=PATH&pin-source=file:PATH
//
// Files with secrets must not be readable or writable by everyone, nor writable
// by their group.
//
// # Services
//
// The last four are keys that never leave a service or a token. They encrypt a
// data key of 32 random bytes, made afresh at each writing of a keyring, and
// that encrypts the keyset, so that no service's limit depends on the number of keys:
//
//	version     u8        1
//	length      u16       of wrapped, big-endian, at most 4,096
//	wrapped               the data key, as the service encrypted it
//	nonce       12 bytes
//	ciphertext and tag    AES-256-GCM under the data key
//
// (For keysets that Tinkey is to read, and not keyring files, see Tink.)
//
// Both encryptions have the keyring's associated data (see package keyring), and
// wrapped is what the service's own tools take:
//
//	aws-kms  CiphertextBlob; the encryption context is associatedData = the
//	         associated data in hex (as Tink has it)
//	gcp-kms  ciphertext; additionalAuthenticatedData
//	hcvault  ciphertext, as "vault:v1:…"; associated_data
//	pkcs11   nonce of 12 bytes, ciphertext, tag of 16, of CKM_AES_GCM
//
// At each writing the data key is had back from the service, once, and is asked for
// with other associated data, which must be refused: nothing is encrypted with a
// service that ignores them. The associated data begin with "admitone/keyring/1",
// a zero byte, the realm and another, so that a key policy can say which realms
// it is for; for the realm prod at AWS:
//
//	"Condition": {"StringLike": {"kms:EncryptionContext:associatedData":
//	  "61646d69746f6e652f6b657972696e672f310070726f6400*"}}
//
// A call may take 10 seconds, its repetitions included. Errors of what keeps a
// service from answering wrap keyring.ErrKEKUnavailable and tell what to do.
//
// AWS. Credentials are those of the SDK's default chain: AWS_PROFILE,
// AWS_ACCESS_KEY_ID, the role of the machine, pod or task. AWS_ENDPOINT_URL_KMS is
// another endpoint. Writers need kms:Encrypt and kms:Decrypt, readers kms:Decrypt.
// An alias (…:alias/NAME) is taken, too; if it is made to mean another key, what
// was wrapped before opens with the old key's ARN.
//
// Google Cloud. Application default credentials: GOOGLE_APPLICATION_CREDENTIALS,
// gcloud auth application-default login, the service account of the machine or pod.
// Another endpoint is CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDKMS.
//
// Vault, from version 1.13 on, and OpenBao: a key of the transit engine, of a type
// that takes associated data (aes256-gcm96) and not derived. With no host
// (hcvault:///transit/keys/NAME) the server is that of VAULT_ADDR. VAULT_CACERT,
// VAULT_NAMESPACE and the other VAULT_ variables count. The token is VAULT_TOKEN or
// else the file that vault login writes, ~/.vault-token, read at each call, since
// agents renew it. Give writers update on transit/encrypt/NAME and
// transit/decrypt/NAME, and never create: with it, Vault makes a new key for each
// misspelt name.
//
// PKCS #11: an AES key of 256 bits in a token, by a URI of RFC 7512 with the
// attributes token, serial, object, id, type and, after the question mark,
// module-path and pin-source (file:PATH or env:NAME). A PIN in the URI (pin-value) is
// refused: process lists and shell histories would show it. A PIN that the token
// refused is not tried twice by one process, since tokens lock. Programs must be built with
// -tags pkcs11, and a C compiler.
package kms

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strings"

	"github.com/admitone/admitone/keyring"
)

// Prompt asks for a passphrase. See Terminal.
type Prompt func() (string, error)

// CheckURI reports whether uri is of one of the forms above. It opens nothing.
// The error does not repeat the URI: it may be the passphrase itself.
func CheckURI(uri string) error {
	scheme, rest, ok := strings.Cut(uri, ":")
	if !ok {
		scheme = ""
	}
	switch scheme {
	case "file":
		if rest != "" {
			return nil
		}
	case "passphrase":
		from, name, _ := strings.Cut(rest, ":")
		if rest == "" || (from == "env" || from == "file") && name != "" {
			return nil
		}
		return errors.New("kms: a passphrase is not given in the URI; give passphrase:, passphrase:env:NAME or passphrase:file:PATH")
	case "aws-kms":
		if !awsKey.MatchString(strings.TrimPrefix(uri, awsPrefix)) {
			return errors.New("kms: an AWS KMS key is given by its ARN, as aws-kms://arn:aws:kms:REGION:ACCOUNT:key/ID")
		}
		return nil
	case "gcp-kms":
		if !gcpKey.MatchString(strings.TrimPrefix(uri, gcpPrefix)) {
			return errors.New("kms: a Google Cloud KMS key is given as gcp-kms://projects/PROJECT/locations/LOCATION/keyRings/RING/cryptoKeys/KEY, without a version")
		}
		return nil
	case "hcvault":
		if !vaultKey.MatchString(strings.TrimPrefix(uri, vaultPrefix)) {
			return errors.New("kms: a key of Vault's transit engine is given as hcvault://HOST:PORT/transit/keys/NAME, or hcvault:///transit/keys/NAME with VAULT_ADDR")
		}
		return nil
	case "pkcs11":
		_, err := parsePKCS11(uri)
		return err
	}
	return errors.New("kms: a KEK is given as file:PATH, passphrase:, passphrase:env:NAME, passphrase:file:PATH, aws-kms://ARN, gcp-kms://NAME, hcvault://HOST/PATH or pkcs11:ATTRIBUTES")
}

// Open opens the KEK that uri names. The prompt is called for "passphrase:"
// only; services give nil, and then that is an error.
//
// The errors of a KEK in a service wrap keyring.ErrKEKUnavailable where the service
// could not be asked, and tell what to do. No KEK needs closing.
func Open(uri string, prompt Prompt) (keyring.KEK, error) {
	if err := CheckURI(uri); err != nil {
		return nil, err
	}
	scheme, rest, _ := strings.Cut(uri, ":")
	switch scheme {
	case "file":
		return openKeyFile(rest)
	case "aws-kms":
		return opened(openAWS(strings.TrimPrefix(uri, awsPrefix)))
	case "gcp-kms":
		return opened(openGCP(strings.TrimPrefix(uri, gcpPrefix)))
	case "hcvault":
		return opened(openVault(strings.TrimPrefix(uri, vaultPrefix)))
	case "pkcs11":
		u, err := parsePKCS11(uri)
		if err != nil {
			return nil, err
		}
		return openPKCS11(u)
	}
	p, err := passphrase(rest, prompt)
	if err != nil {
		return nil, err
	}
	return newPassphraseKEK(p), nil
}

// opened keeps a nil of one type from becoming a KEK that is not nil.
func opened(k *remoteKEK, err error) (keyring.KEK, error) {
	if err != nil {
		return nil, err
	}
	return k, nil
}

// trimNewline takes off the newline that editors leave at a file's end.
func trimNewline(s string) string {
	return strings.TrimSuffix(strings.TrimSuffix(s, "\n"), "\r")
}

// readSecret reads a small file that must be private. To errors, it is what; one
// that is missing can be replaced as instead says.
func readSecret(path, what, instead string) ([]byte, error) {
	// Not opened before it is known to be a file: to open a pipe waits for ever.
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("kms: %s %s is missing; mount or restore it; %s: %w", what, path, instead, err)
	}
	if err != nil {
		return nil, fmt.Errorf("kms: %s: %w", what, err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("kms: %s is not a regular file", path)
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("kms: %s must not be read by this user; run this as the owner of %s: %w", what, path, err)
	}
	if err != nil {
		return nil, fmt.Errorf("kms: %s: %w", what, err)
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil {
		return nil, fmt.Errorf("kms: %w", err)
	}
	// Windows keeps no such bits; its access control lists are not looked at.
	if m := info.Mode().Perm(); m&0o026 != 0 && runtime.GOOS != "windows" {
		return nil, fmt.Errorf("kms: %s has mode %04o, so others may read it or write it; run: chmod 0600 %s (in Kubernetes: defaultMode 0400)", path, m, path)
	}
	const limit = 4096
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("kms: %w", err)
	}
	if len(b) > limit {
		return nil, fmt.Errorf("kms: %s is larger than %d bytes; it is not a secret of ours", path, limit)
	}
	return b, nil
}
