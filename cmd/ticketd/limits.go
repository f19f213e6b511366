package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"github.com/admitone/admitone/cmd/internal/cli"
	"github.com/admitone/admitone/cmd/ticketd/internal/api"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/ratelimit"
	"github.com/admitone/admitone/token"
)

// limitedKeys is how many API keys a process counts the requests of at least.
const limitedKeys = 10_000

// limits are the flags about who may call, from where and how often.
type limits struct {
	rate      float64
	burst     int
	store     string // URL of the Redis that counts; "": each process for itself
	proxies   string
	header    string
	parsed    api.Proxies
	intStatus bool
}

func (l *limits) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.Float64Var(&l.rate, "rate-limit", 50, "requests a `second` that an API key may make in the long run, if it has no limit of its own")
	f.IntVar(&l.burst, "rate-burst", 200, "`requests` that it may make at once, after a pause")
	f.StringVar(&l.store, "rate-store", "", "`URL` of a Redis (redis://…, rediss://…) in which several processes count together (default: each counts for itself)")
	f.StringVar(&l.proxies, "trusted-proxies", "", "`addresses` and networks of the proxies in front, separated by commas, whose word is taken for where a request came from (default: none)")
	f.StringVar(&l.header, "proxy-header", "X-Forwarded-For", "the `header` in which they say it, X-Forwarded-For or Forwarded; it must be the one that they write")
	f.BoolVar(&l.intStatus, "integer-status", false, "make the status in answers of /auth/ a number instead of text")
}

func (l *limits) check() error {
	if !(l.rate >= 0.001 && l.rate <= 1e6) {
		return cli.Usagef("--rate-limit %v is not from 0.001 to 1000000", l.rate)
	}
	if l.burst < 1 || l.burst > 1e6 {
		return cli.Usagef("--rate-burst %d is not from 1 to 1000000", l.burst)
	}
	if l.store != "" {
		err := ratelimit.RedisConfig{URL: l.store}.Check()
		if wrong, ok := errors.AsType[*token.ConfigError](err); ok {
			return cli.Usagef("--rate-store %s", wrong.Reason)
		}
	}
	networks, err := directory.ParseAddresses(l.proxies)
	if err != nil {
		return cli.Usagef("--trusted-proxies: %w", err)
	}
	forwarded := strings.EqualFold(l.header, "Forwarded")
	if !forwarded && !strings.EqualFold(l.header, "X-Forwarded-For") {
		return cli.Usagef("--proxy-header %q is neither X-Forwarded-For nor Forwarded", l.header)
	}
	l.parsed = api.Proxies{Trusted: networks, Forwarded: forwarded}
	return nil
}

// openLimiter opens what counts the requests of API keys.
func (s *service) openLimiter(ctx context.Context, log *slog.Logger) (ratelimit.Limiter, error) {
	if s.opts.limits.store == "" {
		return ratelimit.NewLocal(limitedKeys, nil), nil
	}
	r, err := ratelimit.OpenRedis(ctx, ratelimit.RedisConfig{URL: s.opts.limits.store, Realm: s.opts.realm, Log: log})
	if err != nil {
		return nil, fmt.Errorf("--rate-store: %w", err)
	}
	s.closers = append(s.closers, r)
	return r, nil
}
