package web

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
	"github.com/admitone/admitone/verify/replay"
)

func TestEntry(t *testing.T) {
	w := newWorld(t).start()
	b := w.browser()
	assert.Equal(t, http.StatusForbidden, b.get("/login").StatusCode, "nobody is signed in")
	ticket := w.issue(nil)
	assert.Equal(t, "/login?x=1", w.entered(b.get("/login?x=1&ta="+ticket)))
	page := b.get("/login")
	assert.Equal(t, http.StatusOK, page.StatusCode)
	assert.Contains(t, page.body, "John Doe")
	check := b.get("/auth/check")
	assert.Equal(t, http.StatusOK, check.StatusCode)
	assert.Equal(t, "john.d", check.Header.Get("Remote-User"))
	assert.Equal(t, "key1", check.Header.Get("Admitone-Actor"))
	assert.Contains(t, w.log.String(), "ticket redeemed")
	assert.Contains(t, w.log.String(), "ticket="+check.Header.Get("Admitone-Ticket-Id"))

	refused := w.browser().get("/login?ta=" + ticket)
	assert.Equal(t, http.StatusForbidden, refused.StatusCode, "used")
	assert.Contains(t, w.log.String(), "reason=already_used")

	late := w.issue(nil)
	w.clock.add(time.Hour)
	expired := w.browser().get("/login?ta=" + late)
	assert.Contains(t, w.log.String(), "reason=expired")
	wrong := w.browser().get(
		"/login?ta=" + w.issue(func(tk *token.Ticket) { tk.Audience, tk.Username = token.Customer, "" }),
	)
	forged := w.browser().get("/login?ta=" + late[:len(late)-8] + "AAAAAAAA")
	assert.Contains(t, w.log.String(), "reason=forged")
	for _, other := range []answer{
		expired, wrong, forged, w.browser().get("/login?ta=x"), w.browser().get("/login?ta=%zz"),
	} {
		assert.Equal(t, refused.body, other.body, "one page for all that are refused")
		assert.Equal(t, refused.StatusCode, other.StatusCode)
		for _, h := range []string{"Content-Security-Policy", "Cache-Control", "Retry-After", "Content-Length"} {
			assert.Equal(t, refused.Header.Get(h), other.Header.Get(h), h)
		}
	}
	put := b.do(http.MethodPut, "/login?ta="+w.issue(nil), "")
	assert.Equal(t, http.StatusMethodNotAllowed, put.StatusCode)
	assert.Equal(t, "GET, HEAD, POST", put.Header.Get("Allow"))
}

func TestWaysToBringATicket(t *testing.T) {
	w := newWorld(t)
	w.NamelessTicket = true
	w.start()
	for _, target := range []string{"/login?ta=", "/login?TA=", "/login?=TA", "/login?%54A="} {
		assert.Equal(t, "/login", w.entered(w.browser().get(target+w.issue(nil))), target)
	}
	assert.Equal(t, "/login", w.entered(w.browser().do(http.MethodPost, "/login", "ta="+w.issue(nil))))
	ticket := w.issue(nil)
	assert.Equal(t, http.StatusForbidden, w.browser().get("/login?=TA"+ticket+"&ta="+ticket).StatusCode, "which one?")
	big := w.browser().do(http.MethodPost, "/login", "x="+strings.Repeat("x", 1<<17)+"&ta="+ticket)
	assert.Equal(t, http.StatusForbidden, big.StatusCode, "a form over 64 KiB is not read to its end")
	w.entered(w.browser().get("/login?ta=" + ticket))

	w = newWorld(t).start()
	assert.Equal(t, http.StatusForbidden, w.browser().get("/login?=TA"+w.issue(nil)).StatusCode, "that form is off")
	assert.NotContains(t, w.log.String(), "ticket redeemed")
}

// trap W7: verbatim, percent-encoded and twice-encoded tickets are the same
// ticket, in the query and in a form.
func TestEncodedTickets(t *testing.T) {
	w := newWorld(t).start()
	encode := func(s string) string {
		var b strings.Builder
		for i := range len(s) {
			b.WriteByte('%')
			b.WriteByte("0123456789abcdef"[s[i]>>4])
			b.WriteByte("0123456789abcdef"[s[i]&15])
		}
		return b.String()
	}
	for _, code := range []func(string) string{encode, func(s string) string { return url.QueryEscape(encode(s)) }} {
		w.entered(w.browser().get("/login?ta=" + code(w.issue(nil))))
		w.entered(w.browser().do(http.MethodPost, "/login", "ta="+code(w.issue(nil))))
		ticket := w.issue(nil)
		w.entered(w.browser().get("/login?ta=" + ticket))
		assert.Equal(t, http.StatusForbidden, w.browser().get("/login?ta="+code(ticket)).StatusCode)
	}
	ticket := w.issue(nil)
	for _, bad := range []string{"+", "%2B", "%20", "%0A", "%0D%0A", "%250A", "%00", "="} {
		assert.Equal(t, http.StatusForbidden, w.browser().get("/login?ta="+ticket+bad).StatusCode, bad)
		assert.Equal(t, http.StatusForbidden, w.browser().get("/login?ta="+bad+ticket).StatusCode, bad)
	}
	w.entered(w.browser().get("/login?ta=" + ticket))
}

