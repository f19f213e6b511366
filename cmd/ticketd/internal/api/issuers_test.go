package api

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/admitone/admitone/cmd/ticketd/internal/audit"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
)

// newIssuersWorld returns a world that knows the issuer acme-hr, for the brands commbox and
// acme, and makes its tickets.
func newIssuersWorld(
	t *testing.T, change func(*verify.Grant), configure ...func(*Config),
) (*world, func(change func(*token.Ticket)) string) {
	t.Helper()
	keys, err := token.NewKeyset(handle(t, aead.AES256GCMKeyTemplate()))
	require.NoError(t, err)
	g := verify.Grant{
		Brands: []string{"commbox", "acme"}, Audiences: []token.Audience{token.Agent, token.Customer}, ManyTimes: true,
	}
	if change != nil {
		change(&g)
	}
	issuers, err := verify.NewIssuers(verify.Issuer{Name: "acme-hr", Keys: keys, Grant: g})
	require.NoError(t, err)
	w := newWorldWith(t, issuers, filepath.Join(t.TempDir(), "directory.db"), configure...)
	issuer, err := token.NewIssuer(token.Config{Sealer: keys, Realm: "r", Now: w.now})
	require.NoError(t, err)
	return w, func(change func(*token.Ticket)) string {
		tk := &token.Ticket{
			Audience: token.Agent, OneTime: true, Brand: "commbox", Username: "JOHN.D",
			Email: "John.D@gmail.com", Actor: "portal",
		}
		if change != nil {
			change(tk)
		}
		text, err := issuer.Issue(tk)
		require.NoError(t, err)
		w.secrets = append(w.secrets, text)
		return text
	}
}

// janeTicket makes a ticket a customer's.
func janeTicket(tk *token.Ticket) {
	*tk = token.Ticket{Audience: token.Customer, OneTime: true, Brand: "commbox", Email: "jane@example.com"}
}

// The answers, the log, the metrics and the check name the issuer of a ticket, and its word
// about the actor is told as its word.
func TestNamedIssuer(t *testing.T) {
	w, issue := newIssuersWorld(t, nil)
	key := w.redeemKey("commbox")
	v := w.spend(inspectPath, key, map[string]any{"ticket": issue(nil), "audience": "agent"})
	require.Equal(t, "acceptable", v.Data.Result, v.body)
	assert.Equal(t, "acme-hr", v.Data.Ticket.Issuer)
	v = w.spend(redeemPath, key, map[string]any{"ticket": issue(nil), "audience": "agent"})
	require.Equal(t, "admitted", v.Data.Result, v.body)
	assert.Equal(t, "acme-hr", v.Data.Ticket.Issuer)
	assert.Contains(t, w.log.String(), "issuer=acme-hr")

	john := w.client()
	require.Equal(t, http.StatusSeeOther, john.get("/login?ta="+issue(nil)).status)
	check := john.get("/auth/brand/commbox/check")
	assert.Equal(t, "john.d", check.header.Get("Remote-User"), "as the record has it")
	assert.Equal(t, "acme-hr", check.header.Get("Admitone-Issuer"))
	assert.Equal(t, "acme-hr/portal", check.header.Get("Admitone-Actor"))

	v = w.spend(redeemPath, key, map[string]any{
		"ticket": issue(func(tk *token.Ticket) { tk.Lifetime = 2 * time.Minute }), "audience": "agent",
	})
	assert.Equal(t, http.StatusForbidden, v.status)
	assert.Equal(t, "issuer_not_allowed", v.Data.Reason)
	assert.Contains(t, w.log.String(), `cause="the issuer may not issue tickets of this lifetime"`)
	for _, line := range []string{
		`ticketd_issuer_tickets_total{issuer="acme-hr",result="accepted"} 3`,
		`ticketd_issuer_tickets_total{issuer="acme-hr",result="issuer_not_allowed"} 1`,
	} {
		assert.Contains(t, w.scrape(), line)
	}
}

