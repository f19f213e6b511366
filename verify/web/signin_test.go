package web

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// signInWorld is a world with a sign-in page elsewhere.
func signInWorld(t *testing.T) *world {
	w := newWorld(t)
	w.sessions.PublicURL = "https://login.example.com"
	w.Logout = "logout"
	w.looks(Page{
		SignIn: "https://crm.example.com/signin?x=1&return={return}&y=2", Home: "/home",
		ReturnOrigins: []string{"https://shop.example.com", "https://shop.example.com:8443"},
	})
	return w.start()
}

// trap W10: on a page of one brand, somebody with another brand's session is nobody, and
// signs in there.
func TestSessionOfAnotherBrand(t *testing.T) {
	page := Page{SignIn: "https://crm.example.com/signin?return={return}", SessionBrand: "commbox"}
	w := newWorld(t)
	w.sessions.PublicURL = "https://login.example.com"
	w.Page = func(*http.Request) Page { return page }
	w.start()
	b := w.browser()
	w.entered(b.get("/login?ta=" + w.issue(nil)))
	assert.Equal(t, http.StatusOK, b.get("/login?to=/inbox").StatusCode)
	page.SessionBrand = "acme"
	assert.Contains(t, b.get("/login?to=/inbox").Header.Get("Location"), "https://crm.example.com/")
	page.SignIn = ""
	assert.Equal(t, http.StatusForbidden, b.get("/login?to=/inbox").StatusCode)
	w.entered(b.get("/login?ta=" + w.issue(nil)))
}

// trap W17: who is not signed in and wants to go somewhere is sent to the sign-in page, and
// ends there after coming back with a ticket.
func TestSignIn(t *testing.T) {
	w := signInWorld(t)
	for sent, want := range map[string]string{
		"next=/inbox%3Fa%3D1%26b%3D2":             "/inbox?a=1&b=2",
		"to=/inbox?a=1&b=2":                       "/inbox?a=1&b=2",
		"lang=en&to=/inbox?next=//evil":           "/inbox?next=//evil",
		"to=//evil.example":                       "/home",
		"to=/%5Cevil.example":                     "/home",
		"next=https://shop.example.com/cart%3Fa":  "https://shop.example.com/cart?a",
		"next=https://evil.example/":              "/home",
		"next=https://shop.example.com.evil.test": "/home",
		"": "/home",
	} {
		b := w.browser()
		res := b.get("/login?" + sent)
		require.Equal(t, http.StatusSeeOther, res.StatusCode, sent)
		assert.Equal(t, "no-store", res.Header.Get("Cache-Control"))
		to, err := res.Location()
		require.NoError(t, err)
		assert.Equal(t, "crm.example.com", to.Host)
		assert.Equal(t, "2", to.Query().Get("y"))
		back, err := url.Parse(to.Query().Get("return"))
		require.NoError(t, err)
		assert.Equal(t, "login.example.com", back.Host, "and not the Host of the request")
		assert.Equal(t, "/login", back.Path)
		assert.NotContains(t, back.String(), "evil.example")
		assert.NotContains(t, back.String(), "evil.test")

		// Without a ticket there is no second trip, but a link.
		again := b.get(back.RequestURI())
		assert.Equal(t, http.StatusForbidden, again.StatusCode)
		assert.Contains(t, again.body, `<a class="button" href="https://crm.example.com/signin?`)
		in := b.get(back.RequestURI() + "&ta=" + w.issue(nil))
		require.Equal(t, http.StatusSeeOther, in.StatusCode)
		assert.Equal(t, want, in.Header.Get("Location"), sent)
	}
	// Only a person's own navigation goes there.
	for _, h := range [][]string{
		{"Sec-Purpose", "prefetch"}, {"User-Agent", previews[0]}, {"Sec-Fetch-Dest", "iframe", "Sec-Fetch-Mode", "navigate"},
	} {
		assert.Equal(t, http.StatusForbidden, w.browser().get("/login", h...).StatusCode, h)
	}
	assert.Equal(t, http.StatusForbidden, w.browser().do(http.MethodHead, "/login", "").StatusCode)
	refused := w.browser().get("/login?ta=x&next=/inbox")
	assert.Equal(t, http.StatusForbidden, refused.StatusCode)
	assert.Contains(t, refused.body, `href="https://crm.example.com/signin?`, "a refusal has a way on, too")
}