// trap W1: HEAD, prefetches and what another site's page loads spend nothing.
func TestLookingAheadSpendsNothing(t *testing.T) {
	for _, confirm := range []bool{false, true} {
		w := newWorld(t)
		w.Admit = func(*http.Request, token.Ticket, verify.Use) (Entry, error) { return Entry{Confirm: confirm}, nil }
		w.start()
		b := w.browser()
		ticket := w.issue(nil)
		for _, h := range [][]string{
			{"Sec-Purpose", "prefetch"}, {"Sec-Purpose", "prefetch;prerender"}, {"Sec-Purpose", "prefetch;anonymous-client-ip"},
			{"Purpose", "prefetch"}, {"X-Purpose", "preview"}, {"X-Moz", "prefetch"},
			{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors"}, {"Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "cors"},
		} {
			res := b.get("/login?ta="+ticket, h...)
			assert.Equal(t, http.StatusServiceUnavailable, res.StatusCode, h)
			assert.Equal(t, "no-store", res.Header.Get("Cache-Control"))
			assert.NotEmpty(t, res.Header.Get("Retry-After"))
			assert.Equal(t, http.StatusServiceUnavailable, b.do(http.MethodPost, "/login", "ta="+ticket, h...).StatusCode, h)
		}
		head := b.do(http.MethodHead, "/login?ta="+ticket, "")
		assert.Equal(t, http.StatusServiceUnavailable, head.StatusCode)
		assert.Equal(t, "no-store", head.Header.Get("Cache-Control"))
		assert.Zero(t, w.store.accesses)
		page := b.get("/login?ta=" + ticket)
		if confirm {
			page = b.press(page, ownForm...)
		}
		w.entered(page)
	}
}

// trap W2: after the entry no URL, page or log line has the ticket. (The log is
// looked at as each test ends.)
func TestTicketIsGone(t *testing.T) {
	w := newWorld(t)
	w.Home = "/inbox"
	w.start()
	for _, target := range []string{
		"/login?ta=%s", "/login?next=/a%%3Fta%%3D%s&ta=%[1]s", "/login?next=/%%3fTA%%3D%[1]s%%26b%%3D1&ta=%[1]s",
	} {
		ticket := w.issue(nil)
		location := w.entered(w.browser().get(strings.ReplaceAll(strings.ReplaceAll(strings.ReplaceAll(target, "%[1]s", ticket), "%s", ticket), "%%", "%")))
		assert.NotContains(t, location, "ta=")
	}
	ticket := w.issue(nil)
	b := w.browser()
	w.entered(b.get("/login?ta=" + ticket))
	for _, page := range []answer{
		w.browser().get("/login?ta=" + ticket), w.browser().do(http.MethodPost, "/login", "ta="+ticket),
	} {
		assert.Equal(t, http.StatusForbidden, page.StatusCode)
		assert.NotContains(t, page.body, ticket)
		assert.Equal(t, "no-referrer", page.Header.Get("Referrer-Policy"))
	}
}

// What others add to a link may be no query that can be read: the good ticket
// in it admits all the same, once.
func TestBrokenQuery(t *testing.T) {
	for _, confirm := range []bool{false, true} {
		w := newWorld(t)
		if confirm {
			w = confirmWorld(t, nil)
		} else {
			w.start()
		}
		for _, query := range []string{"off=50%&next=/a&ta=TICKET", "next=/a&ta=TICKET&x=1;y=2", "ta=TICKET&next=/a&%zz"} {
			target := "/login?" + strings.Replace(query, "TICKET", w.issue(nil), 1)
			b := w.browser()
			page := b.get(target)
			if confirm {
				page = b.press(page, ownForm...)
			}
			assert.Equal(t, "/a", w.entered(page), query)
			assert.Equal(t, http.StatusForbidden, w.browser().get(target).StatusCode, query)
		}
	}
}

