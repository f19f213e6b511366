package verify

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/hybrid"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/signature"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/token/signed"
)

// service is a login service that opens tickets of format 2.
type service struct {
	handle *keyset.Handle
	keys   *signed.OpeningKeys
	public *signed.SealingKey
}

func newService(t testing.TB) *service {
	t.Helper()
	h, err := keyset.NewHandle(hybrid.DHKEM_X25519_HKDF_SHA256_HKDF_SHA256_AES_256_GCM_Key_Template())
	require.NoError(t, err)
	return serviceOf(t, h)
}

func serviceOf(t testing.TB, h *keyset.Handle) *service {
	t.Helper()
	keys, err := signed.NewOpeningKeys(h)
	require.NoError(t, err)
	public, err := h.Public()
	require.NoError(t, err)
	to, err := signed.NewSealingKey(public)
	require.NoError(t, err)
	return &service{h, keys, to}
}

// encrypt does what everybody can do, and decrypt what the service can do.
func (s *service) encrypt(t testing.TB, plain []byte) string {
	t.Helper()
	public, err := s.handle.Public()
	require.NoError(t, err)
	e, err := hybrid.NewHybridEncrypt(public)
	require.NoError(t, err)
	sealed, err := e.Encrypt(plain, []byte("admitone/ticket/2\x00r"))
	require.NoError(t, err)
	return "tkt2_" + base64.RawURLEncoding.EncodeToString(sealed)
}

func (s *service) decrypt(t testing.TB, ticket string) []byte {
	t.Helper()
	d, err := hybrid.NewHybridDecrypt(s.handle)
	require.NoError(t, err)
	sealed, err := base64.RawURLEncoding.DecodeString(ticket[5:])
	require.NoError(t, err)
	plain, err := d.Decrypt(sealed, []byte("admitone/ticket/2\x00r"))
	require.NoError(t, err)
	return plain
}

// organisation issues tickets of format 2.
type organisation struct {
	name   string
	signer tink.Signer
	keys   []*signed.VerifyingKey
}

func newOrganisation(t testing.TB, name string) *organisation {
	t.Helper()
	h, err := keyset.NewHandle(signature.ED25519KeyTemplate())
	require.NoError(t, err)
	return organisationOf(t, name, h)
}

func organisationOf(t testing.TB, name string, h *keyset.Handle) *organisation {
	t.Helper()
	signer, err := signed.NewSigner(h)
	require.NoError(t, err)
	public, err := h.Public()
	require.NoError(t, err)
	keys, err := signed.NewVerifyingKeys(name, public)
	require.NoError(t, err)
	return &organisation{name, signer, keys}
}

func (o *organisation) sealer(t testing.TB, to *service) *signed.Sealer {
	t.Helper()
	s, err := signed.NewSealer(o.name, o.signer, to.public)
	require.NoError(t, err)
	return s
}

func (o *organisation) issuer(t testing.TB, to *service, now func() time.Time) *token.Issuer {
	t.Helper()
	i, err := token.NewIssuer(token.Config{Signed: o.sealer(t, to), Realm: "r", MaxLifetime: 24 * time.Hour, Now: now})
	require.NoError(t, err)
	return i
}

func (o *organisation) with(g Grant) Issuer {
	return Issuer{Name: o.name, SigningKeys: o.keys, Grant: g}
}

