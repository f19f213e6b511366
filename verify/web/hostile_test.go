package web

import (
	"context"
	"errors"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
	"github.com/admitone/admitone/verify/replay"
)

// A cookie whose name has a Unicode space in front has no __Host- prefix for
// browsers: any host of the site may set it, for the whole site. It is none of ours.
func TestCookieBesideThePrefix(t *testing.T) {
	s := mustSessions(t, SessionConfig{Keys: newAEAD(t)})
	cookie := started(t, s, john)
	h := &Handler{sessions: s}
	for _, space := range []string{"\u00a0", "\u0085", "\u2000", "\u2028", "\u3000", "\x0b", "\x0c", "\u200b", "\ufeff"} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Cookie", "a=b; "+space+cookie.Name+"="+cookie.Value+"; "+space+h.confirmCookie()+"=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
		_, ok := current(s, nil, r, token.Agent)
		assert.False(t, ok, "%q", space)
		_, bound := h.bindingSecret(r)
		assert.False(t, bound, "%q", space)
	}
}

// trap W3, by a form of another site in a browser that tells nothing of where a
// request comes from but Origin: null.
func TestSwitchFromNowhere(t *testing.T) {
	for policy, want := range map[Switch]int{
		ReplaceUser: http.StatusSeeOther, ConfirmUser: http.StatusOK, RefuseUser: http.StatusOK,
	} {
		w := newWorld(t)
		w.Admit = func(*http.Request, token.Ticket, verify.Use) (Entry, error) { return Entry{Switch: policy}, nil }
		w.start()
		for _, body := range []string{"ta=" + w.issue(nil), "confirm=x&ta=" + w.issue(nil)} {
			b := w.browser() // SameSite=Lax: no cookies come
			res := b.do(http.MethodPost, "/login", body, "Origin", "null")
			if body[0] == 'c' && policy == ReplaceUser {
				want = http.StatusOK // "allow cookies"
			}
			assert.Equal(t, want, res.StatusCode, "%d %s", policy, body)
		}
	}
}

// trap W16: so does the form of a browser that sends neither Origin nor
// Sec-Fetch-Site. The confirm page's own POST brings the cookies, and the policy holds.
func TestSwitchWithoutAnyHeader(t *testing.T) {
	for policy, want := range map[Switch]int{
		ReplaceUser: http.StatusSeeOther, ConfirmUser: http.StatusOK, RefuseUser: http.StatusConflict,
	} {
		w := newWorld(t)
		w.Admit = func(*http.Request, token.Ticket, verify.Use) (Entry, error) { return Entry{Switch: policy}, nil }
		w.start()
		john := w.browser()
		john.get("/login?ta=" + w.issue(nil))
		require.Equal(t, "john.d", john.user())
		session := john.client.Jar
		john.client.Jar, _ = cookiejar.New(nil) // SameSite=Lax: the other site's form brings no cookies
		res := john.do(http.MethodPost, "/login", "ta="+w.issue(jane))
		if policy == ReplaceUser {
			assert.Equal(t, want, res.StatusCode)
			continue
		}
		require.Equal(t, http.StatusOK, res.StatusCode, "nothing has happened: %d", policy)
		u, err := url.Parse(w.server.URL)
		require.NoError(t, err)
		session.SetCookies(u, res.Cookies())
		john.client.Jar = session
		assert.Equal(t, want, john.press(res).StatusCode, "the session is seen: %d", policy)
		assert.Equal(t, "john.d", john.user())
	}
}

// Sign-out by such a form ends nothing: no cookies come with it.
func TestLogoutFromNowhere(t *testing.T) {
	w := newWorld(t).start()
	b := w.browser()
	w.entered(b.get("/login?ta=" + w.issue(nil)))
	u, err := url.Parse(w.server.URL)
	require.NoError(t, err)
	foreign := w.browser().do(http.MethodPost, "/logout", "", "Origin", "null")
	assert.Equal(t, http.StatusSeeOther, foreign.StatusCode)
	b.client.Jar.SetCookies(u, foreign.Cookies())
	assert.Equal(t, "john.d", b.user())
	own := b.do(http.MethodPost, "/logout", "", "Origin", "null")
	require.Len(t, own.Cookies(), 1, "and a customer's cookie that is not there is not touched")
	assert.Empty(t, b.user())
	// One that is there and no longer opens goes, too.
	broken := b.do(http.MethodPost, "/logout", "", "Cookie", "__Host-admitone-customer=x")
	require.Len(t, broken.Cookies(), 1)
	assert.Equal(t, "__Host-admitone-customer", broken.Cookies()[0].Name)
}

