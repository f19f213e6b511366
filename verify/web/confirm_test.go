package web

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
	"github.com/admitone/admitone/verify/replay"
)

func confirmWorld(t *testing.T, more func(*world)) *world {
	t.Helper()
	w := newWorld(t)
	w.Admit = func(*http.Request, token.Ticket, verify.Use) (Entry, error) { return Entry{Confirm: true}, nil }
	if more != nil {
		more(w)
	}
	return w.start()
}

// trap W1, confirm mode: a GET shows who is about to enter, and spends nothing,
// however often and by whomever it is made.
func TestConfirm(t *testing.T) {
	w := confirmWorld(t, nil)
	ticket := w.issue(nil)
	for range 3 {
		scanner := w.browser().get("/login?ta="+ticket, "User-Agent", "link scanner")
		assert.Equal(t, http.StatusOK, scanner.StatusCode)
		assert.Equal(
			t, http.StatusOK, w.browser().do(http.MethodPost, "/login", "ta="+ticket).StatusCode,
			"a POST that no page of ours made",
		)
	}
	b := w.browser()
	page := b.get("/login?x=1&next=/inbox%3Fa%3D1&ta=" + ticket)
	for _, s := range []string{"Continue as \u2068John Doe\u2069?", "john.d", "john.d@example.com", "commbox"} {
		assert.Contains(t, page.body, s)
	}
	assert.Equal(t, "no-store", page.Header.Get("Cache-Control"))
	assert.Equal(t, "no-referrer", page.Header.Get("Referrer-Policy"))
	require.Len(t, page.Cookies(), 1)
	c := page.Cookies()[0]
	assert.Equal(t, "__Host-admitone-confirm", c.Name)
	assert.True(t, c.HttpOnly && c.Secure && c.MaxAge > 0 && c.SameSite == http.SameSiteLaxMode)
	assert.NotContains(t, page.body, c.Value)
	assert.Empty(t, b.user())
	assert.NotContains(t, formAction.FindString(page.body), "ta=", "the ticket is in the form, not in its address")
	assert.Equal(t, ticket, fields(page).Get("ta"))
	assert.Equal(t, "/inbox?a=1", w.entered(b.press(page, ownForm...)))
	assert.Equal(t, "john.d", b.user())
	assert.Equal(
		t, http.StatusForbidden, w.browser().get("/login?ta="+ticket).StatusCode,
		"who looks at a used ticket is told at once",
	)
	w.entered(b.get("/login?ta=" + ticket)) // the way back
}

// trap W8: the confirmation must come from the page of ours that this browser has
// seen, with this ticket on it.
func TestConfirmationFromAnotherSite(t *testing.T) {
	w := confirmWorld(t, nil)
	ticket := w.issue(nil)
	b := w.browser()
	page := b.get("/login?ta=" + ticket)
	for _, h := range [][]string{
		{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate"}, {"Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "navigate"},
		{"Origin", "https://evil.example"}, {"Origin", "http://" + strings.TrimPrefix(w.server.URL, "https://") + ".evil.example"},
	} {
		assert.Equal(t, http.StatusForbidden, b.press(page, h...).StatusCode, h)
	}
	// An attacker's page knows the ticket that it gave, and no token that fits.
	mine := w.browser()
	own := fields(mine.get("/login?ta=" + ticket))
	for name, v := range map[string]url.Values{
		"token of another browser": {"ta": {ticket}, "confirm": own["confirm"]},
		"token of another ticket":  {"ta": {w.issue(nil)}, "confirm": fields(page)["confirm"]},
		"no token":                 {"ta": {ticket}},
		"empty token":              {"ta": {ticket}, "confirm": {""}},
	} {
		assert.Equal(t, http.StatusOK, b.do(http.MethodPost, "/login", v.Encode(), "Origin", "null").StatusCode, name)
	}
	assert.Empty(t, b.user())
	stranger := w.browser().press(page, ownForm...)
	assert.Equal(t, http.StatusOK, stranger.StatusCode)
	assert.Contains(t, stranger.body, "allow cookies", "no cookie came along")
	assert.Contains(t, stranger.body, `target="_blank"`)

	// With the page's form it works, whatever little the browser tells of itself.
	for _, h := range [][]string{nil, {"Origin", "null"}, {"Origin", w.server.URL}, ownForm} {
		b := w.browser()
		w.entered(b.press(b.get("/login?ta="+w.issue(nil)), h...))
	}
}

