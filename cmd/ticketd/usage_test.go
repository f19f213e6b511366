package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What is wrong as it is written ends with 2, before anything is opened; what a flag
// names and cannot be used, with 1. Either names the flag and what to do, and no secret.
func TestExitCodes(t *testing.T) {
	t.Chdir(t.TempDir())
	require.NoError(t, os.WriteFile("file", []byte("x\n"), 0o600))
	require.NoError(t, os.Mkdir("folder", 0o700))
	run := func(args ...string) (int, string) {
		var out bytes.Buffer
		return run(t.Context(), args, &out, &out), out.String()
	}
	code, out := run("init", "--data", "d")
	require.Zero(t, code, out)
	for _, tc := range []struct {
		code int
		want string // how the message begins
		args string
	}{
		{2, `--listen ":99999" is not HOST:PORT`, "--listen :99999"},
		{2, `--listen ":nothing" is not HOST:PORT`, "--listen :nothing"},
		{2, `--metrics-listen ":99999" is not HOST:PORT`, "--metrics-listen :99999"},
		{2, "no data folder: give --data DIR", "--data="},
		{1, "--data cannot be used; mount the folder, or make one with ticketd init: ", "--data none"},
		{1, "--data file is a file; give a folder", "--data file"},
		{2, "--database is not of a database that is known", "--database mysql://hunter2@x"},
		{2, "--database is not of a database that is known", "--database postgres:hunter2"},
		{2, "--database is not a connection string", "--database postgres://hunter2@x:y/z"},
		{2, "--database is a connection string in keywords", "--database password=hunter2"},
		{1, "no directory: ", "--database none"},
		{1, "opening the directory: ", "--database folder"},
		{1, "opening the directory: ", "--database file"},
		{2, "--realm is longer than 64 bytes", "--realm " + strings.Repeat("x", 65)},
		{2, "--kek is not a key-encryption key", "--kek nowhere:"},
		{1, "--kek cannot be opened: ", "--kek file:none"},
		{1, "--kek cannot be opened: ", "--kek file:folder"},
		{2, "--public-url ", "--public-url ftp://x"},
		{2, "--public-url ", "--public-url https://x:99999"},
		{2, "--replay is ", "--replay http://x"},
		{2, "--replay has a parameter other", "--replay redis://hunter2@x?y=z"},
		{2, "--replay has skip_verify", "--replay rediss://hunter2@x?skip_verify=1"},
		{2, "--replay has a scheme other", "--replay redis://hunter2@x/y"},
		{2, "--replay is not a connection string", "--replay postgres://x/y?sslmode=hunter2"},
		{1, "--replay names a file that cannot be read", "--replay postgres://hunter2@x/y?sslmode=verify-full&sslrootcert=none"},
		{1, "opening the replay store: cannot open the journal in file: ", "--replay journal:file"},
		{1, "--replay-ca cannot be read: ", "--replay rediss://x --replay-ca none"},
		{2, "--replay-timeout: write a duration", "--replay redis://x --replay-timeout 10"},
		{2, "--rate-store is not a URL like", "--rate-store hunter2"},
		{2, "--rate-store is not a URL like", "--rate-store http://hunter2@x"},
		{2, "--rate-store is not a URL like", "--rate-store redis:hunter2"},
		{2, "--rate-store is not a URL like", "--rate-store redis://hunter2@x:y"},
		{2, "--rate-store has skip_verify", "--rate-store rediss://hunter2@x?skip_verify=1"},
		{2, "--rate-limit: write a number", "--rate-limit much"},
		{2, "--rate-burst: write a whole number", "--rate-burst 1.5"},
		{2, "--replicas: write a whole number", "--replicas few"},
		{2, "--max-lifetime: write a duration", "--max-lifetime="},
		{2, "--integer-status: write true or false", "--integer-status=maybe"},
		{1, "--tls-cert cannot be read: ", "--tls-cert none --tls-key none"},
		{1, "--tls-cert cannot be read: ", "--tls-cert folder --tls-key folder"},
		{1, "--tls-cert and its key are not a usable pair: ", "--tls-cert file --tls-key file"},
		{1, "--config: ", "--config none"},
		{1, "--config: ", "--config folder"},
		{2, "--config is wrong:\nfile:1: ", "--config file"},
	} {
		args := append([]string{"serve", "--data", "d", "--listen", "127.0.0.1:0"}, strings.Fields(tc.args)...)
		code, out := run(args...)
		assert.Equal(t, tc.code, code, "%s\n%s", tc.args, out)
		// Before the message there may be what was logged.
		assert.Contains(t, "\n"+out, "\nticketd: "+tc.want, tc.args)
		assert.NotContains(t, out, "hunter2", tc.args)
		if tc.code == 2 {
			assert.Truef(t, strings.HasPrefix(out, "ticketd: "), "%s: nothing was opened\n%s", tc.args, out)
			assert.Contains(t, out, "\nnext: ticketd serve --help\n", tc.args)
		}
	}
	for code, args := range map[int][]string{
		2: {"init --data e --database mysql://x", "init --data e --max-lifetime x", "demo --database mysql://x", "brand list --database password=x", "brand list --data", "replay plan --rate 5"},
		1: {"init --data file/e", "demo --data file", "brand list --data none", "brand show x --data d", "agent import none --brand x --data d"},
	} {
		for _, line := range args {
			got, out := run(strings.Fields(line)...)
			assert.Equal(t, code, got, "%s\n%s", line, out)
		}
	}
	assert.NoDirExists(t, "e", "init refuses before it makes anything")
}

