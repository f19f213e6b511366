package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A thief has everything in the folder of a login service, the key-encryption key included, and
// tries what the commands can do with it. No ticket comes of it that another login service
// accepts, nor a change of its trust list.
//
// trap F20
func TestStolenLogin(t *testing.T) {
	t.Parallel()
	h := newHalves(t, filepath.Join(t.TempDir(), "directory.db"))
	other := h.otherLogin()
	h.serveLogin()
	h.serveIssue()
	captured, unused := h.ticket(marysTicket), h.ticket(marysTicket)
	require.Equal(t, http.StatusSeeOther, mustEnter(t, h.urls[0]+"/login", captured))
	require.Equal(t, 0, h.logins[0].end(syscall.SIGTERM))

	stolen := h.path("stolen")
	require.NoError(t, os.CopyFS(stolen, os.DirFS(h.path("login"))))
	for _, name := range []string{"trust.list", "trust.list.audit", "our.pub", "login.pub", "issuer.pub"} {
		data, err := os.ReadFile(h.path(name))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(stolen, name), data, 0o600))
	}
	require.NoError(t, os.Chmod(filepath.Join(stolen, "kek.key"), 0o600))
	env := []string{"ADMITONE_REALM=prod", "ADMITONE_KEK=file:kek.key"}
	ticket := &command{t: t, exe: build(t, "ticket"), dir: stolen, env: env}
	keyring := &command{t: t, exe: h.keyring.exe, dir: stolen, env: env}
	ticketd := &command{t: t, exe: h.ticketd.exe, dir: stolen, env: append(environ(), env...)}
	recipient := h.path("other.json") // public, as is other.pub
	refused := func(text, reason string) {
		t.Helper()
		assert.Equal(t, http.StatusForbidden, mustEnter(t, other.url+"/login", strings.Fields(text)[0]))
		other.logs("reason=" + reason)
	}

	// No key in the folder makes a ticket, of either format.
	keyrings, err := filepath.Glob(filepath.Join(stolen, "*.keyring"))
	require.NoError(t, err)
	require.Len(t, keyrings, 3)
	person := []string{"--brand", "acme", "--username", "mary", "--email", "mary@example.com", "--one-time"}
	for _, path := range keyrings {
		signed := []string{"issue", "--keyring", path, "--signed", "--issuer", "own", "--recipient", recipient}
		assert.Contains(t, ticket.run(1, append(signed, person...)...), "instead of kind issuer")
		plain := []string{"issue", "--keyring", path}
		assert.Contains(t, ticket.run(1, append(plain, person...)...), "instead of kind ticket")
	}
	serve := []string{"serve", "--data", ".", "--database", h.database}
	assert.Contains(t, ticketd.run(exitFailed, serve...), "ticket.keyring")
	serve = append(serve, "--role", "issue", "--recipient", "login.pub", "--recipient-identity", "verify:our.pub",
		"--issuer-name", "own", "--login-url", "http://a.test")
	assert.Contains(t, ticketd.run(exitFailed, serve...), "issuer.keyring")

	// Nor do keys of the thief's own, under the issuer's name.
	keyring.run(0, "init", "thief.keyring", "--kind", "issuer")
	text := ticket.run(0, append([]string{"issue", "--keyring", "thief.keyring", "--signed", "--issuer", "own",
		"--recipient", recipient}, person...)...)
	refused(text, "unknown_issuer")
	keyring.run(0, "init", "thief-ticket.keyring", "--kind", "ticket")
	text = ticket.run(0, append([]string{"issue", "--keyring", "thief-ticket.keyring"}, person...)...)
	assert.Equal(t, http.StatusForbidden, mustEnter(t, other.url+"/login", strings.Fields(text)[0]))

	// What was made for the stolen service is nothing elsewhere, spent or not. The thief can read it.
	keyring.run(0, "export", h.path("issue/issuer.keyring"), "--public", "-o", "own.json",
		"--kek", "file:"+h.path("issue/kek.key"))
	text = ticket.run(0, "inspect", "--keyring", "recipient.keyring", "--issuer", "own=own.json", unused)
	assert.Contains(t, text, "username=mary")
	refused(captured, "unknown_key")
	refused(unused, "unknown_key")

	// The list of who may issue is not the thief's to change, nor to replace.
	keyring.run(0, "identity", "thief.id", "--new", "-o", "thief.id.pub")
	id := strings.TrimSpace(keyring.run(0, "identity", "thief.id"))
	keyring.run(0, "publish", "thief.keyring", "-o", "thief.pub", "--identity", "thief.id", "--name", "thief")
	add := []string{"trust", "add", "trust.list", "thief.pub", "--fingerprint", id, "--any-brand", "--audiences", "agent"}
	before, err := os.ReadFile(filepath.Join(stolen, "trust.list"))
	require.NoError(t, err)
	for _, kek := range []string{"verify:our.pub", "signed:thief.id", "file:kek.key"} {
		keyring.fails(append(add, "--kek", kek)...)
		keyring.fails("trust", "grant", "trust.list", "own", "--claims", "x", "--kek", kek)
		keyring.fails("trust", "deny", "trust.list", "own", "--reason", "x", "--kek", kek)
	}
	after, err := os.ReadFile(filepath.Join(stolen, "trust.list"))
	require.NoError(t, err)
	assert.Equal(t, string(before), string(after))
	// A copy that the thief signs is newer, and of the wrong identity.
	keyring.run(0, "rewrap", "trust.list", "--kek", "verify:our.pub", "--new-kek", "signed:thief.id")
	keyring.run(0, append(add, "--kek", "signed:thief.id")...)
	theirs, err := os.ReadFile(filepath.Join(stolen, "trust.list"))
	require.NoError(t, err)
	good, err := os.ReadFile(h.path("other.list"))
	require.NoError(t, err)
	replace(t, h.path("other.list"), theirs)
	other.logs("the signature is not of the identity")
	text = ticket.run(0, append([]string{"issue", "--keyring", "thief.keyring", "--signed", "--issuer", "thief",
		"--recipient", recipient}, person...)...)
	assert.Equal(t, http.StatusForbidden, mustEnter(t, other.url+"/login", strings.Fields(text)[0]))
	replace(t, h.path("other.list"), good)

	// The issuer itself gets in there.
	own := &command{t: t, exe: ticket.exe, dir: h.dir, env: []string{"ADMITONE_REALM=prod"}}
	text = own.run(0, append([]string{"issue", "--keyring", "issue/issuer.keyring", "--kek", "file:issue/kek.key",
		"--signed", "--issuer", "own", "--recipient", recipient}, person...)...)
	assert.Equal(t, http.StatusSeeOther, mustEnter(t, other.url+"/login", strings.Fields(text)[0]))
	assert.Equal(t, 0, other.end(syscall.SIGTERM), other.stderr.String())
}

