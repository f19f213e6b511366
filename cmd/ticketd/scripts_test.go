package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"
)

func TestScripts(t *testing.T) {
	if testing.Short() {
		t.Skip("they start many processes, each of which does little")
	}
	scripts, err := filepath.Glob(filepath.Join("testdata", "*.txt"))
	require.NoError(t, err)
	require.NotEmpty(t, scripts)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("GORACE", "atexit_sleep_ms=10") // else each program waits for a second at its end
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){"apikeyid": cmdAPIKeyID},
	})
}

// cmdAPIKeyID sets a variable to the ID of the API key of a note, which apikey list
// --json has just printed: apikeyid VARIABLE NOTE
func cmdAPIKeyID(ts *testscript.TestScript, _ bool, args []string) {
	for line := range strings.Lines(ts.ReadFile("stdout")) {
		var key struct{ ID, Note string }
		ts.Check(json.Unmarshal([]byte(line), &key))
		if key.Note == args[1] {
			ts.Setenv(args[0], key.ID)
			return
		}
	}
	ts.Fatalf("no API key has the note %q", args[1])
}
