package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/token"
)

// Exit codes.
const (
	exitOK         = 0
	exitFailed     = 1
	exitUsage      = 2
	exitDue        = 3
	exitOverdue    = 4
	exitBlocked    = 5
	exitUnreadable = 6
)

// app is one run of the command.
type app struct {
	stdout, stderr io.Writer

	keys  cli.Keys
	json  bool
	actor string

	fetch *fetcher // of trust refresh; nil means newFetcher

	colour bool // standard output is a terminal that takes colours
	code   int  // exit code of a command that did its work
}

// run runs the command line and returns the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	out := &output{w: stdout}
	a := &app{stdout: out, stderr: stderr, colour: takesColour(stdout)}
	root := a.root()
	root.SetArgs(args)
	cmd, err := root.ExecuteC()
	if err == nil && out.err != nil {
		fmt.Fprintf(stderr, "keyring: the work was done, but the result cannot be written to standard output: %v\n", out.err)
		return exitFailed
	}
	if err == nil {
		return a.code
	}
	code := exitCode(err)
	text := cli.Message(fields.Explain(cmd.Flags(), err))
	if a.json || code == exitUsage && asksJSON(args) {
		a.print(errorReport{Error: text, Reason: reason(err), Exit: code})
	}
	fmt.Fprintf(stderr, "keyring: %s\n", text)
	if hint := a.afterError(err, cmd); hint != "" {
		fmt.Fprintln(stderr, hint)
	}
	return code
}

// asksJSON looks for --json in arguments whose parsing failed.
func asksJSON(args []string) bool {
	if i := slices.Index(args, "--"); i >= 0 {
		args = args[:i]
	}
	return slices.Contains(args, "--json") || slices.Contains(args, "--json=true")
}

// fields maps the Go fields of library errors to the flags of this command.
var fields = cli.Fields{
	"keyring.Config.Realm":             "realm",
	"keyring.Config.KEK":               "kek",
	"keyring.Config.Kind":              "kind",
	"keyring.Export.kek":               "keyset-kek",
	"keyring.Import.kek":               "keyset-kek",
	"keyring.Rewrap.kek":               "new-kek",
	"keyring.Config.MinGeneration":     "min-generation",
	"keyring.Config.Actor":             "actor",
	"keyring.Config.UnsafeClockBehind": "unsafe-clock-behind",
	"keyring.Change.why":               "reason",
	"keyring.Publication.Name":         "name",
	"keyring.Publication.Valid":        "valid",
	"keyring.Publication.Refresh":      "refresh",
	"keyring.Policy.Lifetime":          "lifetime",
	"keyring.Policy.Propagation":       "propagation",
	"keyring.Policy.Skew":              "skew",
	"keyring.Policy.Published":         "published",
	"keyring.Policy.RotateEvery":       "rotate-every",
	"keyring.Policy.DestroyAfter":      "destroy-after",
	"keyring.Policy.ExpectedRate":      "expected-rate",
}

// errorReport is the JSON of a command that failed.
type errorReport struct {
	Error  string         `json:"error"`
	Reason keyring.Reason `json:"reason,omitempty"` // why the file was not loaded
	Exit   int            `json:"exit"`
}

func reason(err error) keyring.Reason {
	if f, ok := errors.AsType[*keyring.FileError](err); ok {
		return f.Reason
	}
	return ""
}

// blockedError is the error of a command that must not run now. The keyring is unchanged.
type blockedError struct {
	error
	next string // the command to run instead
}

func exitCode(err error) int {
	if cli.IsUsage(err) || wrongText(err) {
		return exitUsage
	}
	return failureCode(err)
}

// wrongText reports whether a text of the command line cannot be written.
func wrongText(err error) bool {
	e, ok := errors.AsType[*token.ConfigError](err)
	return ok && slices.Contains([]string{"keyring.Change.why", "keyring.Config.Actor", "keyring.Publication.Name",
		"keyring.Publication.Valid", "keyring.Publication.Refresh"}, e.Field)
}

