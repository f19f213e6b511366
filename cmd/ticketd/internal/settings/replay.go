package settings

import (
	"errors"
	"io/fs"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/cmd/ticketd/internal/api"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/service"
	"github.com/admitone/admitone/verify/replay"
)

// addReplayFlags adds the flags about where redeemed one-time tickets are remembered.
func addReplayFlags(f *pflag.FlagSet, r *service.Replay, store string) {
	f.StringVar(&r.URI, "replay", store,
		"`store` that remembers redeemed one-time tickets: memory, journal:DIR (journal: alone is DATA/replay), "+
			"redis://…, rediss://… or postgres://…")
	f.Var((*Size)(&r.MaxBytes), "replay-memory",
		"largest `SIZE` in memory of a memory or journal store; a full store admits no one-time ticket "+
			"(default 64MiB for memory, 256MiB for a journal; see ticketd replay plan)")
	f.DurationVar(&r.Timeout, "replay-timeout", 0,
		"time limit for the answer of a redis or postgres store to a redemption, "+
			"at most 4s (default 1s for redis, 3s for postgres)")
	f.BoolVar(&r.Durable, "replay-durable", false,
		"refuse no good ticket after a restart of a redis store. "+
			"Only for servers with appendonly yes and appendfsync always, "+
			"and with every replica that may take over counted in --replay-wait; other servers would admit tickets twice")
	f.IntVar(&r.Wait, "replay-wait", 0,
		"`number` of replicas of a redis store that must have a ticket's claim before the ticket is admitted (default 0)")
	f.StringVar(&r.CAFile, "replay-ca", "",
		"PEM `FILE` with the authorities to trust for a rediss store, in place of the system's "+
			"(for postgres, write sslrootcert=FILE into the URL)")
}

// The bounds of the flags. The stores themselves accept no less. After a longer wait, a
// client whose answer was lost would repeat the request too late.
const (
	minReplayMemory  = 64 << 10
	minReplayTimeout = 10 * time.Millisecond
	maxReplayTimeout = api.ClaimTime
)

// replayFaults refuses wrong values, and flags without a meaning for the store. The
// errors do not quote the URI, because the URI may hold a password.
func replayFaults(f *pflag.FlagSet, r service.Replay) (all []error) {
	kind := r.Kind()
	scheme, _, _ := strings.Cut(r.URI, ":")
	add := func(name, format string, args ...any) { all = append(all, cli.Flagf(name, format, args...)) }
	if kind == "" || kind == service.Journal && !directory.IsPath(strings.TrimPrefix(r.URI, "journal:")) {
		add("replay", "is memory, journal:DIR, redis://…, rediss://… or postgres://…")
		return all // the others depend on it
	}
	switch {
	case !f.Changed("replay-memory"):
	case kind == service.Redis:
		add("replay-memory", "is for memory and journal stores; "+
			"bound Redis by its own maxmemory, with maxmemory-policy noeviction")
	case kind == service.Postgres:
		add("replay-memory", "is for memory and journal stores; the claims of a postgres store are on its disk")
	case r.MaxBytes < minReplayMemory:
		add("replay-memory", "is less than 64KiB; ticketd replay plan says how much is needed")
	}
	switch {
	case f.Changed("replay-timeout") && !kind.Shared():
		add("replay-timeout", "is for redis and postgres stores; a %s store waits for no server", kind)
	case f.Changed("replay-timeout") && r.Timeout < minReplayTimeout:
		add("replay-timeout", "%v is less than %v", r.Timeout, minReplayTimeout)
	case r.Timeout > maxReplayTimeout:
		add("replay-timeout", "%v is more than %v; after a longer wait, "+
			"a client that repeats the request could not get its answer within %v of the redemption",
			r.Timeout, maxReplayTimeout, replay.Grace)
	}
	switch {
	case r.Durable && (kind == service.Journal || kind == service.Postgres):
		add("replay-durable", "is for redis stores; a %s store is durable without it", kind)
	case r.Durable && kind != service.Redis:
		add("replay-durable", "is for redis stores; for a store that survives a restart give --replay journal:DIR")
	}
	switch {
	case f.Changed("replay-wait") && kind == service.Postgres:
		add("replay-wait", "is for redis stores; PostgreSQL waits as its synchronous_standby_names says")
	case f.Changed("replay-wait") && kind != service.Redis:
		add("replay-wait", "is for redis stores; a %s store has no replicas", kind)
	case r.Wait < 0:
		add("replay-wait", "%d is less than 0", r.Wait)
	}
	switch {
	case r.CAFile != "" && kind == service.Postgres:
		add("replay-ca", "is for rediss stores; "+
			"for PostgreSQL write sslrootcert=FILE and sslmode=verify-full into the URL")
	case r.CAFile != "" && scheme != "rediss" && scheme != "valkeys":
		add("replay-ca", "is for connections with TLS; give --replay rediss://…")
	}
	if len(all) == 0 { // a store that checks itself would tell some of them again
		all = append(all, checkReplayServer(r))
	}
	return all
}

// checkReplayServer has a shared store check its configuration. An unreadable file
// passes: the file may exist when the store is opened.
func checkReplayServer(r service.Replay) (err error) {
	switch r.Kind() {
	case service.Redis:
		err = r.Redis("", nil).Check()
	case service.Postgres:
		err = r.Postgres("", nil).Check()
	}
	if _, ok := errors.AsType[*fs.PathError](err); ok || err == nil {
		return nil
	}
	return cli.Usage(err)
}
