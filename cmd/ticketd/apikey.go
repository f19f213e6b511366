package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
)

var apiKeyFields = []field[directory.APIKey]{
	{"id", "", true, func(k *directory.APIKey) any { return &k.ID }},
	{"scopes", "what it may be used for: issue, redeem, separated by commas (with add: issue)", true, func(k *directory.APIKey) any { return &k.Scopes }},
	{"brands", "the brands that it is for, separated by commas", true, func(k *directory.APIKey) any { return &k.Brands }},
	{"all-brands", "it is for every brand, those of the future too", false, func(k *directory.APIKey) any { return &k.AllBrands }},
	{"note", "for people: whose it is", true, func(k *directory.APIKey) any { return &k.Note }},
	{"rate", "requests a second in the long run; 0 for serve's --rate-limit", false, func(k *directory.APIKey) any { return &k.Rate }},
	{"burst", "requests at once, with --rate; 0 for serve's --rate-burst", false, func(k *directory.APIKey) any { return &k.Burst }},
	{"expires", "until when it is good: 2030-01-31, a time of RFC 3339, from now such as 90d, or never", true, func(k *directory.APIKey) any { return &k.Expires }},
	{"created", "", false, func(k *directory.APIKey) any { return &k.Created }},
	{"revoked", "", true, func(k *directory.APIKey) any { return &k.Revoked }},
	{"last-used", "", true, func(k *directory.APIKey) any { return &k.LastUsed }},
}

func apiKeyCommand(a *admin) *cobra.Command {
	listOf := ""
	k := kind[directory.APIKey]{
		noun: "apikey", what: "an API key", arg: "ID", given: true, fields: apiKeyFields,
		example: map[string]string{
			"add":    "  ticketd apikey add --brands commbox --note 'CRM' --expires 365d --data /var/lib/ticketd",
			"set":    "  ticketd apikey set ID --rate 10 --burst 20 --data /var/lib/ticketd",
			"list":   "  ticketd apikey list --brand commbox --data /var/lib/ticketd",
			"show":   "  ticketd apikey show ID --data /var/lib/ticketd --json",
			"revoke": "  ticketd apikey revoke ID --data /var/lib/ticketd",
			"remove": "  ticketd apikey remove ID --data /var/lib/ticketd",
		},
		name: func(k *directory.APIKey) string { return k.ID },
		get: func(ctx context.Context, db *directory.DB, _, id string) (directory.APIKey, error) {
			return db.APIKey(ctx, id)
		},
		update: func(ctx context.Context, db *directory.DB, _, id string, edit func(*directory.APIKey) error) (directory.APIKey, error) {
			return db.UpdateAPIKey(ctx, id, edit)
		},
		list: func(ctx context.Context, db *directory.DB, _, after string, limit int) ([]directory.APIKey, error) {
			return db.APIKeys(ctx, listOf, after, limit)
		},
		remove: func(ctx context.Context, db *directory.DB, _, id string) error { return db.RemoveAPIKey(ctx, id) },
	}
	cmd := k.command(a, "Look after API keys", `API keys are what backends ask for tickets with. The directory keeps the SHA-256 of
a key, so that add shows it once and never again. Any number are good at the same
time: to replace one, add another, change the backend, and revoke the first.`)
	list, _, _ := cmd.Find([]string{"list"})
	list.Flags().StringVar(&listOf, "brand", "", "only those that are for the `brand`")
	a.offerBrands(list, "brand")

	add := k.verb(a, "add", "Make an API key, and print it once", `add prints the new key, and only that, on standard output. Nothing else knows it:
keep it where the backend finds it.`, false,
		func(ctx context.Context, db *directory.DB, cmd *cobra.Command, _, _ string) error {
			var record directory.APIKey
			if err := k.fill(ctx, db, cmd, "", &record); err != nil {
				return err
			}
			if !cmd.Flags().Changed("scopes") {
				record.Scopes = []directory.Scope{directory.ScopeIssue}
			}
			if len(record.Brands) == 0 && !record.AllBrands {
				return cli.Usagef("for which brands? Give --brands, or --all-brands")
			}
			key, err := db.CreateAPIKey(ctx, record)
			if err != nil {
				return err
			}
			_, rest, _ := strings.Cut(key, "_")
			id, _, _ := strings.Cut(rest, "_")
			if a.json {
				if record, err = db.APIKey(ctx, id); err != nil {
					return err
				}
				object := k.members(record)
				object["key"] = key
				return json.NewEncoder(a.stdout).Encode(object)
			}
			if _, err := fmt.Fprintln(a.stdout, key); err != nil {
				return errors.Join(fmt.Errorf("the key could not be printed, and nothing else knows it: %w", err), db.RemoveAPIKey(ctx, id))
			}
			fmt.Fprintf(a.stderr, "This is the only time that the key can be seen; ticketd apikey show %s shows the rest.\n", id)
			return nil
		})
	addFieldFlags(add, k.fields)
	set, _, _ := cmd.Find([]string{"set"})
	a.offerBrands(add, "brands")
	a.offerBrands(set, "brands")
	revoke := k.verb(a, "revoke", "End an API key's use, for good", "revoke makes the service refuse the key from its next request on, and say in its\nlog that it was revoked.", true,
		func(ctx context.Context, db *directory.DB, _ *cobra.Command, _, id string) error {
			if err := db.RevokeAPIKey(ctx, id); err != nil {
				return err
			}
			record, err := db.APIKey(ctx, id)
			if err != nil {
				return err
			}
			return k.print(a, record)
		})
	cmd.AddCommand(add, revoke)
	return cmd
}
