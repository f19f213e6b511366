package main

import (
	"errors"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/admitone/admitone/cmd/internal/cli"
)

// variable returns the environment variable that stands for a flag.
func variable(flag string) string {
	return "ADMITONE_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
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
	for _, name := range names {
		text := os.Getenv(variable(name))
		if text == "" || cmd.Flags().Changed(name) {
			continue
		}
		if err := cmd.Flags().Set(name, text); err != nil {
			// Without the flag's name, which the variable's says; the values of
			// flags that hold secrets are text, which is never wrong.
			return cli.Usagef("%s: %w", variable(name), reason(err))
		}
	}
	return nil
}

// reason is why a flag does not take a value.
func reason(err error) error {
	if invalid, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		return invalid.Unwrap()
	}
	return err
}
