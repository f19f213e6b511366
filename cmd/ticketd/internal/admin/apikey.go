package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/cmd/ticketd/internal/attribute"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
)

func apiKeyCommand(s *shell) *cobra.Command {
	listOf := ""
	k := kind[directory.APIKey]{
		noun: "apikey", what: "an API key", arg: "ID", given: true, fields: attribute.APIKeys,
		example: map[string]string{
			"add":    "  ticketd apikey add --brands commbox --note 'CRM' --expires 365d --data /var/lib/ticketd",
			"set":    "  ticketd apikey set ID --rate 10 --burst 20 --data /var/lib/ticketd",
			"list":   "  ticketd apikey list --brand commbox --data /var/lib/ticketd",
			"show":   "  ticketd apikey show ID --data /var/lib/ticketd --json",
			"revoke": "  ticketd apikey revoke ID --data /var/lib/ticketd",
			"replace": "  ticketd apikey replace ID --data /var/lib/ticketd\n" +
				"  ticketd apikey replace ID --grace 0s --data /var/lib/ticketd",
			"remove": "  ticketd apikey remove ID --data /var/lib/ticketd",
		},
		name: func(k *directory.APIKey) string { return k.ID },
		none: func(name string, k *directory.APIKey) string {
			if name == "brands" && k.AllBrands {
				return "all"
			}
			return dash("")
		},
		remind: func(k *directory.APIKey) string { return attribute.Reminder(*k, time.Now()) },
		get: func(db store, ctx context.Context, _, id string) (directory.APIKey, error) {
			return db.APIKey(ctx, id)
		},
		update: func(
			db store, ctx context.Context, _, id string, edit func(*directory.APIKey) error,
		) (directory.APIKey, error) {
			return db.UpdateAPIKey(ctx, id, edit)
		},
		list: func(db store, ctx context.Context, _, after string) iter.Seq2[directory.APIKey, error] {
			return db.APIKeys(ctx, listOf, after)
		},
		remove: func(db store, ctx context.Context, _, id string) error { return db.RemoveAPIKey(ctx, id) },
	}
	cmd := k.command(s, "Manage API keys", `Backends ask for tickets with API keys. The directory keeps only the SHA-256 of a
key, so add shows the key once and never again. Several keys can be in use at the
same time: replace makes a key in place of another one, which stays good until the
backend has the new key.`)
	list, _, _ := cmd.Find([]string{"list"})
	list.Flags().StringVar(&listOf, "brand", "", "list only the keys of a `brand`")
	s.offerBrands(list, "brand")
	add := addKeyCommand(s, &k)
	set, _, _ := cmd.Find([]string{"set"})
	s.offerBrands(add, "brands")
	s.offerBrands(set, "brands")
	cmd.AddCommand(add, revokeCommand(s, &k), replaceCommand(s, &k))
	return cmd
}

// addKeyCommand returns the command apikey add.
func addKeyCommand(s *shell, k *kind[directory.APIKey]) *cobra.Command {
	v := verb{"add", "Make an API key, and print it once", `add prints the new key, and nothing else, on standard output. No other copy of the
key exists: keep the output where the backend finds it.`, false}
	add := k.verb(s, v, func(ctx context.Context, db store, cmd *cobra.Command, _, _ string) error {
		var record directory.APIKey
		if err := k.fill(ctx, s, db, cmd, "", &record); err != nil {
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
		return printKey(ctx, s, k, db, key)
	})
	addFieldFlags(add, k.fields)
	return add
}

// printKey prints a new key. If printing fails, printKey removes the key.
func printKey(ctx context.Context, s *shell, k *kind[directory.APIKey], db store, key string) error {
	_, rest, _ := strings.Cut(key, "_")
	id, _, _ := strings.Cut(rest, "_")
	if s.json {
		record, err := db.APIKey(ctx, id)
		if err != nil {
			return err
		}
		object := attribute.Members(k.fields, &record)
		object["key"] = key
		return json.NewEncoder(s.stdout).Encode(object)
	}
	if _, err := fmt.Fprintln(s.stdout, key); err != nil {
		err = fmt.Errorf("the key could not be printed, and no other copy exists: %w", err)
		return errors.Join(err, db.RemoveAPIKey(ctx, id))
	}
	fmt.Fprintf(s.stderr, "The key is not shown again; ticketd apikey show %s shows its record.\n", id)
	return nil
}

// revokeCommand returns the command apikey revoke.
func revokeCommand(s *shell, k *kind[directory.APIKey]) *cobra.Command {
	v := verb{"revoke", "End an API key's use, for good",
		"revoke makes the service refuse the key within a millisecond, or with\n" +
			"PostgreSQL within a second. The log of the service then says that the key was\n" +
			"revoked.", true}
	return k.verb(s, v, func(ctx context.Context, db store, _ *cobra.Command, _, id string) error {
		if err := db.RevokeAPIKey(ctx, id); err != nil {
			return err
		}
		record, err := db.APIKey(ctx, id)
		if err != nil {
			return err
		}
		return k.print(s, record)
	})
}

// replaceCommand returns the command apikey replace.
func replaceCommand(s *shell, k *kind[directory.APIKey]) *cobra.Command {
	var grace time.Duration
	v := verb{"replace", "Make an API key in place of another one", `replace makes a key with the scopes, brands, note and rate of another key, and prints
the new key, and nothing else, on standard output. The other key stays good for the
time of --grace, and then expires. The new key expires after as long a time as the
other one was made for, or never.`, true}
	cmd := k.verb(s, v, func(ctx context.Context, db store, _ *cobra.Command, _, id string) error {
		key, err := db.ReplaceAPIKey(ctx, id, grace)
		if wrong, ok := errors.AsType[*directory.FieldError](err); ok && wrong.Field == "id" {
			return fmt.Errorf("the ID %s", wrong.Reason) // is an argument
		}
		if err != nil {
			return err
		}
		return printKey(ctx, s, k, db, key)
	})
	cmd.Flags().DurationVar(&grace, "grace", 7*24*time.Hour,
		"time for which the other key stays good, up to 720h; 0s revokes the other key at once")
	return cmd
}
