package directory

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// A Channel is one place of a brand where its customers enter. Its settings, where
// it has any, take precedence over the brand's.
type Channel struct {
	Brand string
	ID    string // unique in the brand; at most 64 bytes
	Name  string // for people; may be empty

	TicketLogin    *bool // nil: as the brand
	OneTimeDefault *bool // nil: as the brand

	// Whole milliseconds; 0: as the brand. The first may not exceed the second
	// where both are set.
	CustomerLifetime time.Duration
	MaxLifetime      time.Duration
}

// PutChannel creates the channel or replaces its settings. The error wraps
// ErrNotFound when there is no such brand.
func (db *DB) PutChannel(ctx context.Context, c Channel) error {
	if err := c.check(); err != nil {
		return err
	}
	_, err := db.write.ExecContext(ctx, `
		INSERT INTO channel (brand, id, name, ticket_login, one_time_default, customer_lifetime, max_lifetime)
		VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (brand, id) DO UPDATE SET
			name = excluded.name,
			ticket_login = excluded.ticket_login,
			one_time_default = excluded.one_time_default,
			customer_lifetime = excluded.customer_lifetime,
			max_lifetime = excluded.max_lifetime`,
		c.Brand, c.ID, c.Name, c.TicketLogin, c.OneTimeDefault,
		c.CustomerLifetime.Milliseconds(), c.MaxLifetime.Milliseconds())
	if isForeignKey(err) {
		return missing("brand", c.Brand)
	}
	if err != nil {
		return fmt.Errorf("directory: put channel: %w", err)
	}
	return nil
}

func (c Channel) check() error {
	longest := cmp.Or(c.MaxLifetime, c.CustomerLifetime) // without its own, the brand's holds
	return cmp.Or(
		checkName("brand", c.Brand, maxBrand),
		checkName("channel", c.ID, maxChannel),
		checkText("name", c.Name, maxName),
		checkLifetime("maxLifetime", c.MaxLifetime, 0, c.MaxLifetime),
		checkLifetime("customerLifetime", c.CustomerLifetime, 0, longest))
}

// Channel looks a channel of the brand up by its ID. The error wraps ErrNotFound
// when there is none.
func (db *DB) Channel(ctx context.Context, brand, id string) (Channel, error) {
	c := Channel{Brand: brand, ID: id}
	var lifetime, longest int64
	err := db.read.QueryRowContext(ctx, `
		SELECT name, ticket_login, one_time_default, customer_lifetime, max_lifetime
		FROM channel WHERE brand = $1 AND id = $2`, brand, id).
		Scan(&c.Name, &c.TicketLogin, &c.OneTimeDefault, &lifetime, &longest)
	if errors.Is(err, sql.ErrNoRows) {
		return Channel{}, missing("channel", id)
	}
	if err != nil {
		return Channel{}, fmt.Errorf("directory: look up channel: %w", err)
	}
	c.CustomerLifetime = time.Duration(lifetime) * time.Millisecond
	c.MaxLifetime = time.Duration(longest) * time.Millisecond
	return c, nil
}
