// Package doctor finds what is wrong with the state of a ticketd, and tells how to repair it:
// the data folder and its disk, the clock, the keyrings, the directory, the replay store, and the
// files that the settings name. It takes no lock and repairs nothing, so it may run beside a
// service. Health asks a running service.
//
// What is wrong with the settings themselves is found by package settings.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/admitone/admitone/cmd/ticketd/internal/service"
	"github.com/admitone/admitone/internal/durable"
)

// A Verdict is the result of a check.
type Verdict string

// The verdicts.
const (
	Well    Verdict = "ok"
	Warning Verdict = "warning" // a service works, and something should be done
	Failed  Verdict = "failed"  // a service does not start, or does not do all that it should
)

// A Finding is the result of one check.
type Finding struct {
	Name   string  `json:"name"`
	Result Verdict `json:"result"`
	Text   string  `json:"text"`
	Remedy string  `json:"remedy,omitempty"` // what to do, unless Result is Well
}

// findings collects the results of checks.
type findings struct {
	c   service.Config
	now time.Time
	all []Finding
}

func (f *findings) add(name string, v Verdict, remedy, format string, args ...any) {
	f.all = append(f.all, Finding{name, v, fmt.Sprintf(format, args...), remedy})
}

// discard is the log of the parts that a check opens: the findings tell everything.
var discard = slog.New(slog.DiscardHandler)

// Files checks the files that the settings name: certificates, keyrings, and the lists of
// issuers. It reads them, and connects to nothing but a cloud KMS with the key-encryption key.
func Files(c service.Config, now time.Time) []Finding {
	f := &findings{c: c, now: now}
	f.certificate()
	f.replayCA()
	f.pages()
	if f.keyrings() {
		f.others()
	}
	return f.all
}

// State checks the data folder, the disk, the clocks, the directory and the replay store.
func State(ctx context.Context, c service.Config, now time.Time) []Finding {
	f := &findings{c: c, now: now}
	if f.folder() {
		f.owners()
		f.disk("disk", c.State.Data)
	}
	f.directory(ctx)
	f.replay(ctx)
	return f.all
}

// folder checks the data folder.
func (f *findings) folder() bool {
	const name = "data folder"
	dir := f.c.State.Data
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f.add(name, Failed, "mount it, or make one: ticketd init --data "+dir, "%s is missing", dir)
		return false
	case err != nil:
		f.add(name, Failed, "run doctor as the user of the service", "%v", err)
		return false
	case !info.IsDir():
		f.add(name, Failed, "name a folder by --data", "%s is a file", dir)
		return false
	}
	byGroup, err := durable.CheckFolder(dir)
	switch {
	case err != nil:
		f.add(name, Failed, "chmod o-w "+dir, "%v", err)
	case byGroup:
		f.add(name, Warning, "let no other account be in the group, or chmod g-w "+dir,
			"%s can be written by its group, whose members can replace keyrings and directory", dir)
	default:
		f.add(name, Well, "", "%s, mode %04o", dir, info.Mode().Perm())
	}
	if err := f.c.State.Finished(); err != nil {
		f.add("restore", Failed, "run ticketd restore again, with the same backup", "%v", err)
	}
	if err := writable(dir); err != nil {
		f.add("access", Failed, "run doctor as the user of the service; if that is so, chown the folder to this user",
			"this user cannot write to %s: %v", dir, err)
	}
	return true
}

// owners checks that all files of the data folder are their owner's alone, and the folder's
// owner's.
func (f *findings) owners() {
	dir := f.c.State.Data
	entries, err := os.ReadDir(dir)
	if err != nil {
		f.add("files", Failed, "run doctor as the user of the service", "%v", err)
		return
	}
	owner, known := ownerOf(dir)
	before := len(f.all)
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if strings.HasPrefix(e.Name(), "lost+found") {
			continue
		}
		if of, ok := ownerOf(path); known && ok && of != owner {
			f.add("owner", Failed, fmt.Sprintf("chown %d %s", owner, path),
				"%s belongs to user %d, and the folder to user %d, as whom the service runs", path, of, owner)
		}
		info, err := e.Info()
		if err == nil && info.Mode().IsRegular() && durable.CheckPrivate(path, info) != nil {
			f.add("mode", Failed, "chmod 0600 "+path, "%s has mode %04o, so others may read or write it",
				path, info.Mode().Perm())
		}
	}
	if len(f.all) == before {
		f.add("files", Well, "", "%d files, of the folder's owner and nobody else's", len(entries))
	}
}

// The free space below which doctor warns, and fails.
const (
	littleSpace = 1 << 30
	noSpace     = 64 << 20
)

// disk checks the free space of the file system of a folder.
func (f *findings) disk(name, dir string) {
	free, ok := freeSpace(dir)
	if !ok {
		return
	}
	text := fmt.Sprintf("%d MiB free at %s", free>>20, dir)
	switch {
	case free < noSpace:
		f.add(name, Failed, "free some space: without it, no change and no redemption is written", "%s", text)
	case free < littleSpace:
		f.add(name, Warning, "free some space before it is full", "%s", text)
	default:
		f.add(name, Well, "", "%s", text)
	}
}
