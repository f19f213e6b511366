package main

import (
	"errors"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/admitone/admitone/cmd/internal/cli"
)

const prefix = "ADMITONE_"

// variable returns the environment variable that stands for a flag.
func variable(flag string) string {
	return prefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// knownVariables returns the names, without the prefix, that ticketd or another command
// of admitone reads.
func knownVariables() []string {
	known := []string{"KEYRING", "ACTOR"} // of the commands ticket and keyring
	var o options
	cmd := new(cobra.Command)
	o.serveFlags(cmd)
	for _, name := range serviceFlags(cmd) {
		known = append(known, strings.TrimPrefix(variable(name), prefix))
	}
	return known
}

// serviceLink finds the variables that Kubernetes sets for a Service called admitone or
// admitone-…, whether one wants them or not: ADMITONE_SERVICE_HOST, ADMITONE_PORT,
// ADMITONE_PORT_8080_TCP_ADDR and the like. None of them is a setting.
var serviceLink = regexp.MustCompile(`_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

// unknownVariables returns the names of variables that look like settings and are none.
func unknownVariables(environ []string) (names []string) {
	known := knownVariables()
	for _, pair := range environ {
		name, text, _ := strings.Cut(pair, "=")
		if setting, ok := strings.CutPrefix(name, prefix); ok && text != "" && !slices.Contains(known, setting) && !serviceLink.MatchString(name) {
			names = append(names, name)
		}
	}
	return names
}

// warnOfVariables tells of variables that look like settings and are none; those that
// are near to one have been refused. A variable with the KEK's passphrase or PIN may
// have any name.
func (o *options) warnOfVariables(log *slog.Logger) {
	for _, name := range unknownVariables(os.Environ()) {
		if !strings.Contains(o.kek, "env:"+name) {
			log.Warn("an environment variable is called like a setting and is none; it is ignored", "variable", printable(name))
		}
	}
}

// nearest returns the name of which less than a third of the letters are other ones than
// in what was written, or "".
func nearest(written string, names []string) (found string) {
	least := 0
	for _, name := range names {
		if d := distance(written, name); 3*d < len(name) && (found == "" || d < least) {
			found, least = name, d
		}
	}
	return found
}

// distance counts the letters to insert, remove or replace between two texts
// (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		corner := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := corner
			if a[i] != b[j] {
				replaced++
			}
			corner = row[j+1]
			row[j+1] = min(replaced, corner+1, row[j]+1)
		}
	}
	return row[len(b)]
}

// serviceFlags returns the flags of serve or demo that have a variable: all that
// are not about this one call.
func serviceFlags(cmd *cobra.Command) (names []string) {
	cmd.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
		if f.Name != "help" && f.Name != "json" {
			names = append(names, f.Name)
		}
	})
	return names
}

// fromEnvironment sets the flags named that the command line does not. An empty
// variable is none.
func fromEnvironment(cmd *cobra.Command, names ...string) error {
	for _, name := range unknownVariables(os.Environ()) {
		if known := nearest(strings.TrimPrefix(name, prefix), knownVariables()); known != "" {
			return cli.Usagef("there is no setting %s; did you mean %s? If not, call it something else", printable(name), prefix+known)
		}
	}
	for _, name := range names {
		text := os.Getenv(variable(name))
		if text == "" || cmd.Flags().Changed(name) {
			continue
		}
		if err := setFrom(cmd, variable(name), name, text); err != nil {
			return cli.Usagef("%s: %w", variable(name), reason(cmd.Flag(name), err))
		}
	}
	return nil
}

// whence is the annotation of a flag whose value is not of the command line.
const whence = "whence"

// setFrom sets a flag, and notes from where.
func setFrom(cmd *cobra.Command, where, name, text string) error {
	if err := cmd.Flags().Set(name, text); err != nil {
		return err
	}
	return cmd.Flags().SetAnnotation(name, whence, []string{where})
}

var flagForm = regexp.MustCompile(`--([a-z][a-z0-9-]*)`)

// located is an error with the variables, and the lines of files, in which the flags
// were set that it names.
type located struct {
	error
	where []string
}

func (e located) Error() string { return strings.Join(e.where, ", ") + ": " + e.error.Error() }
func (e located) Unwrap() error { return e.error }

// locate adds to an error from where the flags that it names have their values, as far
// as that is not the command line.
func locate(cmd *cobra.Command, err error) error {
	if err == nil {
		return nil
	}
	var where []string
	for _, m := range flagForm.FindAllStringSubmatch(err.Error(), -1) {
		if flag := cmd.Flags().Lookup(m[1]); flag != nil {
			for _, w := range flag.Annotations[whence] {
				if !slices.Contains(where, w) {
					where = append(where, w)
				}
			}
		}
	}
	if where == nil {
		return err
	}
	return located{err, where}
}

// reason is why a flag does not take a value, which it does not repeat: it may have
// been meant for another flag, and be secret.
func reason(flag *pflag.Flag, err error) error {
	switch flag.Value.Type() {
	case "duration":
		return errors.New("write a duration such as 10s or 5m")
	case "int":
		return errors.New("write a whole number")
	case "float64":
		return errors.New("write a number")
	case "bool":
		return errors.New("write true or false")
	}
	if invalid, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		return invalid.Unwrap()
	}
	return err
}
