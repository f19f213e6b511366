// Package cli is the shared part of the commands of admitone: exit codes for errors,
// the flags for a keyring's realm and key-encryption key, and the line with the next
// sensible command. Fields turns errors of the libraries into errors of flags.
package cli

import (
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
)

// failure is an error of a command with a correct command line. Errors without this type
// come from cobra, and are about the command line.
type failure struct{ error }

func (e failure) Unwrap() error { return e.error }

// usageError is an error about the command line from the command itself.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// Usage makes err wrong usage, instead of a failure.
func Usage(err error) error { return usageError{err} }

// Usagef returns wrong usage of no flag, or of several flags together.
func Usagef(format string, args ...any) error { return Usage(fmt.Errorf(format, args...)) }

// Flagf returns wrong usage of a flag. The text continues the flag's name:
// Flagf("replicas", "%d is less than 1", n).
func Flagf(flag, format string, args ...any) error {
	return Usage(&FlagError{Flag: flag, Reason: fmt.Sprintf(format, args...)})
}

// IsUsage reports whether the error of a command is about the command line. If so, the
// command's help is the next page to read.
func IsUsage(err error) bool {
	if _, ok := errors.AsType[failure](err); !ok {
		return true
	}
	_, ok := errors.AsType[usageError](err)
	return ok
}

// Message returns an error's text in lines that a terminal can show. Part of the text
// may come from another machine.
func Message(err error) string {
	lines := strings.Split(err.Error(), "\n")
	for i, line := range lines {
		lines[i] = Printable(line)
	}
	return strings.Join(lines, "\n")
}

// Printable returns text in one line, with a space for each tab, and a question mark for
// each other character with which a text could control a terminal.
func Printable(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case !unicode.IsPrint(r):
			return '?'
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
}

// Command gives cmd a body, which runs after the environment variables of the flags
// were read (see Variable). An error of the body is a failure, unless the body made it
// wrong usage.
func Command(cmd *cobra.Command, body func(cmd *cobra.Command, args []string) error) *cobra.Command {
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if slices.Contains(args, "") {
			return Usagef("an argument is empty; is a variable not set?")
		}
		if err := ReadVariables(cmd.Flags()); err != nil {
			return Usage(err)
		}
		if err := body(cmd, args); err != nil {
			return failure{err}
		}
		return nil
	}
	return cmd
}

// Finish gives a root command, with all its commands, --version, a help command, and errors
// about the command line that say what to write and repeat no value of a flag. Unlike
// cobra's own, the help command fails for an unknown command.
func Finish(root *cobra.Command) {
	root.Version = version()
	root.Flags().Bool("version", false, "print the version, commit and date of this program, and stop")
	root.SetHelpCommand(helpCommand(root))
	root.SetFlagErrorFunc(parseError)
	explainUsage(root)
}

// version returns what the go command recorded in the build: the version of the module, or
// "(devel)", and the version of Go. In a build from a checkout, the commit and its date are
// between them.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "(unknown)"
	}
	return describeBuild(info)
}

func describeBuild(info *debug.BuildInfo) string {
	details := []string{info.GoVersion}
	recorded := make(map[string]string)
	for _, s := range info.Settings {
		recorded[s.Key] = s.Value
	}
	if commit := recorded["vcs.revision"]; commit != "" {
		date, _, _ := strings.Cut(recorded["vcs.time"], "T")
		details = []string{"commit " + commit[:min(12, len(commit))], date, info.GoVersion}
	}
	return info.Main.Version + " (" + strings.Join(details, ", ") + ")"
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
				return unknownCommand(cmd, rest[0])
			}
			return cmd.Help()
		},
	}
}
