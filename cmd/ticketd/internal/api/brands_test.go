package api

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/verify/web"
)

// twoBrands is a world in which commbox and acme have an agent and a customer of the same
// name each.
func twoBrands(t *testing.T, change ...func(*Config)) *world {
	t.Helper()
	w := newWorld(t, change...)
	for _, brand := range []string{"commbox", "acme"} {
		w.brand(brand, func(b *directory.Brand) { b.RequiredAgentFields = nil })
		require.NoError(t, w.directory.AddAgent(t.Context(), directory.Agent{Brand: brand, Username: "admin",
			Email: "admin@" + brand + ".example", Groups: []string{"of-" + brand}, Active: true}))
	}
	return w
}

// enter takes a browser to an agent's and a customer's session of a brand, and returns the
// statuses.
func (c *browser) enter(brand string) (agent, customer int) {
	c.t.Helper()
	agent = c.get("/login?ta=" + c.ticket(c.anyKey, `{"brand":"`+brand+`","username":"admin",`+
		`"email":"admin@`+brand+`.example","oneTimeUse":true}`)).status
	customer = c.get(c.chatPath(brand, "web") + "?ta=" + c.ticket(c.anyKey,
		`{"brand":"`+brand+`","email":"jane@example.com","oneTimeUse":true}`)).status
	c.latest()
	return agent, customer
}

// latest keeps the latest cookie of each name, as browsers do.
func (c *browser) latest() {
	var kept []*http.Cookie
	for i, cookie := range c.cookies {
		later := func(o *http.Cookie) bool { return o.Name == cookie.Name }
		if !slices.ContainsFunc(c.cookies[i+1:], later) {
			kept = append(kept, cookie)
		}
	}
	c.cookies = kept
}

// trap W10: agent admin of one brand is nobody at the other brand's check, and nothing
// that the proxy's client chooses changes that.
func TestCheckOfBrand(t *testing.T) {
	w := twoBrands(t, func(c *Config) { c.AnyBrandCheck = false })
	c := w.client()
	agent, customer := c.enter("acme")
	require.Equal(t, []int{303, 303}, []int{agent, customer})
	for _, check := range []string{"check", "check-customer"} {
		own := c.get("/auth/brand/acme/" + check + "/inbox?x=1")
		require.Equal(t, http.StatusOK, own.status)
		assert.Equal(t, "acme", own.header.Get("Admitone-Brand"))
		for _, path := range []string{
			"/auth/brand/commbox/" + check,
			"/auth/brand/commbox/" + check + "/",
			"/auth/brand/commbox/" + check + "/acme",
			"/auth/brand/commbox/" + check + "/../../acme/" + check,
			"/auth/brand/commbox/" + check + "/..%2f..%2facme/" + check,
			"/auth/brand/commbox/" + check + "/%2e%2e/%2e%2e/acme/" + check,
			"/auth/brand/commbox/" + check + "//auth/brand/acme/" + check,
			"/auth/brand/commbox/" + check + "?brand=acme",
			"/auth/brand/commbox/" + check + "/x?brand=acme&ta=tkt1_x",
			"/auth/brand/ACME/" + check,
			"/auth/brand/acme%20/" + check,
			"/auth/brand/%00/" + check,
			"/auth/brand//" + check,
			"/auth/brand/nobody/" + check,
			"/auth/" + check,
			"/auth/" + check + "/brand/acme",
			"/auth/" + check + "?brand=acme",
		} {
			for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodHead, http.MethodOptions} {
				res := c.do(method, path, nil, map[string]string{
					"Admitone-Brand": "acme", "X-Forwarded-Uri": "/auth/brand/acme/check", "X-Original-Url": "/auth/brand/acme/check",
					"X-Forwarded-Prefix": "/auth/brand/acme/check", "X-Forwarded-Host": "acme",
				})
				assert.NotEqual(t, http.StatusOK, res.status, path)
				assert.Empty(t, res.header.Get("Remote-User"), path)
				assert.Empty(t, res.header.Get("Remote-Groups"), path)
			}
		}
	}
	assert.Equal(t, 2, strings.Count(w.log.String(), "a check without a brand lets nobody pass"), "once for each audience")

	any := twoBrands(t).client()
	any.enter("acme")
	for _, path := range []string{"/auth/check", "/auth/check-customer"} {
		res := any.get(path)
		assert.Equal(t, http.StatusOK, res.status)
		assert.Equal(t, "acme", res.header.Get("Admitone-Brand"))
	}
	assert.Equal(t, http.StatusUnauthorized, any.get("/auth/brand/commbox/check").status)
}

