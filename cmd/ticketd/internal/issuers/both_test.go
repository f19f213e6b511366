package issuers

import (
	"bytes"
	"crypto/ed25519"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify/trust"
	"github.com/admitone/admitone/verify/web"
)

// identity returns the identity key of a seed, and its public half.
func identity(t *testing.T, seed byte) (keyring.KEK, keyring.Identity) {
	t.Helper()
	private, err := keyring.NewIdentity(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize)))
	require.NoError(t, err)
	public, ok := keyring.IdentityOf(private)
	require.True(t, ok)
	return private, public
}

// trusted is the configuration of the trust list for its owner, or for a service.
func (w *world) trusted(kek keyring.KEK) keyring.Config {
	return keyring.Config{Realm: "r", KEK: kek, Log: slog.New(slog.NewTextHandler(&w.log, nil)), Poll: time.Hour}
}

// enrol adds an issuer of format 2 to the trust list, and returns its Ring.
func (w *world) enrol(name string, seed byte) *keyring.Ring {
	w.t.Helper()
	c := w.config("own")
	c.Kind = keyring.Issuer
	file := w.path("signs-" + name + ".keyring")
	require.NoError(w.t, keyring.Create(file, c, keyring.DefaultPolicy(keyring.Issuer), ""))
	ring, err := keyring.Open(file, c)
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = ring.Close() })
	private, public := identity(w.t, seed)
	bundle, _, err := keyring.Publish(file, c, keyring.Publication{Name: name, Identity: private})
	require.NoError(w.t, err)
	owner, _ := identity(w.t, 1)
	_, _, err = trust.Add(w.path("trust.list"), w.trusted(owner), "", trust.Enrolment{
		Bundle: bundle, Identity: public, Grant: trust.Grant{Brands: []string{"acme"}, Audiences: []string{"agent"}},
	})
	require.NoError(w.t, err)
	return ring
}

// over reports whether a session that begins now with a ticket of an issuer is over. key is the
// signing key, or 0 for format 1.
func over(b *Both, issuer string, key token.KeyID) bool {
	return b.SessionOver(web.Session{Issuer: issuer, SigningKey: key, Entered: time.Now()})
}

// The two lists are one. A change of the file that names an issuer of the trust list is refused. A
// trust list is always taken, and its issuers that the file has make no tickets of format 2.
func TestJoin(t *testing.T) {
	w := newWorld(t)
	_, public := identity(t, 1)
	signing := w.enrol("signs", 2)
	key := signing.KeyIDs()[0]
	_, err := Join(w.list, w.path("none"), w.trusted(public))
	assert.ErrorContains(t, err, "is missing")
	b, err := Join(w.list, w.path("trust.list"), w.trusted(public))
	require.NoError(t, err)
	defer b.Close()
	assert.False(t, over(b, "acme", 0))
	assert.False(t, over(b, "signs", key))
	assert.True(t, over(b, "signs", 0))
	assert.True(t, over(b, "acme", key))
	assert.True(t, over(b, "gamma", 0))
	assert.Len(t, b.WithKey(w.ring("acme").KeyIDs()[0]), 1)
	require.Len(t, b.WithKey(key), 1)
	assert.Equal(t, "signs", b.WithKey(key)[0].Name)
	assert.NotNil(t, b.Trusted())

	const twice = " is in the trust list and in the file of issuers"
	acme := "acme:\n" + entryOf("acme", "acme")
	gamma := w.enrol("gamma", 3).KeyIDs()[0]
	require.NoError(t, b.Load())
	w.write(acme + "gamma:\n" + entryOf("gamma", "acme"))
	assert.ErrorContains(t, b.Load(), "gamma"+twice)
	assert.False(t, over(b, "beta", 0), "the list before stays")
	assert.Len(t, b.WithKey(gamma), 1)

	// A name in a newer trust list, while the file has the name.
	w.write(acme + "delta:\n" + entryOf("gamma", "acme"))
	require.NoError(t, b.Load())
	delta := w.enrol("delta", 4).KeyIDs()[0]
	assert.ErrorContains(t, b.Load(), "delta"+twice)
	assert.Contains(t, w.log.String(), "delta"+twice)
	assert.Empty(t, b.WithKey(delta))
	_, err = Join(w.list, w.path("trust.list"), w.trusted(public))
	assert.ErrorContains(t, err, "delta"+twice)
	owner, _ := identity(t, 1)
	_, err = trust.Deny(w.path("trust.list"), w.trusted(owner), "stolen", "signs", key, true)
	require.NoError(t, err)
	assert.ErrorContains(t, b.Load(), "delta"+twice)
	assert.True(t, over(b, "signs", key), "a denial counts beside a mistake")
	assert.False(t, over(b, "signs", key+1))
	assert.Contains(t, w.log.String(), `msg="issuer or key denied" issuer=signs reason=stolen end_sessions=true signing_key=`)
	w.write(acme)
	require.NoError(t, b.Load())
	assert.Len(t, b.WithKey(delta), 1)
	assert.Contains(t, w.log.String(), `msg="issuer may issue tickets of format 2" issuer=delta denied=false`)

	require.NoError(t, os.Remove(w.path("trust.list")))
	assert.Error(t, b.Load())
	assert.Len(t, b.WithKey(delta), 1, "the list before stays")
}

