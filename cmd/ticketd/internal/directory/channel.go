package directory

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// A Channel is a place of a brand where its customers enter. The settings of a channel
// take precedence over the brand's.
type Channel struct {
	Brand string
	ID    string // unique in the brand; at most 64 bytes
	Name  string // for operators; at most 100 bytes; may be empty

	RecordID string // chosen by the directory; another whenever the channel is added

	// TicketsSince is as Agent.TicketsSince, for tickets that name the channel.
	TicketsSince time.Time

	Revision int64 // see DB.IfRevision; set by the directory

	// If both are set, CustomerLifetime is at most MaxLifetime.
	Settings
}

var channels = table[Channel]{
	kind: "channel", name: "channel", keys: 2,
	columns: slices.Concat([]string{"brand", "id", "name", "record", "tickets_since"}, settingColumns),
	fields: func(c *Channel) []any {
		return append([]any{&c.Brand, &c.ID, &c.Name, &c.RecordID, instant{&c.TicketsSince}}, c.Settings.fields()...)
	},
	label:    func(c *Channel) string { return c.ID },
	revision: func(c *Channel) *int64 { return &c.Revision },
	public:   true,
	prepare:  (*Channel).prepare,
}

func (c *Channel) prepare() error {
	if len(c.ReturnOrigins) > 0 { // else those of the brand hold, which may change
		if err := c.checkHome(c.ReturnOrigins); err != nil {
			return err
		}
	}
	longest := cmp.Or(c.MaxLifetime, c.CustomerLifetime) // 0: the brand's maximum, which may change, holds
	return cmp.Or(
		checkName("brand", c.Brand, maxBrand),
		checkName("channel", c.ID, maxChannel),
		checkText("name", c.Name, maxName),
		c.Settings.prepare(),
		checkLifetime("maxLifetime", c.MaxLifetime, c.MaxLifetime),
		checkLifetime("customerLifetime", c.CustomerLifetime, longest))
}

// AddChannel adds a channel with a new RecordID. If the brand has a channel with the ID,
// the error wraps ErrExists; if the brand does not exist, ErrNotFound.
func (db *DB) AddChannel(ctx context.Context, c Channel) error {
	c.RecordID, c.TicketsSince = newRecordID(), time.Time{}
	return channels.add(ctx, db, &c, func(ctx context.Context, tx *change) error {
		return returnChannel(ctx, tx, db.now(), c.Brand, c.ID)
	})
}

// UpdateChannel changes the channel by edit, as UpdateBrand does. RecordID and
// TicketsSince stay as they are.
func (db *DB) UpdateChannel(ctx context.Context, brand, id string, edit func(*Channel) error) (Channel, error) {
	return channels.update(ctx, db, func(c *Channel) error {
		was := *c
		err := edit(c)
		c.RecordID, c.TicketsSince = was.RecordID, was.TicketsSince
		return err
	}, brand, id)
}

// Channel looks up a channel of the brand by ID. If the channel does not exist, the
// error wraps ErrNotFound.
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

// RemoveChannel removes a channel. The published URLs of the channel then lead nowhere,
// and sessions that began in the channel are over.
func (db *DB) RemoveChannel(ctx context.Context, brand, id string) error {
	return channels.remove(ctx, db, func(ctx context.Context, tx *change) error {
		return depart(ctx, tx, db.now(), brand, channels.kind, id)
	}, brand, id)
}
