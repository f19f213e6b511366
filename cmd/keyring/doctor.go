package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/internal/durable"
	"github.com/admitone/admitone/keyring"
)

// check is one line of doctor.
type check struct {
	Name   string  `json:"name"`
	Result verdict `json:"result"`
	Text   string  `json:"text"`
	Remedy string  `json:"remedy,omitempty"`
}

type verdict string

const (
	well    verdict = "ok"
	warning verdict = "warning"
	failing verdict = "failed"
)

// diagnosis is the JSON of doctor.
type diagnosis struct {
	File   string  `json:"file"`
	Checks []check `json:"checks"`
	Exit   int     `json:"exit"`
}

func (d *diagnosis) add(name string, v verdict, remedy, format string, args ...any) {
	d.Checks = append(d.Checks, check{name, v, fmt.Sprintf(format, args...), remedy})
	if v == failing {
		d.Exit = max(d.Exit, exitFailed)
	}
}

func (a *app) doctorCommand() *cobra.Command {
	var r readFlags
	var from services
	var kind string
	cmd := &cobra.Command{
		Use:   "doctor FILE",
		Short: "Check a keyring on this machine, and tell how to repair faults",
		Long: `doctor checks whether a service on this machine can use FILE. The file must exist, be
private, open under this KEK and realm, and be of the expected kind; the clock must not
be behind the file; the audit log, if there is a log on this machine, must fit. With
--from, doctor also compares FILE with the keyrings that running services have loaded,
and their clocks with this clock. Each check is one line; a failed check tells the
remedy.

Run doctor on each node, as the user of the service.

Exit codes: 0 all well, 1 a check failed, 4 something is overdue, 6 FILE is unreadable.`,
		Example: `  keyring doctor tickets.keyring --realm prod --kek file:/etc/admitone/kek
  keyring doctor tickets.keyring --kind ticket --from http://127.0.0.1:9464 --realm prod --kek file:/etc/admitone/kek`,
		Args: cobra.ExactArgs(1),
	}
	r.flags(cmd)
	from.flags(cmd, "from", "compare FILE with the keyrings that these services have loaded")
	cmd.Flags().StringVar(&kind, "kind", "", "expected `kind` of the keyring: ticket, session or channel")
	return cli.Command(cmd, func(cmd *cobra.Command, args []string) error {
		if kind != "" && keyring.Algorithms(keyring.Kind(kind)) == nil {
			return cli.Flagf("kind", "must be ticket, session or channel")
		}
		if err := from.check(cmd.Flags().Lookup("from")); err != nil {
			return err
		}
		if _, err := a.keys.URI(); err != nil {
			return err
		}
		d := &diagnosis{File: args[0], Checks: []check{}}
		info, ok := a.examine(d, args[0], r, keyring.Kind(kind))
		if ok && len(from.urls) > 0 {
			d.examineServices(from.ask(cmd.Context(), info), info)
		}
		var again []string
		if kind != "" {
			again = append(again, "--kind", kind)
		}
		if len(from.urls) > 0 {
			again = append(again, "--from", strings.Join(from.redacted(), ","))
		}
		return a.tellDiagnosis(d, again)
	})
}

// examine checks the file, and returns the file's content.
func (a *app) examine(d *diagnosis, file string, r readFlags, kind keyring.Kind) (keyring.Info, bool) {
	if !d.examineFile(file) {
		return keyring.Info{}, false
	}
	c, err := a.readConfig(r)
	if err != nil {
		d.add("kek", failing, "see keyring --help for the forms of --kek", "%s", cli.Message(err))
		return keyring.Info{}, false
	}
	ring, err := keyring.Read(file, c)
	if err != nil {
		name := "open"
		switch reason(err) {
		case keyring.KEKUnavailable:
			name = "kek"
		case keyring.AuditBroken:
			name = "audit"
		}
		d.add(name, failing, a.auditHint(file, err), "%s", cli.Message(err))
		d.Exit = failureCode(err)
		return keyring.Info{}, false
	}
	d.add("kek", well, "", "%s; opens generation %d of realm %q", ring.KEK, ring.Generation, ring.Realm)
	if kind != "" && ring.Kind != kind {
		d.add("kind", failing, "give the right file", "a %s keyring, and a %s keyring is expected", ring.Kind, kind)
	} else {
		d.add("kind", well, "", "%s", ring.Kind)
	}
	now := time.Now()
	d.examineClock(ring, now)
	a.examineAudit(d, file, c)
	d.examinePolicy(a, file, ring, now)
	return ring, true
}

// examineFile makes the checks for which no key is needed.
func (d *diagnosis) examineFile(file string) bool {
	stat, err := os.Stat(file)
	switch {
	case errors.Is(err, os.ErrNotExist):
		d.add("file", failing, "mount or restore the file; keyring init makes a new keyring", "%s is missing", file)
		return false
	case err != nil:
		d.add("file", failing, "run this as the user that the service runs as", "%v", err)
		return false
	case !stat.Mode().IsRegular():
		d.add("file", failing, "give the keyring's own name", "%s is not a regular file", file)
		d.Exit = exitUnreadable
		return false
	}
	d.add("file", well, "", "%s, %d bytes, of %s", file, stat.Size(), stamp(stat.ModTime()))
	// Windows has no such modes.
	if m := stat.Mode().Perm(); m&0o137 != 0 && runtime.GOOS != "windows" {
		d.add("mode", warning, durable.Narrow(cli.Line(cli.Operand(file))), "%04o is wider than 0640", m)
	} else {
		d.add("mode", well, "", "%04o", m)
	}
	return true
}

