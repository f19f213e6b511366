package directory

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// The table departed has the names that were away: of removed brands and channels, and of
// agents who were removed or made inactive. When such a name returns, tickets of before
// may still be unspent. So the new record has a TicketsSince, and no ticket issued before
// that time is good. A name that was never away has no TicketsSince. See also beginAnew.

// depart notes that names of a kind are away, as the names are compared.
func depart(ctx context.Context, tx *change, now time.Time, brand, kind string, names ...string) error {
	if len(names) == 0 {
		return nil
	}
	rows := make([]string, len(names))
	args := []any{brand, wholeMillis(now).UnixMilli(), kind}
	for i, name := range names {
		args = append(args, name)
		rows[i] = fmt.Sprintf("($1, $2, $3, $%d)", len(args))
	}
	_, err := exec(ctx, tx, "INSERT INTO departed (brand, since, kind, name) VALUES "+strings.Join(rows, ", ")+
		" ON CONFLICT (brand, kind, name) DO UPDATE SET since = excluded.since", args...)
	return err
}

// departAgents notes that agents of a brand are away.
func departAgents(ctx context.Context, tx *change, now time.Time, brand string, usernames ...string) error {
	return depart(ctx, tx, now, brand, agents.kind, usernameKeys(usernames)...)
}

func usernameKeys(usernames []string) []string {
	keys := make([]string, len(usernames))
	for i, name := range usernames {
		keys[i] = UsernameKey(name)
	}
	return keys
}

// returnAgents sets the TicketsSince of those of the agents whose names were away, and
// returns the number of these. Call it after the write of the agents: the write waits
// for a concurrent removal, and this statement then sees that the name was away.
func returnAgents(ctx context.Context, tx *change, now time.Time, brand string, usernames ...string) (int64, error) {
	if len(usernames) == 0 {
		return 0, nil
	}
	args := []any{brand, wholeMillis(now).UnixMilli()}
	in := inList(&args, usernameKeys(usernames))
	return exec(ctx, tx, "UPDATE agent SET tickets_since = $2 WHERE brand = $1 AND username_fold "+in+
		" AND EXISTS (SELECT 1 FROM departed d WHERE d.brand = agent.brand AND d.kind = 'agent'"+
		" AND d.name = agent.username_fold)", args...)
}

// inList appends texts to the arguments of a query, and returns the condition IN.
func inList(args *[]any, texts []string) string {
	parts := make([]string, len(texts))
	for i, text := range texts {
		*args = append(*args, text)
		parts[i] = fmt.Sprintf("$%d", len(*args))
	}
	return "IN (" + strings.Join(parts, ", ") + ")"
}

// anyBrand is the kind of the row that stands for all brands: the directory was restored from a
// copy, and a brand of the time since may be missing in the copy.
const anyBrand = "any brand"

// Restored returns the time when the directory was restored from a backup last, or zero.
func (db *DB) Restored(ctx context.Context) (at time.Time, err error) {
	_, err = list(ctx, db.read, func(r row) (none struct{}, err error) { return none, r.Scan(instant{&at}) },
		`SELECT since FROM departed WHERE brand = '' AND kind = $1`, anyBrand)
	return at, failed("look up the last restore", err)
}

// returnBrand sets the TicketsSince of a brand whose name was away, or may have been.
func returnBrand(ctx context.Context, tx *change, now time.Time, name string) error {
	_, err := exec(ctx, tx, `UPDATE brand SET tickets_since = $2 WHERE name = $1
		AND EXISTS (SELECT 1 FROM departed WHERE (brand = $1 AND kind = 'brand') OR (brand = '' AND kind = 'any brand'))`,
		name, wholeMillis(now).UnixMilli())
	return err
}

// returnChannel sets the TicketsSince of a channel whose name was away. As with
// returnAgents, call it after the write of the channel.
func returnChannel(ctx context.Context, tx *change, now time.Time, brand, id string) error {
	_, err := exec(ctx, tx, `UPDATE channel SET tickets_since = $3 WHERE brand = $1 AND id = $2
		AND EXISTS (SELECT 1 FROM departed WHERE brand = $1 AND kind = 'channel' AND name = $2)`,
		brand, id, wholeMillis(now).UnixMilli())
	return err
}
