package web

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
)

// trap W5: every answer has every identity header, empty where there is none
// (GHSA-7r4p-vjf4-gxv4), and the check never spends a ticket.
func TestCheck(t *testing.T) {
	w := newWorld(t).start()
	names, err := Headers{}.names()
	require.NoError(t, err)
	b := w.browser()
	forged := []string{"Remote-User", "admin", "Admitone-Brand", "x", "Cookie", "__Host-admitone-agent=x"}
	ticket := w.issue(func(tk *token.Ticket) { tk.Email, tk.Actor = "", "" })
	for _, res := range []answer{
		b.get(
			"/auth/check", forged...,
		), b.get("/auth/check?ta=" + ticket), b.do(http.MethodPost, "/auth/check", "ta="+ticket),
	} {
		assert.Equal(t, http.StatusUnauthorized, res.StatusCode)
		assert.Equal(t, "no-store", res.Header.Get("Cache-Control"))
		assert.Empty(t, res.Cookies())
		for _, name := range names {
			v, present := res.Header[name]
			assert.True(t, present, name)
			assert.Equal(t, []string{""}, v, name)
		}
	}
	w.entered(b.get("/login?ta=" + ticket)) // unspent
	accesses := w.store.accesses
	res := b.get("/auth/check", forged[:4]...)
	assert.Equal(t, http.StatusOK, res.StatusCode)
	for _, name := range names {
		_, present := res.Header[name]
		assert.True(t, present, name)
	}
	assert.Equal(t, "john.d", res.Header.Get("Remote-User"))
	assert.Equal(t, "agent", res.Header.Get("Admitone-Audience"))
	assert.Equal(t, "commbox", res.Header.Get("Admitone-Brand"))
	assert.Regexp(t, `^[0-9a-f]{32}$`, res.Header.Get("Admitone-Ticket-Id"))
	assert.Regexp(t, `^[0-9a-f]{8}$`, res.Header.Get("Admitone-Key-Id"))
	assert.Equal(t, accesses, w.store.accesses, "a check asks no replay store")

	w.clock.add(SessionIdle / 2)
	assert.Len(t, b.get("/auth/check").Cookies(), 1, "renewed")
	w.clock.add(SessionIdle)
	assert.Equal(t, http.StatusUnauthorized, b.get("/auth/check").StatusCode)
}

func TestCheckConfig(t *testing.T) {
	s := mustSessions(t, SessionConfig{Keys: newAEAD(t)})
	h, err := NewCheck(CheckConfig{
		Sessions: s, Audience: token.Agent, AnyBrand: true, Headers: Headers{User: "x-webauth-user", Name: "X-Name"},
	})
	require.NoError(t, err)
	rec := httptest.NewRecorder()
	cookie := started(t, s, john)
	h.ServeHTTP(rec, carrying(cookie.Name, cookie.Value))
	assert.Equal(t, "john.d", rec.Header().Get("X-Webauth-User"))
	assert.Equal(t, "a,b", rec.Header().Get("Remote-Groups"))
	assert.NotContains(t, rec.Header(), "Remote-User")
	customer, err := NewCheck(CheckConfig{Sessions: s, Audience: token.Customer, AnyBrand: true})
	require.NoError(t, err)
	rec = httptest.NewRecorder()
	customer.ServeHTTP(rec, carrying(cookie.Name, cookie.Value))
	assert.Equal(t, http.StatusUnauthorized, rec.Code)

	// No check takes an administrator for somebody else.
	root := started(t, s, Session{Audience: token.Administrator, User: "root"})
	for _, audience := range []token.Audience{token.Agent, token.Customer, verify.AnyAudience} {
		check, err := NewCheck(CheckConfig{Sessions: s, Audience: audience, AnyBrand: true})
		require.NoError(t, err)
		rec = httptest.NewRecorder()
		check.ServeHTTP(rec, carrying(root.Name, root.Value))
		assert.Equal(t, http.StatusUnauthorized, rec.Code)
	}

	brandOf := func(*http.Request) string { return "commbox" }
	for field, c := range map[string]CheckConfig{
		"Sessions":   {Audience: token.Agent, AnyBrand: true},
		"Audience":   {Sessions: s, AnyBrand: true},
		"Audience ":  {Sessions: s, Audience: 4, AnyBrand: true},
		"Audience  ": {Sessions: s, Audience: token.Administrator, AnyBrand: true},
		"Brands":     {Sessions: s, Audience: token.Agent},
		"Brands ":    {Sessions: s, Audience: token.Agent, Brands: []string{"commbox", ""}},
		"AnyBrand":   {Sessions: s, Audience: token.Agent, Brands: []string{"commbox"}, AnyBrand: true},
		"AnyBrand ":  {Sessions: s, Audience: token.Agent, BrandOf: brandOf, AnyBrand: true},
		"BrandOf":    {Sessions: s, Audience: token.Agent, Brands: []string{"commbox"}, BrandOf: brandOf},
		"AnyBrand  ": {Sessions: s, Audience: token.Agent, Brands: []string{"commbox"}, BrandOf: brandOf, AnyBrand: true},
	} {
		_, err := NewCheck(c)
		var invalid *token.ConfigError
		require.ErrorAs(t, err, &invalid, field)
		assert.Equal(t, "web.CheckConfig."+strings.TrimSpace(field), invalid.Field)
	}
	for _, h := range []Headers{
		{User: "a b"}, {User: "X\r\nY"}, {User: "remote-name"}, {Name: "set-cookie"}, {Actor: "Cache-Control"},
	} {
		_, err := NewCheck(CheckConfig{Sessions: s, Audience: token.Agent, AnyBrand: true, Headers: h})
		assert.ErrorContains(t, err, "web.Headers.")
	}
}

