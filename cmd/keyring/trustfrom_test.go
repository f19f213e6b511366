package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/keyring/kms"
)

// runWith runs the command.
func runWith(args ...string) (code int, stdout, stderr string) {
	var out, errs strings.Builder
	code = run(args, &out, &errs)
	return code, out.String(), errs.String()
}

// TestTrustListFrom asks services which list they have, and whose verified tickets came under which
// keys. A name that is no issuer's is not shown.
func TestTrustListFrom(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	ok := func(args ...string) string {
		t.Helper()
		code, stdout, stderr := runWith(append(args, "--realm", "prod")...)
		require.Equal(t, exitOK, code, stderr)
		return stdout
	}
	ok("identity", at("our.id"), "--new", "-o", at("our.pub"))
	ok("identity", at("acme.id"), "--new", "-o", at("acme-id.pub"))
	for _, kind := range []string{"issuer", "recipient"} {
		ok("init", at(kind), "--kind", kind, "--insecure-cleartext")
	}
	ok("publish", at("issuer"), "-o", at("acme.pub"), "--identity", at("acme.id"), "--name", "acme",
		"--insecure-cleartext")
	var id struct{ Fingerprint string }
	require.NoError(t, json.Unmarshal([]byte(ok("identity", at("acme.id"), "--json")), &id))
	ok("trust", "add", at("list"), at("acme.pub"), "--fingerprint", id.Fingerprint, "--kek", "signed:"+at("our.id"))

	info := func(name string, kind keyring.Kind, kek keyring.KEK) keyring.Info {
		t.Helper()
		i, err := keyring.Read(at(name), keyring.Config{Kind: kind, Realm: "prod", KEK: kek})
		require.NoError(t, err)
		return i
	}
	ours, err := kms.Open("verify:"+at("our.pub"), nil)
	require.NoError(t, err)
	list, recipient := info("list", keyring.Trust, ours), info("recipient", keyring.Recipient, keyring.InsecureCleartext)
	now := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	use := []keyring.IssuerUse{{Issuer: "acme", SigningKey: 0x0b0b0b0b, Opened: 3, LastUse: now},
		{Issuer: "no\x1b[2J", SigningKey: 1, Opened: 9, LastUse: now}}
	report := serviceReport{now, []keyring.Report{
		{Info: list, Good: now}, {Info: recipient, Good: now, Use: []keyring.KeyUse{{ID: recipient.Primary, Opened: 3, By: use}}},
	}}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		told := report
		if r.URL.Path == "/old" {
			told.Keyrings = append([]keyring.Report{}, told.Keyrings...)
			told.Keyrings[0].Generation--
			told.Keyrings[0].Fingerprint = recipient.Fingerprint
		}
		_ = json.NewEncoder(w).Encode(told)
	}))
	defer s.Close()

	trustList := func(from string, more ...string) (code int, stdout, stderr string) {
		return runWith(append([]string{"trust", "list", at("list"), "--from", from, "--realm", "prod",
			"--kek", "verify:" + at("our.pub")}, more...)...)
	}
	code, stdout, stderr := trustList(s.URL + "," + s.URL)
	assert.Equal(t, exitOK, code, stderr)
	assert.Regexp(t, `(?m)^`+s.URL+`/keyring +2 +same [0-9a-f]{8} +0s$`, stdout)
	assert.Regexp(t, `(?m)^acme +0b0b0b0b +6 +2026-12-01T00:00:00Z$`, stdout)
	assert.NotContains(t, stdout, "\x1b")
	code, stdout, _ = trustList(s.URL+"/old", "--json")
	assert.Equal(t, exitFailed, code)
	var result trustResult
	require.NoError(t, json.Unmarshal([]byte(stdout), &result))
	assert.Equal(t, older, result.Services[0].Match)
	assert.Equal(t, use[:1], result.Use)
	code, _, stderr = trustList("ftp://x")
	assert.Equal(t, exitUsage, code, stderr)

	// Whose tickets a retiring key of the recipient still opens, and a warning of format 1 beside it.
	code, stdout, stderr = runClear("status", at("recipient"), "--from", s.URL)
	assert.Equal(t, exitOK, code, stderr)
	assert.Regexp(t, `(?m)^ +3 +2026-12-01T00:00:00Z +issuer acme, key 0b0b0b0b$`, stdout)
	report.Time = time.Now()
	report.Keyrings = append(report.Keyrings, keyring.Report{Info: keyring.Info{Kind: keyring.Ticket, Realm: "prod"}})
	_, stdout, _ = runClear("doctor", at("recipient"), "--from", s.URL)
	assert.Contains(t, stdout, "takes tickets of format 1 beside format 2")
}
