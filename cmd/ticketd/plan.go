package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/cmd/ticketd/internal/settings"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/journal"
	"github.com/admitone/admitone/verify/replay/memory"
	"github.com/admitone/admitone/verify/replay/pgstore"
	"github.com/admitone/admitone/verify/replay/redisstore"
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

// perSecond is a flag's rate, such as 5000/s or 1M/h.
type perSecond float64

var (
	rateForm = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?)([kM]?)/([smhd])$`)
	factors  = map[string]float64{"": 1, "k": 1e3, "M": 1e6}
	units    = map[string]float64{"s": 1, "m": 60, "h": 3600, "d": 86_400}
)

func (r *perSecond) String() string {
	if *r == 0 {
		return ""
	}
	return strconv.FormatFloat(float64(*r), 'f', -1, 64) + "/s"
}

func (r *perSecond) Set(text string) error {
	m := rateForm.FindStringSubmatch(text)
	if m == nil {
		return errors.New("write a number for a second, minute, hour or day, such as 5000/s, 300k/m or 1M/h")
	}
	n, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		return err
	}
	*r = perSecond(n * factors[m[2]] / units[m[3]])
	return nil
}

func (*perSecond) Type() string { return "rate" }

func planCommand(stdout io.Writer) *cobra.Command {
	var (
		rate           perSecond
		lifetime, skew time.Duration
		asJSON         bool
	)
	cmd := &cobra.Command{
		Use:   "plan --rate RATE",
		Short: "Say what each replay store takes for a rate of redemptions",
		Long: `plan computes how many redeemed one-time tickets are remembered at a time, and
what that takes in each store: memory, a journal, Redis and PostgreSQL. All
numbers are upper bounds, for the rate at its peak. It asks no server and writes
nothing.

