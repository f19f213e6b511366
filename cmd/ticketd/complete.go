package main

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
)

// completions are the values that a shell offers for flags with few values. Flags
// without values here, and without a file, are completed with nothing.
var completions = map[string][]string{
	"log-format":            {"text", "json"},
	"log-level":             {"debug", "info", "warn", "error"},
	"other-user":            {directory.Replace, directory.Confirm, directory.Refuse},
	"proxy-header":          {"X-Forwarded-For", "Forwarded"},
	"replay":                {"journal:", "memory", "redis://", "rediss://", "postgres://"},
	"required-agent-fields": {"email", "phone1", "uniqueId", "firstName", "lastName"},
	"scopes":                {string(directory.ScopeIssue), string(directory.ScopeRedeem), "issue,redeem"},
}

// fileFlags are the flags whose value is a file, or begins with the name of a file.
var fileFlags = map[string]bool{
	"config": true, "database": true, "kek": true, "replay-ca": true, "tls-cert": true, "tls-key": true,
}

// completeAll gives completions to every argument and flag below cmd that has none of
// its own.
func completeAll(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		completeAll(sub)
	}
	if cmd.ValidArgsFunction == nil {
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	}
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if _, known := cmd.GetFlagCompletionFunc(f.Name); known || fileFlags[f.Name] {
			return
		}
		if f.Name == "data" || f.Name == "pages" {
			_ = cmd.MarkFlagDirname(f.Name) // the flag exists; so below
			return
		}
		values := completions[f.Name]
		if f.NoOptDefVal == "true" {
			values = []string{"true", "false"}
		}
		_ = cmd.RegisterFlagCompletionFunc(f.Name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	})
}
