package main

import (
	"errors"
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/internal/cli"
)

func serveCommand(stderr io.Writer) *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "serve --data DIR",
		Short: "Serve from a data folder",
		Long: `serve answers requests from the state in a data folder: the directory of brands,
agents, channels, customers and API keys (admitone.db) and the keyrings
ticket.keyring, session.keyring and channel.keyring. It does not make them
itself: a folder that was not mounted must not look like a new deployment.
"ticketd init --data DIR" makes such a folder.

Which one-time tickets were redeemed is kept in a journal under the data folder:
a restart refuses nothing good and admits nothing twice. Several ticketd under
the same ticket keys need a store that they share (--replay redis://… or
postgres://…, and --replicas to say how many). With --replay memory, one-time
tickets issued before a restart are refused after it. "ticketd replay plan" says
what each store takes.

Prometheus metrics are served where --metrics-listen says, and else nowhere: they
need no login, so that should be where only Prometheus comes.

It ends on SIGINT and SIGTERM, when all requests that it accepted are answered.
The log goes to standard error.`,
		Example: `  ticketd serve --data /var/lib/ticketd
  ticketd serve --data /var/lib/ticketd --listen :8080 --public-url https://login.example.com
  ticketd serve --data /var/lib/ticketd --metrics-listen 127.0.0.1:9464
  ticketd serve --data /var/lib/ticketd --replay redis://redis.internal:6379 --replicas 4`,
		Args: cobra.NoArgs,
	}
	o.flags(cmd, "127.0.0.1:8080", "journal:")
	return cli.Command(cmd, func(cmd *cobra.Command, _ []string) error {
		if err := fromEnvironment(cmd, serviceFlags(cmd)...); err != nil {
			return err
		}
		if err := o.check(cmd); err != nil {
			return err
		}
		if o.data == "" {
			return cli.Usagef("no data folder: give --data DIR")
		}
		lock, err := lockData(o)
		if err != nil {
			return err
		}
		if err := o.findDirectory(); err != nil {
			return errors.Join(err, lock.Close())
		}
		log := slog.New(slog.NewTextHandler(stderr, nil))
		s, err := openService(cmd.Context(), o, false, lock, log)
		if err != nil {
			return err
		}
		defer s.close()
		return s.serve(cmd.Context())
	})
}
