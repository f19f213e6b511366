package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/internal/servers"
)

// An administrator enters and works by examples/nginx/console.conf, on a host name of the
// console's own, from an address that the audit trail and the access log then have.
func TestConsoleBehindNginx(t *testing.T) {
	t.Parallel()
	const client, proxy = "127.0.0.2", "127.0.0.1"
	b := &behind{t: t, data: filepath.Join(t.TempDir(), "data"), port: strconv.Itoa(servers.Port(t)), logs: t.TempDir()}
	b.url = "https://console.example.com:" + b.port
	listener := freeAddress(t)
	b.demo, b.info = startDemo(t, "--data", b.data, "--console-listen", listener, "--console-url", b.url,
		"--trusted-proxies", proxy)
	b.cert, b.key, b.tls = certificate(t)
	b.nginxWith(recipe(t, "nginx/console.conf", "127.0.0.1:8433", listener, "listen 443 ssl",
		"listen 127.0.0.1:"+b.port+" ssl", "/etc/ssl/console.example.com.pem", b.cert,
		"/etc/ssl/console.example.com.key", b.key, "/var/log/nginx", b.logs,
		"proxy_set_header Host $http_host;", "proxy_set_header Host $proxy_host;")) // as many have it
	ann := b.person()
	from := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(client)}}
	ann.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return from.DialContext(ctx, network, "127.0.0.1:"+b.port)
	}
	// A browser without Sec-Fetch-Site sends the Origin alone.
	post := func(path, origin string, form url.Values) *http.Response {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.url+path, strings.NewReader(form.Encode()))
		require.NoError(t, err)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", origin)
		r.Header.Set("X-Forwarded-For", "192.0.2.1")
		res, err := ann.Do(r)
		require.NoError(t, err)
		body, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		res.Body.Close()
		ann.body = string(body)
		return res
	}
	require.True(t, strings.HasPrefix(b.info.ConsoleURL, b.url+"/console/enter?ta="), b.info.ConsoleURL)
	path := strings.TrimPrefix(b.info.ConsoleURL, b.url)
	require.Equal(t, http.StatusOK, ann.get(path).StatusCode, ann.body)
	form := hiddenFields(ann.body)
	assert.Equal(t, http.StatusForbidden, post("/console/enter", "https://example.com", form).StatusCode)
	entered := post("/console/enter", b.url, form)
	require.Equal(t, http.StatusSeeOther, entered.StatusCode, ann.body)
	require.Len(t, entered.Cookies(), 1)
	cookie := entered.Cookies()[0]
	assert.Equal(t, "__Host-admitone-administrator", cookie.Name)
	assert.True(t, cookie.Secure && cookie.HttpOnly)
	assert.Equal(t, http.SameSiteStrictMode, cookie.SameSite)

	const settings = "/console/brands/commbox/settings"
	require.Equal(t, http.StatusOK, ann.get(settings).StatusCode)
	form = hiddenFields(ann.body)
	form.Set("colour", "#123456")
	for _, evil := range []string{"https://example.com", "https://evil.example.com:" + b.port, "null", b.url + "0"} {
		assert.Equal(t, http.StatusForbidden, post(settings, evil, form).StatusCode, evil)
	}
	assert.Equal(t, http.StatusSeeOther, post(settings, b.url, form).StatusCode, ann.body)
	for _, forged := range []string{"192.0.2.1", "unknown", `"`} {
		res := ann.do(http.MethodGet, "/admin/brands", http.Header{
			"X-Forwarded-For": {forged}, "Authorization": {"Bearer " + b.info.APIKey}})
		assert.Equal(t, http.StatusForbidden, res.StatusCode, "the API key has another scope")
	}
	assert.Equal(t, http.StatusForbidden, ann.get("/console/enter?ta="+strings.Repeat("x", 40)).StatusCode)
	out := ann.do(http.MethodPost, "/console/logout", http.Header{"Origin": {b.url}})
	assert.Equal(t, http.StatusSeeOther, out.StatusCode)
	assert.Equal(t, http.StatusUnauthorized, ann.get(settings).StatusCode)
	require.Equal(t, 0, b.demo.end(syscall.SIGTERM), b.demo.stderr.String())

	log := b.demo.stderr.String()
	for _, line := range []string{
		`msg="ticket redeemed" .*remote=` + client + ` method=POST route=/console/enter status=303`,
		`msg=request remote=` + client + ` method=GET route="GET /console/brands/{brand}/settings" status=200`,
		`msg=request remote=` + client + ` method=POST route="POST /console/brands/{brand}/settings" status=303`,
		`msg="request refused" operation=admin .*remote=` + client + ` method=GET route=/admin/brands status=403`,
		`msg="ticket refused" .*remote=` + client + ` .*route=/console/enter status=403`,
	} {
		assert.Regexp(t, line, log)
	}
	_, ticket, _ := strings.Cut(path, "ta=")
	access, err := os.ReadFile(filepath.Join(b.logs, "console.log"))
	require.NoError(t, err)
	for _, text := range []string{log, string(access)} {
		assert.NotContains(t, text, ticket[15:])
		assert.NotContains(t, text, "192.0.2.1")
	}
	shell := start(t, "audit", "--data", b.data, "--json")
	trail, err := io.ReadAll(shell.stdout)
	require.NoError(t, err)
	require.Zero(t, shell.wait(), shell.stderr.String())
	seen := make(map[string]bool)
	for lines := bufio.NewScanner(strings.NewReader(string(trail))); lines.Scan(); {
		var e struct{ Action, Remote string }
		require.NoError(t, json.Unmarshal(lines.Bytes(), &e))
		if e.Remote != "" {
			assert.Equal(t, client, e.Remote, lines.Text())
			seen[e.Action] = true
		}
	}
	for _, action := range []string{"ticket.enter", "brand.set", "stranger.refused"} {
		assert.True(t, seen[action], "%s: %s", action, trail)
	}
}