// trap W10: a person of another brand with the same username is nobody, and nothing is
// told of them.
func TestCheckBrand(t *testing.T) {
	s := mustSessions(t, SessionConfig{Keys: newAEAD(t)})
	alpha, beta, nobodys := john, john, john
	alpha.Brand, beta.Brand, nobodys.Brand = "alpha", "beta", ""
	ofPath := func(r *http.Request) string { return r.PathValue("brand") }
	for name, c := range map[string]CheckConfig{
		"fixed":    {Brands: []string{"gamma", "alpha"}},
		"of path":  {BrandOf: ofPath},
		"any":      {AnyBrand: true},
		"no brand": {BrandOf: func(*http.Request) string { return "" }},
	} {
		c.Sessions, c.Audience = s, verify.AnyAudience
		h, err := NewCheck(c)
		require.NoError(t, err)
		for _, person := range []Session{alpha, beta, nobodys} {
			cookie := started(t, s, person)
			r := carrying(cookie.Name, cookie.Value)
			r.URL.RawQuery, r.Header["Admitone-Brand"] = "brand="+person.Brand, []string{person.Brand}
			r.SetPathValue("brand", "alpha")
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, r)
			if name == "any" || person.Brand == "alpha" && name != "no brand" {
				assert.Equal(t, http.StatusOK, rec.Code, "%s: %q", name, person.Brand)
				assert.Equal(t, person.Brand, rec.Header().Get("Admitone-Brand"))
				continue
			}
			assert.Equal(t, http.StatusUnauthorized, rec.Code, "%s: %q", name, person.Brand)
			for _, header := range []string{"Remote-User", "Remote-Groups", "Admitone-Brand", "Admitone-Ticket-Id"} {
				assert.Equal(t, []string{""}, rec.Header()[header], header)
			}
		}
	}
}

// trap W4: header values are one line of printable ASCII that decodes to the text.
func FuzzHeaderValue(f *testing.F) {
	for _, s := range []string{"", "John", " a ", "José", "a,b", "100%", "a\r\nX: 1", "\x00\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, also := range []byte{0, ','} {
			v := headerValue(s, also)
			for i := range len(v) {
				require.True(t, v[i] >= ' ' && v[i] <= '~' && (also == 0 || v[i] != also), "%q", v)
			}
			require.Equal(t, strings.TrimSpace(v), v)
			back, err := pathUnescape(v)
			require.NoError(t, err)
			require.Equal(t, s, back)
		}
	})
}

func pathUnescape(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", errors.New("cut off")
		}
		hex := "0123456789ABCDEF"
		b.WriteByte(byte(strings.IndexByte(hex, s[i+1])<<4 | strings.IndexByte(hex, s[i+2])))
		i += 2
	}
	return b.String(), nil
}

