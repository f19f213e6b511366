package main

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	refusedTitle = "This link does not work any more"
	confirmJohn  = "Continue as \u2068John Doe\u2069?"
	confirmAnn   = "Continue as \u2068Ann Example\u2069?"
	annIsIn      = "You are signed in as \u2068Ann Example\u2069"
	janeIsIn     = "You are signed in as \u2068Jane Roe\u2069"
)

var (
	button    = chromedp.CSS("button")
	reference = regexp.MustCompile(`<p class="reference">Reference for support: <bdi>([0-9a-f]{32})</bdi></p>`)
)

// One browser for all of these, since starting one takes long. Each part is a
// person of their own.
func TestBrowser(t *testing.T) {
	t.Parallel()
	p := newPages(t)
	for _, part := range []struct {
		name string
		test func(*testing.T, *pages)
	}{
		{"login", browserLogin}, {"chat", browserChat}, {"confirm", browserConfirm}, {"refused", browserRefused}, {"switch", browserSwitch},
		{"tabs", browserTabs}, {"frame", browserFrame}, {"frame elsewhere", browserFrameElsewhere}, {"frame without cookies", browserFrameWithoutCookies},
		{"no JavaScript", browserNoJavaScript}, {"hints", browserHints}, {"no cookie", browserNoCookie}, {"right to left", browserRightToLeft}, {"logout", browserLogout},
		{"later", browserLater}, {"failed", browserFailed}, {"docs", browserDocs},
	} {
		t.Run(part.name, func(t *testing.T) { part.test(t, p) })
	}
	require.Equal(t, 0, p.demo.end(syscall.SIGTERM))
	assert.NotContains(t, p.demo.stderr.String(), "tkt1_")
	assert.NotContains(t, p.demo.stderr.String(), "ta=")
}

// trap W2: a browser follows the login URL and ends on the page, with the ticket in
// no URL, history entry or Referer.
func browserLogin(t *testing.T, p *pages) {
	ctx := p.person(t)
	ticket := p.john(t)
	secret := ticket[5:]
	elsewhere := p.put("elsewhere", "/", fmt.Sprintf(`<!doctype html><title>elsewhere</title><a href="%s?ta=%s">in</a>`,
		p.info.LoginURL, ticket))
	after := p.put("elsewhere", "/after", `<!doctype html><title>after</title><p>`)
	var mu sync.Mutex
	var requested []string
	require.NoError(t, chromedp.Listen(ctx, func(ev any) {
		if e, ok := ev.(*network.EventRequestWillBeSent); ok {
			mu.Lock()
			defer mu.Unlock()
			requested = append(requested, e.Request.URL+fmt.Sprint(e.Request.Headers))
		}
	}))
	goTo(t, ctx, elsewhere)
	does(t, ctx, chromedp.Click(chromedp.CSS("a")))
	waitTitle(t, ctx, johnIsIn)
	p.look(t, ctx, "signed-in")
	assert.Equal(t, johnIsIn, does(t, ctx, heading))
	assert.Equal(t, p.info.LoginURL, does(t, ctx, chromedp.Location()))
	assert.NotContains(t, does(t, ctx, chromedp.Evaluate[string]("document.referrer")), secret)
	assert.NotContains(t, does(t, ctx, chromedp.Evaluate[string]("document.documentElement.outerHTML")), secret)

	leave(t, ctx, fmt.Sprintf("location.href = %q", after), "after")
	assert.Empty(t, does(t, ctx, chromedp.Evaluate[string]("document.referrer")),
		"the page tells other sites nothing of where it is")
	entries := does(t, ctx, chromedp.NavigationEntries()).Entries
	require.NotEmpty(t, entries)
	for _, e := range entries {
		// UserTypedURL is not among these: Chromium keeps there, for the tab's
		// lifetime, what a redirect came from. No page can read it.
		assert.NotContains(t, e.URL+e.Title, secret)
	}
	mu.Lock()
	require.GreaterOrEqual(t, len(requested), 5, "the link, login, the same without the ticket, its stylesheet, after: %v",
		requested)
	assert.Equal(t, 1, strings.Count(strings.Join(requested, " "), secret),
		"only the request that the link makes has the ticket: %v", requested)
	mu.Unlock()

	// Back, reload and the link once more stay signed in, and nobody else gets in.
	leave(t, ctx, "history.back()", johnIsIn)
	does(t, ctx, chromedp.Reload())
	waitTitle(t, ctx, johnIsIn)
	goTo(t, ctx, p.info.LoginURL+"?ta="+ticket)
	assert.Equal(t, johnIsIn, title(t, ctx))
	assert.Equal(t, "john.d", p.user(t, ctx))
	other := p.person(t)
	goTo(t, other, p.info.LoginURL+"?ta="+ticket)
	assert.Equal(t, refusedTitle, title(t, other))
	p.look(t, other, "refused")
	goTo(t, other, p.info.LoginURL)
	assert.Equal(t, "You are not signed in", title(t, other))
	p.look(t, other, "nobody")
}

