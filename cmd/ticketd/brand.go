package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
)

// settingFields are the fields of the settings that brands and channels have.
func settingFields[T any](of func(*T) *directory.Settings) []field[T] {
	at := func(part func(*directory.Settings) any) func(*T) any {
		return func(record *T) any { return part(of(record)) }
	}
	return []field[T]{
		{"ticket-login", "whether tickets are issued and redeemed: true, false or default (yes)", true, at(func(s *directory.Settings) any { return &s.TicketLogin })},
		{"one-time", "whether a ticket is good once when the request does not say: true, false or default (no)", false, at(func(s *directory.Settings) any { return &s.OneTime })},
		{"customer-lifetime", "how long a customer's ticket is good when the request does not say, such as 5m, or default (5m)", false, at(func(s *directory.Settings) any { return &s.CustomerLifetime })},
		{"max-lifetime", "the longest that a request may ask for, such as 10m, or default (15m)", false, at(func(s *directory.Settings) any { return &s.MaxLifetime })},
		{"api-addresses", "from where tickets are asked for: addresses and networks, separated by commas; empty for anywhere", false, at(func(s *directory.Settings) any { return &s.APIAddresses })},
		{"confirm", "whether a person is asked before a ticket is spent: true, false or default (no)", false, at(func(s *directory.Settings) any { return &s.Confirm })},
		{"other-user", "what happens where another user's session is present: replace, confirm, refuse, or empty (replace)", false, at(func(s *directory.Settings) any { return &s.OtherUser })},
		{"display-name", "what pages call it; empty for its name", false, at(func(s *directory.Settings) any { return &s.DisplayName })},
		{"colour", "of pages, such as #0a7d44; empty for the service's", false, at(func(s *directory.Settings) any { return &s.Colour })},
		{"language", "of pages, such as de; empty for the browser's", false, at(func(s *directory.Settings) any { return &s.Language })},
		{"frame-ancestors", "sites that may show the pages in a frame, such as https://crm.example.com, separated by commas; empty for none", false, at(func(s *directory.Settings) any { return &s.FrameAncestors })},
	}
}

var brandFields = append([]field[directory.Brand]{
	{"name", "", true, func(b *directory.Brand) any { return &b.Name }},
	{"region", "country of phone numbers without a country code, such as GB", true, func(b *directory.Brand) any { return &b.Region }},
	{"required-agent-fields", "what a request for an agent's ticket must give beside the username: email, phone1, uniqueId, firstName, lastName, separated by commas", true, func(b *directory.Brand) any { return &b.RequiredAgentFields }},
	{"agent-lifetime", "how long an agent's ticket is good when the request does not say, such as 30s, or default (60s)", false, func(b *directory.Brand) any { return &b.AgentLifetime }},
	{"login-addresses", "from where agents may log in: addresses and networks, separated by commas; empty for anywhere", false, func(b *directory.Brand) any { return &b.LoginAddresses }},
	{"sessions-since", "", false, func(b *directory.Brand) any { return &b.SessionsSince }},
}, settingFields(func(b *directory.Brand) *directory.Settings { return &b.Settings })...)

func brandCommand(a *admin) *cobra.Command {
	k := kind[directory.Brand]{
		noun: "brand", what: "a brand", arg: "NAME", fields: brandFields,
		example: map[string]string{
			"add":    "  ticketd brand add commbox --data /var/lib/ticketd --region GB --required-agent-fields email",
			"set":    "  ticketd brand set commbox --data /var/lib/ticketd --one-time --max-lifetime 10m\n  ticketd brand set commbox --data /var/lib/ticketd --one-time=default",
			"list":   "  ticketd brand list --data /var/lib/ticketd --json",
			"show":   "  ticketd brand show commbox --data /var/lib/ticketd",
			"remove": "  ticketd brand remove commbox --data /var/lib/ticketd --with-all",

			"end-sessions": "  ticketd brand end-sessions commbox --data /var/lib/ticketd",
		},
		name: func(b *directory.Brand) string { return b.Name },
		add: func(ctx context.Context, db *directory.DB, _, name string, b directory.Brand) (directory.Brand, error) {
			b.Name = name
			if err := db.AddBrand(ctx, b); err != nil {
				return b, err
			}
			return db.Brand(ctx, name)
		},
		get: func(ctx context.Context, db *directory.DB, _, name string) (directory.Brand, error) {
			return db.Brand(ctx, name)
		},
		update: func(ctx context.Context, db *directory.DB, _, name string, edit func(*directory.Brand) error) (directory.Brand, error) {
			return db.UpdateBrand(ctx, name, edit)
		},
		list: func(ctx context.Context, db *directory.DB, _, after string, limit int) ([]directory.Brand, error) {
			return db.Brands(ctx, after, limit)
		},
	}
	withAll := false
	k.remove = func(ctx context.Context, db *directory.DB, _, name string) error {
		return db.RemoveBrand(ctx, name, withAll)
	}
	cmd := k.command(a, "Look after brands", "A brand is a business account: agents, customers, channels and API keys are of a\nbrand, and nothing of one brand is found through another.")
	remove, _, _ := cmd.Find([]string{"remove"})
	remove.Flags().BoolVar(&withAll, "with-all", false, "remove its agents, channels, customers and API keys with it")
	cmd.AddCommand(k.verb(a, "end-sessions", "End all sessions of a brand", "end-sessions signs out everybody who entered the brand before now.", true,
		func(ctx context.Context, db *directory.DB, _ *cobra.Command, _, name string) error {
			b, err := db.UpdateBrand(ctx, name, func(b *directory.Brand) error {
				b.SessionsSince = time.Now()
				return nil
			})
			if err != nil {
				return err
			}
			return k.print(a, b)
		}))
	return cmd
}