A ticket is remembered for lifetime + 3 × skew + 60 s, and up to 16 s longer,
since what expires in the same 16 s is forgotten together. A skew of less than
10 s counts as 10 s here, unless it is 0.`,
		Example: `  ticketd replay plan --rate 5000/s
  ticketd replay plan --rate 300k/m --lifetime 60s
  ticketd replay plan --rate 1M/h --lifetime 15m --skew 30s --json`,
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	f.Var(&rate, "rate", "one-time tickets redeemed at the peak: a `RATE` such as 5000/s, 300k/m or 1M/h")
	f.DurationVar(&lifetime, "lifetime", token.CustomerLifetime, "the tickets' lifetime; the longest that is common")
	f.DurationVar(&skew, "skew", verify.Skew, "the largest --skew that serve is given, or was")
	f.BoolVar(&asJSON, "json", false, "print one line of JSON instead of text; sizes are in bytes, times in seconds")
	_ = cmd.MarkFlagRequired("rate") // the flag exists
	return cli.Command(cmd, func(cmd *cobra.Command, _ []string) error {
		switch {
		case lifetime < time.Second || lifetime > settings.MaxLifetime:
			return cli.Usagef("--lifetime %v is not from 1s to %v", lifetime, settings.MaxLifetime)
		case skew < 0 || skew > settings.MaxLifetime:
			return cli.Usagef("--skew %v is not from 0s to %v", skew, settings.MaxLifetime)
		}
		p, err := newPlan(float64(rate), lifetime, skew, cmd.Flags().Changed("skew"))
		if err != nil {
			return err
		}
		if asJSON {
			return json.NewEncoder(stdout).Encode(p)
		}
		return p.write(stdout)
	})
}

// plan is what a load takes, as --json shows it. All of it is at most.
type plan struct {
	Rate     float64 `json:"redemptionsPerSecond"`
	Lifetime float64 `json:"lifetimeSeconds"`
	Skew     float64 `json:"skewSeconds"`
	Retain   float64 `json:"rememberedSeconds"`
	Live     int64   `json:"liveNonces"`

	Memory struct {
		Bytes     int64   `json:"bytes"`
		Bound     int64   `json:"boundBytes"` // what --replay-memory should be, or is by default
		ErrorRate float64 `json:"filterErrorRate"`
		Next      string  `json:"next"`
	} `json:"memory"`
	Journal struct {
		Bytes     int64   `json:"bytes"`
		Bound     int64   `json:"boundBytes"`
		DiskBytes int64   `json:"diskBytes"`
		Segments  int     `json:"segments"`
		Fsyncs    float64 `json:"mostFsyncsPerSecond"`
		Needed    float64 `json:"neededFsyncsPerSecond"` // where many redeem at a time
		Next      string  `json:"next"`
	} `json:"journal"`
	Redis struct {
		NonceBytes int64  `json:"nonceBytes"`
		Bytes      int64  `json:"bytes"`
		Bound      int64  `json:"maxmemoryBytes"`
		Next       string `json:"next"`
	} `json:"redis"`
	Postgres struct {
		NonceBytes int64  `json:"nonceBytes"`
		DiskBytes  int64  `json:"diskBytes"`
		Next       string `json:"next"`
	} `json:"postgres"`

	Warnings []string `json:"warnings"`

	lifetime, skew time.Duration
}

const (
	// A commit of a journal serves half of those who are redeeming: the others
	// came while the one before it was under way.
	redeemers = 256
	perCommit = redeemers / 2

	// Redemptions a second that one journal, and one server on two cores, did in
	// the stores' benchmarks, with something to spare.
	journalRate  = 20_000
	redisRate    = 50_000
	postgresRate = 10_000

	// Of keys that have expired, Redis keeps up to a tenth for a while
	// (redis.conf, active-expire-effort).
	redisExpired = 1.1
	redisBound   = 4.0 / 3
	redisEmpty   = 2 << 20

	// pgstore purges within 90 s, autovacuum comes every minute, and lets a fifth
	// of a table lie.
	postgresPurge = 150 * time.Second
	postgresDead  = 1.2
	postgresEmpty = 1 << 20
)

func newPlan(rate float64, lifetime, skew time.Duration, saySkew bool) (*plan, error) {
	largest := skew // see verify.Config.MaxSkew
	if skew > 0 {
		largest = max(skew, verify.Skew)
	}
	retain := lifetime + 3*largest + time.Minute
	load := replay.Load{Rate: rate, Retain: retain}
	inMemory, err := memory.Plan(load)
	if err != nil {
		return nil, cli.Usagef("--rate is %g a second; give more than 0 and at most a million", rate)
	}
	inJournal, err := journal.Plan(load)
	if err != nil {
		return nil, err
	}
	nonces := load.Live()
	p := &plan{
		Rate: rate, Lifetime: lifetime.Seconds(), Skew: skew.Seconds(), Retain: (retain + replay.Window).Seconds(), Live: nonces,
		Warnings: []string{}, lifetime: lifetime, skew: skew,
	}
	common := []string{}
	if lifetime > token.MaxLifetime {
		common = append(common, "--max-lifetime", lifetime.String())
	}
	if saySkew {
		common = append(common, "--skew", skew.String())
	}
	next := func(store string, bound, usual int64) string {
		args := []string{"ticketd", "serve", "--data", "DIR", "--replay", store}
		if bound > usual {
			s := settings.Size(bound)
			args = append(args, "--replay-memory", s.String())
		}
		return cli.Line(append(args, common...)...)
	}
	m, j, r, q := &p.Memory, &p.Journal, &p.Redis, &p.Postgres
	m.Bytes, m.Bound, m.ErrorRate = inMemory.Bytes, inMemory.MaxBytes, inMemory.ErrorRate
	m.Next = next("memory", m.Bound, memory.DefaultBytes)
	j.Bytes, j.Bound, j.DiskBytes, j.Segments = inJournal.Bytes, inJournal.MaxBytes, inJournal.DiskBytes, inJournal.Segments
	j.Fsyncs, j.Needed = math.Ceil(rate), math.Ceil(rate/perCommit)
	j.Next = next("journal:", j.Bound, journal.DefaultBytes)
	r.NonceBytes = redisstore.NonceBytes
	r.Bytes = redisEmpty + int64(float64(nonces*r.NonceBytes)*redisExpired)
	r.Bound = (int64(float64(r.Bytes)*redisBound)>>20 + 1) << 20
	r.Next = next("rediss://USER:PASSWORD@HOST:6379", 0, 0)
	q.NonceBytes = pgstore.NonceBytes
	q.DiskBytes = postgresEmpty + int64((float64(nonces)+rate*postgresPurge.Seconds())*postgresDead*pgstore.NonceBytes)
	q.Next = next("postgres://USER:PASSWORD@HOST/DATABASE?sslmode=verify-full", 0, 0)
	p.warn()
	return p, nil
}

// warn notes what the defaults, or one journal, do not do.
func (p *plan) warn() {
	if p.Memory.Bound > memory.DefaultBytes {
		p.Warnings = append(p.Warnings, fmt.Sprintf("memory: the default bound of %s is too little; give --replay-memory, or at the bound nobody with a one-time ticket is admitted", humanize.IBytes(memory.DefaultBytes)))
	}
	if p.Journal.Bound > journal.DefaultBytes {
		p.Warnings = append(p.Warnings, fmt.Sprintf("journal: the default bound of %s is too little; give --replay-memory, or at the bound nobody with a one-time ticket is admitted", humanize.IBytes(journal.DefaultBytes)))
	}
	for _, limit := range []struct {
		store, remedy string
		rate          float64
	}{
		{"journal", "-bench Journal ./verify/replay/journal, or give a shared store", journalRate},
		{"redis", "-bench Claim ./verify/replay/redisstore, or give a Cluster", redisRate},
		{"postgres", "-bench Claim ./verify/replay/pgstore, or give redis", postgresRate},
	} {
		if p.Rate > limit.rate {
			p.Warnings = append(p.Warnings, fmt.Sprintf("%s: more than %s redemptions a second are more than one of a small machine does; measure yours with: go test -run '^$' %s",
				limit.store, humanize.Commaf(limit.rate), limit.remedy))
		}
	}
	if p.lifetime > token.MaxLifetime {
		p.Warnings = append(p.Warnings, fmt.Sprintf("tickets live no longer than %v unless --max-lifetime, and the ticket keyring's lifetime, are raised", token.MaxLifetime))
	}
}

// write prints the plan for people.
func (p *plan) write(w io.Writer) error {
	var b strings.Builder
	rate := humanize.Commaf(math.Round(p.Rate*1000) / 1000)
	if p.Rate < 1 { // four digits, not 0 for a few a day
		rate = strconv.FormatFloat(p.Rate, 'f', 3-int(math.Floor(math.Log10(p.Rate))), 64)
		rate = strings.TrimSuffix(strings.TrimRight(rate, "0"), ".")
	}
	fmt.Fprintf(&b, "%s one-time tickets redeemed a second, lifetime %v, skew %v\n", rate, p.lifetime, p.skew)
	fmt.Fprintf(&b, "at most %s remembered at a time, each for up to %v\n\n", humanize.Comma(p.Live), time.Duration(p.Retain*float64(time.Second)))
	t := tabwriter.NewWriter(&b, 0, 0, 3, ' ', 0)
	bytes := func(n int64) string { return humanize.IBytes(uint64(n)) }
	fmt.Fprintf(t, "STORE\tMEMORY\tBOUND\tDISK\tNOTES\n")
	fmt.Fprintf(t, "memory\t%s\t%s\t-\trefuses by mistake fewer than 1 good ticket in %s\n", bytes(p.Memory.Bytes), bytes(p.Memory.Bound), humanize.Comma(int64(1/p.Memory.ErrorRate)))
	fmt.Fprintf(t, "journal\t%s\t%s\t%s\t%d files; up to %s fsyncs a second; %s do where %d redeem at a time\n", bytes(p.Journal.Bytes), bytes(p.Journal.Bound), bytes(p.Journal.DiskBytes),
		p.Journal.Segments, humanize.Comma(int64(p.Journal.Fsyncs)), humanize.Comma(int64(p.Journal.Needed)), redeemers)
	fmt.Fprintf(t, "redis\t%s\t%s\t-\t%d bytes a nonce; the bound is the servers' maxmemory, with maxmemory-policy noeviction\n", bytes(p.Redis.Bytes), bytes(p.Redis.Bound), p.Redis.NonceBytes)
	fmt.Fprintf(t, "postgres\t-\t-\t%s\t%d bytes a nonce, until a purge and a vacuum; the write-ahead log comes on top\n", bytes(p.Postgres.DiskBytes), p.Postgres.NonceBytes)
	if err := t.Flush(); err != nil {
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