// A denial in one of the lists is for the tickets of both formats, also of an issuer in both lists.
func TestDenialInBoth(t *testing.T) {
	w := newWorld(t)
	owner, public := identity(t, 1)
	signs := w.enrol("signs", 2).KeyIDs()[0]
	b, err := Join(w.list, w.path("trust.list"), w.trusted(public))
	require.NoError(t, err)
	defer func() { _ = b.Close() }()
	acmeKey, betaKey := w.ring("acme").KeyIDs()[0], w.ring("beta").KeyIDs()[0]
	acme := w.enrol("acme", 3).KeyIDs()[0]
	beta := w.enrol("beta", 4).KeyIDs()[0]
	const twice = "is in the trust list and in the file of issuers"
	file := "acme:\n" + entryOf("acme", "acme") + "beta:\n" + entryOf("beta", "beta")
	assert.ErrorContains(t, b.Load(), twice)
	assert.False(t, over(b, "acme", 0))
	assert.False(t, over(b, "acme", acme))

	// In the file, beside an issuer that is still in both.
	w.write(file + "acme:\n  denied: true\n")
	assert.Error(t, b.Load())
	assert.True(t, over(b, "acme", 0), "a name twice in the file")
	w.write("acme:\n" + entryOf("acme", "acme") + "  denied: true\nbeta:\n" + entryOf("beta", "beta"))
	assert.ErrorContains(t, b.Load(), "beta "+twice)
	assert.True(t, over(b, "acme", 0))
	assert.True(t, over(b, "acme", acme))
	assert.Empty(t, b.WithKey(acme))
	require.Len(t, b.WithKey(acmeKey), 1)
	assert.Empty(t, b.WithKey(acmeKey)[0].Grant)
	assert.NotEmpty(t, b.WithKey(betaKey)[0].Grant)

	// In the trust list.
	_, err = trust.Deny(w.path("trust.list"), w.trusted(owner), "stolen", "beta", 0, false)
	require.NoError(t, err)
	assert.Error(t, b.Load())
	assert.True(t, over(b, "beta", 0))
	assert.True(t, over(b, "beta", beta))
	assert.Empty(t, b.WithKey(betaKey)[0].Grant)
	assert.Empty(t, b.WithKey(beta))
	for _, e := range b.Entries() {
		assert.Equal(t, e.Name != "signs", e.Denied, e.Name)
	}

	// In the file only, of an issuer of the trust list only. It is no mistake, and ends.
	w.write("acme:\n  denied: true\nsigns:\n  denied: true\n")
	require.NoError(t, b.Load())
	assert.True(t, over(b, "signs", signs))
	assert.Empty(t, b.WithKey(signs))
	again, err := w.open()
	require.NoError(t, err)
	joined, err := Join(again, w.path("trust.list"), w.trusted(public))
	require.NoError(t, err)
	assert.True(t, over(joined, "signs", signs))
	require.NoError(t, joined.Close())
	w.write("acme:\n  denied: true\n")
	require.NoError(t, b.Load())
	assert.False(t, over(b, "signs", signs))
	assert.Len(t, b.WithKey(signs), 1)
}

