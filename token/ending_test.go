package token

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/admitone/admitone/internal/base64url"
)

// Programs that find links in text lose a final '-' or '_' of a ticket.
func TestEndings(t *testing.T) {
	keys := newKeyset(t, 1)
	issuer, a := newIssuer(t, keys, ""), ad(t, "")
	for n := range 3 { // only one of three lengths can end so
		tk := reference()
		tk.Username += "xxx"[:n]
		for range 2000 {
			s, err := issuer.Issue(tk)
			require.NoError(t, err)
			require.NotContains(t, "-_", s[len(s)-1:])
			var opened Ticket
			require.NoError(t, Open(keys, a, s, &opened))
			require.Equal(t, tk.ID, opened.ID)
		}
	}
}

// Other issuers may make other endings.
func TestEveryEndingOpens(t *testing.T) {
	keys := newKeyset(t, 1)
	a, tk := ad(t, ""), reference()
	tk.IssuedAt, tk.Lifetime = t0, time.Minute
	for len(tk.appendPayload(nil))%3 != 0 { // as the 33 bytes around it
		tk.Username += "x"
	}
	payload := tk.appendPayload(nil)
	for seen := map[byte]bool{}; len(seen) < len(alphabet); {
		sealed, err := keys.Encrypt(payload, a)
		require.NoError(t, err)
		s := base64url.Encode(prefix, sealed)
		require.NoError(t, Open(keys, a, s, new(Ticket)))
		seen[s[len(s)-1]] = true
	}
}

// ending is an AEAD with the same ending of every ciphertext.
type ending struct {
	tink.AEAD
	last byte
	ids  map[string]bool
}

func (e *ending) Encrypt(p, ad []byte) ([]byte, error) {
	sealed, err := e.AEAD.Encrypt(p, ad)
	if len(p) > headerSize && err == nil {
		e.ids[string(p[idOffset:idOffset+16])] = true
		sealed[len(sealed)-1] = e.last
	}
	return sealed, err
}

func TestEndingIsTriedAgainAtMost16Times(t *testing.T) {
	tk := reference()
	for len(tk.appendPayload(nil))%3 != 0 {
		tk.Username += "x"
	}
	for last, tries := range map[byte]int{0xfd: 1, 0xfe: 1 + 16, 0xff: 1 + 16, 0x3e: 1 + 16, 0x3d: 1} {
		keys := &ending{newKeyset(t, 1), last, make(map[string]bool)}
		s, err := newIssuer(t, keys, "").Issue(tk)
		require.NoError(t, err)
		assert.NotEmpty(t, s)
		assert.Len(t, keys.ids, tries, "%x: a new ID each time", last)
		assert.True(t, keys.ids[string(tk.ID[:])])
	}
}
