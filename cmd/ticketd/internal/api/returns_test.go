package api

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
)

// A slash at the end and other letter case lead to the pages, with the query and by any
// method.
func TestPathsOfPages(t *testing.T) {
	w := newWorld(t)
	chat := w.chatPath("commbox", "web")
	code := strings.TrimPrefix(chat, "/chat/")
	customer := `{"brand":"commbox","email":"jane@example.com","oneTimeUse":true}`
	for _, row := range []struct{ path, body, redirect string }{
		{"/login", reference, ""},
		{"/LOGIN", reference, ""},
		{"/login/", reference, "/login"},
		{"/Login/", reference, "/Login"},
		{chat, customer, ""},
		{"/Chat/" + code, customer, ""},
		{chat + "/", customer, chat},
		{"/CHAT/" + code + "/", customer, "/CHAT/" + code},
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			c := w.client()
			query := "?x=%2F&ta=" + w.ticket(w.key, row.body)
			res := c.do(method, row.path+query, nil, nil)
			if row.redirect != "" {
				require.Equal(t, http.StatusPermanentRedirect, res.status, row.path)
				assert.Equal(t, "no-referrer", res.header.Get("Referrer-Policy"))
				to, err := res.url.Parse(res.header.Get("Location"))
				require.NoError(t, err)
				assert.Equal(t, row.redirect+query, to.RequestURI())
				res = c.do(method, to.RequestURI(), nil, nil)
			}
			assert.Equal(t, http.StatusSeeOther, res.status, "%s %s: %s", method, row.path, res.body)
		}
	}
	assert.Equal(t, http.StatusForbidden, w.client().get("/chat/"+strings.ToUpper(code)+"?ta=x").status)
	assert.Equal(t, http.StatusPermanentRedirect, w.client().do(http.MethodPost, "/logout/", nil, nil).status)
}

// A page's looks come from the URL and never from a refused ticket.
func TestLooksOfRefusals(t *testing.T) {
	w := newWorld(t)
	for brand, colour := range map[string]string{"commbox": "#0a7d33", "acme": "#123456"} {
		w.brand(brand, func(b *directory.Brand) {
			b.DisplayName, b.Colour, b.FrameAncestors = "Brand "+brand, colour, []string{"https://" + brand + ".example"}
			b.AgentSignInURL = "https://" + brand + ".example/staff?r={return}"
			b.CustomerSignInURL = "https://" + brand + ".example/shop?r={return}"
		})
	}
	acme := w.ticket(w.acmeKey, `{"brand":"acme","username":"mary","email":"mary@example.com","phone1":"+12121234567"}`)
	used := w.ticket(w.key, reference)
	require.Equal(t, http.StatusSeeOther, w.client().get("/login?ta="+used).status)
	shop := w.ticket(w.acmeKey, `{"brand":"acme","email":"jane@example.com","channel":"short","expiresIn":5}`)
	for _, path := range []string{
		"/login", "/login?brand=acme", "/login?brand=none", w.chatPath("acme", "web"), w.chatPath("commbox", "web"), "/chat/x",
	} {
		join := map[bool]string{true: "&ta=", false: "?ta="}[strings.Contains(path, "?")]
		plain := w.client().get(path + join + "x")
		require.Equal(t, http.StatusForbidden, plain.status)
		for _, ticket := range []string{used, used[:len(used)-5] + "AAAAA", shop, acme[:20]} {
			res := w.client().get(path + join + ticket)
			assert.Equal(t, http.StatusForbidden, res.status, path)
			assert.Equal(t, plain.body, res.body, path)
			assert.Equal(t, plain.header.Get("Content-Security-Policy"), res.header.Get("Content-Security-Policy"))
		}
		assert.Equal(t, strings.Contains(path, "brand=acme") || path == w.chatPath("acme", "web"),
			strings.Contains(plain.body, "Brand acme"), path)
	}
}

// trap W17: a home for customers, by brand and channel, and other sites on the list only.
func TestHomeOfCustomers(t *testing.T) {
	w := newWorld(t)
	w.brand("commbox", func(b *directory.Brand) {
		b.CustomerHome, b.ReturnOrigins = "/welcome", []string{"https://shop.example.com"}
	})
	chat := w.chatPath("commbox", "web")
	enter := func(more string) string {
		ticket := w.ticket(w.key, `{"brand":"commbox","email":"jane@example.com","oneTimeUse":true}`)
		res := w.client().get(chat + "?ta=" + ticket + more)
		require.Equal(t, http.StatusSeeOther, res.status, res.body)
		return res.header.Get("Location")
	}
	assert.Equal(t, "/welcome", enter(""))
	assert.Equal(t, "/other", enter("&next=/other"))
	assert.Equal(t, "https://shop.example.com/cart", enter("&next=https://shop.example.com/cart"))
	assert.Equal(t, "/welcome", enter("&next=https://evil.example/"))
	assert.Equal(t, "/welcome", enter("&next=//shop.example.com/"))
	_, err := w.directory.UpdateChannel(t.Context(), "commbox", "web",
		func(c *directory.Channel) error { c.CustomerHome = "https://shop.example.com/account"; return nil })
	require.NoError(t, err)
	assert.Equal(t, "https://shop.example.com/account", enter(""))
	// It is not the agents'.
	assert.Equal(t, "login", w.client().get("/login?ta="+w.ticket(w.key, reference)).header.Get("Location"))
}

