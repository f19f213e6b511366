package web

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
)

// fixedID seals every ticket under the same ID.
type fixedID struct{ tink.AEAD }

func (f fixedID) Encrypt(payload, ad []byte) ([]byte, error) {
	if len(payload) > 18 {
		copy(payload[2:18], "0123456789abcdef")
	}
	return f.AEAD.Encrypt(payload, ad)
}

// withIssuer adds the issuer acme to the world, and returns what issues its tickets, sealed by
// seal.
func withIssuer(w *world, seal func(tink.AEAD) tink.AEAD, change func(*verify.Grant)) *token.Issuer {
	h, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	require.NoError(w.t, err)
	keys, err := token.NewKeyset(h)
	require.NoError(w.t, err)
	g := verify.Grant{Brands: []string{"commbox"}, Audiences: []token.Audience{token.Agent}}
	if change != nil {
		change(&g)
	}
	issuers, err := verify.NewIssuers(verify.Issuer{Name: "acme", Keys: keys, Grant: g})
	require.NoError(w.t, err)
	w.Verifier, err = verify.New(verify.Config{
		Opener: w.opener, Issuers: issuers, Realm: "prod", AnyBrand: true, Store: w.store, Now: w.clock.now,
	})
	require.NoError(w.t, err)
	i, err := token.NewIssuer(token.Config{Sealer: seal(keys), Realm: "prod", Now: w.clock.now})
	require.NoError(w.t, err)
	return i
}

// The session and the check say whose ticket it was, and what the issuer says of the actor
// cannot be taken for the service's own word.
func TestNamedIssuersSession(t *testing.T) {
	w := newWorld(t)
	own, acme := w.issuer, withIssuer(w, func(keys tink.AEAD) tink.AEAD { return fixedID{keys} }, nil)
	w.start()
	ofAcme := func() string { w.issuer = acme; return w.issue(nil) }()
	w.issuer, _ = token.NewIssuer(token.Config{Sealer: fixedID{w.opener.Keyset}, Realm: "prod", Now: w.clock.now})
	sameID := w.issue(jane)
	w.issuer = own

	b := w.browser()
	w.entered(b.get("/login?ta=" + ofAcme))
	check := b.get("/auth/check")
	assert.Equal(t, "acme", check.Header.Get("Admitone-Issuer"))
	assert.Equal(t, "acme/key1", check.Header.Get("Admitone-Actor"))
	assert.Contains(t, w.log.String(), "issuer=acme")
	w.entered(b.get("/login?ta=" + ofAcme)) // a reload

	// trap F15: another issuer's ticket of that ID is not the ticket that bought the session.
	w.entered(b.get("/login?ta=" + sameID))
	check = b.get("/auth/check")
	assert.Equal(t, "jane.r", check.Header.Get("Remote-User"))
	assert.Equal(t, "key1", check.Header.Get("Admitone-Actor"))
	assert.Equal(t, []string{""}, check.Header["Admitone-Issuer"])
	assert.Equal(t, http.StatusForbidden, b.get("/login?ta="+ofAcme).StatusCode, "spent, and not this session's")
}

// A stranger learns nothing of a refused issuer. At its rate, an issuer's people are told to
// come back, and the log is bounded.
//
// trap F16
func TestNamedIssuersPages(t *testing.T) {
	w := newWorld(t)
	lines := 2
	w.MayLog = func(*http.Request) bool { lines--; return lines >= 0 }
	asIs := func(keys tink.AEAD) tink.AEAD { return keys }
	own, acme := w.issuer, withIssuer(w, asIs, func(g *verify.Grant) { g.Rate = 1 })
	w.start()
	forged := w.browser().get("/login?ta=tkt1_x")
	w.issuer = acme
	denied := w.browser().get("/login?ta=" + w.issue(func(tk *token.Ticket) { tk.Brand = "other" }))
	assert.Equal(t, forged.StatusCode, denied.StatusCode)
	assert.Equal(t, forged.body, denied.body)
	assert.Contains(t, w.log.String(), "reason=issuer_not_allowed")
	assert.Zero(t, lines)

	w.entered(w.browser().get("/login?ta=" + w.issue(nil)))
	for range 3 {
		later := w.browser().get("/login?ta=" + w.issue(jane))
		assert.Equal(t, http.StatusTooManyRequests, later.StatusCode)
		assert.Equal(t, "5", later.Header.Get("Retry-After"))
	}
	assert.Zero(t, strings.Count(w.log.String(), "issuer_over_rate"), "MayLog says no")
	w.issuer = own
	w.entered(w.browser().get("/login?ta=" + w.issue(nil)))
	w.clock.add(time.Second)
	w.issuer = acme
	assert.NotEqual(t, http.StatusTooManyRequests, w.browser().get("/login?ta="+w.issue(jane)).StatusCode)
}
