package main

import (
	"context"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// browser starts a headless Chromium with a profile of its own.
func browser(t *testing.T, more ...chromedp.ExecAllocatorOption) context.Context {
	t.Helper()
	path := needs(t, "chromium")
	opts := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir()),
		chromedp.WSURLReadTimeout(5*time.Minute), // on a machine that is busy
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-sync", true),
	)
	if os.Geteuid() == 0 {
		opts = append(opts, chromedp.NoSandbox)
	}
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), append(opts, more...)...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	require.NoError(t, chromedp.Do(ctx, chromedp.Navigate("about:blank"))) // the browser lives as long as this context
	return ctx
}

// does runs an action in the browser and returns what it gives.
func does[T any](t *testing.T, ctx context.Context, a chromedp.Action[T]) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	v, err := chromedp.Run(ctx, a)
	require.NoError(t, err)
	return v
}

// waitTitle waits for a page that was not navigated to by its URL.
func waitTitle(t *testing.T, ctx context.Context, want string) {
	t.Helper()
	var got string
	patience := time.Second
	for deadline := time.Now().Add(3 * time.Minute); got != want; time.Sleep(20 * time.Millisecond) {
		require.True(t, time.Now().Before(deadline), "the title is %q, and not %q", got, want)
		got = titleWithin(ctx, patience)
		patience = min(2*patience, 30*time.Second)
	}
}

// titleWithin returns the title of the page that a tab shows, once it has loaded,
// and else "". A page that the browser freezes (its back-forward cache) while it is
// asked never answers.
func titleWithin(ctx context.Context, patience time.Duration) string {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	title, err := chromedp.Run(ctx, loadedTitle)
	if err != nil {
		return ""
	}
	return title
}

// loadedTitle reads the title once the page has loaded: a script that navigates
// before that replaces the page's history entry. A page that leave has left has none.
var loadedTitle = chromedp.Evaluate[string](`performance.getEntriesByType("navigation")[0]?.loadEventEnd > 0 && !window.left ? document.title : ""`)

// leave runs a script by which the page goes, and waits for the title of the one
// that comes, which may be the same.
func leave(t *testing.T, ctx context.Context, script, want string) {
	t.Helper()
	does(t, ctx, chromedp.Evaluate[chromedp.Void](`window.left = true; addEventListener("pageshow", () => { window.left = false }); `+script)) // shown again it is not
	waitTitle(t, ctx, want)
}

// What pages say; names are isolated from the direction of the text around them.
const johnIsIn = "You are signed in as \u2068John Doe\u2069"

// heading reads what stands at the top of a page.
var heading = chromedp.Evaluate[string](`document.querySelector("h1").textContent`)
