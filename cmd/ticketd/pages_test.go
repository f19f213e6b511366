package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// pages are a demo behind TLS at login.test, other sites, and a browser that knows
// them all.
type pages struct {
	ctx  context.Context // the browser
	demo *process
	info demoInfo // as people reach it
	data string
	port string

	mu    sync.Mutex
	sites map[string]http.Handler // by host and path
	asked []string                // "GET /path?query purpose", of login.test
}

func newPages(t *testing.T) *pages {
	t.Helper()
	p := &pages{data: filepath.Join(t.TempDir(), "data"), sites: make(map[string]http.Handler)}
	local := &url.URL{Scheme: "http", Host: freeAddress(t)}
	proxy := httputil.NewSingleHostReverseProxy(local)
	front := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.Host)
		p.mu.Lock()
		page, ok := p.sites[host+r.URL.Path]
		if host == "login.test" {
			p.asked = append(p.asked, r.Method+" "+r.URL.RequestURI()+" "+r.Header.Get("Sec-Purpose"))
		}
		p.mu.Unlock()
		switch {
		case ok:
			page.ServeHTTP(w, r)
		case host == "login.test":
			proxy.ServeHTTP(w, r)
		default:
			http.NotFound(w, r)
		}
	}))
	_, p.port, _ = net.SplitHostPort(front.Listener.Addr().String())
	p.demo, p.info = startDemo(t, "--data", p.data, "--listen", local.Host, "--public-url", p.site("login"),
		"--trusted-proxies", "127.0.0.1")
	front.StartTLS()
	t.Cleanup(front.Close)
	p.ctx = browser(t, chromedp.IgnoreCertErrors, chromedp.Flag("host-resolver-rules", "MAP *.test 127.0.0.1"),
		// As browsers do it or will do: cookies of other sites are kept in no frame.
		chromedp.Flag("test-third-party-cookie-phaseout", true))
	p.admin(t, "agent", "add", "ann", "--brand", "commbox", "--email", "ann@example.com",
		"--first-name", "Ann", "--last-name", "Example")
	p.admin(t, "channel", "add", "shop", "--brand", "commbox", "--frame-ancestors", p.site("shop"))
	return p
}

func (p *pages) site(name string) string { return "https://" + name + ".test:" + p.port }

// put makes a page of some site.
func (p *pages) put(site, path, html string) string {
	return p.mount(site, path, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write([]byte(html))
	}))
}

// mount makes a page of some site that is more than its text.
func (p *pages) mount(site, path string, h http.Handler) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sites[site+".test"+path] = h
	return p.site(site) + path
}

// saw reports whether login.test was asked for something that has all texts.
func (p *pages) saw(texts ...string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, line := range p.asked {
		all := true
		for _, s := range texts {
			all = all && strings.Contains(line, s)
		}
		if all {
			return true
		}
	}
	return false
}

// admin runs a command on the demo's directory.
func (p *pages) admin(t *testing.T, args ...string) string {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(exe, append(args, "--data", p.data)...)
	cmd.Env = environ()
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	return string(out)
}

// brand sets what flags say until the test ends.
func (p *pages) brand(t *testing.T, flags ...string) {
	t.Helper()
	p.admin(t, append([]string{"brand", "set", "commbox"}, flags...)...)
	t.Cleanup(func() {
		p.admin(t, "brand", "set", "commbox", "--confirm=default", "--other-user=", "--display-name=", "--colour=",
			"--language=", "--frame-ancestors=")
	})
}

// issue asks for a ticket at the demo's own address.
func (p *pages) issue(t *testing.T, body string) string {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, p.site("login")+"/auth/ticket", strings.NewReader(body))
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer "+p.info.APIKey)
	res, err := p.client().Do(r)
	require.NoError(t, err)
	defer res.Body.Close()
	var e struct {
		Data struct{ EncpryptedString string }
	}
	require.NoError(t, json.NewDecoder(res.Body).Decode(&e))
	require.NotEmpty(t, e.Data.EncpryptedString, "%d", res.StatusCode)
	return e.Data.EncpryptedString
}

// client is Go's own, to which the same names lead.
func (p *pages) client() *http.Client {
	tr := httptest.NewTLSServer(nil)
	defer tr.Close()
	transport := tr.Client().Transport.(*http.Transport)
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, "127.0.0.1:"+p.port)
	}
	transport.TLSClientConfig.ServerName = "example.com"
	transport.DisableKeepAlives = true
	return &http.Client{Transport: transport}
}

func (p *pages) john(t *testing.T) string { t.Helper(); return p.issue(t, p.info.request(true)) }

func (p *pages) ann(t *testing.T) string {
	t.Helper()
	return p.issue(t, `{"brand":"commbox","username":"ann","email":"ann@example.com","oneTimeUse":true}`)
}

// person opens a tab with cookies of its own. If the test fails, what it shows is
// kept: see go test's flags -artifacts and -outputdir.
func (p *pages) person(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := chromedp.NewContext(p.ctx, chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	return p.watch(t, ctx, "failed.png")
}

// another opens another tab of the same person.
func (p *pages) another(t *testing.T, ctx context.Context) context.Context {
	t.Helper()
	ctx, cancel := chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	return p.watch(t, ctx, "failed-tab-2.png")
}

func (p *pages) watch(t *testing.T, ctx context.Context, name string) context.Context {
	t.Helper()
	require.NoError(t, chromedp.Do(ctx, chromedp.EmulateViewport(900, 700)))
	t.Cleanup(func() {
		if t.Failed() {
			keep(t, ctx, t.ArtifactDir(), name)
		}
	})
	return ctx
}

// keep writes what a tab shows into a folder.
func keep(t *testing.T, ctx context.Context, dir, name string) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	b, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name), b, 0o644)
	}
	if err != nil {
		t.Logf("no screenshot: %v", err)
	}
}

