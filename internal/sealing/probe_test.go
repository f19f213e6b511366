package sealing

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/daead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	tinkpb "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"
	"github.com/tink-crypto/tink-go/v2/tink"
)

func handle(t *testing.T, template *tinkpb.KeyTemplate, prefix tinkpb.OutputPrefixType) *keyset.Handle {
	t.Helper()
	template.OutputPrefixType = prefix
	h, err := keyset.NewHandle(template)
	require.NoError(t, err)
	return h
}

func newAEAD(t *testing.T, prefix tinkpb.OutputPrefixType) tink.AEAD {
	t.Helper()
	a, err := aead.New(handle(t, aead.AES256GCMKeyTemplate(), prefix))
	require.NoError(t, err)
	return a
}

func TestTry(t *testing.T) {
	h := handle(t, aead.AES256GCMKeyTemplate(), tinkpb.OutputPrefixType_TINK)
	a, err := aead.New(h)
	require.NoError(t, err)
	key, err := Try(a)
	require.NoError(t, err)
	assert.Equal(t, h.KeysetInfo().GetPrimaryKeyId(), key)

	d, err := daead.New(handle(t, daead.AESSIVKeyTemplate(), tinkpb.OutputPrefixType_TINK))
	require.NoError(t, err)
	assert.NoError(t, TryDeterministic(d))
}

// A key without the prefix is refused each time, and not by luck.
func TestTryRefusesKeysWithoutPrefix(t *testing.T) {
	for _, prefix := range []tinkpb.OutputPrefixType{tinkpb.OutputPrefixType_RAW, tinkpb.OutputPrefixType_CRUNCHY} {
		a := newAEAD(t, prefix)
		d, err := daead.New(handle(t, daead.AESSIVKeyTemplate(), prefix))
		require.NoError(t, err)
		for range 20_000 {
			if _, err := Try(a); err == nil {
				t.Fatalf("a key with the prefix %v was accepted", prefix)
			}
		}
		assert.Error(t, TryDeterministic(d))
	}
}

// lucky is an AEAD whose ciphertexts begin with 0x01 and a key ID that a function chooses.
type lucky struct {
	tink.AEAD
	id func() byte
}

func (l lucky) Encrypt(plaintext, ad []byte) ([]byte, error) {
	sealed, err := l.AEAD.Encrypt(plaintext, ad)
	return append([]byte{1, 0, 0, 0, l.id()}, sealed...), err
}

func (l lucky) Decrypt(ciphertext, ad []byte) ([]byte, error) {
	return l.AEAD.Decrypt(ciphertext[PrefixSize:], ad)
}

func TestTryWhileKeysChange(t *testing.T) {
	n := 0
	rotated := lucky{newAEAD(t, tinkpb.OutputPrefixType_RAW), func() byte { n++; return byte(min(n, 2)) }}
	key, err := Try(rotated)
	require.NoError(t, err, "a rotation between two probes is no fault")
	assert.EqualValues(t, 2, key)

	n = 0
	_, err = Try(lucky{rotated.AEAD, func() byte { n++; return byte(n) }})
	assert.ErrorIs(t, err, errManyKeyIDs, "the first byte was right by luck")
}

// unbound is an AEAD without regard to associated data.
type unbound struct{ tink.AEAD }

func (u unbound) Encrypt(p, _ []byte) ([]byte, error) { return u.AEAD.Encrypt(p, nil) }
func (u unbound) Decrypt(c, _ []byte) ([]byte, error) { return u.AEAD.Decrypt(c, nil) }

// half is one half of an AEAD.
type half struct {
	tink.AEAD
	seal, open error
}

func (h half) Encrypt(p, ad []byte) ([]byte, error) {
	if h.seal != nil {
		return nil, h.seal
	}
	return h.AEAD.Encrypt(p, ad)
}

func (h half) Decrypt(c, ad []byte) ([]byte, error) {
	if h.open != nil {
		return nil, h.open
	}
	return h.AEAD.Decrypt(c, ad)
}

func TestTryRefusesHalves(t *testing.T) {
	a, broken := newAEAD(t, tinkpb.OutputPrefixType_TINK), errors.New("broken")
	_, err := Try(half{AEAD: a, seal: broken})
	assert.ErrorIs(t, err, broken)
	_, err = Try(half{AEAD: a, open: broken})
	assert.ErrorIs(t, err, errNotOpened)
	assert.ErrorIs(t, err, broken)
	_, err = Try(unbound{a})
	assert.ErrorIs(t, err, errNoContext)
}

func TestIsProbe(t *testing.T) {
	assert.True(t, IsProbe([]byte("admitone/probe/1")))
	for _, ad := range []string{"", "admitone/probe/2", "admitone/ticket/1\x00"} {
		assert.False(t, IsProbe([]byte(ad)), ad)
	}
}