// Reload and the way back do no harm to whom the ticket let in.
func TestReload(t *testing.T) {
	w := newWorld(t).start()
	b := w.browser()
	ticket := w.issue(nil)
	w.entered(b.get("/login?ta=" + ticket))
	accesses := w.store.accesses
	session := b.cookie("__Host-admitone-agent")
	again := b.get("/login?ta=" + ticket)
	w.entered(again)
	assert.Empty(t, again.Cookies(), "it is the same session")
	assert.Equal(t, accesses, w.store.accesses, "and asks no store")
	w.clock.add(2 * time.Minute)
	w.entered(b.get("/login?ta=" + ticket)) // expired by now
	assert.Equal(t, session, b.cookie("__Host-admitone-agent"))
	assert.Equal(t, http.StatusForbidden, w.browser().get("/login?ta="+ticket).StatusCode)
	other := w.issue(jane)
	w.entered(w.browser().get("/login?ta=" + other))
	assert.Equal(t, http.StatusForbidden, b.get("/login?ta="+other).StatusCode, "a used ticket that is not this session's")
	w.clock.add(SessionIdle)
	assert.Equal(t, http.StatusForbidden, b.get("/login?ta="+ticket).StatusCode, "the session is over, too")
}

// A ticket that may be used many times enters each channel that it is shown in,
// and a used one none but its own.
func TestReloadInAnotherChannel(t *testing.T) {
	w := newWorld(t)
	w.Use = func(r *http.Request, _ *token.Ticket) verify.Use {
		return verify.Use{Audience: token.Customer, Channel: r.PathValue("code")}
	}
	w.start()
	for _, once := range []bool{false, true} {
		b := w.browser()
		ticket := w.issue(func(tk *token.Ticket) { tk.Audience, tk.Username, tk.OneTime = token.Customer, "", once })
		w.entered(b.get("/chat/web?ta=" + ticket))
		w.entered(b.get("/chat/web?ta=" + ticket))
		second := b.get("/chat/shop?ta=" + ticket)
		channel := b.get("/auth/check").Header.Get("Admitone-Channel")
		if once {
			assert.Equal(t, http.StatusForbidden, second.StatusCode)
			assert.Equal(t, "web", channel)
		} else {
			w.entered(second)
			assert.Equal(t, "shop", channel)
		}
	}
}

// trap R24: an outage is not told as a refusal, nor admitted.
func TestOutage(t *testing.T) {
	w := newWorld(t).start()
	ticket := w.issue(nil)
	w.store.err = replay.ErrUnavailable
	res := w.browser().get("/login?ta=" + ticket)
	assert.Equal(t, http.StatusServiceUnavailable, res.StatusCode)
	assert.NotEmpty(t, res.Header.Get("Retry-After"))
	assert.Contains(t, res.body, "Reload this page")
	w.store.err = nil
	w.entered(w.browser().get("/login?ta=" + ticket))
}

func TestAdmit(t *testing.T) {
	w := newWorld(t)
	var order []string
	var fault, thenFault error
	w.Use = func(r *http.Request, _ *token.Ticket) verify.Use {
		check := func(token.Ticket) error { order = append(order, "check"); return nil }
		return verify.Use{Audience: token.Customer, Channel: r.PathValue("code"), Check: check}
	}
	w.Admit = func(r *http.Request, tk token.Ticket, _ verify.Use) (Entry, error) {
		order = append(order, "admit")
		return Entry{Session: Session{
			User: "42", Name: "Jane", Groups: []string{"vip"}, Brand: "ignored", Actor: "ignored",
		}, Then: func(ctx context.Context, s *Session) error {
			order = append(order, "then")
			_, limited := ctx.Deadline()
			assert.True(t, limited)
			s.Email = "new@example.com"
			return thenFault
		}}, fault
	}
	w.start()
	ticket := w.issue(func(tk *token.Ticket) { tk.Audience, tk.Username, tk.Channel = token.Customer, "", "web" })
	assert.Equal(t, http.StatusForbidden, w.browser().get("/chat/other?ta="+ticket).StatusCode)
	assert.Empty(t, order)
	fault = errors.New("no such customer")
	assert.Equal(t, http.StatusForbidden, w.browser().get("/chat/web?ta="+ticket).StatusCode)
	fault = &verify.Error{Reason: verify.StoreUnavailable}
	assert.Equal(t, http.StatusServiceUnavailable, w.browser().get("/chat/web?ta="+ticket).StatusCode)
	fault, order = nil, nil
	b := w.browser()
	w.entered(b.get("/chat/web?ta=" + ticket))
	assert.Equal(t, []string{"check", "admit", "then"}, order)
	check := b.get("/auth/check").Header
	for name, want := range map[string]string{
		"Remote-User": "42", "Remote-Name": "Jane", "Remote-Email": "new@example.com", "Remote-Groups": "vip", "Admitone-Brand": "commbox",
		"Admitone-Channel": "web", "Admitone-Actor": "key1", "Admitone-Audience": "customer",
	} {
		assert.Equal(t, want, check.Get(name), name)
	}
	thenFault = errors.New("database gone")
	b = w.browser()
	failed := b.get("/chat/web?ta=" + w.issue(func(tk *token.Ticket) { tk.Audience, tk.Username = token.Customer, "" }))
	assert.Equal(t, http.StatusInternalServerError, failed.StatusCode)
	assert.NotContains(t, failed.body, "database")
	assert.Contains(t, w.log.String(), "database gone")
	assert.Empty(t, b.user())
}

