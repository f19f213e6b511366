package api

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/verify/web"
)

func TestLoginOnce(t *testing.T) {
	w := newWorld(t)
	ticket := w.ticket(w.key, reference)
	john := w.client()
	res := john.get("/login?lang=en&ta=" + ticket)
	require.Equal(t, http.StatusSeeOther, res.status, res.body)
	assert.Equal(t, "login?lang=en", res.header.Get("Location"))
	assert.Equal(t, "no-store", res.header.Get("Cache-Control"))
	assert.Equal(t, "no-referrer", res.header.Get("Referrer-Policy"))
	require.Len(t, john.cookies, 1)
	assert.True(t, john.cookies[0].HttpOnly)
	assert.Equal(t, http.SameSiteLaxMode, john.cookies[0].SameSite)
	assert.NotContains(t, res.body+strings.Join(res.header.Values("Set-Cookie"), ""), ticket[10:])

	page := john.get("/login")
	assert.Equal(t, http.StatusOK, page.status)
	assert.Contains(t, page.body, "John Doe")
	assert.Regexp(t, `msg="ticket redeemed" ticket=[0-9a-f]{32} key=[0-9a-f]{8} brand=commbox audience=agent `+
		`actor=`+w.key[4:14]+` one_time=true age_ms=\d+ remote=127.0.0.1`, w.log.String())

	stranger := w.client()
	again := stranger.get("/login?ta=" + ticket)
	assert.Equal(t, http.StatusForbidden, again.status)
	assert.Empty(t, stranger.cookies)
	assert.Equal(t, "nosniff", again.header.Get("X-Content-Type-Options"))
	assert.Regexp(
		t, `msg="ticket refused" reason=already_used .*ticket=[0-9a-f]{32} key=[0-9a-f]{8} brand=commbox`,
		w.log.String(),
	)
	assert.Equal(t, http.StatusForbidden, stranger.get("/login").status)
	assert.Contains(t, w.log.String(), "reason=already_used")

	forged := w.client().get("/login?ta=" + ticket[:60] + map[bool]string{true: "A", false: "B"}[ticket[60] != 'A'] +
		ticket[61:])
	assert.Equal(t, again.status, forged.status)
	assert.Equal(t, again.body, forged.body, "strangers get one answer to used and forged tickets")
	assert.Contains(t, w.log.String(), "reason=forged")
}

func TestLoginManyTimesUntilExpiry(t *testing.T) {
	w := newWorld(t)
	ticket := w.ticket(w.key, strings.Replace(reference, "true", "false", 1))
	for range 3 {
		assert.Equal(t, http.StatusSeeOther, w.client().get("/login?ta="+ticket).status)
		w.ns.Add(int64(19 * time.Second))
	}
	w.ns.Add(int64(3*time.Second - time.Millisecond - 790*time.Microsecond))
	assert.Equal(t, http.StatusSeeOther, w.client().get("/login?ta="+ticket).status, "the last millisecond of its minute")
	w.ns.Add(int64(2 * time.Millisecond))
	assert.Equal(t, http.StatusForbidden, w.client().get("/login?ta="+ticket).status)
	assert.Contains(t, w.log.String(), "reason=expired")
}

func TestHundredAtOnce(t *testing.T) {
	w := newWorld(t)
	ticket := w.ticket(w.key, reference)
	var entered, refused atomic.Int32
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			switch w.client().get("/login?ta=" + ticket).status {
			case http.StatusSeeOther:
				entered.Add(1)
			case http.StatusForbidden:
				refused.Add(1)
			}
		})
	}
	wg.Wait()
	assert.EqualValues(t, 1, entered.Load())
	assert.EqualValues(t, 99, refused.Load())
}