// fails wants any exit code but 0.
func (c *command) fails(args ...string) {
	c.t.Helper()
	out, err := c.output(args...)
	assert.Error(c.t, err, "%v: %s", args, out)
}

// anotherLogin is a login service of another organisation, with keys, directory, identity and
// trust list of its own.
type anotherLogin struct {
	*process
	url string
}

// otherLogin starts the login service of an organisation that trusts the issuing service too.
func (h *halves) otherLogin() anotherLogin {
	h.t.Helper()
	place := h.path("other.db")
	for _, args := range [][]string{
		{"init", "--role", "login", "--data", "other"}, {"brand", "add", "acme"},
		{"agent", "add", "mary", "--brand", "acme", "--email", "mary@example.com"},
	} {
		h.ticketd.run(0, append(args, "--database", place)...)
	}
	h.keyring.run(0, "identity", "other.id", "--new", "-o", "other.id.pub")
	h.keyring.run(0, "trust", "add", "other.list", "issuer.pub", "--fingerprint", h.fingerprint("our.id"),
		"--brands", "acme", "--audiences", "agent", "--kek", "signed:other.id")
	h.keyring.run(0, "export", "other/recipient.keyring", "--public", "-o", "other.json", "--kek", "file:other/kek.key")
	p, url := h.serve("login", "other", "--database", place, "--trust", h.path("other.list"),
		"--trust-kek", "verify:"+h.path("other.id.pub"))
	return anotherLogin{p, url}
}

