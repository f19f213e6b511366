package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/settings"
	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/token"
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
		Use: "revoke {ID --brand BRAND | TICKET | -}", Short: "Revoke a ticket, by its ID or by itself",
		Args: cobra.ExactArgs(1),
		Long: `revoke makes the service refuse a ticket, and each further use of a ticket for many
uses. The ID has 32 hexadecimal digits: the log names every ticket by its ID, and
ticket inspect prints the ID of a ticket. Sessions that the ticket bought stay;
end-sessions ends these. An unknown ID is no error, since the service has no list of
its tickets.

In place of the ID, revoke takes the ticket, or the URL with the ticket. The ticket
keyring of the data folder opens the ticket and tells its brand. Other users of the
machine see the command line, for example by ps. So give -, and the ticket on standard
input: revoke then reads an ID or a ticket from each line.`,
		Example: "  ticketd ticket revoke 37e1a6413719c9386583ff9c492b9039 --brand commbox --data /var/lib/ticketd\n" +
			"  ticketd ticket revoke - --data /var/lib/ticketd <ticket.txt",
	}
	revoke.Flags().StringVar(&brand, "brand", "", "`brand` of the ticket, mandatory with an ID")
	s.offerBrands(revoke, "brand")
	settings.AddKeyFlags(revoke.Flags(), &s.place)
	do := func(ctx context.Context, db *directory.DB, cmd *cobra.Command, args []string) error {
		if err := settings.FromEnvironment(cmd, "keyrings", "realm", "kek"); err != nil {
			return err
		}
		r := revoker{shell: s, db: db, brand: brand}
		defer r.close()
		if args[0] == "-" {
			return s.eachLine(cmd.InOrStdin(), func(line string) error { return r.revoke(ctx, line) })
		}
		if ticketIn(args[0]) != "" {
			fmt.Fprintln(s.stderr, "note: other users of the machine see a ticket on the command line; "+
				"give -, and the ticket on standard input")
		}
		return r.revoke(ctx, args[0])
	}
	parent.AddCommand(s.command(revoke, do))
	return parent
}

// eachLine calls do for every line that is not blank. A line that is wrong is named by its
// number.
func (s *shell) eachLine(in io.Reader, do func(string) error) error {
	if isTerminal(in) {
		fmt.Fprintln(s.stderr, "reading IDs or tickets from the terminal, one a line; end with Ctrl-D")
	}
	lines, number, done := bufio.NewScanner(in), 0, 0
	for lines.Scan() {
		number++
		line := strings.TrimSpace(lines.Text())
		if line == "" {
			continue
		}
		if err := do(line); err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
		done++
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("reading standard input: %w", err)
	}
	if done == 0 {
		return cli.Usagef("no ticket: give IDs or tickets on standard input, one a line")
	}
	return nil
}

// ticketForm finds a ticket in a text, such as a URL.
var ticketForm = regexp.MustCompile(token.Pattern)

// ticketIn returns the ticket in a text, whole or not, or "".
func ticketIn(text string) string {
	if strings.HasPrefix(text, "tkt") {
		return text
	}
	return ticketForm.FindString(text)
}

// revoker revokes tickets of a brand, or of any brand if the brand is "".
type revoker struct {
	*shell
	db    *directory.DB
	brand string
	ring  *keyring.Ring // nil until a ticket is to be opened
}

func (r *revoker) close() {
	if r.ring != nil {
		_ = r.ring.Close() // it was only read
	}
}

// revoke revokes the ticket that a text names, and prints its ID.
func (r *revoker) revoke(ctx context.Context, text string) error {
	t, err := r.ticketOf(text)
	if err != nil {
		return err
	}
	if t.Audience == token.Administrator {
		return cli.Usagef("the ticket is an administrator's and has no brand; "+
			"ticketd administrator end-sessions %s ends the administrator's links and sessions", t.Username)
	}
	if err := r.db.RevokeTicket(ctx, t.Brand, t.ID); err != nil {
		return err
	}
	if r.json {
		return json.NewEncoder(r.stdout).Encode(map[string]string{"revoked": t.ID.String(), "brand": t.Brand})
	}
	_, err = fmt.Fprintln(r.stdout, "revoked", t.ID)
	return err
}

// ticketOf returns the ID and the brand of the ticket that a text names.
func (r *revoker) ticketOf(text string) (t token.Ticket, err error) {
	ticket := ticketIn(text)
	if ticket != "" {
		t, err = r.open(ticket)
		if err == nil && r.brand != "" && r.brand != t.Brand {
			return t, cli.Flagf("brand", "is not the brand of the ticket; leave it out")
		}
		return t, err
	}
	id, err := directory.ParseTicketID(text)
	switch {
	case err != nil:
		return t, cli.Usagef("the text is neither a ticket nor a ticket's ID, which has 32 hexadecimal digits; " +
			"the log and ticket inspect have the IDs of tickets")
	case r.brand == "":
		return t, cli.Flagf("brand", "is missing; an ID does not tell the brand of the ticket")
	}
	return token.Ticket{Brand: r.brand, ID: id}, nil
}

// open opens a ticket with the ticket keyring, whether or not the ticket's time is over. No
// error has a part of the ticket.
func (r *revoker) open(ticket string) (t token.Ticket, err error) {
	if r.place.Data == "" {
		return t, cli.Usagef("no keyring to open the ticket: give --data, or the ticket's ID and --brand")
	}
	ad, err := token.AssociatedData(r.place.Realm)
	if err != nil {
		return t, err
	}
	if r.ring == nil {
		if r.ring, err = r.place.OpenRing(keyring.Ticket); err != nil {
			return t, err
		}
	}
	if err := token.Open(r.ring, ad, ticket, &t); err != nil {
		return t, fmt.Errorf("the text is no ticket of this service: %w; give all of the text behind ta=, "+
			"or the ticket's ID and --brand", err)
	}
	return t, nil
}