// trap W1: an image, a script or a beacon of our own pages, in which others may
// write, is nobody's wish to enter either. A page's fetch may be.
func TestSubresourcesSpendNothing(t *testing.T) {
	w := newWorld(t).start()
	ticket := w.issue(nil)
	b := w.browser()
	for _, h := range [][]string{
		{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image"},
		{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "image"},
		{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "script"},
		{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "font"},
		{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "empty"},
		{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "websocket", "Sec-Fetch-Dest", "empty"},
		{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "same-origin", "Sec-Fetch-Dest", "empty"},
	} {
		assert.Equal(t, http.StatusServiceUnavailable, b.get("/login?ta="+ticket, h...).StatusCode, h)
	}
	assert.Zero(t, w.store.accesses)
	for _, mode := range []string{"cors", "same-origin"} {
		w.entered(w.browser().get(
			"/login?ta="+w.issue(nil), "Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", mode, "Sec-Fetch-Dest",
			"empty",
		))
	}
}

// What follows the claim must end early enough for the browser to ask again, however long
// the claim took.
//
// trap R40
func TestThenLeavesTimeToAskAgain(t *testing.T) {
	w := newWorld(t)
	var claimed time.Time
	w.store.claiming = func() {
		claimed = time.Now()
		for time.Now().Equal(claimed) {
		}
	}
	w.Admit = func(*http.Request, token.Ticket, verify.Use) (Entry, error) {
		return Entry{Then: func(ctx context.Context, _ *Session) error {
			ends, ok := ctx.Deadline()
			assert.True(t, ok && !ends.After(claimed.Add(replay.Grace/2)), "it counts from before the claim")
			return nil
		}}, nil
	}
	w.start()
	w.entered(w.browser().get("/login?ta=" + w.issue(nil)))
}

// Keys that cannot seal a session are known before a ticket is spent on it.
func TestSealingFails(t *testing.T) {
	w := newWorld(t)
	keys := &broken{AEAD: w.sessions.Keys}
	w.sessions.Keys = keys
	w.start()
	ticket := w.issue(nil)
	keys.err = errors.New("sealing fails")
	res := w.browser().get("/login?ta=" + ticket)
	assert.Equal(t, http.StatusServiceUnavailable, res.StatusCode)
	assert.NotEmpty(t, res.Header.Get("Retry-After"))
	assert.Contains(t, w.log.String(), "sealing fails")
	keys.err = nil
	w.entered(w.browser().get("/login?ta=" + ticket))
}

// trap W2: whatever the answer to an address that has a ticket, it is kept nowhere
// and told to nobody.
func TestEveryAnswerIsPrivate(t *testing.T) {
	w := newWorld(t).start()
	for _, res := range []answer{
		w.browser().do(http.MethodPut, "/login?ta="+w.issue(nil), ""),
		w.browser().do(http.MethodOptions, "/login?ta="+w.issue(nil), ""),
		w.browser().get("/login?admitone-css=x&ta=" + w.issue(nil)),
		w.browser().do(http.MethodHead, "/login?ta="+w.issue(nil), ""),
		w.browser().get("/login?ta=x"),
		w.browser().get("/logout?ta=x"),
	} {
		assert.Equal(t, "no-store", res.Header.Get("Cache-Control"), res.Request.URL.Path)
		assert.Equal(t, "no-referrer", res.Header.Get("Referrer-Policy"))
		assert.Equal(t, "nosniff", res.Header.Get("X-Content-Type-Options"))
	}
}

// The page that asks first must not promise what the redemption then refuses: an
// answer that was lost is asked for again by the page's address, too.
func TestLostAnswerByAddress(t *testing.T) {
	w := confirmWorld(t, nil)
	b := w.browser()
	ticket := w.issue(nil)
	page := b.get("/login?ta=" + ticket)
	secret := b.cookie("__Host-admitone-confirm")
	w.entered(b.press(page, ownForm...))
	again := w.browser()
	u, err := url.Parse(w.server.URL)
	require.NoError(t, err)
	again.client.Jar.SetCookies(
		u, []*http.Cookie{{Name: "__Host-admitone-confirm", Value: secret, Path: "/", Secure: true}},
	)
	page = again.get("/login?ta=" + ticket)
	require.Equal(t, http.StatusOK, page.StatusCode)
	w.entered(again.press(page, ownForm...))
}

// Which of several next is meant cannot be told, on the confirm page neither.
func TestSeveralNext(t *testing.T) {
	w := confirmWorld(t, func(w *world) { w.Home = "/inbox" })
	b := w.browser()
	page := b.get("/login?next=/a&next=/b&ta=" + w.issue(nil))
	assert.Equal(t, "/inbox", w.entered(b.press(page, ownForm...)))
	b = w.browser()
	page = b.get("/login?next=&ta=" + w.issue(nil))
	assert.Equal(t, "/inbox", w.entered(b.press(page, ownForm...)))
}

func TestRemote(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.1:1234": "192.0.2.1", "[2001:db8::1]:1234": "2001:db8::1",
		"192.0.2.1": "192.0.2.1", "2001:db8::1": "2001:db8::1", // as chi's RealIP leaves it
		"": "unknown", "@": "unknown", "a level=ERROR": "unknown",
	} {
		assert.Equal(t, want, remote(&http.Request{RemoteAddr: address}), address)
	}
}