func TestSigned(t *testing.T) {
	s, acme, beta := newService(t), newOrganisation(t, "acme"), newOrganisation(t, "beta")
	both := newKeys(t) // beta issues in both formats
	ofBeta := beta.with(allOf("commbox"))
	ofBeta.Keys = both
	w := newWorld(t, func(c *Config) {
		c.Unsealer, c.Issuers = s.keys, issuersOf(t, acme.with(allOf("commbox")), ofBeta)
	})
	for name, i := range map[string]*token.Issuer{
		"": w.issuer, "acme": acme.issuer(t, s, w.now), "beta": beta.issuer(t, s, w.now), "beta, format 1": w.by(t, both),
	} {
		ticket := issueBy(t, i, nil)
		tk, err := w.Inspect(t.Context(), ticket, agent)
		require.NoError(t, err, name)
		assert.Equal(t, strings.TrimSuffix(name, ", format 1"), tk.Issuer)
		assert.Equal(t, name == "acme" || name == "beta", tk.SigningKey != 0)
		w.want(t, "", ticket, agent)
		w.want(t, AlreadyUsed, ticket, agent)
		changed := map[bool]string{true: "B", false: "A"}[ticket[60] == 'A']
		w.want(t, Forged, ticket[:60]+changed+ticket[61:], agent)
	}
	late := issueBy(t, acme.issuer(t, s, w.now), nil)
	w.step(time.Hour)
	w.want(t, Expired, late, agent)
	w.want(t, UnknownIssuer, issueBy(t, newOrganisation(t, "acme").issuer(t, s, w.now), nil), agent)
	w.want(t, UnknownKey, issueBy(t, acme.issuer(t, newService(t), w.now), nil), agent)

	c := w.config
	c.Issuers = nil
	_, err := New(c)
	assert.ErrorContains(t, err, "verify.Config.Unsealer stands without Issuers")
	twice, err := keyset.NewHandle(signature.ED25519KeyTemplate())
	require.NoError(t, err)
	for text, is := range map[string][]Issuer{
		"has a SigningKey of another name": {{Name: "other", SigningKeys: acme.keys}},
		"has no Keys":                      {{Name: "acme"}},
		"a key belongs to one issuer":      {organisationOf(t, "a", twice).with(Grant{}), organisationOf(t, "b", twice).with(Grant{})},
	} {
		_, err := NewIssuers(is...)
		assert.ErrorContains(t, err, text)
	}
}

// trap F1: with the public key alone nobody makes a ticket, and nothing of the attempt is logged.
func TestEncryptedIsNotSigned(t *testing.T) {
	s, acme := newService(t), newOrganisation(t, "acme")
	w := newWorld(t, func(c *Config) { c.Unsealer, c.Issuers = s.keys, issuersOf(t, acme.with(allOf("commbox"))) })
	plain := s.decrypt(t, issueBy(t, acme.issuer(t, s, w.now), nil))
	other := s.decrypt(t, issueBy(t, newOrganisation(t, "acme").issuer(t, s, w.now), nil))
	for name, p := range map[string][]byte{
		"no signature": plain[69:],
		"zeros":        append(append([]byte{}, plain[:5]...), append(make([]byte, 64), plain[69:]...)...),
		"foreign":      append(append([]byte{}, plain[:5]...), other[5:]...),
		"replayed":     append(append([]byte{}, plain[:69]...), other[69:]...),
		"a stranger's": other,
	} {
		ticket := s.encrypt(t, p)
		_, inspect := w.Inspect(t.Context(), ticket, agent)
		_, redeem := w.Redeem(t.Context(), ticket, Use{Complete: func(token.Ticket, *Use) error { panic("asked") }})
		for _, err := range []error{inspect, redeem} {
			e := AsError(err)
			assert.Contains(t, []Reason{Forged, UnknownIssuer}, e.Reason, name)
			assert.Nil(t, e.Refused, name)
			var log strings.Builder
			w.Log(context.Background(), slog.New(slog.NewTextHandler(&log, nil)), token.Ticket{}, err)
			assert.NotContains(t, log.String(), "commbox")
			assert.NotContains(t, log.String(), "john")
		}
	}
}

// trap F2: the formats do not open each other's tickets, and a verifier without the keys of a
// format refuses it.
// trap F20: a verifier without Opener refuses format 1.
func TestFormatsAreApart(t *testing.T) {
	s, acme := newService(t), newOrganisation(t, "acme")
	w := newWorld(t, func(c *Config) { c.Unsealer, c.Issuers = s.keys, issuersOf(t, acme.with(allOf("commbox"))) })
	first, second := w.issue(t, nil), issueBy(t, acme.issuer(t, s, w.now), nil)
	w.want(t, UnknownKey, "tkt2_"+first[5:], agent)
	w.want(t, UnknownKey, "tkt1_"+second[5:], agent)
	w.want(t, UnsupportedVersion, "tkt3_"+second[5:], agent)
	w.want(t, Malformed, "tkt2_", agent)

	only := func(change func(*Config)) *Verifier {
		c := w.config
		change(&c)
		return w.verifier(t, c)
	}
	wantFrom(t, only(func(c *Config) { c.Opener = nil }), UnknownKey, first, agent)
	wantFrom(t, only(func(c *Config) { c.Opener = nil }), "", second, agent)
	wantFrom(t, only(func(c *Config) { c.Unsealer = nil }), UnsupportedVersion, second, agent)
	wantFrom(t, only(func(c *Config) { c.Unsealer, c.Issuers = nil, nil }), UnsupportedVersion, second, agent)
	wantFrom(t, only(func(c *Config) { c.Issuers = issuersOf(t) }), UnknownIssuer, second, agent)
}