// The sessions of an issuer that is no longer known are over.
//
// trap F10
func TestDeniedIssuersSessions(t *testing.T) {
	w, issue := newIssuersWorld(t, nil)
	john, own := w.client(), w.client()
	require.Equal(t, http.StatusSeeOther, john.get("/login?ta="+issue(nil)).status)
	require.Equal(t, http.StatusSeeOther, own.get("/login?ta="+w.ticket(w.key, reference)).status)
	assert.Equal(t, http.StatusOK, john.get("/auth/brand/commbox/check").status)
	w.denied.Store(true)
	assert.Equal(t, http.StatusUnauthorized, john.get("/auth/brand/commbox/check").status)
	assert.Equal(t, http.StatusForbidden, john.get("/login").status)
	assert.Equal(t, http.StatusOK, own.get("/auth/brand/commbox/check").status)
}

// The sessions of a denied issuer stay over when the issuer is back, in the service that denied
// the issuer and in every other one.
//
// trap F10
func TestIssuersSessionsSince(t *testing.T) {
	w, issue := newIssuersWorld(t, nil)
	enter := func() *browser {
		c := w.client()
		require.Equal(t, http.StatusSeeOther, c.get("/login?ta="+issue(nil)).status)
		return c
	}
	check := func(c *browser) int { return c.get("/auth/brand/commbox/check").status }
	see := func(denied bool) {
		require.NoError(t, w.directory.SeeIssuers(t.Context(), "another service", w.now(),
			[]directory.IssuerEntry{{Name: "acme-hr", Denied: denied}}))
	}
	own := w.client()
	require.Equal(t, http.StatusSeeOther, own.get("/login?ta="+w.ticket(w.key, reference)).status)
	john := enter()
	see(false)
	w.ns.Add(int64(ownerKnown))
	assert.Equal(t, http.StatusOK, check(john))
	see(true)
	w.ns.Add(int64(ownerKnown))
	assert.Equal(t, http.StatusUnauthorized, check(john))
	see(false)
	assert.Equal(t, http.StatusUnauthorized, check(john))
	john = enter()
	assert.Equal(t, http.StatusOK, check(john))
	w.ns.Add(int64(ownerKnown))
	assert.Equal(t, http.StatusOK, check(john))

	w.ns.Add(int64(time.Millisecond))
	w.since.Store(w.now().Truncate(time.Millisecond).UnixNano())
	assert.Equal(t, http.StatusUnauthorized, check(john))
	assert.Equal(t, http.StatusOK, check(enter()))
	assert.Equal(t, http.StatusOK, check(own))
}

