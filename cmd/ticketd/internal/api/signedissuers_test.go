package api

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"net/url"
	"path/filepath"
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
	"google.golang.org/protobuf/proto"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/token/signed"
	"github.com/admitone/admitone/verify"
)

// listed are issuers that a test changes, with the private keys of the service.
type listed struct {
	*signed.OpeningKeys
	atomic.Pointer[verify.Issuers]
	opened atomic.Int64
}

func (l *listed) WithKey(id token.KeyID) []*verify.Issuer { return (*l.Load()).WithKey(id) }
func (l *listed) Trusted() *signed.Trusted                { return (*l.Load()).Trusted() }
func (l *listed) Opened(token.KeyID, string, token.KeyID) { l.opened.Add(1) }

// signer is an organisation that signs tickets for a recipient.
type signer struct {
	name string
	keys []*signed.VerifyingKey
	tink.Signer
}

func newSigner(t *testing.T, name string) signer {
	t.Helper()
	h, err := keyset.NewHandle(signature.ED25519KeyTemplate())
	require.NoError(t, err)
	return signerOf(t, name, h)
}

// withID returns the keyset with another ID of its key.
func withID(t *testing.T, h *keyset.Handle, id uint32) *keyset.Handle {
	t.Helper()
	ks := insecurecleartextkeyset.KeysetMaterial(h)
	ks.PrimaryKeyId, ks.Key[0].KeyId = id, id
	b, err := proto.Marshal(ks)
	require.NoError(t, err)
	changed, err := insecurecleartextkeyset.Read(keyset.NewBinaryReader(bytes.NewReader(b)))
	require.NoError(t, err)
	return changed
}

func signerOf(t *testing.T, name string, h *keyset.Handle) signer {
	t.Helper()
	s, err := signed.NewSigner(h)
	require.NoError(t, err)
	public, err := h.Public()
	require.NoError(t, err)
	keys, err := signed.NewVerifyingKeys(name, public)
	require.NoError(t, err)
	return signer{name, keys, s}
}

// recipient is a login service: the one of the test, or another.
type recipient struct {
	handle *keyset.Handle
	public *keyset.Handle
}

func newRecipient(t *testing.T) recipient {
	t.Helper()
	h, err := keyset.NewHandle(hybrid.DHKEM_X25519_HKDF_SHA256_HKDF_SHA256_AES_256_GCM_Key_Template())
	require.NoError(t, err)
	public, err := h.Public()
	require.NoError(t, err)
	return recipient{h, public}
}

// info is bound into every ticket of the realm r.
var info = []byte("admitone/ticket/2\x00r")

// encrypt does what everybody can do, and decrypt what the recipient can do.
func (r recipient) encrypt(t *testing.T, plain []byte) string {
	t.Helper()
	e, err := hybrid.NewHybridEncrypt(r.public)
	require.NoError(t, err)
	sealed, err := e.Encrypt(plain, info)
	require.NoError(t, err)
	return "tkt2_" + base64.RawURLEncoding.EncodeToString(sealed)
}

func (r recipient) decrypt(t *testing.T, ticket string) []byte {
	t.Helper()
	d, err := hybrid.NewHybridDecrypt(r.handle)
	require.NoError(t, err)
	sealed, err := base64.RawURLEncoding.DecodeString(ticket[5:])
	require.NoError(t, err)
	plain, err := d.Decrypt(sealed, info)
	require.NoError(t, err)
	return plain
}

// signedWorld is a world that knows the issuer acme-hr of format 2.
type signedWorld struct {
	*world
	acme, beta signer
	us         recipient
	list       *listed
	grant      verify.Grant
}

// trust makes the keys of acme, and beta, the trusted keys.
func (w *signedWorld) trust(acme ...*signed.VerifyingKey) {
	w.t.Helper()
	all := []verify.Issuer{{Name: "beta", SigningKeys: w.beta.keys, Grant: w.grant}}
	if len(acme) > 0 {
		all = append(all, verify.Issuer{Name: "acme-hr", SigningKeys: acme, Grant: w.grant})
	}
	issuers, err := verify.NewIssuers(all...)
	require.NoError(w.t, err)
	w.list.Store(&issuers)
}

