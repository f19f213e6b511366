package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/cmd/ticketd/internal/settings"
	"github.com/admitone/admitone/cmd/ticketd/internal/state"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
)

func replayCommand(stdout io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "replay",
		Short: "Plan where redeemed tickets are remembered",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(planCommand(stdout))
	return cmd
}

// perSecond is a rate, as a flag such as 5000/s or 1M/h.
type perSecond float64

var (
	rateForm = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?)([kM]?)/([smhd])$`)
	factors  = map[string]float64{"": 1, "k": 1e3, "M": 1e6}
	units    = map[string]float64{"s": 1, "m": 60, "h": 3600, "d": 86_400}
)

// String returns the rate per second; "" for 0.
func (r *perSecond) String() string {
	if *r == 0 {
		return ""
	}
	return strconv.FormatFloat(float64(*r), 'f', -1, 64) + "/s"
}

// Set reads a rate per second, minute, hour or day.
func (r *perSecond) Set(text string) error {
	m := rateForm.FindStringSubmatch(text)
	if m == nil {
		return errors.New("write a number per second, minute, hour or day, such as 5000/s, 300k/m or 1M/h")
	}
	n, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		return err
	}
	*r = perSecond(n * factors[m[2]] / units[m[3]])
	return nil
}

// Type returns the name of the kind of value in help.
func (*perSecond) Type() string { return "rate" }

// String returns the ceilings as flags have them.
func (c ceilings) String() string {
	var all []string
	for _, store := range slices.Sorted(maps.Keys(c)) {
		rate := c[store]
		all = append(all, store+"="+rate.String())
	}
	return strings.Join(all, ",")
}

// Set changes the ceiling of a store.
func (c ceilings) Set(text string) error {
	store, rate, _ := strings.Cut(text, "=")
	if _, ok := c[store]; !ok {
		return fmt.Errorf("%q is none of memory, journal, redis and postgres; write STORE=RATE, such as redis=80k/s", store)
	}
	var r perSecond
	if err := r.Set(rate); err != nil {
		return err
	}
	if r == 0 {
		return errors.New("give a rate above 0")
	}
	c[store] = r
	return nil
}

// Type returns the name of the kind of value in help.
func (ceilings) Type() string { return "ceiling" }

func planCommand(stdout io.Writer) *cobra.Command {
	var (
		rate           perSecond
		lifetime, skew time.Duration
		most           = defaultCeilings()
		asJSON         bool
	)
	cmd := &cobra.Command{
		Use:   "plan --rate RATE",
		Short: "Say what each replay store takes for a rate of redemptions",
		Long: `plan computes how many redeemed one-time tickets are remembered at a time, and how
much memory and disk they need in each store: memory, a journal, Redis and
PostgreSQL. These numbers are upper bounds, for the rate at its peak. plan asks no
server and writes nothing.

LOAD is the rate as a share of what one such store takes. This ceiling depends on
the machine: give your own with --ceiling. Above 100 % of a Redis, plan names the
number of a Cluster's shards.

