package main

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// browser starts a headless Chromium with a profile of its own.
func browser(t *testing.T, more ...chromedp.ExecAllocatorOption) context.Context {
	t.Helper()
	path := needs(t, "chromium")
	opts := append(chromedp.DefaultExecAllocatorOptions[:len(chromedp.DefaultExecAllocatorOptions):len(chromedp.DefaultExecAllocatorOptions)],
		chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir()),
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
	ctx, cancel = context.WithTimeout(ctx, 10*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// does runs an action in the browser and returns what it gives.
func does[T any](t *testing.T, ctx context.Context, a chromedp.Action[T]) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
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

// What pages say; names are isolated from the direction of the text around them.
const johnIsIn = "You are signed in as \u2068John Doe\u2069"

// heading reads what stands at the top of a page.
var heading = chromedp.Evaluate[string](`document.querySelector("h1").textContent`)
