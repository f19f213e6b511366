package api

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify/web"
)

const (
	ownerKnown = 5 * time.Second // time for which the directory's answer about an owner is good
	ownerStale = time.Minute     // the same, if the directory cannot be asked
	maxOwners  = 10_000
)

// never is later than the beginning of any session.
var never = time.Unix(1<<40, 0)

// owners know from the directory since when the sessions of an owner are good.
type owners struct {
	directory *directory.DB
	log       *slog.Logger
	now       func() time.Time
	mu        sync.Mutex
	known     map[owner]since
}

type owner struct {
	brand string
	agent string // "": a customer of the brand
}

type since struct{ good, asked time.Time }

// NotBefore returns a web.SessionConfig.NotBefore. Sessions end at their brand's
// SessionsSince, and an agent's also when the agent is gone or inactive. A change takes
// effect within 5 seconds. If the directory cannot be asked, the last answer counts for a
// minute, and then no session is good.
func NotBefore(d *directory.DB, log *slog.Logger, now func() time.Time) func(web.Session) time.Time {
	o := &owners{directory: d, log: log, now: now, known: make(map[owner]since)}
	return o.notBefore
}

func (o *owners) notBefore(s web.Session) time.Time {
	who := owner{brand: s.Brand}
	if s.Audience == token.Agent {
		who.agent = s.User
	}
	now := o.now()
	within := func(v since, d time.Duration) bool { return !now.Before(v.asked) && now.Sub(v.asked) < d }
	o.mu.Lock()
	v, ok := o.known[who]
	o.mu.Unlock()
	if ok && within(v, ownerKnown) {
		return v.good
	}
	good, err := o.ask(who)
	if err != nil {
		o.log.Error("whether a session is still good cannot be told", "brand", who.brand, "error", err)
		if ok && within(v, ownerStale) {
			return v.good
		}
		return never
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.known) >= maxOwners {
		clear(o.known)
	}
	o.known[who] = since{good, now}
	return good
}

// ask reads from the directory.
func (o *owners) ask(who owner) (time.Time, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	brand, err := o.directory.Brand(ctx, who.brand)
	if err == nil && who.agent != "" {
		var a directory.Agent
		if a, err = o.directory.Agent(ctx, who.brand, who.agent); err == nil && !a.Active {
			return never, nil
		}
	}
	switch {
	case errors.Is(err, directory.ErrNotFound):
		return never, nil
	case err != nil:
		return never, err
	}
	return brand.SessionsSince, nil
}
