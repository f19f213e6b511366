package manage

import (
	"context"
	"slices"
	"time"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
)

// noteTime is the time limit for writing the last uses before a list.
const noteTime = 2 * time.Second

// Issuers lists the named issuers that may issue tickets of the caller's brands, also denied ones
// whose entries still name brands. Of the brands of an issuer, the answer has those of the caller; the
// rest is that of the whole issuer. A caller with all brands sees every issuer.
func (d *Desk) Issuers(ctx context.Context) ([]directory.Issuer, error) {
	if err := d.may("Issuers", ""); err != nil {
		return nil, err
	}
	return d.issuers(ctx)
}

// Issuer returns an issuer, as Issuers does. The error wraps directory.ErrNotFound if there is
// no such issuer, or none that may issue tickets of the caller's brands.
func (d *Desk) Issuer(ctx context.Context, name string) (directory.Issuer, error) {
	if err := d.may("Issuer", ""); err != nil {
		return directory.Issuer{}, err
	}
	all, err := d.issuers(ctx)
	if err != nil {
		return directory.Issuer{}, err
	}
	i := slices.IndexFunc(all, func(i directory.Issuer) bool { return i.Name == name })
	if i < 0 {
		return directory.Issuer{}, notFound("issuer", name)
	}
	return all[i], nil
}

func (d *Desk) issuers(ctx context.Context) ([]directory.Issuer, error) {
	if d.office.NoteUses != nil {
		soon, cancel := context.WithTimeout(ctx, noteTime)
		_ = d.office.NoteUses(soon) // else the list is a few seconds old
		cancel()
	}
	all, err := d.db.Issuers(ctx)
	if err != nil || d.caller.AllBrands {
		return all, err
	}
	foreign := func(brand string) bool { return !d.caller.has(brand) }
	for i := range all {
		if is := &all[i]; is.AllBrands {
			is.Brands, is.AllBrands = d.caller.Brands, false
		} else {
			is.Brands = slices.DeleteFunc(is.Brands, foreign)
		}
	}
	return slices.DeleteFunc(all, func(i directory.Issuer) bool { return len(i.Brands) == 0 }), nil
}

// EndIssuerSessions ends the sessions of an issuer's tickets, of every brand. Unspent tickets
// stay good.
func (d *Desk) EndIssuerSessions(ctx context.Context, name string) (directory.Issuer, error) {
	if err := d.may("EndIssuerSessions", ""); err != nil {
		return directory.Issuer{}, err
	}
	return d.db.EndIssuerSessions(ctx, name)
}