// trap W11: a ticket of a brand that replaces sessions does not replace the session of a
// brand that asks or refuses, for agents and for customers, nor does a channel's.
func TestPolicyOfTheOtherSession(t *testing.T) {
	for _, policy := range []string{directory.Replace, directory.Confirm, directory.Refuse} {
		want := map[string]int{directory.Replace: 303, directory.Confirm: 200, directory.Refuse: 409}[policy]
		w := twoBrands(t)
		w.brand("commbox", func(b *directory.Brand) { b.OtherUser = policy })
		c := w.client()
		agent, customer := c.enter("commbox")
		require.Equal(t, []int{303, 303}, []int{agent, customer})
		agent, customer = c.enter("acme")
		assert.Equal(t, []int{want, want}, []int{agent, customer}, policy)
		kept := "commbox"
		if policy == directory.Replace {
			kept = "acme"
		}
		assert.Equal(t, http.StatusOK, c.get("/auth/brand/"+kept+"/check").status, policy)
		assert.Equal(t, http.StatusOK, c.get("/auth/brand/"+kept+"/check-customer").status, policy)

		// The other way round the ticket's policy counts as it ever did.
		c = w.client()
		c.enter("acme")
		agent, customer = c.enter("commbox")
		assert.Equal(t, []int{want, want}, []int{agent, customer}, policy)
	}
	w := newWorld(t)
	_, err := w.directory.UpdateChannel(t.Context(), "acme", "web",
		func(c *directory.Channel) error { c.OtherUser = directory.Refuse; return nil })
	require.NoError(t, err)
	c := w.client()
	enter := func(channel, email string) int {
		c.latest()
		return c.get(w.chatPath("acme", channel) + "?ta=" +
			w.ticket(w.acmeKey, `{"brand":"acme","email":"`+email+`","oneTimeUse":true,"expiresIn":5}`)).status
	}
	require.Equal(t, 303, enter("web", "a@example.com"))
	assert.Equal(t, 409, enter("short", "b@example.com"), "a laxer channel of the brand")
	assert.Equal(t, 303, enter("short", "a@example.com"), "the same person")
	assert.Equal(t, 409, enter("web", "b@example.com"), "a ticket for the stricter channel")
	assert.Equal(t, 303, enter("short", "b@example.com"), "both lax")

	// Another site's form, with which the browser withholds its session, asks first if any
	// brand or channel has a policy.
	foreign := map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
	form := func() int {
		return w.client().post("/login", url.Values{"ta": {w.ticket(w.key, reference)}}, foreign).status
	}
	s := &server{Config: Config{Directory: w.directory}}
	for policy, want := range map[string]web.Switch{
		directory.Refuse: web.RefuseUser, directory.Confirm: web.ConfirmUser,
		directory.Replace: web.ReplaceUser, "": web.ReplaceUser,
	} {
		_, err := w.directory.UpdateChannel(t.Context(), "acme", "web",
			func(c *directory.Channel) error { c.OtherUser = policy; return nil })
		require.NoError(t, err)
		got, err := s.switchOf(t.Context(), web.Session{})
		require.NoError(t, err)
		assert.Equal(t, want, got, policy)
		assert.Equal(t, want == web.ReplaceUser, form() == http.StatusSeeOther, policy)
	}

	// If the directory cannot tell, the session stays.
	require.NoError(t, w.directory.Close())
	_, err = s.switchOf(t.Context(), web.Session{})
	assert.Error(t, err)
	_, err = s.switchOf(t.Context(), web.Session{Brand: "acme", Channel: "web"})
	assert.Error(t, err)
}
