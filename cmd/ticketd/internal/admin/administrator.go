package admin

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/ticketd/internal/attribute"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
)

func administratorCommand(s *shell) *cobra.Command {
	last := false
	k := kind[directory.Administrator]{
		noun: "administrator", what: "an administrator", arg: "USERNAME", fields: attribute.Administrators,
		example: map[string]string{
			"add": "  ticketd administrator add root --role admin --all-brands --data /var/lib/ticketd\n" +
				"  ticketd administrator add ann --role auditor --brands commbox --data /var/lib/ticketd",
			"set":    "  ticketd administrator set ann --role admin --data /var/lib/ticketd",
			"list":   "  ticketd administrator list --data /var/lib/ticketd --json",
			"show":   "  ticketd administrator show ann --data /var/lib/ticketd",
			"remove": "  ticketd administrator remove ann --data /var/lib/ticketd",

			"end-sessions": "  ticketd administrator end-sessions ann --data /var/lib/ticketd",
		},
		name: func(a *directory.Administrator) string { return a.Username },
		none: func(name string, a *directory.Administrator) string {
			if name == "brands" && a.AllBrands {
				return "all"
			}
			return dash("")
		},
		prepare: func(_ context.Context, _ store, cmd *cobra.Command, _ string, a *directory.Administrator) error {
			if cmd.Name() == "add" && !cmd.Flags().Changed("active") {
				a.Active = true
			}
			return nil
		},
		add: func(
			db store, ctx context.Context, _, username string, a directory.Administrator,
		) (directory.Administrator, error) {
			a.Username = username
			if err := db.AddAdministrator(ctx, a); err != nil {
				return a, err
			}
			return db.Administrator(ctx, username)
		},
		get: func(db store, ctx context.Context, _, username string) (directory.Administrator, error) {
			return db.Administrator(ctx, username)
		},
		update: func(
			db store, ctx context.Context, _, username string, edit func(*directory.Administrator) error,
		) (directory.Administrator, error) {
			a, err := db.UpdateAdministrator(ctx, username, last, edit)
			return a, withLast(err)
		},
		list: func(db store, ctx context.Context, _, after string) iter.Seq2[directory.Administrator, error] {
			return db.Administrators(ctx, after)
		},
		remove: func(db store, ctx context.Context, _, username string) error {
			return withLast(db.RemoveAdministrator(ctx, username, last))
		},
	}
	cmd := k.command(s, "Manage administrators", `An administrator administers some brands, or the whole deployment, in the console.
An administrator with the role admin may change, and an auditor may only read.
ticketd console link lets an administrator in.`)
	cmd.AddCommand(k.endSessionsCommand(s,
		"end-sessions ends the administrator's sessions in the console, and the links that\n"+
			"are not used yet, at once. To prevent new ones, use ticketd administrator set\n--active=false.",
		func(ctx context.Context, db store, _, username string) (directory.Administrator, error) {
			return db.EndAdministratorSessions(ctx, username)
		}))
	for _, name := range []string{"set", "remove"} {
		c, _, _ := cmd.Find([]string{name})
		c.Flags().BoolVar(&last, "last", false, "also if nobody is left who may change the whole deployment")
	}
	for _, name := range []string{"add", "set"} {
		c, _, _ := cmd.Find([]string{name})
		s.offerBrands(c, "brands")
	}
	return cmd
}

// withLast adds the way to a change that leaves no admin of the whole deployment.
func withLast(err error) error {
	if errors.Is(err, directory.ErrLastAdministrator) {
		return fmt.Errorf("%w, or give --last", err)
	}
	return err
}
