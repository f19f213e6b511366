package token

import (
	"bytes"
	"encoding/base64"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/daead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	tinkpb "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"
	"github.com/tink-crypto/tink-go/v2/tink"
	"google.golang.org/protobuf/proto"
)

// Issuers take full AEADs only, so that no half of Tink's hybrid encryption, whose other
// half is public, can stand where a secret is needed.
func TestKeysAreFullAEADs(t *testing.T) {
	full := reflect.TypeFor[tink.AEAD]()
	sealer, _ := reflect.TypeFor[Config]().FieldByName("Sealer")
	assert.Equal(t, full, sealer.Type)
	assert.Equal(t, full, reflect.TypeOf(Open).In(0))
	assert.False(t, reflect.TypeFor[tink.HybridEncrypt]().Implements(full))
	assert.False(t, reflect.TypeFor[tink.HybridDecrypt]().Implements(full))
}

// A key without the TINK prefix is refused when the Issuer is made, each time.
func TestRawKeys(t *testing.T) {
	template := aead.AES256GCMKeyTemplate()
	template.OutputPrefixType = tinkpb.OutputPrefixType_RAW
	handle := newHandle(t, 1, template)
	raw, err := aead.New(handle)
	require.NoError(t, err)
	for range 2000 {
		_, err := NewIssuer(Config{Sealer: raw})
		var ce *ConfigError
		require.ErrorAs(t, err, &ce)
		require.Equal(t, "token.Config.Sealer", ce.Field)
	}
	_, err = NewKeyset(handle)
	assert.Error(t, err)

	template = daead.AESSIVKeyTemplate()
	template.OutputPrefixType = tinkpb.OutputPrefixType_RAW
	siv, err := daead.New(newHandle(t, 1, template))
	require.NoError(t, err)
	_, err = NewChannels(siv, "")
	var ce *ConfigError
	require.ErrorAs(t, err, &ce)
	assert.Equal(t, "token.NewChannels.keys", ce.Field)
}

// A text that no channel has is no channel, although somebody sealed it with the keys.
func TestChannelsRefuseTextsOfNoChannel(t *testing.T) {
	d, err := daead.New(newHandle(t, 1, daead.AESSIVKeyTemplate()))
	require.NoError(t, err)
	c, err := NewChannels(d, "prod")
	require.NoError(t, err)
	sealed := func(brand, id string) string {
		b, err := d.EncryptDeterministically([]byte(brand+"\x00"+id), c.associatedData())
		require.NoError(t, err)
		return base64.RawURLEncoding.EncodeToString(b)
	}
	id, err := c.ID("commbox", sealed("commbox", "web"))
	require.NoError(t, err)
	assert.Equal(t, "web", id)
	for _, bad := range []string{"", strings.Repeat("x", 65), "a\x00b", "a\nb", "\xff", "\u2028"} {
		id, err := c.ID("commbox", sealed("commbox", bad))
		assert.ErrorIs(t, err, ErrChannelCode, "%q", bad)
		assert.Empty(t, id)
		_, err = c.ID(bad, sealed(bad, "web"))
		assert.ErrorIs(t, err, ErrChannelCode, "brand %q", bad)
	}
}

// Tink makes no handle of two keys with one ID, so that NewKeyset need not look for such keys: a
// ticket would name both.
func TestTwinKeys(t *testing.T) {
	material := insecurecleartextkeyset.KeysetMaterial(newHandle(t, 2, aead.AES256GCMKeyTemplate()))
	for _, status := range []tinkpb.KeyStatusType{tinkpb.KeyStatusType_ENABLED, tinkpb.KeyStatusType_DISABLED} {
		for i := range material.Key {
			twins := proto.Clone(material).(*tinkpb.Keyset)
			twin := proto.Clone(twins.Key[i]).(*tinkpb.Keyset_Key)
			twin.Status = status
			twins.Key = append(twins.Key, twin)
			data, err := proto.Marshal(twins)
			require.NoError(t, err)
			_, err = insecurecleartextkeyset.Read(keyset.NewBinaryReader(bytes.NewReader(data)))
			assert.ErrorContains(t, err, "duplicate")
		}
	}
}
