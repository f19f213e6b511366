package directory

import (
	"cmp"
	"context"
	"slices"
)

// A Channel is one place of a brand where its customers enter. Its settings, where
// it has any, take precedence over the brand's.
type Channel struct {
	Brand string
	ID    string // unique in the brand; at most 64 bytes
	Name  string // for operators; at most 100 bytes; may be empty

	// The CustomerLifetime may not exceed the MaxLifetime where both are set.
	Settings
}

var channels = table[Channel]{
	kind: "channel", name: "channel", keys: 2,
	columns: slices.Concat([]string{"brand", "id", "name"}, settingColumns),
	fields: func(c *Channel) []any {
		return append([]any{&c.Brand, &c.ID, &c.Name}, c.Settings.fields()...)
	},
	label:   func(c *Channel) string { return c.ID },
	prepare: (*Channel).prepare,
}

func (c *Channel) prepare() error {
	longest := cmp.Or(c.MaxLifetime, c.CustomerLifetime) // without its own, the brand's holds
	return cmp.Or(
		checkName("brand", c.Brand, maxBrand),
		checkName("channel", c.ID, maxChannel),
		checkText("name", c.Name, maxName),
		c.Settings.prepare(),
		checkLifetime("maxLifetime", c.MaxLifetime, c.MaxLifetime),
		checkLifetime("customerLifetime", c.CustomerLifetime, longest))
}

// AddChannel adds a channel. The error wraps ErrExists when the brand has one of
// this ID, and ErrNotFound when there is no such brand.
func (db *DB) AddChannel(ctx context.Context, c Channel) error { return channels.add(ctx, db, &c) }

// UpdateChannel lets edit change the channel, as UpdateBrand does.
func (db *DB) UpdateChannel(ctx context.Context, brand, id string, edit func(*Channel) error) (Channel, error) {
	return channels.update(ctx, db, edit, brand, id)
}

// Channel looks a channel of the brand up by its ID. The error wraps ErrNotFound
// when there is none.
func (db *DB) Channel(ctx context.Context, brand, id string) (Channel, error) {
	v, err := channels.get(ctx, db.read, brand, id)
	return v.record, err
}

// Channels lists up to limit channels of the brand, in the order of their IDs.
func (db *DB) Channels(ctx context.Context, brand, after string, limit int) ([]Channel, error) {
	if _, err := db.Brand(ctx, brand); err != nil {
		return nil, err
	}
	return channels.page(ctx, db.read, []any{brand}, after, limit)
}

// RemoveChannel removes a channel. Its published URLs lead nowhere from then on.
func (db *DB) RemoveChannel(ctx context.Context, brand, id string) error {
	return channels.remove(ctx, db, brand, id)
}
