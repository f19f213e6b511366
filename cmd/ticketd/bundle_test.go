package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A command runs a program in a folder.
type command struct {
	t    *testing.T
	exe  string
	dir  string
	env  []string
	args []string // at the end of each command line
}

// output returns what the program writes, and an error unless its exit code is 0.
func (c *command) output(args ...string) (string, error) {
	cmd := exec.Command(c.exe, append(args, c.args...)...)
	cmd.Dir, cmd.Env = c.dir, append(os.Environ(), c.env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// run wants an exit code, and returns what the program writes. The codes 3 and 4 of keyring say
// that something is due.
func (c *command) run(want int, args ...string) string {
	c.t.Helper()
	out, err := c.output(args...)
	code := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code = exit.ExitCode()
	}
	require.Equal(c.t, want, code, "%v: %s", args, out)
	return out
}

// replace puts a copy of a file in the place of another, as a whole.
func replace(t *testing.T, to string, data []byte) {
	t.Helper()
	require.NoError(t, os.WriteFile(to+".new", data, 0o644))
	require.NoError(t, os.Rename(to+".new", to))
}

// A ticketd serves the bundles of its organisation, and another organisation's keyring trust
// refresh fetches them there. A wrong file changes nothing.
func TestServeBundle(t *testing.T) {
	t.Parallel()
	cert, key := writePair(t)
	pem, err := os.ReadFile(cert)
	require.NoError(t, err)
	k := &command{t: t, exe: buildKeyring(t), dir: t.TempDir(),
		env: []string{"SSL_CERT_FILE=" + cert, "ADMITONE_REALM=", "ADMITONE_KEK="}, args: []string{"--realm", "prod"}}
	path := func(name string) string { return filepath.Join(k.dir, name) }
	identity := func(name string) string {
		return strings.TrimSpace((&command{t, k.exe, k.dir, k.env, nil}).run(0, "identity", name+".id", "--new",
			"-o", name+".id.pub"))
	}
	acme := identity("acme")
	identity("our")
	identity("thief")
	const kek = "file:kek"
	k.run(0, "init", "acme.keyring", "--kind", "issuer", "--kek", kek)
	k.run(0, "init", "login.keyring", "--kind", "recipient", "--kek", kek)
	publish := func(name, id string, more ...string) []byte {
		out := path(name + "." + id + ".pub")
		k.run(0, append([]string{"publish", name + ".keyring", "-o", out, "--identity", id + ".id", "--name", name,
			"--kek", kek}, more...)...)
		data, err := os.ReadFile(out)
		require.NoError(t, err)
		return data
	}
	first := publish("acme", "acme")
	replace(t, path("acme.pub"), first)
	replace(t, path("login.pub"), publish("login", "acme", "--valid", "24h"))

	dir := t.TempDir()
	run := start(t, "init", "--data", dir, "--realm", "prod")
	require.Equal(t, 0, run.wait(), run.stderr.String())
	address, metrics := freeAddress(t), freeAddress(t)
	serve := []string{"serve", "--data", dir, "--realm", "prod", "--listen", address, "--metrics-listen", metrics,
		"--tls-cert", cert, "--tls-key", key, "--bundle", path("acme.pub")}
	for says, more := range map[string][]string{
		"needs --bundle-identity": nil,
		"is no public identity":   {"--bundle-identity", acme[1:]},
		"give verify:PATH":        {"--bundle-identity", "signed:" + path("acme.id")},
		"signature is not of":     {"--bundle-identity", "verify:" + path("our.id.pub")},
		"served at one path":      {"--bundle-identity", acme, "--bundle", path("acme.acme.pub")},
		"is missing":              {"--bundle-identity", acme, "--bundle", path("absent")},
	} {
		failed := start(t, append(serve, more...)...)
		assert.NotZero(t, failed.wait())
		assert.Contains(t, failed.stderr.String(), says)
	}
	p := start(t, append(serve, "--bundle", path("login.pub"), "--bundle-identity", "verify:"+path("acme.id.pub"))...)
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(pem))
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	defer client.CloseIdleConnections()
	get := func(name string) (int, []byte, http.Header) {
		res, err := client.Get("https://" + address + "/.well-known/admitone/" + name)
		require.NoError(t, err, p.stderr.String())
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		return res.StatusCode, body, res.Header
	}
	p.logs("msg=listening")
	status, body, header := get("acme.pub")
	require.Equal(t, http.StatusOK, status)
	assert.Equal(t, string(first), string(body))
	assert.Equal(t, "max-age=3600", header.Get("Cache-Control"))
	status, _, _ = get("login.pub")
	assert.Equal(t, http.StatusOK, status)
	status, _, _ = get("other.pub")
	assert.Equal(t, http.StatusNotFound, status)
	p.logs(`route="GET /.well-known/admitone/{file}" status=404`)

	// Another organisation takes the keys from here.
	list := []string{"--kek", "signed:our.id"}
	k.run(0, append([]string{"trust", "add", "trust.list", "acme.pub", "--fingerprint", acme, "--brands", "acme",
		"--audiences", "agent", "--url", "https://" + address + "/.well-known/admitone/acme.pub"}, list...)...)
	k.run(0, "rotate", "acme.keyring", "--kek", kek)
	second := publish("acme", "acme")
	replace(t, path("acme.pub"), second)
	served := func(want []byte) {
		t.Helper()
		require.Eventually(t, func() bool { _, body, _ := get("acme.pub"); return bytes.Equal(body, want) }, time.Minute,
			10*time.Millisecond)
	}
	served(second)
	text := k.run(0, append([]string{"trust", "refresh", "trust.list", "--now"}, list...)...)
	assert.Contains(t, text, "pending")
	assert.Contains(t, text, "generation 2")

	k.run(0, "publish", "acme.keyring", "-o", "other.pub", "--identity", "acme.id", "--name", "other",
		"--bundle-generation", "9", "--kek", kek)
	other, err := os.ReadFile(path("other.pub"))
	require.NoError(t, err)

	// What is wrong is told, and changes nothing.
	for _, wrong := range []struct {
		says string
		data []byte
	}{
		{"an older file was put back", first},
		{"the signature is not of the identity", publish("acme", "thief")},
		{"does not open", second[:len(second)-9]},
		{"it is of \\\"other\\\"", other},
	} {
		replace(t, path("acme.pub"), wrong.data)
		p.logs(wrong.says)
		served(second)
	}
	third := publish("acme", "acme", "--valid", "3s")
	replace(t, path("acme.pub"), third)
	served(third)
	p.logs("a bundle of public keys ends soon")
	p.logs("a bundle of public keys has ended")
	status, _, _ = get("acme.pub")
	assert.Equal(t, http.StatusNotFound, status)
	res, err := http.Get("http://" + metrics + "/metrics")
	require.NoError(t, err)
	defer res.Body.Close()
	body, err = io.ReadAll(res.Body)
	require.NoError(t, err)
	text = string(body)
	assert.Regexp(t, `ticketd_bundle_left_seconds\{bundle="acme",use="served"\} -`, text)
	assert.Regexp(t, `ticketd_bundle_left_seconds\{bundle="login",use="served"\} [1-9]`, text)
	require.Equal(t, 0, p.end(syscall.SIGTERM))

	// An ended bundle does not keep a service from starting.
	p = start(t, append(serve, "--bundle-identity", acme)...)
	p.logs("msg=listening")
	p.logs("a bundle of public keys has ended")
	fourth := publish("acme", "acme")
	replace(t, path("acme.pub"), fourth)
	served(fourth)
}
