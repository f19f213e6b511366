package manage

import (
	"context"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
)

// A Channel is a channel with the address of its page.
type Channel struct {
	directory.Channel
	URL string
}

// withURL completes a channel.
func (d *Desk) withURL(c directory.Channel, err error) (Channel, error) {
	if err != nil {
		return Channel{}, err
	}
	url, err := d.office.ChatURL(c.Brand, c.ID)
	return Channel{c, url}, err
}

// Channels lists the channels of a brand.
func (d *Desk) Channels(ctx context.Context, brand string, p Page) (List[Channel], error) {
	if err := d.may("Channels", brand); err != nil {
		return List[Channel]{}, err
	}
	return listed(p, func(c *Channel) string { return c.ID }, func(after string, limit int) (all []Channel, err error) {
		found, err := d.db.Channels(ctx, brand, after, limit)
		for _, c := range found {
			complete, err := d.withURL(c, nil)
			if err != nil {
				return nil, err
			}
			all = append(all, complete)
		}
		return all, err
	})
}

// Channel looks up a channel.
func (d *Desk) Channel(ctx context.Context, brand, id string) (Channel, error) {
	if err := d.may("Channel", brand); err != nil {
		return Channel{}, err
	}
	return d.withURL(d.db.Channel(ctx, brand, id))
}

// AddChannel adds a channel, and returns the record.
func (d *Desk) AddChannel(ctx context.Context, brand string, c directory.Channel) (Channel, error) {
	if err := d.may("AddChannel", brand); err != nil {
		return Channel{}, err
	}
	c.Brand = brand
	if err := d.checkLanguage("", c.Language); err != nil {
		return Channel{}, err
	}
	if err := d.db.AddChannel(ctx, c); err != nil {
		return Channel{}, err
	}
	return d.withURL(d.db.Channel(ctx, brand, c.ID))
}

// ChangeChannel changes a channel by edit, as directory.DB.UpdateChannel does.
func (d *Desk) ChangeChannel(
	ctx context.Context, brand, id string, edit func(*directory.Channel) error,
) (Channel, error) {
	if err := d.may("ChangeChannel", brand); err != nil {
		return Channel{}, err
	}
	return d.withURL(d.db.UpdateChannel(ctx, brand, id, func(c *directory.Channel) error {
		was := c.Language
		if err := edit(c); err != nil {
			return err
		}
		return d.checkLanguage(was, c.Language)
	}))
}

// RemoveChannel removes a channel.
func (d *Desk) RemoveChannel(ctx context.Context, brand, id string) error {
	if err := d.may("RemoveChannel", brand); err != nil {
		return err
	}
	return d.db.RemoveChannel(ctx, brand, id)
}