// failureCode returns the exit code of an error that is not about the command line.
func failureCode(err error) int {
	if _, ok := errors.AsType[*keyring.BlockedError](err); ok || errors.Is(err, keyring.ErrStalePlan) {
		return exitBlocked
	}
	if _, ok := errors.AsType[blockedError](err); ok {
		return exitBlocked
	}
	if c := reason(err); c != "" && c != keyring.Missing && c != keyring.KEKUnavailable {
		return exitUnreadable
	}
	return exitFailed
}

// afterError returns the line with the next sensible command after an error.
func (a *app) afterError(err error, cmd *cobra.Command) string {
	file := cmd.Flags().Arg(0)
	if exitCode(err) == exitUsage {
		return fmt.Sprintf("next: %s --help", cmd.CommandPath())
	}
	if isTrust(cmd) {
		return a.afterTrust(err, file)
	}
	if b, ok := errors.AsType[blockedError](err); ok {
		return b.next
	}
	if b, ok := errors.AsType[*keyring.BlockedError](err); ok {
		return a.afterBlocked(b, file)
	}
	if errors.Is(err, keyring.ErrStalePlan) {
		return a.next("plan", file)
	}
	if errors.Is(err, keyring.ErrNoKey) {
		return a.next("status", file)
	}
	switch reason(err) {
	case "":
		return ""
	case keyring.Missing:
		// Over a dangling link, init would fail.
		if _, err := os.Lstat(file); err != nil {
			return a.next("init", file, "--kind", "ticket")
		}
	case keyring.AuditMissing, keyring.AuditBroken:
		if hint := a.auditHint(file, err); hint != "" {
			return "next: " + hint
		}
	}
	f, ok := errors.AsType[*keyring.FileError](err)
	if cmd.Name() == "doctor" || cmd.Name() == "publish" && ok && f.Path != file {
		return "" // or the fault is of another file
	}
	return a.next("doctor", file)
}

