package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify/web"
)

const (
	ownerKnown = 5 * time.Second // how long an answer of the directory about a session's owner counts
	ownerStale = time.Minute     // the same while the directory cannot be asked
	ownerTime  = 2 * time.Second // the time limit of a question
	maxOwners  = 10_000
)

// owners keeps the records of the people to whom sessions belong, as the directory
// described them a moment ago.
type owners struct {
	directory *directory.DB
	ended     func(web.Session) bool
	log       *slog.Logger
	now       func() time.Time
	mu        sync.Mutex
	known     map[ownerKey]owner
}

// An ownerKey names a person and one record of that person, of a customer the channel of
// the session, and the issuer of its ticket. Since the record is part of
// the key, an answer about a removed record does not count for a new record of the same
// name.
type ownerKey struct {
	audience                             token.Audience
	brand, channel, user, record, issuer string
}

// An owner is the answer of the directory about an ownerKey.
type owner struct {
	person web.Session // what a session tells of the person
	over   bool        // the record or the channel is gone, inactive or another
	since  time.Time   // sessions that began earlier are over
	asked  time.Time
}

// Refresh returns a web.SessionConfig.Refresh. A session is over if its record is gone or
// inactive, if the name belongs to another record now, or if the session began before
// the SessionsSince of its brand. A customer's session is also over if its channel is gone
// or was made again. Name, email address and groups are those of the
// record. The sessions of a named issuer's tickets are over if ended says so: at once. They are
// also over if they began before the time that the directory has for the issuer. A change in the
// directory takes effect within 5 seconds. While the directory cannot be asked,
// its last answer counts for a minute; then Refresh cannot tell.
func Refresh(
	d *directory.DB, ended func(web.Session) bool, log *slog.Logger, now func() time.Time,
) func(context.Context, web.Session) (web.Session, error) {
	o := &owners{directory: d, ended: ended, log: log, now: now, known: make(map[ownerKey]owner)}
	return o.refresh
}

func (o *owners) refresh(ctx context.Context, s web.Session) (web.Session, error) {
	if s.Issuer != "" && o.ended(s) {
		return s, web.ErrNoSession
	}
	found, err := o.find(ctx, ownerKey{s.Audience, s.Brand, s.Channel, s.User, s.Record, s.Issuer}, s.Entered)
	switch {
	case err != nil:
		return s, fmt.Errorf("whether the session is still good cannot be told: %w", err)
	case found.over || s.Entered.Before(found.since):
		return s, web.ErrNoSession
	}
	s.Name, s.Email, s.Groups = found.person.Name, found.person.Email, found.person.Groups
	return s, nil
}

// find returns a recent answer of the directory. An answer from before the entry does not
// count: the ticket may have changed the record.
func (o *owners) find(ctx context.Context, key ownerKey, entered time.Time) (owner, error) {
	now := o.now()
	o.mu.Lock()
	last, ok := o.known[key]
	o.mu.Unlock()
	counts := func(d time.Duration) bool { return ok && !now.Before(last.asked) && now.Sub(last.asked) < d }
	if counts(ownerKnown) && last.asked.After(entered.Add(time.Millisecond)) {
		return last, nil
	}
	found, err := o.ask(ctx, key)
	if err != nil {
		o.log.Error("whether a session is still good cannot be told", "brand", key.brand, "error", err)
		if counts(ownerStale) {
			return last, nil
		}
		return owner{}, err
	}
	found.asked = now
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.known) >= maxOwners {
		clear(o.known)
	}
	o.known[key] = found
	return found, nil
}

// ask asks the directory. The answer serves other requests too, so that it does not end
// with this one.
func (o *owners) ask(ctx context.Context, key ownerKey) (found owner, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), ownerTime)
	defer cancel()
	switch key.audience {
	case token.Agent:
		var a directory.Agent
		a, found.since, err = o.directory.AgentOfSession(ctx, key.brand, key.user)
		describeAgent(&found.person, a)
		found.over = !a.Active
	case token.Customer:
		id, invalid := strconv.ParseInt(key.user, 10, 64)
		if invalid != nil {
			return owner{over: true}, nil
		}
		var c directory.Customer
		var channelRecord string
		c, channelRecord, found.since, err = o.directory.CustomerOfSession(ctx, key.brand, id, key.channel)
		describeCustomer(&found.person, c, channelRecord)
	default: // the sessions of administrators are the console's
		return owner{over: true}, nil
	}
	switch {
	case errors.Is(err, directory.ErrNotFound):
		return owner{over: true}, nil
	case err != nil:
		return owner{}, err
	}
	found.over = found.over || found.person.Record != key.record
	if key.issuer == "" || found.over {
		return found, nil
	}
	since, err := o.directory.IssuerSessionsSince(ctx, key.issuer)
	if since.After(found.since) {
		found.since = since
	}
	return found, err
}
