package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"path"

	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/cmd/ticketd/internal/attribute"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/remote"
	"github.com/admitone/admitone/cmd/ticketd/internal/settings"
	"github.com/admitone/admitone/cmd/ticketd/internal/state"
	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/token"
)

func channelCommand(s *shell) *cobra.Command {
	k := kind[directory.Channel]{
		noun: "channel", what: "a channel", arg: "ID", ofBrand: true, fields: attribute.Channels,
		example: map[string]string{
			"add":    "  ticketd channel add webchat --brand commbox --name 'Web chat' --data /var/lib/ticketd",
			"set":    "  ticketd channel set webchat --brand commbox --confirm --data /var/lib/ticketd",
			"list":   "  ticketd channel list --brand commbox --data /var/lib/ticketd",
			"show":   "  ticketd channel show webchat --brand commbox --data /var/lib/ticketd --json",
			"remove": "  ticketd channel remove webchat --brand commbox --data /var/lib/ticketd",
			"url": "  ticketd channel url webchat --brand commbox --data /var/lib/ticketd " +
				"--public-url https://chat.example.com",
		},
		name: func(c *directory.Channel) string { return c.ID },
		note: func(_ context.Context, _ store, cmd *cobra.Command, _ *directory.Channel) (string, error) {
			return lifetimeNote(cmd), nil
		},
		add: func(
			db store, ctx context.Context, brand, id string, c directory.Channel,
		) (directory.Channel, error) {
			c.Brand, c.ID = brand, id
			if err := db.AddChannel(ctx, c); err != nil {
				return c, err
			}
			return db.Channel(ctx, brand, id)
		},
		get:    store.Channel,
		update: store.UpdateChannel,
		list:   store.Channels,
		remove: store.RemoveChannel,
	}
	cmd := k.command(s, "Manage channels",
		"A channel is one place of a brand where its customers enter. The settings of a channel\n"+
			"take precedence over those of the brand.")
	cmd.AddCommand(channelURLCommand(s, &k))
	return cmd
}

// channelURLCommand returns the command channel url.
func channelURLCommand(s *shell, k *kind[directory.Channel]) *cobra.Command {
	var publicURL string
	v := verb{"url", "Print the address at which customers enter",
		`url prints the address of a channel's page, to which ?ta=TICKET is appended. The
address contains the ID of the channel, sealed under the channel keyring of the
data folder. It stays the same until that keyring rotates. Addresses published
before a rotation work as long as their key is kept. With --url, the running service
makes the address with its own --public-url.`, true}
	cmd := k.verb(s, v, func(ctx context.Context, db store, cmd *cobra.Command, brand, id string) error {
		if service, ok := db.(*remote.Directory); ok {
			url, err := service.ChatURL(ctx, brand, id)
			if err != nil {
				return err
			}
			return s.printURL(brand, id, url)
		}
		if err := settings.FromEnvironment(cmd, "keyrings", "realm", "kek", "public-url"); err != nil {
			return err
		}
		switch {
		case s.place.Data == "":
			return cli.Usagef("no data folder: the channel keyring is in the data folder; give --data")
		case publicURL == "":
			return cli.Flagf("public-url", "is missing: give the address of the service, as to serve")
		}
		if err := settings.CheckPublicURL(&publicURL); err != nil {
			return err
		}
		if _, err := db.Channel(ctx, brand, id); err != nil {
			return err
		}
		code, err := channelCode(s.place, brand, id)
		if err != nil {
			return err
		}
		return s.printURL(brand, id, publicURL+"/chat/"+code)
	})
	settings.AddKeyFlags(cmd.Flags(), &s.place)
	settings.AddPublicURLFlag(cmd.Flags(), &publicURL, " (environment: ADMITONE_PUBLIC_URL)")
	return cmd
}

// printURL prints the address of a channel, which ends in the channel's code.
func (s *shell) printURL(brand, id, url string) error {
	if s.json {
		return json.NewEncoder(s.stdout).Encode(map[string]string{
			"brand": brand, "id": id, "code": path.Base(url), "url": url,
		})
	}
	_, err := fmt.Fprintln(s.stdout, url)
	return err
}

// channelCode returns the sealed ID of a channel.
func channelCode(p state.Place, brand, id string) (string, error) {
	ring, err := p.OpenRing(keyring.Channel)
	if err != nil {
		return "", err
	}
	defer ring.Close()
	channels, err := token.NewChannels(ring, p.Realm)
	if err != nil {
		return "", err
	}
	return channels.Code(brand, id)
}