// examineClock compares the clock with the latest time in the keyring.
func (d *diagnosis) examineClock(info keyring.Info, now time.Time) {
	var last time.Time
	for _, k := range info.Keys {
		for _, t := range []time.Time{k.Created, k.Enabled, k.Promoted, k.Demoted, k.Disabled} {
			if t.After(last) {
				last = t
			}
		}
	}
	if behind := last.Sub(now); behind > info.Policy.Skew {
		d.add("clock", failing, "set the clock of this machine, or of the machine that made the last change",
			"%s, which is %v before the last change", stamp(now), behind.Round(time.Second))
		return
	}
	d.add("clock", well, "", "%s; the last change of a key was at %s", stamp(now), stamp(last))
}

func (a *app) examineAudit(d *diagnosis, file string, c keyring.Config) {
	entries, err := keyring.Audit(file, &c)
	switch {
	case reason(err) == keyring.AuditMissing:
		d.add("audit", well, "", "no log here; a machine on which the keyring is never changed needs no log")
	case err != nil:
		d.add("audit", failing, a.auditHint(file, err), "%s", cli.Message(err))
		d.Exit = exitUnreadable
	case entries[len(entries)-1].Result == keyring.Unfinished:
		d.add("audit", warning, "see keyring audit; the next change records the outcome",
			"%s, of which the last is unfinished", entriesText(len(entries)))
	default:
		d.add("audit", well, "", "%s, whole", entriesText(len(entries)))
	}
}

func (d *diagnosis) examinePolicy(a *app, file string, info keyring.Info, now time.Time) {
	switch code := dueCode(info.Plan(now)); code {
	case exitOverdue:
		d.add("policy", warning, "check whether the timer runs: "+a.command("apply", file), "something is overdue")
		if d.Exit == exitOK {
			d.Exit = exitOverdue
		}
	case exitDue:
		d.add("policy", well, "", "something is due, and not late")
	default:
		d.add("policy", well, "", "nothing is due")
	}
	for _, w := range info.Warnings() {
		d.add("policy", warning, "see keyring policy --help", "%s", w)
	}
}

// examineServices compares the file with the keyrings of services.
func (d *diagnosis) examineServices(reports []serviceStatus, info keyring.Info) {
	for _, s := range reports {
		name := "service " + s.URL
		switch {
		case s.Report == nil:
			d.add(name, failing, "check whether the service runs, and where the service serves its report", "%s", s.Error)
			continue
		case s.Match == newer:
			d.add(name, failing, "copy the newest file to this machine", "has generation %d, and FILE is older: %d",
				s.Report.Generation, info.Generation)
		case s.Match == older && s.Report.Error != "":
			d.add(name, failing, "follow the service's message", "has generation %d, and cannot take %d: %s",
				s.Report.Generation, info.Generation, s.Report.Error)
		case s.Match == older:
			d.add(name, failing, "check whether the service reads this FILE, and read the service's log",
				"has generation %d, and FILE is %d", s.Report.Generation, info.Generation)
		case s.Match != same:
			d.add(name, failing, "give the service the same file and realm", "has another keyring (%s, generation %d)",
				s.Match, s.Report.Generation)
		case s.Report.Error != "":
			d.add(name, failing, "follow the service's message",
				"has generation %d, and has failed to read its file for %.0fs: %s",
				s.Report.Generation, s.Stale, s.Report.Error)
		default:
			d.add(name, well, "", "has generation %d too, read %.0fs ago", s.Report.Generation, s.Stale)
		}
		if off := time.Since(s.Clock).Abs(); off > info.Policy.Skew+askTimeout {
			d.add(name, failing, "set the clocks of both machines", "its clock differs from this clock by %v, "+
				"and the policy allows %s", off.Round(time.Second), span(info.Policy.Skew))
		}
	}
}

// tellDiagnosis shows the checks; again are the flags for another run.
func (a *app) tellDiagnosis(d *diagnosis, again []string) error {
	a.code = d.Exit
	rows := [][]string{}
	for _, c := range d.Checks {
		text := c.Text
		if c.Remedy != "" {
			text += "; " + c.Remedy
		}
		rows = append(rows, []string{string(c.Result), c.Name, text})
	}
	a.table(rows, func(column int, text string) string {
		if column != 0 {
			return ""
		}
		return map[verdict]string{well: green, warning: yellow, failing: red}[verdict(text)]
	})
	switch d.Exit {
	case exitOK:
		a.sayNext("status", d.File)
	case exitOverdue:
		a.sayNext("apply", d.File)
	default:
		a.sayNext("doctor", d.File, again...)
	}
	return a.printJSON(d)
}