func browserChat(t *testing.T, p *pages) {
	p.brand(t, "--display-name", "Comm & Box", "--colour", "#f5c400")
	ctx := p.person(t)
	ticket := p.issue(t, `{"brand":"commbox","email":"jane@example.com","firstName":"Jane","lastName":"Roe","oneTimeUse":true}`)
	goTo(t, ctx, p.info.ChatURL+"?ta="+ticket)
	assert.Equal(t, janeIsIn, title(t, ctx))
	assert.Equal(t, p.info.ChatURL, does(t, ctx, chromedp.Location()))
	p.look(t, ctx, "chat")
	assert.Equal(t, http.StatusForbidden, p.strangers(t, p.info.ChatURL+"?ta="+ticket))
}

// traps W1, W8: the page asks first, and is used with the keyboard alone.
func browserConfirm(t *testing.T, p *pages) {
	p.brand(t, "--confirm", "--display-name", "Comm & Box", "--colour", "#0a7d44")
	ctx := p.person(t)
	ticket := p.john(t)
	goTo(t, ctx, p.info.LoginURL+"?ta="+ticket)
	require.Equal(t, confirmJohn, title(t, ctx))
	p.look(t, ctx, "confirm")
	assert.Equal(t, http.StatusOK, p.strangers(t, p.info.LoginURL+"?ta="+ticket),
		"a scanner is asked as well, and spends nothing")
	assert.Equal(t, "BUTTON", does(t, ctx,
		chromedp.Evaluate[string](`document.body.focus(), document.querySelector("button").focus(), document.activeElement.tagName`)))
	does(t, ctx, chromedp.SendKeys(button, "\r"))
	waitTitle(t, ctx, johnIsIn)
	assert.Equal(t, p.info.LoginURL, does(t, ctx, chromedp.Location()))
	assert.Equal(t, http.StatusForbidden, p.strangers(t, p.info.LoginURL+"?ta="+ticket))

	// The way back leads on.
	leave(t, ctx, "history.back()", johnIsIn)
	does(t, ctx, chromedp.Reload())
	waitTitle(t, ctx, johnIsIn)
	assert.Equal(t, "john.d", p.user(t, ctx))
}

// An expired ticket and a forged one look like a used one.
func browserRefused(t *testing.T, p *pages) {
	ctx := p.person(t)
	expired := p.issue(t,
		`{"brand":"commbox","username":"john.d","email":"john.d@gmail.com","expiresIn":1,"oneTimeUse":true}`)
	require.Eventually(t, func() bool {
		return p.strangers(t, p.info.LoginURL+"?ta="+expired) == http.StatusForbidden // the first of these may still enter
	}, time.Minute, 200*time.Millisecond)
	goTo(t, ctx, p.info.LoginURL+"?ta="+expired)
	assert.Equal(t, refusedTitle, title(t, ctx))
	page := func() string { // without the ID of the request
		html := does(t, ctx, chromedp.Evaluate[string]("document.documentElement.outerHTML"))
		found := reference.FindStringSubmatch(html)
		require.NotNil(t, found, html)
		return strings.Replace(html, found[1], "", 1)
	}
	ofExpired := page()
	goTo(t, ctx, p.info.LoginURL+"?ta="+expired[:40]+"x"+expired[41:])
	assert.Equal(t, ofExpired, page())
}

// trap W3: all three policies.
func browserSwitch(t *testing.T, p *pages) {
	ctx := p.person(t)
	goTo(t, ctx, p.info.LoginURL+"?ta="+p.john(t))
	require.Equal(t, johnIsIn, title(t, ctx))

	p.brand(t, "--other-user", "refuse")
	refused := p.info.LoginURL + "?ta=" + p.ann(t)
	goTo(t, ctx, refused)
	assert.Equal(t, "You are signed in as \u2068John Doe\u2069", title(t, ctx))
	assert.Contains(t, does(t, ctx, chromedp.Text(chromedp.CSS("main"))), "was not used")
	p.look(t, ctx, "other-user")
	assert.Equal(t, "john.d", p.user(t, ctx))
	assert.Equal(t, http.StatusSeeOther, p.strangers(t, refused), "the ticket was not spent")

	p.brand(t, "--other-user", "confirm")
	goTo(t, ctx, p.info.LoginURL+"?ta="+p.ann(t))
	require.Equal(t, confirmAnn, title(t, ctx))
	assert.Contains(t, does(t, ctx, chromedp.Text(chromedp.CSS("main"))), "is signed out")
	p.look(t, ctx, "switch")
	assert.Equal(t, "john.d", p.user(t, ctx))
	does(t, ctx, chromedp.Click(button))
	waitTitle(t, ctx, annIsIn)
	assert.Equal(t, "ann", p.user(t, ctx))

	p.brand(t, "--other-user", "replace")
	goTo(t, ctx, p.info.LoginURL+"?ta="+p.john(t))
	assert.Equal(t, johnIsIn, title(t, ctx))
	assert.Equal(t, "john.d", p.user(t, ctx))
}

