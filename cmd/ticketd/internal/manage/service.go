package manage

import (
	"cmp"
	"context"
	"sync"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/keyring"
)

// RevokeTicket makes the service refuse a ticket of a brand and an issuer from now on. The
// issuer "" stands for the service's own tickets. An issuer that nobody knows is a
// *directory.FieldError.
func (d *Desk) RevokeTicket(ctx context.Context, brand, issuer, id string) error {
	if err := d.may("RevokeTicket", brand); err != nil {
		return err
	}
	parsed, err := directory.ParseTicketID(id)
	if err != nil {
		return err
	}
	if issuer != d.office.Issuer {
		if err := d.db.CheckIssuer(ctx, issuer); err != nil {
			return err
		}
	}
	return d.db.RevokeTicket(ctx, brand, cmp.Or(issuer, d.office.Issuer), parsed)
}

// Events lists events of the audit trail, the newest first. A caller of named brands names
// one of them in the filter.
func (d *Desk) Events(ctx context.Context, f directory.EventFilter, p Page) (List[directory.Event], error) {
	if err := d.mayRead("Events", f); err != nil {
		return List[directory.Event]{}, err
	}
	limit, err := p.limit()
	if err != nil {
		return List[directory.Event]{}, err
	}
	page, err := d.db.Events(ctx, f, p.After, limit)
	return List[directory.Event]{Items: page.Events, Next: page.Next}, err
}

// NewEvents lists events that were written after the event with the ID after, as
// directory.DB.NewEvents does, with the rights of Events. last is the ID to go on with. With a
// negative ID there are no events, and last is that of the newest event.
func (d *Desk) NewEvents(
	ctx context.Context, f directory.EventFilter, after int64, limit int,
) (all []directory.Event, last int64, err error) {
	if err := d.mayRead("NewEvents", f); err != nil {
		return nil, 0, err
	}
	if limit, err = (Page{Limit: limit}).limit(); err != nil {
		return nil, 0, err
	}
	if after < 0 {
		last, err = d.db.LastEvent(ctx)
		return nil, last, err
	}
	return d.db.NewEvents(ctx, f, after, limit)
}

// mayRead returns an error unless the caller may read the events of a filter.
func (d *Desk) mayRead(name string, f directory.EventFilter) error {
	if err := d.may(name, ""); err != nil {
		return err
	}
	switch {
	case d.caller.AllBrands:
	case f.AllBrands || f.Brand == "":
		return &ForbiddenError{
			"events of all brands and of the deployment are for administrators and API keys of all brands; name a brand"}
	case !d.caller.has(f.Brand):
		return notFound("brand", f.Brand)
	}
	return nil
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