A ticket is remembered for lifetime + 3 × skew + 60 s, and up to 16 s longer,
because tickets that expire within the same 16 s are forgotten together. A skew
between 0 s and 10 s counts as 10 s.`,
		Example: `  ticketd replay plan --rate 5000/s
  ticketd replay plan --rate 300k/m --lifetime 60s
  ticketd replay plan --rate 1M/s --ceiling redis=80k/s
  ticketd replay plan --rate 1M/h --lifetime 15m --skew 30s --json`,
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	f.Var(&rate, "rate", "one-time tickets redeemed at the peak: a `RATE` such as 5000/s, 300k/m or 1M/h")
	f.DurationVar(&lifetime, "lifetime", token.CustomerLifetime,
		"longest lifetime that is common among the one-time tickets")
	f.DurationVar(&skew, "skew", verify.Skew, "largest --skew with which serve has run or will run on the data folder")
	f.Var(most, "ceiling", "redemptions that one store takes on your machines, as `STORE=RATE`: memory, journal, "+
		"redis or postgres; can be repeated")
	f.BoolVar(&asJSON, "json", false, "print one line of JSON instead of text: sizes in bytes, times in seconds")
	_ = cmd.MarkFlagRequired("rate") // the flag exists
	return cli.Command(cmd, func(cmd *cobra.Command, _ []string) error {
		switch {
		case lifetime < time.Second || lifetime > settings.MaxLifetime:
			return cli.Flagf("lifetime", "%v is not from 1s to %v", lifetime, settings.MaxLifetime)
		case skew < 0 || skew > state.MaxSkew:
			return cli.Flagf("skew", "%v is not from 0s to %v", skew, state.MaxSkew)
		}
		p, err := newPlan(float64(rate), lifetime, skew, cmd.Flags().Changed("skew"), most)
		if err != nil {
			return err
		}
		if asJSON {
			return json.NewEncoder(stdout).Encode(p)
		}
		return p.write(stdout)
	})
}

// write prints the plan for people.
func (p *plan) write(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s one-time tickets redeemed a second, lifetime %v, skew %v\n", p.rate(), p.lifetime, p.skew)
	fmt.Fprintf(&b, "at most %s remembered at a time, each for up to %v\n\n",
		humanize.Comma(p.Live), time.Duration(p.Retain*float64(time.Second)))
	if err := p.writeTable(&b); err != nil {
		return err
	}
	b.WriteString("\n")
	for _, warning := range p.Warnings {
		fmt.Fprintf(&b, "warning: %s\n", warning)
	}
	fmt.Fprintf(&b, "next, for one process:     %s\n", p.Journal.Next)
	fmt.Fprintf(&b, "      or, with no disk:    %s\n", p.Memory.Next)
	fmt.Fprintf(&b, "      for several of them: %s --replicas N\n", p.Redis.Next)
	fmt.Fprintf(&b, "                       or: %s --replicas N\n", p.Postgres.Next)
	_, err := io.WriteString(w, b.String())
	return err
}

// rate returns the redemptions per second for people. A rate below 1 has four digits,
// so a few redemptions a day are not 0.
func (p *plan) rate() string {
	if p.Rate >= 1 {
		return humanize.Commaf(math.Round(p.Rate*1000) / 1000)
	}
	text := strconv.FormatFloat(p.Rate, 'f', 3-int(math.Floor(math.Log10(p.Rate))), 64)
	return strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
}

// writeTable writes a line for each store.
func (p *plan) writeTable(w io.Writer) error {
	size := func(n int64) string { return humanize.IBytes(uint64(n)) }
	count := func(n float64) string { return humanize.Comma(int64(n)) }
	m, j, r, q := p.Memory, p.Journal, p.Redis, p.Postgres
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	load := func(c ceiling) string {
		if c.Load < 0.1 {
			return fmt.Sprintf("%.1f %%", math.Ceil(1000*c.Load)/10)
		}
		return humanize.Comma(int64(math.Ceil(100*c.Load))) + " %"
	}
	fmt.Fprint(t, "STORE\tLOAD\tMEMORY\tBOUND\tDISK\tNOTES\n")
	fmt.Fprintf(t, "memory\t%s\t%s\t%s\t-\trefuses by mistake fewer than 1 good ticket in %s\n",
		load(m.ceiling), size(m.Bytes), size(m.Bound), count(1/m.ErrorRate))
	fmt.Fprintf(t, "journal\t%s\t%s\t%s\t%s\t%d files; up to %s fsyncs a second; %s are enough if %d redeem at a time\n",
		load(j.ceiling), size(j.Bytes), size(j.Bound), size(j.DiskBytes), j.Segments, count(j.Fsyncs), count(j.Needed),
		redeemers)
	fmt.Fprintf(t, "redis\t%s\t%s\t%s\t-\t%s; %d bytes a nonce; "+
		"the bound is each server's maxmemory, with maxmemory-policy noeviction\n",
		load(r.ceiling), size(r.Bytes), size(r.Bound), shards(r.Shards), r.NonceBytes)
	fmt.Fprintf(t, "postgres\t%s\t-\t-\t%s\t%d bytes a nonce, until a purge and a vacuum; "+
		"the write-ahead log comes on top\n", load(q.ceiling), size(q.DiskBytes), q.NonceBytes)
	return t.Flush()
}

func shards(n int) string {
	if n == 1 {
		return "1 server"
	}
	return fmt.Sprintf("a Cluster of %d shards", n)
}
