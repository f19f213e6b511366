package main

import (
	"bytes"
	"crypto/ed25519"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/keyring/kms"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/token/signed"
	"github.com/admitone/admitone/verify/trust"
)

// outside is an organisation that issues tickets of format 2 for a demo's agent John.
type outside struct {
	t    *testing.T
	dir  string
	kek  keyring.KEK
	list string           // path of the trust list
	own  keyring.Config   // of the trust list's owner
	ring *keyring.Ring    // with the signing keys
	to   signed.Recipient // the login service
}

func (o *outside) config(kind keyring.Kind) keyring.Config {
	return keyring.Config{Kind: kind, KEK: o.kek, Log: slog.New(slog.DiscardHandler)}
}

// identityKey makes an identity key.
func identityKey(t *testing.T, seed byte) (keyring.KEK, keyring.Identity) {
	t.Helper()
	private, err := keyring.NewIdentity(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize)))
	require.NoError(t, err)
	public, _ := keyring.IdentityOf(private)
	return private, public
}

// newOutside makes the organisation "outside", and a trust list with it whose identity is in the
// file our.pub.
func newOutside(t *testing.T, kek keyring.KEK) *outside {
	t.Helper()
	o := &outside{t: t, dir: t.TempDir(), kek: kek}
	o.list = filepath.Join(o.dir, "trust.list")
	signing := filepath.Join(o.dir, "signing.keyring")
	c := o.config(keyring.Issuer)
	require.NoError(t, keyring.Create(signing, c, keyring.DefaultPolicy(keyring.Issuer), ""))
	var err error
	o.ring, err = keyring.Open(signing, c)
	require.NoError(t, err)
	t.Cleanup(func() { _ = o.ring.Close() })
	private, public := identityKey(t, 2)
	bundle, _, err := keyring.Publish(signing, c, keyring.Publication{Name: "outside", Identity: private})
	require.NoError(t, err)
	owner, ours := identityKey(t, 1)
	o.own = o.config(keyring.Trust)
	o.own.KEK = owner
	_, _, err = trust.Add(o.list, o.own, "", trust.Enrolment{
		Bundle: bundle, Identity: public, Grant: trust.Grant{Brands: []string{demoBrand}, Audiences: []string{"agent"}},
	})
	require.NoError(t, err)
	text, err := kms.PublicIdentity(ours)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(o.dir, "our.pub"), text, 0o600))
	return o
}

// ticket makes a one-time ticket for John.
func (o *outside) ticket() string {
	o.t.Helper()
	sealer, err := signed.NewSealer("outside", o.ring, o.to)
	require.NoError(o.t, err)
	issuer, err := token.NewIssuer(token.Config{Signed: sealer})
	require.NoError(o.t, err)
	ticket, err := issuer.Issue(&token.Ticket{
		Audience: token.Agent, OneTime: true, Brand: demoBrand, Username: "john.d", Email: "john.d@gmail.com",
	})
	require.NoError(o.t, err)
	return ticket
}

