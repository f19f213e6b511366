package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/keyring"
)

// auditReport is what audit and audit verify print with --json.
type auditReport struct {
	File    string               `json:"file"`
	Vouched bool                 `json:"vouched"` // the KEK vouches for the log
	Entries []keyring.AuditEntry `json:"entries"`
}

// logReading are the flags of the commands that read an audit log.
type logReading struct {
	reading
	withoutKEK bool
}

func (l *logReading) flags(cmd *cobra.Command) {
	l.reading.flags(cmd)
	cmd.Flags().BoolVar(&l.withoutKEK, "without-kek", false, "check only that the log is whole and fits the file: who can write both can have changed both")
}

func (a *app) readAudit(file string, l logReading) (auditReport, error) {
	r := auditReport{File: file, Vouched: !l.withoutKEK && !a.keys.Cleartext()}
	var c *keyring.Config
	if !l.withoutKEK {
		config, err := a.readConfig(l.reading)
		if err != nil {
			return r, err
		}
		c = &config
	}
	var err error
	r.Entries, err = keyring.Audit(file, c)
	return r, err
}

func (a *app) auditCommand() *cobra.Command {
	var l logReading
	cmd := &cobra.Command{
		Use:   "audit FILE",
		Short: "Show what was done to a keyring: when, by whom and why",
		Long: `audit verifies the audit log beside FILE (FILE.audit), and shows it, oldest first.
Each entry has the hash of the one before, and the KEK vouches for the entry of the
file's generation, and so for all before it: an entry that was edited, removed or
put elsewhere is found, with exit code 6. Of the last entry it cannot be told
whether its outcome was cut off, or its writer killed: it shows as unfinished.`,
		Example: `  keyring audit tickets.keyring --realm prod --kek file:/etc/admitone/kek
  keyring audit verify tickets.keyring --realm prod --kek file:/etc/admitone/kek
  keyring audit begin tickets.keyring --reason lost --realm prod --kek file:/etc/admitone/kek`,
		Args: cobra.ExactArgs(1),
	}
	l.flags(cmd)
	cmd.AddCommand(a.verifyCommand(), a.beginCommand())
	return cli.Command(cmd, func(_ *cobra.Command, args []string) error {
		r, err := a.readAudit(args[0], l)
		if err != nil {
			return err
		}
		for _, e := range r.Entries {
			a.tellEntry(e)
		}
		a.tellVouched(r)
		a.sayNext("status", args[0])
		return a.printJSON(r)
	})
}

func (a *app) tellEntry(e keyring.AuditEntry) {
	steps := make([]string, len(e.Steps))
	for i, s := range e.Steps {
		steps[i] = describe(s)
	}
	who := e.Who
	if e.Actor != "" {
		who += " for " + e.Actor
	}
	result := ""
	if e.Result != keyring.Done {
		result = "  [" + string(e.Result) + "]"
	}
	why := ""
	if e.Why != "" {
		why = ": " + e.Why
	}
	a.say("%s  generation %d  %s  by %s%s%s", stamp(e.Time), e.Generation, strings.Join(steps, ", "), who, why, result)
}

func (a *app) tellVouched(r auditReport) {
	text := "the KEK vouches for it"
	if !r.Vouched {
		text = "only its own hashes vouch for it"
	}
	last := r.Entries[len(r.Entries)-1]
	a.say("%d entries, whole, up to generation %d; %s", len(r.Entries), last.Generation, text)
	if last.Result == keyring.Unfinished {
		a.say("the last one is unfinished: its writer was killed, or the end of the log was cut off")
	}
}

func (a *app) verifyCommand() *cobra.Command {
	var l logReading
	cmd := &cobra.Command{
		Use:   "verify FILE",
		Short: "Say only whether the audit log is whole",
		Long: `verify does what audit does, without showing the entries: exit code 0 if the log is
whole and fits FILE, 6 if not. For a file that is called verify, give ./verify.`,
		Example: `  keyring audit verify tickets.keyring --realm prod --kek file:/etc/admitone/kek
  keyring audit verify tickets.keyring --without-kek`,
		Args: cobra.ExactArgs(1),
	}
	l.flags(cmd)
	return cli.Command(cmd, func(_ *cobra.Command, args []string) error {
		r, err := a.readAudit(args[0], l)
		if err != nil {
			return err
		}
		a.tellVouched(r)
		a.sayNext("audit", args[0])
		return a.printJSON(r)
	})
}

func (a *app) beginCommand() *cobra.Command {
	var o changing
	cmd := &cobra.Command{
		Use:   "begin FILE --reason TEXT",
		Short: "Begin a new audit log where the old one is lost or damaged",
		Long: `begin begins a new audit log where there is none or the old one is damaged. What is
left of the old one is kept beside it. Nothing can then be changed unnoticed from
here on; what was before is no longer proven.`,
		Example: `  keyring audit begin tickets.keyring --reason lost --realm prod --kek file:/etc/admitone/kek`,
		Args:    cobra.ExactArgs(1),
	}
	o.flags(cmd)
	return cli.Command(cmd, func(_ *cobra.Command, args []string) error {
		if o.reason == "" {
			return cli.Usagef("begin needs --reason, for the record")
		}
		return a.change(args[0], o, func(info keyring.Info) {
			a.say("a new audit log of %s is begun (generation %d)", args[0], info.Generation)
		}, keyring.Step{Do: keyring.BeginAudit})
	})
}

// auditHint is what to do about an audit log that is not well.
func (a *app) auditHint(file string, err error) string {
	switch reason(err) {
	case keyring.AuditMissing, keyring.AuditBroken:
		return fmt.Sprintf("restore the log, or, if it is lost for good: %s", a.command("audit begin", file, "--reason", "TEXT"))
	}
	return ""
}
