package api

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/token"
)

func (w *world) brand(name string, edit func(*directory.Brand)) {
	w.t.Helper()
	_, err := w.directory.UpdateBrand(w.t.Context(), name, func(b *directory.Brand) error { edit(b); return nil })
	require.NoError(w.t, err)
}

func (c *browser) post(target string, form url.Values, header map[string]string) response {
	c.t.Helper()
	h := map[string]string{"Content-Type": "application/x-www-form-urlencoded"}
	for k, v := range header {
		h[k] = v
	}
	return c.do(http.MethodPost, target, strings.NewReader(form.Encode()), h)
}

var hidden = regexp.MustCompile(`<input type="hidden" name="([a-z]+)" value="([^"]+)">`)

// press sends the form of a page.
func (c *browser) press(page response) response {
	c.t.Helper()
	form := url.Values{}
	for _, m := range hidden.FindAllStringSubmatch(page.body, -1) {
		form.Set(m[1], m[2])
	}
	action := regexp.MustCompile(`<form method="post" action="([^"]+)">`).FindStringSubmatch(page.body)
	require.NotEmpty(c.t, action, page.body)
	to, err := page.url.Parse(action[1])
	require.NoError(c.t, err)
	return c.post(to.RequestURI(), form, nil)
}

func (w *world) customers(brand string) int {
	all, err := w.directory.Customers(w.t.Context(), brand, 0, 10)
	require.NoError(w.t, err)
	return len(all)
}

// traps W1, W8: where the brand or channel says so, no GET spends anything or makes
// a record, and the page's own button does.
func TestConfirm(t *testing.T) {
	w := newWorld(t)
	yes := true
	w.brand("commbox", func(b *directory.Brand) { b.Confirm, b.DisplayName, b.Colour = &yes, "Comm & Box", "#0a7d33" })
	ticket := w.ticket(w.key, reference)
	john := w.client()
	page := john.get("/login?ta=" + ticket)
	require.Equal(t, http.StatusOK, page.status)
	for _, s := range []string{"Continue as \u2068John Doe\u2069?", "Comm &amp; Box", "john.d", `admitone-css=0a7d33.`} {
		assert.Contains(t, page.body, s)
	}
	assert.NotContains(t, page.body, "<script")
	require.Len(t, john.cookies, 1)
	elsewhere := w.client()
	elsewhere.cookies = john.cookies
	form := url.Values{}
	for _, m := range hidden.FindAllStringSubmatch(page.body, -1) {
		form.Set(m[1], m[2])
	}
	for _, header := range []map[string]string{{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}} {
		assert.Equal(t, http.StatusForbidden, elsewhere.post("/login", form, header).status, header)
	}
	form.Set("confirm", "x")
	assert.Equal(t, http.StatusOK, elsewhere.post("/login", form, nil).status, "asks again")
	res := john.press(page)
	require.Equal(t, http.StatusSeeOther, res.status, res.body)
	assert.Equal(t, "login", res.header.Get("Location"))
	assert.Contains(t, john.get("/login").body, "You are signed in as")
	assert.Equal(t, http.StatusSeeOther, john.press(page).status, "pressed twice")
	assert.Equal(t, http.StatusForbidden, w.client().get("/login?ta="+ticket).status)

	path := w.chatPath("commbox", "web")
	chat := w.ticket(w.key, `{"brand":"commbox","email":"new@example.com","oneTimeUse":true}`)
	jane := w.client()
	page = jane.get(path + "?ta=" + chat)
	require.Equal(t, http.StatusOK, page.status)
	assert.Zero(t, w.customers("commbox"), "nobody has entered yet")
	assert.Equal(t, http.StatusSeeOther, jane.press(page).status)
	assert.Equal(t, 1, w.customers("commbox"))
	assert.Contains(t, jane.get(path).body, "new@example.com")
	page = w.client().get(path + "?ta=" + w.ticket(w.key, `{"brand":"commbox","email":"new@example.com","firstName":"Any"}`))
	assert.NotContains(t, page.body, "<dt>User", "the record's number says nothing to the customer")

	// A channel may do without.
	no := false
	_, err := w.directory.UpdateChannel(t.Context(), "commbox", "web",
		func(c *directory.Channel) error { c.Confirm = &no; return nil })
	require.NoError(t, err)
	assert.Equal(
		t, http.StatusSeeOther,
		w.client().get(path+"?ta="+w.ticket(w.key, `{"brand":"commbox","email":"b@example.com"}`)).status,
	)
	assert.Equal(t, 2, w.customers("commbox"))
}