// A session that no cookie can hold is known before the ticket is spent; one that
// grows after that is a fault of ours, and nobody is signed in.
func TestSessionTooLarge(t *testing.T) {
	w := newWorld(t)
	var before, then []string
	w.Admit = func(*http.Request, token.Ticket, verify.Use) (Entry, error) {
		return Entry{Session: Session{Groups: before}, Then: func(_ context.Context, s *Session) error {
			s.Groups = append(s.Groups, then...)
			return nil
		}}, nil
	}
	w.start()
	ticket := w.issue(nil)
	for n := 2600; n <= 4000; n += 20 { // wherever the limit is, none is refused after the claim
		before = []string{strings.Repeat("g", n)}
		if status := w.browser().get("/login?ta=" + w.issue(nil)).StatusCode; status != http.StatusSeeOther {
			assert.Equal(t, http.StatusForbidden, status)
		}
	}
	assert.Equal(t, http.StatusForbidden, w.browser().get("/login?ta="+ticket).StatusCode)
	assert.Contains(t, w.log.String(), "fewer groups")
	before, then = []string{"staff"}, []string{strings.Repeat("g", 4000)}
	res := w.browser().get("/login?ta=" + ticket)
	assert.Equal(t, http.StatusInternalServerError, res.StatusCode)
	assert.Empty(t, res.Cookies())
}

// Each ticket is told of once, with what came of it; those that are not decided
// are not.
func TestDecided(t *testing.T) {
	w := newWorld(t)
	var told []string
	w.Decided = func(_ *http.Request, tk token.Ticket, err error) {
		var refused *verify.Error
		if errors.As(err, &refused) {
			assert.Zero(t, tk)
			told = append(told, string(refused.Reason))
			return
		}
		told = append(told, tk.Username)
	}
	confirm := false
	w.Admit = func(*http.Request, token.Ticket, verify.Use) (Entry, error) { return Entry{Confirm: confirm}, nil }
	w.start()
	ticket := w.issue(nil)
	b := w.browser()
	b.get("/login?ta=" + ticket)
	b.get("/login?ta=" + ticket) // a reload
	w.browser().get("/login?ta=" + ticket)
	w.browser().get("/login?ta=tkt1_x")
	confirm = true
	w.browser().get("/login?ta=" + w.issue(nil))
	w.browser().get("/login")
	assert.Equal(t, []string{"john.d", "already_used", "malformed"}, told)
}

// The page is in the brand's language where it has one.
func TestPageLanguage(t *testing.T) {
	w := newWorld(t)
	wanted := ""
	w.Page = func(*http.Request) Page { return Page{Language: wanted} }
	w.start()
	for language, want := range map[string]string{
		"": "en", "de": "de", "de-AT": "de", "he": "he", "tlh": "en", "?": "en",
	} {
		wanted = language
		res := w.browser().get("/login?ta=tkt1_x")
		assert.Equal(t, want, res.Header.Get("Content-Language"), language)
		assert.Contains(t, res.body, `<html lang="`+want+`"`)
	}
}

// What follows the claim does not end with a browser that no longer waits.
func TestThenOutlastsTheRequest(t *testing.T) {
	w := newWorld(t)
	ctx, hangUp := context.WithCancel(t.Context())
	w.Admit = func(*http.Request, token.Ticket, verify.Use) (Entry, error) {
		return Entry{Then: func(ctx context.Context, _ *Session) error { hangUp(); return ctx.Err() }}, nil
	}
	w.Config.Sessions = mustSessions(t, w.sessions)
	h, err := New(w.Config)
	require.NoError(t, err)
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/login?ta="+w.issue(nil), nil).WithContext(ctx))
	assert.Equal(t, http.StatusSeeOther, rec.Code)
}

