package remote

import (
	"context"

	"github.com/admitone/admitone/cmd/ticketd/internal/attribute"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
)

// Issuers lists the named issuers.
func (d *Directory) Issuers(ctx context.Context) (all []directory.Issuer, err error) {
	found, err := d.office.Issuers(ctx)
	if err != nil {
		return nil, d.told(err)
	}
	for _, i := range found {
		is, err := record(attribute.Issuers, i)
		if err != nil {
			return nil, err
		}
		all = append(all, is)
	}
	return all, nil
}

// EndIssuerSessions ends the sessions of an issuer's tickets.
func (d *Directory) EndIssuerSessions(ctx context.Context, name string) (directory.Issuer, error) {
	i, err := d.office.EndIssuerSessions(ctx, name)
	return one(d, attribute.Issuers, i, err)
}
