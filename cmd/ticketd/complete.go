package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
)

// completions are what a shell offers for flags with few values. For those that are
// not here, and take no file, it offers nothing.
var completions = map[string][]string{
	"log-format":            {"text", "json"},
	"log-level":             {"debug", "info", "warn", "error"},
	"other-user":            {directory.Replace, directory.Confirm, directory.Refuse},
	"proxy-header":          {"X-Forwarded-For", "Forwarded"},
	"replay":                {"journal:", "memory", "redis://", "rediss://", "postgres://"},
	"required-agent-fields": {"email", "phone1", "uniqueId", "firstName", "lastName"},
	"scopes":                {string(directory.ScopeIssue), string(directory.ScopeRedeem), "issue,redeem"},
}

// fileFlags are those whose value is a file or begins with one.
var fileFlags = map[string]bool{"config": true, "database": true, "kek": true, "replay-ca": true, "tls-cert": true, "tls-key": true}

// completeAll says of all that is in cmd's tree and does not say it itself what a
// shell offers.
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
		if f.Name == "data" {
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

// maxOffered bounds how many names a shell offers.
const maxOffered = 200

// offerNames completes with the names of records that begin with what is typed. page
// lists them, those behind the name after. Where the directory does not answer, there
// are none: a shell has no place for errors.
func (a *admin) offerNames(page func(ctx context.Context, db *directory.DB, after string) ([]string, error)) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, typed string) (names []cobra.Completion, _ cobra.ShellCompDirective) {
		const none = cobra.ShellCompDirectiveNoFileComp
		ctx, cancel := context.WithTimeout(cmd.Context(), 5*time.Second)
		defer cancel()
		if err := fromEnvironment(cmd, "data", "database"); err != nil {
			return nil, none
		}
		db, err := a.open(ctx)
		if err != nil {
			return nil, none
		}
		defer db.Close()
		all, err := page(ctx, db, typed)
		if err != nil {
			return nil, none
		}
		for _, name := range all {
			if strings.HasPrefix(name, typed) {
				names = append(names, name)
			}
		}
		return names, none
	}
}

// offerBrands completes the flag with the names of brands.
func (a *admin) offerBrands(cmd *cobra.Command, flag string) {
	_ = cmd.RegisterFlagCompletionFunc(flag, a.offerNames(func(ctx context.Context, db *directory.DB, after string) (names []string, err error) {
		brands, err := db.Brands(ctx, after, maxOffered)
		for _, b := range brands {
			names = append(names, b.Name)
		}
		return names, err
	}))
}

// offer completes the name of a record that is there.
func (k *kind[T]) offer(a *admin, brand *string) cobra.CompletionFunc {
	offer := a.offerNames(func(ctx context.Context, db *directory.DB, after string) (names []string, err error) {
		var ofBrand string
		if brand != nil {
			ofBrand = *brand
		}
		records, err := k.list(ctx, db, ofBrand, after, maxOffered)
		for _, record := range records {
			names = append(names, k.name(&record))
		}
		return names, err
	})
	return func(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return offer(cmd, args, typed)
	}
}
