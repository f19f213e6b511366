package keyring

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// outageKEK is a KEK whose service goes away: it lets so many calls to Decrypt
// pass, and then fails all.
type outageKEK struct {
	KEK
	left int
}

func (k *outageKEK) Decrypt(ciphertext, ad []byte) ([]byte, error) {
	if k.left == 0 {
		return nil, fmt.Errorf("%w: no answer", ErrKEKUnavailable)
	}
	k.left--
	return k.KEK.Decrypt(ciphertext, ad)
}

func TestKEKUnavailable(t *testing.T) {
	good := config(Ticket)
	path := newFile(t, good)
	before := mustRead(t, path)
	out := good

	// A file whose KEK is away is not called a wrong or damaged one.
	out.KEK = &outageKEK{KEK: good.KEK}
	_, err := Read(path, out)
	assertCause(t, KEKUnavailable, err)
	assert.ErrorIs(t, err, ErrKEKUnavailable)

	// trap K1, trap K10: an outage is not taken for the refusal of wrong
	// associated data, and leaves the file as it was.
	for calls := range 4 {
		out.KEK = &outageKEK{good.KEK, calls}
		_, err := rotate(path, out)
		require.ErrorIs(t, err, ErrKEKUnavailable, calls)
		assert.Equal(t, before, mustRead(t, path), calls)
	}
	out.KEK = &outageKEK{KEK: good.KEK}
	fresh := filepath.Join(t.TempDir(), "keyring")
	assert.ErrorContains(t, Create(fresh, out, DefaultPolicy(Ticket), ""), "could not be tested")
	assert.NoFileExists(t, fresh)
}

// failingKEK fails from its nth call on, as a service does that goes away.
type failingKEK struct {
	KEK
	left *int
}

func (k failingKEK) call() error {
	if *k.left--; *k.left < 0 {
		return fmt.Errorf("%w: no answer", ErrKEKUnavailable)
	}
	return nil
}

func (k failingKEK) Encrypt(plaintext, ad []byte) ([]byte, error) {
	if err := k.call(); err != nil {
		return nil, err
	}
	return k.KEK.Encrypt(plaintext, ad)
}

func (k failingKEK) Decrypt(ciphertext, ad []byte) ([]byte, error) {
	if err := k.call(); err != nil {
		return nil, err
	}
	return k.KEK.Decrypt(ciphertext, ad)
}

// TestKEKFailsAtEachCall has a KEK go away before each of the calls that a change
// makes: the change is made as a whole or not at all, and what is not made is
// not announced.
//
// trap K1
// trap K13
func TestKEKFailsAtEachCall(t *testing.T) {
	good := config(Ticket)
	foreign, err := Export(newFile(t, good), good, JSON, newKEK(9, "vault"), "")
	require.NoError(t, err)
	for name, op := range map[string]func(path string, under func(KEK) KEK) error{
		"rotate": func(path string, under func(KEK) KEK) error {
			c := good
			c.KEK = under(c.KEK)
			_, err := rotate(path, c)
			return err
		},
		"rewrap, the old KEK": func(path string, under func(KEK) KEK) error {
			c := good
			c.KEK = under(c.KEK)
			_, err := Rewrap(path, c, newKEK(8, "vault"), "")
			return err
		},
		"rewrap, the new KEK": func(path string, under func(KEK) KEK) error {
			_, err := Rewrap(path, good, under(newKEK(8, "vault")), "")
			return err
		},
		"export": func(path string, under func(KEK) KEK) error {
			data, err := Export(path, good, JSON, under(newKEK(8, "vault")), "")
			assert.Equal(t, err == nil, data != nil)
			return err
		},
		"import": func(path string, under func(KEK) KEK) error {
			_, err := Import(path, good, foreign, under(newKEK(9, "vault")), "")
			return err
		},
		"begin an audit log": func(path string, under func(KEK) KEK) error {
			require.NoError(t, os.WriteFile(path+".audit", []byte("lost\n"), 0o600))
			c := good
			c.KEK = under(c.KEK)
			_, err := Change(path, c, "lost", Step{Do: BeginAudit})
			return err
		},
	} {
		failures := 0
		for n := 0; ; n++ {
			path := newFile(t, good)
			before, log := mustRead(t, path), mustRead(t, path+".audit")
			if name == "begin an audit log" {
				log = []byte("lost\n")
			}
			left := n
			err := op(path, func(k KEK) KEK { return failingKEK{k, &left} })
			if err == nil {
				assert.NotEqual(t, before, mustRead(t, path), name)
				break
			}
			failures++
			require.ErrorIs(t, err, ErrKEKUnavailable, name)
			assert.Equal(t, before, mustRead(t, path), "%s, call %d", name, n)
			assert.Equal(t, log, mustRead(t, path+".audit"), "%s, call %d", name, n)
			files, err := os.ReadDir(filepath.Dir(path))
			require.NoError(t, err)
			assert.LessOrEqual(t, len(files), 3, "file, log and lock only")
		}
		assert.NotZero(t, failures, name)
	}
}
