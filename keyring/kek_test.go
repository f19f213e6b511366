package keyring

import (
	"fmt"
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
