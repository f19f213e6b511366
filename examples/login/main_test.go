package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/internal/servers"
	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/keyring/kms"
	"github.com/admitone/admitone/token"
)

// The program is built and run as it stands, behind a proxy that ends TLS.
func TestLoginService(t *testing.T) {
	source, err := os.ReadFile("main.go")
	require.NoError(t, err)
	assert.LessOrEqual(t, bytes.Count(source, []byte("\n")), 40, "it is to stay this short")

	dir := t.TempDir()
	require.NoError(t, kms.CreateKeyFile(filepath.Join(dir, "kek.key")))
	kekURI := "file:" + filepath.Join(dir, "kek.key")
	kek, err := kms.Open(kekURI, nil)
	require.NoError(t, err)
	for _, kind := range []keyring.Kind{keyring.Ticket, keyring.Session} {
		c := keyring.Config{Kind: kind, Realm: "prod", KEK: kek}
		require.NoError(t, keyring.Create(filepath.Join(dir, string(kind)+".keyring"), c, keyring.DefaultPolicy(kind), ""))
	}
	program := filepath.Join(dir, "login")
	out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput()
	require.NoError(t, err, string(out))
	address := fmt.Sprintf("127.0.0.1:%d", servers.Port(t))
	ctx, stop := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, program)
	var log bytes.Buffer
	cmd.Dir, cmd.Env, cmd.Stderr = dir, append(os.Environ(), "LISTEN="+address, "KEK="+kekURI, "REALM=prod"), &log
	require.NoError(t, cmd.Start())
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	end := func() { stop(); <-ended }
	t.Cleanup(end)
	proxy := httptest.NewTLSServer(httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: address}))
	t.Cleanup(proxy.Close)

	config := keyring.Config{Kind: keyring.Ticket, Realm: "prod", KEK: kek}
	tickets, err := keyring.Open(filepath.Join(dir, "ticket.keyring"), config)
	require.NoError(t, err)
	t.Cleanup(func() { _ = tickets.Close() })
	issuer, err := token.NewIssuer(token.Config{Sealer: tickets, Realm: "prod"})
	require.NoError(t, err)
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	client := &http.Client{
		Transport: proxy.Client().Transport, Jar: jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	do := func(c *http.Client, method, target string, form url.Values) (*http.Response, string) {
		r, err := http.NewRequest(method, proxy.URL+target, strings.NewReader(form.Encode()))
		require.NoError(t, err)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		res, err := c.Do(r)
		require.NoError(t, err)
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		return res, string(body)
	}
	up := func() bool {
		res, _ := do(client, http.MethodGet, "/auth/check", nil)
		return res.StatusCode == http.StatusUnauthorized
	}
	for !up() {
		select {
		case <-ended:
			t.Fatal(log.String())
		case <-time.After(20 * time.Millisecond):
		}
	}

	// The new journal refuses what may have been issued before it, by an issuer
	// whose clock is ahead: that is over after verify.Skew.
	var ticket, page string
	require.Eventually(t, func() bool {
		ticket, err = issuer.Issue(&token.Ticket{
			Audience: token.Agent, OneTime: true, Brand: "commbox", Username: "john.d",
			FirstName: "John", LastName: "Doe", Lifetime: 10 * time.Minute,
		})
		require.NoError(t, err)
		var res *http.Response
		res, page = do(client, http.MethodGet, "/login?ta="+ticket, nil)
		return res.StatusCode == http.StatusOK
	}, time.Minute, 200*time.Millisecond)
	assert.Contains(t, page, "John Doe")
	form := url.Values{}
	for _, m := range regexp.MustCompile(`name="([a-z]+)" value="([^"]+)"`).FindAllStringSubmatch(page, -1) {
		form.Set(m[1], m[2])
	}
	res, _ := do(client, http.MethodPost, "/login?next=/inbox", form)
	require.Equal(t, http.StatusSeeOther, res.StatusCode)
	assert.Equal(t, "/inbox", res.Header.Get("Location"))
	res, _ = do(client, http.MethodGet, "/auth/check", nil)
	assert.Equal(t, http.StatusOK, res.StatusCode)
	assert.Equal(t, "john.d", res.Header.Get("Remote-User"))
	assert.Equal(t, "John Doe", res.Header.Get("Remote-Name"))

	stranger := &http.Client{Transport: client.Transport, CheckRedirect: client.CheckRedirect}
	res, _ = do(stranger, http.MethodGet, "/login?ta="+ticket, nil)
	assert.Equal(t, http.StatusForbidden, res.StatusCode)
	res, _ = do(client, http.MethodPost, "/logout", nil)
	assert.Equal(t, http.StatusSeeOther, res.StatusCode)
	res, _ = do(client, http.MethodGet, "/auth/check", nil)
	assert.Equal(t, http.StatusUnauthorized, res.StatusCode)
	end()
	assert.Contains(t, log.String(), "ticket redeemed")
	assert.Contains(t, log.String(), "reason=already_used")
	assert.NotContains(t, log.String(), ticket[5:])
}