func newSignedWorld(t *testing.T, configure ...func(*Config)) *signedWorld {
	t.Helper()
	w := &signedWorld{
		world: &world{t: t}, acme: newSigner(t, "acme-hr"), beta: newSigner(t, "beta"), us: newRecipient(t),
		grant: verify.Grant{
			Brands: []string{"commbox"}, Audiences: []token.Audience{token.Agent, token.Customer}, MaxLifetime: time.Minute,
		},
	}
	keys, err := signed.NewOpeningKeys(w.us.handle)
	require.NoError(t, err)
	w.list = &listed{OpeningKeys: keys}
	w.trust(w.acme.keys...)
	w.world = newWorldWith(t, w.list, filepath.Join(t.TempDir(), "directory.db"), configure...)
	return w
}

// issue makes a ticket of an issuer for a recipient.
func (w *signedWorld) issue(by signer, to recipient, realm string, change func(*token.Ticket)) string {
	w.t.Helper()
	public, err := signed.NewSealingKey(to.public)
	require.NoError(w.t, err)
	sealer, err := signed.NewSealer(by.name, by, public)
	require.NoError(w.t, err)
	issuer, err := token.NewIssuer(token.Config{Signed: sealer, Realm: realm, Now: w.now})
	require.NoError(w.t, err)
	tk := &token.Ticket{
		Audience: token.Agent, OneTime: true, Brand: "commbox", Username: "JOHN.D",
		Email: "John.D@gmail.com", Actor: "portal",
	}
	if change != nil {
		change(tk)
	}
	text, err := issuer.Issue(tk)
	require.NoError(w.t, err)
	w.secrets = append(w.secrets, text)
	return text
}

// shortJane makes a ticket a customer's, within the grant.
func shortJane(tk *token.Ticket) {
	janeTicket(tk)
	tk.Lifetime = 30 * time.Second
}

// good is a ticket that admits.
func (w *signedWorld) good() string { return w.issue(w.acme, w.us, "r", nil) }

// doors presents a ticket at each entry, and returns the reasons of the two that tell reasons: of
// the inspection and of the redemption. Nobody may get in.
func (w *signedWorld) doors(name, ticket, audience string) (reasons [2]string) {
	t := w.t
	t.Helper()
	q := "?ta=" + url.QueryEscape(ticket)
	for _, path := range []string{"/login", w.chatPath("commbox", "web")} {
		assert.Equal(t, http.StatusForbidden, w.client().get(path+q).status, "%s at %s", name, path)
		form := w.client().do(http.MethodPost, path, strings.NewReader("ta="+url.QueryEscape(ticket)),
			map[string]string{"Content-Type": "application/x-www-form-urlencoded"})
		assert.Equal(t, http.StatusForbidden, form.status, "%s in a form at %s", name, path)
	}
	fields := map[string]any{"ticket": ticket, "audience": audience}
	key := w.redeemKey("commbox")
	v := w.spend(inspectPath, key, fields)
	assert.Equal(t, "refused", v.Data.Result, "%s: %s", name, v.body)
	reasons[0] = string(v.Data.Reason)
	v = w.spend(redeemPath, key, fields)
	assert.Equal(t, http.StatusForbidden, v.status, name)
	reasons[1] = string(v.Data.Reason)
	return reasons
}

