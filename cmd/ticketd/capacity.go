package main

import (
	"fmt"
	"math"
	"time"

	"github.com/dustin/go-humanize"

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

// plan is the need of a load in each store, as --json prints it. All numbers are upper
// bounds.
type plan struct {
	Rate     float64 `json:"redemptionsPerSecond"`
	Lifetime float64 `json:"lifetimeSeconds"`
	Skew     float64 `json:"skewSeconds"`
	Retain   float64 `json:"rememberedSeconds"`
	Live     int64   `json:"liveNonces"`

	Memory struct {
		ceiling
		Bytes     int64   `json:"bytes"`
		Bound     int64   `json:"boundBytes"` // for --replay-memory
		ErrorRate float64 `json:"filterErrorRate"`
		Next      string  `json:"next"`
	} `json:"memory"`
	Journal struct {
		ceiling
		Bytes     int64   `json:"bytes"`
		Bound     int64   `json:"boundBytes"`
		DiskBytes int64   `json:"diskBytes"`
		Segments  int     `json:"segments"`
		Fsyncs    float64 `json:"mostFsyncsPerSecond"`
		Needed    float64 `json:"neededFsyncsPerSecond"` // if redeemers redeem at a time
		Next      string  `json:"next"`
	} `json:"journal"`
	Redis struct {
		ceiling
		Shards     int    `json:"shards"` // of a Cluster; 1 for a single server
		Buckets    int    `json:"bucketsPerShard"`
		NonceBytes int64  `json:"nonceBytes"`
		Bytes      int64  `json:"bytes"`          // of all shards
		Bound      int64  `json:"maxmemoryBytes"` // of each shard
		Next       string `json:"next"`
	} `json:"redis"`
	Postgres struct {
		ceiling
		NonceBytes int64  `json:"nonceBytes"`
		DiskBytes  int64  `json:"diskBytes"`
		Next       string `json:"next"`
	} `json:"postgres"`

	Warnings []string `json:"warnings"`

	lifetime, skew time.Duration
}

// ceiling is the most claims that a store takes, and the planned share of them. Each
// redemption is one claim.
type ceiling struct {
	Claims float64 `json:"ceilingPerSecond"`
	Load   float64 `json:"load"` // 1 is the ceiling of one store
}

func (c *ceiling) set(rate, most float64) { c.Claims, c.Load = most, rate/most }

// ceilings are the claims a second of one store by its name: of a process for memory and
// journal, of a server for redis and postgres. "go run . -only replay" in bench measures
// them; the defaults are from two cores shared with other programs.
type ceilings map[string]perSecond

func defaultCeilings() ceilings {
	return ceilings{"memory": 300_000, "journal": 20_000, "redis": 20_000, "postgres": 2_500}
}

const (
	// redeemers is the number of people who redeem at the same time. A commit of a
	// journal serves half of them: the other half came during the commit before.
	redeemers = 256
	perCommit = redeemers / 2

	// Redis keeps up to a tenth of the expired keys for a while (redis.conf,
	// active-expire-effort).
	redisExpired = 1.1
	redisBound   = 4.0 / 3
	redisEmpty   = 2 << 20

	// pgstore purges within 90 s. Autovacuum comes every minute, and leaves a fifth of a
	// table unused.
	postgresPurge = 150 * time.Second
	postgresDead  = 1.2
	postgresEmpty = 1 << 20
)

// newPlan computes the plan for a rate of redemptions per second. With saySkew, the
// plan's commands name the skew.
func newPlan(rate float64, lifetime, skew time.Duration, saySkew bool, most ceilings) (*plan, error) {
	largest := skew // see verify.Config.MaxSkew
	if skew > 0 {
		largest = max(skew, verify.Skew)
	}
	retain := lifetime + 3*largest + time.Minute
	load := replay.Load{Rate: rate, Retain: retain}
	inMemory, err := memory.Plan(load)
	if err != nil {
		return nil, cli.Flagf("rate", "is %g a second; give more than 0 and at most a million", rate)
	}
	inJournal, err := journal.Plan(load)
	if err != nil {
		return nil, err
	}
	nonces := load.Live()
	p := &plan{
		Rate: rate, Lifetime: lifetime.Seconds(), Skew: skew.Seconds(),
		Retain: (retain + replay.Window).Seconds(), Live: nonces,
		Warnings: []string{}, lifetime: lifetime, skew: skew,
	}
	m, j, r, q := &p.Memory, &p.Journal, &p.Redis, &p.Postgres
	m.Bytes, m.Bound, m.ErrorRate = inMemory.Bytes, inMemory.MaxBytes, inMemory.ErrorRate
	j.Bytes, j.Bound = inJournal.Bytes, inJournal.MaxBytes
	j.DiskBytes, j.Segments = inJournal.DiskBytes, inJournal.Segments
	j.Fsyncs, j.Needed = math.Ceil(rate), math.Ceil(rate/perCommit)
	m.set(rate, float64(most["memory"]))
	j.set(rate, float64(most["journal"]))
	r.set(rate, float64(most["redis"]))
	q.set(rate, float64(most["postgres"]))
	r.NonceBytes = redisstore.NonceBytes
	r.Buckets = max(1, int(min(1, 1/r.Load)*redisstore.Buckets))
	r.Shards = (redisstore.Buckets + r.Buckets - 1) / r.Buckets
	inRedis := float64(nonces*r.NonceBytes) * redisExpired
	r.Bytes = int64(r.Shards)*redisEmpty + int64(inRedis)
	shard := redisEmpty + inRedis*float64(r.Buckets)/redisstore.Buckets
	r.Bound = (int64(shard*redisBound)>>20 + 1) << 20
	q.NonceBytes = pgstore.NonceBytes
	rows := float64(nonces) + rate*postgresPurge.Seconds()
	q.DiskBytes = postgresEmpty + int64(rows*postgresDead*pgstore.NonceBytes)
	p.setCommands(saySkew)
	p.warn()
	return p, nil
}

// setCommands sets the command line that serves with each store.
func (p *plan) setCommands(saySkew bool) {
	command := func(store string, bound, usual int64) string {
		args := []string{"ticketd", "serve", "--data", "DIR", "--replay", store}
		if bound > usual {
			s := settings.Size(bound)
			args = append(args, "--replay-memory", s.String())
		}
		if p.lifetime > token.MaxLifetime {
			args = append(args, "--max-lifetime", p.lifetime.String())
		}
		if saySkew {
			args = append(args, "--skew", p.skew.String())
		}
		return cli.Line(args...)
	}
	p.Memory.Next = command("memory", p.Memory.Bound, memory.DefaultBytes)
	p.Journal.Next = command("journal:", p.Journal.Bound, journal.DefaultBytes)
	p.Redis.Next = command("rediss://USER:PASSWORD@HOST:6379", 0, 0)
	p.Postgres.Next = command("postgres://USER:PASSWORD@HOST/DATABASE?sslmode=verify-full", 0, 0)
}

// warn adds a warning for each limit that the load exceeds.
func (p *plan) warn() {
	warnf := func(format string, args ...any) { p.Warnings = append(p.Warnings, fmt.Sprintf(format, args...)) }
	bound := func(store string, needed, usual int64) {
		if needed > usual {
			warnf("%s: the default bound of %s is too little; give --replay-memory, "+
				"because a full store admits no one-time ticket", store, humanize.IBytes(uint64(usual)))
		}
	}
	bound("memory", p.Memory.Bound, memory.DefaultBytes)
	bound("journal", p.Journal.Bound, journal.DefaultBytes)
	for _, store := range []struct {
		name, remedy string
		ceiling
	}{
		{"memory", "; split the brands over several services", p.Memory.ceiling},
		{"journal", ", or give a shared store", p.Journal.ceiling},
		{"redis", fmt.Sprintf(", or give a Cluster of %d shards, each with at most %d of the %d buckets",
			p.Redis.Shards, p.Redis.Buckets, redisstore.Buckets), p.Redis.ceiling},
		{"postgres", ", or give redis", p.Postgres.ceiling},
	} {
		if store.Load > 1 {
			warnf("%s: more than the ceiling of %s redemptions a second; measure your machine and give --ceiling %s=RATE%s",
				store.name, humanize.Commaf(store.Claims), store.name, store.remedy)
		}
	}
	if p.Redis.Load > redisstore.Buckets {
		warnf("redis: the %d buckets of a realm are too few for the rate; split the brands over several realms",
			redisstore.Buckets)
	}
	if p.lifetime > token.MaxLifetime {
		warnf("tickets live no longer than %v unless --max-lifetime, and the ticket keyring's lifetime, are raised",
			token.MaxLifetime)
	}
}
