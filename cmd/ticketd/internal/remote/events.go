package remote

import (
	"context"
	"iter"

	"github.com/admitone/admitone/client/admin"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
)

// filter returns a filter as the administration has it.
func filter(f directory.EventFilter) admin.EventFilter {
	return admin.EventFilter{
		Brand: f.Brand, Deployment: f.Brand == "" && !f.AllBrands, TicketID: f.Ticket, Issuer: f.Issuer, Kind: f.Kind,
		Name: f.Name, Action: f.Action, ActorKind: string(f.ActorKind), Actor: f.Actor, Since: f.Since, Until: f.Until,
	}
}

// event returns an event as the directory has it.
func event(e admin.Event) directory.Event {
	details := string(e.Details)
	if details == "null" {
		details = ""
	}
	return directory.Event{
		ID: e.ID, At: e.At, Brand: e.Brand, Action: e.Action, Kind: e.Kind, Name: e.Name, Fields: e.Fields,
		Actor: directory.Actor{
			Kind: directory.ActorKind(e.Actor.Kind), Name: e.Actor.Name, Machine: e.Actor.Machine, Remote: e.Actor.Remote,
		},
		Ticket: e.TicketID, Issuer: e.Issuer, TicketKey: e.KeyID, SigningKey: e.SigningKey, Reason: e.Reason, Count: e.Count,
		Details: details,
	}
}

// Events lists the events of the filter, the newest first.
func (d *Directory) Events(ctx context.Context, f directory.EventFilter) iter.Seq2[directory.Event, error] {
	return func(yield func(directory.Event, error) bool) {
		for e, err := range d.office.Events(ctx, filter(f)) {
			if !yield(event(e), d.told(err)) {
				return
			}
		}
	}
}

// NewEvents lists events of the filter that were written after the event with the ID after.
func (d *Directory) NewEvents(
	ctx context.Context, f directory.EventFilter, after int64, _ int,
) (all []directory.Event, last int64, err error) {
	found, last, err := d.office.NewEvents(ctx, filter(f), after)
	for _, e := range found {
		all = append(all, event(e))
	}
	return all, last, d.told(err)
}

// LastEvent returns the ID of the event that was written last.
func (d *Directory) LastEvent(ctx context.Context, f directory.EventFilter) (int64, error) {
	last, err := d.office.LastEvent(ctx, filter(f))
	return last, d.told(err)
}