// trap W3: another user's session is present.
func TestSwitch(t *testing.T) {
	for _, policy := range []Switch{ReplaceUser, ConfirmUser, RefuseUser} {
		w := newWorld(t)
		w.Admit = func(*http.Request, token.Ticket, verify.Use) (Entry, error) { return Entry{Switch: policy}, nil }
		w.start()
		b := w.browser()
		w.entered(b.get("/login?ta=" + w.issue(nil)))
		first := b.cookie("__Host-admitone-agent")
		id := func() string {
			r := carrying("__Host-admitone-agent", b.cookie("__Host-admitone-agent"))
			s, _ := current(w.Config.Sessions, nil, r, token.Agent)
			return s.ID
		}
		firstID := id()
		w.entered(b.get("/login?ta=" + w.issue(nil)))
		assert.Equal(t, "john.d", b.user(), "the same user enters again without a word")
		assert.NotEqual(t, first, b.cookie("__Host-admitone-agent"))
		assert.NotEqual(t, firstID, id(), "and the session ID changes (fixation)")
		firstID = id()

		ticket := w.issue(jane)
		res := b.get("/login?ta=" + ticket)
		switch policy {
		case ReplaceUser:
			w.entered(res)
		case ConfirmUser:
			assert.Equal(t, http.StatusOK, res.StatusCode)
			assert.Contains(t, res.body, "John Doe")
			assert.Contains(t, res.body, "Jane Roe")
			assert.Equal(t, "john.d", b.user())
			w.entered(b.press(res, ownForm...))
		case RefuseUser:
			assert.Equal(t, http.StatusConflict, res.StatusCode)
			assert.Contains(t, res.body, "sign out first")
			assert.NotContains(t, res.body, "<form", "without Config.Logout there is no button")
			assert.Equal(t, "john.d", b.user())
			assert.Equal(t, http.StatusSeeOther, b.do(http.MethodPost, "/logout", "").StatusCode)
			w.entered(b.get("/login?ta=" + ticket)) // unspent
		}
		assert.Equal(t, "jane.r", b.user())
		assert.NotEqual(t, firstID, id())
	}
}

// The page about another user signs out with a button, in the page's language. The
// ticket is not in the form, and stays unspent.
func TestSignOutButton(t *testing.T) {
	for language, button := range map[string]string{"en": "Sign out", "de": "Abmelden", "he": "יציאה מהחשבון"} {
		w := newWorld(t)
		w.Logout = map[string]string{"en": "/logout", "de": "logout", "he": "./logout"}[language]
		w.Admit = func(*http.Request, token.Ticket, verify.Use) (Entry, error) { return Entry{Switch: RefuseUser}, nil }
		w.start()
		b := w.browser()
		w.entered(b.get("/login?ta=" + w.issue(nil)))
		ticket := w.issue(jane)
		page := b.get("/login?lang=x&ta="+ticket+"&next=/inbox", "Accept-Language", language)
		require.Equal(t, http.StatusConflict, page.StatusCode)
		assert.Contains(t, page.body, `<button type="submit">`+button+`</button>`)
		assert.NotContains(t, page.body, ticket)
		assert.Contains(t, page.Header.Get("Content-Security-Policy"), "form-action 'self';")
		assert.Empty(t, fields(page))

		// Another site's page cannot press it; this one's form does.
		assert.Equal(
			t, http.StatusForbidden,
			b.press(page, "Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example").StatusCode,
		)
		assert.Equal(t, "john.d", b.user())
		out := b.press(page, ownForm...)
		require.Equal(t, http.StatusSeeOther, out.StatusCode)
		assert.Equal(t, "/bye", out.leads())
		assert.Empty(t, b.user())
		w.entered(b.get("/login?ta=" + ticket))
		assert.Equal(t, "jane.r", b.user())
	}
	for _, logout := range []string{
		"https://evil.example/logout", "//evil.example", "///evil.example", "javascript:x", `/\evil.example`,
	} {
		c := newWorld(t).Config
		c.Sessions, c.Logout = new(Sessions), logout
		_, err := New(c)
		assert.ErrorContains(t, err, "Config.Logout", logout)
	}
}