func TestUsage(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts many processes, each of which does little")
	}
	t.Parallel()
	empty := t.TempDir()
	for _, row := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"--help"}, 0, ""},
		{[]string{"serve", "--help"}, 0, ""},
		{[]string{"serve"}, 2, "no data folder: give --data"},
		{[]string{"dance"}, 2, "unknown command"},
		{[]string{"demo", "now"}, 2, "unexpected argument"},
		{[]string{"demo", "--skew", "much"}, 2, "skew"},
		{[]string{"serve", "--data", filepath.Join(empty, "none")}, 1, "--data cannot be used"},
		{[]string{"serve", "--data", empty}, 1, "no directory"},
		{[]string{"demo", "--listen", "192.0.2.1:0"}, 1, "--listen"},
		{[]string{"demo", "--listen", "nowhere"}, 2, "--listen"},
		{[]string{"demo", "--public-url", "ftp://x"}, 2, "--public-url"},
		{[]string{"demo", "--public-url", "https://x/path"}, 2, "--public-url"},
		{[]string{"demo", "--public-url", "https://me@x"}, 2, "--public-url"},
		{[]string{"demo", "--max-lifetime", "0.5ms"}, 2, "--max-lifetime"},
		{[]string{"demo", "--max-lifetime", "-1s"}, 2, "--max-lifetime"},
		{[]string{"demo", "--skew=-1s"}, 2, "--skew"},
		{[]string{"demo", "--replicas", "0"}, 2, "--replicas"},
		{[]string{"demo", "--replicas", "2"}, 2, "give a shared store"},
		{[]string{"serve", "--data", empty, "--replicas", "2"}, 2, "give a shared store"},
		{[]string{"demo", "--replay", "memory:x"}, 2, "--replay is"},
		{[]string{"demo", "--replay", "redis:secret"}, 2, "--replay is"},
		{[]string{"demo", "--metrics-listen", "9464"}, 2, "--metrics-listen"},
		{[]string{"demo", "--metrics-listen", "192.0.2.1:0"}, 1, "--metrics-listen cannot be listened on; choose another address"},
		{[]string{"demo", "--replay", "redis://127.0.0.1:1"}, 1, "replay store"},
		{[]string{"demo", "--replay", "postgres://127.0.0.1:1/x"}, 1, "replay store"},
		{[]string{"demo", "--realm", strings.Repeat("r", 65)}, 2, "64 bytes"},
	} {
		p := start(t, row.args...)
		_, _ = io.Copy(io.Discard, p.stdout)
		assert.Equal(t, row.code, p.wait(), "%v: %s", row.args, p.stderr.String())
		assert.Contains(t, p.stderr.String(), row.says)
	}
	left, err := os.ReadDir(empty)
	require.NoError(t, err)
	for _, e := range left {
		assert.Equal(t, "ticketd.lock", e.Name(), "serve makes no state")
	}
}
