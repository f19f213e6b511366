package verify

import (
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/hybrid"
	"github.com/tink-crypto/tink-go/v2/keyset"
	tinkpb "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/admitone/admitone/token"
)

// A verifier whose key is a private key of hybrid encryption would admit whoever has the
// public key. Neither half is a tink.AEAD, and a decrypter dressed up as an AEAD, without
// the power to seal, is refused.
func TestHybridKeysAreRefused(t *testing.T) {
	opener, _ := reflect.TypeFor[Config]().FieldByName("Opener")
	require.Equal(t, reflect.TypeFor[tink.AEAD](), opener.Type)

	h, err := keyset.NewHandle(hybrid.DHKEM_X25519_HKDF_SHA256_HKDF_SHA256_AES_256_GCM_Key_Template())
	require.NoError(t, err)
	private, err := hybrid.NewHybridDecrypt(h)
	require.NoError(t, err)
	_, full := private.(tink.AEAD)
	assert.False(t, full)
	public, err := h.Public()
	require.NoError(t, err)
	stranger, err := hybrid.NewHybridEncrypt(public)
	require.NoError(t, err)
	_, full = stranger.(tink.AEAD)
	assert.False(t, full)

	_, err = New(Config{Opener: decrypter{newKeys(t), private}, Store: newStore(t, time.Now), AnyBrand: true})
	var ce *token.ConfigError
	require.ErrorAs(t, err, &ce)
	assert.Equal(t, "verify.Config.Opener", ce.Field)
}

// decrypter has the secret of another key for sealing.
type decrypter struct {
	tink.AEAD
	private tink.HybridDecrypt
}

func (d decrypter) Decrypt(c, ad []byte) ([]byte, error) { return d.private.Decrypt(c, ad) }

// A RAW key is refused when the Verifier is made, each time.
func TestRawKeysAreRefused(t *testing.T) {
	template := aead.AES256GCMKeyTemplate()
	template.OutputPrefixType = tinkpb.OutputPrefixType_RAW
	h, err := keyset.NewHandle(template)
	require.NoError(t, err)
	raw, err := aead.New(h)
	require.NoError(t, err)
	store := newStore(t, time.Now)
	for range 2000 {
		_, err := New(Config{Opener: raw, Store: store, AnyBrand: true})
		require.Error(t, err)
	}
}
