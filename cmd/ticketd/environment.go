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
			return cli.Usagef("%s: %w", variable(name), reason(cmd.Flag(name), err))
		}
	}
	return nil
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
