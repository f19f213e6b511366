package directory

import (
	"context"
	"crypto/rand"
	"strings"
	"time"
)

// newRecordID returns a random ID for the record of an agent or a customer. A session
// belongs to the record with this ID, and not to a name. An agent who is removed and
// added, or made inactive and active again, has another ID: the sessions of before are
// over.
func newRecordID() string { return rand.Text() }

// AgentOfSession looks up an agent, active or not, and the SessionsSince of the brand,
// in one statement. If the agent does not exist, the error wraps ErrNotFound.
func (db *DB) AgentOfSession(ctx context.Context, brand, username string) (a Agent, since time.Time, err error) {
	return ownerOfSession(ctx, db, &agents, brand, UsernameKey(username))
}

// CustomerOfSession looks up a customer and the SessionsSince of the brand, in one
// statement. If the customer does not exist, the error wraps ErrNotFound.
func (db *DB) CustomerOfSession(ctx context.Context, brand string, id int64) (c Customer, since time.Time, err error) {
	return ownerOfSession(ctx, db, &customers, brand, id)
}

// ownerOfSession looks up the record with a key in a table of a brand's people.
func ownerOfSession[T any](
	ctx context.Context, db *DB, t *table[T], key ...any,
) (record T, since time.Time, err error) {
	scan := func(r row) (v version[T], err error) {
		return v, r.Scan(append(t.fields(&v.record), &v.revision, instant{&since})...)
	}
	query := strings.Replace(t.selected(), ", revision FROM", ", revision, "+
		"(SELECT sessions_since FROM brand WHERE name = $1) FROM", 1) + t.where()
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
