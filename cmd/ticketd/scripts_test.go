package main

import (
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
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
			"apikeyid": cmdAPIKeyID, "issue": cmdIssue, "administer": cmdAdminister, "seeissuers": cmdSeeIssuers,
		},
		Condition: func(cond string) (bool, error) { return false, checkCondition(cond) },
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

// cmdSeeIssuers notes issuers in the directory of a data folder, as a service with a file of
// issuers does: seeissuers DATA.
func cmdSeeIssuers(ts *testscript.TestScript, _ bool, args []string) {
	db, err := directory.Open(context.Background(), state.Place{Data: ts.MkAbs(args[0])}.Directory())
	ts.Check(err)
	defer db.Close()
	ts.Check(db.SeeIssuers(context.Background(), "another service", time.Now(), []directory.IssuerEntry{
		{Name: "acme-hr", Brands: []string{"acme"}, Audiences: []string{"agent"}, MaxLifetime: 90 * time.Second, Format: 1,
			Until: time.Now().Add(10*24*time.Hour + time.Hour), Keys: []string{"0000000a"}},
		{Name: "portal", AllBrands: true, Audiences: []string{"agent", "customer"}, Rate: 2.5, Format: 2,
			Keys: []string{"0000000b"}, DeniedKeys: []string{"0000000c"}, Generation: 3,
			BundleUntil: time.Now().Add(100 * time.Hour)},
		{Name: "stolen", Brands: []string{"acme"}, Denied: true, Format: 1},
	}))
	ts.Check(db.NoteIssuerUses(context.Background(), map[directory.IssuerKey]time.Time{
		{Issuer: "portal", Key: "0000000b"}: time.Unix(1.8e9, 0),
	}))
}
