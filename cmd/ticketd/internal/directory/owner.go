package directory

import (
	"context"
	"crypto/rand"
	"strings"
	"time"
)

// newRecordID returns a random ID for the record of an agent, a customer or a channel. A
// session belongs to the record with this ID, and not to a name. An agent who is removed
// and added, or made inactive and active again, has another ID: the sessions of before are
// over. So are the sessions of a channel that is removed and added.
func newRecordID() string { return rand.Text() }

// AgentOfSession looks up an agent, active or not, and the SessionsSince of the brand,
// in one statement. If the agent does not exist, the error wraps ErrNotFound.
func (db *DB) AgentOfSession(ctx context.Context, brand, username string) (a Agent, since time.Time, err error) {
	return ownerOfSession(ctx, db, &agents, "", nil, brand, UsernameKey(username))
}

// CustomerOfSession looks up a customer, the RecordID of a channel and the SessionsSince of
// the brand, in one statement. If the customer or the channel does not exist, the error
// wraps ErrNotFound.
func (db *DB) CustomerOfSession(
	ctx context.Context, brand string, id int64, channel string,
) (c Customer, record string, since time.Time, err error) {
	const column = ", COALESCE((SELECT record FROM channel WHERE brand = $1 AND id = $3), '')"
	c, since, err = ownerOfSession(ctx, db, &customers, column, []any{&record}, brand, id, channel)
	if err == nil && record == "" {
		err = notFound("channel", channel)
	}
	return c, record, since, err
}

// ownerOfSession looks up the record with a key in a table of a brand's people. more are
// further columns, and to is where these go. More arguments may follow the key.
func ownerOfSession[T any](
	ctx context.Context, db *DB, t *table[T], more string, to []any, key ...any,
) (record T, since time.Time, err error) {
	scan := func(r row) (v version[T], err error) {
		err = r.Scan(append(append(t.fields(&v.record), &v.revision, instant{&since}), to...)...)
		*t.revision(&v.record) = v.revision
		return v, err
	}
	query := strings.Replace(t.selected(), ", revision FROM", ", revision, "+
		"(SELECT sessions_since FROM brand WHERE name = $1)"+more+" FROM", 1) + t.where()
	v, err := t.find(ctx, db.read, scan, query, key...)
	return v.record, since, err
}

// EndAgentSessions ends the sessions of an agent, and returns the record with its new
// RecordID. Unspent tickets stay good. If the agent does not exist, the error wraps
// ErrNotFound.
func (db *DB) EndAgentSessions(ctx context.Context, brand, username string) (Agent, error) {
	renew := func(a *Agent) error { a.RecordID = newRecordID(); return nil }
	return agents.update(ctx, db, renew, brand, UsernameKey(username))
}

// EndCustomerSessions ends the sessions of a customer, as EndAgentSessions does.
func (db *DB) EndCustomerSessions(ctx context.Context, brand string, id int64) (Customer, error) {
	return customers.update(ctx, db, func(c *Customer) error { c.RecordID = newRecordID(); return nil }, brand, id)
}
