package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/cmd/ticketd/internal/console"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/remote"
	"github.com/admitone/admitone/cmd/ticketd/internal/settings"
	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/token"
)

func consoleCommand(s *shell) *cobra.Command {
	parent := &cobra.Command{
		Use: "console", Short: "Let administrators into the console", Args: cobra.NoArgs,
		Long: "Administrators manage the service in the console, which has a listener of its own: see\n" +
			"--console-listen of ticketd serve.",
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var user, url string
	link := &cobra.Command{
		Use: "link --user USERNAME --console-url URL", Short: "Print a link that lets an administrator in, once",
		Args: cobra.NoArgs,
		Long: fmt.Sprintf(`link prints the URL that lets an administrator into the console. The URL works once and
for %v. Whoever has the URL is let in: give it to nobody else, and keep it out of logs.
The ticket keyring of the data folder seals the ticket in the URL.`, token.AdministratorLifetime),
		Example:           "  ticketd console link --user root --console-url http://127.0.0.1:8433 --data /var/lib/ticketd",
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	link.Flags().StringVar(&user, "user", "", "`username` of the administrator, mandatory")
	settings.AddConsoleURLFlag(link.Flags(), &url, ", as serve has it, mandatory (environment: ADMITONE_CONSOLE_URL)")
	settings.AddKeyFlags(link.Flags(), &s.place)
	do := func(ctx context.Context, db store, cmd *cobra.Command, _ []string) error {
		if user == "" {
			return cli.Flagf("user", "is missing; name the administrator")
		}
		if service, ok := db.(*remote.Directory); ok {
			link, err := service.Link(ctx, user)
			if err != nil {
				return err
			}
			return s.printLink(link.URL, link.TicketID, link.Expires)
		}
		if err := settings.FromEnvironment(cmd, "keyrings", "realm", "kek", "console-url"); err != nil {
			return err
		}
		switch {
		case url == "":
			return cli.Flagf("console-url", "is missing; give the URL of the console, as serve logs it")
		case s.place.Data == "":
			return cli.Flagf("data", "is missing; the link is sealed with the ticket keyring of the data folder")
		}
		if err := settings.CheckConsoleURL(&url); err != nil {
			return err
		}
		link, err := s.link(ctx, db.(here).DB, user, url)
		if err != nil {
			return err
		}
		return s.printLink(link.URL, link.Ticket.ID.String(), link.Expires)
	}
	parent.AddCommand(s.command(link, do))
	return parent
}

// link makes a link with the ticket keyring.
func (s *shell) link(ctx context.Context, db *directory.DB, user, url string) (link console.Link, err error) {
	ring, err := s.place.OpenRing(keyring.Ticket)
	if err != nil {
		return link, err
	}
	defer ring.Close()
	longest := min(ring.Report().Policy.Lifetime, token.AdministratorLifetime)
	issuer, err := token.NewIssuer(token.Config{Sealer: ring, Realm: s.place.Realm, MaxLifetime: longest})
	if err != nil {
		return link, err
	}
	return console.Links{Directory: db, Issuer: issuer, URL: url}.ForShell(ctx, user, "shell")
}

// printLink prints a link.
func (s *shell) printLink(url, ticketID string, expires time.Time) error {
	if s.json {
		return json.NewEncoder(s.stdout).Encode(map[string]any{"url": url, "ticketId": ticketID, "expires": expires})
	}
	if _, err := fmt.Fprintln(s.stdout, url); err != nil {
		return err
	}
	fmt.Fprintf(s.stderr, "The link works once, until %s.\n", expires.Local().Format("15:04:05"))
	return nil
}