// The raw way on takes no ticket along.
func TestRawNextWithTicket(t *testing.T) {
	w := signInWorld(t)
	in := w.browser().get("/login?to=/inbox?a=1&ta=" + w.issue(nil))
	assert.Equal(t, "/inbox?a=1", w.entered(in))
}

// Who is signed in has a way on, and a sign-out.
func TestSignedIn(t *testing.T) {
	w := signInWorld(t)
	b := w.browser()
	w.entered(b.get("/login?ta=" + w.issue(nil)))
	page := b.get("/login?next=https://shop.example.com/cart")
	assert.Contains(t, page.body, "You are signed in as")
	assert.Contains(t, page.body, `<a class="button" href="https://shop.example.com/cart">Continue</a>`)
	assert.Contains(t, b.get("/login?next=https://evil.example").body, `href="/home"`)
	assert.Contains(t, page.Header.Get("Content-Security-Policy"), "form-action 'self' https://shop.example.com ")
	assert.Equal(t, http.StatusSeeOther, b.press(page, ownForm...).StatusCode)
	assert.Empty(t, b.user())

	w = newWorld(t).start()
	b = w.browser()
	w.entered(b.get("/login?ta=" + w.issue(nil)))
	assert.Contains(t, b.get("/login").body, "You can close this page")
}

// trap W6: other sites are exact https origins, letter by letter.
func TestSafeReturn(t *testing.T) {
	origins := []string{"https://shop.example.com", "https://b.example:8443"}
	for next, want := range map[string]string{
		"https://shop.example.com":             "https://shop.example.com/",
		"https://shop.example.com/":            "https://shop.example.com/",
		"https://shop.example.com/a?b=c#d":     "https://shop.example.com/a?b=c#d",
		"https://shop.example.com/a?ta=t&x=1":  "https://shop.example.com/a?x=1",
		"https://b.example:8443/x":             "https://b.example:8443/x",
		"/inbox":                               "/inbox",
		"https://b.example/x":                  "",
		"https://shop.example.com:443/":        "",
		"https://shop.example.com@evil.test/":  "",
		"https://shop.example.com.evil.test/":  "",
		"https://shop.example.com\\.evil.test": "",
		"https://shop.example.com?x":           "",
		"https://shop.example.com#x":           "",
		"https://shop.example.com//evil.test":  "",
		"https://shop.example.com/\tx":         "",
		"https://shop.example.com/%2f%2fx":     "",
		"https:/shop.example.com/":             "",
		"https:\\\\shop.example.com/":          "",
		"HTTPS://shop.example.com/":            "",
		"https://SHOP.example.com/":            "",
		"http://shop.example.com/":             "",
		"//shop.example.com/":                  "",
		"%68ttps://shop.example.com/":          "",
		" https://shop.example.com/":           "",
		"javascript:alert(1)":                  "",
	} {
		got, ok := safeReturn(next, origins)
		assert.Equal(t, want, got, next)
		assert.Equal(t, want != "", ok, next)
	}
}

// What cannot stand on a page is left out, and the log says so.
func TestPageReturnsChecked(t *testing.T) {
	w := newWorld(t)
	for _, origin := range []string{
		"http://a.example", "https://*.example", "https://A.example", "https://a.example/", "https://", "null", "'self'",
		"https://a.example;", "a.example",
	} {
		assert.Empty(t, Page{ReturnOrigins: []string{origin}}.checked(w.Log).ReturnOrigins, origin)
	}
	for _, home := range []string{"https://a.example/", "//a.example", "inbox", "javascript:x"} {
		assert.Empty(t, Page{Home: home}.checked(w.Log).Home, home)
	}
	for _, signIn := range []string{
		"https://a.example/?r=", "http://a.example/?r={return}", "//a.example/?r={return}", "https://a.example/{return}",
		"https://a.example/?r={return}{return}", "https://{return}/?", "javascript:x?{return}", "https://a.example/#?{return}",
		"https://u:p@a.example/?r={return}", "https://a.example/ ?r={return}",
	} {
		assert.Empty(t, Page{SignIn: signIn}.checked(w.Log).SignIn, signIn)
	}
	assert.NotEmpty(t, Page{SignIn: "http://localhost:3000/?r={return}"}.checked(w.Log).SignIn)
	// Without a public URL nobody can come back.
	h := &Handler{}
	r := httptest.NewRequest(http.MethodGet, "/login", nil)
	assert.Empty(t, h.signInURL(r, Page{SignIn: "https://a.example/?r={return}"}))
}