func TestLogout(t *testing.T) {
	w := newWorld(t).start()
	b := w.browser()
	w.entered(b.get("/login?ta=" + w.issue(nil)))
	assert.Equal(t, http.StatusMethodNotAllowed, b.get("/logout").StatusCode)
	for _, h := range [][]string{
		{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"},
	} {
		res := b.do(http.MethodPost, "/logout", "", h...)
		assert.Equal(t, http.StatusForbidden, res.StatusCode, h)
		assert.Empty(t, res.Cookies())
	}
	assert.Equal(t, "john.d", b.user())
	res := b.do(http.MethodPost, "/logout", "next=//evil.example", ownForm...)
	assert.Equal(t, http.StatusSeeOther, res.StatusCode)
	assert.Equal(t, "/bye", res.Header.Get("Location"))
	assert.Empty(t, b.user())
	assert.Equal(t, "/login", b.do(http.MethodPost, "/logout?next=/login", "").Header.Get("Location"))
}

// trap W13: a session of which nothing can be told now is neither good nor over. The check
// and the pages say to try again, and a ticket stays unspent.
func TestCannotTellWhoIsSignedIn(t *testing.T) {
	w := newWorld(t)
	var outage error
	w.sessions.Refresh = func(_ context.Context, s Session) (Session, error) { return s, outage }
	w.start()
	b := w.browser()
	assert.Equal(t, http.StatusUnauthorized, b.get("/auth/check").StatusCode)
	w.entered(b.get("/login?ta=" + w.issue(nil)))
	ticket := w.issue(nil)
	for outage = range slices.Values([]error{errors.New("the directory is away"), nil}) {
		status := http.StatusOK
		if outage != nil {
			status = http.StatusServiceUnavailable
		}
		for _, path := range []string{"/auth/check", "/login"} {
			res := b.get(path)
			assert.Equal(t, status, res.StatusCode, path)
			assert.Equal(t, outage != nil, res.Header.Get("Retry-After") != "", path)
			assert.Equal(t, outage == nil && path == "/auth/check", res.Header.Get("Remote-User") != "", path)
		}
		// Whoever has no session is not signed in, whatever the outage.
		assert.Equal(t, http.StatusUnauthorized, w.browser().get("/auth/check").StatusCode)
		if res := b.get("/login?ta=" + ticket); outage != nil {
			assert.Equal(t, http.StatusServiceUnavailable, res.StatusCode)
		} else {
			w.entered(res)
		}
	}
}

// trap W13: a reload with the ticket that bought the session is answered as the session is,
// also if that cannot be told now. Somebody else with the ticket is refused.
func TestReloadWithoutDirectory(t *testing.T) {
	w := newWorld(t)
	var state error
	w.sessions.Refresh = func(_ context.Context, s Session) (Session, error) { return s, state }
	w.start()
	for name, row := range map[string]struct {
		state  error
		status int
	}{
		"good": {nil, http.StatusSeeOther},
		"over": {ErrNoSession, http.StatusForbidden},
		"away": {errors.New("the directory is away"), http.StatusServiceUnavailable},
	} {
		for _, expired := range []bool{false, true} {
			state = nil
			// The ticket is spent, or its time is over.
			ticket := w.issue(func(tk *token.Ticket) { tk.OneTime = !expired })
			b := w.browser()
			w.entered(b.get("/login?ta=" + ticket))
			if expired {
				w.clock.add(token.AgentLifetime)
			}
			state = row.state
			res := b.get("/login?ta=" + ticket)
			want := row.status
			assert.Equal(t, want, res.StatusCode, "%s, expired %v", name, expired)
			assert.Equal(t, want == http.StatusServiceUnavailable, res.Header.Get("Retry-After") != "", name)
			assert.Equal(t, http.StatusForbidden, w.browser().get("/login?ta="+ticket).StatusCode, name)
		}
	}
}

// trap W17: a check that its proxy's client sees sends nobody to the entry, with the way on.
// Where the session cannot be told (W13), nobody is sent anywhere.
func TestCheckEntry(t *testing.T) {
	s := mustSessions(t, SessionConfig{Keys: newAEAD(t)})
	entry := "/login?brand=acme"
	c := CheckConfig{
		Sessions: s, Audience: token.Agent, Brands: []string{john.Brand},
		EntryOf: func(*http.Request) string { return entry },
	}
	check, err := NewCheck(c)
	require.NoError(t, err)
	ask := func(h http.Handler, wanted string, cookies ...*http.Cookie) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, "/auth/check", nil)
		r.Header.Set("X-Forwarded-Uri", wanted)
		for _, cookie := range cookies {
			r.AddCookie(cookie)
		}
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		return rec
	}
	for wanted, to := range map[string]string{
		"/inbox?x=1&y=%2F%26":  "/login?brand=acme&to=/inbox?x=1&y=%2F%26",
		"/":                    "/login?brand=acme&to=/",
		"/\u00e9":              "/login?brand=acme&to=/%C3%A9",
		"":                     "/login?brand=acme",
		"//evil.example/":      "/login?brand=acme",
		"/\\evil.example":      "/login?brand=acme",
		"https://evil.example": "/login?brand=acme",
		"/%2f/evil.example":    "/login?brand=acme",
		"/x\r\nSet-Cookie: a":  "/login?brand=acme",
	} {
		rec := ask(check, wanted)
		assert.Equal(t, http.StatusSeeOther, rec.Code, wanted)
		assert.Equal(t, to, rec.Header().Get("Location"), wanted)
		assert.Equal(t, "no-store", rec.Header().Get("Cache-Control"))
		assert.Equal(t, []string{""}, rec.Header()["Remote-User"])
	}
	rec := ask(check, "/inbox", started(t, s, john))
	assert.Equal(t, http.StatusOK, rec.Code)
	assert.Empty(t, rec.Header().Get("Location"))
	for _, entry = range []string{"", "login", "//evil.example", "https://evil.example/", "/%0d%0aX: y"} {
		assert.Equal(t, http.StatusUnauthorized, ask(check, "/inbox").Code, entry)
	}
	entry = "/chat/x"
	assert.Equal(t, "/chat/x?to=/inbox", ask(check, "/inbox").Header().Get("Location"))

	c.Sessions = mustSessions(t, SessionConfig{Keys: newAEAD(t), Refresh: func(
		context.Context, Session,
	) (Session, error) {
		return Session{}, errors.New("away")
	}})
	check, err = NewCheck(c)
	require.NoError(t, err)
	rec = ask(check, "/inbox", started(t, c.Sessions.(*Sessions), john))
	assert.Equal(t, http.StatusServiceUnavailable, rec.Code)
	assert.Empty(t, rec.Header().Get("Location"))
}
