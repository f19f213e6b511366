package settings

import (
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/cmd/ticketd/internal/audit"
	"github.com/admitone/admitone/cmd/ticketd/internal/service"
	"github.com/admitone/admitone/cmd/ticketd/internal/state"
	"github.com/admitone/admitone/keyring/kms"
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
			"(default 0s, or 10s if --replicas is above 1 or there are named issuers)")
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
	f.StringVar(&s.config.Issuers, "issuers", "",
		"YAML `FILE` of named issuers, each with its keyring and the tickets that it may issue; "+
			"read again when it changes (environment: ADMITONE_ISSUERS; default: the service's own tickets only)")
	AddRoleFlag(f, &s.config.State)
	addIssueFlags(f, &s.config)
	addPublicFlags(f, &s.config)
	f.StringVar(&s.config.Trust, "trust", "",
		"trust list `FILE` of the issuers whose tickets of format 2 are good (see keyring trust); followed as keyrings are, "+
			"and needs recipient.keyring beside the other keyrings (environment: ADMITONE_TRUST; default: no format 2)")
	f.StringVar(&s.config.TrustKEK, "trust-kek", "",
		"`URI` verify:PATH of the public identity key that signs --trust (environment: ADMITONE_TRUST_KEK)")
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
	for _, check := range s.checks(cmd) {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// checks are the parts of check, one for each mistake.
func (s *Service) checks(cmd *cobra.Command) []func() error {
	c := &s.config
	f := cmd.Flags()
	return slices.Concat(told(placeFaults(c.State)), told([]error{CheckLifetime(c.MaxLifetime)}), listenChecks(c),
		told(replayFaults(f, c.Replay)), told([]error{checkTrust(c)}), s.limits.checks(c),
		told(s.entry.faults(c)), told(roleFaults(c, f)), told([]error{checkPublic(c)}),
		told(s.log.faults()), told(s.replicaFaults(f)))
}

// told returns checks that tell of mistakes which were found.
func told(faults []error) []func() error {
	checks := make([]func() error, len(faults))
	for i, err := range faults {
		checks[i] = func() error { return err }
	}
	return checks
}

// replicaFaults checks the number of processes, the tolerance for their clocks, and other times.
func (s *Service) replicaFaults(f *pflag.FlagSet) (all []error) {
	c := &s.config
	switch {
	case s.replicas < 1:
		all = append(all, cli.Flagf("replicas", "%d is less than 1", s.replicas))
	case s.replicas > 1 && !c.Replay.Kind().Shared():
		all = append(all, cli.Usage(&cli.FlagError{
			Flag: "replicas", Others: []string{"replay"},
			Reason: fmt.Sprintf("%d with --replay %s would admit a ticket once in each of them; "+
				"give a shared store, redis://… or postgres://…", s.replicas, c.Replay.URI),
		}))
	}
	if f.Lookup("audit-retention") != nil && c.Retention < time.Hour {
		all = append(all, cli.Flagf("audit-retention", "%v is less than 1h", c.Retention))
	}
	if c.DrainDelay < 0 {
		all = append(all, cli.Flagf("drain-delay", "%v is less than 0s", c.DrainDelay))
	}
	if c.Skew < 0 || c.Skew > state.MaxSkew {
		all = append(all, cli.Flagf("skew", "%v is not from 0s to %v", c.Skew, state.MaxSkew))
	}
	if (s.replicas > 1 || c.Issuers != "" || c.Trust != "") && !f.Changed("skew") {
		c.Skew = verify.Skew // some tickets are issued by other processes
	}
	return all
}

// checkTrust refuses a trust list without the identity key that signs it.
func checkTrust(c *service.Config) error {
	switch {
	case c.Trust == "" && c.TrustKEK == "":
		return nil
	case c.Trust == "":
		return cli.Flagf("trust-kek", "stands without --trust; give the trust list, too")
	case c.TrustKEK == "":
		return cli.Flagf("trust", "needs the identity key that signs the list; give --trust-kek verify:PATH, too")
	case strings.HasPrefix(c.TrustKEK, "signed:"):
		return cli.Flagf("trust-kek", "is a private identity key, with which a thief could change the list; "+
			"give verify:PATH with the public half (keyring identity -o)")
	case !strings.HasPrefix(c.TrustKEK, "verify:"):
		return cli.Flagf("trust-kek", "is no public identity key; give verify:PATH")
	}
	if err := kms.CheckURI(c.TrustKEK); err != nil {
		return cli.Usage(cli.ForFlag("trust-kek", err))
	}
	return nil
}

// OpenLog returns the log that --log-format and --log-level describe, on w.
func (s *Service) OpenLog(w io.Writer) *slog.Logger { return s.log.open(w) }
