package manage

import (
	"context"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
)

// Agents lists the agents of a brand.
func (d *Desk) Agents(ctx context.Context, brand string, p Page) (List[directory.Agent], error) {
	if err := d.may("Agents", brand); err != nil {
		return List[directory.Agent]{}, err
	}
	return listed(p, func(a *directory.Agent) string { return a.Username },
		func(after string, limit int) ([]directory.Agent, error) { return d.db.Agents(ctx, brand, after, limit) })
}

// SearchAgents lists up to limit agents of a brand who match a text, as
// directory.DB.SearchAgents does. more is whether there are others.
func (d *Desk) SearchAgents(
	ctx context.Context, brand, text string, limit int,
) (all []directory.Agent, more bool, err error) {
	if err := d.may("SearchAgents", brand); err != nil {
		return nil, false, err
	}
	list, err := listed(Page{Limit: limit}, func(*directory.Agent) string { return "more" },
		func(_ string, limit int) ([]directory.Agent, error) {
			return d.db.SearchAgents(ctx, brand, text, limit)
		})
	return list.Items, list.Next != "", err
}

// Agent looks up an agent.
func (d *Desk) Agent(ctx context.Context, brand, username string) (directory.Agent, error) {
	if err := d.may("Agent", brand); err != nil {
		return directory.Agent{}, err
	}
	return d.db.Agent(ctx, brand, username)
}

// AddAgent adds an agent, and returns the record. The phone number may be in a form of the
// brand's region.
func (d *Desk) AddAgent(ctx context.Context, brand string, a directory.Agent) (directory.Agent, error) {
	if err := d.may("AddAgent", brand); err != nil {
		return directory.Agent{}, err
	}
	region, err := d.region(ctx, brand)
	if err != nil {
		return directory.Agent{}, err
	}
	if err := readPhone(&a.Phone1, region); err != nil {
		return directory.Agent{}, err
	}
	a.Brand = brand
	if err := d.db.AddAgent(ctx, a); err != nil {
		return directory.Agent{}, err
	}
	return d.db.Agent(ctx, brand, a.Username)
}

// ChangeAgent changes an agent by edit, as directory.DB.UpdateAgent does. The phone number
// may be in a form of the brand's region.
func (d *Desk) ChangeAgent(
	ctx context.Context, brand, username string, edit func(*directory.Agent) error,
) (directory.Agent, error) {
	if err := d.may("ChangeAgent", brand); err != nil {
		return directory.Agent{}, err
	}
	region, err := d.region(ctx, brand)
	if err != nil {
		return directory.Agent{}, err
	}
	return d.db.UpdateAgent(ctx, brand, username, func(a *directory.Agent) error {
		if err := edit(a); err != nil {
			return err
		}
		return readPhone(&a.Phone1, region)
	})
}

// RemoveAgent removes an agent.
func (d *Desk) RemoveAgent(ctx context.Context, brand, username string) error {
	if err := d.may("RemoveAgent", brand); err != nil {
		return err
	}
	return d.db.RemoveAgent(ctx, brand, username)
}

// EndAgentSessions ends the sessions of an agent.
func (d *Desk) EndAgentSessions(ctx context.Context, brand, username string) (directory.Agent, error) {
	if err := d.may("EndAgentSessions", brand); err != nil {
		return directory.Agent{}, err
	}
	return d.db.EndAgentSessions(ctx, brand, username)
}

// region returns the region of a brand's phone numbers.
func (d *Desk) region(ctx context.Context, brand string) (string, error) {
	b, err := d.db.Brand(ctx, brand)
	return b.Region, err
}

// readPhone writes a phone number in the E.164 form. The empty number stays empty.
func readPhone(phone *string, region string) (err error) {
	if *phone != "" {
		*phone, err = directory.E164(*phone, region)
	}
	return err
}
