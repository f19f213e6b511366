package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/dom"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A new administrator gets a link, makes an API key, sets "one-time by default" and an
// allow-list, imports agents, issues a ticket by the shown curl line, finds its way in the
// audit trail, enters as an agent, ends the agent's session and revokes the key: by keyboard
// with JavaScript, and by pointer without. SCREENSHOTS names a folder that keeps each page.
func TestConsoleWalk(t *testing.T) {
	if testing.Short() {
		t.Skip("walks through the console twice, in a browser")
	}
	t.Parallel()
	needs(t, "curl")
	w := &walkers{data: filepath.Join(t.TempDir(), "data")}
	demo, info := startDemo(t, "--data", w.data)
	w.info = info
	w.console, _, _ = strings.Cut(info.ConsoleURL, "/console/enter?ta=")
	w.browser = browser(t)
	w.good, w.wrong = agentFiles(t)
	for i, way := range []struct {
		name         string
		keys, script bool
	}{
		{"keyboard", true, true}, {"pointer without JavaScript", false, false},
	} {
		t.Run(way.name, func(t *testing.T) {
			h := w.hand(t, fmt.Sprintf("acme-%d", i+1), way.keys, way.script)
			h.looks = i == 0
			h.walk()
		})
	}
	require.Equal(t, 0, demo.end(syscall.SIGTERM))
	assert.NotContains(t, demo.stderr.String(), "tkt1_")
}

// agentFiles returns the paths of a file of 200 agents, and of one with two wrong lines more.
func agentFiles(t *testing.T) (good, wrong string) {
	t.Helper()
	var b strings.Builder
	b.WriteString("username,email,firstName,active\n")
	for i := range 200 {
		fmt.Fprintf(&b, "agent%03d,agent%03d@example.com,Agent %d,true\n", i, i, i)
	}
	dir := t.TempDir()
	good, wrong = filepath.Join(dir, "agents.csv"), filepath.Join(dir, "wrong.csv")
	require.NoError(t, os.WriteFile(good, []byte(b.String()), 0o600))
	b.WriteString("bob,bob at example.com,Bob,true\ncleo,cleo@example.com,Cleo,maybe\n")
	require.NoError(t, os.WriteFile(wrong, []byte(b.String()), 0o600))
	return good, wrong
}

// walkers share a service and a browser.
type walkers struct {
	info        demoInfo
	data        string
	console     string // origin
	browser     context.Context
	good, wrong string // files of agents
}

// shell runs a command on the service's directory, and returns its first line.
func (w *walkers) shell(t *testing.T, args ...string) string {
	t.Helper()
	line, _, _ := strings.Cut((&pages{data: w.data}).admin(t, args...), "\n")
	return line
}

// A hand uses the pages of a tab as a person does, by what the pages say.
type hand struct {
	*walkers
	*testing.T
	ctx    context.Context
	brand  string
	keys   bool // the hand has a keyboard alone, else a pointer
	looks  bool // each new page is looked at, and kept with SCREENSHOTS
	looked int
}