// goTo opens a URL and waits for the page.
func goTo(t *testing.T, ctx context.Context, u string) {
	t.Helper()
	does(t, ctx, chromedp.Navigate(u))
}

func title(t *testing.T, ctx context.Context) string {
	t.Helper()
	return does(t, ctx, chromedp.Evaluate[string]("document.title"))
}

// axe is the text of axe-core (https://github.com/dequelabs/axe-core). AXE_CORE
// names its file; else it is looked for where npm installs for all.
var axe = sync.OnceValues(func() (string, error) {
	path := os.Getenv("AXE_CORE")
	if path == "" {
		root, err := exec.Command("npm", "root", "--global").Output()
		if err != nil {
			return "", fmt.Errorf("AXE_CORE is not set, and there is no npm: %w", err)
		}
		path = filepath.Join(strings.TrimSpace(string(root)), "axe-core", "axe.min.js")
	}
	b, err := os.ReadFile(path)
	return string(b), err
})

// look checks the page that a tab shows, in light and dark, on a desk and on the
// smallest phone: nothing is wider than the screen, and axe-core has nothing to say.
// With SCREENSHOTS, a folder, it keeps what it saw.
func (p *pages) look(t *testing.T, ctx context.Context, name string) {
	t.Helper()
	look(t, ctx, name)
}

func look(t *testing.T, ctx context.Context, name string) {
	t.Helper()
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int64{900, 320} {
			view := fmt.Sprintf("%s-%s-%d", name, scheme, width)
			feature := &emulation.MediaFeature{Name: "prefers-color-scheme", Value: scheme}
			media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{feature}}
			_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, media)
			require.NoError(t, err)
			require.NoError(t, chromedp.Do(ctx, chromedp.EmulateViewport(width, 640)))
			assert.LessOrEqual(t, does(t, ctx, chromedp.Evaluate[int64]("document.documentElement.scrollWidth")), width, view)
			if dir := os.Getenv("SCREENSHOTS"); dir != "" {
				keep(t, ctx, dir, view+".png")
			}
			check(t, ctx, view)
		}
	}
	_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{})
	require.NoError(t, err)
	require.NoError(t, chromedp.Do(ctx, chromedp.EmulateViewport(900, 700)))
}

// check has axe-core look at the page, and wants neither violations nor doubts.
func check(t *testing.T, ctx context.Context, view string) {
	t.Helper()
	script, err := axe()
	if err != nil {
		require.NotEqual(t, "true", os.Getenv("CI"), "%v", err)
		t.Logf("not checked with axe-core: %v", err)
		return
	}
	if !does(t, ctx, chromedp.Evaluate[bool]("!!window.axe")) {
		does(t, ctx, chromedp.Evaluate[chromedp.Void](script+";undefined"))
	}
	found := does(t, ctx, chromedp.Evaluate[string](`axe.run().then(r => {
		// Not told: colours of what is scrolled out of sight, and of a single digit.
		const doubts = ["elmPartiallyObscured", "shortTextContent"]
		const hidden = n => n.any.every(c => doubts.includes(c.data?.messageKey))
		const all = r.violations.concat(r.incomplete.filter(v => !v.nodes.every(hidden)))
		return r.passes.length > 5 ? JSON.stringify(all.map(v => v.id + ": " + v.help + " " + v.nodes.map(n => n.html + n.failureSummary))) : "axe checked nothing"
	})`, chromedp.EvalAwaitPromise))
	assert.Equal(t, "[]", found, view)
}

// user is who a tab's session belongs to, as a proxy would be told; "" is nobody.
func (p *pages) user(t *testing.T, ctx context.Context) string {
	t.Helper()
	kept, err := chromedp.Call(ctx, network.GetCookies, network.GetCookiesParams{URLs: []string{p.site("login") + "/"}})
	require.NoError(t, err)
	r, err := http.NewRequest(http.MethodGet, p.site("login")+"/auth/brand/commbox/check", nil)
	require.NoError(t, err)
	for _, c := range kept.Cookies {
		r.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
	}
	res, err := p.client().Do(r)
	require.NoError(t, err)
	defer res.Body.Close()
	return res.Header.Get("Remote-User")
}

// frame attaches to the frame of a page that is on another site, once that has
// loaded a page of this title. (The frames of a page that was left may still be there.)
func frame(t *testing.T, ctx context.Context, prefix, want string) context.Context {
	t.Helper()
	attached := make(map[target.ID]context.Context)
	patience := time.Second
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		all, err := chromedp.Targets(ctx)
		if err != nil {
			continue
		}
		for _, info := range all {
			if info.Type != "iframe" || !strings.HasPrefix(info.URL, prefix) {
				continue
			}
			inner, ok := attached[info.TargetID]
			if !ok {
				var cancel context.CancelFunc
				inner, cancel = chromedp.NewContext(ctx, chromedp.WithTargetID(info.TargetID), chromedp.WithDetachOnCancel())
				if chromedp.Do(inner) != nil {
					cancel()
					continue
				}
				t.Cleanup(cancel) // attached, for as long as the test lasts
				attached[info.TargetID] = inner
			}
			if titleWithin(inner, patience) == want {
				return inner
			}
		}
		patience = min(2*patience, 30*time.Second)
	}
	t.Fatalf("there is no frame of %s with the title %q", prefix, want)
	return nil
}

// strangers returns the status that somebody else gets at a URL.
func (p *pages) strangers(t *testing.T, u string) int {
	t.Helper()
	c := p.client()
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	res, err := c.Get(u)
	require.NoError(t, err)
	defer res.Body.Close()
	_, err = new(bytes.Buffer).ReadFrom(res.Body)
	require.NoError(t, err)
	return res.StatusCode
}
