package kms

import (
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/admitone/admitone/internal/sealing"
	"github.com/admitone/admitone/keyring"
)

// passphrase returns the passphrase for the rest of a passphrase: URI, which has passed
// CheckURI.
func passphrase(rest string, prompt Prompt) (string, error) {
	from, name, _ := strings.Cut(rest, ":")
	var p string
	switch {
	case rest == "" && prompt == nil:
		return "", uriError("is passphrase:, and there is nobody to ask; give passphrase:env:NAME or passphrase:file:PATH")
	case rest == "":
		var err error
		if p, err = prompt(); err != nil {
			return "", err
		}
	case from == "env":
		if p = os.Getenv(name); trimNewlines(p) == "" {
			return "", errors.New("the passphrase is empty: the variable of passphrase:env: is not set, or empty")
		}
	case from == "file":
		b, err := readSecret(name, "the passphrase file", "or give passphrase: or passphrase:env:NAME")
		if err != nil {
			return "", err
		}
		p = string(b)
	}
	// Editors, echo and Kubernetes secrets add a newline, which nobody can type at a terminal.
	if p = trimNewlines(p); p == "" {
		return "", errors.New("the passphrase is empty")
	}
	return p, nil
}

// A passphrase KEK encrypts in this format:
//
//	version    u8        1
//	memory     u32       KiB, big-endian
//	passes     u32       big-endian
//	threads    u8
//	salt       16 bytes
//	nonce      12 bytes
//	ciphertext and tag   AES-256-GCM
//
// The key is Argon2id (RFC 9106) of passphrase and salt. The cipher's associated data are
// everything up to the salt, the salt included, and then the caller's associated data.
const (
	passphraseVersion = 1
	saltOffset        = 1 + 4 + 4 + 1
	nonceOffset       = saltOffset + 16
	bodyOffset        = nonceOffset + 12
	minPassphraseSize = bodyOffset + 16
)

// kdf are the parameters of Argon2id.
type kdf struct {
	memory  uint32 // KiB
	passes  uint32
	threads uint8
}

// defaultKDF is the second recommended option of RFC 9106, section 4.
var defaultKDF = kdf{memory: 64 << 10, passes: 3, threads: 4}

// work is the number of KiB that Argon2id fills, which its time is proportional to.
func (k kdf) work() uint64 { return uint64(k.passes) * uint64(k.memory) }

// check bounds the memory and the work that a file can demand of a reader, before anything
// of the file is authenticated: maxCost times those of defaultKDF. The lower bounds come
// from RFC 9106, section 3.1.
func (k kdf) check() error {
	const maxCost = 4
	if k.threads < 1 || k.threads > 16 || k.memory < 8*uint32(k.threads) || k.memory > maxCost*defaultKDF.memory ||
		k.passes < 1 || k.work() > maxCost*defaultKDF.work() {
		return errors.New("the passphrase parameters in the file are out of bounds; the file is damaged or not to be trusted")
	}
	return nil
}

// Whoever can write a keyring file can make every reader derive a key, by a new salt. So a
// passphrase KEK derives for at most failBurst ciphertexts that do not open, and then for
// one each failEvery. Ciphertexts that open do not count.
const (
	failBurst = 4
	failEvery = 15 * time.Second
)

// passphraseKEK is AES-256-GCM under a key derived from a passphrase.
type passphraseKEK struct {
	passphrase string
	kdf        kdf // for the next encryption

	argon2 func(password, salt []byte, passes, memory uint32, threads uint8, size uint32) []byte
	now    func() time.Time

	mu     sync.Mutex
	header string      // version, parameters and salt of last
	last   cipher.AEAD // the cipher of the latest derivation
	until  time.Time   // by then, the failures up to now are forgotten
}

func newPassphraseKEK(p string) *passphraseKEK {
	return &passphraseKEK{passphrase: p, kdf: defaultKDF, argon2: argon2.IDKey, now: time.Now}
}

// Hint implements keyring.KEK.
func (*passphraseKEK) Hint() string { return "passphrase" }

// String keeps the passphrase out of logs.
func (*passphraseKEK) String() string { return "passphrase KEK" }

// GoString keeps the passphrase out of logs.
func (k *passphraseKEK) GoString() string { return k.String() }

// Encrypt derives a key with a fresh salt.
func (k *passphraseKEK) Encrypt(plaintext, associatedData []byte) ([]byte, error) {
	out := make([]byte, nonceOffset, bodyOffset+len(plaintext)+16)
	out[0] = passphraseVersion
	binary.BigEndian.PutUint32(out[1:], k.kdf.memory)
	binary.BigEndian.PutUint32(out[5:], k.kdf.passes)
	out[9] = k.kdf.threads
	rand.Read(out[saltOffset:]) // never fails
	k.mu.Lock()
	defer k.mu.Unlock()
	a, err := k.derive(out)
	if err != nil {
		return nil, err
	}
	return a.Seal(out, nil, plaintext, slices.Concat(out, associatedData)), nil
}

// Decrypt opens a ciphertext of Encrypt, with the parameters in the ciphertext if these
// are within bounds. After many failures the error wraps keyring.ErrKEKUnavailable.
func (k *passphraseKEK) Decrypt(ciphertext, associatedData []byte) ([]byte, error) {
	if len(ciphertext) < minPassphraseSize {
		return nil, errors.New("too short to be encrypted under a passphrase")
	}
	if ciphertext[0] != passphraseVersion {
		return nil, fmt.Errorf("encrypted under a passphrase in version %d, which this program does not know", ciphertext[0])
	}
	header := ciphertext[:nonceOffset]
	k.mu.Lock()
	defer k.mu.Unlock()
	known := k.header == string(header)
	if !known && k.until.Sub(k.now()) > (failBurst-1)*failEvery {
		return nil, fmt.Errorf("%w: %d files in a row did not open under the passphrase; "+
			"the next file is tried within %v", keyring.ErrKEKUnavailable, failBurst, failEvery)
	}
	a, err := k.derive(header)
	if err != nil {
		return nil, err
	}
	plaintext, err := a.Open(nil, nil, ciphertext[nonceOffset:], slices.Concat(header, associatedData))
	if err != nil {
		if now := k.now(); !known {
			k.until = later(k.until, now).Add(failEvery)
		}
		return nil, errors.New("wrong passphrase, or the file was changed")
	}
	return plaintext, nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// derive returns the cipher for parameters and salt. It keeps the latest cipher, since a
// KDF is slow and a reader may try a file that does not load again and again. The caller
// holds the lock.
func (k *passphraseKEK) derive(header []byte) (cipher.AEAD, error) {
	p := kdf{binary.BigEndian.Uint32(header[1:]), binary.BigEndian.Uint32(header[5:]), header[9]}
	if err := p.check(); err != nil {
		return nil, err
	}
	if k.header == string(header) {
		return k.last, nil
	}
	key := k.argon2([]byte(k.passphrase), header[saltOffset:nonceOffset], p.passes, p.memory, p.threads, keySize)
	defer clear(key)
	a, err := sealing.NewGCM(key)
	if err != nil {
		return nil, err
	}
	k.header, k.last = string(header), a
	return a, nil
}
