package manage

import (
	"context"
	"sync"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/keyring"
)

// RevokeTicket makes the service refuse a ticket of a brand from now on.
func (d *Desk) RevokeTicket(ctx context.Context, brand, id string) error {
	if err := d.may("RevokeTicket", brand); err != nil {
		return err
	}
	parsed, err := directory.ParseTicketID(id)
	if err != nil {
		return err
	}
	return d.db.RevokeTicket(ctx, brand, parsed)
}

// Events lists events of the audit trail, the newest first. A caller of named brands names
// one of them in the filter.
func (d *Desk) Events(ctx context.Context, f directory.EventFilter, p Page) (List[directory.Event], error) {
	if err := d.may("Events", ""); err != nil {
		return List[directory.Event]{}, err
	}
	switch {
	case d.caller.AllBrands:
	case f.AllBrands || f.Brand == "":
		return List[directory.Event]{}, &ForbiddenError{
			"events of all brands and of the deployment are for administrators and API keys of all brands; name a brand"}
	case !d.caller.has(f.Brand):
		return List[directory.Event]{}, notFound("brand", f.Brand)
	}
	limit := p.Limit
	if limit == 0 {
		limit = DefaultLimit
	}
	if limit < 0 || limit > MaxLimit {
		_, err := listed[directory.Event](p, nil, nil)
		return List[directory.Event]{}, err
	}
	page, err := d.db.Events(ctx, f, p.After, limit)
	return List[directory.Event]{Items: page.Events, Next: page.Next}, err
}

// Keyrings returns the states of the keyrings, without keys.
func (d *Desk) Keyrings(context.Context) ([]keyring.Report, error) {
	if err := d.may("Keyrings", ""); err != nil {
		return nil, err
	}
	return d.office.Keyrings(), nil
}

// Health asks the parts of the service that requests need. Problem is "" for a part that
// answers.
func (d *Desk) Health(ctx context.Context) ([]Condition, error) {
	if err := d.may("Health", ""); err != nil {
		return nil, err
	}
	all := make([]Condition, len(d.office.Health))
	var wg sync.WaitGroup
	for i, check := range d.office.Health {
		wg.Go(func() {
			all[i] = Condition{Name: check.Name, OK: true}
			if err := check.Ask(ctx); err != nil {
				all[i].OK, all[i].Problem = false, err.Error()
			}
		})
	}
	wg.Wait()
	return all, nil
}

// A Condition is the state of a part of the service.
type Condition struct {
	Name    string `json:"name"`
	OK      bool   `json:"ok"`
	Problem string `json:"problem"` // "": none
}

// Settings returns the settings of the service, without secrets.
func (d *Desk) Settings(context.Context) ([]Setting, error) {
	if err := d.may("Settings", ""); err != nil {
		return nil, err
	}
	return d.office.Settings, nil
}