// A login service does not start beside keys that make tickets, whatever their names.
func TestLoginWithIssuersKeys(t *testing.T) {
	t.Parallel()
	h := newHalves(t, filepath.Join(t.TempDir(), "directory.db"))
	for name, from := range map[string]string{
		"issuer.keyring": "issue/issuer.keyring", "ticket.keyring": "issue/ticket.keyring",
		"issuer.keyring.old": "issue/issuer.keyring", "backup": "issue/ticket.keyring", "id": "our.id",
	} {
		data, err := os.ReadFile(h.path(from))
		require.NoError(t, err)
		path := h.path("login/" + name)
		require.NoError(t, os.WriteFile(path, data, 0o600))
		out := h.ticketd.run(exitFailed, "serve", "--role", "login", "--data", "login", "--trust", "trust.list",
			"--trust-kek", "verify:our.pub", "--listen", "127.0.0.1:0")
		assert.Contains(t, out, "login/"+name+" is ", from)
		require.NoError(t, os.Remove(path))
	}
	h.serveLogin()
}

// If the bundle of the login services is out of date, no ticket is made, and everybody is told;
// the administration goes on, and a new bundle ends it.
func TestOutdatedRecipient(t *testing.T) {
	t.Parallel()
	h := newHalves(t, filepath.Join(t.TempDir(), "directory.db"))
	h.serveLogin()
	h.publish("--valid", "2s")
	text := h.ticketd.run(exitFailed, "check-config", "--role", "issue", "--data", "issue", "--recipient", "login.pub",
		"--recipient-identity", "verify:our.pub", "--issuer-name", "own", "--login-url", h.urls[0],
		"--recipient-name", "other")
	assert.Contains(t, text, `login.pub is of "login", and --recipient-name is "other"`)
	h.serveIssue("--recipient-name", "login")
	outdated := func() {
		t.Helper()
		h.issue.logs("a bundle of public keys has ended; bring the login service's new bundle here")
		status, answer := h.call(http.MethodPost, h.issueURL+"/auth/ticket", marysTicket)
		assert.Equal(t, http.StatusServiceUnavailable, status)
		assert.Contains(t, answer, "Cannot issue now: the public keys of the login service are out of date")
		assert.NotContains(t, answer, h.dir)
		h.issue.logs(`get its new file`)
		require.Eventually(t, func() bool { // an answer is kept for a second
			status, answer = h.call(http.MethodGet, h.issueURL+"/readyz", "")
			return status == http.StatusServiceUnavailable
		}, time.Minute, 20*time.Millisecond)
		assert.Contains(t, answer, "not ready: bundle of the login service")
		status, answer = h.call(http.MethodGet, h.console+"/admin/brands/acme", "")
		assert.Equal(t, http.StatusOK, status, answer)
		samples, _ := scrape(t, h.issue.scrapeURL())
		assert.Less(t, samples["ticketd_bundle_left_seconds{bundle=login,use=recipient}"], 0.0)
	}
	outdated()
	require.Equal(t, 0, h.issue.end(syscall.SIGTERM))
	h.serveIssue()
	outdated()
	h.publish()
	info := demoInfo{URL: h.issueURL, APIKey: h.key}
	var ticket string
	require.Eventually(t, func() bool {
		var err error
		ticket, err = info.tryTicket(marysTicket)
		return err == nil
	}, time.Minute, 20*time.Millisecond)
	assert.Equal(t, http.StatusSeeOther, mustEnter(t, h.urls[0]+"/login", ticket))
}
