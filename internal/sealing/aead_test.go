package sealing

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	tinkpb "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"
)

// Our AEAD opens Tink's ciphertexts, and Tink opens ours.
func TestAEADIsTinks(t *testing.T) {
	m := keyset.NewManager()
	for _, template := range []*tinkpb.KeyTemplate{
		aead.AES256GCMKeyTemplate(), aead.XAES256GCM192BitNonceKeyTemplate(), aead.XAES256GCM160BitNonceKeyTemplate(),
		aead.AES256GCMSIVKeyTemplate(), aead.XChaCha20Poly1305KeyTemplate(), aead.AES128GCMKeyTemplate(),
	} {
		id, err := m.Add(template)
		require.NoError(t, err)
		require.NoError(t, m.SetPrimary(id))
		h, err := m.Handle()
		require.NoError(t, err)
		ours, err := NewAEAD(h)
		require.NoError(t, err)
		theirs, err := aead.New(h)
		require.NoError(t, err)
		key, err := Try(ours)
		require.NoError(t, err)
		assert.Equal(t, id, key)

		ad := []byte("ad")
		for _, text := range []string{"", "text", string(make([]byte, 1000))} {
			a, err := ours.Encrypt([]byte(text), ad)
			require.NoError(t, err)
			b, err := theirs.Encrypt([]byte(text), ad)
			require.NoError(t, err)
			assert.Len(t, a, len(b))
			plain, err := theirs.Decrypt(a, ad)
			require.NoError(t, err)
			assert.Equal(t, text, string(plain))
			plain, err = ours.Decrypt(b, ad)
			require.NoError(t, err)
			assert.Equal(t, text, string(plain))
			for i := range b {
				_, err := ours.Decrypt(b[:i], ad)
				assert.Error(t, err)
				if i < 60 {
					b[i] ^= 1
					_, err = ours.Decrypt(b, ad)
					assert.Error(t, err)
					b[i] ^= 1
				}
			}
		}
	}
}