// The answers, the log, the trail's event, the metrics and the check name issuer and keys of a
// signed ticket.
func TestSignedTicket(t *testing.T) {
	w := newSignedWorld(t)
	key := w.redeemKey("commbox")
	fields := map[string]any{"ticket": w.good(), "audience": "agent"}
	v := w.spend(inspectPath, key, fields)
	require.Equal(t, "acceptable", v.Data.Result, v.body)
	v = w.spend(redeemPath, key, fields)
	require.Equal(t, "admitted", v.Data.Result, v.body)
	signing, sealing := w.acme.keys[0].ID().String(), token.KeyID(w.us.handle.KeysetInfo().PrimaryKeyId).String()
	assert.Equal(t, "acme-hr", v.Data.Ticket.Issuer)
	assert.Equal(t, signing, v.Data.Ticket.SigningKey)
	assert.Equal(t, sealing, v.Data.Ticket.KeyID)
	assert.Contains(t, w.log.String(), "issuer=acme-hr signing_key="+signing)
	assert.Equal(t, "already_used", string(w.spend(redeemPath, key, fields).Data.Reason))

	john := w.client()
	require.Equal(t, http.StatusSeeOther, john.get("/login?ta="+w.good()).status)
	check := john.get("/auth/brand/commbox/check")
	for name, want := range map[string]string{
		"Remote-User": "john.d", "Admitone-Issuer": "acme-hr", "Admitone-Actor": "acme-hr/portal",
		"Admitone-Signing-Key": signing, "Admitone-Key-Id": sealing,
	} {
		assert.Equal(t, want, check.header.Get(name), name)
	}
	assert.Contains(t, w.scrape(), `ticketd_issuer_tickets_total{issuer="acme-hr",result="accepted"} 3`)
	assert.EqualValues(t, 4, w.list.opened.Load())

	// The console's page explains such a ticket.
	e := NewTickets(Config{
		Directory: w.directory, Verifier: w.verifier, Metrics: w.metrics, Now: w.now, MaxLifetime: token.MaxLifetime,
	}).Explain(t.Context(), directory.Actor{Kind: directory.ActorShell}, TicketIn("https://x.test/login?ta="+w.good()))
	require.NotNil(t, e.Ticket)
	assert.Empty(t, e.Reason)
	assert.Equal(t, w.acme.keys[0].ID(), e.Ticket.SigningKey)
}

