package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/cmd/internal/cli"
)

const examples = "../../examples/rotate/"

// accepts sees that a command line is one of this program, in that environment.
func accepts(t *testing.T, words []string, env map[string]string) {
	t.Helper()
	require.Equal(t, "keyring", filepath.Base(words[0]))
	for name, value := range env {
		t.Setenv(name, value)
	}
	a := &app{stdout: io.Discard, stderr: io.Discard}
	cmd, args, err := a.root().Find(words[1:])
	require.NoError(t, err)
	assert.Equal(t, "apply", cmd.Name())
	require.NoError(t, cmd.ParseFlags(args))
	require.NoError(t, cmd.ValidateArgs(cmd.Flags().Args()))
	require.NoError(t, cli.ReadVariables(cmd.Flags()))
	uri, err := a.keys.URI()
	require.NoError(t, err)
	assert.NotEmpty(t, uri)
	assert.NotEmpty(t, a.keys.Realm)
	assert.NotEmpty(t, a.actor)
}

// unit reads a systemd unit: the values of each name, of all sections.
func unit(t *testing.T, name string) map[string][]string {
	t.Helper()
	data, err := os.ReadFile(examples + name)
	require.NoError(t, err)
	values := make(map[string][]string)
	for line := range strings.Lines(string(data)) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(line, "#") {
			values[k] = append(values[k], v)
		}
	}
	return values
}

func TestSystemdExample(t *testing.T) {
	service, timer := unit(t, "keyring-rotate@.service"), unit(t, "keyring-rotate@.timer")
	env := make(map[string]string)
	for _, e := range service["Environment"] {
		k, v, _ := strings.Cut(e, "=")
		env[k] = v
	}
	require.Equal(t, []string{"/etc/ticketd/ticketd.env"}, service["EnvironmentFile"])
	settings, err := os.ReadFile("../../release/etc/ticketd.env")
	require.NoError(t, err)
	for line := range strings.Lines(string(settings)) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(line, "#") {
			env[k] = v
		}
	}
	require.Len(t, service["ExecStart"], 1)
	words := strings.Fields(service["ExecStart"][0])
	accepts(t, words, env)
	assert.Equal(t, "%i.keyring", filepath.Base(words[2]), "the unit's instance is the keyring")
	assert.Equal(t, []string{"oneshot"}, service["Type"])
	assert.Equal(t, []string{filepath.Dir(words[2])}, service["ReadWritePaths"],
		"where the keyring is, with its log and lock")
	assert.NotEmpty(t, timer["OnUnitActiveSec"])
	assert.NotContains(t, timer, "Unit", "it is named as its service")

	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("systemd-analyze is not installed")
		}
		t.Skip("systemd-analyze is not installed")
	}
	// It looks whether the program is there.
	exe, err := os.Executable()
	require.NoError(t, err)
	dir := t.TempDir()
	for _, name := range []string{"keyring-rotate@.service", "keyring-rotate@.timer"} {
		data, err := os.ReadFile(examples + name)
		require.NoError(t, err)
		data = []byte(strings.ReplaceAll(string(data), words[0], exe))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), data, 0o644))
	}
	out, err := exec.Command(analyze, "verify", "--man=no", filepath.Join(dir, "keyring-rotate@.service"),
		filepath.Join(dir, "keyring-rotate@.timer")).CombinedOutput()
	require.NoError(t, err, string(out))
	assert.NotContains(t, string(out), "keyring-rotate", "nothing to complain of")
}
