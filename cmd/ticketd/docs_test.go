package main

import (
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/getkin/kin-openapi/openapi3"
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
	assert.Greater(t, number(`document.querySelectorAll("article").length`), 10.0)
	p.runCommands(t, does(t, ctx, chromedp.Evaluate[map[string][]string](`Object.fromEntries(
		[...document.querySelectorAll("article")].map(
			a => [a.id, [...a.querySelectorAll(".command")].map(c => c.textContent)]))`)))
	mu.Lock()
	assert.Empty(t, complaints)
	assert.Contains(t, requested, p.info.URL+"/docs.css")
	for _, url := range requested {
		assert.True(t, strings.HasPrefix(url, p.info.URL) || strings.HasPrefix(url, "data:"), url)
	}
	mu.Unlock()
	p.look(t, ctx, "docs")
}

// runCommands runs the page's commands, by operation, in a shell. The answer has a status
// of the operation.
func (p *pages) runCommands(t *testing.T, commands map[string][]string) {
	doc, err := openapi3.NewLoader().LoadFromFile("internal/api/openapi.yaml")
	require.NoError(t, err)
	statuses := make(map[string][]string)
	for _, item := range doc.Paths.Map() {
		for _, o := range item.Operations() {
			statuses[o.OperationID] = slices.Collect(maps.Keys(o.Responses.Map()))
		}
	}
	for id, all := range commands {
		assert.NotEmpty(t, all, id)
		for _, command := range all {
			sh := exec.CommandContext(t.Context(), "sh", "-ec", "curl() { command curl --silent --insecure "+
				"--resolve \"*:$PORT:127.0.0.1\" --output /dev/null --write-out '%{http_code}' \"$@\"; }\n"+command)
			sh.Env = append(os.Environ(), "ADMITONE_URL="+p.info.URL, "ADMITONE_API_KEY="+p.info.APIKey, "PORT="+p.port)
			out, err := sh.Output()
			if assert.NoError(t, err, command) {
				assert.Contains(t, statuses[id], string(out), command)
				if id == "issueTicket" || id == "systemStatus" {
					assert.Equal(t, "200", string(out), command)
				}
			}
		}
	}
}
