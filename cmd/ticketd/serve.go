package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/cmd/ticketd/internal/service"
	"github.com/admitone/admitone/cmd/ticketd/internal/settings"
)

func serveCommand(stderr io.Writer) *cobra.Command {
	var flags settings.Service
	cmd := &cobra.Command{
		Use:   "serve --data DIR",
		Short: "Serve from a data folder",
		Long: `serve answers requests from the state in a data folder: the directory of brands,
agents, channels, customers and API keys (admitone.db) and the keyrings
ticket.keyring, session.keyring and channel.keyring. serve does not make this state:
a folder that was not mounted must not look like a new deployment. Make a data
folder with "ticketd init --data DIR".

A journal under the data folder remembers redeemed one-time tickets, so a restart
refuses no good ticket and admits none twice. Several ticketd under the same ticket
keys need a shared store (--replay redis://… or postgres://…, and --replicas with
their number). With --replay memory, one-time tickets issued before a restart are
refused after it. "ticketd replay plan" says how much memory and disk each store
needs.

With --issuers, tickets of other organisations are good as well, under keyrings of their
own: a file says which tickets each of them may issue. With --trust, signed tickets of other
organisations (format 2) are good as well. serve opens them with recipient.keyring, which
lies beside the other keyrings, and cannot make them. serve does not make this keyring: the
issuers have to get its public half.

Prometheus metrics are served on --metrics-listen, and otherwise not at all. They
need no login, so let only Prometheus reach that address.

Each setting comes from its flag; without the flag, from an environment variable
(ADMITONE_PUBLIC_URL for --public-url); without the variable, from a line of the
file of --config, such as "public-url: https://login.example.com". The file is read
again on SIGHUP and when it changes. log-level, rate-limit, rate-burst,
trusted-proxies, proxy-header, integer-status, nameless-ticket, agent-home,
agent-sign-in-url, check-headers and check-any-brand take effect at once, the others
at the next start. A file with a mistake changes nothing. Certificates and the file of
--issuers are read again in the same way. Changes of keyrings, of the list of --trust and of
the directory need no signal.

serve ends on SIGINT and SIGTERM, when all accepted requests are answered. During
--drain-delay /readyz answers 503, and requests are answered as before; then serve
takes no new connection, and closes each open one after an answer. A request whose
body does not arrive within 5 seconds is then ended. The log goes to standard error.

Connections are bounded below the limit of open files, so that the directory and the
replay store can open theirs: connections without a request are closed to make room.`,
		Example: `  ticketd serve --data /var/lib/ticketd
  ticketd serve --data /var/lib/ticketd --listen :8080 --public-url https://login.example.com
  ticketd serve --data /var/lib/ticketd --metrics-listen 127.0.0.1:9464
  ticketd serve --data /var/lib/ticketd --listen :443 --tls-cert cert.pem --tls-key key.pem
  ticketd serve --config /etc/ticketd.yaml
  ticketd serve --data /var/lib/ticketd --replay redis://redis.internal:6379 --replicas 4`,
		Args: cobra.NoArgs,
	}
	flags.AddServeFlags(cmd.Flags())
	return cli.Command(cmd, func(cmd *cobra.Command, _ []string) error { return serve(cmd, &flags, stderr) })
}

// serve serves until the context of the command is done, and reads the settings again
// when they change.
func serve(cmd *cobra.Command, flags *settings.Service, stderr io.Writer) error {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	log := settings.NewLogWriter(stderr)
	defer log.Close()
	source, config, err := settings.Open(cmd, flags, log)
	if err != nil {
		return err
	}
	if config.State.Data == "" {
		return cli.Usagef("no data folder: give --data DIR, or set ADMITONE_DATA")
	}
	lock, err := config.State.Lock()
	if err != nil {
		return err
	}
	if err := config.State.FindDirectory(); err != nil {
		return errors.Join(err, lock.Close())
	}
	settings.WarnOfVariables(config.Log, config.State.KEK)
	s, err := service.Open(cmd.Context(), config, lock, false)
	if err != nil {
		return err
	}
	defer s.Close()
	ctx, stop := context.WithCancel(cmd.Context())
	defer stop()
	go source.Keep(ctx, hangup, s)
	if err := notifyReady(); err != nil {
		return err
	}
	return s.Serve(cmd.Context())
}