// trap W1: HEAD and prefetch spend nothing.
func TestLookingAheadSpendsNothing(t *testing.T) {
	w := newWorld(t)
	ticket := w.ticket(w.key, reference)
	c := w.client()
	assert.Equal(t, http.StatusServiceUnavailable, c.do(http.MethodHead, "/login?ta="+ticket, nil, nil).status)
	for _, h := range []map[string]string{
		{"Sec-Purpose": "prefetch"}, {"Sec-Purpose": "prefetch;prerender"}, {"Sec-Purpose": "Prefetch;anonymous-client-ip"},
		{"Purpose": "prefetch"}, {"X-Purpose": "preview"}, {"X-Moz": "prefetch"},
	} {
		res := c.do(http.MethodGet, "/login?ta="+ticket, nil, h)
		assert.Equal(t, http.StatusServiceUnavailable, res.status, h)
		assert.Equal(t, "no-store", res.header.Get("Cache-Control"))
	}
	for _, method := range []string{http.MethodOptions, http.MethodPut, http.MethodDelete} {
		assert.Equal(t, http.StatusMethodNotAllowed, c.do(method, "/login?ta="+ticket, nil, nil).status)
	}
	assert.Empty(t, c.cookies)
	assert.Equal(t, http.StatusSeeOther, c.get("/login?ta="+ticket).status)
}

// trap W7: verbatim, percent-encoded and twice-encoded are the same ticket, and
// nothing else is.
func TestTicketForms(t *testing.T) {
	w := newWorld(t)
	encode := func(s string) string {
		var b strings.Builder
		for i := range len(s) {
			b.WriteString("%" + strings.ToUpper(string("0123456789abcdef"[s[i]>>4])+string("0123456789abcdef"[s[i]&15])))
		}
		return b.String()
	}
	for name, target := range map[string]func(string) string{
		"verbatim":      func(s string) string { return "/login?ta=" + s },
		"capitals":      func(s string) string { return "/login?TA=" + s },
		"encoded":       func(s string) string { return "/login?ta=" + encode(s) },
		"encoded twice": func(s string) string { return "/login?ta=" + url.QueryEscape(encode(s)) },
		"not first":     func(s string) string { return "/login?a=b&ta=" + s + "&c=d" },
	} {
		ticket := w.ticket(w.key, reference)
		assert.Equal(t, http.StatusSeeOther, w.client().get(target(ticket)).status, name)
	}
	ticket := w.ticket(w.key, reference)
	for name, target := range map[string]string{
		"line feed":     "/login?ta=" + ticket + "%0A",
		"carriage":      "/login?ta=" + ticket + "%0D%0A",
		"LF inside":     "/login?ta=" + ticket[:50] + "%0a" + ticket[50:],
		"padding":       "/login?ta=" + ticket + "=",
		"padding 2":     "/login?ta=" + ticket + "%3d%3d",
		"plus":          "/login?ta=" + ticket + "+",
		"three times":   "/login?ta=" + url.QueryEscape(url.QueryEscape(encode(ticket))),
		"twice":         "/login?ta=" + ticket + "&ta=" + ticket,
		"ta and TA":     "/login?ta=" + ticket + "&TA=" + ticket,
		"empty":         "/login?ta=",
		"semicolon":     "/login?ta=" + ticket + ";",
		"bad escape":    "/login?ta=" + ticket + "%zz",
		"other channel": w.chatPath("commbox", "web") + "?ta=" + ticket,
	} {
		assert.Equal(t, http.StatusForbidden, w.client().get(target).status, name)
	}
	post := w.client().do(http.MethodPost, "/login?x=1", strings.NewReader("ta="+ticket),
		map[string]string{"Content-Type": "application/x-www-form-urlencoded"})
	assert.Equal(t, http.StatusSeeOther, post.status, "a POST form field, and the ticket is unspent")
	assert.Equal(t, "login?x=1", post.header.Get("Location"))
	unspent := w.ticket(w.key, reference)
	big := w.client().do(http.MethodPost, "/login", strings.NewReader("x="+strings.Repeat("x", 1<<17)+"&ta="+unspent),
		map[string]string{"Content-Type": "application/x-www-form-urlencoded"})
	assert.Equal(t, http.StatusForbidden, big.status, "a form over 64 KiB is not read to its end")
	assert.Equal(t, http.StatusSeeOther, w.client().get("/login?ta="+unspent).status)
}

