package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// browser starts a headless Chromium with a profile of its own.
func browser(t *testing.T) context.Context {
	t.Helper()
	path := needs(t, "chromium")
	opts := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-sync", true),
	)
	if os.Geteuid() == 0 {
		opts = append(opts, chromedp.NoSandbox)
	}
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), opts...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	require.NoError(t, chromedp.Do(ctx, chromedp.Navigate("about:blank"))) // the browser lives as long as this context
	ctx, cancel = context.WithTimeout(ctx, time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// does runs an action in the browser and returns what it gives.
func does[T any](t *testing.T, ctx context.Context, a chromedp.Action[T]) T {
	t.Helper()
	v, err := chromedp.Run(ctx, a)
	require.NoError(t, err)
	return v
}

// waitTitle waits for a page that was not navigated to by its URL.
func waitTitle(t *testing.T, ctx context.Context, want string) {
	t.Helper()
	require.Eventually(t, func() bool {
		// A page that the browser freezes (its back-forward cache) while it is asked
		// never answers.
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		title, err := chromedp.Run(ctx, loadedTitle)
		return err == nil && title == want
	}, time.Minute, 20*time.Millisecond)
}

// loadedTitle reads the title once the page has loaded: a script that navigates
// before that replaces the page's history entry.
var loadedTitle = chromedp.Evaluate[string](`performance.getEntriesByType("navigation")[0]?.loadEventEnd > 0 ? document.title : ""`)

const johnIsIn = "You are signed in as \u2068John Doe\u2069"

// heading reads what stands at the top of a page.
var heading = chromedp.Evaluate[string](`document.querySelector("h1").textContent`)

// trap W2: a real browser follows the login URL and ends on the page, with the
// ticket in no URL, history entry or Referer.
func TestBrowserLogin(t *testing.T) {
	p, info := startDemo(t)
	ctx := browser(t)
	ticket := info.ticket(t, info.request(true))

	// Another site, where the link is, and which the browser visits afterwards.
	var mu sync.Mutex
	var referers []string
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		referers = append(referers, r.Referer())
		fmt.Fprintf(w, `<!doctype html><title>elsewhere</title><a href="%s?ta=%s">in</a>`, info.LoginURL, ticket)
	}))
	defer elsewhere.Close()

	var requested []string
	require.NoError(t, chromedp.Listen(ctx, func(ev any) {
		if e, ok := ev.(*network.EventRequestWillBeSent); ok {
			mu.Lock()
			defer mu.Unlock()
			requested = append(requested, e.Request.URL+fmt.Sprint(e.Request.Headers))
		}
	}))
	secret := ticket[5:]
	does(t, ctx, chromedp.Navigate(elsewhere.URL))
	does(t, ctx, chromedp.Click(chromedp.CSS("a")))
	waitTitle(t, ctx, johnIsIn)
	assert.Equal(t, johnIsIn, does(t, ctx, heading))
	assert.Equal(t, info.LoginURL, does(t, ctx, chromedp.Location()))
	assert.NotContains(t, does(t, ctx, chromedp.Evaluate[string]("document.referrer")), secret)
	assert.NotContains(t, does(t, ctx, chromedp.Evaluate[string]("document.documentElement.outerHTML")), secret)
	if dir := os.Getenv("SCREENSHOTS"); dir != "" {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "login.png"), does(t, ctx, chromedp.CaptureScreenshot()), 0o644))
	}

	does(t, ctx, chromedp.Evaluate[chromedp.Void](fmt.Sprintf("location.href = %q", elsewhere.URL)))
	waitTitle(t, ctx, "elsewhere")
	entries := does(t, ctx, chromedp.NavigationEntries()).Entries
	require.NotEmpty(t, entries)
	for _, e := range entries {
		// UserTypedURL is not among these: Chromium keeps there, for the tab's
		// lifetime, what a redirect came from. No page can read it.
		assert.NotContains(t, e.URL+e.Title, secret)
	}
	mu.Lock()
	require.GreaterOrEqual(t, len(requested), 5, "the link, login, the same without the ticket, its stylesheet, elsewhere: %v", requested)
	assert.Equal(t, 1, strings.Count(strings.Join(requested, " "), secret), "only the request that the link makes has the ticket: %v", requested)
	require.NotEmpty(t, referers)
	assert.NotContains(t, strings.Join(referers, " "), info.URL, "the page tells other sites nothing of where it is")
	mu.Unlock()

	// Back and reload stay signed in; the link itself is used up, for a new browser.
	does(t, ctx, chromedp.Evaluate[chromedp.Void]("history.back()"))
	waitTitle(t, ctx, johnIsIn)
	does(t, ctx, chromedp.Reload())
	waitTitle(t, ctx, johnIsIn)
	assert.Equal(t, johnIsIn, does(t, ctx, heading))
	other := browser(t)
	does(t, other, chromedp.Navigate(info.LoginURL+"?ta="+ticket))
	assert.Equal(t, "This link does not work any more", does(t, other, heading))
	require.Equal(t, 0, p.end(syscall.SIGTERM))
	assert.NotContains(t, p.stderr.String(), secret)
}

func TestBrowserChat(t *testing.T) {
	_, info := startDemo(t)
	ctx := browser(t)
	ticket := info.ticket(t, `{"brand":"commbox","email":"jane@example.com","firstName":"Jane","oneTimeUse":true}`)
	does(t, ctx, chromedp.Navigate(info.ChatURL+"?ta="+ticket))
	assert.Equal(t, "You are signed in as \u2068Jane\u2069", does(t, ctx, heading))
	assert.Equal(t, info.ChatURL, does(t, ctx, chromedp.Location()))
}