// trap W3, by a form on another site: with it come no SameSite=Lax cookies, so it
// cannot be seen that somebody is signed in.
// trap W11: of the policies of the session and of the ticket, the stricter holds, also
// where another site's form brings the ticket and the browser withholds its session.
func TestSwitchOf(t *testing.T) {
	policies := map[string]Switch{"lax": ReplaceUser, "asking": ConfirmUser, "strict": RefuseUser}
	of := func(brand string) func(*token.Ticket) {
		return func(tk *token.Ticket) { tk.Brand = brand }
	}
	foreign := []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Origin", "https://evil.example"}
	for owner, protects := range policies {
		for comer, allows := range policies {
			w := newWorld(t)
			var broken error
			asked, unseen := 0, RefuseUser
			w.Admit = func(_ *http.Request, t token.Ticket, _ verify.Use) (Entry, error) {
				return Entry{Switch: policies[t.Brand]}, nil
			}
			w.SwitchOf = func(_ context.Context, s Session) (Switch, error) {
				asked++
				if s.Brand == "" {
					return unseen, broken
				}
				return policies[s.Brand], broken
			}
			w.start()
			b := w.browser()
			w.entered(b.get("/login?ta=" + w.issue(of(owner))))
			brand := func() string { return b.get("/auth/check").Header.Get("Admitone-Brand") }
			if owner == comer {
				res := b.get("/login?ta=" + w.issue(func(tk *token.Ticket) { jane(tk); tk.Brand = owner }))
				assert.Equal(t, allows == ReplaceUser, res.StatusCode == http.StatusSeeOther)
				assert.Zero(t, asked, "the ticket's policy is the session's")
				continue
			}
			ticket := w.issue(of(comer)) // the username is the same
			broken = errors.New("not now")
			assert.Equal(t, http.StatusServiceUnavailable, b.get("/login?ta="+ticket).StatusCode)
			broken = nil

			withoutCookies := w.browser()
			page := withoutCookies.do(http.MethodPost, "/login", "ta="+ticket, foreign...)
			require.Equal(t, http.StatusOK, page.StatusCode, "%s %s", owner, comer)
			assert.Equal(t, owner, brand())
			u, err := url.Parse(w.server.URL)
			require.NoError(t, err)
			b.client.Jar.SetCookies(u, page.Cookies())
			res := b.press(page, ownForm...)
			switch max(protects, allows) {
			case ReplaceUser:
				w.entered(res)
			case ConfirmUser:
				assert.Equal(t, http.StatusOK, res.StatusCode, "%s %s", owner, comer)
				assert.Equal(t, owner, brand())
				w.entered(b.press(res, ownForm...))
			case RefuseUser:
				assert.Equal(t, http.StatusConflict, res.StatusCode, "%s %s", owner, comer)
				assert.Equal(t, http.StatusConflict, b.get("/login?ta="+ticket).StatusCode)
				assert.Equal(t, owner, brand())
				assert.Equal(t, http.StatusSeeOther, b.do(http.MethodPost, "/logout", "").StatusCode)
				w.entered(b.get("/login?ta=" + ticket)) // unspent
			}
			assert.Equal(t, comer, brand())
			assert.Positive(t, asked)

			unseen = ReplaceUser // no session has another policy
			page = w.browser().do(http.MethodPost, "/login", "ta="+w.issue(of(comer)), foreign...)
			assert.Equal(t, allows == ReplaceUser, page.StatusCode == http.StatusSeeOther)
		}
	}
}

func TestSwitchFromAnotherSite(t *testing.T) {
	foreign := []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Origin", "https://evil.example"}
	for _, policy := range []Switch{ReplaceUser, ConfirmUser, RefuseUser} {
		w := newWorld(t)
		w.Admit = func(*http.Request, token.Ticket, verify.Use) (Entry, error) { return Entry{Switch: policy}, nil }
		w.start()
		b := w.browser()
		w.entered(b.get("/login?ta=" + w.issue(nil)))
		ticket := w.issue(jane)
		withoutCookies := w.browser()
		res := withoutCookies.do(http.MethodPost, "/login", "ta="+ticket, foreign...)
		if policy == ReplaceUser {
			w.entered(res)
			continue
		}
		require.Equal(t, http.StatusOK, res.StatusCode)
		assert.Empty(t, withoutCookies.user())
		// The page's form comes with the cookies: that of the session, and that of the page.
		u, err := url.Parse(w.server.URL)
		require.NoError(t, err)
		b.client.Jar.SetCookies(u, res.Cookies())
		res = b.press(res, ownForm...)
		if policy == RefuseUser {
			assert.Equal(t, http.StatusConflict, res.StatusCode)
			continue
		}
		assert.Equal(t, http.StatusOK, res.StatusCode, "what the page did not say was not confirmed")
		assert.Contains(t, res.body, "John Doe")
		w.entered(b.press(res, ownForm...))
	}
}

// trap W6: where to go on to is a path of this site.
func TestNext(t *testing.T) {
	w := newWorld(t)
	w.Home = "/inbox"
	w.start()
	for next, want := range map[string]string{
		"/reports?id=7#top": "/reports?id=7#top", "//evil.example": "/inbox", "https://evil.example/": "/inbox", `/\evil.example`: "/inbox", "": "/inbox",
	} {
		assert.Equal(t, want, w.entered(w.browser().get("/login?next="+url.QueryEscape(next)+"&ta="+w.issue(nil))), next)
		assert.Equal(
			t, want,
			w.entered(w.browser().do(http.MethodPost, "/login", "ta="+w.issue(nil)+"&next="+url.QueryEscape(next))),
			next,
		)
	}
	assert.Equal(t, "/inbox", w.entered(w.browser().get("/login?next=/a&next=/b&ta="+w.issue(nil))), "which one?")

	w = newWorld(t).start()
	assert.Equal(t, "/login?a=1", w.entered(w.browser().get("/login?a=1&next=//evil.example&ta="+w.issue(nil))))
}

