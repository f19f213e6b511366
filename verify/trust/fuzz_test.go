package trust

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/keyring"
)

// FuzzList reads the content of signed lists: a list that is taken is written in one form, has
// each issuer once, and makes the issuers of a verifier or is refused with words.
func FuzzList(f *testing.F) {
	w := newWorld(f)
	good := w.list(f)
	for _, c := range []content{
		{good.Issuers, good.Denied}, {good.Issuers[:1], []Denial{}}, {[]Issuer{}, []Denial{}},
		{good.Issuers, []Denial{{Issuer: "acme", Identity: &w.acme.identity, Time: w.clock.t, Reason: "stolen"}}},
	} {
		text, err := json.Marshal(c)
		require.NoError(f, err)
		f.Add(text)
	}
	f.Add([]byte(`{"issuers":[],"denied":[]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		l, err := parse(keyring.Document{Info: keyring.Info{Realm: realm, Generation: 1}, Content: text})
		if err != nil {
			require.NotEmpty(t, err.Error())
			return
		}
		again, err := json.Marshal(content{l.Issuers, l.Denied})
		require.NoError(t, err)
		require.Equal(t, text, again)
		for i := range l.Issuers {
			require.Same(t, &l.Issuers[i], l.Of(l.Issuers[i].Name))
		}
		if _, err := l.snapshot(nil); err != nil {
			require.NotEmpty(t, err.Error())
		}
	})
}
