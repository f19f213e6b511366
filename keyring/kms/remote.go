package kms

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/admitone/admitone/keyring"
)

// callTimeout is how long one call to a service may take, with its repetitions.
const callTimeout = 10 * time.Second

// service is a KEK outside this process. It encrypts no more than a data key, so
// that no service's limit (4,096 bytes at AWS) depends on the size of a keyring.
// Errors are faults; those that are not are taken for an outage.
type service interface {
	wrap(ctx context.Context, dataKey, associatedData []byte) ([]byte, error)
	unwrap(ctx context.Context, wrapped, associatedData []byte) ([]byte, error)
}

// remoteKEK is AES-256-GCM under a data key that is made afresh for each
// plaintext and stands before it, wrapped by a service; see the package's
// documentation for the format. Both encryptions have the associated data.
type remoteKEK struct {
	service
	name    string // for people: "AWS KMS"
	hint    string
	blind   string // what to do about a service that ignores associated data
	direct  int    // how many bytes the service encrypts itself, as Tink has it; 0 if Tink does not know it
	timeout time.Duration
}

const (
	remoteVersion = 1
	remoteOffset  = 1 + 2 // where the wrapped data key begins
	maxWrapped    = 4096
	nonceSize     = 12
	tagSize       = 16
)

// Hint is that of keyring.KEK.
func (k *remoteKEK) Hint() string { return k.hint }

// Encrypt wraps a new data key, makes sure that the service gives it back, and
// not for other associated data, and encrypts under it.
func (k *remoteKEK) Encrypt(plaintext, associatedData []byte) ([]byte, error) {
	dataKey := make([]byte, keySize)
	rand.Read(dataKey) // never fails
	defer clear(dataKey)
	wrapped, err := k.call(k.wrap, dataKey, associatedData)
	if err != nil {
		return nil, err
	}
	if len(wrapped) == 0 || len(wrapped) > maxWrapped {
		return nil, fmt.Errorf("kms: %s made %d bytes of a data key; at most %d are taken", k.name, len(wrapped), maxWrapped)
	}
	if err := k.test(wrapped, dataKey, associatedData); err != nil {
		return nil, err
	}
	a, err := newGCM(dataKey)
	if err != nil {
		return nil, err
	}
	out := binary.BigEndian.AppendUint16([]byte{remoteVersion}, uint16(len(wrapped)))
	out = append(out, wrapped...)
	nonce := make([]byte, nonceSize)
	rand.Read(nonce)
	return a.Seal(append(out, nonce...), nonce, plaintext, associatedData), nil
}

// Decrypt opens what Encrypt made.
func (k *remoteKEK) Decrypt(ciphertext, associatedData []byte) ([]byte, error) {
	if len(ciphertext) < remoteOffset || ciphertext[0] != remoteVersion {
		return nil, fmt.Errorf("kms: not encrypted under %s in version %d, the one that this program knows", k.name, remoteVersion)
	}
	length := int(binary.BigEndian.Uint16(ciphertext[1:]))
	body := ciphertext[remoteOffset:]
	if length == 0 || length > maxWrapped || len(body) < length+nonceSize+tagSize {
		return nil, errors.New("kms: too short for its data key, or the data key's length was changed")
	}
	wrapped, body := body[:length], body[length:]
	dataKey, err := k.call(k.unwrap, wrapped, associatedData)
	if err != nil {
		return nil, err
	}
	defer clear(dataKey)
	if len(dataKey) == 0 { // which says nothing about the file
		return nil, outage(nil, "%s answered with nothing; see what stands between, such as a proxy, and try again", k.name)
	}
	if len(dataKey) != keySize {
		return nil, fmt.Errorf("kms: %s gave a data key of %d bytes instead of %d", k.name, len(dataKey), keySize)
	}
	a, err := newGCM(dataKey)
	if err != nil {
		return nil, err
	}
	plain, err := a.Open(nil, body[:nonceSize], body[nonceSize:], associatedData)
	if err != nil {
		return nil, errors.New("kms: its data key is good, and what was encrypted under it, or the associated data, was changed")
	}
	return plain, nil
}

