package settings

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Names returns the flags of a command that are settings. The flags help and json are
// not: they concern a single call.
func Names(cmd *cobra.Command) (names []string) {
	cmd.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
		if f.Name != "help" && f.Name != "json" {
			names = append(names, f.Name)
		}
	})
	return names
}

// prefix begins the name of each variable.
const prefix = "ADMITONE_"

// variable returns the environment variable of a flag.
func variable(flag string) string {
	return prefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}