// A service with one of the lists has its issuers, and without lists nobody is known.
func TestOneList(t *testing.T) {
	w := newWorld(t)
	_, public := identity(t, 1)
	signing := w.enrol("signs", 2)
	file, err := Join(w.list, "", keyring.Config{})
	require.NoError(t, err)
	assert.False(t, over(file, "acme", 0))
	assert.True(t, over(file, "acme", 7))
	assert.Nil(t, file.Trusted())
	assert.Nil(t, file.Trust())
	require.NoError(t, file.Load())
	list, err := Join(nil, w.path("trust.list"), w.trusted(public))
	require.NoError(t, err)
	key := signing.KeyIDs()[0]
	assert.False(t, over(list, "signs", key))
	assert.True(t, over(list, "acme", 0))
	assert.Len(t, list.WithKey(key), 1)
	require.NoError(t, list.Load())
	require.NoError(t, list.Close())
	assert.True(t, over(nil, "acme", 0))
	assert.Nil(t, (*Both)(nil).Trust())

	// An issuer that may make administrators' tickets is warned of.
	owner, _ := identity(t, 1)
	_, err = trust.SetGrant(w.path("trust.list"), w.trusted(owner), "", "signs", func(g *trust.Grant) {
		g.Audiences = []string{token.Administrator.String()}
	})
	require.NoError(t, err)
	list, err = Join(nil, w.path("trust.list"), w.trusted(public))
	require.NoError(t, err)
	defer list.Close()
	assert.Contains(t, w.log.String(), "administrators enter by the service's own links only")
}

// The entries are those of both lists, each issuer once, with the keys that count.
func TestEntries(t *testing.T) {
	w := newWorld(t)
	private, public := identity(t, 1)
	signs, gone := w.enrol("signs", 2), w.enrol("gone", 3)
	b, err := Join(w.list, w.path("trust.list"), w.trusted(public))
	require.NoError(t, err)
	defer b.Close()
	_, err = trust.Deny(w.path("trust.list"), w.trusted(private), "stolen", "gone", 0, false)
	require.NoError(t, err)
	require.NoError(t, b.Load())
	list := b.Trust().List()
	at := func(name string) time.Time { return list.Of(name).Until.UTC() }
	all := b.Entries()
	require.Len(t, all, 4)
	assert.Equal(t, []string{"acme", "beta", "gone", "signs"},
		[]string{all[0].Name, all[1].Name, all[2].Name, all[3].Name})
	assert.Equal(t, directory.IssuerEntry{
		Name: "gone", Denied: true, Brands: []string{"acme"}, Audiences: []string{"agent"}, Format: 2,
		Generation: int(list.Of("gone").Generation), BundleUntil: at("gone"), DeniedKeys: []string{gone.KeyIDs()[0].String()},
	}, all[2])
	assert.Equal(t, directory.IssuerEntry{
		Name: "signs", Brands: []string{"acme"}, Audiences: []string{"agent"}, Format: 2,
		Generation: int(list.Of("signs").Generation), BundleUntil: at("signs"), Keys: []string{signs.KeyIDs()[0].String()},
	}, all[3])
	assert.Nil(t, (*Both)(nil).Entries())
	assert.NotNil(t, new(Both).Entries())
}
