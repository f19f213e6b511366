package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/admitone/admitone/internal/spelling"
)

// explainUsage improves the errors of cmd and of all commands under cmd. They name the
// nearest command or flag, or the missing argument.
func explainUsage(cmd *cobra.Command) {
	for _, c := range cmd.Commands() {
		explainUsage(c)
	}
	check := cmd.Args
	if !cmd.HasParent() { // cobra's own error for a root would have another form
		check = cobra.NoArgs
		if cmd.RunE == nil {
			cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		}
	}
	if check == nil {
		return
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if check(cmd, args) == nil {
			return nil
		}
		return argumentError(cmd, args)
	}
}

// argumentError returns the error for too few or too many arguments.
func argumentError(cmd *cobra.Command, args []string) error {
	names := argumentNames(cmd)
	if cmd.HasSubCommands() && len(args) > 0 {
		if len(names) == 0 || nearestCommand(cmd, args[0]) != "" {
			return unknownCommand(cmd, args[0])
		}
	}
	form := strings.Join(append([]string{cmd.CommandPath()}, names...), " ")
	switch {
	case len(args) < len(names):
		return fmt.Errorf("%s is missing; write %s", names[len(args)], form)
	case len(names) == 0:
		return fmt.Errorf("unexpected argument %q; %s takes none", args[0], form)
	}
	return fmt.Errorf("unexpected argument %q; write %s", args[len(names)], form)
}

// argumentNames returns the arguments of a command's Use, up to the first flag: FILE and
// KEYID of "disable FILE KEYID --reason TEXT". Alternatives in braces are one argument.
func argumentNames(cmd *cobra.Command) (names []string) {
	_, use, _ := strings.Cut(cmd.Use, " ")
	if strings.HasPrefix(use, "{") && strings.HasSuffix(use, "}") {
		return []string{use}
	}
	for _, word := range strings.Fields(use) {
		if strings.HasPrefix(word, "-") {
			break
		}
		names = append(names, word)
	}
	return names
}

// unknownCommand returns the error for an unknown command under cmd.
func unknownCommand(cmd *cobra.Command, written string) error {
	text := fmt.Sprintf("unknown command %q for %q", written, cmd.CommandPath())
	return suggest(text, nearestCommand(cmd, written))
}

func nearestCommand(cmd *cobra.Command, written string) string {
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() || c.Name() == "help" {
			names = append(names, c.Name())
		}
	}
	return spelling.Nearest(written, names)
}

// suggest returns an error with the nearest name; "" for no name.
func suggest(text, near string) error {
	if near != "" {
		text += "; did you mean " + near + "?"
	}
	return errors.New(text)
}

// parseError returns the error for an unknown flag, or for a value of the wrong form. The
// error does not repeat the value.
func parseError(cmd *cobra.Command, err error) error {
	if invalid, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		flag := invalid.GetFlag()
		return &FlagError{Flag: flag.Name, Cause: valueError(flag, err)}
	}
	unknown, ok := errors.AsType[*pflag.NotExistError](err)
	if !ok {
		return err
	}
	written, dashes := unknown.GetSpecifiedName(), "--"
	if letters := unknown.GetSpecifiedShortnames(); letters != "" { // -brand is -b -r -a -n -d
		written, _, _ = strings.Cut(letters, "=")
		dashes = "-"
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	near := spelling.Nearest(written, names)
	if near != "" {
		near = "--" + near
	}
	return suggest("unknown flag: "+dashes+written, near)
}
