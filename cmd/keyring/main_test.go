package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/cmd/internal/clitest"
	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/keyring/kms"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"keyring": main})
}

func TestScripts(t *testing.T) {
	clitest.Run(t, 20, func(e *testscript.Env) { e.Setenv("LINES", "two\nlines") }, map[string]clitest.Command{
		"eventually":  cmdEventually,
		"fingerprint": cmdFingerprint,
		"keyid":       cmdKeyID,
		"made":        cmdMade,
		"object":      cmdObject,
		"published":   cmdPublished,
		"rotated":     cmdRotated,
	})
}

// cmdKeyID sets a variable to the ID of a keyring's n-th key: keyid VARIABLE FILE N
func cmdKeyID(ts *testscript.TestScript, _ bool, args []string) {
	var header struct{ Keys []struct{ ID string } }
	line, _, _ := strings.Cut(ts.ReadFile(args[1]), "\n")
	ts.Check(json.Unmarshal([]byte(line), &header))
	n, err := strconv.Atoi(args[2])
	ts.Check(err)
	ts.Setenv(args[0], header.Keys[n].ID)
}

// cmdFingerprint sets a variable to the line of a file: fingerprint VARIABLE FILE
func cmdFingerprint(ts *testscript.TestScript, _ bool, args []string) {
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile(args[1])))
}

// cmdObject requires standard output to be one JSON object with certain fields; a dot
// leads inwards: object NAME=VALUE...
func cmdObject(ts *testscript.TestScript, _ bool, args []string) {
	objects := clitest.Stdout(ts)
	if len(objects) != 1 {
		ts.Fatalf("standard output has %d objects", len(objects))
	}
	clitest.Fields(ts, objects[0], ".", args)
}

// cmdEventually runs a program, which must succeed, until a line of its standard
// output matches: eventually stdout PATTERN PROGRAM ARGS...
func cmdEventually(ts *testscript.TestScript, _ bool, args []string) {
	pattern := regexp.MustCompile("(?m)" + args[1])
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		ts.Check(ts.Exec(args[2], args[3:]...))
		if pattern.MatchString(ts.ReadFile(args[0])) {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("no match for %s within a minute", pattern)
		}
	}
}

// agedConfig makes a key file, and returns the configuration of someone whose
// clock is behind by ago.
func agedConfig(ts *testscript.TestScript, keyFile, ago string) keyring.Config {
	d, err := time.ParseDuration(ago)
	ts.Check(err)
	keyFile = ts.MkAbs(keyFile)
	ts.Check(kms.CreateKeyFile(keyFile))
	kek, err := kms.Open("file:"+keyFile, nil)
	ts.Check(err)
	now := func() time.Time { return time.Now().Add(-d) }
	return keyring.Config{Kind: keyring.Ticket, Realm: "prod", KEK: kek, Now: now}
}

// cmdMade makes a ticket keyring of realm prod that is of a while ago, and its key
// file: made FILE KEYFILE DURATION
func cmdMade(ts *testscript.TestScript, _ bool, args []string) {
	c := agedConfig(ts, args[1], args[2])
	ts.Check(keyring.Create(ts.MkAbs(args[0]), c, keyring.DefaultPolicy(c.Kind), ""))
}

// cmdRotated does the same with one that was rotated then: rotated FILE KEYFILE
// DURATION
func cmdRotated(ts *testscript.TestScript, _ bool, args []string) {
	c := agedConfig(ts, args[1], args[2])
	ts.Check(keyring.Create(ts.MkAbs(args[0]), c, keyring.DefaultPolicy(c.Kind), ""))
	_, err := keyring.Change(ts.MkAbs(args[0]), c, "", keyring.Step{Do: keyring.Rotate, Now: true})
	ts.Check(err)
}

// cmdPublished makes a keyring, its key file and its bundle, all of a while ago: published BUNDLE FILE
// KEYFILE IDENTITY KIND DURATION
func cmdPublished(ts *testscript.TestScript, _ bool, args []string) {
	c := agedConfig(ts, args[2], args[5])
	c.Kind = keyring.Kind(args[4])
	ts.Check(keyring.Create(ts.MkAbs(args[1]), c, keyring.DefaultPolicy(c.Kind), ""))
	id, err := kms.Open("signed:"+ts.MkAbs(args[3]), nil)
	ts.Check(err)
	data, _, err := keyring.Publish(ts.MkAbs(args[1]), c, keyring.Publication{Name: "acme", Identity: id})
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), data, 0o644))
}

