package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/token"
)

var channelFields = append([]field[directory.Channel]{
	{"brand", "", false, func(c *directory.Channel) any { return &c.Brand }},
	{"id", "", true, func(c *directory.Channel) any { return &c.ID }},
	{"name", "what operators call it", true, func(c *directory.Channel) any { return &c.Name }},
}, settingFields(func(c *directory.Channel) *directory.Settings { return &c.Settings })...)

func channelCommand(a *admin) *cobra.Command {
	k := kind[directory.Channel]{
		noun: "channel", what: "a channel", arg: "ID", ofBrand: true, fields: channelFields,
		example: map[string]string{
			"add":    "  ticketd channel add webchat --brand commbox --name 'Web chat' --data /var/lib/ticketd",
			"set":    "  ticketd channel set webchat --brand commbox --confirm --data /var/lib/ticketd",
			"list":   "  ticketd channel list --brand commbox --data /var/lib/ticketd",
			"show":   "  ticketd channel show webchat --brand commbox --data /var/lib/ticketd --json",
			"remove": "  ticketd channel remove webchat --brand commbox --data /var/lib/ticketd",
		},
		name: func(c *directory.Channel) string { return c.ID },
		add: func(ctx context.Context, db *directory.DB, brand, id string, c directory.Channel) (directory.Channel, error) {
			c.Brand, c.ID = brand, id
			if err := db.AddChannel(ctx, c); err != nil {
				return c, err
			}
			return db.Channel(ctx, brand, id)
		},
		get: func(ctx context.Context, db *directory.DB, brand, id string) (directory.Channel, error) {
			return db.Channel(ctx, brand, id)
		},
		update: func(ctx context.Context, db *directory.DB, brand, id string, edit func(*directory.Channel) error) (directory.Channel, error) {
			return db.UpdateChannel(ctx, brand, id, edit)
		},
		list: func(ctx context.Context, db *directory.DB, brand, after string, limit int) ([]directory.Channel, error) {
			return db.Channels(ctx, brand, after, limit)
		},
		remove: func(ctx context.Context, db *directory.DB, brand, id string) error {
			return db.RemoveChannel(ctx, brand, id)
		},
	}
	cmd := k.command(a, "Look after channels", "A channel is one place of a brand where its customers enter. Its settings, where it\nhas any, take precedence over the brand's.")
	cmd.AddCommand(channelURL(a, &k))
	return cmd
}

// channelURL returns the command that prints a channel's address.
func channelURL(a *admin, k *kind[directory.Channel]) *cobra.Command {
	o := &a.opts
	cmd := k.verb(a, "url", "Print the address at which customers enter",
		`url prints the address of a channel's page, to which ?ta=TICKET is appended. It has
the channel's ID in it, sealed under the channel keyring of the data folder, and
stays the same until that keyring rotates; addresses published before are good
for as long as their key is kept.`, true,
		func(ctx context.Context, db *directory.DB, cmd *cobra.Command, brand, id string) error {
			if err := fromEnvironment(cmd, "realm", "kek", "public-url"); err != nil {
				return err
			}
			switch {
			case o.data == "":
				return cli.Usagef("no data folder: the channel keyring is in it; give --data")
			case o.publicURL == "":
				return cli.Usagef("--public-url is missing: give the address of the service, as to serve")
			}
			if err := o.checkPublicURL(); err != nil {
				return err
			}
			if _, err := db.Channel(ctx, brand, id); err != nil {
				return err
			}
			kek, err := openKEK(*o)
			if err != nil {
				return err
			}
			ring, err := keyring.Open(o.dataFile(keyringFile(keyring.Channel)), keyring.Config{
				Kind: keyring.Channel, Realm: o.realm, KEK: kek, Log: slog.New(slog.DiscardHandler),
			})
			if err != nil {
				return err
			}
			defer ring.Close()
			channels, err := token.NewChannels(ring, o.realm)
			if err != nil {
				return err
			}
			code, err := channels.Code(brand, id)
			if err != nil {
				return err
			}
			url := o.publicURL + "/chat/" + code
			if a.json {
				return json.NewEncoder(a.stdout).Encode(map[string]string{"brand": brand, "id": id, "code": code, "url": url})
			}
			_, err = fmt.Fprintln(a.stdout, url)
			return err
		})
	cmd.Example = "  ticketd channel url webchat --brand commbox --data /var/lib/ticketd --public-url https://chat.example.com"
	o.keyFlags(cmd)
	cmd.Flags().StringVar(&o.publicURL, "public-url", "", "`URL` under which browsers reach the service (environment: ADMITONE_PUBLIC_URL)")
	return cmd
}
