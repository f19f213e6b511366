// Package clitest runs the testscripts of a command. It is for tests.
package clitest

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"
)

// Command is a command of a testscript.
type Command = func(ts *testscript.TestScript, neg bool, args []string)

// Run runs the scripts testdata/*.txt, and fails if there are fewer than least. The
// scripts have the commands given and also code (see Code).
func Run(t *testing.T, least int, setup func(*testscript.Env), commands map[string]Command) {
	t.Helper()
	const dir = "testdata"
	scripts, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(scripts), least, "scripts are missing")
	all := map[string]Command{"code": Code}
	for name, command := range commands {
		all[name] = command
	}
	testscript.Run(t, testscript.Params{
		Dir:                 dir,
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("GORACE", "atexit_sleep_ms=10") // by default a race build waits for a second at exit
			setup(e)
			return nil
		},
		Cmds: all,
	})
}

// Code runs a program and requires its exit code: code N PROGRAM ARGS...
func Code(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if neg || got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// Fields requires fields of a JSON object to have values. An argument is PATH=VALUE; in
// PATH the separator leads into an object or, with a number, into an array. A string's
// VALUE has no quotes.
func Fields(ts *testscript.TestScript, object map[string]any, separator string, args []string) {
	for _, arg := range args {
		path, want, _ := strings.Cut(arg, "=")
		var value any = object
		for name := range strings.SplitSeq(path, separator) {
			switch v := value.(type) {
			case map[string]any:
				value = v[name]
			case []any:
				i, err := strconv.Atoi(name)
				ts.Check(err)
				value = v[i]
			default:
				value = nil
			}
		}
		got, err := json.Marshal(value)
		ts.Check(err)
		if strings.Trim(string(got), `"`) != want {
			ts.Fatalf("%s is %s, want %s", path, got, want)
		}
	}
}

// Stdout returns the JSON objects of standard output.
func Stdout(ts *testscript.TestScript) (objects []map[string]any) {
	d := json.NewDecoder(strings.NewReader(ts.ReadFile("stdout")))
	for {
		var object map[string]any
		err := d.Decode(&object)
		if err == io.EOF {
			return objects
		}
		ts.Check(err)
		objects = append(objects, object)
	}
}
