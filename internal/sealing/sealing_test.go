package sealing

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type keyID uint32

func TestAssociatedData(t *testing.T) {
	assert.Equal(t, "p\x00", string(AssociatedData("p", "")))
	assert.Equal(t, "p\x00r", string(AssociatedData("p", "r")))
	assert.Equal(t, "p\x00r\x00", string(AssociatedData("p", "r", "")))
	assert.Equal(t, "p\x00r\x00a\x00b", string(AssociatedData("p", "r", "a", "b")))
}

func TestKeyID(t *testing.T) {
	id, ok := KeyID([]byte{1, 0x2f, 0x6a, 0x01, 0xc4})
	assert.True(t, ok)
	assert.EqualValues(t, 0x2f6a01c4, id)
	for _, sealed := range [][]byte{nil, {1, 2, 3, 4}, {0, 1, 2, 3, 4}, {2, 1, 2, 3, 4}} {
		_, ok := KeyID(sealed)
		assert.False(t, ok, "%x", sealed)
	}
}

// prefixed prepends the prefix of its key, and opens nothing else.
type prefixed struct {
	prefix []byte
	err    error
}

func (c *prefixed) Encrypt(plaintext, _ []byte) ([]byte, error) {
	return append(bytes.Clone(c.prefix), plaintext...), c.err
}

func (c *prefixed) Decrypt(ciphertext, _ []byte) ([]byte, error) {
	plain, ok := bytes.CutPrefix(ciphertext, c.prefix)
	if !ok {
		return nil, errors.New("no")
	}
	return plain, c.err
}

func TestSeal(t *testing.T) {
	sealed, key, err := Seal(NewSealer(&prefixed{prefix: []byte{1, 0, 0, 0, 7}}), nil, []byte("x"), nil)
	require.NoError(t, err)
	assert.EqualValues(t, 7, key)
	assert.Equal(t, []byte{1, 0, 0, 0, 7, 'x'}, sealed)

	_, _, err = Seal(NewSealer(&prefixed{prefix: []byte{9, 0, 0, 0, 7}}), nil, []byte("x"), nil)
	assert.ErrorIs(t, err, ErrNoPrefix)
	broken := errors.New("broken")
	_, _, err = Seal(NewSealer(&prefixed{prefix: []byte{1, 0, 0, 0, 7}, err: broken}), nil, []byte("x"), nil)
	assert.ErrorIs(t, err, broken)
}

// late is a prefixed that gets a key when it is asked for one.
type late struct {
	prefixed
	key   byte
	asked int
}

func (l *late) HasKey(id keyID) bool {
	l.asked++
	if id == keyID(l.key) {
		l.prefix = []byte{1, 0, 0, 0, l.key}
	}
	return id == keyID(l.key)
}

func TestOpenAsksForTheKeyAndTriesAgain(t *testing.T) {
	o := &late{prefixed: prefixed{prefix: []byte{1, 0, 0, 0, 7}}, key: 8}
	plain, err := Open[keyID](o, []byte{1, 0, 0, 0, 7, 'x'}, nil)
	require.NoError(t, err)
	assert.Equal(t, "x", plain)
	assert.Zero(t, o.asked, "what opens asks for no key")

	plain, err = Open[keyID](o, []byte{1, 0, 0, 0, 8, 'y'}, nil)
	require.NoError(t, err)
	assert.Equal(t, "y", plain)

	_, err = Open[keyID](o, []byte{1, 0, 0, 0, 9, 'z'}, nil)
	assert.Equal(t, ErrUnknownKey, err)
	_, err = Open[keyID](o, []byte{0}, nil)
	assert.Equal(t, ErrForged, err)
	_, err = Open[keyID](&o.prefixed, []byte{1, 0, 0, 0, 9, 'z'}, nil)
	assert.Equal(t, ErrForged, err, "keys that do not tell which keys they have")
	o.err = errors.New("no")
	_, err = Open[keyID](o, []byte{1, 0, 0, 0, 8, 'y'}, nil)
	assert.Equal(t, ErrForged, err)
}

type kept time.Duration

func (k kept) Lifetime() time.Duration { return time.Duration(k) }

func TestLifetimeFault(t *testing.T) {
	assert.Empty(t, LifetimeFault(struct{}{}, time.Hour))
	assert.Empty(t, LifetimeFault(kept(0), time.Hour))
	assert.Empty(t, LifetimeFault(kept(time.Hour), time.Hour))
	assert.Equal(t, "is 1h0m1s, and the keyring keeps its keys for 1h0m0s; "+
		"shorten it, or give the keyring's policy a longer lifetime", LifetimeFault(kept(time.Hour), time.Hour+time.Second))
}
