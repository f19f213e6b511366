package pages

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
)

// views are the pages that TestBrowser looks at, each with another template or form.
var views = []string{
	"/console/brands/acme", "/console/brands/acme/settings", "/console/brands/acme/agents",
	"/console/brands/acme/agents/edit?name=ann", "/console/brands/acme/agents/import",
	"/console/brands/acme/agents/remove?name=ann", "/console/brands/acme/customers", "/console/brands/acme/channels",
	"/console/brands/acme/channels/edit?id=web", "/console/brands/acme/audit", "/console/brands/acme/audit?since=x",
	"/console/brands/acme/try", "/console/brands/acme/try/customer", "/console/explain",
	"/console/api-keys", "/console/api-keys/add", "/console/issuers", "/console/keyrings", "/console/brands",
	"/console/administrators", "/console/administrators/edit?name=acme", "/console/administrators/add", "/console/unknown",
}

// axe returns the text of axe-core, whose file AXE_CORE names. A missing program or file
// fails the test with CI=true, and else skips it.
func axe(t *testing.T) (script, chromium string) {
	t.Helper()
	chromium, err := exec.LookPath("chromium")
	var text []byte
	if err == nil {
		text, err = os.ReadFile(os.Getenv("AXE_CORE"))
	}
	if err != nil {
		require.NotEqual(t, "true", os.Getenv("CI"), "%v", err)
		t.Skip(err)
	}
	return string(text), chromium
}

// In Chromium, each page fits into 320 px, in light and dark, and axe-core has nothing to
// say. SCREENSHOTS names a folder that keeps what was seen.
func TestBrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a browser")
	}
	script, chromium := axe(t)
	w := newWorld(t)
	w.caller.AllBrands, w.caller.Brands = true, nil
	w.record([]directory.Event{
		{At: time.Now(), Brand: "acme", Action: directory.ActionIssueTicket, Ticket: "0a", Count: 3},
		{At: time.Now(), Brand: "acme", Action: directory.ActionRefuseTicket, Ticket: "0a", Reason: "spent", Count: 1},
	})
	_, err := w.db.CreateAPIKey(t.Context(), directory.APIKey{
		Scopes: []directory.Scope{directory.ScopeIssue}, AllBrands: true, Expires: time.Now().AddDate(0, 0, 3)})
	require.NoError(t, err)
	server := httptest.NewServer(w.h)
	t.Cleanup(server.Close)

	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(chromium), chromedp.UserDataDir(t.TempDir()),
		chromedp.WSURLReadTimeout(5*time.Minute))
	if os.Geteuid() == 0 {
		opts = append(opts, chromedp.NoSandbox)
	}
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), opts...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	for _, page := range views {
		require.NoError(t, chromedp.Do(ctx, chromedp.Navigate(server.URL+page)))
		require.NoError(t, chromedp.Do(ctx, chromedp.Evaluate[chromedp.Void](script+";undefined")))
		for _, scheme := range []string{"light", "dark"} {
			look(t, ctx, page, scheme)
		}
	}
}

// look checks the page that the browser shows.
func look(t *testing.T, ctx context.Context, page, scheme string) {
	t.Helper()
	_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
	require.NoError(t, err)
	for _, width := range []int64{900, 320} {
		view := fmt.Sprintf("%s %s %d", page, scheme, width)
		require.NoError(t, chromedp.Do(ctx, chromedp.EmulateViewport(width, 640)))
		wide, err := chromedp.Run(ctx, chromedp.Evaluate[int64]("document.documentElement.scrollWidth"))
		require.NoError(t, err)
		assert.LessOrEqual(t, wide, width, view)
		if width == 320 || page == Root+"/issuers" {
			hidden, err := chromedp.Run(ctx, chromedp.Evaluate[int64](
				`[...document.querySelectorAll(".records")].filter(r => r.scrollWidth > r.parentElement.clientWidth).length`))
			require.NoError(t, err)
			assert.Zero(t, hidden, "%s: a list is wider than its place", view)
		}
		if dir := os.Getenv("SCREENSHOTS"); dir != "" {
			b, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
			require.NoError(t, err)
			name := fmt.Sprintf("%s-%s-%d.png", strings.ReplaceAll(strings.TrimPrefix(page, Root+"/"), "/", "-"), scheme, width)
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), b, 0o600))
		}
		found, err := chromedp.Run(ctx, chromedp.Evaluate[string](`axe.run().then(r => {
			// Not told: colours of what is scrolled out of sight, of a single digit, and of the
			// chart's hours, which have the colour of hints.
			const doubts = ["elmPartiallyObscured", "shortTextContent", "imgNode"]
			const hidden = n => n.any.every(c => doubts.includes(c.data?.messageKey))
			const all = r.violations.concat(r.incomplete.filter(v => !v.nodes.every(hidden)))
			if (r.passes.length < 6) return "nothing checked"
			return JSON.stringify(all.map(v => v.id + " " + v.nodes.map(n => n.html + n.failureSummary)))
		})`, chromedp.EvalAwaitPromise))
		require.NoError(t, err)
		assert.Equal(t, "[]", found, view)
	}
}
