package cli

import (
	"errors"
	"os/exec"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestNext(t *testing.T) {
	t.Setenv("ADMITONE_REALM", "env")
	for want, k := range map[string]Keys{
		"next: keyring status f":                                   {Realm: "env"},
		"next: keyring status f --realm 'a b' --kek passphrase:":   {Realm: "a b", kek: "passphrase:"},
		`next: keyring status f --realm 'it'\''s'`:                 {Realm: "it's"},
		"next: keyring status f --realm r --insecure-cleartext":    {Realm: "r", cleartext: true},
		"next: keyring status f --realm r --kek 'file:/a;rm -r /'": {Realm: "r", kek: "file:/a;rm -r /"},
	} {
		assert.Equal(t, want, k.Next("keyring", "status", "f"))
	}
}

func TestMessage(t *testing.T) {
	for text, want := range map[string]string{
		"--replay: no":                                   "--replay: no",
		"Vault says: \x1b[2J\u202e\xff\r: é":             "Vault says: ?[2J???: é",
		"connecting:\n\t127.0.0.1:1: refused":            "connecting:\n 127.0.0.1:1: refused",
		"--config is wrong:\nf.yaml:2: replay: is twice": "--config is wrong:\nf.yaml:2: replay: is twice",
	} {
		assert.Equal(t, want, Message(errors.New(text)))
	}
}

func TestLine(t *testing.T) {
	for arg, want := range map[string]string{
		"":                `''`,
		"a/b-c.d_e":       `a/b-c.d_e`,
		"--realm=x":       `--realm=x`,
		"=x":              `'=x'`,
		"größe":           `größe`,
		"a b":             `'a b'`,
		"it's":            `'it'\''s'`,
		"$HOME":           `'$HOME'`,
		"a^b":             `'a^b'`,
		"a\nb":            `$'a\nb'`,
		"it's\n\\\x1b[2J": `$'it\'s\n\\\033[2J'`,
		"a\u2028b":        `$'a\342\200\250b'`,
		"\xff":            `$'\377'`,
	} {
		assert.Equal(t, want, Line(arg), "%q", arg)
		assert.NotContains(t, Line(arg), "\n")
		if bash, err := exec.LookPath("bash"); err == nil {
			out, err := exec.Command(bash, "-c", "printf %s "+Line(arg)).Output()
			require.NoError(t, err)
			assert.Equal(t, arg, string(out))
		}
	}
	assert.Equal(t, "a 'b c'", Line("a", "b c"))
}

func TestOperand(t *testing.T) {
	for file, want := range map[string]string{"f": "f", "-f": "./-f", "--": "./--", "./-f": "./-f", "/f": "/f"} {
		assert.Equal(t, want, Operand(file))
	}
}

func TestURI(t *testing.T) {
	for _, row := range []struct {
		args []string
		env  string
		uri  string
		ok   bool
	}{
		{nil, "", "", false},
		{nil, "file:env", "file:env", true},
		{[]string{"--kek", "file:flag"}, "file:env", "file:flag", true},
		{[]string{"--insecure-cleartext"}, "file:env", "", true},
		{[]string{"--insecure-cleartext", "--kek", "file:flag"}, "", "", false},
		{[]string{"--kek", "hunter2"}, "", "", false},
		{[]string{"--kek", "file:"}, "", "", false},
		{nil, "passphrase:hunter2", "", false},
		{[]string{"--kek", "file:flag", "--realm", strings.Repeat("r", 65)}, "", "", false},
		{[]string{"--kek", "file:flag", "--realm", strings.Repeat("r", 64)}, "", "file:flag", true},
	} {
		t.Setenv("ADMITONE_KEK", row.env)
		var k Keys
		f := pflag.NewFlagSet("", pflag.ContinueOnError)
		k.AddFlags(f)
		require.NoError(t, f.Parse(row.args))
		uri, err := k.URI()
		assert.Equal(t, row.uri, uri)
		if row.ok {
			assert.NoError(t, err)
		} else {
			require.Error(t, err)
			assert.NotContains(t, err.Error(), "hunter2")
			fails := func(*cobra.Command, []string) error { return err }
			assert.True(t, IsUsage(Command(&cobra.Command{}, fails).RunE(new(cobra.Command), nil)))
		}
	}
}

func TestIsUsage(t *testing.T) {
	body := func(err error) error {
		return Command(&cobra.Command{}, func(*cobra.Command, []string) error { return err }).RunE(new(cobra.Command), nil)
	}
	assert.NoError(t, body(nil))
	assert.False(t, IsUsage(body(errors.New("disk full"))))
	assert.True(t, IsUsage(body(Usagef("--x is wrong"))))
	assert.True(t, IsUsage(errors.New("unknown flag: --y")), "cobra's own")
}

func TestDescribeBuild(t *testing.T) {
	info := &debug.BuildInfo{GoVersion: "go1.26.0", Main: debug.Module{Version: "v1.2.3"}}
	assert.Equal(t, "v1.2.3 (go1.26.0)", describeBuild(info), "installed from a module")
	info.Settings = []debug.BuildSetting{
		{Key: "vcs", Value: "git"},
		{Key: "vcs.revision", Value: "0123456789abcdef0123456789abcdef01234567"},
		{Key: "vcs.time", Value: "2026-12-01T05:00:00Z"},
	}
	assert.Equal(t, "v1.2.3 (commit 0123456789ab, 2026-12-01, go1.26.0)", describeBuild(info), "built in a checkout")
}