// trap W3: the brand decides what happens where another user is signed in.
func TestOtherUser(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, w.directory.AddAgent(t.Context(),
		directory.Agent{Brand: "commbox", Username: "ann", Email: "ann@example.com", FirstName: "Ann", Active: true}))
	ann := `{"brand":"commbox","username":"ann","email":"ann@example.com","oneTimeUse":true}`
	signedIn := func() *browser {
		c := w.client()
		require.Equal(t, http.StatusSeeOther, c.get("/login?ta="+w.ticket(w.key, reference)).status)
		return c
	}
	user := func(c *browser) string { return c.get("/auth/check").header.Get("Remote-User") }

	c := signedIn()
	old := c.cookies[0].Value
	assert.Equal(t, http.StatusSeeOther, c.get("/login?ta="+w.ticket(w.key, ann)).status)
	assert.NotEqual(t, old, c.cookies[1].Value)
	c.cookies = c.cookies[1:]
	assert.Equal(t, "ann", user(c))

	w.brand("commbox", func(b *directory.Brand) { b.OtherUser = directory.Confirm })
	c = signedIn()
	page := c.get("/login?ta=" + w.ticket(w.key, ann))
	require.Equal(t, http.StatusOK, page.status)
	assert.Contains(t, page.body, "\u2068John Doe\u2069 is signed out")
	assert.Equal(t, "john.d", user(c))
	res := c.press(page)
	assert.Equal(t, http.StatusSeeOther, res.status, res.body)
	c.cookies = c.cookies[1:]
	assert.Equal(t, "ann", user(c))

	w.brand("commbox", func(b *directory.Brand) { b.OtherUser = directory.Refuse })
	c = signedIn()
	ticket := w.ticket(w.key, ann)
	page = c.get("/login?ta=" + ticket)
	assert.Equal(t, http.StatusConflict, page.status)
	assert.Contains(t, page.body, "Ann")
	assert.Contains(t, page.body, `action="logout"`)
	assert.Equal(t, "john.d", user(c))
	assert.Equal(t, http.StatusSeeOther, c.get("/login?ta="+w.ticket(w.key, reference)).status, "the same user once more")
	assert.Equal(t, http.StatusSeeOther, w.client().get("/login?ta="+ticket).status, "it was not spent")
}

// Pages look as the brand or channel says, and stand where it allows, with or
// without a ticket, and say nothing of what is wrong with one.
func TestPagesOfBrands(t *testing.T) {
	w := newWorld(t)
	w.brand("acme", func(b *directory.Brand) {
		b.DisplayName, b.Language, b.FrameAncestors = "Acme Inc.", "de", []string{"https://shop.example", "'self'"}
	})
	framed := func(r response) string {
		_, ancestors, _ := strings.Cut(r.header.Get("Content-Security-Policy"), "frame-ancestors ")
		return ancestors
	}
	path := w.chatPath("acme", "web")
	c := w.client()
	pages := map[string]response{"nobody": c.get(path), "forged": c.get(path + "?ta=tkt1_x")}
	ticket := w.ticket(w.acmeKey, `{"brand":"acme","email":"jane@example.com"}`)
	require.Equal(t, http.StatusSeeOther, c.get(path+"?ta="+ticket).status)
	pages["again"] = w.client().get(path + "?ta=" + ticket)
	for name, page := range pages {
		assert.Equal(t, http.StatusForbidden, page.status, name)
		assert.Contains(t, page.body, "Acme Inc.", name)
		assert.Equal(t, "de", page.header.Get("Content-Language"), name)
		assert.Equal(t, "https://shop.example 'self'", framed(page), name)
	}
	assert.Equal(t, pages["forged"].body, pages["again"].body)
	page := c.get(path)
	assert.Equal(t, http.StatusOK, page.status)
	assert.Contains(t, page.body, "Acme Inc.")

	for _, other := range []string{w.chatPath("commbox", "web"), "/chat/AAAA", "/login"} {
		page := w.client().get(other + "?ta=" + ticket)
		assert.Equal(t, http.StatusForbidden, page.status, other)
		assert.Equal(t, "'none'", framed(page), other)
		assert.NotContains(t, page.body, "Acme", "what opens the wrong page learns no brand from it")
	}
	agent := w.client()
	require.Equal(t, http.StatusSeeOther, agent.get("/login?ta="+w.ticket(w.acmeKey, `{"brand":"acme","username":"mary","email":"mary@example.com","phone1":"+12121234567"}`)).status)
	assert.Contains(t, agent.get("/login").body, "Acme Inc.", "the session's brand")
	require.NoError(t, w.directory.Close())
	assert.Equal(t, http.StatusForbidden, w.client().get(path).status, "a page all the same")
}

