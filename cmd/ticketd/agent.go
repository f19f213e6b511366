package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
)

var agentFields = []field[directory.Agent]{
	{"brand", "", false, func(a *directory.Agent) any { return &a.Brand }},
	{"username", "", true, func(a *directory.Agent) any { return &a.Username }},
	{"email", "email address", true, func(a *directory.Agent) any { return &a.Email }},
	{"phone1", phoneUsage, true, func(a *directory.Agent) any { return &a.Phone1 }},
	{"unique-id", "identifier in the organisation's other systems", true, func(a *directory.Agent) any { return &a.UniqueID }},
	{"first-name", "first name", true, func(a *directory.Agent) any { return &a.FirstName }},
	{"last-name", "last name", true, func(a *directory.Agent) any { return &a.LastName }},
	{"groups", "for applications behind the service: names separated by commas", false, func(a *directory.Agent) any { return &a.Groups }},
	{"active", "whether the agent may enter (with add: yes)", true, func(a *directory.Agent) any { return &a.Active }},
}

const phoneUsage = "phone number, with country code and +, or as it is written in the brand's region"

func agentCommand(a *admin) *cobra.Command {
	k := kind[directory.Agent]{
		noun: "agent", what: "an agent", arg: "USERNAME", ofBrand: true, fields: agentFields,
		example: map[string]string{
			"add":    "  ticketd agent add john.d --brand commbox --email john.d@example.com --data /var/lib/ticketd",
			"set":    "  ticketd agent set john.d --brand commbox --active=false --data /var/lib/ticketd",
			"list":   "  ticketd agent list --brand commbox --data /var/lib/ticketd --json",
			"show":   "  ticketd agent show john.d --brand commbox --data /var/lib/ticketd",
			"remove": "  ticketd agent remove john.d --brand commbox --data /var/lib/ticketd",
		},
		name: func(a *directory.Agent) string { return a.Username },
		prepare: func(ctx context.Context, db *directory.DB, cmd *cobra.Command, brand string, a *directory.Agent) error {
			if cmd.Name() == "add" && !cmd.Flags().Changed("active") {
				a.Active = true
			}
			return preparePhone(ctx, db, brand, &a.Phone1)
		},
		add: func(ctx context.Context, db *directory.DB, brand, username string, a directory.Agent) (directory.Agent, error) {
			a.Brand, a.Username = brand, username
			if err := db.AddAgent(ctx, a); err != nil {
				return a, err
			}
			return db.Agent(ctx, brand, username)
		},
		get: func(ctx context.Context, db *directory.DB, brand, username string) (directory.Agent, error) {
			return db.Agent(ctx, brand, username)
		},
		update: func(ctx context.Context, db *directory.DB, brand, username string, edit func(*directory.Agent) error) (directory.Agent, error) {
			return db.UpdateAgent(ctx, brand, username, edit)
		},
		list: func(ctx context.Context, db *directory.DB, brand, after string, limit int) ([]directory.Agent, error) {
			return db.Agents(ctx, brand, after, limit)
		},
		remove: func(ctx context.Context, db *directory.DB, brand, username string) error {
			return db.RemoveAgent(ctx, brand, username)
		},
	}
	cmd := k.command(a, "Look after agents", "An agent is a user of a brand's management system. Who is not active, or not\nthere, gets no ticket and enters with none.")
	cmd.AddCommand(importCommand(a))
	return cmd
}

// preparePhone gives a phone number that was given its one form.
func preparePhone(ctx context.Context, db *directory.DB, brand string, phone *string) error {
	if *phone == "" {
		return nil
	}
	b, err := db.Brand(ctx, brand)
	if err != nil {
		return err
	}
	e164, err := directory.E164(*phone, b.Region)
	if wrong, ok := errors.AsType[*directory.FieldError](err); ok {
		return cli.Usagef("--phone1: %s", wrong.Reason)
	}
	*phone = e164
	return nil
}
