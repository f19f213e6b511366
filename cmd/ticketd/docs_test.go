package main

import (
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A browser shows /docs without asking anybody else, without a complaint of the
// content policy, in the width of a telephone (WCAG 2.2, 1.4.10), and for keyboards.
func browserDocs(t *testing.T, p *pages) {
	ctx := p.person(t)
	var mu sync.Mutex
	var requested, complaints []string
	require.NoError(t, chromedp.Listen(ctx, func(ev any) {
		mu.Lock()
		defer mu.Unlock()
		switch e := ev.(type) {
		case *network.EventRequestWillBeSent:
			requested = append(requested, e.Request.URL)
		case *log.EventEntryAdded:
			complaints = append(complaints, e.Entry.Text)
		}
	}))
	does(t, ctx, chromedp.EmulateViewport(320, 640))
	does(t, ctx, chromedp.Navigate(p.info.URL+"/docs"))
	number := func(script string) float64 { return does(t, ctx, chromedp.Evaluate[float64](script)) }
	assert.Equal(t, "ticketd: the API", does(t, ctx, heading))
	assert.LessOrEqual(t, number(`document.documentElement.scrollWidth`), 320.0, "nothing is out of sight at the side")
	assert.Equal(t, "none", does(t, ctx,
		chromedp.Evaluate[string](`getComputedStyle(document.querySelector("nav ul")).listStyleType`)), "the style is applied")
	assert.Zero(t, number(`[...document.querySelectorAll("pre, .table")].filter(e => e.tabIndex !== 0 || !e.getAttribute("aria-label")).length`), "what scrolls can be reached and has a name")
	assert.Zero(t, number(`[...document.querySelectorAll('a[href^="#"]')].filter(a => !document.getElementById(a.hash.slice(1))).length`))
	assert.Greater(t, number(`document.querySelectorAll("article").length`), 20.0)
	mu.Lock()
	assert.Empty(t, complaints)
	assert.Contains(t, requested, p.info.URL+"/docs.css")
	for _, url := range requested {
		assert.True(t, strings.HasPrefix(url, p.info.URL) || strings.HasPrefix(url, "data:"), url)
	}
	mu.Unlock()
	p.look(t, ctx, "docs")
}
