package kms

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/admitone/admitone/internal/sealing"
	"github.com/admitone/admitone/keyring"
)

// callTimeout bounds one call to a service, retries included.
const callTimeout = 10 * time.Second

// service is a KEK outside this process. A service encrypts data keys only, so that a
// large keyring does not meet a service's size limit (4,096 bytes at AWS). Errors are
// *serviceError; any other error counts as an outage.
type service interface {
	wrap(ctx context.Context, dataKey, associatedData []byte) ([]byte, error)
	unwrap(ctx context.Context, wrapped, associatedData []byte) ([]byte, error)
}

// tinkService is a service by Tink's module for it.
type tinkService struct {
	aead tink.AEADWithContext

	// explain returns the *serviceError for an error of the module, or the error itself if
	// the error has no code of the service.
	explain func(ctx context.Context, err error, unwraps bool) error
}

func (s *tinkService) wrap(ctx context.Context, dataKey, associatedData []byte) ([]byte, error) {
	out, err := s.aead.EncryptWithContext(ctx, dataKey, associatedData)
	if err != nil {
		return nil, s.explain(ctx, err, false)
	}
	return out, nil
}

func (s *tinkService) unwrap(ctx context.Context, wrapped, associatedData []byte) ([]byte, error) {
	out, err := s.aead.DecryptWithContext(ctx, wrapped, associatedData)
	if err != nil {
		return nil, s.explain(ctx, err, true)
	}
	return out, nil
}

// remoteKEK is AES-256-GCM under data keys that a service wraps, a new data key for each
// plaintext. The package's documentation has the format. Both encryptions have the
// associated data.
type remoteKEK struct {
	service
	name      string // for people: "AWS KMS"
	hint      string
	ignoresAD string // what to do about a service that ignores associated data
	direct    int    // bytes that the service itself encrypts, by Tink's rules; 0 if Tink lacks the service
	timeout   time.Duration
}

const (
	remoteVersion = 1
	remoteOffset  = 1 + 2 // where the wrapped data key begins
	maxWrapped    = 4096
	nonceSize     = 12
	tagSize       = 16
)

// Hint implements keyring.KEK.
func (k *remoteKEK) Hint() string { return k.hint }

// Encrypt wraps a new data key, tests the service (see test) and encrypts under the data
// key.
func (k *remoteKEK) Encrypt(plaintext, associatedData []byte) ([]byte, error) {
	dataKey := make([]byte, keySize)
	rand.Read(dataKey) // never fails
	defer clear(dataKey)
	wrapped, err := k.call(k.wrap, dataKey, associatedData)
	if err != nil {
		return nil, err
	}
	if len(wrapped) == 0 || len(wrapped) > maxWrapped {
		return nil, fmt.Errorf("%s made %d bytes of a data key; the most is %d", k.name, len(wrapped), maxWrapped)
	}
	if err := k.test(wrapped, dataKey, associatedData); err != nil {
		return nil, err
	}
	a, err := sealing.NewGCM(dataKey)
	if err != nil {
		return nil, err
	}
	out := binary.BigEndian.AppendUint16([]byte{remoteVersion}, uint16(len(wrapped)))
	out = append(out, wrapped...)
	return a.Seal(out, nil, plaintext, associatedData), nil
}

// Decrypt opens a ciphertext of Encrypt.
func (k *remoteKEK) Decrypt(ciphertext, associatedData []byte) ([]byte, error) {
	if len(ciphertext) < remoteOffset || ciphertext[0] != remoteVersion {
		return nil, fmt.Errorf("not encrypted under %s in version %d, the version of this program", k.name, remoteVersion)
	}
	length := int(binary.BigEndian.Uint16(ciphertext[1:]))
	body := ciphertext[remoteOffset:]
	if length == 0 || length > maxWrapped || len(body) < length+nonceSize+tagSize {
		return nil, errors.New("too short for its data key, or the data key's length was changed")
	}
	wrapped, body := body[:length], body[length:]
	dataKey, err := k.call(k.unwrap, wrapped, associatedData)
	if err != nil {
		return nil, err
	}
	defer clear(dataKey)
	if len(dataKey) == 0 { // the file may be good
		return nil, outage(nil, "%s answered with nothing; check the proxies on the way, and try again", k.name)
	}
	if len(dataKey) != keySize {
		return nil, fmt.Errorf("%s gave a data key of %d bytes instead of %d", k.name, len(dataKey), keySize)
	}
	a, err := sealing.NewGCM(dataKey)
	if err != nil {
		return nil, err
	}
	plaintext, err := a.Open(nil, nil, body, associatedData)
	if err != nil {
		return nil, errors.New("the data key is good, but the ciphertext or the associated data was changed")
	}
	return plaintext, nil
}