// trap R3: whatever single character is changed, put in or left out, nobody
// enters, and the true ticket still does.
func TestChangedTickets(t *testing.T) {
	w := newWorld(t)
	ticket := w.ticket(w.key, reference)
	c := w.client()
	try := func(s string) {
		if status := c.get("/login?ta=" + url.QueryEscape(s)).status; status != http.StatusForbidden {
			t.Fatalf("%q: %d", s, status)
		}
	}
	for i := range ticket {
		other := "A"
		if ticket[i] == 'A' {
			other = "B"
		}
		try(ticket[:i] + other + ticket[i+1:])
		try(ticket[:i] + "\n" + ticket[i:])
		try(ticket[:i])
	}
	for _, s := range []string{"=", "\r", "\n", "\r\n", "A", "%", " ", "\x00"} {
		try(ticket + s)
	}
	assert.Equal(t, http.StatusSeeOther, c.get("/login?ta="+ticket).status)
}

// trap R5: a ticket at the wrong page or in the wrong channel is refused and not spent.
func TestChat(t *testing.T) {
	w := newWorld(t)
	path := w.chatPath("commbox", "web")
	body := `{"brand":"commbox","email":"jane@example.com","firstName":"Jane","lastName":"Roe","channel":"web","oneTimeUse":true}`
	ticket := w.ticket(w.key, body)
	for name, target := range map[string]string{
		"login":                 "/login",
		"another channel":       w.chatPath("commbox", "closed"),
		"another brand's":       w.chatPath("acme", "web"),
		"no channel":            "/chat/AAAA",
		"garbage":               "/chat/%2e%2e%2flogin",
		"channel that is gone":  w.chatPath("commbox", "gone"),
		"code with a line feed": path + "%0A",
	} {
		assert.Equal(t, http.StatusForbidden, w.client().get(target+"?ta="+ticket).status, name)
	}
	jane := w.client()
	res := jane.get(path + "?ta=" + ticket)
	require.Equal(t, http.StatusSeeOther, res.status)
	assert.Equal(t, path, "/chat/"+res.header.Get("Location"))
	page := jane.get(path)
	assert.Contains(t, page.body, "signed in as \u2068Jane Roe")
	assert.Equal(t, http.StatusForbidden, jane.get("/login").status, "a customer's session is none of an agent")
	assert.Equal(t, http.StatusForbidden, jane.get(w.chatPath("acme", "web")).status, "nor of another brand")
	assert.Equal(t, http.StatusForbidden, jane.get(w.chatPath("commbox", "closed")).status, "nor of another channel")
	assert.Equal(t, http.StatusForbidden, w.client().get(path+"?ta="+ticket).status)

	// The record is kept, and updated only where the ticket says so.
	enter := func(more string) string {
		c := w.client()
		tk := w.ticket(w.key, `{"brand":"commbox","email":"jane@example.com"`+more+`}`)
		require.Equal(t, http.StatusSeeOther, c.get(path+"?ta="+tk).status)
		return c.get(path).body
	}
	assert.Contains(t, enter(`,"lastName":"Married"`), "signed in as \u2068Jane Roe")
	assert.Contains(t, enter(`,"lastName":"Married","overrideUserInfo":true`), "signed in as \u2068Jane Married")
	assert.Contains(t, enter(``), "signed in as \u2068Jane Married")
}

func TestAgentGoneMeanwhile(t *testing.T) {
	w := newWorld(t)
	ticket := w.ticket(w.key, reference)
	active := func(active bool) {
		_, err := w.directory.UpdateAgent(t.Context(), "commbox", "john.d",
			func(a *directory.Agent) error { a.Active = active; return nil })
		require.NoError(t, err)
	}
	active(false)
	assert.Equal(t, http.StatusForbidden, w.client().get("/login?ta="+ticket).status)
	assert.Contains(t, w.log.String(), "reason=refused_by_caller")
	active(true)
	assert.Equal(t, http.StatusForbidden, w.client().get("/login?ta="+ticket).status, "trap W9")
	w.ns.Add(int64(time.Millisecond))
	assert.Equal(t, http.StatusSeeOther, w.client().get("/login?ta="+w.ticket(w.key, reference)).status)
}

