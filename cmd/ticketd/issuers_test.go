package main

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/client/admin"
	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/keyring/kms"
	"github.com/admitone/admitone/token"
)

// A running service follows the file of its issuers: a mistake changes nothing and is told with
// its line, and a denied issuer's people are out.
//
// trap F10
func TestIssuersFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p, info := startDemo(t, "--data", dir, "--listen", freeAddress(t))
	require.Equal(t, 0, p.end(syscall.SIGTERM))
	file := filepath.Join(t.TempDir(), "issuers.yaml")
	write := func(text string) {
		next := file + ".new"
		require.NoError(t, os.WriteFile(next, []byte(text), 0o600))
		require.NoError(t, os.Rename(next, file))
	}
	kek, err := kms.Open("file:"+filepath.Join(dir, "kek.key"), nil)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "portal.keyring")
	config := keyring.Config{Kind: keyring.Ticket, KEK: kek, Log: slog.New(slog.DiscardHandler)}
	require.NoError(t, keyring.Create(path, config, keyring.DefaultPolicy(keyring.Ticket), ""))
	ring, err := keyring.Open(path, config)
	require.NoError(t, err)
	defer ring.Close()
	issuer, err := token.NewIssuer(token.Config{Sealer: ring})
	require.NoError(t, err)

	portal := "portal:\n  keyring: " + path + "\n  brands: [" + demoBrand + "]\n  audiences: [agent]\n"
	write("portal:\n  keyring: " + path + "\n")
	failed := start(t, "serve", "--data", dir, "--issuers", file, "--listen", freeAddress(t))
	assert.NotZero(t, failed.wait())
	assert.Contains(t, failed.stderr.String(),
		"--issuers cannot be used: the file is wrong:\n"+file+":1: portal: brands is missing")

	write(portal)
	metrics := freeAddress(t)
	p = start(t, "serve", "--data", dir, "--issuers", file, "--skew", "0s", "--metrics-listen", metrics,
		"--listen", strings.TrimPrefix(info.URL, "http://"))
	healthy(t, p, info.URL)
	p.logs(`msg="issuer may issue tickets" issuer=portal`)
	enter := func() (*http.Client, int, token.ID) {
		tk := &token.Ticket{
			Audience: token.Agent, OneTime: true, Brand: demoBrand, Username: "john.d", Email: "john.d@gmail.com",
		}
		ticket, err := issuer.Issue(tk)
		require.NoError(t, err)
		jar, err := cookiejar.New(nil)
		require.NoError(t, err)
		stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		c := &http.Client{Jar: jar, CheckRedirect: stay}
		res, err := c.Get(info.URL + "/login?ta=" + ticket)
		require.NoError(t, err)
		res.Body.Close()
		return c, res.StatusCode, tk.ID
	}
	check := func(c *http.Client) int {
		res, err := c.Get(info.URL + "/auth/brand/" + demoBrand + "/check")
		require.NoError(t, err)
		res.Body.Close()
		return res.StatusCode
	}
	john, status, _ := enter()
	require.Equal(t, http.StatusSeeOther, status, p.stderr.String())
	assert.Equal(t, http.StatusOK, check(john))
	res, err := http.Get("http://" + metrics + "/keyring")
	require.NoError(t, err)
	defer res.Body.Close()
	var report struct{ Issuers []admin.Issuer }
	require.NoError(t, json.NewDecoder(res.Body).Decode(&report))
	require.Len(t, report.Issuers, 1)
	assert.Equal(t, "portal", report.Issuers[0].Name)
	assert.Equal(t, []string{demoBrand}, report.Issuers[0].Brands)
	assert.Equal(t, ring.KeyIDs()[0].String(), report.Issuers[0].Keys[0])
	assert.WithinDuration(t, time.Now(), report.Issuers[0].LastUsed, time.Hour)

	write(portal + "  rates: 1\n")
	p.logs(`the issuers were not taken; those before stay in use`)
	p.logs(`issuers.yaml:5: portal: there is no field \"rates\"; did you mean rate?`)
	_, status, _ = enter()
	assert.Equal(t, http.StatusSeeOther, status)

	// A denial holds beside a mistake, and its end brings no session back, also after a restart
	// without the issuer.
	over := func(c *http.Client) {
		assert.Eventually(t, func() bool { return check(c) == http.StatusUnauthorized }, time.Minute, 10*time.Millisecond)
	}
	write(portal + "  rates: 1\n  denied: true\n")
	p.logs(`msg="issuer denied: its tickets are refused, and its sessions end" issuer=portal`)
	over(john)
	_, status, id := enter()
	assert.Equal(t, http.StatusForbidden, status)
	p.logs("reason=issuer_not_allowed ticket=" + id.String())
	write(portal + "  rate: 1000\n")
	admitted := func() *http.Client {
		var c *http.Client
		assert.Eventually(t, func() bool {
			c, status, _ = enter()
			return status == http.StatusSeeOther
		}, time.Minute, 10*time.Millisecond)
		return c
	}
	again := admitted()
	assert.Equal(t, http.StatusOK, check(again))
	assert.Equal(t, http.StatusUnauthorized, check(john))
	require.Equal(t, 0, p.end(syscall.SIGTERM))

	serve := func(more ...string) {
		p = start(t, append([]string{"serve", "--data", dir, "--skew", "0s",
			"--listen", strings.TrimPrefix(info.URL, "http://")}, more...)...)
		healthy(t, p, info.URL)
	}
	serve("--issuers", file)
	assert.Equal(t, http.StatusOK, check(again), "a restart ends no session")
	require.Equal(t, 0, p.end(syscall.SIGTERM))
	serve()
	assert.Equal(t, http.StatusUnauthorized, check(again))
	require.Equal(t, 0, p.end(syscall.SIGTERM))
	require.NoError(t, os.Rename(path, path+".old"))
	write(portal + "  denied: true\n")
	serve("--issuers", file) // the keyring of a denied issuer may be gone
	require.NoError(t, os.Rename(path+".old", path))
	write(portal)
	last := admitted()
	assert.Equal(t, http.StatusOK, check(last))
	assert.Equal(t, http.StatusUnauthorized, check(again))
	require.Equal(t, 0, p.end(syscall.SIGTERM))

	out := start(t, "audit", "--data", dir, "--action", "issuer.")
	told, err := io.ReadAll(out.stdout)
	require.NoError(t, err)
	require.Equal(t, 0, out.wait(), out.stderr.String())
	events := regexp.MustCompile(`issuer\.[a-z]+ issuer=portal fields=[^ ]*`).FindAllString(string(told), -1)
	assert.Equal(t, []string{
		"issuer.add issuer=portal fields=audiences,brands,format,keys",
		"issuer.set issuer=portal fields=denied,keys",
		"issuer.set issuer=portal fields=denied,keys,rate",
		"issuer.remove issuer=portal fields=audiences,brands,format,keys,rate",
		"issuer.add issuer=portal fields=audiences,brands,denied,format",
		"issuer.set issuer=portal fields=denied,keys",
	}, events, "%s", told)

	noted, err := os.ReadFile(filepath.Join(dir, "generations.json"))
	require.NoError(t, err)
	assert.Contains(t, string(noted), path, "an older file of the keyring is refused from now on")
}