func (w *walkers) hand(t *testing.T, brand string, keys, script bool) *hand {
	t.Helper()
	ctx, cancel := chromedp.NewContext(w.browser, chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	h := &hand{walkers: w, T: t, ctx: (&pages{}).watch(t, ctx, "failed.png"), brand: brand, keys: keys}
	_, err := chromedp.Call(ctx, emulation.SetScriptExecutionDisabled,
		emulation.SetScriptExecutionDisabledParams{Value: !script})
	require.NoError(t, err)
	_, err = chromedp.Call(ctx, page.SetInterceptFileChooserDialog,
		page.SetInterceptFileChooserDialogParams{Enabled: true})
	require.NoError(t, err)
	return h
}

// named is a script with the elements that a person can use, and the name of each.
const named = `const nameOf = e => (e.labels?.length ? e.labels[0].textContent :
	e.getAttribute("aria-label") ?? e.textContent).trim().replace(/\s+/g, " ");
`

// reach puts the focus on the element of a name, which says what it is.
func (h *hand) reach(name string) {
	h.Helper()
	if h.keys {
		for range 300 {
			does(h.T, h.ctx, chromedp.KeyEvent(kb.Tab))
			if h.focused() == name {
				return
			}
		}
		require.Fail(h, "not reached by the keyboard", name)
	}
	at := does(h.T, h.ctx, chromedp.Evaluate[[]float64](fmt.Sprintf(`(() => { %s
		const e = [...document.querySelectorAll("a[href], button, input, select, textarea")].find(e => nameOf(e) === %q &&
			e.checkVisibility());
		if (!e) return [];
		e.scrollIntoView({block: "center", behavior: "instant"});
		const box = e.getClientRects()[0];
		return [box.x + box.width/2, box.y + box.height/2];
	})()`, named, name)))
	require.Len(h, at, 2, "there is no %q to click", name)
	does(h.T, h.ctx, chromedp.MouseClickXY(at[0], at[1]))
}

// focused returns the name of the element with the focus.
func (h *hand) focused() string {
	return does(h.T, h.ctx, chromedp.Evaluate[string](`(() => { `+named+` return nameOf(document.activeElement) })()`))
}

// press follows a link or presses a button, and waits for the page of a title.
func (h *hand) press(name, title string) {
	h.Helper()
	does(h.T, h.ctx, chromedp.Evaluate[chromedp.Void]("window.left = true"))
	h.reach(name)
	if h.keys {
		does(h.T, h.ctx, chromedp.KeyEvent(kb.Enter))
	}
	waitTitle(h.T, h.ctx, title)
}

// to is press for a page of the brand.
func (h *hand) to(name, title string) { h.Helper(); h.press(name, title+" · "+h.brand+" · Console") }

// write types a text into a field.
func (h *hand) write(name, text string) {
	h.Helper()
	h.reach(name)
	does(h.T, h.ctx, chromedp.KeyEvent(text))
}

// tick switches a box.
func (h *hand) tick(name string) {
	h.Helper()
	h.reach(name)
	if h.keys {
		does(h.T, h.ctx, chromedp.KeyEvent(" "))
	}
}

// choose takes the option of a list whose text begins so. A pointer would need the list that
// the system draws, which no test reaches.
func (h *hand) choose(name, option string) {
	h.Helper()
	h.reach(name)
	if !h.keys {
		does(h.T, h.ctx, chromedp.KeyEvent(kb.Escape)) // closes the list
	}
	does(h.T, h.ctx, chromedp.KeyEvent(option))
}

// upload chooses a file.
func (h *hand) upload(name, path string) {
	h.Helper()
	opens := chromedp.Func(func(context.Context, *chromedp.Target) error {
		h.reach(name)
		if h.keys {
			does(h.T, h.ctx, chromedp.KeyEvent(kb.Enter))
		}
		return nil
	})
	opened := does(h.T, h.ctx, chromedp.WaitEvent(page.FileChooserOpened, nil, opens))
	_, err := chromedp.Call(h.ctx, dom.SetFileInputFiles, dom.SetFileInputFilesParams{
		Files: []string{path}, BackendNodeID: opened.BackendNodeID})
	require.NoError(h, err)
}

// sees returns the text of the page.
func (h *hand) sees() string {
	return does(h.T, h.ctx, chromedp.Evaluate[string](`document.querySelector("main").innerText`))
}

// value returns what an element of the page has, by its CSS selector.
func (h *hand) value(css string) string {
	return does(h.T, h.ctx, chromedp.Evaluate[string](fmt.Sprintf(
		`(e => e.value ?? e.textContent)(document.querySelector(%q))`, css)))
}

// look looks at the page, if the hand does.
func (h *hand) look(name string) {
	h.Helper()
	if h.looks {
		h.looked++
		look(h.T, h.ctx, fmt.Sprintf("console-%02d-%s", h.looked, name))
	}
}

func (h *hand) walk() {
	h.shell(h.T, "brand", "add", h.brand)
	name := h.brand + "-admin"
	h.shell(h.T, "administrator", "add", name, "--role", "admin", "--brands", h.brand, "--name", "Grace Hopper")
	goTo(h.T, h.ctx, h.shell(h.T, "console", "link", "--user", name, "--console-url", h.console))
	h.look("link")
	h.to("Continue", "Overview")
	h.look("empty-overview")

	curl := h.makeKey()
	h.settings()
	chat := h.addChannel()
	h.importAgents()

	// The line works as it is shown.
	out, err := exec.Command("sh", "-c", curl).Output()
	require.NoError(h, err)
	var answer struct {
		Data struct{ EncpryptedString string }
	}
	require.NoError(h, json.Unmarshal(out, &answer), "%s: %s", curl, out)
	status, _, err := enter(chat, answer.Data.EncpryptedString)
	require.NoError(h, err)
	require.Equal(h, http.StatusSeeOther, status)
	h.followTicket(string(out))
	h.enterAsAgent()
	h.revokeKey(curl)
}

// makeKey makes an API key for the brand, and returns the curl line.
func (h *hand) makeKey() string {
	h.press("API keys", "API keys · Console")
	h.press("Make an API key", "Make an API key · Console")
	h.look("make-key")
	h.write("Note", "the shop")
	h.tick(h.brand)
	h.press("Make the key", "The new API key · Console")
	h.look("new-key")
	return h.value("pre code")
}

func (h *hand) settings() {
	h.press("Go", "Overview · "+h.brand+" · Console")
	h.to("Privacy and security", "Privacy and security")
	h.choose("One-time by default", "Y")
	h.write("Allow-list for the API", "127.0.0.1")
	h.to("Save", "Privacy and security")
	require.Contains(h, h.sees(), "Saved.")
	assert.Equal(h, "true", h.value("#f-oneTime"))
	assert.Equal(h, "127.0.0.1", h.value("#f-apiAddresses"))
	h.look("settings")
}

// addChannel adds a channel, and returns its URL.
func (h *hand) addChannel() string {
	h.to("Channels", "Channels")
	h.look("no-channel")
	h.to("Add a channel", "Add a channel")
	h.write("ID", "web")
	h.to("Add the channel", "Channel web")
	return h.value("#copy-url")
}

func (h *hand) importAgents() {
	h.to("Agents", "Agents")
	h.to("Import a file", "Import agents")
	h.upload("File of agents", h.wrong)
	h.to("Show what would change", "Import agents: preview")
	seen := h.sees()
	assert.Contains(h, seen, "2 lines are wrong")
	assert.Contains(h, seen, "200 agents would be added")
	assert.Regexp(h, `202\s+email`, seen)
	assert.Regexp(h, `203\s+active`, seen)
	h.look("wrong-lines")
	h.to("Choose another file", "Import agents")
	h.upload("File of agents", h.good)
	h.to("Show what would change", "Import agents: preview")
	h.look("preview")
	h.to("Import these agents", "Agents")
	assert.Contains(h, h.sees(), "agent000")
	h.look("agents")
}

// followTicket finds out what became of the ticket in an answer of the API.
func (h *hand) followTicket(answer string) {
	h.press("Explain a ticket", "Explain a ticket · Console")
	for done := false; !done; { // the events come to the trail a little later
		h.write("Ticket or URL", strings.TrimSpace(answer))
		h.press("Explain", "Explain a ticket · Console")
		done = strings.Contains(h.sees(), "ticket.enter")
	}
	seen := h.sees()
	assert.Contains(h, seen, "already_used")
	assert.Contains(h, seen, "it is spent")
	h.look("explained")
	h.to("Follow the ticket in the audit trail", "The way of a ticket")
	seen = h.sees()
	assert.Less(h, strings.Index(seen, "ticket.issue"), strings.Index(seen, "ticket.enter"))
	h.look("way")
}

// enterAsAgent enters with a ticket of the console's, and ends the session.
func (h *hand) enterAsAgent() {
	h.to("Agents", "Agents")
	h.write("Beginning of a username, name, email address or unique ID, or a phone number", "agent042")
	h.to("Search", "Agents")
	h.to("agent042", "Agent agent042")
	h.to("Try to enter", "Try it: enter as an agent")
	h.look("try")
	h.to("Make the ticket", "The ticket")
	h.look("ticket")
	entry := h.value("#url")
	goTo(h.T, h.ctx, entry)
	assert.Equal(h, "You are signed in as \u2068Agent 42\u2069", title(h.T, h.ctx))
	require.Equal(h, http.StatusOK, h.check())

	goTo(h.T, h.ctx, h.console+"/console")
	h.to("Agents", "Agents")
	h.to("agent042", "Agent agent042")
	h.to("End the sessions", "End the sessions of an agent")
	h.look("end-sessions")
	h.write("Name of the agent", "agent042")
	h.to("End the sessions", "Agent agent042")
	assert.Contains(h, h.sees(), "The sessions are ended.")
	require.Eventually(h, func() bool { return h.check() == http.StatusUnauthorized }, time.Minute, 50*time.Millisecond,
		"what a check tells is a few seconds old at most")
}

// check returns the status by which a proxy lets the browser's agent pass.
func (h *hand) check() int {
	h.Helper()
	kept, err := chromedp.Call(h.ctx, network.GetCookies, network.GetCookiesParams{URLs: []string{h.info.LoginURL}})
	require.NoError(h, err)
	r, err := http.NewRequestWithContext(h.Context(), http.MethodGet, h.info.URL+"/auth/brand/"+h.brand+"/check", nil)
	require.NoError(h, err)
	for _, c := range kept.Cookies {
		r.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
	}
	res, err := http.DefaultClient.Do(r)
	require.NoError(h, err)
	require.NoError(h, res.Body.Close())
	return res.StatusCode
}

func (h *hand) revokeKey(curl string) {
	h.press("API keys", "API keys · Console")
	h.press("Revoke", "Revoke an API key · Console")
	_, id, _ := strings.Cut(curl, "Bearer adm_")
	id, _, _ = strings.Cut(id, "_")
	h.look("revoke")
	h.write("Name of the API key", id)
	h.press("Revoke the key", "API keys · Console")
	assert.Contains(h, h.sees(), "The API key is revoked.")
	h.look("keys")
	out, err := exec.Command("sh", "-c", curl).Output()
	require.NoError(h, err)
	assert.Contains(h, string(out), `"status":"401"`)
}
