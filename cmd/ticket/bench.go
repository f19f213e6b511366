package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/admitone/admitone/client"
	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/cmd/ticket/internal/load"
)

// Bounds of bench's flags.
const (
	maxRate     = 100_000
	maxDuration = 7 * 24 * time.Hour
	maxInFlight = 100_000
)

func (a *app) benchCommand() *cobra.Command {
	var c load.Config
	var keyFile string
	cmd := &cobra.Command{
		Use:   "bench --url URL --brand BRAND [--username NAME]",
		Short: "Issue and redeem tickets at a rate, and see that each admits once",
		Long: fmt.Sprintf(`bench issues tickets at a running service at the rate of --rate, and redeems each
ticket as soon as it was issued, by /auth/ticket and /auth/redeem. The last lines
say how long the service took, and whether each ticket was admitted once.

Tickets begin by a schedule, whether or not earlier requests were answered. The
latency of an issue counts from the ticket's moment in the schedule, so a service
that falls behind shows all of the wait. The latency of a redemption counts from the
answer with the ticket. All requests count, also the failed ones.

The share --replays of the tickets is redeemed by two callers at the same time, and
by a third caller later, each with a binding of its own. More than one admission of
a ticket is a double entry.

With --username the tickets are for this agent, who must exist; give the details
that the brand asks for, such as --email. Without --username they are for made-up
customers, with the unique IDs bench-0, bench-1 and so on. The service keeps a record
of each, up to --customers: use a brand for tests.

The API key needs the scopes issue and redeem. bench reads it from the file of
--api-key-file or from %s. One ticket is tried first, and does not
count. The service limits the requests of an API key, by default to 50 a second: see
--rate-limit of "ticketd serve --help". A ticket has two requests, and with replays
four.

Ctrl-C ends the load, and prints what was measured so far; the verdict is on that.

Exit codes:
  0  good: each ticket was admitted once, at the rate
  1  failed: a double entry, a good ticket was refused, or the first ticket failed
  2  wrong usage
  4  cannot tell: requests failed, or had no answer; 4 goes before 5
  5  the rate was not kept: of the tickets, over %v%% began more than %v late,
     or did not begin. The service, this machine or --in-flight is the limit`,
			cli.APIKeyVariable, load.LateShare*100, load.Tolerance),
		Example: `  ticket bench --url http://localhost:8080 --brand commbox --rate 10 --duration 10s --api-key-file api.key
  ticket bench --url https://tickets.example.com --brand trial --username john.d --email john.d@example.com
  ticket bench --url https://tickets.example.com --brand trial --rate 500 --duration 5m --replays 1 --json`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	f := cmd.Flags()
	f.StringVar(&c.Service.URL, "url", "", "`URL` of the service, such as https://tickets.example.com; mandatory")
	f.BoolVar(&c.Service.InsecureHTTP, "insecure-http", false,
		"allow http:// to another machine, although the API key and the tickets are then sent in clear")
	f.StringVar(&keyFile, "api-key-file", "",
		"`file` with the API key, in place of the variable "+cli.APIKeyVariable)
	f.StringVar(&c.Person.Brand, "brand", "", "the business account that the tickets are for; mandatory")
	f.StringVar(&c.Person.Username, "username", "",
		"username of the agent; without it the tickets are for made-up customers")
	f.StringVar(&c.Person.Email, "email", "", "the agent's email address, as in the record")
	f.StringVar(&c.Person.UniqueID, "unique-id", "", "the agent's unique ID, as in the record")
	f.StringVar(&c.Person.Phone1, "phone1", "", "the agent's phone number, as in the record")
	f.IntVar(&c.Customers, "customers", 100, "`number` of made-up customers, whose records the service keeps")
	f.Float64Var(&c.Rate, "rate", 10, "tickets a second")
	f.DurationVar(&c.Duration, "duration", 30*time.Second, "how long tickets begin")
	f.Float64Var(&c.Replays, "replays", 0.1, "`share` of the tickets to redeem three times, from 0 to 1")
	f.IntVar(&c.InFlight, "in-flight", 512,
		"most tickets at a time that are issued or redeemed and not answered; further tickets begin late")
	return cli.Command(cmd, func(*cobra.Command, []string) error {
		if c.Person.Username == "" {
			for _, flag := range []string{"username", "email", "unique-id", "phone1"} {
				if f.Changed(flag) {
					return cli.Flagf(flag, "is without a username; give --username NAME and the agent's details, or none of these")
				}
			}
		} else if f.Changed("customers") {
			return cli.Flagf("customers", "is for loads without --username; give one of the two")
		}
		if err := checkBench(c); err != nil {
			return err
		}
		var err error
		if c.Service.APIKey, err = cli.APIKey(keyFile); err != nil {
			return err
		}
		return a.bench(c)
	})
}

// checkBench checks the values of the flags.
func checkBench(c load.Config) error {
	switch {
	case c.Service.URL == "":
		return cli.Usagef("bench needs --url, the address of the service, such as https://tickets.example.com")
	case c.Person.Brand == "":
		return cli.Usagef("bench needs --brand, the business account that the tickets are for")
	case !(c.Rate > 0 && c.Rate <= maxRate):
		return cli.Flagf("rate", "is %v; give more than 0 and at most %d tickets a second", c.Rate, maxRate)
	case c.Duration <= 0 || c.Duration > maxDuration:
		return cli.Flagf("duration", "is %v; give more than 0s and at most %v", c.Duration, maxDuration)
	case c.Planned() < 1:
		return cli.Flagf("duration", "is too short for one ticket at %v a second; give a longer one", c.Rate)
	case !(c.Replays >= 0 && c.Replays <= 1):
		return cli.Flagf("replays", "is %v; give a share from 0 to 1, such as 0.1", c.Replays)
	case c.InFlight < 1 || c.InFlight > maxInFlight:
		return cli.Flagf("in-flight", "is %d; give 1 to %d", c.InFlight, maxInFlight)
	case c.Customers < 1:
		return cli.Flagf("customers", "is %d; give at least 1", c.Customers)
	}
	return nil
}

// bench makes the load, and prints what was measured.
func (a *app) bench(c load.Config) error {
	l, err := load.New(c)
	if err != nil {
		return cli.ForService(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := l.Try(ctx); err != nil {
		if ctx.Err() != nil {
			return errors.New("interrupted before the load began")
		}
		advice := ""
		if e, ok := errors.AsType[*client.Error](err); ok && e.Status == 0 {
			advice = "; check --url and that the service runs"
		}
		return fmt.Errorf("the first ticket, a trial before the load, failed: %s%s", cli.InFlags(err.Error()), advice)
	}
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program
	p := a.showProgress(l, c.Duration)
	l.Run(ctx, func() {
		p.say(fmt.Sprintf("note: the bound of --in-flight is reached, %d: further tickets begin late", c.InFlight))
	})
	p.end()
	return a.reportBench(l.Report(), c)
}