// What strangers, other issuers and other recipients can make is refused at every door, is told to
// nobody as an issuer's, and counts as no use of a key. The tickets of before stay good.
//
// traps F1, F2, F3, F11, F17, F19
func TestSignedByNobody(t *testing.T) {
	w := newSignedWorld(t)
	good, other := w.good(), w.issue(w.beta, w.us, "r", nil)
	plain, of := w.us.decrypt(t, good), w.us.decrypt(t, other)
	payload, none := plain[69:], make([]byte, 64)
	elsewhere := newRecipient(t)
	stranger := newSigner(t, "acme-hr")
	own := w.ticket(w.key, reference)
	join := func(parts ...[]byte) (all []byte) {
		for _, p := range parts {
			all = append(all, p...)
		}
		return all
	}
	flipped := func(at int) string {
		b := []byte(good)
		b[at] = map[bool]byte{true: 'B', false: 'A'}[b[at] == 'A']
		return string(b)
	}
	cases := map[string]struct{ ticket, reason string }{
		"nothing sealed":             {w.us.encrypt(t, nil), "forged"},
		"a payload alone":            {w.us.encrypt(t, payload), "forged unknown_issuer"},
		"no signature":               {w.us.encrypt(t, join(plain[:5], none, payload)), "forged"},
		"a key of nobody":            {w.us.encrypt(t, join([]byte{1, 9, 9, 9, 9}, none, payload)), "unknown_issuer"},
		"another payload":            {w.us.encrypt(t, join(plain[:69], payload, []byte("x"))), "forged"},
		"another issuer's signature": {w.us.encrypt(t, join(of[:69], payload)), "forged"},
		"two signatures":             {w.us.encrypt(t, join(of[:69], plain)), "forged"},
		"a stranger's signature":     {w.issue(stranger, w.us, "r", nil), "unknown_issuer"},
		"another recipient":          {w.issue(w.acme, elsewhere, "r", nil), "unknown_key"},
		"passed on by another":       {w.us.encrypt(t, elsewhere.decrypt(t, w.issue(w.acme, elsewhere, "r", nil))), "forged"},
		"another realm":              {w.issue(w.acme, w.us, "other", nil), "forged"},
		"format 2 as 1":              {"tkt1_" + good[5:], "unknown_key"},
		"format 1 as 2":              {"tkt2_" + own[5:], "unknown_key"},
		"format 3":                   {"tkt3_" + good[5:], "unsupported_version"},
		"an equals sign":             {good + "=", "malformed"},
		"a line's end":               {good[:60] + "\n" + good[60:], "malformed"},
		"cut off":                    {good[:len(good)-4], "forged malformed"},
		"the version byte":           {flipped(5), "malformed unknown_key"},
		"the recipient's key":        {flipped(8), "unknown_key"},
		"the key share":              {flipped(20), "forged"},
		"the ciphertext":             {flipped(80), "forged"},
		"the tag":                    {flipped(len(good) - 3), "forged"},
	}
	before := w.list.opened.Load()
	for name, c := range cases {
		w.secrets = append(w.secrets, c.ticket)
		at := len(w.log.String())
		for _, reason := range w.doors(name, c.ticket, "agent") {
			assert.Contains(t, strings.Fields(c.reason), reason, name)
		}
		log := w.log.String()[at:]
		assert.NotContains(t, log, "issuer=", name)
		assert.NotContains(t, log, "john", name)
		assert.NotContains(t, log, "JOHN", name)
	}
	assert.Equal(t, before, w.list.opened.Load(), "no use of a key")
	assert.NotContains(t, w.scrape(), "ticketd_issuer_tickets_total{")
	key := w.redeemKey("commbox")
	for _, ticket := range []string{good, other, own} {
		v := w.spend(redeemPath, key, map[string]any{"ticket": ticket, "audience": "agent"})
		assert.Equal(t, "admitted", v.Data.Result, v.body)
	}
}

// A ticket outside the grant is refused at every door, and is not spent.
//
// trap F4
func TestSignedOutsideTheGrant(t *testing.T) {
	w := newSignedWorld(t)
	allowed := w.grant
	for name, change := range map[string]func(*token.Ticket){
		"another brand":       func(tk *token.Ticket) { tk.Brand = "acme" },
		"a brand in capitals": func(tk *token.Ticket) { tk.Brand = "Commbox" },
		"a longer brand":      func(tk *token.Ticket) { tk.Brand = "commbox2" },
		"a long lifetime":     func(tk *token.Ticket) { tk.Lifetime = 61 * time.Second },
		"many times":          func(tk *token.Ticket) { tk.OneTime = false },
		"a claim":             func(tk *token.Ticket) { tk.Claims = map[string]string{"plan": "x"} },
		"a changed record":    func(tk *token.Ticket) { shortJane(tk); tk.OverrideUserInfo = true },
		"an administrator": func(tk *token.Ticket) {
			*tk = token.Ticket{Audience: token.Administrator, OneTime: true, Username: "root"}
		},
	} {
		ticket := w.issue(w.acme, w.us, "r", change)
		for _, reason := range w.doors(name, ticket, "agent") {
			assert.Equal(t, "issuer_not_allowed", reason, name)
		}
	}
	// An API key learns nothing else of a ticket of another brand, or of an administrator's.
	for _, change := range []func(*token.Ticket){
		func(tk *token.Ticket) { tk.Brand = "acme" },
		func(tk *token.Ticket) {
			*tk = token.Ticket{Audience: token.Administrator, OneTime: true, Username: "root"}
		},
	} {
		v := w.spend(inspectPath, w.redeemKey("commbox"),
			map[string]any{"ticket": w.issue(w.acme, w.us, "r", change), "audience": "agent"})
		assert.Equal(t, "issuer_not_allowed", v.Data.Reason)
		assert.Nil(t, v.Data.Ticket, v.body)
	}
	customers := w.issue(w.acme, w.us, "r", shortJane)
	w.grant.Audiences = []token.Audience{token.Agent}
	w.trust(w.acme.keys...)
	refused := [2]string{"issuer_not_allowed", "issuer_not_allowed"}
	assert.Equal(t, refused, w.doors("a customer", customers, "customer"))
	w.grant = allowed
	w.grant.Until = w.now()
	w.trust(w.acme.keys...)
	assert.Equal(t, refused, w.doors("a grant that ended", customers, "customer"))
	w.grant = allowed
	w.trust(w.acme.keys...)
	v := w.spend(redeemPath, w.redeemKey("commbox"), map[string]any{"ticket": customers, "audience": "customer"})
	assert.Equal(t, "admitted", v.Data.Result, "a refusal spends nothing: %s", v.body)
}