// trap R25: whoever pressed the button and lost the answer asks again and gets in;
// another browser does not.
func TestLostAnswer(t *testing.T) {
	w := confirmWorld(t, nil)
	ticket := w.issue(nil)
	b := w.browser()
	page := b.get("/login?ta=" + ticket)
	other := w.browser()
	otherPage := other.get("/login?ta=" + ticket)
	form := fields(page)
	u, err := url.Parse(w.server.URL)
	require.NoError(t, err)
	cookies := b.client.Jar.Cookies(u) // as they are before the answer
	lost := func() *browser {
		again := w.browser()
		again.client.Jar.SetCookies(
			u, []*http.Cookie{{Name: cookies[0].Name, Value: cookies[0].Value, Path: "/", Secure: true}},
		)
		return again
	}
	w.entered(b.press(page, ownForm...))
	w.clock.add(replay.Grace - time.Second)
	w.entered(lost().do(http.MethodPost, "/login", form.Encode(), ownForm...))
	assert.Equal(t, http.StatusForbidden, other.press(otherPage, ownForm...).StatusCode)
	// A double press in the same browser, with the session there, too.
	w.entered(b.press(page, ownForm...))
	w.clock.add(time.Second)
	assert.Equal(t, http.StatusForbidden, lost().do(http.MethodPost, "/login", form.Encode(), ownForm...).StatusCode)
	w.entered(b.press(page, ownForm...)) // it has the session

	// A direct GET has no grace.
	w = newWorld(t).start()
	ticket = w.issue(nil)
	w.entered(w.browser().get("/login?ta=" + ticket))
	assert.Equal(t, http.StatusForbidden, w.browser().get("/login?ta="+ticket).StatusCode)
}

// A fault on our side after the claim is made good by asking again.
func TestFaultAfterClaim(t *testing.T) {
	fault := errors.New("database gone")
	w := newWorld(t)
	w.Admit = func(*http.Request, token.Ticket, verify.Use) (Entry, error) {
		return Entry{Confirm: true, Then: func(context.Context, *Session) error { return fault }}, nil
	}
	w.start()
	b := w.browser()
	page := b.get("/login?ta=" + w.issue(nil))
	assert.Equal(t, http.StatusInternalServerError, b.press(page, ownForm...).StatusCode)
	assert.Empty(t, b.user())
	fault = nil
	w.entered(b.press(page, ownForm...))
	assert.Equal(t, "john.d", b.user())
}

// Without TLS, on the developer's machine, all of it works with plain cookies.
func TestInsecure(t *testing.T) {
	w := confirmWorld(t, func(w *world) { w.sessions.Insecure = true })
	b := w.browser()
	page := b.get("/login?ta=" + w.issue(nil))
	assert.NotEmpty(t, b.cookie("admitone-confirm"))
	w.entered(b.press(page, "Origin", "null"))
	assert.NotEmpty(t, b.cookie("admitone-agent"))
	assert.Equal(t, "john.d", b.user())
}

// trap R18, through HTTP: of any number of browsers one gets in.
func TestRace(t *testing.T) {
	w := newWorld(t).start()
	ticket := w.issue(nil)
	var wg sync.WaitGroup
	var in atomic.Int32
	for range 32 {
		b := w.browser()
		wg.Go(func() {
			if b.get("/login?ta="+ticket).StatusCode == http.StatusSeeOther {
				in.Add(1)
			}
		})
	}
	wg.Wait()
	assert.Equal(t, int32(1), in.Load())
}