// trap F3: a login service cannot enter another one with a ticket that it got.
func TestForwarding(t *testing.T) {
	a, b, acme := newService(t), newService(t), newOrganisation(t, "acme")
	w := newWorld(t, func(c *Config) { c.Unsealer, c.Issuers = b.keys, issuersOf(t, acme.with(allOf("commbox"))) })
	ticket := issueBy(t, acme.issuer(t, a, w.now), nil)
	w.want(t, Forged, b.encrypt(t, a.decrypt(t, ticket)), agent)
}

// trap F9: nothing in a ticket names its issuer. An issuer that signs with another's name, or
// says so in its tickets, is refused.
func TestNamesAreTheVerifiersOwn(t *testing.T) {
	s, acme, beta := newService(t), newOrganisation(t, "acme"), newOrganisation(t, "beta")
	w := newWorld(t, func(c *Config) {
		c.AnyBrand, c.Brands = true, nil
		c.Unsealer, c.Issuers = s.keys, issuersOf(t, acme.with(allOf("acme")), beta.with(allOf("commbox")))
	})
	w.want(t, IssuerNotAllowed, issueBy(t, acme.issuer(t, s, w.now), func(tk *token.Ticket) { tk.Issuer = "beta" }), agent)
	w.want(t, Forged, issueBy(t, (&organisation{"beta", acme.signer, nil}).issuer(t, s, w.now), nil), agent)
}

// trap F15, in format 2: one ID of two issuers, and of the keyring without a name.
func TestSignedNonces(t *testing.T) {
	s, acme, beta := newService(t), newOrganisation(t, "acme"), newOrganisation(t, "beta")
	w := newWorld(t, func(c *Config) {
		c.Unsealer, c.Issuers = s.keys, issuersOf(t, acme.with(allOf("commbox")), beta.with(allOf("commbox")))
	})
	payload := s.decrypt(t, issueBy(t, acme.issuer(t, s, w.now), nil))[69:]
	for _, o := range []*organisation{beta, acme} {
		var tk token.Ticket
		sealed, err := o.sealer(t, s).Seal(nil, "r", payload, &tk)
		require.NoError(t, err)
		ticket := "tkt2_" + base64.RawURLEncoding.EncodeToString(sealed)
		w.want(t, "", ticket, agent)
		w.want(t, AlreadyUsed, ticket, agent)
		w.want(t, AlreadyUsed, s.encrypt(t, s.decrypt(t, ticket)), agent) // trap F19: written a second time
	}
}

// changing is a list of issuers that changes between the look at the keys and the look at the
// grant.
type changing struct{ before, after Issuers }

func (c changing) WithKey(id token.KeyID) []*Issuer { return c.after.WithKey(id) }
func (c changing) Trusted() *signed.Trusted         { return c.before.Trusted() }

// Key and grant are of one moment: a key of an older list has no grant of a newer list, unless the
// newer list has the key.
//
// trap F10
func TestIssuersChangeMeanwhile(t *testing.T) {
	s, acme := newService(t), newOrganisation(t, "acme")
	before := issuersOf(t, acme.with(allOf("commbox")))
	for _, row := range []struct {
		after  Issuers
		reason Reason
	}{
		{before, ""}, {issuersOf(t), UnknownIssuer}, {issuersOf(t, acme.with(Grant{})), IssuerNotAllowed},
		{issuersOf(t, acme.with(allOf("commbox"))), ""},
		{issuersOf(t, newOrganisation(t, "acme").with(allOf("commbox"))), UnknownIssuer},
	} {
		w := newWorld(t, func(c *Config) { c.Unsealer, c.Issuers = s.keys, changing{before, row.after} })
		w.want(t, row.reason, issueBy(t, acme.issuer(t, s, w.now), nil), agent)
	}
}