// An issuer elsewhere has not asked the directory, so the directory is asked at the
// redemption, as /auth/ticket asks it: an agent's required fields and details, and the form of
// telephone numbers. Which detail is wrong is told to operators only.
func TestNamedIssuersDetails(t *testing.T) {
	w, issue := newIssuersWorld(t, nil)
	key := w.redeemKey()
	mary := func(tk *token.Ticket) {
		tk.Brand, tk.Username, tk.Email, tk.Phone1 = "acme", "mary", "mary@example.com", "+12121234567"
		tk.Lifetime = 30 * time.Second
	}
	for name, c := range map[string]struct {
		change func(*token.Ticket)
		cause  string // "" admits
	}{
		"all as in the record": {func(tk *token.Ticket) {
			tk.Phone1, tk.UniqueID, tk.FirstName, tk.LastName = "+442501234567", "123456", "John", "Doe"
		}, ""},
		"another email":   {func(tk *token.Ticket) { tk.Email = "ann@example.com" }, "email not as in the record"},
		"another phone":   {func(tk *token.Ticket) { tk.Phone1 = "+442501234568" }, "phone1 not as in the record"},
		"another ID":      {func(tk *token.Ticket) { tk.UniqueID = "1" }, "uniqueId not as in the record"},
		"another name":    {func(tk *token.Ticket) { tk.FirstName = "Ann" }, "firstName not as in the record"},
		"a username only": {func(tk *token.Ticket) { tk.Email = "" }, "email is missing, and so are phone1 and uniqueId"},
		"a placeholder":   {func(tk *token.Ticket) { tk.UniqueID = "undefined" }, "uniqueId not as in the record"},
		"inactive":        {func(tk *token.Ticket) { tk.Username, tk.Email = "gone", "gone@example.com" }, "the agent is inactive"},
		"nobody":          {func(tk *token.Ticket) { tk.Username = "nobody" }, "the agent is not in the directory"},
		"required fields": {mary, ""},
		"a required field is missing": {func(tk *token.Ticket) { mary(tk); tk.Phone1 = "" },
			"phone1 is missing; the brand requires it of its agents"},
		"a customer":         {janeTicket, ""},
		"a customer's phone": {func(tk *token.Ticket) { janeTicket(tk); tk.Phone1 = "+12121234567" }, ""},
		"no phone number":    {func(tk *token.Ticket) { janeTicket(tk); tk.Phone1 = "+999999" }, "phone1 "},
		"a customer called undefined": {func(tk *token.Ticket) { janeTicket(tk); tk.UniqueID = "undefined" },
			"uniqueId is what programs write"},
	} {
		ticket := issue(c.change)
		fields := map[string]any{"ticket": ticket, "audience": "agent"}
		if strings.Contains(name, "customer") || name == "no phone number" {
			fields["audience"] = "customer"
		}
		for range 2 { // a refusal spends nothing
			before := len(w.log.String())
			v := w.spend(redeemPath, key, fields)
			if c.cause == "" {
				assert.Equal(t, "admitted", v.Data.Result, "%s: %s", name, v.body)
				break
			}
			assert.Equal(t, "refused_by_caller", v.Data.Reason, name)
			assert.Contains(t, w.log.String()[before:], c.cause, name)
			if strings.Contains(c.cause, "as in the record") {
				assert.NotContains(t, v.body, c.cause, name)
				assert.Contains(t, v.body, errDetails.Error(), name)
			}
		}
	}
}

// A flood of one issuer is refused as such, with 429, and leaves the others alone.
//
// trap F16
func TestNamedIssuersRate(t *testing.T) {
	w, issue := newIssuersWorld(t, func(g *verify.Grant) { g.Rate = 2 })
	key := w.redeemKey("commbox")
	redeem := func(ticket string) verdict {
		return w.spend(redeemPath, key, map[string]any{"ticket": ticket, "audience": "agent"})
	}
	for i := range 5 {
		v := redeem(issue(nil))
		if i < 2 {
			assert.Equal(t, "admitted", v.Data.Result, v.body)
			continue
		}
		assert.Equal(t, http.StatusTooManyRequests, v.status)
		assert.Equal(t, "cannot_tell", v.Data.Result)
		assert.Equal(t, "issuer_over_rate", v.Data.Reason)
		assert.Equal(t, "5", v.header.Get("Retry-After"))
		assert.Equal(t, http.StatusTooManyRequests, w.client().get("/login?ta="+issue(nil)).status)
		assert.Equal(t, "admitted", redeem(w.ticket(w.key, reference)).Data.Result)
	}
}

// fixed seals all tickets under one ID.
type fixed struct{ tink.AEAD }

func (f fixed) Encrypt(payload, ad []byte) ([]byte, error) {
	if len(payload) > 18 {
		copy(payload[2:18], "0123456789abcdef")
	}
	return f.AEAD.Encrypt(payload, ad)
}