// What a wrapper said of the answer before stays said.
func TestVary(t *testing.T) {
	w := newWorld(t)
	w.Config.Sessions = mustSessions(t, w.sessions)
	h, err := New(w.Config)
	require.NoError(t, err)
	rec := httptest.NewRecorder()
	rec.Header().Set("Vary", "Accept-Encoding")
	h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/login", nil))
	assert.Equal(t, []string{"Accept-Encoding", "Accept-Language"}, rec.Header().Values("Vary"))
}

// The binding is the page's cookie and nothing else.
func TestBindingIsTheHandlers(t *testing.T) {
	w := newWorld(t)
	w.Use = func(*http.Request, *token.Ticket) verify.Use {
		return verify.Use{Audience: token.Agent, Binding: [32]byte{1}}
	}
	w.start()
	ticket := w.issue(nil)
	w.entered(w.browser().get("/login?ta=" + ticket))
	assert.Equal(t, http.StatusForbidden, w.browser().get("/login?ta="+ticket).StatusCode)
}

// trap R25: the store took a claim and its answer was lost. The page promises
// nothing; whoever pressed the button gets in by pressing again.
func TestLostClaim(t *testing.T) {
	w := confirmWorld(t, nil)
	lossy := &lossy{Store: w.store.Store}
	w.store.Store = lossy
	b := w.browser()
	page := b.get("/login?ta=" + w.issue(nil))
	lossy.lose = true
	res := b.press(page, ownForm...)
	assert.Equal(t, http.StatusServiceUnavailable, res.StatusCode)
	assert.NotContains(t, res.body, "used up")
	lossy.lose = false
	w.entered(b.press(page, ownForm...))
}

// lossy claims, and may lose the answer.
type lossy struct {
	replay.Store
	lose bool
}

func (l *lossy) Claim(ctx context.Context, c replay.Claim) (replay.Answer, error) {
	a, err := l.Store.Claim(ctx, c)
	if l.lose {
		return replay.Answer{}, replay.ErrUnavailable
	}
	return a, err
}

// Thousands of forged cookies in one request cost no more than a few.
func TestManyCookies(t *testing.T) {
	keys := &asking{AEAD: newAEAD(t)}
	s := mustSessions(t, SessionConfig{Keys: keys})
	cookie := started(t, s, john)
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Cookie", strings.Repeat(cookie.Name+"=AQAAAAE; ", 10_000)+cookie.Name+"="+cookie.Value)
	_, ok := current(s, nil, r, token.Agent)
	assert.False(t, ok)
	assert.LessOrEqual(t, keys.asked, maxTries)
}

