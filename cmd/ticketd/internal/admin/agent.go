package admin

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/cmd/ticketd/internal/attribute"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
)

func agentCommand(s *shell) *cobra.Command {
	k := kind[directory.Agent]{
		noun: "agent", what: "an agent", arg: "USERNAME", ofBrand: true, fields: attribute.Agents,
		example: map[string]string{
			"add":    "  ticketd agent add john.d --brand commbox --email john.d@example.com --data /var/lib/ticketd",
			"set":    "  ticketd agent set john.d --brand commbox --active=false --data /var/lib/ticketd",
			"list":   "  ticketd agent list --brand commbox --data /var/lib/ticketd --json",
			"show":   "  ticketd agent show john.d --brand commbox --data /var/lib/ticketd",
			"remove": "  ticketd agent remove john.d --brand commbox --data /var/lib/ticketd",

			"end-sessions": "  ticketd agent end-sessions john.d --brand commbox --data /var/lib/ticketd",
		},
		name: func(a *directory.Agent) string { return a.Username },
		note: func(ctx context.Context, db store, _ *cobra.Command, a *directory.Agent) (string, error) {
			b, err := db.Brand(ctx, a.Brand)
			return ticketNote(b, a), err
		},
		prepare: func(ctx context.Context, db store, cmd *cobra.Command, brand string, a *directory.Agent) error {
			if cmd.Name() == "add" && !cmd.Flags().Changed("active") {
				a.Active = true
			}
			return preparePhone(ctx, db, brand, &a.Phone1)
		},
		add: func(
			db store, ctx context.Context, brand, username string, a directory.Agent,
		) (directory.Agent, error) {
			a.Brand, a.Username = brand, username
			if err := db.AddAgent(ctx, a); err != nil {
				return a, err
			}
			return db.Agent(ctx, brand, username)
		},
		get:    store.Agent,
		update: store.UpdateAgent,
		list:   store.Agents,
		remove: store.RemoveAgent,
	}
	cmd := k.command(s, "Manage agents",
		"An agent is a user of a brand's management system. An agent who is inactive or not in\n"+
			"the directory gets no ticket and enters with none.")
	cmd.AddCommand(importCommand(s), k.endSessionsCommand(s, "end-sessions signs the agent out, within 5 seconds. "+
		"The agent may enter again; to\nprevent that, use ticketd agent set --active=false.",
		func(ctx context.Context, db store, brand, username string) (directory.Agent, error) {
			return db.EndAgentSessions(ctx, brand, username)
		}))
	return cmd
}

// ticketNote says what an active agent lacks for a ticket.
func ticketNote(b directory.Brand, a *directory.Agent) string {
	has := map[string]string{
		"email": a.Email, "phone1": a.Phone1, "uniqueId": a.UniqueID, "firstName": a.FirstName, "lastName": a.LastName,
	}
	var lacks []string
	for _, field := range b.RequiredAgentFields {
		if has[field] == "" {
			lacks = append(lacks, "--"+flagName(field))
		}
	}
	switch {
	case !a.Active:
		return ""
	case len(lacks) > 0:
		return fmt.Sprintf("the brand requires %s of its agents; until this agent has it, no ticket can be requested "+
			"for the agent", strings.Join(lacks, " and "))
	case a.Email == "" && a.Phone1 == "" && a.UniqueID == "":
		return "a request for a ticket must have the agent's email address, phone number or unique ID; set --email, " +
			"--phone1 or --unique-id"
	}
	return ""
}

// preparePhone rewrites a phone number in the E.164 form. The empty number stays empty.
func preparePhone(ctx context.Context, db store, brand string, phone *string) error {
	if *phone == "" {
		return nil
	}
	b, err := db.Brand(ctx, brand)
	if err != nil {
		return err
	}
	e164, err := directory.E164(*phone, b.Region)
	if err != nil {
		return cli.Usage(cli.ForFlag("phone1", err))
	}
	*phone = e164
	return nil
}
