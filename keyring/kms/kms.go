// Package kms opens key-encryption keys (KEKs), under which keyring files are
// encrypted.
//
// A URI names a KEK:
//
//	file:PATH             a file of exactly 32 random bytes, see CreateKeyFile
//	passphrase:           a passphrase, asked for
//	passphrase:env:NAME   a passphrase in an environment variable
//	passphrase:file:PATH  a passphrase in a file
//	aws-kms://arn:aws:kms:REGION:ACCOUNT:key/ID
//	gcp-kms://projects/PROJECT/locations/LOCATION/keyRings/RING/cryptoKeys/KEY
//	hcvault://HOST:PORT/transit/keys/NAME
//	pkcs11:token=LABEL;object=LABEL?module-path=PATH&pin-source=file:PATH
//	signed:PATH           the identity key that signs bundles and trust lists, see CreateIdentity
//	verify:PATH           the public half of an identity key, for readers
//
// The last two are for signed files only, which hold no secret: everybody can read them, and only
// the identity key writes them. The files are PEM, as OpenSSL reads and writes them.
//
// Newlines at the end of a passphrase do not count, wherever the passphrase comes from.
//
// A URI at fault is a *token.ConfigError with the Field "kms.URI". Files with secrets
// must not be readable or writable by everyone, nor writable by their group.
//
// # Services
//
// The URIs from aws-kms to pkcs11 name keys that never leave a service or a token. Such a key
// encrypts a data key of 32 random bytes, and the data key encrypts the keyset. Every
// writing of a keyring makes a new data key. So the size of a keyring does not meet the
// size limit of a service. The format:
//
//	version     u8        1
//	length      u16       of wrapped, big-endian, at most 4,096
//	wrapped               the data key, as the service encrypted it
//	nonce       12 bytes
//	ciphertext and tag    AES-256-GCM under the data key
//
// (For keysets that Tinkey reads, and not keyring files, see Tink.)
//
// Both encryptions have the keyring's associated data (see package keyring). The tools
// of a service take wrapped as follows:
//
//	aws-kms  CiphertextBlob; the encryption context is associatedData = the
//	         associated data in hexadecimal (as in Tink)
//	gcp-kms  ciphertext; additionalAuthenticatedData
//	hcvault  ciphertext, as "vault:v1:…"; associated_data
//	pkcs11   nonce of 12 bytes, ciphertext, tag of 16, of CKM_AES_GCM
//
// Every writing tests the service first: the service must decrypt the data key, and must
// refuse to decrypt it with other associated data. A service that ignores associated data
// encrypts nothing. The associated data begin with "admitone/keyring/1", a zero byte, the
// realm and another zero byte, so that a key policy can allow certain realms. For the
// realm prod at AWS:
//
//	"Condition": {"StringLike": {"kms:EncryptionContext:associatedData":
//	  "61646d69746f6e652f6b657972696e672f310070726f6400*"}}
//
// A call takes at most 10 seconds, retries included. If the service cannot answer, the
// error wraps keyring.ErrKEKUnavailable and tells what to do.
//
// AWS. Credentials come from the SDK's default chain: AWS_PROFILE, AWS_ACCESS_KEY_ID, the
// role of the machine, pod or task. AWS_ENDPOINT_URL_KMS sets another endpoint. Writers
// need kms:Encrypt and kms:Decrypt, readers kms:Decrypt. The URI may name an alias
// (…:alias/NAME). After an alias was moved to another key, older keyring files open with
// the ARN of the old key only.
//
// Google Cloud. Credentials are application default credentials:
// GOOGLE_APPLICATION_CREDENTIALS, gcloud auth application-default login, the service
// account of the machine or pod. CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDKMS sets another
// endpoint. Calls count for the project of GOOGLE_CLOUD_QUOTA_PROJECT, or of the credentials,
// or of the key. They go over HTTPS, by HTTPS_PROXY if set, and not over gRPC.
//
// Vault, from version 1.13 on, and OpenBao. The key is a key of the transit engine, of a
// type with associated data (aes256-gcm96) and not derived. Without a host
// (hcvault:///transit/keys/NAME) the server is VAULT_ADDR. VAULT_CACERT, VAULT_NAMESPACE
// and the other VAULT_ variables count. The token is VAULT_TOKEN or else the content of
// ~/.vault-token, where vault login writes the token. The file is read at each call, since
// agents renew the token. Writers need update on transit/encrypt/NAME and
// transit/decrypt/NAME. Do not give them create: with create, Vault makes a new key for
// each misspelt name.
//
// PKCS #11. The key is an AES key of 256 bits in a token. The URI has the form of RFC 7512
// with the attributes token, serial, object, id, type and, after the question mark,
// module-path and pin-source (file:PATH or env:NAME). A PIN in the URI (pin-value) is
// refused, since process lists and shell histories would show the PIN. After a token has
// refused a PIN, the process does not try that PIN again, since tokens lock. Programs need
// a build with -tags pkcs11 and a C compiler.
package kms

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/admitone/admitone/internal/durable"
	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/token"
)

