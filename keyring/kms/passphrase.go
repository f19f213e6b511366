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

	"golang.org/x/crypto/argon2"
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
		if p = os.Getenv(name); p == "" {
			return "", errors.New("the passphrase is empty: the variable of passphrase:env: is not set, or empty")
		}
	case from == "file":
		b, err := readSecret(name, "the passphrase file", "or give passphrase: or passphrase:env:NAME")
		if err != nil {
			return "", err
		}
		p = trimNewline(string(b))
	}
	if p == "" {
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

// check bounds the work that a file can demand of a reader: at most 1 GiB of memory, and
// 16 times the work of defaultKDF. The lower bounds come from RFC 9106, section 3.1.
func (k kdf) check() error {
	const maxMemory = 1 << 20
	if k.threads < 1 || k.threads > 16 || k.memory < 8*uint32(k.threads) || k.memory > maxMemory ||
		k.passes < 1 || uint64(k.passes)*uint64(k.memory) > 16*3*(64<<10) {
		return errors.New("the passphrase parameters in the file are out of bounds; the file is damaged or not to be trusted")
	}
	return nil
}

// passphraseKEK is AES-256-GCM under a key derived from a passphrase.
type passphraseKEK struct {
	passphrase string
	kdf        kdf // for the next encryption

	mu     sync.Mutex
	header string      // version, parameters and salt of last
	last   cipher.AEAD // the cipher of the latest derivation
}

func newPassphraseKEK(p string) *passphraseKEK {
	return &passphraseKEK{passphrase: p, kdf: defaultKDF}
}

// Hint implements keyring.KEK.
func (*passphraseKEK) Hint() string { return "passphrase" }

// String keeps the passphrase out of logs.
func (*passphraseKEK) String() string { return "passphrase KEK" }

// GoString keeps the passphrase out of logs.
func (k *passphraseKEK) GoString() string { return k.String() }

// Encrypt derives a key with a fresh salt.
func (k *passphraseKEK) Encrypt(plaintext, associatedData []byte) ([]byte, error) {
	out := make([]byte, bodyOffset, bodyOffset+len(plaintext)+16)
	out[0] = passphraseVersion
	binary.BigEndian.PutUint32(out[1:], k.kdf.memory)
	binary.BigEndian.PutUint32(out[5:], k.kdf.passes)
	out[9] = k.kdf.threads
	rand.Read(out[saltOffset:]) // salt and nonce; never fails
	a, err := k.derive(out[:nonceOffset])
	if err != nil {
		return nil, err
	}
	return a.Seal(out, out[nonceOffset:bodyOffset], plaintext, slices.Concat(out[:nonceOffset], associatedData)), nil
}

// Decrypt opens a ciphertext of Encrypt, with the parameters in the ciphertext if these
// are within bounds.
func (k *passphraseKEK) Decrypt(ciphertext, associatedData []byte) ([]byte, error) {
	if len(ciphertext) < minPassphraseSize {
		return nil, errors.New("too short to be encrypted under a passphrase")
	}
	if ciphertext[0] != passphraseVersion {
		return nil, fmt.Errorf("encrypted under a passphrase in version %d, which this program does not know", ciphertext[0])
	}
	header := ciphertext[:nonceOffset]
	a, err := k.derive(header)
	if err != nil {
		return nil, err
	}
	nonce, body := ciphertext[nonceOffset:bodyOffset], ciphertext[bodyOffset:]
	plaintext, err := a.Open(nil, nonce, body, slices.Concat(header, associatedData))
	if err != nil {
		return nil, errors.New("wrong passphrase, or the file was changed")
	}
	return plaintext, nil
}

// derive returns the cipher for parameters and salt. It keeps the latest cipher, since a
// KDF is slow and a reader may try a file that does not load again and again.
func (k *passphraseKEK) derive(header []byte) (cipher.AEAD, error) {
	p := kdf{binary.BigEndian.Uint32(header[1:]), binary.BigEndian.Uint32(header[5:]), header[9]}
	if err := p.check(); err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.header == string(header) {
		return k.last, nil
	}
	key := argon2.IDKey([]byte(k.passphrase), header[saltOffset:nonceOffset], p.passes, p.memory, p.threads, keySize)
	defer clear(key)
	a, err := newGCM(key)
	if err != nil {
		return nil, err
	}
	k.header, k.last = string(header), a
	return a, nil
}