// Two tabs of one person: a link opened in both, and a confirmation in both.
func browserTabs(t *testing.T, p *pages) {
	one := p.person(t)
	two := p.another(t, one)
	u := p.info.LoginURL + "?ta=" + p.john(t)
	goTo(t, one, u)
	goTo(t, two, u)
	assert.Equal(t, johnIsIn, title(t, one))
	assert.Equal(t, johnIsIn, title(t, two))

	p.brand(t, "--confirm")
	u = p.info.LoginURL + "?ta=" + p.ann(t)
	goTo(t, one, u)
	goTo(t, two, u)
	require.Equal(t, confirmAnn, title(t, one))
	require.Equal(t, confirmAnn, title(t, two))
	does(t, one, chromedp.Click(button))
	waitTitle(t, one, annIsIn)
	does(t, two, chromedp.Click(button))
	waitTitle(t, two, annIsIn)
	assert.Equal(t, "ann", p.user(t, two))
}

// shopChat is the channel that another site embeds.
func (p *pages) shopChat(t *testing.T) string {
	t.Helper()
	out := p.admin(t, "channel", "url", "shop", "--brand", "commbox", "--public-url", p.site("login"))
	return strings.TrimSpace(out)
}

func (p *pages) embed(site, path, src string) string {
	return p.put(site, path, `<!doctype html><html lang="en"><title>`+
		site+`</title><iframe title="chat" width="600" height="500" src="`+src+`"></iframe>`)
}

// A chat in a frame on another site: the session is kept there (CHIPS), for that
// site alone.
func browserFrame(t *testing.T, p *pages) {
	chat := p.shopChat(t)
	for _, name := range []string{"direct", "confirm"} {
		p.brand(t, "--confirm="+fmt.Sprint(name == "confirm"))
		ctx := p.person(t)
		ticket := p.issue(t, `{"brand":"commbox","email":"jane@example.com","firstName":"Jane","lastName":"Roe","oneTimeUse":true}`)
		goTo(t, ctx, p.embed("shop", "/in", chat+"?ta="+ticket))
		if name == "confirm" {
			press(t, frame(t, ctx, chat, "Continue as \u2068Jane Roe\u2069?"))
		}
		frame(t, ctx, chat, janeIsIn)
		assert.Equal(t, http.StatusForbidden, p.strangers(t, chat+"?ta="+ticket), name)

		goTo(t, ctx, p.embed("shop", "/again", chat))
		frame(t, ctx, chat, janeIsIn)
		goTo(t, ctx, chat)
		assert.Equal(t, "You are not signed in", title(t, ctx), "%s: the session is the shop's page's", name)
	}
}

// A site that the channel does not name shows nothing, and spends nothing.
func browserFrameElsewhere(t *testing.T, p *pages) {
	ctx := p.person(t)
	u := p.info.ChatURL + "?ta=" + p.issue(t,
		`{"brand":"commbox","email":"jane@example.com","firstName":"Jane","oneTimeUse":true}`)
	goTo(t, ctx, p.embed("evil", "/in", u))
	require.Eventually(t, func() bool { return p.saw(u[len(p.site("login")):]) }, time.Minute, 20*time.Millisecond,
		"the frame has asked")
	assert.Equal(t, http.StatusSeeOther, p.strangers(t, u))
}

// An agent's session is kept in no frame: the page says so before the ticket is
// spent, and a new tab takes it.
func browserFrameWithoutCookies(t *testing.T, p *pages) {
	p.brand(t, "--frame-ancestors", p.site("shop"))
	ctx := p.person(t)
	u := p.info.LoginURL + "?ta=" + p.john(t)
	goTo(t, ctx, p.embed("shop", "/agent", u))
	inner := frame(t, ctx, p.site("login"), "One more step")
	opened := chromedp.WaitNewTarget(inner, func(*target.Info) bool { return true })
	press(t, inner)
	select {
	case id := <-opened:
		tab, cancel := chromedp.NewContext(ctx, chromedp.WithTargetID(id))
		t.Cleanup(cancel)
		require.NoError(t, chromedp.Do(tab))
		waitTitle(t, tab, johnIsIn)
	case <-time.After(3 * time.Minute):
		t.Fatal("no tab was opened")
	}
	assert.Equal(t, http.StatusForbidden, p.strangers(t, u))
}

