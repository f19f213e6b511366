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
	ownerKnown = 5 * time.Second // for how long what the directory said of a session's owner is good
	ownerStale = time.Minute     // and for how long where it cannot be asked
	maxOwners  = 10_000
)

// never is later than any session began.
var never = time.Unix(1<<40, 0)

// owners know since when sessions of somebody are good, from the directory.
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

// NotBefore returns a web.SessionConfig.NotBefore: sessions end when their brand's
// SessionsSince says so, and agents' also when the agent is gone or inactive. That
// takes effect within 5 seconds. Where the directory cannot be asked, the last
// answer counts for a minute, and then no session is good.
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
	fresh := func(v since, d time.Duration) bool { return !now.Before(v.asked) && now.Sub(v.asked) < d }
	o.mu.Lock()
	v, ok := o.known[who]
	o.mu.Unlock()
	if ok && fresh(v, ownerKnown) {
		return v.good
	}
	good, err := o.ask(who)
	if err != nil {
		o.log.Error("whether a session is still good cannot be told", "brand", who.brand, "error", err)
		if ok && fresh(v, ownerStale) {
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

// ask asks the directory.
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
