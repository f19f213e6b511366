package service

import (
	"context"
	"fmt"
	"log/slog"
	"time"
)

// lifetimesEvery is the time between two looks at the lifetimes in the directory.
const lifetimesEvery = time.Minute

// cappedLifetimes logs that a brand or channel allows a longer lifetime than the service.
// The service's own maximum holds.
type cappedLifetimes struct {
	longest func(context.Context) (d time.Duration, whose string, err error)
	max     time.Duration
	log     *slog.Logger
	told    string // the last brand or channel in the log, and its lifetime
}

// tell logs the longest lifetime over the maximum, if it is another than at the last call.
func (c *cappedLifetimes) tell(ctx context.Context) error {
	allowed, whose, err := c.longest(ctx)
	if err != nil {
		return fmt.Errorf("reading the settings: %w", err)
	}
	if whose == "" || allowed <= c.max {
		c.told = ""
		return nil
	}
	if now := fmt.Sprint(whose, allowed); c.told != now {
		c.told = now
		c.log.Warn("a longer lifetime is allowed than the service issues or accepts; the service's own maximum holds. "+
			"Raise it with --max-lifetime, or lower the other", "allowed_by", whose, "allowed_ms", allowed.Milliseconds(),
			"max_lifetime_ms", c.max.Milliseconds())
	}
	return nil
}

// keep calls tell until ctx is done. An outage of the directory is told elsewhere.
func (c *cappedLifetimes) keep(ctx context.Context) {
	tick := time.NewTicker(lifetimesEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			_ = c.tell(ctx)
		}
	}
}
