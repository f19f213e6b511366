package directory

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// The table departed has the names that were away: of removed brands, and of agents who
// were removed or made inactive. When such a name returns, tickets of before may still
// be unspent. So the new record has a TicketsSince, and no ticket issued before that
// time is good. A name that was never away has no TicketsSince.

// depart notes that agents of a brand are away, or with the username "" the brand.
func depart(ctx context.Context, tx querier, now time.Time, brand string, usernames ...string) error {
	if len(usernames) == 0 {
		return nil
	}
	rows := make([]string, len(usernames))
	args := []any{brand, wholeMillis(now).UnixMilli()}
	for i, name := range usernames {
		args = append(args, UsernameKey(name))
		rows[i] = fmt.Sprintf("($1, $2, $%d)", len(args))
	}
	_, err := exec(ctx, tx, "INSERT INTO departed (brand, since, username_fold) VALUES "+strings.Join(rows, ", ")+
		" ON CONFLICT (brand, username_fold) DO UPDATE SET since = excluded.since", args...)
	return err
}

// returnAgents sets the TicketsSince of those of the agents whose names were away, and
// returns the number of these. Call it after the write of the agents: the write waits
// for a concurrent removal, and this statement then sees that the name was away.
func returnAgents(ctx context.Context, tx querier, now time.Time, brand string, usernames ...string) (int64, error) {
	if len(usernames) == 0 {
		return 0, nil
	}
	args := []any{brand, wholeMillis(now).UnixMilli()}
	keys := make([]string, len(usernames))
	for i, name := range usernames {
		keys[i] = UsernameKey(name)
	}
	in := inList(&args, keys)
	return exec(ctx, tx, "UPDATE agent SET tickets_since = $2 WHERE brand = $1 AND username_fold "+in+
		" AND EXISTS (SELECT 1 FROM departed d WHERE d.brand = agent.brand AND d.username_fold = agent.username_fold)",
		args...)
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

// returnBrand sets the TicketsSince of a brand whose name was away.
func returnBrand(ctx context.Context, tx querier, now time.Time, name string) error {
	_, err := exec(ctx, tx, `UPDATE brand SET tickets_since = $2 WHERE name = $1
		AND EXISTS (SELECT 1 FROM departed WHERE brand = $1 AND username_fold = '')`, name, wholeMillis(now).UnixMilli())
	return err
}
