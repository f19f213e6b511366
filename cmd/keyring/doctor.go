package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/internal/durable"
	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/verify/trust"
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
	next   string  // the command to run next, if it is not doctor itself
}

func (d *diagnosis) add(name string, v verdict, remedy, format string, args ...any) {
	d.Checks = append(d.Checks, check{name, v, fmt.Sprintf(format, args...), remedy})
	if v == failing {
		d.Exit = max(d.Exit, exitFailed)
	}
}

const anyKindNames = "ticket, session, channel, issuer, recipient, issuer-public, recipient-public or trust"

func (a *app) doctorCommand() *cobra.Command {
	var r readFlags
	var from services
	var kind, bundle, identity string
	cmd := &cobra.Command{
		Use:   "doctor FILE",
		Short: "Check a keyring on this machine, and tell how to repair faults",
		Long: `doctor checks whether a service on this machine can use FILE. The file must exist, be
private, open under this KEK and realm, and be of the expected kind; the clock must not
be behind the file; the audit log, if there is a log on this machine, must fit. With
--from, doctor also compares FILE with the keyrings that running services have loaded,
and their clocks with this clock. Each check is one line; a failed check tells the
remedy.

FILE may also be a bundle or a trust list (--kek verify:PATH). doctor warns from two
thirds of a bundle's time on. For an issuer or recipient keyring, give --bundle and
--bundle-identity on the machine that publishes: doctor warns if BUNDLE was not published
since the last change of FILE.

Run doctor on each node, as the user of the service.

Exit codes: 0 all well, 1 a check failed, 3 the bundle is older than the last change, 4
something is overdue, 6 FILE is unreadable.`,
		Example: `  keyring doctor tickets.keyring --realm prod --kek file:/etc/admitone/kek
  keyring doctor tickets.keyring --kind ticket --from http://127.0.0.1:9464 --realm prod --kek file:/etc/admitone/kek
  keyring doctor acme.keyring --bundle acme.pub --bundle-identity verify:id.pub --realm prod --kek file:/etc/admitone/kek
  keyring doctor login.pub --realm prod --kek verify:login-id.pub`,
		Args: cobra.ExactArgs(1),
	}
	r.flags(cmd)
	from.flags(cmd, "from", "compare FILE with the keyrings that these services have loaded")
	cmd.Flags().StringVar(&kind, "kind", "", "expected `kind` of FILE: "+anyKindNames)
	cmd.Flags().StringVar(&bundle, "bundle", "", "`file` of the bundle that was published last from FILE")
	cmd.Flags().StringVar(&identity, "bundle-identity", "",
		"`identity` that signs the bundle of --bundle: a fingerprint, or verify:PATH")
	cmd.MarkFlagsRequiredTogether("bundle", "bundle-identity")
	return cli.Command(cmd, func(cmd *cobra.Command, args []string) error {
		if kind != "" && keyring.Algorithms(keyring.Kind(kind)) == nil && !isSigned(keyring.Kind(kind)) {
			return cli.Flagf("kind", "must be "+anyKindNames)
		}
		if err := from.check(cmd.Flags().Lookup("from")); err != nil {
			return err
		}
		if _, err := a.keys.URI(); err != nil {
			return err
		}
		var signer keyring.Identity
		if bundle != "" {
			var err error
			if signer, err = cli.Identity("bundle-identity", identity); err != nil {
				return err
			}
		}
		d := &diagnosis{File: args[0], Checks: []check{}}
		info, ok := a.examine(d, args[0], r, keyring.Kind(kind))
		if ok && (bundle != "" || !isSigned(info.Kind)) {
			a.examinePublished(d, args[0], info, bundle, signer)
		}
		if ok && len(from.urls) > 0 {
			d.examineServices(from.ask(cmd.Context(), info), info)
		}
		var again []string
		if kind != "" {
			again = append(again, "--kind", kind)
		}
		if bundle != "" {
			again = append(again, "--bundle", bundle, "--bundle-identity", identity)
		}
		if len(from.urls) > 0 {
			again = append(again, "--from", strings.Join(from.redacted(), ","))
		}
		return a.tellDiagnosis(d, again)
	})
}

// examine checks the file, and returns the file's content.
func (a *app) examine(d *diagnosis, file string, r readFlags, kind keyring.Kind) (keyring.Info, bool) {
	mode, ok := d.examineFile(file)
	if !ok {
		return keyring.Info{}, false
	}
	c, err := a.readConfig(r)
	if err != nil {
		d.examineMode(file, mode, false)
		d.add("kek", failing, "see keyring --help for the forms of --kek", "%s", cli.Message(err))
		return keyring.Info{}, false
	}
	ring, err := keyring.Read(file, c)
	d.examineMode(file, mode, err == nil && isSigned(ring.Kind))
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
		what := "keyring"
		if isSigned(ring.Kind) || isSigned(kind) {
			what = "file"
		}
		d.add("kind", failing, "give the right file", "a %s %s, and a %s %s is expected", ring.Kind, what, kind, what)
	} else {
		d.add("kind", well, "", "%s", ring.Kind)
	}
	now := time.Now()
	if isSigned(ring.Kind) {
		a.examineAudit(d, file, c)
		d.examineSigned(a, file, ring.Kind, c, now)
		return ring, true
	}
	d.examineClock(ring, now)
	a.examineAudit(d, file, c)
	d.examinePolicy(a, file, ring, now)
	return ring, true
}