// What was switched off or shortened since a ticket was issued holds at redemption.
func TestSettingsAtRedemption(t *testing.T) {
	w := newWorld(t)
	const body = `{"brand":"acme","email":"jane@example.com","expiresIn":60}`
	any, short := w.ticket(w.acmeKey, body), w.ticket(w.acmeKey, `{"brand":"acme","email":"jane@example.com","expiresIn":10}`)
	assert.Equal(t, http.StatusForbidden, w.client().get(w.chatPath("acme", "short")+"?ta="+any).status,
		"longer than the channel allows")
	assert.Contains(t, w.log.String(), "reason=lifetime_too_long")
	assert.Equal(t, http.StatusSeeOther, w.client().get(w.chatPath("acme", "short")+"?ta="+short).status)
	assert.Equal(
		t, http.StatusForbidden,
		w.client().get(w.chatPath("commbox", "closed")+"?ta="+w.ticket(w.key, `{"brand":"commbox","email":"a@b"}`)).status,
	)
	assert.Contains(t, w.log.String(), `switched off for brand \"commbox\", channel \"closed\"`)

	login := func(on bool) {
		_, err := w.directory.UpdateBrand(t.Context(), "acme",
			func(b *directory.Brand) error { b.TicketLogin = &on; return nil })
		require.NoError(t, err)
	}
	login(false)
	assert.Equal(t, http.StatusForbidden, w.client().get(w.chatPath("acme", "web")+"?ta="+any).status)
	assert.Contains(t, w.log.String(), `switched off for brand \"acme\", channel \"web\"`)
	login(true)
	assert.Equal(t, http.StatusSeeOther, w.client().get(w.chatPath("acme", "web")+"?ta="+any).status,
		"no refusal spent it")
}

// trap W4: a ticket's own fields inject nothing into the page.
func TestEscaping(t *testing.T) {
	w := newWorld(t)
	ticket := w.ticket(w.acmeKey, `{"brand":"acme","username":"mary","email":"mary@example.com","phone1":"+12121234567"}`)
	c := w.client()
	require.Equal(t, http.StatusSeeOther, c.get("/login?ta="+ticket).status)
	page := c.get("/login")
	assert.Contains(t, page.body, "&lt;b&gt;Mary&lt;/b&gt;")
	assert.NotContains(t, page.body, "<b>Mary")
	assert.Contains(t, page.header.Get("Content-Security-Policy"), "default-src 'none'")
}

// trap W6: no path or query leads the browser elsewhere.
func TestRedirectStaysHere(t *testing.T) {
	w := newWorld(t)
	for query, want := range map[string]string{
		"next=//evil.example": "login", "next=https://evil.example": "login", "next=%2f%5cevil.example": "login", "next=/%2f/evil.example": "login",
		"next=/inbox%3Fpage=2": "/inbox?page=2", "%2f%2fevil.example": "login?%2f%2fevil.example", "\\evil.example": "login?\\evil.example",
	} {
		ticket := w.ticket(w.key, reference)
		res := w.client().get("/login?" + query + "&ta=" + ticket)
		require.Equal(t, http.StatusSeeOther, res.status)
		assert.Equal(t, want, res.header.Get("Location"))
	}
}

func TestSessionExpires(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	require.Equal(t, http.StatusSeeOther, c.get("/login?ta="+w.ticket(w.key, reference)).status)
	w.ns.Add(int64(web.SessionIdle - time.Second))
	assert.Equal(t, http.StatusOK, c.get("/login").status, "and the session is renewed")
	require.Len(t, c.cookies, 2)
	w.ns.Add(int64(web.SessionIdle - time.Second))
	renewed := c.cookies[1].Value
	c.cookies[1].Value = "x" + renewed[1:]
	assert.Equal(t, http.StatusForbidden, c.get("/login").status, "changed")
	c.cookies[1].Value = renewed
	assert.Equal(t, http.StatusOK, c.get("/login").status)
	c.cookies = c.cookies[:2]
	w.ns.Add(int64(time.Second))
	assert.Equal(t, http.StatusForbidden, c.get("/login").status)
}
