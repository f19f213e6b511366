package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// options are the flags of serve, most of which demo takes as well.
type options struct {
	listen      string
	metrics     string // where to listen for scrapes; "" for nowhere
	data        string
	database    string // of the directory; "" for a file in data
	realm       string
	kek         string
	publicURL   string
	replay      replayOptions
	limits      limits
	doors       doors
	replicas    int
	skew        time.Duration
	maxLifetime time.Duration
	log         logOptions

	// Of serve only.
	config     string
	tlsCert    string
	tlsKey     string
	drainDelay time.Duration
}

// run runs the command line until it is done or ctx is, and returns the exit
// code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := rootCommand(stdout, stderr)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	fmt.Fprintf(stderr, "ticketd: %s\n", cli.Message(locate(cmd, err)))
	if !cli.IsUsage(err) {
		return exitFailed
	}
	fmt.Fprintf(stderr, "next: %s --help\n", cmd.CommandPath())
	return exitUsage
}

func rootCommand(stdout, stderr io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use:   "ticketd",
		Short: "Issue login tickets, and let each in once",
		Long: `ticketd is the HTTP service of admitone. Backends ask it for tickets with an API
key (POST /auth/ticket); people enter with them at /login (agents) and
/chat/{code} (customers).

Exit codes: 0 ended as asked; 1 failed, also where a file or server that a flag
names cannot be used; 2 wrong usage: a command line, variable or configuration file
that is wrong as it is written.`,
		Example: `  ticketd demo
  ticketd init --data /var/lib/ticketd
  ticketd brand add commbox --data /var/lib/ticketd
  ticketd agent add john.d --brand commbox --email john.d@example.com --data /var/lib/ticketd
  ticketd apikey add --brands commbox --data /var/lib/ticketd
  ticketd serve --data /var/lib/ticketd --listen 127.0.0.1:8080`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetOut(stdout)
	root.SetErr(stderr)
	a := &admin{stdout: stdout, stderr: stderr}
	root.AddCommand(serveCommand(stderr), demoCommand(stdout, stderr), initCommand(stdout), replayCommand(stdout),
		brandCommand(a), agentCommand(a), customerCommand(a), channelCommand(a), apiKeyCommand(a))
	root.SetFlagErrorFunc(flagError)
	cli.Finish(root)
	completeAll(root)
	return root
}

// flagError tells what a flag takes where it was given something else.
func flagError(_ *cobra.Command, err error) error {
	if invalid, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		return fmt.Errorf("--%s: %w", invalid.GetFlag().Name, reason(invalid.GetFlag(), err))
	}
	return err
}

// flags adds the options that serve and demo share.
func (o *options) flags(cmd *cobra.Command, listen, replay string) {
	f := cmd.Flags()
	f.StringVar(&o.listen, "listen", listen, "`HOST:PORT` to listen on; port 0 takes a free one")
	f.StringVar(&o.data, "data", "", "`folder` of the state: database, keyrings and lock")
	f.StringVar(&o.database, "database", "", databaseUsage)
	o.keyFlags(cmd)
	f.StringVar(&o.publicURL, "public-url", "", "`URL` under which browsers reach the service; with https, cookies are Secure (default: http and the address listened on)")
	f.StringVar(&o.metrics, "metrics-listen", "", "`HOST:PORT` to serve /metrics on, for Prometheus and for nobody else: it is not authenticated (default: nowhere)")
	o.replay.flags(cmd, replay)
	o.limits.flags(cmd)
	o.doors.flags(cmd)
	o.log.flags(cmd)
	f.IntVar(&o.replicas, "replicas", 1, "how many ticketd processes serve under the same ticket keys; more than 1 need a shared --replay")
	f.DurationVar(&o.skew, "skew", 0, "tolerance for the clocks of other machines that issue tickets under the same keys (with several replicas 10s if not given); where what was redeemed is lost, one-time tickets are refused for as long")
	f.DurationVar(&o.maxLifetime, "max-lifetime", token.MaxLifetime, "longest lifetime of a ticket that is issued or accepted")
}

const databaseUsage = "where the directory is: the `path` of an SQLite file, or postgres://… for one that several services share (environment: ADMITONE_DATABASE; default DATA/admitone.db)"

// keyFlags adds the options that say how keyrings open.
func (o *options) keyFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.realm, "realm", "", "the deployment's `name`, to which keys and tickets are bound (environment: ADMITONE_REALM)")
	f.StringVar(&o.kek, "kek", "", "key-encryption key of the keyrings, as a `URI`; see keyring --help (environment: ADMITONE_KEK; default file:DATA/kek.key)")
}

// check finds what is wrong with the options before anything is opened or made,
// and completes them.
func (o *options) check(cmd *cobra.Command) error {
	if err := o.checkState(); err != nil {
		return err
	}
	if !hostPort(o.listen) {
		return cli.Usagef("--listen %q is not HOST:PORT, such as 127.0.0.1:8080 or :8080", o.listen)
	}
	if o.metrics != "" {
		if !hostPort(o.metrics) {
			return cli.Usagef("--metrics-listen %q is not HOST:PORT, such as 127.0.0.1:9464", o.metrics)
		}
	}
	if err := o.replay.check(cmd); err != nil {
		return err
	}
	if err := o.limits.check(); err != nil {
		return err
	}
	if err := o.doors.check(); err != nil {
		return err
	}
	if err := o.log.check(); err != nil {
		return err
	}
	if err := o.checkTLS(); err != nil {
		return err
	}
	switch {
	case o.replicas < 1:
		return cli.Usagef("--replicas %d is less than 1", o.replicas)
	case o.replicas > 1 && !o.replay.shared():
		return cli.Usagef("--replicas %d with --replay %s would admit a ticket once in each of them; give a shared store, redis://… or postgres://…", o.replicas, o.replay.uri)
	case o.drainDelay < 0:
		return cli.Usagef("--drain-delay %v is less than 0s", o.drainDelay)
	case o.skew < 0 || o.skew > maxMaxLifetime:
		return cli.Usagef("--skew %v is not from 0s to %v", o.skew, maxMaxLifetime)
	case o.replicas > 1 && !cmd.Flags().Changed("skew"):
		o.skew = verify.Skew // each issues what the others redeem
	}
	return o.checkPublicURL()
}

// hostPort reports whether an address is HOST:PORT.
func hostPort(address string) bool {
	_, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = net.LookupPort("tcp", port) // a number up to 65535, or a name such as https
	}
	return err == nil
}

// checkPublicURL refuses a --public-url that is none, and puts it into one form.
func (o *options) checkPublicURL() error {
	if o.publicURL == "" {
		return nil
	}
	u, err := url.Parse(o.publicURL)
	if err != nil || u.Hostname() == "" || u.Port() != "" && !hostPort(u.Host) || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil {
		return cli.Usagef("--public-url is not an http or https URL without a path, such as https://login.example.com")
	}
	o.publicURL = u.Scheme + "://" + u.Host
	return nil
}

// maxMaxLifetime is far above any use of a ticket, and below what a ticket can
// say.
const maxMaxLifetime = 24 * time.Hour
