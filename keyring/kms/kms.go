// Package kms opens key-encryption keys: what keyring files are wrapped under.
//
// A KEK is named by a URI:
//
//	file:PATH             a file of exactly 32 random bytes, see CreateKeyFile
//	passphrase:           a passphrase, asked for
//	passphrase:env:NAME   a passphrase in an environment variable
//	passphrase:file:PATH  a passphrase in a file; one newline at its end is not of it
//
// Files with secrets must not be readable or writable by everyone, nor writable
// by their group.
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
func CheckURI(uri string) error {
	scheme, rest, ok := strings.Cut(uri, ":")
	switch {
	case ok && scheme == "file" && rest != "":
		return nil
	case ok && scheme == "passphrase":
		from, name, _ := strings.Cut(rest, ":")
		if rest == "" || (from == "env" || from == "file") && name != "" {
			return nil
		}
		return errors.New("kms: a passphrase is not given in the URI; give passphrase:, passphrase:env:NAME or passphrase:file:PATH")
	}
	// The URI is not repeated: it may be the passphrase itself.
	return errors.New("kms: a KEK is given as file:PATH, passphrase:, passphrase:env:NAME or passphrase:file:PATH")
}

// Open opens the KEK that uri names. The prompt is called for "passphrase:"
// only; services give nil, and then that is an error.
func Open(uri string, prompt Prompt) (keyring.KEK, error) {
	if err := CheckURI(uri); err != nil {
		return nil, err
	}
	scheme, rest, _ := strings.Cut(uri, ":")
	if scheme == "file" {
		return openKeyFile(rest)
	}
	p, err := passphrase(rest, prompt)
	if err != nil {
		return nil, err
	}
	return newPassphraseKEK(p), nil
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
