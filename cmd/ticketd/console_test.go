package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// administratorBrowser follows no redirect and keeps cookies.
func administratorBrowser(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	return &http.Client{
		Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// fetchAs returns the status and the body of a page.
func fetchAs(t *testing.T, c *http.Client, page string) (int, string) {
	t.Helper()
	res, err := c.Get(page)
	require.NoError(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, string(body)
}

// enterConsole opens a link, presses the button, and returns the status.
func enterConsole(t *testing.T, c *http.Client, link string) int {
	t.Helper()
	status, body := fetchAs(t, c, link)
	if status != http.StatusOK {
		return status
	}
	m := regexp.MustCompile(`name="confirm" value="([^"]+)"`).FindStringSubmatch(body)
	require.NotNil(t, m, body)
	page, query, _ := strings.Cut(link, "?ta=")
	res, err := c.PostForm(page, url.Values{"ta": {query}, "confirm": {m[1]}})
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	return res.StatusCode
}

// The console and the service are strangers to each other: each has a listener of its own,
// with nothing of the other's, and no ticket of one opens the other.
func TestConsoleListener(t *testing.T) {
	t.Parallel()
	p, info := startDemo(t)
	console, ticket, ok := strings.Cut(info.ConsoleURL, "/console/enter?ta=")
	require.True(t, ok)
	c := administratorBrowser(t)
	for _, page := range []string{info.LoginURL, info.ChatURL} {
		assert.Equal(t, http.StatusForbidden, mustEnter(t, page, ticket), "an administrator's ticket at %s", page)
	}
	for _, path := range []string{"/console/enter", "/console/logout", "/console", "/admin/links"} {
		status, _ := fetchAs(t, c, info.URL+path+"?ta="+ticket)
		assert.Equal(t, http.StatusNotFound, status, "the public listener's %s", path)
	}
	for _, path := range []string{"/login", "/auth/ticket", "/auth/check", "/docs", "/metrics", "/readyz"} {
		status, _ := fetchAs(t, c, console+path)
		assert.Equal(t, http.StatusNotFound, status, "the console's %s", path)
	}
	agent := info.ticket(t, info.request(true))
	assert.Equal(t, http.StatusForbidden, enterConsole(t, c, console+"/console/enter?ta="+agent))
	assert.Equal(t, http.StatusSeeOther, mustEnter(t, info.LoginURL, agent), "which spent nothing")
	assert.Equal(t, http.StatusSeeOther, enterConsole(t, c, info.ConsoleURL))
	status, body := fetchAs(t, c, console+"/console/enter")
	assert.Equal(t, http.StatusOK, status)
	assert.Contains(t, body, "Demo Admin")
	status, body = fetchAs(t, c, console+"/console/brands/commbox")
	assert.Equal(t, http.StatusOK, status)
	assert.Contains(t, body, "Demo Admin")
	status, _ = fetchAs(t, administratorBrowser(t), console+"/console")
	assert.Equal(t, http.StatusUnauthorized, status, "nobody else sees a page")
	assert.Equal(t, http.StatusForbidden, enterConsole(t, administratorBrowser(t), info.ConsoleURL), "a link works once")
	assert.Equal(t, 0, p.end(syscall.SIGTERM), p.stderr.String())
	assert.NotContains(t, p.stderr.String(), ticket[15:])
}

// A link of the shell opens the console of a service that runs, and end-sessions ends the
// session at once.
func TestConsoleLink(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	p, info := startDemo(t, "--data", dir)
	console, _, _ := strings.Cut(info.ConsoleURL, "/console/enter?ta=")
	shell := start(t, "console", "link", "--user", "admin", "--console-url", console, "--data", dir)
	link, err := shell.stdout.ReadString('\n')
	require.NoError(t, err)
	require.Zero(t, shell.wait(), shell.stderr.String())
	c := administratorBrowser(t)
	require.Equal(t, http.StatusSeeOther, enterConsole(t, c, strings.TrimSpace(link)))
	_, body := fetchAs(t, c, console+"/console/enter")
	require.Contains(t, body, "Demo Admin")
	require.Zero(t, start(t, "administrator", "end-sessions", "admin", "--data", dir).wait())
	_, body = fetchAs(t, c, console+"/console/enter")
	assert.NotContains(t, body, "Demo Admin")
	require.Equal(t, 0, p.end(syscall.SIGTERM), p.stderr.String())

	shell = start(t, "audit", "--data", dir, "--json")
	trail, err := io.ReadAll(shell.stdout)
	require.NoError(t, err)
	require.Zero(t, shell.wait(), shell.stderr.String())
	for _, action := range []string{"administrator.add", "ticket.issue", "ticket.enter", "sessions.end"} {
		assert.Regexp(t, `(?m)^.*"action":"`+action+`".*"kind":"administrator".*"name":"admin".*$`, string(trail))
	}
}

// The console's listener serves the administration by HTTP, for API keys of scope admin.
func TestAdminListener(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	p, info := startDemo(t, "--data", dir)
	console, _, _ := strings.Cut(info.ConsoleURL, "/console/enter?ta=")
	shell := start(t, "apikey", "add", "--scopes", "admin", "--brands", "commbox", "--data", dir, "--json")
	made, err := shell.stdout.ReadString('\n')
	require.NoError(t, err)
	require.Zero(t, shell.wait(), shell.stderr.String())
	key := regexp.MustCompile(`adm_[a-z2-7]{10}_[a-z2-7]{52}`).FindString(made)
	require.NotEmpty(t, key, made)
	ask := func(origin, path, key string) (int, string) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, origin+path, nil)
		require.NoError(t, err)
		r.Header.Set("Authorization", "Bearer "+key)
		res, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		return res.StatusCode, string(body)
	}
	status, body := ask(console, "/admin/brands/commbox/agents", key)
	assert.Equal(t, http.StatusOK, status, body)
	assert.Contains(t, body, `"john.d"`)
	status, _ = ask(console, "/admin/brands/commbox/agents", info.APIKey)
	assert.Equal(t, http.StatusForbidden, status, "a key without the scope admin")
	status, _ = ask(console, "/admin/health", key)
	assert.Equal(t, http.StatusForbidden, status, "a key of one brand")
	shell = start(t, "apikey", "add", "--scopes", "console", "--all-brands", "--data", dir)
	made, err = shell.stdout.ReadString('\n')
	require.NoError(t, err)
	require.Zero(t, shell.wait(), shell.stderr.String())
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, console+"/admin/links",
		strings.NewReader(`{"username":"admin"}`))
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer "+strings.TrimSpace(made))
	res, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer res.Body.Close()
	var link struct{ URL string }
	require.NoError(t, json.NewDecoder(res.Body).Decode(&link))
	assert.Equal(t, http.StatusCreated, res.StatusCode)
	assert.Equal(t, http.StatusSeeOther, enterConsole(t, administratorBrowser(t), link.URL))
	status, _ = ask(info.URL, "/admin/brands", key)
	assert.Equal(t, http.StatusNotFound, status, "the public listener")
	require.Equal(t, 0, p.end(syscall.SIGTERM), p.stderr.String())
}
