package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/cmd/ticketd/internal/state"
	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/token"
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
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"apikeyid": cmdAPIKeyID, "issue": cmdIssue,
		},
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

// cmdIssue issues an agent's ticket of a brand with the keyring of a data folder, and sets
// the variable to the ticket and VARIABLE_ID to its ID: issue VARIABLE DATA BRAND
func cmdIssue(ts *testscript.TestScript, _ bool, args []string) {
	ring, err := state.Place{Data: ts.MkAbs(args[1])}.OpenRing(keyring.Ticket)
	ts.Check(err)
	defer ring.Close()
	issuer, err := token.NewIssuer(token.Config{Sealer: ring})
	ts.Check(err)
	t := &token.Ticket{Audience: token.Agent, Brand: args[2], Username: "john.d"}
	ticket, err := issuer.Issue(t)
	ts.Check(err)
	ts.Setenv(args[0], ticket)
	ts.Setenv(args[0]+"_ID", t.ID.String())
}