// A denied key is unknown at once, and a retiring one is good for what it signed in its time.
//
// traps F10, F11
func TestSignedByDeniedOrRetiringKey(t *testing.T) {
	w := newSignedWorld(t)
	early := w.good()
	w.trust()
	assert.Equal(t, [2]string{"unknown_issuer", "unknown_issuer"}, w.doors("denied", early, "agent"))
	w.trust(w.acme.keys[0].NotAfter(w.now()))
	w.ns.Add(int64(time.Second))
	late := w.good()
	assert.Equal(t, [2]string{"forged", "forged"}, w.doors("after its time", late, "agent"))
	assert.Equal(t, http.StatusSeeOther, w.client().get("/login?ta="+early).status)
}

// The directory's rules hold for signed tickets as for those of other named issuers.
func TestSignedTicketsDetails(t *testing.T) {
	w := newSignedWorld(t)
	for name, change := range map[string]func(*token.Ticket){
		"another email":   func(tk *token.Ticket) { tk.Email = "ann@example.com" },
		"a username only": func(tk *token.Ticket) { tk.Email = "" },
		"nobody":          func(tk *token.Ticket) { tk.Username = "nobody" },
		"inactive":        func(tk *token.Ticket) { tk.Username, tk.Email = "gone", "gone@example.com" },
	} {
		reasons := w.doors(name, w.issue(w.acme, w.us, "r", change), "agent")
		assert.Equal(t, [2]string{"refused_by_caller", "refused_by_caller"}, reasons, name)
	}
	phone := w.issue(w.acme, w.us, "r", func(tk *token.Ticket) { shortJane(tk); tk.Phone1 = "+999999" })
	assert.Equal(t, [2]string{"refused_by_caller", "refused_by_caller"}, w.doors("no phone", phone, "customer"))
}

// Two issuers have a key with the same ID: each ticket is its own issuer's.
//
// trap F5
func TestSameSigningKeyID(t *testing.T) {
	w := newSignedWorld(t)
	for _, s := range []*signer{&w.acme, &w.beta} {
		h, err := keyset.NewHandle(signature.ED25519KeyTemplate())
		require.NoError(t, err)
		*s = signerOf(t, s.name, withID(t, h, 0x0b0b0b0b))
	}
	w.trust(w.acme.keys...)
	key := w.redeemKey("commbox")
	for _, by := range []signer{w.acme, w.beta} {
		v := w.spend(redeemPath, key, map[string]any{"ticket": w.issue(by, w.us, "r", nil), "audience": "agent"})
		require.Equal(t, "admitted", v.Data.Result, v.body)
		assert.Equal(t, by.name, v.Data.Ticket.Issuer)
		assert.Equal(t, "0b0b0b0b", v.Data.Ticket.SigningKey)
	}
	mixed := signer{"beta", nil, w.acme} // acme's key in beta's name
	assert.Equal(t, [2]string{"forged", "forged"}, w.doors("mixed", w.issue(mixed, w.us, "r", nil), "agent"))
}