// trap W8: everything works with JavaScript off.
func browserNoJavaScript(t *testing.T, p *pages) {
	p.brand(t, "--confirm")
	ctx := p.person(t)
	_, err := chromedp.Call(ctx, emulation.SetScriptExecutionDisabled,
		emulation.SetScriptExecutionDisabledParams{Value: true})
	require.NoError(t, err)
	goTo(t, ctx, p.put("elsewhere", "/js", `<!doctype html><title>off</title><script>document.title = "on"</script>`))
	require.Equal(t, "off", title(t, ctx), "it is off")
	goTo(t, ctx, p.info.LoginURL+"?ta="+p.john(t))
	require.Equal(t, confirmJohn, title(t, ctx))
	does(t, ctx, chromedp.Click(button))
	waitTitle(t, ctx, johnIsIn)
}

// trap W1: what the browser fetches ahead spends nothing, and the click then does.
func browserHints(t *testing.T, p *pages) {
	for name, head := range map[string]string{
		"prefetch":             `<link rel="prefetch" href="%s">`,
		"prefetch by rules":    `<script type="speculationrules">{"prefetch":[{"urls":["%s"],"eagerness":"immediate"}]}</script>`,
		"prerendered by rules": `<script type="speculationrules">{"prerender":[{"urls":["%s"],"eagerness":"immediate"}]}</script>`,
	} {
		ctx := p.person(t)
		path := "/login?ta=" + p.john(t)
		goTo(t, ctx, p.put("login", "/hints", `<!doctype html><title>hints</title>`+fmt.Sprintf(head, path)+`<a href="`+
			path+`">in</a>`))
		require.Eventually(t, func() bool { return p.saw(path, "prefetch") }, time.Minute, 20*time.Millisecond,
			"%s: the browser has looked ahead", name)
		does(t, ctx, chromedp.Click(chromedp.CSS("a")))
		waitTitle(t, ctx, johnIsIn)
	}
}

// Where the browser keeps no cookie, the ticket is not spent.
func browserNoCookie(t *testing.T, p *pages) {
	p.brand(t, "--confirm")
	ctx := p.person(t)
	u := p.info.LoginURL + "?ta=" + p.john(t)
	goTo(t, ctx, u)
	require.Equal(t, confirmJohn, title(t, ctx))
	_, err := chromedp.Call(ctx, network.ClearBrowserCookies, cdp.Empty{})
	require.NoError(t, err)
	does(t, ctx, chromedp.Click(button))
	waitTitle(t, ctx, "One more step")
	p.look(t, ctx, "no-cookie")
	assert.Equal(t, http.StatusOK, p.strangers(t, u), "it still asks")
}

func browserRightToLeft(t *testing.T, p *pages) {
	p.brand(t, "--confirm", "--language", "he", "--display-name", "קומבוקס")
	ctx := p.person(t)
	goTo(t, ctx, p.info.LoginURL+"?ta="+p.john(t))
	assert.Equal(t, "rtl", does(t, ctx,
		chromedp.Evaluate[string](`getComputedStyle(document.querySelector("h1")).direction`)))
	p.look(t, ctx, "hebrew")
}

func browserLogout(t *testing.T, p *pages) {
	ctx := p.person(t)
	goTo(t, ctx, p.info.LoginURL+"?ta="+p.john(t))
	require.Equal(t, "john.d", p.user(t, ctx))
	// Another site's form signs nobody out.
	goTo(t, ctx, p.put("evil", "/logout", `<!doctype html><title>evil</title><form method="post" action="`+p.site("login")+
		`/logout"><button>x</button></form>`))
	does(t, ctx, chromedp.Click(button))
	require.Eventually(t, func() bool { return location(ctx) == p.site("login")+"/logout" }, time.Minute,
		20*time.Millisecond)
	goTo(t, ctx, p.info.LoginURL)
	require.Equal(t, johnIsIn, title(t, ctx))
	goTo(t, ctx, p.put("login", "/menu",
		`<!doctype html><title>menu</title><form method="post" action="/logout"><button>x</button></form>`))
	does(t, ctx, chromedp.Click(button))
	waitTitle(t, ctx, "You are not signed in")
	assert.Empty(t, p.user(t, ctx))
}

// press presses the button of a page in a frame, where the mouse of chromedp does
// not reach.
func press(t *testing.T, ctx context.Context) {
	t.Helper()
	does(t, ctx, chromedp.Evaluate[chromedp.Void](`void setTimeout(() => document.querySelector("button").click())`,
		func(p *runtime.EvaluateParams) { p.UserGesture = new(true) }))
}

func location(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	u, err := chromedp.Run(ctx, chromedp.Evaluate[string]("location.href"))
	if err != nil {
		return ""
	}
	return u
}
