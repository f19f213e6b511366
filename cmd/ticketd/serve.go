package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

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

Settings come from flags; what they do not say from the environment, --public-url
as ADMITONE_PUBLIC_URL; and what that does not say from the file of --config, with a
line such as "public-url: https://login.example.com" for each. It is read again when
it changes and on SIGHUP: log-level, rate-limit, rate-burst, trusted-proxies,
proxy-header, integer-status, nameless-ticket, agent-home and check-headers take
effect at once, the others at the next start. A file with a mistake changes nothing.
Certificates are read again likewise; keyrings and the directory need no telling.

It ends on SIGINT and SIGTERM, when all requests that it accepted are answered: for
--drain-delay it says no at /readyz and goes on; then it takes no new connection,
and closes each with an answer. The log goes to standard error.`,
		Example: `  ticketd serve --data /var/lib/ticketd
  ticketd serve --data /var/lib/ticketd --listen :8080 --public-url https://login.example.com
  ticketd serve --data /var/lib/ticketd --metrics-listen 127.0.0.1:9464
  ticketd serve --data /var/lib/ticketd --listen :443 --tls-cert cert.pem --tls-key key.pem
  ticketd serve --config /etc/ticketd.yaml
  ticketd serve --data /var/lib/ticketd --replay redis://redis.internal:6379 --replicas 4`,
		Args: cobra.NoArgs,
	}
	o.serveFlags(cmd)
	return cli.Command(cmd, func(cmd *cobra.Command, _ []string) error {
		hangup := make(chan os.Signal, 1)
		signal.Notify(hangup, syscall.SIGHUP)
		defer signal.Stop(hangup)
		c := &settings{given: givenFlags(cmd), cmd: cmd, level: new(slog.LevelVar)}
		if err := fromEnvironment(cmd, "config"); err != nil {
			return err
		}
		if c.files = newWatch(); o.config != "" {
			c.files = newWatch(o.config)
		}
		if err := o.complete(cmd); err != nil {
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
		s, err := openService(cmd.Context(), o, false, lock, o.log.open(stderr, c.level))
		if err != nil {
			return err
		}
		defer s.close()
		ctx, stop := context.WithCancel(cmd.Context())
		defer stop()
		go s.keepFresh(ctx, c, hangup)
		return s.serve(cmd.Context())
	})
}

// serveFlags adds all flags of serve.
func (o *options) serveFlags(cmd *cobra.Command) {
	o.flags(cmd, "127.0.0.1:8080", "journal:")
	o.tlsFlags(cmd)
	cmd.Flags().StringVar(&o.config, "config", "", "YAML `FILE` of settings: flags' names without -- and their values; flags and environment override it (environment: ADMITONE_CONFIG)")
	cmd.Flags().DurationVar(&o.drainDelay, "drain-delay", 0, "how long, after SIGTERM, connections are still taken while /readyz says no; behind a load balancer, as long as that needs to notice")
}
