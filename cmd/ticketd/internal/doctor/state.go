package doctor

import (
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/looks"
	"github.com/admitone/admitone/cmd/ticketd/internal/service"
)

const (
	askTimeout = 10 * time.Second // for a server
	maxKeys    = 1000             // API keys that end soon, of which doctor tells
)

// directory checks the directory, its clock and the API keys that end soon.
func (f *findings) directory(ctx context.Context) {
	const name = "directory"
	p := f.c.State
	if err := p.FindDirectory(); err != nil {
		f.add(name, Failed, "mount the data folder, or make a directory: ticketd init", "%v", err)
		return
	}
	began := time.Now()
	db, err := directory.OpenAsIs(ctx, p.Directory())
	if err != nil {
		f.add(name, Failed, "see the message; ticketd restore puts a backup in place", "%s", cli.Message(err))
		return
	}
	defer db.Close()
	brands, err := db.Brands(ctx, "", 1)
	switch {
	case err != nil:
		f.add(name, Failed, "see the message", "%s", cli.Message(err))
		return
	case len(brands) == 0:
		f.add(name, Warning, "ticketd brand add NAME", "there is no brand, so nobody can be issued a ticket")
	default:
		f.add(name, Well, "", "whole, with the schema of this program")
	}
	f.logos(ctx, db)
	f.clocks(ctx, db, time.Since(began))
	f.apiKeys(ctx, db)
}

// logos finds the logos that no page shows. The names of brands are told apart by case.
func (f *findings) logos(ctx context.Context, db *directory.DB) {
	folder, err := looks.Open(f.c.Pages)
	if err != nil {
		return // the check of the pages tells
	}
	for _, brand := range slices.Sorted(maps.Keys(folder.Logos)) {
		if _, err := db.Brand(ctx, brand); errors.Is(err, directory.ErrNotFound) {
			f.add("pages", Warning, "call the file after a brand, letter for letter, or add the brand",
				"there is a logo of the brand %q, which does not exist", brand)
		}
	}
}

// clocks compares the clock with the directory's. took is a bound of the error.
func (f *findings) clocks(ctx context.Context, db *directory.DB, took time.Duration) {
	server, event, err := db.Clocks(ctx)
	now := f.now.Add(took)
	allowed := max(f.c.Skew, time.Second) + took
	switch {
	case err != nil:
		f.add("clock", Failed, "see the message", "%s", cli.Message(err))
	case !server.IsZero() && server.Sub(now).Abs() > allowed+f.sinceBegan():
		f.add("clock", Failed, "set the clocks of both machines", "the clock differs from the database's by %v",
			server.Sub(now).Abs().Round(time.Millisecond))
	case event.Sub(now) > allowed+f.sinceBegan():
		f.add("clock", Failed, "set the clock of this machine, or of the machine that wrote the event",
			"the clock is %v before the newest event of the audit trail", event.Sub(now).Round(time.Second))
	default:
		f.add("clock", Well, "", "%s", f.now.UTC().Format(time.RFC3339))
	}
}

// sinceBegan bounds the time that the checks have taken until now.
func (f *findings) sinceBegan() time.Duration { return max(0, time.Since(f.now)) }

// apiKeys tells which API keys end soon.
func (f *findings) apiKeys(ctx context.Context, db *directory.DB) {
	keys, err := db.ExpiringAPIKeys(ctx, f.now, maxKeys)
	if err != nil {
		f.add("api keys", Failed, "see the message", "%s", cli.Message(err))
		return
	}
	for _, k := range keys {
		f.add("api key "+k.ID, Warning, "ticketd apikey replace "+k.ID, "ends at %s", k.Expires.Format(time.RFC3339))
	}
	if len(keys) == 0 {
		f.add("api keys", Well, "", "none ends within 30 days")
	}
}

// replay checks whether the replay store can be used.
func (f *findings) replay(ctx context.Context) {
	const name = "replay store"
	r := f.c.Replay
	switch kind := r.Kind(); {
	case kind == service.Memory:
		f.add(name, Warning, "for a service that must refuse no good ticket after a restart: --replay journal:",
			"memory: after a restart, one-time tickets issued before it are refused")
	case kind == service.Journal:
		f.journal(name, strings.TrimPrefix(r.URI, "journal:"))
	default:
		ctx, cancel := context.WithTimeout(ctx, askTimeout)
		defer cancel()
		if err := r.Try(ctx, f.c.State.Realm); err != nil {
			f.add(name, Failed, "see the message, and docs/stores.md", "%s", cli.Message(err))
			return
		}
		f.add(name, Well, "", "%s answers, and is fit", r.Name())
	}
}

// journal checks the folder of a journal.
func (f *findings) journal(name, dir string) {
	if dir == "" {
		dir = f.c.State.File("replay")
	} else {
		f.disk("disk of the journal", dir)
	}
	info, err := os.Stat(dir)
	switch {
	case os.IsNotExist(err):
		f.add(name, Well, "", "a new journal: the first service makes it, and refuses one-time tickets issued before")
	case err != nil || !info.IsDir():
		f.add(name, Failed, "name a folder of this user by --replay journal:DIR", "%s is no folder that can be used", dir)
	case writable(dir) != nil:
		f.add(name, Failed, "chown it to the user of the service", "this user cannot write to %s", dir)
	default:
		f.add(name, Well, "", "journal in %s", dir)
	}
}
