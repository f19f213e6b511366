package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"

	"github.com/spf13/cobra"
	"github.com/tink-crypto/tink-go/v2/keyset"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/token"
)

// Exit codes.
const (
	exitGood       = 0
	exitFailed     = 1
	exitUsage      = 2
	exitRefused    = 3
	exitCannotTell = 4
	exitRate       = 5 // bench: the rate was not kept
)

// app is one run of the command.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer

	keyring string
	keys    cli.Keys
	json    bool

	worst verdict // among the tickets so far
}

// run carries out the command line and returns the exit code.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr, worst: good}
	root := a.root()
	root.SetArgs(args)
	cmd, err := root.ExecuteC()
	if err == nil {
		return a.worst.exit()
	}
	code := exitCode(err)
	text := scrub(cli.Message(fields.Explain(cmd.Flags(), err)))
	if a.json {
		_ = a.print(errorReport{Error: text, Exit: code})
	}
	fmt.Fprintf(stderr, "ticket: %s\n", text)
	if code == exitUsage {
		fmt.Fprintf(stderr, "next: %s --help\n", cmd.CommandPath())
	} else if f, ok := errors.AsType[*keyring.FileError](err); ok && f.Reason != keyring.Missing {
		a.sayNext("keyring", "status", a.keyring)
	}
	return code
}

// keyringVariable is the environment variable for --keyring.
const keyringVariable = "ADMITONE_KEYRING"

// fields maps Go fields, by which the libraries' errors name a fault, to flags. The
// names without a package are fields of a ticket.
var fields = cli.Fields{
	"brand":            "brand",
	"username":         "username",
	"email":            "email",
	"uniqueId":         "unique-id",
	"firstName":        "first-name",
	"lastName":         "last-name",
	"phone1":           "phone1",
	"remark":           "remark",
	"channel":          "channel",
	"actor":            "actor",
	"overrideUserInfo": "override-user-info",
	"expiresIn":        "expires-in",
	"claims":           "claim",
	"claims.*":         "claim",

	"token.Config.Realm":             "realm",
	"verify.Config.Realm":            "realm",
	"verify.Config.Skew":             "skew",
	"keyring.Config.Realm":           "realm",
	"keyring.Config.KEK":             "kek",
	"signed.NewSealer.issuer":        "issuer",
	"signed.NewSealingKey.handle":    "recipient",
	"signed.NewVerifyingKeys.handle": "issuer",
	"signed.NewVerifyingKeys.issuer": "issuer",
	"verify.Issuer":                  "issuer",
	"verify.Issuer.SigningKeys":      "issuer",
}

// errorReport is the JSON form of a command's failure.
type errorReport struct {
	Error string `json:"error"`
	Exit  int    `json:"exit"`
}

func exitCode(err error) int {
	if cli.IsUsage(err) {
		return exitUsage
	}
	return exitFailed
}

// ticketUsage makes an error wrong usage if a field of the ticket is at fault, since
// the ticket's fields come from flags.
func ticketUsage(err error) error {
	if _, ok := errors.AsType[*token.FieldError](err); ok {
		return cli.Usage(err)
	}
	return err
}

var ticketPattern = regexp.MustCompile(token.Pattern)

// scrub takes tickets out of a text. Errors about the command line repeat parts of the
// command line, where a ticket may stand in the wrong place.
func scrub(text string) string { return ticketPattern.ReplaceAllString(text, "tkt…") }

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "ticket",
		Short: "Issue, inspect and redeem login tickets of admitone",
		Long: `ticket issues login tickets, shows what a ticket contains and whether the ticket is
good, spends tickets at a login or chat page, and tries a service under load.

inspect and redeem take tickets as arguments or, better, one a line on standard
input: arguments stay in the shell's history and show in the list of processes,
and a ticket admits whoever has it. For each ticket they print one line: the number
of the ticket, then good, refused, cannot_tell, failed or unverified, then
name=value pairs. With --json the line is one object. Standard error explains a
refusal or failure and says what to do.

Exit codes: 0 good, 1 failed, 2 wrong usage, 3 refused, 4 cannot tell. Of several
tickets the worst counts: failed, then cannot tell, then refused. bench, which tries
a service under load, has also 5: the rate was not kept.`,
		Example: `  ticket issue --keyring tickets.keyring --brand commbox --username john.d --one-time > ticket.txt
  ticket inspect --keyring tickets.keyring < ticket.txt
  ticket redeem --url https://login.example.com/login < ticket.txt`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.PersistentFlags().BoolVar(&a.json, "json", false, "print JSON, one object a line, instead of text")
	root.AddCommand(a.issueCommand(), a.inspectCommand(), a.redeemCommand(), a.benchCommand())
	cli.Finish(root)
	return root
}

// keyringFlags adds the flags for opening the keyring.
func (a *app) keyringFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&a.keyring, "keyring", "", "`file` that holds the keys")
	cli.Variable(f, "keyring", keyringVariable)
	a.keys.AddFlags(f)
}

// openKeyring opens the keyring of --keyring. The error about a missing --keyring names
// the alternative, if there is one.
func (a *app) openKeyring(kind keyring.Kind, alternative string) (*keyring.Ring, error) {
	if a.keyring == "" {
		return nil, cli.Usagef("no keyring: give --keyring or set %s%s", keyringVariable, alternative)
	}
	c, err := a.keys.Config(kind, false)
	if err != nil {
		return nil, err
	}
	return keyring.Open(a.keyring, c)
}

// readPublic reads a Tink keyset of public keys, in JSON, as keyring export --public writes it.
func readPublic(flag, file string) (*keyset.Handle, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("the public keys of --%s cannot be read: %w", flag, err)
	}
	if bytes.HasPrefix(data, []byte(`{"format":`)) && bytes.Contains(data, []byte(`"kek":"signed"`)) {
		return nil, bundleFault(flag, file)
	}
	handle, err := keyset.ReadWithNoSecrets(keyset.NewJSONReader(bytes.NewReader(data)))
	if err != nil {
		return nil, fmt.Errorf("%s holds no public keys in the form of keyring export --public: %w", file, err)
	}
	return handle, nil
}

// bundleFault is the error for a bundle where a keyset was expected.
func bundleFault(flag, file string) error {
	if flag == "recipient" {
		return cli.Usagef("%s is a bundle: give --recipient-identity too, the fingerprint of the login service's identity "+
			"key or verify:PATH", file)
	}
	return fmt.Errorf("%s is a bundle, and --%s takes the keyset of keyring export --public; "+
		"a login service takes bundles into its trust list (keyring trust add)", file, flag)
}

// print writes v to standard output as a line of JSON.
func (a *app) print(v any) error {
	e := json.NewEncoder(a.stdout)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// note prints a remark, which is no result, on standard error.
func (a *app) note(text string) { fmt.Fprintln(a.stderr, "note: "+text) }

// sayNext prints the next sensible command.
func (a *app) sayNext(args ...string) { fmt.Fprintln(a.stderr, a.keys.Next(args...)) }
