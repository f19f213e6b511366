package keyring

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/aead/subtle"
)

// FuzzHeader reads first lines: what is taken has one form.
func FuzzHeader(f *testing.F) {
	f.Add([]byte(goodHeader))
	f.Add([]byte(goodHeader[:len(goodHeader)-1] + `,"tombstones":["00000001"]}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		h, err := parseHeader(line)
		if err != nil {
			assert.Nil(t, h)
			return
		}
		again, err := h.encode()
		require.NoError(t, err)
		assert.Equal(t, line, again)
		assert.NotNil(t, h.primary())
	})
}

// FuzzAudit reads logs: of one that is taken, each line that is there was, and
// nothing of it can be left out but its end.
func FuzzAudit(f *testing.F) {
	l := &auditLog{}
	var log []byte
	for range 3 {
		line, _, err := l.intent(auditLine{Generation: 1, Time: newClock().t, Steps: []Step{{Do: Rotate, Key: 1}}, Why: "x"},
			"")
		require.NoError(f, err)
		log = append(append(log, line...), '\n')
		*l = auditLog{}
		require.NoError(f, l.parse(log))
		f.Add(bytes.Clone(log))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		l := &auditLog{}
		if l.parse(data) != nil {
			return
		}
		whole := data[:l.size]
		if i := bytes.IndexByte(whole, '\n'); i >= 0 && i+1 < len(whole) {
			assert.Error(t, new(auditLog).parse(whole[i+1:]), "without its first line")
		}
		again := &auditLog{}
		require.NoError(t, again.parse(whole))
		assert.Equal(t, l.entries, again.entries)
	})
}

// FuzzOpen opens whole files. Under a KEK, the file opens that was written and no other. In clear,
// the keys of a file that opens are those that its header names.
func FuzzOpen(f *testing.F) {
	sealed, clear := config(Ticket), config(Ticket)
	// A key of this process: the process that looks for inputs has another than the one that starts it.
	random := make([]byte, 32)
	_, _ = rand.Read(random)
	aead, err := subtle.NewAESGCM(random)
	require.NoError(f, err)
	sealed.KEK, clear.KEK = testKEK{aead, "test"}, InsecureCleartext
	file := func(c Config) []byte {
		path := filepath.Join(f.TempDir(), "keyring")
		require.NoError(f, Create(path, c, DefaultPolicy(c.Kind), ""))
		data, err := os.ReadFile(path)
		require.NoError(f, err)
		return data
	}
	written, inClear := file(sealed), file(clear)
	f.Add(written)
	f.Add(inClear)
	f.Add(inClear[:len(inClear)-1])
	f.Add([]byte(goodHeader + "\nAAAA\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := open(data, &sealed); err == nil {
			require.Equal(t, written, data)
		}
		got, err := open(data, &clear)
		if err != nil {
			require.NotEmpty(t, err.Error())
			return
		}
		peeked, perr := peek("x", data)
		require.NoError(t, perr)
		require.Equal(t, peeked.header, got.header)
		require.Equal(t, got.handle.Len(), len(got.header.Keys))
		primary, perr := got.handle.Primary()
		require.NoError(t, perr)
		require.Equal(t, got.info().Primary, KeyID(primary.KeyID()))
	})
}

// FuzzBundle reads the content of signed files: a bundle that is taken is written in one form,
// and its keys are taken or refused.
func FuzzBundle(f *testing.F) {
	identity := Identity{1}
	f.Add([]byte(`{"name":"acme","published":"2026-11-21T12:00:00Z","until":"2026-11-22T12:00:00Z","refresh":3600,` +
		`"keys":[{"id":"00000001","algorithm":"ED25519_X25519","state":"primary","public":"AAAA","proof":"AAAA"}]}`))
	f.Add([]byte(`{"name":"acme","published":"0001-01-01T00:00:00Z","until":"2026-11-22T12:00:00Z","refresh":0,"keys":null}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		for _, kind := range []Kind{IssuerPublic, RecipientPublic} {
			b, err := Document{Info: Info{Kind: kind, Realm: "prod", Generation: 1}, Content: content}.bundle(identity)
			if err != nil {
				require.NotEmpty(t, err.Error())
				continue
			}
			again, err := json.Marshal(bundleContent{b.Name, b.Published, b.Until, b.Refresh, b.Keys})
			require.NoError(t, err)
			require.Equal(t, content, again)
			require.Equal(t, Primary, b.Primary().State)
			for _, k := range b.Keys {
				_, _ = k.VerifyingKey("prod", b.Name)
				_, _ = k.SealingKey()
			}
		}
	})
}
