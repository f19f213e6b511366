package main

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"

	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
)

const vectors = "../../testdata/vectors"

// TestVectors holds inspect to the golden vectors, each with the flags that say
// what it does.
func TestVectors(t *testing.T) {
	keys, err := os.ReadFile(filepath.Join(vectors, "keyset.json"))
	require.NoError(t, err)
	handle, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(keys)))
	require.NoError(t, err)
	opener, err := token.NewKeyset(handle)
	require.NoError(t, err)
	files, err := filepath.Glob(filepath.Join(vectors, "*.txt"))
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 70, "vectors are missing")
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			v := make(map[string]string)
			for line := range strings.Lines(string(text)) {
				name, value, _ := strings.Cut(line, ":")
				v[name] = strings.TrimSpace(value)
			}
			ms, err := strconv.ParseFloat(v["now"], 64)
			require.NoError(t, err)
			now := time.UnixMicro(int64(math.Round(ms * 1000)))
			ticket, err := strconv.Unquote(v["ticket"])
			require.NoError(t, err)
			channel := v["channel"]
			o := inspectFlags{brands: strings.Fields(v["brands"]), audience: v["audience"], channel: &channel}
			want := v["expect"]
			if want == string(verify.AlreadyUsed) || v["now-after-claim"] != "" { // no replay store is asked
				want = "good"
			}
			if o.audience == "any" { // the default, which takes administrators as well
				o.audience = ""
				if want == string(verify.WrongAudience) {
					want = "good"
				}
			}
			if v["brands"] == "*" {
				o.brands = nil
			}
			o.skew, err = time.ParseDuration(v["skew"] + "ms")
			require.NoError(t, err)
			o.maxLifetime, err = time.ParseDuration(v["max-lifetime"] + "ms")
			require.NoError(t, err)
			in, err := newInspector(o, verify.Config{Opener: opener, Realm: v["realm"], Now: func() time.Time { return now }})
			require.NoError(t, err)
			i := in.inspect(ticket)
			switch want {
			case "good":
				assert.Equal(t, good, i.Verdict, i.Explanation)
				assert.Empty(t, i.Reason)
				assert.NotNil(t, i.Ticket)
			default:
				assert.Equal(t, refused, i.Verdict)
				assert.Equal(t, want, string(i.Reason))
				genuine := want != "malformed" && want != "forged" && !strings.HasPrefix(want, "un")
				assert.Equal(t, genuine, i.Ticket != nil, "a genuine ticket shows what it says, and no other does")
			}

			// Without --channel the ticket's own is taken.
			o.channel = nil
			in, err = newInspector(o, verify.Config{Opener: opener, Realm: v["realm"], Now: func() time.Time { return now }})
			require.NoError(t, err)
			if again := in.inspect(ticket); want == string(verify.WrongChannel) {
				assert.Equal(t, good, again.Verdict)
			} else {
				assert.Equal(t, i, again)
			}
		})
	}
}