// Two issuers' tickets with one ID: each changes the record once, and a revocation is of one
// of them. The audit trail tells them apart.
//
// trap F15
func TestSameIDOfTwoIssuers(t *testing.T) {
	keys, err := token.NewKeyset(handle(t, aead.AES256GCMKeyTemplate()))
	require.NoError(t, err)
	others, err := token.NewKeyset(handle(t, aead.AES256GCMKeyTemplate()))
	require.NoError(t, err)
	g := verify.Grant{Brands: []string{"commbox"}, Audiences: []token.Audience{token.Customer}, Override: true}
	issuers, err := verify.NewIssuers(verify.Issuer{Name: "one", Keys: keys, Grant: g},
		verify.Issuer{Name: "two", Keys: others, Grant: g})
	require.NoError(t, err)
	var trail *audit.Trail
	w := newWorldWith(t, issuers, filepath.Join(t.TempDir(), "directory.db"), func(c *Config) {
		trail, err = audit.Start(t.Context(), audit.Config{
			Directory: c.Directory, Name: "m", Retention: time.Hour, Log: c.Log,
			Written: func(int) {}, Dropped: func(int) {}, Now: c.Now,
		})
		require.NoError(t, err)
		c.Audit = trail
	})
	key := w.redeemKey("commbox")
	issue := func(sealer tink.AEAD, name string) string {
		i, err := token.NewIssuer(token.Config{Sealer: fixed{sealer}, Realm: "r", Now: w.now})
		require.NoError(t, err)
		text, err := i.Issue(&token.Ticket{
			Audience: token.Customer, OneTime: true, Brand: "commbox", Email: "jane@example.com",
			FirstName: name, OverrideUserInfo: true,
		})
		require.NoError(t, err)
		w.secrets = append(w.secrets, text)
		return text
	}
	for _, sealer := range []tink.AEAD{keys, others} {
		name := fmt.Sprintf("%p", sealer)
		fields := map[string]any{"ticket": issue(sealer, name), "audience": "customer", "binding": strings.Repeat("b", 16)}
		for range 2 { // the second is a retry with the same binding
			v := w.spend(redeemPath, key, fields)
			require.Equal(t, "admitted", v.Data.Result, v.body)
			assert.Equal(t, name, v.Data.Customer.FirstName)
		}
		delete(fields, "binding")
		assert.Equal(t, "already_used", w.spend(redeemPath, key, fields).Data.Reason)
	}
	id := fmt.Sprintf("%x", "0123456789abcdef")
	revoke := func() response {
		return w.client().do(http.MethodPost, "/auth/revoke",
			strings.NewReader(`{"brand":"commbox","ticketId":"`+id+`","issuer":"one"}`),
			map[string]string{"Authorization": "Bearer " + w.key, "Content-Type": "application/json"})
	}
	res := revoke()
	assert.Equal(t, http.StatusBadRequest, res.status, "nobody knows the issuer")
	assert.Contains(t, res.body, "is no issuer that a service has had in its list")
	require.NoError(t, w.directory.SeeIssuers(t.Context(), "service", w.now(), []directory.IssuerEntry{{Name: "one"}}))
	res = revoke()
	assert.Equal(t, http.StatusOK, res.status)
	assert.Contains(t, res.body, `"issuer":"one"`)
	revoked := func(sealer tink.AEAD) bool {
		v := w.spend(inspectPath, key, map[string]any{"ticket": issue(sealer, "x"), "audience": "customer"})
		return v.Data.Reason == "refused_by_caller"
	}
	assert.True(t, revoked(keys))
	assert.False(t, revoked(others))

	require.NoError(t, trail.Close())
	page, err := w.directory.Events(t.Context(), directory.EventFilter{Brand: "commbox", Ticket: id}, "", 100)
	require.NoError(t, err)
	count := map[string]int{}
	for _, e := range page.Events {
		count[e.Action+" "+e.Issuer]++
	}
	assert.Equal(t, 1, count["ticket.revoke one"], count)
	assert.NotZero(t, count["ticket.redeem two"], count)
	assert.NotZero(t, count["ticket.redeem one"], count)
	assert.NotZero(t, count["customer.set two"]+count["customer.add two"], count)
	for action := range count {
		assert.False(t, strings.HasSuffix(action, " "), "every event names its issuer: %q", action)
	}
}
