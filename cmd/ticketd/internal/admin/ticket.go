package admin

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
)

func ticketCommand(s *shell) *cobra.Command {
	parent := &cobra.Command{
		Use: "ticket", Short: "Revoke tickets", Args: cobra.NoArgs,
		Long: "A ticket is good until its time is over or it is spent. A revoked ticket is refused\n" +
			"before that.",
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var brand string
	revoke := &cobra.Command{
		Use: "revoke ID --brand BRAND", Short: "Revoke a ticket by its ID", Args: cobra.ExactArgs(1),
		Long: `revoke makes the service refuse a ticket, and each further use of a ticket for many
uses. The ID has 32 hexadecimal digits: the log names every ticket by its ID, and
ticket inspect prints the ID of a ticket. Sessions that the ticket bought stay;
end-sessions ends these. An unknown ID is no error, since the service has no list of
its tickets.`,
		Example: "  ticketd ticket revoke 37e1a6413719c9386583ff9c492b9039 --brand commbox --data /var/lib/ticketd",
	}
	s.addBrandFlag(revoke, &brand)
	do := func(ctx context.Context, db *directory.DB, _ *cobra.Command, args []string) error {
		id, err := directory.ParseTicketID(args[0])
		if err != nil {
			return err
		}
		if err := db.RevokeTicket(ctx, brand, id); err != nil {
			return err
		}
		if s.json {
			_, err = fmt.Fprintf(s.stdout, "{\"revoked\":%q}\n", id)
			return err
		}
		_, err = fmt.Fprintln(s.stdout, "revoked", id)
		return err
	}
	parent.AddCommand(s.command(revoke, do))
	return parent
}