// examineFile makes the checks for which no key is needed.
func (d *diagnosis) examineFile(file string) (fs.FileMode, bool) {
	stat, err := os.Stat(file)
	switch {
	case errors.Is(err, os.ErrNotExist):
		d.add("file", failing, "mount or restore the file; keyring init makes a new keyring", "%s is missing", file)
		return 0, false
	case err != nil:
		d.add("file", failing, "run this as the user that the service runs as", "%v", err)
		return 0, false
	case !stat.Mode().IsRegular():
		d.add("file", failing, "give the keyring's own name", "%s is not a regular file", file)
		d.Exit = exitUnreadable
		return 0, false
	}
	d.add("file", well, "", "%s, %d bytes, of %s", file, stat.Size(), stamp(stat.ModTime()))
	return stat.Mode().Perm(), true
}

// examineMode checks who may read and write the file. Everybody may read a signed file.
func (d *diagnosis) examineMode(file string, m fs.FileMode, public bool) {
	widest, remedy := fs.FileMode(0o640), durable.Narrow(cli.Line(cli.Operand(file)))
	if public {
		widest, remedy = 0o644, "chmod 0644 "+cli.Line(cli.Operand(file))
	}
	// Windows has no such modes.
	if m&^widest != 0 && runtime.GOOS != "windows" {
		d.add("mode", warning, remedy, "%04o is wider than %04o", m, widest)
	} else {
		d.add("mode", well, "", "%04o", m)
	}
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
			d.Exit, d.next = exitOverdue, a.command("apply", file)
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

// isFormat2 reports whether a service needs a keyring of a kind for tickets of format 2 alone.
func isFormat2(k keyring.Kind) bool { return k == keyring.Recipient || k == keyring.Trust }

// examineSigned checks the time of a bundle, or of the bundles of a trust list.
func (d *diagnosis) examineSigned(a *app, file string, kind keyring.Kind, c keyring.Config, now time.Time) {
	if kind == keyring.Trust {
		l, err := trust.Read(file, c)
		if err != nil {
			d.add("list", failing, "restore the list from a copy", "%s", cli.Message(err))
			return
		}
		for _, is := range l.Issuers {
			if l.Denial(&is) == nil {
				d.examineTime("bundle of "+is.Name, is.Generation, is.Published, is.Until, now,
					"get its new bundle: "+a.command("trust refresh", file, is.Name))
			}
		}
		return
	}
	c.Kind = kind
	b, err := keyring.ReadBundle(file, c)
	if err != nil {
		d.add("bundle", failing, "get the bundle again", "%s", cli.Message(err))
		return
	}
	d.examineTime("bundle", b.Generation, b.Published, b.Until, now,
		"get the new bundle of "+b.Name+", and see why nobody has replaced this file")
}

// examineTime warns from two thirds of the time of a bundle on.
func (d *diagnosis) examineTime(name string, generation uint64, published, until, now time.Time, remedy string) {
	switch bundleStateOf(published, until, now) {
	case bundleEnded:
		d.add(name, failing, remedy, "generation %d ended on %s: nobody uses it any more", generation, stamp(until))
	case bundleLate:
		d.add(name, warning, remedy, "generation %d is past two thirds of its time, and ends %s", generation,
			when(now, until))
		if d.Exit == exitOK || d.Exit == exitDue {
			d.Exit = exitOverdue
		}
	default:
		d.add(name, well, "", "generation %d, ends %s", generation, when(now, until))
	}
}

// examinePublished compares an issuer or recipient keyring with its bundle.
func (a *app) examinePublished(d *diagnosis, file string, info keyring.Info, bundle string, signer keyring.Identity) {
	kind, published := map[keyring.Kind]keyring.Kind{
		keyring.Issuer: keyring.IssuerPublic, keyring.Recipient: keyring.RecipientPublic,
	}[info.Kind]
	switch {
	case !published && bundle != "":
		d.add("bundle", failing, "leave --bundle out", "a file of kind %s has no bundle", info.Kind)
		return
	case bundle == "":
		if published {
			d.add("bundle", well, "", "not checked; --bundle checks whether it was published since the last change")
		}
		return
	}
	publish := a.command("publish", file, "-o", bundle, "--identity", "KEY")
	b, err := keyring.ReadBundle(bundle, keyring.Config{Kind: kind, Realm: info.Realm, KEK: signer})
	if err != nil {
		remedy := ""
		if reason(err) == keyring.Missing {
			remedy = "publish it: " + publish
		}
		d.add("bundle", failing, remedy, "%s", cli.Message(err))
		return
	}
	if b.Source != info.Audit {
		d.add("bundle", warning, "others do not know the change: "+publish,
			"generation %d was not published since the last change of %s", b.Generation, file)
		if d.Exit == exitOK {
			d.Exit, d.next = exitDue, publish
		}
	}
	d.examineTime("bundle", b.Generation, b.Published, b.Until, time.Now(), "check whether the timer runs: "+publish)
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
		if isFormat2(info.Kind) && s.whole.of(keyring.Ticket, info.Realm) != nil {
			d.add(name, warning, "for a login service that can make none, see ticketd serve --role login",
				"takes tickets of format 1 beside format 2: whoever has its files can make them")
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
	switch {
	case d.next != "":
		fmt.Fprintln(a.stderr, "next: "+d.next)
	case d.Exit == exitOK:
		a.sayNext("status", d.File)
	default:
		a.sayNext("doctor", d.File, again...)
	}
	return a.printJSON(d)
}