type asking struct {
	tink.AEAD
	asked int
}

func (a *asking) HasKey(token.KeyID) bool { a.asked++; return false }

// Behind http.StripPrefix, all that a page or an answer names is where the browser
// asked; elsewhere the ticket could reach another application.
func TestStripPrefix(t *testing.T) {
	w := newWorld(t)
	confirm := false
	w.Admit = func(*http.Request, token.Ticket, verify.Use) (Entry, error) { return Entry{Confirm: confirm}, nil }
	w.looks(Page{FrameAncestors: []string{"'self'"}})
	w.start()
	handler := w.server.Config.Handler
	mux := http.NewServeMux()
	mux.Handle("/auth/check", handler)
	mux.Handle("/app/", http.StripPrefix("/app", handler))
	w.server.Config.Handler = mux
	assert.Equal(t, "/app/login?x=1", w.entered(w.browser().get("/app/login?x=1&ta="+w.issue(nil))))
	ticket := w.issue(nil)
	probe := w.browser().get(
		"/app/login?ta="+ticket, "Sec-Fetch-Dest", "iframe", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Site",
		"cross-site",
	)
	assert.Equal(t, "/app/login?ta="+ticket+"&admitone-probe=1", probe.leads())
	confirm = true
	b := w.browser()
	assert.Equal(t, "/app/login", w.entered(b.press(b.get("/app/login?ta="+w.issue(nil)), ownForm...)))
	assert.Equal(t, "john.d", b.user())
}

// trap W6: a request target that is another site's, or two slashes, leads nowhere
// but back.
func TestRequestTargets(t *testing.T) {
	for target, want := range map[string]string{
		"https://evil.example/login?ta=x": "login", "//evil.example/login?ta=x": "login", "//evil.example?ta=x": "evil.example", "/%5Cevil.example?ta=x": "%5Cevil.example",
		`/\evil.example?ta=x`: "%5Cevil.example", "/a%2F%2Fb?ta=x&c=1": "a%2F%2Fb?c=1",
		"/a/b/?ta=x&c=1": "./?c=1", "/?ta=x": "./", "": "login",
		"/javascript:alert(1)?ta=x": "./javascript:alert(1)", "/a//?ta=x": "./", "/..?ta=x": "..",
	} {
		_, query, _ := strings.Cut(target, "?")
		r := &http.Request{RequestURI: target, URL: &url.URL{Path: "/login", RawQuery: query}}
		assert.Equal(t, want, here(r, without(r.URL)), target)
	}
}

// Behind a proxy that takes a prefix off the path, all of an entry stays under it:
// beside it, other applications would get the ticket.
func TestProxyStripsPrefix(t *testing.T) {
	inFrame := []string{"Sec-Fetch-Dest", "iframe", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Site", "cross-site"}
	w := newWorld(t)
	confirm := false
	w.Admit = func(*http.Request, token.Ticket, verify.Use) (Entry, error) { return Entry{Confirm: confirm}, nil }
	w.looks(Page{FrameAncestors: []string{"'self'"}})
	w.start()
	proxy := httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		path, ok := strings.CutPrefix(r.RequestURI, "/sso/")
		if !assert.True(t, ok, "at another application: %s", r.RequestURI) {
			return
		}
		r.RequestURI, r.URL.Path = "/"+path, strings.TrimPrefix(r.URL.Path, "/sso")
		w.server.Config.Handler.ServeHTTP(rw, r)
	}))
	t.Cleanup(proxy.Close)
	w.server.URL, w.server.Client().Transport = proxy.URL, proxy.Client().Transport
	for target, separator := range map[string]string{"/sso/login": "?", "/sso/login?a=1": "&", "/sso/chat/a:b": "?"} {
		confirm = false
		assert.Equal(t, target, w.entered(w.browser().get(target+separator+"ta="+w.issue(nil))))
		b := w.browser()
		probe := b.get(target+separator+"ta="+w.issue(nil), inFrame...)
		assert.Equal(t, target, w.entered(b.get(probe.leads(), inFrame...)))
		confirm = true
		b = w.browser()
		assert.Equal(t, target, w.entered(b.press(b.get(target+separator+"ta="+w.issue(nil)), ownForm...)))
		assert.Contains(t, b.get(target).body, `href="?admitone-css=`)
	}
}

