package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/keyring"
)

// Exit codes. 3 and 4 are those of the ticket command, and mean nothing here.
const (
	exitOK         = 0
	exitFailed     = 1
	exitUsage      = 2
	exitBlocked    = 5
	exitUnreadable = 6
)

// app is one run of the command.
type app struct {
	stdout, stderr io.Writer

	keys cli.Keys
	json bool
}

// run runs the command line and returns the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	out := &output{w: stdout}
	a := &app{stdout: out, stderr: stderr}
	root := a.root()
	root.SetArgs(args)
	cmd, err := root.ExecuteC()
	if err == nil && out.err != nil {
		fmt.Fprintf(stderr, "keyring: what was asked for was done, but standard output does not take the result: %v\n", out.err)
		return exitFailed
	}
	if err == nil {
		return exitOK
	}
	code := exitCode(err)
	text := strings.TrimPrefix(strings.TrimPrefix(err.Error(), "keyring: "), "kms: ")
	if a.json || code == exitUsage && asksJSON(args) {
		a.print(errorReport{Error: text, Cause: cause(err), Exit: code})
	}
	fmt.Fprintf(stderr, "keyring: %s\n", text)
	if hint := a.afterError(err, cmd); hint != "" {
		fmt.Fprintln(stderr, hint)
	}
	return code
}

// output is standard output. It keeps its first error, so that a result which
// went nowhere does not pass for one.
type output struct {
	w   io.Writer
	err error
}

func (o *output) Write(p []byte) (int, error) {
	n, err := o.w.Write(p)
	if o.err == nil {
		o.err = err
	}
	return n, err
}

// asksJSON looks for --json in arguments that were not parsed to their end.
func asksJSON(args []string) bool {
	if i := slices.Index(args, "--"); i >= 0 {
		args = args[:i]
	}
	return slices.Contains(args, "--json") || slices.Contains(args, "--json=true")
}

// errorReport is what --json prints when a command fails.
type errorReport struct {
	Error string        `json:"error"`
	Cause keyring.Cause `json:"cause,omitempty"` // why the file was not loaded
	Exit  int           `json:"exit"`
}

func cause(err error) keyring.Cause {
	if f, ok := errors.AsType[*keyring.FileError](err); ok {
		return f.Cause
	}
	return ""
}

func exitCode(err error) int {
	if cli.IsUsage(err) {
		return exitUsage
	}
	if _, ok := errors.AsType[*keyring.BlockedError](err); ok {
		return exitBlocked
	}
	if c := cause(err); c != "" && c != keyring.Missing && c != keyring.KEKUnavailable {
		return exitUnreadable
	}
	return exitFailed
}

// afterError returns the next sensible command after an error.
func (a *app) afterError(err error, cmd *cobra.Command) string {
	if exitCode(err) == exitUsage {
		return fmt.Sprintf("next: %s --help", cmd.CommandPath())
	}
	if b, ok := errors.AsType[*keyring.BlockedError](err); ok {
		if b.State == keyring.Primary {
			return a.next("rotate", cmd.Flags().Arg(0), "--now")
		}
		return fmt.Sprintf("next: wait, or, to refuse what is still good, %s", strings.TrimPrefix(
			a.next("disable", cmd.Flags().Arg(0), b.ID.String(), "--unsafe-refuse-live-tickets"), "next: "))
	}
	return ""
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "keyring",
		Short: "Make, look at and rotate the keys of admitone",
		Long: `keyring makes, shows and rotates the keys that seal login tickets, sessions and
channel codes. The keys of one kind are in one file, encrypted under a
key-encryption key (KEK) and bound to a realm, the deployment's name.

A KEK is given as
  file:PATH             a file of exactly 32 random bytes
  passphrase:           a passphrase, asked for at the terminal
  passphrase:env:NAME   a passphrase in an environment variable
  passphrase:file:PATH  a passphrase in a file
  aws-kms://ARN         a key of AWS KMS
  gcp-kms://NAME        a key of Google Cloud KMS
  hcvault://HOST/PATH   a key of Vault's transit engine; without HOST, that of VAULT_ADDR
  pkcs11:ATTRIBUTES     an AES key in a token (of a program built with -tags pkcs11)
in full, for example,
  aws-kms://arn:aws:kms:eu-west-1:123456789012:key/3ee50705-5a82-4f5b-9753-05c4f473922f
  gcp-kms://projects/p/locations/europe-west1/keyRings/r/cryptoKeys/admitone
  hcvault://vault.example:8200/transit/keys/admitone
  'pkcs11:token=hsm;object=admitone?module-path=/usr/lib/m.so&pin-source=file:/etc/pin'
Credentials come from where the services' own tools have them: AWS_PROFILE and the
like, GOOGLE_APPLICATION_CREDENTIALS, VAULT_TOKEN or ~/.vault-token.

Exit codes: 0 all well, 1 failed, 2 wrong usage, 5 blocked (it would refuse what
is still good), 6 the file is unreadable (wrong key or realm, damaged, rolled back).`,
		Example: `  keyring init tickets.keyring --kind ticket --realm prod --kek file:/etc/admitone/kek
  keyring status tickets.keyring --realm prod --kek file:/etc/admitone/kek
  keyring rotate tickets.keyring --now --realm prod --kek file:/etc/admitone/kek`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	f := root.PersistentFlags()
	a.keys.AddFlags(f)
	f.BoolVar(&a.json, "json", false, "print one JSON object instead of text")
	root.AddCommand(a.initCommand(), a.statusCommand(), a.rotateCommand(), a.disableCommand())
	root.SetHelpCommand(cli.HelpCommand(root))
	return root
}

// print writes v to standard output as JSON.
func (a *app) print(v any) error {
	e := json.NewEncoder(a.stdout)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// say writes a line for people: to standard output, or, where that is for the
// JSON object, nowhere.
func (a *app) say(format string, args ...any) {
	if !a.json {
		fmt.Fprintf(a.stdout, format+"\n", args...)
	}
}

// next returns the line that names the next sensible command of this program, for
// the keyring in file.
func (a *app) next(verb, file string, args ...string) string {
	return a.keys.Next(append([]string{"keyring", verb, cli.Operand(file)}, args...)...)
}

func (a *app) sayNext(verb, file string, args ...string) {
	fmt.Fprintln(a.stderr, a.next(verb, file, args...))
}

// stamp shows a time, to the second.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
