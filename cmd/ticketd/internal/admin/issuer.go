package admin

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/ticketd/internal/attribute"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
)

func issuerCommand(s *shell) *cobra.Command {
	k := kind[directory.Issuer]{
		noun: "issuer", what: "an issuer", arg: "NAME", fields: attribute.Issuers,
		example: map[string]string{
			"list":         "  ticketd issuer list --data /var/lib/ticketd",
			"show":         "  ticketd issuer show acme --data /var/lib/ticketd",
			"end-sessions": "  ticketd issuer end-sessions acme --data /var/lib/ticketd",
		},
		name: func(i *directory.Issuer) string { return i.Name },
		none: func(name string, i *directory.Issuer) string {
			switch {
			case name == "brands" && i.AllBrands:
				return "all"
			case name == "last-used":
				return "never"
			}
			return dash("")
		},
		list: func(db store, ctx context.Context, _, _ string) iter.Seq2[directory.Issuer, error] {
			return func(yield func(directory.Issuer, error) bool) {
				all, err := db.Issuers(ctx)
				if err != nil {
					yield(directory.Issuer{}, err)
					return
				}
				for _, i := range all {
					if !yield(i, nil) {
						return
					}
				}
			}
		},
		get: func(db store, ctx context.Context, _, name string) (directory.Issuer, error) {
			all, err := db.Issuers(ctx)
			if err != nil {
				return directory.Issuer{}, err
			}
			i := slices.IndexFunc(all, func(i directory.Issuer) bool { return i.Name == name })
			if i < 0 {
				return directory.Issuer{}, fmt.Errorf("issuer %q: %w", name, directory.ErrNotFound)
			}
			return all[i], nil
		},
		remind: func(i *directory.Issuer) string {
			return strings.Join(attribute.IssuerReminders(*i, time.Now()), "\nnote: ")
		},
	}
	parent := &cobra.Command{
		Use: k.noun, Short: "Show who else may issue tickets", Args: cobra.NoArgs,
		Long: `A named issuer makes tickets by itself, within a grant. The files of ticketd serve
--issuers and --trust say which issuers there are, and these commands show what the
services have read there, and when somebody last entered with a ticket of each issuer.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	parent.AddCommand(k.listCommand(s), k.showCommand(s), k.endSessionsCommand(s,
		"end-sessions ends the sessions that began with tickets of the issuer, of every brand,\n"+
			"within 5 seconds. Unspent tickets stay good. A denial in the file does both.",
		func(ctx context.Context, db store, _, name string) (directory.Issuer, error) {
			return db.EndIssuerSessions(ctx, name)
		}))
	return parent
}