// trap W4: a ticket's own fields inject nothing into pages, headers and the log.
func TestInjection(t *testing.T) {
	w := newWorld(t)
	w.Admit = func(*http.Request, token.Ticket, verify.Use) (Entry, error) {
		return Entry{Confirm: true, Session: Session{Groups: []string{"a,b", "c\r\nX: 1"}}}, nil
	}
	w.looks(Page{
		Brand: "<b>Brand</b>", Colour: "#fff;} body { display: none",
		FrameAncestors:  []string{"https://a.example; script-src *", "'self'\r\nX: 1"},
		RedirectOrigins: []string{"https://app.example", "*", "https://x; script-src *"},
	})
	w.start()
	b := w.browser()
	ticket := w.issue(func(tk *token.Ticket) {
		tk.FirstName, tk.LastName = `"><script>alert(1)</script>`, "\u202eevil\u2069 {current}"
		tk.Username, tk.Email, tk.Brand = "a level=ERROR msg=x", "é%,@example.com ", "b c"
	})
	page := b.get("/login?ta=" + ticket)
	require.Equal(t, http.StatusOK, page.StatusCode)
	assert.NotContains(t, page.body, "<script")
	assert.NotContains(t, page.body, "<b>")
	assert.NotContains(t, page.body, "\u202e")
	assert.Contains(t, page.body, "&lt;script&gt;")
	csp := page.Header.Get("Content-Security-Policy")
	assert.Contains(t, csp, "default-src 'none'")
	assert.True(t, strings.HasSuffix(csp, "; frame-ancestors 'none'"), csp)
	assert.Contains(t, csp, "; form-action 'self' https://app.example; ")
	assert.NotContains(t, csp, "script-src")
	assert.NotContains(t, csp, "unsafe")
	assert.Contains(t, page.body, "?"+sheetParameter+"="+defaultColour)
	w.entered(b.press(page, ownForm...))
	h := b.get("/auth/check").Header
	assert.Equal(t, "%C3%A9%25,@example.com%20", h.Get("Remote-Email"))
	assert.Equal(t, "a%2Cb,c%0D%0AX: 1", h.Get("Remote-Groups"))
	assert.Empty(t, h.Get("X"))
	assert.Equal(t, `"><script>alert(1)</script> %E2%80%AEevil%E2%81%A9 {current}`, h.Get("Remote-Name"))
	for line := range strings.Lines(w.log.String()) {
		assert.True(t, strings.HasPrefix(line, "time="), line)
	}
}

// A request opens its ticket once, whatever comes of it.
func TestOneOpening(t *testing.T) {
	w := newWorld(t)
	confirm := false
	w.Admit = func(*http.Request, token.Ticket, verify.Use) (Entry, error) {
		return Entry{Confirm: confirm, Switch: RefuseUser}, nil
	}
	w.start()
	opened := func(want int, request func() answer) answer {
		t.Helper()
		w.opener.opened.Store(0)
		a := request()
		assert.EqualValues(t, want, w.opener.opened.Load())
		return a
	}
	b := w.browser()
	ticket := w.issue(nil)
	w.entered(opened(1, func() answer { return b.get("/login?ta=" + ticket) }))
	w.entered(opened(1, func() answer { return b.get("/login?ta=" + ticket) }))
	other := opened(1, func() answer { return b.get("/login?ta=" + w.issue(jane)) })
	assert.Equal(t, http.StatusConflict, other.StatusCode)
	used := opened(1, func() answer { return w.browser().get("/login?ta=" + ticket) })
	assert.Equal(t, http.StatusForbidden, used.StatusCode)
	opened(0, func() answer { return b.get("/login") })
	confirm = true
	b = w.browser()
	ticket = w.issue(nil)
	page := opened(1, func() answer { return b.get("/login?ta=" + ticket) })
	require.Equal(t, http.StatusOK, page.StatusCode)
	w.entered(opened(1, func() answer { return b.press(page, ownForm...) }))
	used = opened(1, func() answer { return w.browser().get("/login?ta=" + ticket) })
	assert.Equal(t, http.StatusForbidden, used.StatusCode, "the confirm page knows it at once")
}