// turning is a list of issuers that is another one after the first look at the keys.
type turning struct {
	looks         atomic.Int64
	before, after Issuers
}

func (c *turning) WithKey(id token.KeyID) []*Issuer { return c.after.WithKey(id) }

func (c *turning) Trusted() *signed.Trusted {
	if c.looks.Add(1) == 1 {
		return c.before.Trusted()
	}
	return c.after.Trusted()
}

// A key that its issuer retires while a ticket is opened still opens the ticket, up to its time.
//
// trap F18
func TestRetiredMeanwhile(t *testing.T) {
	s, acme := newService(t), newOrganisation(t, "acme")
	before := issuersOf(t, acme.with(allOf("commbox")))
	for _, row := range []struct {
		last   time.Duration // after now
		reason Reason
	}{{time.Minute, ""}, {-time.Minute, Forged}} {
		w := newWorld(t, func(c *Config) { c.Unsealer, c.Issuers = s.keys, before })
		retired := acme.with(allOf("commbox"))
		retired.SigningKeys = []*signed.VerifyingKey{acme.keys[0].NotAfter(w.now().Add(row.last))}
		c := w.config
		c.Issuers = &turning{before: before, after: issuersOf(t, retired)}
		wantFrom(t, w.verifier(t, c), row.reason, issueBy(t, acme.issuer(t, s, w.now), nil), agent)
	}
}

// The golden vectors of format 2, by every entry point. Package signed makes them.
func TestSignedVectors(t *testing.T) {
	const dir = "../testdata/signed"
	read := func(name string) *keyset.Handle {
		f, err := os.Open(filepath.Join(dir, name))
		require.NoError(t, err)
		defer f.Close()
		h, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(f))
		require.NoError(t, err)
		return h
	}
	var all []Issuer
	everything := Grant{AnyBrand: true, Audiences: []token.Audience{token.Agent, token.Customer}, MaxLifetime: time.Hour,
		Override: true, Claims: []string{"a", "b", "crm", "tier"}}
	for _, name := range []string{"acme", "beta", "gamma", "delta", "epsilon"} {
		all = append(all, organisationOf(t, name, read(name+".json")).with(everything))
	}
	keys, err := signed.NewOpeningKeys(read("recipient.json"))
	require.NoError(t, err)
	names, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	require.NoError(t, err)
	require.Greater(t, len(names), 40)
	for _, name := range names {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		v := make(map[string]string)
		for line := range strings.Lines(string(text)) {
			k, val, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
			v[k] = val
		}
		var ticket string
		require.NoError(t, json.Unmarshal([]byte(v["ticket"]), &ticket))
		at := func() time.Time { return vectorNow }
		issuers := slices.Clone(all)
		if parts := strings.Fields(v["retired"]); len(parts) == 3 {
			for i, is := range issuers {
				issuers[i].SigningKeys = slices.Clone(is.SigningKeys)
				for n, k := range is.SigningKeys {
					if is.Name == parts[0] && k.ID().String() == parts[1] {
						issuers[i].SigningKeys[n] = k.NotAfter(vectorTime(t, parts[2]))
					}
				}
			}
		}
		ver, err := New(Config{Unsealer: keys, Issuers: issuersOf(t, issuers...), Realm: v["realm"], AnyBrand: true,
			Store: newStore(t, at), Now: at})
		require.NoError(t, err)
		use := Use{Audience: AnyAudience, Channel: "web"}
		inspected, inspectErr := ver.Inspect(t.Context(), ticket, use)
		redeemed, redeemErr := ver.Redeem(t.Context(), ticket, use)
		if v["expect"] == "good" {
			require.NoError(t, inspectErr, name)
			require.NoError(t, redeemErr, name)
			assert.Equal(t, inspected, redeemed)
			assert.Equal(t, v["issuer"], redeemed.Issuer)
			continue
		}
		assert.Equal(t, Reason(v["expect"]), reasonOf(t, inspectErr), name)
		assert.Equal(t, Reason(v["expect"]), reasonOf(t, redeemErr), name)
	}
}
