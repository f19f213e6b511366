package settings

import (
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/internal/spelling"
)

// knownVariables returns the names, without the prefix, of all variables for commands
// of admitone.
func knownVariables() []string {
	known := []string{"KEYRING", "ACTOR", "URL", "API_KEY"} // of other commands
	var s Service
	cmd := new(cobra.Command)
	s.AddServeFlags(cmd.Flags())
	for _, name := range Names(cmd) {
		known = append(known, strings.TrimPrefix(variable(name), prefix))
	}
	return known
}

// serviceLink matches the variables that Kubernetes sets in every pod for a Service
// called admitone or admitone-…: ADMITONE_SERVICE_HOST, ADMITONE_PORT,
// ADMITONE_PORT_8080_TCP_ADDR and the like. None of these is a setting.
var serviceLink = regexp.MustCompile(
	`_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

// unknownVariables returns the variables that have the prefix and are not settings.
func unknownVariables(environ []string) (names []string) {
	known := knownVariables()
	for _, pair := range environ {
		name, text, _ := strings.Cut(pair, "=")
		setting, ok := strings.CutPrefix(name, prefix)
		if ok && text != "" && !slices.Contains(known, setting) && !serviceLink.MatchString(name) {
			names = append(names, name)
		}
	}
	return names
}

// WarnOfVariables logs the variables with the prefix that are not settings. A variable
// with the passphrase or PIN of the KEK may have any name, and is not logged.
func WarnOfVariables(log *slog.Logger, kek string) {
	for _, name := range unknownVariables(os.Environ()) {
		if !strings.Contains(kek, "env:"+name) {
			log.Warn("an environment variable is called like a setting and is none; it is ignored",
				"variable", spelling.Printable(name))
		}
	}
}

// FromEnvironment sets the named flags from their variables, unless the command line
// sets them. An empty variable counts as absent. A variable named almost like a setting
// is an error.
func FromEnvironment(cmd *cobra.Command, names ...string) error {
	for _, err := range misspelt() {
		return err
	}
	for _, name := range names {
		if err := setFromEnvironment(cmd, name); err != nil {
			return err
		}
	}
	return nil
}

// misspelt returns an error for each variable that is named almost like a setting.
func misspelt() (all []error) {
	for _, name := range unknownVariables(os.Environ()) {
		if known := spelling.Nearest(strings.TrimPrefix(name, prefix), knownVariables()); known != "" {
			all = append(all, cli.Usagef("there is no setting %s; did you mean %s? If not, call it something else",
				spelling.Printable(name), prefix+known))
		}
	}
	return all
}

// setFromEnvironment sets a flag from its variable, unless the command line sets the flag.
func setFromEnvironment(cmd *cobra.Command, name string) error {
	text := os.Getenv(variable(name))
	if text == "" || cmd.Flags().Changed(name) {
		return nil
	}
	if err := cli.SetFrom(cmd.Flags(), name, text, variable(name)); err != nil {
		return cli.Usage(err)
	}
	return nil
}