// traps W5, W2: the check spends nothing, always has every header, and is of the
// audience that its path says.
func TestCheck(t *testing.T) {
	w := newWorld(t)
	names := []string{"Remote-User", "Remote-Name", "Remote-Email", "Remote-Groups", "Admitone-Brand", "Admitone-Audience",
		"Admitone-Channel", "Admitone-Ticket-Id", "Admitone-Key-Id", "Admitone-Actor", "Admitone-Issuer",
		"Admitone-Signing-Key"}
	_, err := w.directory.UpdateAgent(t.Context(), "commbox", "john.d",
		func(a *directory.Agent) error { a.Groups = []string{"support", "Zoë"}; return nil })
	require.NoError(t, err)
	ticket := w.ticket(w.key, reference)
	john, jane := w.client(), w.client()
	for _, path := range []string{"/auth/check", "/auth/check-customer", "/auth/check/a", "/auth/check?ta=" + ticket} {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodHead} {
			res := john.do(method, path, nil, map[string]string{"Remote-User": "admin", "Authorization": "Bearer " + w.key})
			assert.Equal(t, http.StatusUnauthorized, res.status)
			for _, name := range names {
				assert.Equal(t, []string{""}, res.header.Values(name), name)
			}
		}
	}
	require.Equal(t, http.StatusSeeOther, john.get("/login?ta="+ticket).status, "it was not spent")
	path := w.chatPath("commbox", "web")
	require.Equal(
		t, http.StatusSeeOther,
		jane.get(path+"?ta="+w.ticket(w.key, `{"brand":"commbox","email":"jane@example.com"}`)).status,
	)

	res := john.get("/auth/check")
	assert.Equal(t, http.StatusOK, res.status)
	var id token.Ticket
	require.NoError(t, w.open(ticket, &id))
	for i, want := range []string{"john.d", "John Doe", "john.d@gmail.com", "support,Zo%C3%AB", "commbox", "agent", "",
		id.ID.String(), "", w.key[4:14]} {
		if got := res.header.Values(names[i]); names[i] != "Admitone-Key-Id" {
			assert.Equal(t, []string{want}, got, names[i])
		} else {
			assert.Regexp(t, `^[0-9a-f]{8}$`, got[0])
		}
	}
	// What proxies put behind the path is the client's to choose, and chooses nothing.
	for target, want := range map[string]int{
		"/auth/check": 401, "/auth/check/-customer": 401, "/auth/check/x/y?audience=customer": 401, "/auth/check-customer": 200, "/auth/check-customer/x/y": 200,
	} {
		assert.Equal(t, want, jane.get(target).status, target)
	}
	assert.Equal(t, "web", jane.get("/auth/check-customer").header.Get("Admitone-Channel"))
	assert.Equal(t, http.StatusUnauthorized, john.get("/auth/check-customer").status)
}

