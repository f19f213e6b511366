package web

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	tinkpb "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"

	"github.com/admitone/admitone/token"
)

// A RAW key is refused when the Sessions are made, each time.
func TestRawKeysAreRefused(t *testing.T) {
	template := aead.AES256GCMKeyTemplate()
	template.OutputPrefixType = tinkpb.OutputPrefixType_RAW
	h, err := keyset.NewHandle(template)
	require.NoError(t, err)
	raw, err := aead.New(h)
	require.NoError(t, err)
	for range 2000 {
		_, err := NewSessions(SessionConfig{Keys: raw, Insecure: true})
		var ce *token.ConfigError
		require.ErrorAs(t, err, &ce)
		require.Equal(t, "web.SessionConfig.Keys", ce.Field)
	}
}