// A running service opens the tickets of the issuers of its trust list and follows the list. The
// sessions of a stolen key end if the denial says so, and an older list is refused after a restart.
//
// traps F10, F12
func TestTrustList(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p, info := startDemo(t, "--data", dir, "--listen", freeAddress(t))
	require.Equal(t, 0, p.end(syscall.SIGTERM))
	kek, err := kms.Open("file:"+filepath.Join(dir, "kek.key"), nil)
	require.NoError(t, err)
	o := newOutside(t, kek)
	address := strings.TrimPrefix(info.URL, "http://")
	args := []string{"serve", "--data", dir, "--trust", o.list, "--trust-kek", "verify:" + filepath.Join(o.dir, "our.pub"),
		"--skew", "0s", "--listen", address}
	fails := func(want string, more ...string) {
		t.Helper()
		failed := start(t, append(append([]string{}, args...), more...)...)
		assert.NotZero(t, failed.wait())
		assert.Contains(t, failed.stderr.String(), want)
	}
	recipient := filepath.Join(dir, "recipient.keyring")
	fails("or make one: keyring init " + recipient + " --kind recipient --kek file:" + filepath.Join(dir, "kek.key"))
	c := o.config(keyring.Recipient)
	require.NoError(t, keyring.Create(recipient, c, keyring.DefaultPolicy(keyring.Recipient), ""))
	fails("--trust-kek is a private identity key", "--trust-kek", "signed:x")
	fails("--trust needs the identity key", "--trust-kek", "")
	fails("--trust-kek stands without --trust", "--trust", "")
	file := filepath.Join(o.dir, "issuers.yaml")
	policy := keyring.DefaultPolicy(keyring.Ticket)
	require.NoError(t, keyring.Create(filepath.Join(o.dir, "k"), o.config(keyring.Ticket), policy, ""))
	require.NoError(t, os.WriteFile(file, []byte("outside:\n  keyring: k\n  brands: all\n  audiences: [agent]\n"), 0o600))
	fails("issuer outside is in the trust list and in the file of issuers", "--issuers", file)

	p = start(t, args...)
	healthy(t, p, info.URL)
	p.logs(`msg="issuer may issue tickets of format 2" issuer=outside denied=false`)
	p.logs("tickets of format 1 are good beside those of format 2")
	enter := func() (*http.Client, int) {
		t.Helper()
		jar, err := cookiejar.New(nil)
		require.NoError(t, err)
		stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		client := &http.Client{Jar: jar, CheckRedirect: stay}
		res, err := client.Get(info.URL + "/login?ta=" + o.ticket())
		require.NoError(t, err)
		res.Body.Close()
		return client, res.StatusCode
	}
	check := func(client *http.Client) int {
		t.Helper()
		res, err := client.Get(info.URL + "/auth/brand/" + demoBrand + "/check")
		require.NoError(t, err)
		res.Body.Close()
		return res.StatusCode
	}
	ring, err := keyring.Open(recipient, c)
	require.NoError(t, err)
	before, err := ring.SealingKey()
	require.NoError(t, err)
	require.NoError(t, ring.Close())
	o.to = before
	john, status := enter()
	require.Equal(t, http.StatusSeeOther, status, p.stderr.String())
	assert.Equal(t, http.StatusOK, check(john))

	// An issuer that lags encrypts to the key before: the ticket is good.
	_, err = keyring.Change(recipient, c, "", keyring.Step{Do: keyring.Rotate, Now: true})
	require.NoError(t, err)
	p.logs("recipient.keyring generation=2")
	_, status = enter()
	assert.Equal(t, http.StatusSeeOther, status)

	older, err := os.ReadFile(o.list)
	require.NoError(t, err)
	key := o.ring.Report().Primary
	deny := func(end bool) {
		t.Helper()
		_, err := trust.Deny(o.list, o.own, "stolen", "outside", key, end)
		require.NoError(t, err)
	}
	deny(false)
	p.logs(`msg="issuer or key denied" issuer=outside reason=stolen end_sessions=false signing_key=` + key.String())
	_, status = enter()
	assert.Equal(t, http.StatusForbidden, status)
	p.logs("reason=unknown_issuer cause=\"ticket signed with an unknown key: " + key.String() +
		", which is a denied key of the issuer outside\"")
	assert.Equal(t, http.StatusOK, check(john), "a denied key ends no sessions by itself")
	deny(true)
	assert.Eventually(t, func() bool { return check(john) == http.StatusUnauthorized }, time.Minute, 10*time.Millisecond)
	require.Equal(t, 0, p.end(syscall.SIGTERM))

	trail := start(t, "audit", "--data", dir)
	lines, err := io.ReadAll(trail.stdout)
	require.NoError(t, err)
	assert.Zero(t, trail.wait())
	assert.Regexp(t, `stranger\.refused reason="unknown_issuer: a denied key of the issuer outside"`, string(lines))
	assert.Regexp(t, `ticket\.enter .* issuer=outside signing_key=`+key.String()+` `, string(lines))

	newer, err := os.ReadFile(o.list)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(o.list, older, 0o600))
	fails("is generation 2, and 4 was seen before: an older file was put back")
	require.NoError(t, os.WriteFile(o.list, newer, 0o600))
	p = start(t, args...)
	healthy(t, p, info.URL)
	assert.Equal(t, http.StatusUnauthorized, check(john))
}
