package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/keyring"
)

// auditReport is the JSON of audit and audit verify.
type auditReport struct {
	File    string               `json:"file"`
	Vouched bool                 `json:"vouched"` // the KEK vouches for the log
	Entries []keyring.AuditEntry `json:"entries"`
}

// auditFlags are the flags of commands that read an audit log.
type auditFlags struct {
	readFlags
	withoutKEK bool
}

func (l *auditFlags) flags(cmd *cobra.Command) {
	l.readFlags.flags(cmd)
	cmd.Flags().BoolVar(&l.withoutKEK, "without-kek", false,
		"check the log only by its own hashes and against the file; a person who can write both could have changed both")
}

func (a *app) readAudit(file string, l auditFlags) (auditReport, error) {
	r := auditReport{File: file, Vouched: !l.withoutKEK && !a.keys.Cleartext()}
	var c *keyring.Config
	if !l.withoutKEK {
		config, err := a.readConfig(l.readFlags)
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
	var l auditFlags
	cmd := &cobra.Command{
		Use:   "audit FILE",
		Short: "Show what was done to a keyring: when, by whom and why",
		Long: `audit verifies the audit log beside FILE (FILE.audit), and shows the entries, oldest
first. Each entry has the hash of the entry before. The KEK vouches for the entry of
the file's generation, and so for all earlier entries: if an entry was edited, removed
or moved, the exit code is 6. If the last entry has no outcome, because its writer was
killed or the end of the log was cut off, the entry is shown as unfinished.`,
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
	text := "the KEK vouches for the log"
	if !r.Vouched {
		text = "only the log's own hashes vouch for the log"
	}
	last := r.Entries[len(r.Entries)-1]
	a.say("%s, whole, up to generation %d; %s", entriesText(len(r.Entries)), last.Generation, text)
	if last.Result == keyring.Unfinished {
		a.say("the last entry is unfinished: its writer was killed, or the end of the log was cut off")
	}
}

// entriesText returns a number of entries in words.
func entriesText(n int) string {
	if n == 1 {
		return "1 entry"
	}
	return fmt.Sprintf("%d entries", n)
}

func (a *app) verifyCommand() *cobra.Command {
	var l auditFlags
	cmd := &cobra.Command{
		Use:   "verify FILE",
		Short: "Verify the audit log without showing its entries",
		Long: `verify verifies the audit log as audit does, and shows no entries. The exit code is 0
if the log is whole and fits FILE, and 6 if not. For a file with the name verify, give
./verify.`,
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
	var o changeFlags
	cmd := &cobra.Command{
		Use:   "begin FILE --reason TEXT",
		Short: "Begin a new audit log in place of a lost or damaged log",
		Long: `begin begins a new audit log if the log is missing or damaged. The rest of the old log
is kept beside the new log. From then on no change goes unnoticed; the time before is
no longer proven.`,
		Example: `  keyring audit begin tickets.keyring --reason lost --realm prod --kek file:/etc/admitone/kek`,
		Args:    cobra.ExactArgs(1),
	}
	o.flags(cmd)
	return cli.Command(cmd, func(_ *cobra.Command, args []string) error {
		if o.reason == "" {
			return cli.Usagef("begin needs --reason, for the audit log")
		}
		return a.change(args[0], o, func(info keyring.Info) {
			a.say("a new audit log of %s is begun (generation %d)", args[0], info.Generation)
		}, keyring.Step{Do: keyring.BeginAudit})
	})
}

// auditHint returns what to do about an audit log that is missing or broken.
func (a *app) auditHint(file string, err error) string {
	switch reason(err) {
	case keyring.AuditMissing, keyring.AuditBroken:
		return "restore the log, or, if the log is lost for good: " + a.command("audit begin", file, "--reason", "TEXT")
	}
	return ""
}