// test makes sure that the service returns the data key, and that the service
// authenticates associated data. Encryption under the data key authenticates them in any
// case. But with a service that ignores them, a user of one realm could open the keyrings
// of another realm, and a key policy on the encryption context would protect nothing.
func (k *remoteKEK) test(wrapped, dataKey, associatedData []byte) error {
	again, err := k.call(k.unwrap, wrapped, associatedData)
	if err != nil {
		return fmt.Errorf("%w (a data key that had just been wrapped; nothing was encrypted)", err)
	}
	defer clear(again)
	if subtle.ConstantTimeCompare(again, dataKey) != 1 {
		return fmt.Errorf("%s does not return the data key that was wrapped; nothing was encrypted", k.name)
	}
	wrong := []byte{1}
	if len(associatedData) > 0 {
		wrong = bytes.Clone(associatedData)
		wrong[len(wrong)-1] ^= 1
	}
	plaintext, err := k.call(k.unwrap, wrapped, wrong)
	clear(plaintext)
	switch {
	case err == nil:
		return fmt.Errorf("%s does not authenticate associated data; nothing was encrypted; %s", k.name, k.ignoresAD)
	case errors.Is(err, keyring.ErrKEKUnavailable):
		return fmt.Errorf("nothing was encrypted: cannot test whether %s authenticates associated data: %w", k.name, err)
	}
	return nil
}

func (k *remoteKEK) call(
	f func(ctx context.Context, in, associatedData []byte) ([]byte, error), in, associatedData []byte,
) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), k.timeout)
	defer cancel()
	out, err := f(ctx, in, associatedData)
	if err == nil {
		return out, nil
	}
	e, ok := errors.AsType[*serviceError](err)
	if !ok {
		e = k.unclassified(err)
	}
	return nil, e
}

// unclassified returns the outage for an error without a code of the service.
func (k *remoteKEK) unclassified(err error) *serviceError {
	if n, ok := errors.AsType[net.Error](err); ok && n.Timeout() || errors.Is(err, context.DeadlineExceeded) {
		return outage(err, "%s did not answer within %v; check the network, its firewalls and proxies, and try again",
			k.name, k.timeout)
	}
	_, isURL := errors.AsType[*url.Error](err)
	if _, ok := errors.AsType[net.Error](err); ok || isURL {
		return outage(err, "%s cannot be reached; check its address, the network, "+
			"and the certificate authorities that this machine trusts", k.name)
	}
	return outage(err, "%s failed", k.name)
}

// serviceError tells why a service did not do its work, and what to do.
type serviceError struct {
	reason  string
	refused bool // the service looked at the ciphertext: another key or other associated data made it
	cause   error
}

// outage returns the error of a service that cannot do its work now.
func outage(cause error, format string, args ...any) *serviceError {
	return &serviceError{fmt.Sprintf(format, args...), false, cause}
}

// refusal returns the error of a ciphertext that the service does not open.
func refusal(cause error, format string, args ...any) *serviceError {
	return &serviceError{fmt.Sprintf(format, args...), true, cause}
}

// Error returns one line of bounded length, however long the service's own text is.
func (e *serviceError) Error() string {
	if e.cause == nil {
		return e.reason
	}
	const most = 400
	detail := []rune(strings.Join(strings.Fields(e.cause.Error()), " "))
	if len(detail) > most {
		detail = append(detail[:most], '…')
	}
	return e.reason + ": " + string(detail)
}

func (e *serviceError) Unwrap() error { return e.cause }

// Is makes every error but a refusal a keyring.ErrKEKUnavailable.
func (e *serviceError) Is(target error) bool {
	return target == keyring.ErrKEKUnavailable && !e.refused
}

// The words about the same trouble at different services.
const (
	badCredentials  = "%s does not accept the credentials; renew or correct them (and check this machine's clock)"
	tooManyRequests = "%s has too many requests from this %s; try again in a while, or raise the quota"
	notOpened       = "%s does not open the data key with %s and these associated data"
)

// checkEndpoint refuses an address to which data keys would cross a network in clear. The
// variable is the source of the address.
func checkEndpoint(variable, address string) error {
	u, err := url.Parse(address)
	if err != nil {
		return fmt.Errorf("%s is not a URL", variable)
	}
	ip := net.ParseIP(u.Hostname())
	local := u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
	if u.Scheme == "https" || u.Scheme == "unix" || u.Scheme == "http" && local {
		return nil
	}
	return fmt.Errorf("%s must be an https: address; http: is for this machine only, "+
		"since keys would cross the network in clear", variable)
}
