package settings

import (
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/cmd/ticketd/internal/audit"
	"github.com/admitone/admitone/cmd/ticketd/internal/service"
	"github.com/admitone/admitone/cmd/ticketd/internal/state"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
)

// Service holds the flags of the commands serve and demo.
type Service struct {
	config     service.Config // complete after check
	replicas   int
	limits     limits
	entry      entry
	log        logging
	configFile string
}

// AddFlags adds the flags common to serve and demo. The two commands have different
// defaults of --listen and --replay.
func (s *Service) AddFlags(f *pflag.FlagSet, listen, replay string) {
	c := &s.config
	AddPlaceFlags(f, &c.State, "")
	AddKeyFlags(f, &c.State)
	addListenFlags(f, c, listen)
	addReplayFlags(f, &c.Replay, replay)
	s.limits.addFlags(f, c)
	s.entry.addFlags(f, c)
	s.log.addFlags(f)
	f.IntVar(&s.replicas, "replicas", 1,
		"`number` of ticketd processes that serve under the same ticket keys; "+
			"more than 1 need a redis or postgres store in --replay")
	f.DurationVar(&c.Skew, "skew", 0,
		"tolerance for the clocks of other machines that issue tickets under the same keys; "+
			"after the replay store lost its memory, one-time tickets are refused for as long "+
			"(default 0s, or 10s if --replicas is above 1)")
	AddLifetimeFlag(f, &c.MaxLifetime, "longest lifetime of a ticket that is issued or accepted; "+
		"holds also where a brand or channel allows more")
}

// AddServeFlags adds all flags of serve.
func (s *Service) AddServeFlags(f *pflag.FlagSet) {
	s.AddFlags(f, "127.0.0.1:8080", "journal:")
	addTLSFlags(f, &s.config)
	s.AddConsoleFlags(f, "", " (default: no console)")
	f.StringVar(&s.configFile, "config", "",
		"YAML `FILE` of settings: its keys are names of flags without --; flags and environment variables override it "+
			"(environment: ADMITONE_CONFIG)")
	f.DurationVar(&s.config.Retention, "audit-retention", audit.Retention,
		"time for which the events of the audit trail are kept, at least 1h")
	f.DurationVar(&s.config.DrainDelay, "drain-delay", 0,
		"time after SIGTERM during which connections are still accepted while /readyz answers 503; "+
			"behind a load balancer, the time in which it notices (default 0s)")
}

// MaxLifetime is the largest --max-lifetime: far above any use of a ticket, and below
// the longest lifetime that a ticket can state.
const MaxLifetime = 24 * time.Hour

// AddLifetimeFlag adds --max-lifetime.
func AddLifetimeFlag(f *pflag.FlagSet, d *time.Duration, usage string) {
	f.DurationVar(d, "max-lifetime", token.MaxLifetime, usage)
}

// CheckLifetime refuses a --max-lifetime out of range.
func CheckLifetime(d time.Duration) error {
	if d < time.Second || d > MaxLifetime {
		return cli.Flagf("max-lifetime", "%v is not from 1s to %v", d, MaxLifetime)
	}
	return nil
}

// check finds what is wrong with the flags before anything is opened or made, and
// completes the configuration.
func (s *Service) check(cmd *cobra.Command) error {
	c := &s.config
	for _, check := range []func() error{
		func() error { return CheckPlace(c.State) },
		func() error { return CheckLifetime(c.MaxLifetime) },
		func() error { return checkListen(c) },
		func() error { return checkReplay(cmd.Flags(), c.Replay) },
		func() error { return s.limits.check(c) },
		func() error { return s.entry.check(c) },
		s.log.check,
		func() error { return s.checkReplicas(cmd.Flags()) },
	} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// checkReplicas checks the number of processes and the tolerance for their clocks.
func (s *Service) checkReplicas(f *pflag.FlagSet) error {
	c := &s.config
	switch {
	case s.replicas < 1:
		return cli.Flagf("replicas", "%d is less than 1", s.replicas)
	case s.replicas > 1 && !c.Replay.Kind().Shared():
		return cli.Usage(&cli.FlagError{
			Flag: "replicas", Others: []string{"replay"},
			Reason: fmt.Sprintf("%d with --replay %s would admit a ticket once in each of them; "+
				"give a shared store, redis://… or postgres://…", s.replicas, c.Replay.URI),
		})
	case f.Lookup("audit-retention") != nil && c.Retention < time.Hour:
		return cli.Flagf("audit-retention", "%v is less than 1h", c.Retention)
	case c.DrainDelay < 0:
		return cli.Flagf("drain-delay", "%v is less than 0s", c.DrainDelay)
	case c.Skew < 0 || c.Skew > state.MaxSkew:
		return cli.Flagf("skew", "%v is not from 0s to %v", c.Skew, state.MaxSkew)
	case s.replicas > 1 && !f.Changed("skew"):
		c.Skew = verify.Skew // each process redeems the tickets that the others issue
	}
	return nil
}

// OpenLog returns the log that --log-format and --log-level describe, on w.
func (s *Service) OpenLog(w io.Writer) *slog.Logger { return s.log.open(w) }