// The use is an answer to the decoded ticket; a page's looks are the entry's or, without
// a good ticket, the service's.
func TestUseOfATicket(t *testing.T) {
	w := newWorld(t)
	var asked []*token.Ticket
	cause := error(nil)
	w.Use = func(_ *http.Request, tk *token.Ticket) verify.Use {
		asked = append(asked, tk)
		return verify.Use{Audience: token.Customer, Complete: func(tk token.Ticket, u *verify.Use) error {
			u.Channel = "of " + tk.Brand
			return cause
		}}
	}
	w.Page = func(*http.Request) Page { return Page{Brand: "The service"} }
	w.Admit = func(_ *http.Request, tk token.Ticket, use verify.Use) (Entry, error) {
		return Entry{Confirm: true, Page: Page{Brand: use.Channel}}, nil
	}
	w.start()
	b := w.browser()
	ticket := w.issue(func(tk *token.Ticket) {
		tk.Audience, tk.Username, tk.Channel = token.Customer, "", "of commbox"
	})
	page := b.get("/login?ta=" + ticket)
	require.Equal(t, http.StatusOK, page.StatusCode, page.body)
	assert.Contains(t, page.body, "of commbox")
	w.entered(b.press(page, ownForm...))
	assert.Equal(t, "of commbox", b.get("/auth/check").Header.Get("Admitone-Channel"))
	nobody := w.browser().get("/login")
	assert.Contains(t, nobody.body, "The service")
	require.Len(t, asked, 3)
	assert.Equal(t, "commbox", asked[0].Brand)
	assert.Nil(t, asked[2], "without a ticket")
	cause = &verify.Error{Reason: verify.StoreUnavailable}
	res := w.browser().get("/login?ta=" + ticket)
	assert.Equal(t, http.StatusServiceUnavailable, res.StatusCode)
	assert.Contains(t, res.body, "The service")
	assert.Contains(t, w.log.String(), `msg="ticket not decided" reason=store_unavailable ticket=`)
}

func TestConfig(t *testing.T) {
	w := newWorld(t)
	good := w.Config
	good.Sessions = mustSessions(t, w.sessions)
	_, err := New(good)
	require.NoError(t, err)
	for want, change := range map[string]func(*Config){
		"Verifier is nil": func(c *Config) { c.Verifier = nil },
		"Sessions is nil": func(c *Config) { c.Sessions = nil },
		"Use is nil":      func(c *Config) { c.Use = nil },
		"Home is not":     func(c *Config) { c.Home = "//evil.example" },
		"language":        func(c *Config) { c.Texts = map[string]Texts{"not a language": {}} },
	} {
		c := good
		change(&c)
		_, err := New(c)
		assert.ErrorContains(t, err, want)
		var config *token.ConfigError
		assert.ErrorAs(t, err, &config)
	}
}

// ownSessions are a service's own, in a table.
type ownSessions struct{ byID map[string]Session }

func (o *ownSessions) Start(w http.ResponseWriter, _ *http.Request, s Session) error {
	id := s.TicketID.String()
	o.byID[id] = s
	http.SetCookie(w, &http.Cookie{Name: "own", Value: id, Path: "/"})
	return nil
}

func (o *ownSessions) Current(_ http.ResponseWriter, r *http.Request, a token.Audience) (Session, error) {
	c, err := r.Cookie("own")
	if err != nil {
		return Session{}, ErrNoSession
	}
	s, ok := o.byID[c.Value]
	if !ok || s.Audience != a {
		return Session{}, ErrNoSession
	}
	return s, nil
}

func TestOwnSessions(t *testing.T) {
	w := newWorld(t)
	w.Config.Sessions = &ownSessions{make(map[string]Session)}
	w.start()
	b := w.browser()
	w.entered(b.get("/login?ta=" + w.issue(nil)))
	assert.Equal(t, "john.d", b.user())

	// Theirs need no IDs for it to be seen which user a page told of.
	w = newWorld(t)
	w.Config.Sessions = &ownSessions{make(map[string]Session)}
	w.Admit = func(*http.Request, token.Ticket, verify.Use) (Entry, error) {
		return Entry{Confirm: true, Switch: ConfirmUser}, nil
	}
	w.start()
	b = w.browser()
	page := b.get("/login?ta=" + w.issue(nil))
	second := b.get("/login?ta=" + w.issue(jane))
	w.entered(b.press(page, ownForm...))
	second = b.press(second, ownForm...)
	assert.Equal(t, http.StatusOK, second.StatusCode)
	assert.Contains(t, second.body, "John Doe")
	w.entered(b.press(second, ownForm...))
	assert.Equal(t, "jane.r", b.user())
}

func TestNoTicketHandler(t *testing.T) {
	w := newWorld(t)
	w.NoTicket = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusTeapot) })
	w.start()
	assert.Equal(t, http.StatusTeapot, w.browser().get("/login?tax=1").StatusCode)
	w.entered(w.browser().get("/login?ta=" + w.issue(nil)))
	rec := httptest.NewRecorder()
	h, err := New(w.Config)
	require.NoError(t, err)
	h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/login", nil))
	assert.Empty(t, rec.Header(), "the service's own answer is its own")
}