// afterBlocked returns the line with the next command after a blocked step.
func (a *app) afterBlocked(b *keyring.BlockedError, file string) string {
	id := b.ID.String()
	switch {
	case b.Do == keyring.Disable && b.State == keyring.Primary:
		return a.next("rotate", file)
	case b.Do == keyring.Disable:
		return fmt.Sprintf("next: wait, or, to refuse tickets that are still good, %s",
			a.command("disable", file, id, "--unsafe-refuse-live-tickets"))
	case b.Do == keyring.Hold:
		return a.next("rollback", file)
	case b.Do == keyring.Promote && b.Held:
		return a.next("unhold", file, id)
	case b.Do == keyring.Promote && b.State == keyring.Staged:
		return a.next("enable", file, id)
	case b.Do == keyring.Promote && !b.From.IsZero():
		return a.nextFrom(b.From, "promote", file, id)
	case b.Do == keyring.Rollback && b.ID == 0:
		return a.next("rotate", file, "--now")
	case b.Do == keyring.Rollback:
		return a.nextFrom(b.From, "rollback", file, id)
	case b.Do == keyring.Destroy && b.State != keyring.Disabled:
		return a.next("disable", file, id)
	case b.Do == keyring.Destroy && !b.From.IsZero():
		return a.nextFrom(b.From, "destroy", file, id)
	}
	return a.next("status", file)
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "keyring",
		Short: "Make, show and rotate the keys of admitone",
		Long: `keyring makes, shows and rotates the keys that seal login tickets, sessions and
channel codes. The keys of one kind are in one file, encrypted under a
key-encryption key (KEK) and bound to a realm, the deployment's name. Beside FILE
are FILE.audit, a log of all changes, and FILE.lock.

A key is pending until all services have the key. Then it is the primary, which seals.
Then it is retiring, and still opens, until the tickets that it sealed have expired. Then
it is disabled, and at last destroyed. The keyring's policy sets the times. "apply" does
the steps that are due, and no others, so rotation needs only a timer that runs "apply"
every few minutes. The other commands are for people.

The URI of a KEK has one of the forms
  file:PATH             a file of exactly 32 random bytes
  passphrase:           a passphrase, asked for at the terminal
  passphrase:env:NAME   a passphrase in an environment variable
  passphrase:file:PATH  a passphrase in a file
  aws-kms://ARN         a key of AWS KMS
  gcp-kms://NAME        a key of Google Cloud KMS
  hcvault://HOST/PATH   a key of Vault's transit engine; without HOST, at VAULT_ADDR
  pkcs11:ATTRIBUTES     an AES key in a token (needs a program built with -tags pkcs11)
  signed:PATH           the identity key that signs bundles and trust lists
  verify:PATH           the public half of an identity key, to read them
for example
  aws-kms://arn:aws:kms:eu-west-1:123456789012:key/3ee50705-5a82-4f5b-9753-05c4f473922f
  gcp-kms://projects/p/locations/europe-west1/keyRings/r/cryptoKeys/admitone
  hcvault://vault.example:8200/transit/keys/admitone
  'pkcs11:token=hsm;object=admitone?module-path=/usr/lib/m.so&pin-source=file:/etc/pin'
Credentials come from the usual places of each service: AWS_PROFILE and the like,
GOOGLE_APPLICATION_CREDENTIALS, VAULT_TOKEN or ~/.vault-token.

With --json, standard output is one JSON object: the result or, if the command failed,
{"error","reason","exit"}. Standard error is always for people: errors, warnings, and the
next command to run.

Exit codes
  0  done, or no change was needed
  1  failed, also if the KEK's service cannot be reached
  2  wrong usage
  3  a step is due (status, plan)
  4  a step is overdue (status, plan, doctor): does the timer run?
  5  blocked: the change would refuse tickets that are still good, or the plan is for
     another generation; nothing was changed
  6  the file is unreadable: wrong key or realm, damaged, rolled back

A duration is written as 90s, 15m, 24h, 30d or 1d12h. "keyring completion bash" (zsh,
fish, powershell) prints a script for the shell's completion.`,
		Example: `  keyring init tickets.keyring --kind ticket --realm prod --kek file:/etc/admitone/kek
  keyring status tickets.keyring --realm prod --kek file:/etc/admitone/kek
  keyring apply tickets.keyring --realm prod --kek file:/etc/admitone/kek`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	f := root.PersistentFlags()
	a.keys.AddFlags(f)
	f.BoolVar(&a.json, "json", false, "print the result as one JSON object instead of text")
	f.StringVar(&a.actor, "actor", "",
		"`name` of the person who asks for a change, for the audit log, beside the system user")
	cli.Variable(f, "actor", "ADMITONE_ACTOR")
	for _, g := range []struct {
		title    string
		commands []*cobra.Command
	}{
		{"Look", []*cobra.Command{a.statusCommand(), a.planCommand(), a.auditCommand(), a.doctorCommand()}},
		{"What a timer runs", []*cobra.Command{a.applyCommand()}},
		{"By hand", []*cobra.Command{
			a.rotateCommand(), a.stageCommand(), a.promoteCommand(), a.holdCommand(), a.unholdCommand(),
			a.rollbackCommand(), a.disableCommand(), a.enableCommand(), a.destroyCommand(),
		}},
		{"Public keys, for tickets of format 2", []*cobra.Command{
			a.identityCommand(), a.publishCommand(), a.trustCommand(),
		}},
		{"A key that others may have", []*cobra.Command{a.revokeCommand()}},
		{"The keyring itself", []*cobra.Command{
			a.initCommand(), a.policyCommand(), a.rewrapCommand(), a.importCommand(), a.exportCommand(),
		}},
	} {
		root.AddGroup(&cobra.Group{ID: g.title, Title: g.title + ":"})
		for _, c := range g.commands {
			c.GroupID = g.title
			root.AddCommand(c)
		}
	}
	cli.Finish(root)
	return root
}