// TestConcurrentInit has several make keyrings under one key file that is not
// there yet, some of them the same keyring. Whoever loses a race takes nothing
// from those who won.
func TestConcurrentInit(t *testing.T) {
	for range 5 {
		dir := t.TempDir()
		kek := "file:" + filepath.Join(dir, "kek")
		var wg sync.WaitGroup
		var made atomic.Int64
		for i := range 8 {
			wg.Go(func() {
				var stderr strings.Builder
				file := filepath.Join(dir, "keyring"+strconv.Itoa(i%2))
				args := []string{"init", file, "--kind", "ticket", "--realm", "prod", "--kek", kek}
				switch code := run(args, io.Discard, &stderr); code {
				case exitOK:
					made.Add(1)
				default:
					assert.Equal(t, exitFailed, code)
					// Or so many others were at it that it had no turn.
					assert.Regexp(t, "init never overwrites|another process", stderr.String())
				}
			})
		}
		wg.Wait()
		assert.Equal(t, int64(2), made.Load())
		for _, name := range []string{"keyring0", "keyring1"} {
			var stderr strings.Builder
			code := run([]string{"status", filepath.Join(dir, name), "--realm", "prod", "--kek", kek}, io.Discard, &stderr)
			assert.Equal(t, exitOK, code, stderr.String())
		}
	}
}

// fullDisk takes nothing.
type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

// TestResultNotWritten has no standard output that takes the result.
func TestResultNotWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keyring")
	for _, args := range [][]string{
		{"init", file, "--kind", "ticket", "--insecure-cleartext"},
		{"status", file, "--insecure-cleartext"},
		{"status", file, "--insecure-cleartext", "--json"},
		{"rotate", file, "--now", "--insecure-cleartext"},
		{"--help"},
		{"help", "status"},
	} {
		var stderr strings.Builder
		assert.Equal(t, exitFailed, run(args, fullDisk{}, &stderr), args)
		assert.Contains(t, stderr.String(), "no space left on device", args)
	}
	assert.Equal(t, exitUsage, run([]string{"bogus", "--json"}, fullDisk{}, io.Discard))
}

// TestHelpExamples sees that the commands in the help are well formed.
func TestHelpExamples(t *testing.T) {
	a := &app{stdout: io.Discard, stderr: io.Discard}
	root := a.root()
	n := 0
	for _, cmd := range commands(root) {
		lines := bufio.NewScanner(strings.NewReader(cmd.Example))
		for lines.Scan() {
			line, _, _ := strings.Cut(strings.TrimSpace(lines.Text()), " | ")
			words := strings.Fields(line)
			require.Equal(t, "keyring", words[0])
			found, args, err := root.Find(words[1:])
			require.NoError(t, err, line)
			require.NoError(t, found.ParseFlags(args), line)
			require.NoError(t, found.ValidateArgs(found.Flags().Args()), line)
			n++
		}
	}
	assert.GreaterOrEqual(t, n, 25)
}

// commands returns cmd and all below it, but for cobra's own.
func commands(cmd *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{cmd}
	for _, c := range cmd.Commands() {
		if c.Name() != "help" && c.Name() != "completion" {
			all = append(all, commands(c)...)
		}
	}
	return all
}

// TestHelp sees that each command has a help with examples and, but for the
// two that group others, a --json.
func TestHelp(t *testing.T) {
	a := &app{stdout: io.Discard, stderr: io.Discard}
	for _, cmd := range commands(a.root()) {
		assert.NotEmpty(t, cmd.Example, cmd.CommandPath())
		assert.NotEmpty(t, cmd.Long, cmd.CommandPath())
		var stdout, stderr strings.Builder
		args := append(strings.Fields(cmd.CommandPath())[1:], "--help")
		assert.Equal(t, exitOK, run(args, &stdout, &stderr), cmd.CommandPath())
		for _, text := range []string{cmd.Example, "--json", "--actor", "--kek"} {
			assert.Contains(t, stdout.String(), text, cmd.CommandPath())
		}
		assert.Empty(t, stderr.String())
		for line := range strings.Lines(cmd.Long) {
			assert.LessOrEqual(t, len([]rune(line)), 100, line)
		}
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if strings.HasPrefix(f.Name, "unsafe-") {
				assert.Greater(t, len(f.Usage), 60, "--%s says what breaks", f.Name)
			}
		})
	}
}

// TestSpan has durations as people give them, and as they are shown.
func TestSpan(t *testing.T) {
	for text, want := range map[string]string{
		"0": "0s", "90s": "1m30s", "15m": "15m", "24h": "1d", "36h": "1d12h", "30d": "30d", "1d12h": "1d12h", "1d0s": "1d",
		"-5m": "-5m0s", "1500ms": "1.5s", "0d": "0s",
	} {
		var s span
		require.NoError(t, s.Set(text), text)
		assert.Equal(t, want, s.String(), text)
	}
	for _, text := range []string{"", "d", "1", "1d-1h", "1.5d", "-1d", "1x", "123456d", "1d1d"} {
		assert.Error(t, new(span).Set(text), text)
	}
}

func TestAge(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for d, want := range map[time.Duration]string{
		-time.Hour: "0s", 0: "0s", 119 * time.Second: "119s", 2 * time.Minute: "2m", 119 * time.Minute: "119m",
		2 * time.Hour: "2h", 47 * time.Hour: "47h", 48 * time.Hour: "2d", 400 * 24 * time.Hour: "400d",
	} {
		assert.Equal(t, want, age(now, now.Add(-d)))
	}
}
