package kms

import (
	"crypto/aes"
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

// passphrase finds the passphrase that the rest of a passphrase: URI means, one
// that CheckURI let pass.
func passphrase(rest string, prompt Prompt) (string, error) {
	from, name, _ := strings.Cut(rest, ":")
	var p string
	switch {
	case rest == "" && prompt == nil:
		return "", errors.New("kms: there is nobody to ask for the passphrase; give passphrase:env:NAME or passphrase:file:PATH")
	case rest == "":
		var err error
		if p, err = prompt(); err != nil {
			return "", err
		}
	case from == "env":
		if p = os.Getenv(name); p == "" {
			return "", errors.New("kms: the passphrase is empty: the variable that passphrase:env: names is not set, or has nothing in it")
		}
	case from == "file":
		b, err := readSecret(name, "the passphrase file", "or give passphrase: or passphrase:env:NAME")
		if err != nil {
			return "", err
		}
		p = trimNewline(string(b))
	}
	if p == "" {
		return "", errors.New("kms: the passphrase is empty")
	}
	return p, nil
}

// What a passphrase KEK makes of a plaintext:
//
//	version    u8        1
//	memory     u32       KiB, big-endian
//	passes     u32       big-endian
//	threads    u8
//	salt       16 bytes
//	nonce      12 bytes
//	ciphertext and tag   AES-256-GCM
//
// The key is Argon2id (RFC 9106) of passphrase and salt. All up to the salt
// stands before the caller's associated data as the cipher's associated data.
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

// check bounds what a file may make a reader do, before it does it: at most 1
// GiB of memory, and 16 times the work of defaultKDF. The lower bounds are those
// of RFC 9106, section 3.1.
func (k kdf) check() error {
	const maxMemory = 1 << 20
	if k.threads < 1 || k.threads > 16 || k.memory < 8*uint32(k.threads) || k.memory > maxMemory ||
		k.passes < 1 || uint64(k.passes)*uint64(k.memory) > 16*3*(64<<10) {
		return errors.New("kms: the passphrase parameters in the file are out of bounds; it is damaged or not to be trusted")
	}
	return nil
}

// passphraseKEK is AES-256-GCM under a key derived from a passphrase.
type passphraseKEK struct {
	passphrase string
	kdf        kdf // for what is encrypted next

	mu     sync.Mutex
	header string // what last was derived from: version, parameters, salt
	last   cipher.AEAD
}

func newPassphraseKEK(p string) *passphraseKEK {
	return &passphraseKEK{passphrase: p, kdf: defaultKDF}
}

// Hint is that of keyring.KEK.
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

// Decrypt opens what Encrypt made, with the parameters in it if they are within bounds.
func (k *passphraseKEK) Decrypt(ciphertext, associatedData []byte) ([]byte, error) {
	if len(ciphertext) < minPassphraseSize {
		return nil, errors.New("kms: too short to be encrypted under a passphrase")
	}
	if ciphertext[0] != passphraseVersion {
		return nil, fmt.Errorf("kms: encrypted under a passphrase in version %d, which this program does not know", ciphertext[0])
	}
	header := ciphertext[:nonceOffset]
	a, err := k.derive(header)
	if err != nil {
		return nil, err
	}
	plain, err := a.Open(nil, ciphertext[nonceOffset:bodyOffset], ciphertext[bodyOffset:], slices.Concat(header, associatedData))
	if err != nil {
		return nil, errors.New("kms: wrong passphrase, or changed")
	}
	return plain, nil
}

// derive returns the cipher for parameters and salt. It keeps the last one: a
// file that cannot be loaded is tried again and again, and a KDF is dear.
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
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("kms: %w", err)
	}
	a, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("kms: %w", err)
	}
	k.header, k.last = string(header), a
	return a, nil
}