// Prompt asks for a passphrase. See Terminal.
type Prompt func() (string, error)

// fieldURI is the Field of a *token.ConfigError about a KEK's URI.
const fieldURI = "kms.URI"

func uriError(format string, args ...any) error {
	return &token.ConfigError{Field: fieldURI, Reason: fmt.Sprintf(format, args...)}
}

// CheckURI reports whether uri has one of the forms of the package's documentation. It
// opens nothing. The error is a *token.ConfigError and does not repeat the URI, since the
// URI may be a passphrase in the wrong place.
func CheckURI(uri string) error {
	scheme, rest, ok := strings.Cut(uri, ":")
	if !ok {
		scheme = ""
	}
	switch scheme {
	case "file", "signed", "verify":
		if rest != "" {
			return nil
		}
	case "passphrase":
		from, name, _ := strings.Cut(rest, ":")
		if rest == "" || (from == "env" || from == "file") && name != "" {
			return nil
		}
		return uriError("must not hold the passphrase; " +
			"give passphrase:, passphrase:env:NAME or passphrase:file:PATH")
	case "aws-kms":
		if !awsKey.MatchString(strings.TrimPrefix(uri, awsPrefix)) {
			return uriError("is not a key of AWS KMS; give the key's ARN, as aws-kms://arn:aws:kms:REGION:ACCOUNT:key/ID")
		}
		return nil
	case "gcp-kms":
		if !gcpKey.MatchString(strings.TrimPrefix(uri, gcpPrefix)) {
			return uriError("is not a key of Google Cloud KMS; give gcp-kms://projects/PROJECT/" +
				"locations/LOCATION/keyRings/RING/cryptoKeys/KEY, without a version")
		}
		return nil
	case "hcvault":
		if !vaultKey.MatchString(strings.TrimPrefix(uri, vaultPrefix)) {
			return uriError("is not a key of Vault's transit engine; give hcvault://HOST:PORT/transit/keys/NAME, " +
				"or hcvault:///transit/keys/NAME with VAULT_ADDR")
		}
		return nil
	case "pkcs11":
		_, err := parsePKCS11(uri)
		return err
	}
	return uriError("is not a key-encryption key; give file:PATH, passphrase:, passphrase:env:NAME, " +
		"passphrase:file:PATH, aws-kms://ARN, gcp-kms://NAME, hcvault://HOST/PATH or pkcs11:ATTRIBUTES; " +
		"for signed files signed:PATH or verify:PATH")
}

// Open opens the KEK of a URI. Open calls prompt for "passphrase:" only; services give
// nil, and then "passphrase:" is an error.
//
// The errors of a KEK in a service wrap keyring.ErrKEKUnavailable if the service could not
// answer, and tell what to do. No KEK needs closing.
func Open(uri string, prompt Prompt) (keyring.KEK, error) {
	if err := CheckURI(uri); err != nil {
		return nil, err
	}
	scheme, rest, _ := strings.Cut(uri, ":")
	switch scheme {
	case "file":
		return openKeyFile(rest)
	case "signed":
		return openIdentity(rest)
	case "verify":
		return openVerifier(rest)
	case "aws-kms":
		return opened(openAWS(strings.TrimPrefix(uri, awsPrefix)))
	case "gcp-kms":
		return opened(openGCP(strings.TrimPrefix(uri, gcpPrefix), nil))
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

// opened keeps a nil *remoteKEK from becoming a keyring.KEK that is not nil.
func opened(k *remoteKEK, err error) (keyring.KEK, error) {
	if err != nil {
		return nil, err
	}
	return k, nil
}

// trimNewlines removes the newlines at the end of a secret, LF or CR LF. Then the secret is
// the same from a file, from a variable and from a terminal.
func trimNewlines(s string) string { return strings.TrimRight(s, "\r\n") }

// maxSecret is far above the size in bytes of a key, a passphrase, a PIN or a token.
const maxSecret = 4096

// readSecret reads a small private file. In errors, what names the file's purpose, and
// instead tells what to do without the file.
func readSecret(path, what, instead string) ([]byte, error) {
	data, err := durable.ReadPrivate(path, maxSecret)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s %s is missing; mount or restore it; %s: %w", what, path, instead, err)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%s must not be read by this user; run this as the owner of %s: %w", what, path, err)
	case err != nil:
		return nil, fmt.Errorf("%s %s cannot be used: %w", what, path, err)
	}
	return data, nil
}
