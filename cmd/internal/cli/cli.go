// Package cli is what the commands of admitone have in common at a shell: how
// errors become exit codes, the flags that name a keyring's key-encryption key,
// and the line that names the next sensible command.
package cli

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/keyring/kms"
	"github.com/admitone/admitone/token"
)

// failure is an error of a command that was called rightly; all others come
// from cobra, and are about the command line.
type failure struct{ error }

func (e failure) Unwrap() error { return e.error }

// usageError is a fault of the command line that the command itself found.
type usageError struct{ error }

// Usagef returns an error about the command line.
func Usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// IsUsage reports whether an error that a command ended with is about its command
// line, so that its help is what to read next.
func IsUsage(err error) bool {
	if _, ok := errors.AsType[failure](err); !ok {
		return true
	}
	_, ok := errors.AsType[usageError](err)
	return ok
}

// packages finds the names of Go packages, which our libraries put in front of their
// errors. After a digit it may be a key of a file in which a line is at fault.
var packages = regexp.MustCompile(`(^|[^0-9]: )(?:directory|durable|keyring|kms|pgstore|ratelimit|redisstore|replay|token|verify|web): `)

// Message returns an error's text for people: without the names of packages, and
// with nothing but lines in it, for part of it may be another machine's.
func Message(err error) string {
	text := err.Error()
	for packages.MatchString(text) {
		text = packages.ReplaceAllString(text, "$1")
	}
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = Printable(line)
	}
	return strings.Join(lines, "\n")
}

// Printable is a text in one line, and without what a terminal takes for a command.
func Printable(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
}

// Command gives cmd a body. The body's errors are failures, unless they are
// Usagef's.
func Command(cmd *cobra.Command, body func(cmd *cobra.Command, args []string) error) *cobra.Command {
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if slices.Contains(args, "") {
			return Usagef("an argument is empty; is a variable not set?")
		}
		if err := body(cmd, args); err != nil {
			return failure{err}
		}
		return nil
	}
	return cmd
}

// Keys are the flags under which a keyring opens.
type Keys struct {
	Realm     string
	kek       string
	cleartext bool
}

// AddFlags adds the flags to f.
func (k *Keys) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&k.Realm, "realm", os.Getenv("ADMITONE_REALM"), "the deployment's `name`, to which keys and tickets are bound (environment: ADMITONE_REALM)")
	f.StringVar(&k.kek, "kek", "", "the keyring's key-encryption key, as a `URI`; see keyring --help (environment: ADMITONE_KEK)")
	f.BoolVar(&k.cleartext, "insecure-cleartext", false, "the keys stand in the file unencrypted: whoever reads the file has them, and nothing shows a change")
}

// Cleartext reports whether --insecure-cleartext was given.
func (k *Keys) Cleartext() bool { return k.cleartext }

// URI checks the flags, and returns what --kek or the environment says; with
// --insecure-cleartext, which the environment cannot say, nothing.
func (k *Keys) URI() (string, error) {
	if err := token.CheckRealm(k.Realm); err != nil {
		return "", Usagef("--realm %s", strings.TrimPrefix(err.Error(), "token: realm "))
	}
	uri := k.kek
	if uri == "" {
		uri = os.Getenv("ADMITONE_KEK")
	}
	switch {
	case k.cleartext && k.kek != "":
		return "", Usagef("--kek and --insecure-cleartext exclude each other")
	case k.cleartext:
		return "", nil
	case uri == "":
		return "", Usagef("no key-encryption key: give --kek or set ADMITONE_KEK (or, for a trial only, --insecure-cleartext)")
	}
	if err := kms.CheckURI(uri); err != nil {
		return "", Usagef("%w", err)
	}
	return uri, nil
}

// Config opens the key-encryption key, asking for a passphrase at the terminal if
// that is what it is; with repeat, which a new one needs, twice.
func (k *Keys) Config(kind keyring.Kind, repeat bool) (keyring.Config, error) {
	c := keyring.Config{Kind: kind, Realm: k.Realm, KEK: keyring.InsecureCleartext}
	uri, err := k.URI()
	if err != nil || uri == "" {
		return c, err
	}
	c.KEK, err = OpenKEK(uri, repeat)
	return c, err
}

// OpenKEK opens the key-encryption key that a URI of the command line names. See
// Config.
func OpenKEK(uri string, repeat bool) (keyring.KEK, error) {
	if err := kms.CheckURI(uri); err != nil {
		return nil, Usagef("%w", err)
	}
	return kms.Open(uri, kms.Terminal(repeat))
}

// Next returns the line that names the next sensible command.
func (k *Keys) Next(args ...string) string { return "next: " + k.Command(args...) }

// Command returns a command line that can be run as it stands: the arguments, and
// those of these flags that this command was given.
func (k *Keys) Command(args ...string) string {
	if k.Realm != "" && k.Realm != os.Getenv("ADMITONE_REALM") {
		args = append(args, "--realm", k.Realm)
	}
	if k.kek != "" {
		args = append(args, "--kek", k.kek)
	}
	if k.cleartext {
		args = append(args, "--insecure-cleartext")
	}
	return Line(args...)
}

// With returns the flags for a keyring under another KEK; the empty URI is none.
func (k Keys) With(uri string) Keys {
	k.kek, k.cleartext = uri, uri == ""
	return k
}

// Line returns a command line of the arguments, quoted for a shell where they need
// it. It is one line, whatever is in them.
func Line(args ...string) string {
	quoted := make([]string, len(args))
	for i, arg := range args {
		quoted[i] = quote(arg)
	}
	return strings.Join(quoted, " ")
}

// bare needs no quotes in any shell.
var bare = regexp.MustCompile(`^[\pL\pN_@%+:,./-][\pL\pN_@%+=:,./-]*$`)

func quote(arg string) string {
	switch {
	case bare.MatchString(arg):
		return arg
	case !strings.ContainsFunc(arg, func(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }):
		return "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
	}
	// $'...' of POSIX.1-2024, which bash and zsh have long had.
	var b strings.Builder
	b.WriteString("$'")
	for _, c := range []byte(arg) {
		switch {
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\'' || c == '\\':
			b.WriteString(`\` + string(rune(c)))
		case c < ' ' || c > '~':
			fmt.Fprintf(&b, `\%03o`, c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String() + "'"
}

// Operand returns a file's name in a form that no command takes for a flag.
func Operand(file string) string {
	if strings.HasPrefix(file, "-") {
		return "./" + file
	}
	return file
}

// Finish gives a root what all have: --version, and a help command that, unlike
// cobra's own, fails for a command that does not exist.
func Finish(root *cobra.Command) {
	root.Version = version()
	root.Flags().Bool("version", false, "print the version, and that of Go, and stop")
	root.SetHelpCommand(helpCommand(root))
}

// version is the module's, as the go command found it where it built the program:
// "(devel)" where it could find none.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "(unknown)"
	}
	return info.Main.Version + " (" + info.GoVersion + ")"
}

func helpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Help about any command",
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, rest, err := root.Find(args)
			if err != nil {
				return err
			}
			if len(rest) > 0 {
				return fmt.Errorf("unknown command %q for %q", rest[0], cmd.CommandPath())
			}
			return cmd.Help()
		},
	}
}
