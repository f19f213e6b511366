package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/internal/servers"
)

// By examples/nginx/halves.conf, backends of the named networks reach the issuing service, and people
// the login service, on one host name.
func TestHalvesBehindNginx(t *testing.T) {
	t.Parallel()
	const backend, stranger = "127.0.0.1", "127.0.0.2"
	h := newHalves(t, filepath.Join(t.TempDir(), "directory.db"))
	b := &behind{t: t, port: strconv.Itoa(servers.Port(t)), logs: t.TempDir()}
	b.url = "https://127.0.0.1:" + b.port
	h.serveLogin("--public-url", b.url, "--trusted-proxies", "127.0.0.1")
	h.serveIssue("--trusted-proxies", "127.0.0.1", "--bundle", h.path("issuer.pub"),
		"--bundle-identity", "verify:"+h.path("our.pub"))
	b.cert, b.key, b.tls = certificate(t)
	b.nginxWith(recipe(t, "nginx/halves.conf",
		"127.0.0.1:8080; }", strings.TrimPrefix(h.urls[0], "http://")+"; }",
		"127.0.0.1:8081; }", strings.TrimPrefix(h.issueURL, "http://")+"; }",
		"listen 443 ssl", "listen 127.0.0.1:"+b.port+" ssl",
		"/etc/ssl/login.example.com.pem", b.cert, "/etc/ssl/login.example.com.key", b.key, "/var/log/nginx", b.logs))

	post := func(from, path, body string) (int, string) {
		t.Helper()
		dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		client := http.Client{Transport: &http.Transport{TLSClientConfig: b.tls,
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return dialer.DialContext(ctx, network, "127.0.0.1:"+b.port)
			}}}
		defer client.CloseIdleConnections()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.url+path, strings.NewReader(body))
		require.NoError(t, err)
		r.Header.Set("Authorization", "Bearer "+h.key)
		r.Header.Set("X-Forwarded-For", backend)
		res, err := client.Do(r)
		require.NoError(t, err)
		defer res.Body.Close()
		answer, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		return res.StatusCode, string(answer)
	}
	status, answer := post(backend, "/auth/ticket", marysTicket)
	require.Equal(t, http.StatusOK, status, answer)
	_, ticket, found := strings.Cut(answer, `"encpryptedString":"`)
	require.True(t, found, answer)
	ticket, _, _ = strings.Cut(ticket, `"`)
	for _, path := range []string{"/auth/ticket", "/auth/revoke", "/core/systemstatus"} {
		status, answer = post(stranger, path, marysTicket)
		assert.Equal(t, http.StatusForbidden, status, path)
		assert.Contains(t, answer, "nginx", path)
	}

	mary := b.person()
	assert.Equal(t, http.StatusSeeOther, mary.get("/login?ta="+ticket).StatusCode)
	assert.Equal(t, http.StatusOK, mary.get("/auth/brand/acme/check").StatusCode)
	assert.Equal(t, "mary", mary.get("/auth/brand/acme/check").Header.Get("Remote-User"))
	assert.Equal(t, http.StatusForbidden, b.person().get("/login?ta="+ticket).StatusCode, "a replay")
	res := mary.get("/.well-known/admitone/own.pub")
	assert.Equal(t, http.StatusOK, res.StatusCode)
	bundle, err := os.ReadFile(h.path("issuer.pub"))
	require.NoError(t, err)
	assert.Equal(t, string(bundle), mary.body)
	// The other spellings of a path are the login service's, which makes no tickets.
	for _, path := range []string{"/auth/ticket/", "/AUTH/ticket", "/console", "/admin/brands"} {
		status, answer = post(backend, path, marysTicket)
		assert.Equal(t, http.StatusNotFound, status, path)
		assert.NotContains(t, answer, "nginx", path)
	}
	h.logins[0].logs(`msg="ticket redeemed"`)
	access, err := os.ReadFile(filepath.Join(b.logs, "access.log"))
	require.NoError(t, err)
	assert.Contains(t, string(access), "GET /login ")
	assert.NotContains(t, string(access), ticket[15:])
}
