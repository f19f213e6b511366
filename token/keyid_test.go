package token

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestKeyID(t *testing.T) {
	id := KeyID(0x00ab34c)
	for _, s := range []string{
		id.String(), fmt.Sprint(id), fmt.Sprintf("%v", id), fmt.Sprintf("%s", id), fmt.Sprintf("%d", id),
		fmt.Sprintf("%x", id), fmt.Sprintf("%08x", id), fmt.Sprintf("%+v", []KeyID{id})[1:9],
	} {
		assert.Equal(t, "000ab34c", s)
	}
	b, err := json.Marshal(map[KeyID]KeyID{id: id})
	require.NoError(t, err)
	assert.Equal(t, `{"000ab34c":"000ab34c"}`, string(b))

	for s, want := range map[string]KeyID{"000ab34c": id, "0x000ab34c": id, "000AB34C": id, "ffffffff": 0xffffffff,
		"00000000": 0} {
		got, err := ParseKeyID(s)
		require.NoError(t, err, s)
		assert.Equal(t, want, got)
	}
	for _, s := range []string{"", "0x", "ab34c", "700236", "0x0x34ab", "000ab34g", "000ab34c0", "+00ab34c", "-00ab34c",
		"00_ab34c", " 00ab34c", "0X000ab34c"} {
		_, err := ParseKeyID(s)
		assert.Error(t, err, "%q", s)
	}
}