// test makes sure that the service authenticates associated data. The data
// key's own encryption does in any case, but then whoever may use the service
// for one realm could open another's keyrings, and a key policy that looks at
// the encryption context would protect nothing.
func (k *remoteKEK) test(wrapped, dataKey, associatedData []byte) error {
	again, err := k.call(k.unwrap, wrapped, associatedData)
	if err != nil {
		return fmt.Errorf("%w (it was just wrapped; nothing was encrypted)", err)
	}
	defer clear(again)
	if subtle.ConstantTimeCompare(again, dataKey) != 1 {
		return fmt.Errorf("kms: %s does not give back what it wrapped; nothing was encrypted", k.name)
	}
	wrong := []byte{1}
	if len(associatedData) > 0 {
		wrong = bytes.Clone(associatedData)
		wrong[len(wrong)-1] ^= 1
	}
	plain, err := k.call(k.unwrap, wrapped, wrong)
	clear(plain)
	switch {
	case err == nil:
		return fmt.Errorf("kms: %s does not authenticate associated data; nothing was encrypted; %s", k.name, k.blind)
	case errors.Is(err, keyring.ErrKEKUnavailable):
		return fmt.Errorf("kms: whether %s authenticates associated data cannot be seen, so nothing was encrypted: %w", k.name, err)
	}
	return nil
}

func (k *remoteKEK) call(f func(context.Context, []byte, []byte) ([]byte, error), in, associatedData []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), k.timeout)
	defer cancel()
	out, err := f(ctx, in, associatedData)
	if err == nil {
		return out, nil
	}
	f1, ok := errors.AsType[*fault](err)
	if !ok {
		f1 = k.unclassified(err)
	}
	return nil, f1
}

// unclassified is the fault for an error that no service's own code explains.
func (k *remoteKEK) unclassified(err error) *fault {
	if n, ok := errors.AsType[net.Error](err); ok && n.Timeout() || errors.Is(err, context.DeadlineExceeded) {
		return outage(err, "%s did not answer within %v; check the network, its firewalls and proxies, and try again", k.name, k.timeout)
	}
	_, isURL := errors.AsType[*url.Error](err)
	if _, ok := errors.AsType[net.Error](err); ok || isURL {
		return outage(err, "%s cannot be reached; check its address, the network, and the certificate authorities that this machine trusts", k.name)
	}
	return outage(err, "%s failed", k.name)
}

// fault is why a service did not do what it was asked. Its text tells what to do.
type fault struct {
	text    string
	refused bool // it looked at the ciphertext, and it is not one of this key with these associated data
	err     error
}

func outage(err error, format string, args ...any) *fault {
	return &fault{fmt.Sprintf(format, args...), false, err}
}

// refusal is the fault of a ciphertext that the service does not open.
func refusal(err error, format string, args ...any) *fault {
	return &fault{fmt.Sprintf(format, args...), true, err}
}

// Error is one line, however a service words its part.
func (f *fault) Error() string {
	if f.err == nil {
		return "kms: " + f.text
	}
	const most = 400
	detail := []rune(strings.Join(strings.Fields(f.err.Error()), " "))
	if len(detail) > most {
		detail = append(detail[:most], '…')
	}
	return "kms: " + f.text + ": " + string(detail)
}

func (f *fault) Unwrap() error { return f.err }

// Is makes all but a refusal a keyring.ErrKEKUnavailable.
func (f *fault) Is(target error) bool {
	return target == keyring.ErrKEKUnavailable && !f.refused
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("kms: %w", err)
	}
	a, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("kms: %w", err)
	}
	return a, nil
}

// checkEndpoint refuses an address at which data keys would cross a network in
// clear. To errors, it is what: the variable that says it.
func checkEndpoint(what, address string) error {
	u, err := url.Parse(address)
	if err != nil {
		return fmt.Errorf("kms: %s is not a URL", what)
	}
	ip := net.ParseIP(u.Hostname())
	if slices.Contains([]string{"https", "unix"}, u.Scheme) || u.Scheme == "http" && (u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()) {
		return nil
	}
	return fmt.Errorf("kms: %s must be an https: address; http: is for this machine only, since keys would cross the network in clear", what)
}
