package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/cmd/ticketd/internal/settings"
	"github.com/admitone/admitone/cmd/ticketd/internal/state"
	"github.com/admitone/admitone/keyring"
)

func initCommand(stdout io.Writer) *cobra.Command {
	var (
		place       state.Place
		maxLifetime time.Duration
		asJSON      bool
	)
	cmd := &cobra.Command{
		Use:   "init --data DIR",
		Short: "Make an empty data folder, for serve",
		Long: `init makes a data folder with all that serve needs: the keyrings ticket.keyring,
session.keyring and channel.keyring, an empty directory, and the key-encryption key
kek.key unless --kek names another. With --database the directory is on a server,
and may exist already.

init changes no file that exists: if it finds one of its files, it fails, and an init
that fails leaves no file behind. A further service of the same deployment gets the
same keyrings instead of new keyrings: copy them, or name their folder by --keyrings.
serve only reads that folder, so mount it read-only where no one rotates the keys.

With --role, the folder is for a half of a deployment. The role login has
recipient.keyring in place of ticket.keyring: its keys open signed tickets and make
none. The role issue has issuer.keyring, which signs tickets. Its ticket.keyring is for
the links of administrators only, and its session.keyring for the console. Both halves
have the same channel.keyring: init makes it for the role login, and the issuing half
gets a copy. A directory of --database may exist already.`,
		Example: `  ticketd init --data /var/lib/ticketd
  ticketd init --data /var/lib/ticketd --realm prod --kek aws-kms://arn:aws:kms:eu-west-1:123456789012:key/ID
  ticketd init --data /var/lib/ticketd --database postgres://ticketd@db.internal/ticketd
  ticketd init --data /var/lib/ticketd --database postgres://ticketd@db.internal/ticketd --role login`,
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	settings.AddPlaceFlags(f, &place, "data `folder` to make")
	settings.AddKeyFlags(f, &place)
	settings.AddRoleFlag(f, &place)
	settings.AddLifetimeFlag(f, &maxLifetime,
		"longest lifetime of a ticket that serve will issue or accept; "+
			"the ticket keyring keeps each key for at least as long")
	f.BoolVar(&asJSON, "json", false, "print one line of JSON instead of text")
	return cli.Command(cmd, func(cmd *cobra.Command, _ []string) error {
		if err := settings.FromEnvironment(cmd, settings.Names(cmd)...); err != nil {
			return err
		}
		if place.Data == "" {
			return cli.Usagef("no data folder: give --data DIR, or set ADMITONE_DATA")
		}
		if err := settings.CheckPlace(place); err != nil {
			return err
		}
		if err := settings.CheckLifetime(maxLifetime); err != nil {
			return err
		}
		made, err := place.Make(cmd.Context(), maxLifetime)
		if err != nil {
			return err
		}
		if asJSON {
			return json.NewEncoder(stdout).Encode(map[string]any{"made": made})
		}
		where := []string{"--data", place.Data}
		if place.Database != "" {
			where = []string{"--database", "…"} // the URL may hold a password
		}
		next := cli.Line(append([]string{"ticketd", "brand", "add", "NAME"}, where...)...)
		if place.Role == state.Issue {
			next = "put a copy of the login service's channel.keyring and channel.keyring.audit\n      " +
				"beside these keyrings, and " +
				cli.Line("keyring", "rewrap", place.KeyringFile(keyring.Channel), "--kek", "URI", "--new-kek", place.KEKURI())
		}
		_, err = fmt.Fprintf(stdout, "made %s\nnext: %s\n", strings.Join(made, "\n     "), next)
		return err
	})
}
