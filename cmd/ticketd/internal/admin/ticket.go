package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/remote"
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
	var brand, issuer string
	revoke := &cobra.Command{
		Use: "revoke {ID --brand BRAND | TICKET | -}", Short: "Revoke a ticket, by its ID or by itself",
		Args: cobra.ExactArgs(1),
		Long: `revoke makes the service refuse a ticket, and each further use of a ticket for many
uses. The ID has 32 hexadecimal digits: the log names every ticket by its ID, and
ticket inspect prints the ID of a ticket. Sessions that the ticket bought stay;
end-sessions ends these. An unknown ID is no error, since the service has no list of
its tickets. An ID belongs to one issuer: --issuer names the issuer of a ticket that
the service did not issue itself. With --database alone, nothing here tells whether
tickets have the name of an issuer: if the directory has issuers, give one, or
--issuer "" for the service's own keys.

In place of the ID, revoke takes the ticket, or the URL with the ticket. The ticket
keyring of the data folder opens the ticket and tells its brand; with --url, the service
does. Other users of the
machine see the command line, for example by ps. So give -, and the ticket on standard
input: revoke then reads an ID or a ticket from each line.`,
		Example: "  ticketd ticket revoke 37e1a6413719c9386583ff9c492b9039 --brand commbox --data /var/lib/ticketd\n" +
			"  ticketd ticket revoke - --data /var/lib/ticketd <ticket.txt",
	}
	revoke.Flags().StringVar(&brand, "brand", "", "`brand` of the ticket, mandatory with an ID")
	revoke.Flags().StringVar(&issuer, "issuer", "",
		"`name` of the ticket's issuer, with an ID; default the service's own keys")
	s.offerBrands(revoke, "brand")
	settings.AddKeyFlags(revoke.Flags(), &s.place)
	do := func(ctx context.Context, db store, cmd *cobra.Command, args []string) error {
		if err := settings.FromEnvironment(cmd, "keyrings", "realm", "kek"); err != nil {
			return err
		}
		r := revoker{shell: s, db: db, brand: brand, issuer: issuer, own: cmd.Flags().Changed("issuer") && issuer == ""}
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
	if cli.IsTerminal(in) {
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

// revoker revokes tickets of a brand, or of any brand if the brand is "". IDs are those of the
// issuer's tickets.
type revoker struct {
	*shell
	db     store
	brand  string
	issuer string
	own    bool          // the empty issuer is on the command line: the service's own keys
	ring   *keyring.Ring // nil until a ticket is to be opened
}

func (r *revoker) close() {
	if r.ring != nil {
		_ = r.ring.Close() // it was only read
	}
}

// revoke revokes the ticket that a text names, and prints its ID.
func (r *revoker) revoke(ctx context.Context, text string) error {
	t, err := r.ticketOf(ctx, text)
	if err != nil {
		return err
	}
	if t.Audience == token.Administrator {
		return cli.Usagef("the ticket is an administrator's and has no brand; "+
			"ticketd administrator end-sessions %s ends the administrator's links and sessions", t.Username)
	}
	if err := r.db.RevokeTicket(ctx, t.Brand, t.Issuer, t.ID); err != nil {
		return err
	}
	if r.json {
		answer := map[string]string{"revoked": t.ID.String(), "brand": t.Brand}
		if t.Issuer != "" {
			answer["issuer"] = t.Issuer
		}
		return json.NewEncoder(r.stdout).Encode(answer)
	}
	_, err = fmt.Fprintln(r.stdout, "revoked", t.ID)
	return err
}

// ticketOf returns the ID and the brand of the ticket that a text names.
func (r *revoker) ticketOf(ctx context.Context, text string) (t token.Ticket, err error) {
	ticket := ticketIn(text)
	if ticket != "" {
		t, err = r.open(ctx, ticket)
		if err == nil && r.brand != "" && r.brand != t.Brand {
			return t, cli.Flagf("brand", "is not the brand of the ticket; leave it out")
		}
		if err == nil && r.issuer != "" && r.issuer != t.Issuer {
			return t, cli.Flagf("issuer", "is not the issuer of the ticket; leave it out")
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
	if h, ok := r.db.(here); ok { // else the service checks
		if err := r.checkIssuer(ctx, h); err != nil {
			return t, err
		}
	}
	return token.Ticket{Brand: r.brand, ID: id, Issuer: r.issuer}, nil
}

// checkIssuer returns an error if the issuer of an ID is unknown, or is missing. An ID under a wrong
// issuer would revoke nothing.
func (r *revoker) checkIssuer(ctx context.Context, h here) error {
	switch {
	case r.issuer != "":
		return h.CheckIssuer(ctx, r.issuer)
	case r.place.Data != "" && r.place.TicketsAreSigned():
		return cli.Flagf("issuer", "is missing; tickets of this service are signed under the name of an issuer: "+
			"give the name, which the log has beside the ID")
	case r.place.Data != "" || r.own:
		return nil
	}
	all, err := h.Issuers(ctx)
	if err != nil || len(all) == 0 {
		return err
	}
	var names []string
	for _, i := range all {
		names = append(names, i.Name)
	}
	return cli.Flagf("issuer", "is missing; the log has it beside the ID: give one of %s, "+
		`or --issuer "" if the service's own keys made the ticket`, strings.Join(names, ", "))
}

// open opens a ticket, whether or not the ticket's time is over: by the running service, or with
// the ticket keyring. No error has a part of the ticket.
func (r *revoker) open(ctx context.Context, ticket string) (t token.Ticket, err error) {
	if service, ok := r.db.(*remote.Directory); ok {
		t, err = service.OpenTicket(ctx, ticket)
		if _, ok := errors.AsType[*remote.NoTicketError](err); ok {
			err = noTicket(err)
		}
		return t, err
	}
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
		return t, noTicket(err)
	}
	return t, nil
}

// noTicket returns the error for a text that is no ticket.
func noTicket(err error) error {
	return fmt.Errorf("the text is no ticket of this service: %w; give all of the text behind ta=, "+
		"or the ticket's ID and --brand", err)
}