// trap W17: agents and customers have sign-in pages of their own. The agents' is the brand's
// or the service's, the customers' the channel's or the brand's.
func TestSignInPages(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.AgentSignInURL = "https://all.example/?r={return}" })
	w.brand("commbox", func(b *directory.Brand) { b.AgentSignInURL = "https://staff.example/?r={return}" })
	web, closed := w.chatPath("commbox", "web"), w.chatPath("commbox", "closed")
	agents := map[string]string{
		"/login":                             "https://all.example",
		"/login?brand=acme":                  "https://all.example",
		"/login?brand=none":                  "https://all.example",
		"/login?brand=commbox":               "https://staff.example",
		"/login?to=/x?&brand=commbox":        "https://all.example",
		"/login?brand=commbox&to=/&brand=no": "https://staff.example",
	}
	leads := func(pages map[string]string) {
		t.Helper()
		for path, want := range pages {
			res := w.client().get(path)
			if want == "" {
				assert.Equal(t, http.StatusForbidden, res.status, path)
				assert.NotContains(t, string(res.body), ".example/", path)
				continue
			}
			require.Equal(t, http.StatusSeeOther, res.status, path)
			to, err := url.Parse(res.header.Get("Location"))
			require.NoError(t, err)
			assert.Equal(t, want, to.Scheme+"://"+to.Host, path)
			assert.Regexp(t, `^http://login\.test/(login|chat/[^/]+)\?signin=1`, to.Query().Get("r"))
		}
	}
	leads(agents)
	leads(map[string]string{web: "", closed: "", w.chatPath("acme", "web"): "", "/chat/x": ""})

	w.brand("commbox", func(b *directory.Brand) { b.CustomerSignInURL = "https://shop.example/?r={return}" })
	_, err := w.directory.UpdateChannel(t.Context(), "commbox", "web",
		func(c *directory.Channel) error { c.CustomerSignInURL = "https://web.example/?r={return}"; return nil })
	require.NoError(t, err)
	leads(agents)
	leads(map[string]string{web: "https://web.example", closed: "https://shop.example", w.chatPath("acme", "web"): ""})

	out := w.client().do(http.MethodPost, "/logout", nil, nil)
	assert.Equal(t, "login?signin=1", out.header.Get("Location"), "who signs out stays so")
}

// trap W17: a check sends nobody to the entry that the proxy's configuration names. What the
// proxy's client chooses, behind the check's path, sends nobody anywhere.
func TestEntryOfCheck(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.AnyBrandCheck = false })
	from := map[string]string{"X-Forwarded-Uri": "/inbox?x=1"}
	for path, want := range map[string]string{
		"/auth/brand/commbox/check?entry=/login?brand=commbox": "/login?brand=commbox&to=/inbox?x=1",
		"/auth/brand/commbox/check-customer?entry=/chat/x":     "/chat/x?to=/inbox?x=1",
		"/auth/brand/commbox/check":                            "",
		"/auth/brand/commbox/check/?entry=/login":              "",
		"/auth/brand/commbox/check/x?entry=/login":             "",
		"/auth/brand/commbox/check?entry=//evil.example":       "",
		"/auth/check?entry=/login":                             "",
	} {
		res := w.client().do(http.MethodGet, path, nil, from)
		assert.Equal(t, want, res.header.Get("Location"), path)
		if want == "" {
			assert.Equal(t, http.StatusUnauthorized, res.status, path)
		} else {
			assert.Equal(t, http.StatusSeeOther, res.status, path)
		}
	}
}

// An agent of another brand, sent here by an application of a brand, signs in at that brand's
// page, and is not led back to an application that sends the agent here again.
func TestSignInForAnotherBrand(t *testing.T) {
	w := newWorld(t)
	w.brand("acme", func(b *directory.Brand) { b.AgentSignInURL = "https://acme.example/?r={return}" })
	c := w.client()
	require.Equal(t, http.StatusSeeOther, c.get("/login?ta="+w.ticket(w.key, reference)).status)
	assert.Equal(t, http.StatusOK, c.get("/login?to=/inbox").status)
	assert.Equal(t, http.StatusOK, c.get("/login?brand=commbox&to=/inbox").status)
	res := c.get("/login?brand=acme&to=/inbox")
	assert.Equal(t, http.StatusSeeOther, res.status)
	assert.Contains(t, res.header.Get("Location"), "https://acme.example/")
}