func TestLogout(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	require.Equal(t, http.StatusSeeOther, c.get("/login?ta="+w.ticket(w.key, reference)).status)
	assert.Equal(t, http.StatusForbidden, c.post("/logout", nil, map[string]string{"Sec-Fetch-Site": "cross-site"}).status)
	assert.Equal(t, http.StatusMethodNotAllowed, c.get("/logout").status)
	res := c.post("/logout?next=/bye", nil, nil)
	assert.Equal(t, http.StatusSeeOther, res.status)
	assert.Equal(t, "/bye", res.header.Get("Location"))
	gone := c.cookies[len(c.cookies)-1]
	assert.True(t, strings.HasSuffix(gone.Name, "admitone-agent") && gone.MaxAge < 0)
	assert.Equal(t, "login?signin=1", c.post("/logout", nil, nil).header.Get("Location"))
}

// Sessions end with what they were given for, within seconds.
func TestSessionsEnd(t *testing.T) {
	w := newWorld(t)
	john, jane := w.client(), w.client()
	path := w.chatPath("commbox", "web")
	enter := func() {
		w.ns.Add(int64(time.Millisecond)) // the agent may have returned just now
		john.cookies, jane.cookies = nil, nil
		require.Equal(t, http.StatusSeeOther, john.get("/login?ta="+w.ticket(w.key, reference)).status)
		require.Equal(
			t, http.StatusSeeOther,
			jane.get(path+"?ta="+w.ticket(w.key, `{"brand":"commbox","email":"jane@example.com"}`)).status,
		)
		require.Equal(t, http.StatusOK, john.get("/auth/check").status)
	}
	checks := func(agent, customer int) {
		t.Helper()
		w.ns.Add(int64(ownerKnown))
		assert.Equal(t, agent, john.get("/auth/check").status)
		assert.Equal(t, customer, jane.get("/auth/check-customer").status)
	}
	active := func(active bool) {
		_, err := w.directory.UpdateAgent(t.Context(), "commbox", "john.d",
			func(a *directory.Agent) error { a.Active = active; return nil })
		require.NoError(t, err)
	}
	enter()
	checks(200, 200)
	active(false)
	checks(401, 200)
	active(true)
	checks(401, 200) // trap W9
	enter()
	checks(200, 200)
	w.brand("commbox", func(b *directory.Brand) { b.SessionsSince = w.now().Add(time.Second) })
	checks(401, 401)
	enter()
	checks(200, 200)
	require.NoError(t, w.directory.RemoveAgent(t.Context(), "commbox", "john.d"))
	checks(401, 200)

	// traps R24, W13: an outage of the directory ends nobody's session at once, admits nobody
	// for long, and is no answer that a session is over.
	require.NoError(t, w.directory.Close())
	checks(401, 200)
	w.ns.Add(int64(ownerStale))
	checks(503, 503)
	assert.Contains(t, w.log.String(), "cannot be told")
}

// Logins are taken from the brand's addresses only, also behind a proxy, and the
// log names the person's address and not the proxy's.
func TestLoginAddresses(t *testing.T) {
	local, err := directory.ParseAddresses("127.0.0.1")
	require.NoError(t, err)
	w := newWorld(t, func(c *Config) { c.Proxies = Proxies{Trusted: local} })
	office, err := directory.ParseAddresses("192.0.2.0/24")
	require.NoError(t, err)
	w.brand("commbox", func(b *directory.Brand) { b.LoginAddresses = office })
	ticket := w.ticket(w.key, reference)
	from := func(address string) response {
		return w.client().do(http.MethodGet, "/login?ta="+ticket, nil, map[string]string{"X-Forwarded-For": address})
	}
	assert.Equal(t, http.StatusForbidden, w.client().get("/login?ta="+ticket).status)
	assert.Equal(t, http.StatusForbidden, from("198.51.100.7").status)
	assert.Regexp(t, `msg="ticket refused" reason=refused_by_caller .*allow-list.* remote=198\.51\.100\.7`, w.log.String())
	assert.Equal(t, http.StatusSeeOther, from("192.0.2.9").status)
	assert.Regexp(t, `msg="ticket redeemed" .*remote=192\.0\.2\.9`, w.log.String())
}