// The whole of it over HTTP/2, where cookies may come in several fields, and with
// many presses of one button at once: all get in, and into one session's person.
func TestManyPressesOverHTTP2(t *testing.T) {
	w := newWorld(t)
	w.Admit = func(*http.Request, token.Ticket, verify.Use) (Entry, error) { return Entry{Confirm: true}, nil }
	w.start()
	server := httptest.NewUnstartedServer(w.server.Config.Handler)
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	w.server = server
	b := w.browser()
	page := b.get("/login?ta=" + w.issue(nil))
	require.Equal(t, 2, page.ProtoMajor)
	secret := b.cookie("__Host-admitone-confirm")
	var in atomic.Int32
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			one := w.browser()
			res := one.do(http.MethodPost, "/login", fields(page).Encode(), "Cookie", "__Host-admitone-confirm="+secret)
			if res.StatusCode == http.StatusSeeOther && one.user() == "john.d" {
				in.Add(1)
			}
		})
	}
	wg.Wait()
	assert.Equal(t, int32(16), in.Load())
	assert.Equal(t, http.StatusForbidden, w.browser().press(page, ownForm...).StatusCode, "and nobody without the cookie")
}

// The page that asks names somebody: a name of which there is nothing to see is none.
func TestNamesThatDoNotShow(t *testing.T) {
	for name, want := range map[string]string{
		"\u200b\u2060\ufeff": "john.d", "\u00a0\u3000 ": "john.d", "\u202e\u2066": "john.d", "\u202eeoD": "eoD", "\u05d3\u05d5\u05d3": "\u05d3\u05d5\u05d3",
	} {
		w := confirmWorld(t, func(w *world) {
			w.Admit = func(*http.Request, token.Ticket, verify.Use) (Entry, error) {
				return Entry{Confirm: true, Session: Session{Name: name}}, nil
			}
			w.looks(Page{Brand: name})
		})
		page := w.browser().get("/login?ta=" + w.issue(nil))
		assert.Contains(t, page.body, "<h1>Continue as \u2068"+want+"\u2069?</h1>", "%q", name)
		if want == "john.d" {
			assert.NotContains(t, page.body, `class="brand"`)
			assert.Contains(t, page.body, "commbox", "the ticket's brand shows where the page's does not")
		}
	}
}

// Where two people have one name, or one person is at two brands, pages say which is
// meant.
func TestOneName(t *testing.T) {
	for want, second := range map[string]func(*token.Ticket){
		"John Doe (acme)|John Doe (commbox)":                          func(tk *token.Ticket) { tk.Brand = "acme" },
		"John Doe (john.e@example.com)|John Doe (john.d@example.com)": func(tk *token.Ticket) { tk.Username, tk.Email = "john.e", "john.e@example.com" },
		"John Doe (john.e)|John Doe (john.d)":                         func(tk *token.Ticket) { tk.Username = "john.e" },
		"John Eod|John Doe":                                           func(tk *token.Ticket) { tk.Username, tk.LastName = "john.e", "Eod" },
	} {
		name, current, _ := strings.Cut(want, "|")
		for _, policy := range []Switch{ConfirmUser, RefuseUser} {
			w := newWorld(t)
			w.Admit = func(*http.Request, token.Ticket, verify.Use) (Entry, error) { return Entry{Switch: policy}, nil }
			w.start()
			b := w.browser()
			w.entered(b.get("/login?ta=" + w.issue(nil)))
			body := b.get("/login?ta=" + w.issue(second)).body
			assert.Contains(t, body, "\u2068"+name+"\u2069")
			assert.Contains(t, body, "You are signed in as \u2068"+current+"\u2069")
		}
	}
	same := attempt{
		entry:   Entry{Session: Session{Audience: token.Customer, Name: "Jo", User: "1"}},
		current: Session{Audience: token.Customer, Name: "Jo", User: "2"},
	}
	name, current := same.people()
	assert.Equal(t, []string{"Jo", "Jo"}, []string{name, current}, "the service's own name for them says nothing")
}