// Two tabs, two tickets, one browser: each page confirms its own, and the second
// tells of the user that was not there yet when it was shown first.
func TestTwoTabs(t *testing.T) {
	w := confirmWorld(t, nil)
	b := w.browser()
	one, two := b.get("/login?ta="+w.issue(nil)), b.get("/login?ta="+w.issue(jane))
	w.entered(b.press(one, ownForm...))
	assert.Equal(t, "john.d", b.user())
	two = b.press(two, ownForm...)
	assert.Equal(t, http.StatusOK, two.StatusCode)
	assert.Contains(t, two.body, "signed in as \u2068John Doe\u2069")
	w.entered(b.press(two, ownForm...))
	assert.Equal(t, "jane.r", b.user())
}

// In a frame on another site it must be seen whether cookies stay before a ticket
// is spent.
func TestFrames(t *testing.T) {
	inFrame := []string{"Sec-Fetch-Dest", "iframe", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Site", "cross-site"}
	framing := func(w *world) {
		w.looks(Page{FrameAncestors: []string{"https://shop.example", "https://*.example.com:8443", "'self'"}})
		w.sessions.Partitioned = token.Agent
	}
	w := newWorld(t)
	framing(w)
	w.start()
	b := w.browser()
	ticket := w.issue(nil)
	probe := b.get("/login?a=%20b&ta="+ticket, inFrame...)
	require.Equal(t, http.StatusSeeOther, probe.StatusCode)
	assert.Equal(t, "/login?a=%20b&ta="+ticket+"&admitone-probe=1", probe.leads())
	st, err := w.store.Store.(replay.Managed).Stats(t.Context())
	require.NoError(t, err)
	assert.Zero(t, st.Live)
	require.Len(t, probe.Cookies(), 1)
	assert.True(t, probe.Cookies()[0].Partitioned && probe.Cookies()[0].SameSite == http.SameSiteNoneMode)
	assert.Equal(t, "/login?a=%20b", w.entered(b.get(probe.leads(), inFrame...)))
	assert.Equal(t, "john.d", b.user())

	// Where they do not stay, the page offers a tab of its own, with the ticket unspent.
	ticket = w.issue(nil)
	blocked := w.browser().get("/login?admitone-probe=1&ta="+ticket, inFrame...)
	assert.Equal(t, http.StatusOK, blocked.StatusCode)
	assert.Contains(t, blocked.body, `target="_blank"`)
	assert.Contains(
		t, blocked.Header.Get("Content-Security-Policy"),
		"frame-ancestors https://shop.example https://*.example.com:8443 'self'",
	)
	tab := w.browser()
	w.entered(tab.press(blocked, ownForm...))

	// In confirm mode the button's POST shows it.
	w = confirmWorld(t, framing)
	page := w.browser().get("/login?ta="+w.issue(nil), inFrame...)
	blocked = w.browser().press(
		page, "Sec-Fetch-Dest", "iframe", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Site", "same-origin",
	)
	assert.Contains(t, blocked.body, `target="_blank"`)
	tab = w.browser()
	w.entered(tab.press(tab.press(blocked, ownForm...), ownForm...))

	// A form posted into a frame.
	w = newWorld(t)
	framing(w)
	w.start()
	b = w.browser()
	page = b.do(http.MethodPost, "/login", "ta="+w.issue(nil), append(inFrame, "Origin", "https://shop.example")...)
	assert.Equal(t, http.StatusOK, page.StatusCode)
	w.entered(b.press(page, "Sec-Fetch-Dest", "iframe", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Site", "same-origin"))

	// Where no page may frame ours, nobody could see the answer.
	w = newWorld(t).start()
	ticket = w.issue(nil)
	assert.Equal(t, http.StatusForbidden, w.browser().get("/login?ta="+ticket, inFrame...).StatusCode)
	w.entered(w.browser().get("/login?ta=" + ticket))
}
