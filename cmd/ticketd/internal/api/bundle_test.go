package api

import (
	"crypto/ed25519"
	"crypto/rand"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/cmd/ticketd/internal/bundles"
	"github.com/admitone/admitone/keyring"
)

// A bundle is served as it was published, until it ends, and a holder of it gets no bytes.
func TestBundle(t *testing.T) {
	var list *bundles.List
	var file []byte
	w := newWorld(t, func(c *Config) {
		dir := t.TempDir()
		_, private, err := ed25519.GenerateKey(rand.Reader)
		require.NoError(t, err)
		identity, err := keyring.NewIdentity(private)
		require.NoError(t, err)
		id, _ := keyring.IdentityOf(identity)
		keys := keyring.Config{
			Kind: keyring.Issuer, KEK: keyring.InsecureCleartext, Now: c.Now, Log: slog.New(slog.DiscardHandler),
		}
		path, out := filepath.Join(dir, "acme.keyring"), filepath.Join(dir, "acme.pub")
		require.NoError(t, keyring.Create(path, keys, keyring.DefaultPolicy(keyring.Issuer), ""))
		file, _, err = keyring.Publish(path, keys,
			keyring.Publication{Name: "acme-1", Identity: identity, Valid: 24 * time.Hour})
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(out, file, 0o600))
		list, err = bundles.Open(bundles.Config{Files: []string{out}, Identity: id, Log: keys.Log, Now: c.Now})
		require.NoError(t, err)
		t.Cleanup(func() { _ = list.Close() })
		c.Bundles = list
	})
	const path = "/.well-known/admitone/acme-1.pub"
	get := func(path, none string) response {
		return w.client().do(http.MethodGet, path, nil, map[string]string{"If-None-Match": none})
	}
	a := get(path, "")
	require.Equal(t, http.StatusOK, a.status, a.body)
	assert.Equal(t, string(file), a.body)
	assert.Equal(t, "max-age=3600", a.header.Get("Cache-Control"))
	tag := a.header.Get("ETag")
	for none, want := range map[string]int{
		tag: 304, "W/" + tag: 304, `"x", ` + tag: 304, "*": 304, `"x"`: 200, tag[:9] + `"`: 200, "x": 200,
	} {
		a := get(path, none)
		assert.Equal(t, want, a.status, none)
		assert.Equal(t, tag, a.header.Get("ETag"), none)
		assert.Equal(t, "max-age=3600", a.header.Get("Cache-Control"), none)
		assert.Equal(t, want == http.StatusNotModified, a.body == "", none)
	}
	for _, other := range []string{"acme.pub", "acme-1", "acme-1.pub.pub", ".pub", "..%2Facme.pub"} {
		a := get("/.well-known/admitone/"+other, "*")
		assert.Equal(t, http.StatusNotFound, a.status, other)
		assert.Equal(t, "no-store", a.header.Get("Cache-Control"), other)
	}
	assert.Contains(t, w.log.String(), `route="GET /.well-known/admitone/{file}" status=304`)

	// Near the end, nobody keeps the bundle for longer than it is good.
	w.ns.Add(int64(24*time.Hour - 61*time.Second))
	assert.Equal(t, "max-age=60", get(path, "").header.Get("Cache-Control"))
	w.ns.Add(int64(61 * time.Second))
	assert.Equal(t, http.StatusNotFound, get(path, tag).status)
}
