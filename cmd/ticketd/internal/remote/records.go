package remote

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/admitone/admitone/client"
	"github.com/admitone/admitone/client/admin"
	"github.com/admitone/admitone/cmd/ticketd/internal/agentfile"
	"github.com/admitone/admitone/cmd/ticketd/internal/attribute"
	"github.com/admitone/admitone/cmd/ticketd/internal/console"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/token"
)

// Brand looks up a brand.
func (d *Directory) Brand(ctx context.Context, name string) (directory.Brand, error) {
	b, err := d.office.Brand(ctx, name)
	return one(d, attribute.Brands, b, err)
}

// Brands lists the brands.
func (d *Directory) Brands(ctx context.Context, _ string) iter.Seq2[directory.Brand, error] {
	return all(d, attribute.Brands, d.office.Brands(ctx))
}

// AddBrand adds a brand.
func (d *Directory) AddBrand(ctx context.Context, b directory.Brand) error {
	_, err := add(ctx, d, attribute.Brands, b, d.office.AddBrand)
	return err
}

// UpdateBrand changes a brand by edit.
func (d *Directory) UpdateBrand(
	ctx context.Context, name string, edit func(*directory.Brand) error,
) (directory.Brand, error) {
	return update(d, attribute.Brands, edit, func(r *admin.Brand) int64 { return r.Revision },
		func() (admin.Brand, error) { return d.office.Brand(ctx, name) },
		func(b admin.Brand) (admin.Brand, error) { return d.office.ChangeBrand(ctx, b) })
}

// RemoveBrand removes a brand.
func (d *Directory) RemoveBrand(ctx context.Context, name string, withAll bool) error {
	err := d.told(d.office.RemoveBrand(ctx, name, withAll))
	if has, ok := errors.AsType[*directory.InUseError](err); ok {
		has.Brand = name
	}
	return err
}

// EndBrandSessions ends all sessions of a brand that began before now.
func (d *Directory) EndBrandSessions(ctx context.Context, name string) (directory.Brand, error) {
	b, err := d.office.EndBrandSessions(ctx, name)
	return one(d, attribute.Brands, b, err)
}

// Agent looks up an agent.
func (d *Directory) Agent(ctx context.Context, brand, username string) (directory.Agent, error) {
	a, err := d.office.Agent(ctx, brand, username)
	return one(d, attribute.Agents, a, err)
}

// Agents lists the agents of a brand.
func (d *Directory) Agents(ctx context.Context, brand, _ string) iter.Seq2[directory.Agent, error] {
	return all(d, attribute.Agents, d.office.Agents(ctx, brand))
}

// AddAgent adds an agent.
func (d *Directory) AddAgent(ctx context.Context, a directory.Agent) error {
	_, err := add(ctx, d, attribute.Agents, a, d.office.AddAgent)
	return err
}

// UpdateAgent changes an agent by edit.
func (d *Directory) UpdateAgent(
	ctx context.Context, brand, username string, edit func(*directory.Agent) error,
) (directory.Agent, error) {
	return update(d, attribute.Agents, edit, func(r *admin.Agent) int64 { return r.Revision },
		func() (admin.Agent, error) { return d.office.Agent(ctx, brand, username) },
		func(a admin.Agent) (admin.Agent, error) { return d.office.ChangeAgent(ctx, a) })
}

// RemoveAgent removes an agent.
func (d *Directory) RemoveAgent(ctx context.Context, brand, username string) error {
	return d.told(d.office.RemoveAgent(ctx, brand, username))
}

// EndAgentSessions ends the sessions of an agent.
func (d *Directory) EndAgentSessions(ctx context.Context, brand, username string) (directory.Agent, error) {
	a, err := d.office.EndAgentSessions(ctx, brand, username)
	return one(d, attribute.Agents, a, err)
}

// ImportFile imports a file of agents, all or none, or returns its wrong lines. It has no
// progress to tell.
func (d *Directory) ImportFile(
	ctx context.Context, brand string, file io.Reader, dryRun bool, _ func(done, all int),
) (directory.Imported, []agentfile.Mistake, error) {
	send := d.office.ImportAgents
	if dryRun {
		send = d.office.PreviewAgents
	}
	did, err := send(ctx, brand, file)
	var mistakes []agentfile.Mistake
	for _, f := range did.Faults {
		mistakes = append(mistakes, agentfile.Mistake(f))
	}
	if len(mistakes) > 0 {
		return directory.Imported{}, mistakes, nil
	}
	if failed, ok := errors.AsType[*client.Error](err); ok && failed.Status == 0 {
		return directory.Imported{}, nil, fmt.Errorf("%w; whether the agents were imported is not known", d.told(err))
	}
	return directory.Imported{
		Added: did.Added, Changed: did.Changed, Unchanged: did.Unchanged,
		Activated: did.Activated, Deactivated: did.Deactivated,
	}, nil, d.told(err)
}

// Customer looks up a customer.
func (d *Directory) Customer(ctx context.Context, brand string, id int64) (directory.Customer, error) {
	c, err := d.office.Customer(ctx, brand, id)
	return one(d, attribute.Customers, c, err)
}

// Customers lists the customers of a brand.
func (d *Directory) Customers(ctx context.Context, brand, _ string) iter.Seq2[directory.Customer, error] {
	return all(d, attribute.Customers, d.office.Customers(ctx, brand))
}

// FindCustomers returns the customers of a brand with one of the identifiers of c.
func (d *Directory) FindCustomers(
	ctx context.Context, brand string, c directory.Customer,
) (found []directory.Customer, err error) {
	list, err := d.office.FindCustomers(ctx, brand,
		admin.Customer{Email: c.Email, Phone1: c.Phone1, UniqueID: c.UniqueID})
	if err != nil {
		return nil, d.told(err)
	}
	for _, c := range list {
		r, err := record(attribute.Customers, c)
		if err != nil {
			return nil, err
		}
		found = append(found, r)
	}
	return found, nil
}

// AddCustomer adds a customer.
func (d *Directory) AddCustomer(ctx context.Context, c directory.Customer) (directory.Customer, error) {
	return add(ctx, d, attribute.Customers, c, d.office.AddCustomer)
}

// UpdateCustomer changes a customer by edit.
func (d *Directory) UpdateCustomer(
	ctx context.Context, brand string, id int64, edit func(*directory.Customer) error,
) (directory.Customer, error) {
	return update(d, attribute.Customers, edit, func(r *admin.Customer) int64 { return r.Revision },
		func() (admin.Customer, error) { return d.office.Customer(ctx, brand, id) },
		func(c admin.Customer) (admin.Customer, error) { return d.office.ChangeCustomer(ctx, c) })
}

// RemoveCustomer removes a customer.
func (d *Directory) RemoveCustomer(ctx context.Context, brand string, id int64) error {
	return d.told(d.office.RemoveCustomer(ctx, brand, id))
}

// EndCustomerSessions ends the sessions of a customer.
func (d *Directory) EndCustomerSessions(ctx context.Context, brand string, id int64) (directory.Customer, error) {
	c, err := d.office.EndCustomerSessions(ctx, brand, id)
	return one(d, attribute.Customers, c, err)
}

// Channel looks up a channel.
func (d *Directory) Channel(ctx context.Context, brand, id string) (directory.Channel, error) {
	c, err := d.office.Channel(ctx, brand, id)
	return one(d, attribute.Channels, c, err)
}

// ChatURL returns the address of a channel's page, under the public URL of the service.
func (d *Directory) ChatURL(ctx context.Context, brand, id string) (string, error) {
	c, err := d.office.Channel(ctx, brand, id)
	return c.URL, d.told(err)
}

// Channels lists the channels of a brand.
func (d *Directory) Channels(ctx context.Context, brand, _ string) iter.Seq2[directory.Channel, error] {
	return all(d, attribute.Channels, d.office.Channels(ctx, brand))
}

// AddChannel adds a channel.
func (d *Directory) AddChannel(ctx context.Context, c directory.Channel) error {
	_, err := add(ctx, d, attribute.Channels, c, d.office.AddChannel)
	return err
}

// UpdateChannel changes a channel by edit.
func (d *Directory) UpdateChannel(
	ctx context.Context, brand, id string, edit func(*directory.Channel) error,
) (directory.Channel, error) {
	return update(d, attribute.Channels, edit, func(r *admin.Channel) int64 { return r.Revision },
		func() (admin.Channel, error) { return d.office.Channel(ctx, brand, id) },
		func(c admin.Channel) (admin.Channel, error) { return d.office.ChangeChannel(ctx, c) })
}

// RemoveChannel removes a channel.
func (d *Directory) RemoveChannel(ctx context.Context, brand, id string) error {
	return d.told(d.office.RemoveChannel(ctx, brand, id))
}

// APIKey looks up an API key.
func (d *Directory) APIKey(ctx context.Context, id string) (directory.APIKey, error) {
	k, err := d.office.APIKey(ctx, id)
	return one(d, attribute.APIKeys, k, err)
}

// APIKeys lists the API keys: with a brand, those for this brand.
func (d *Directory) APIKeys(ctx context.Context, brand, _ string) iter.Seq2[directory.APIKey, error] {
	return all(d, attribute.APIKeys, d.office.APIKeys(ctx, brand))
}

// CreateAPIKey makes an API key, and returns the key for its holder.
func (d *Directory) CreateAPIKey(ctx context.Context, k directory.APIKey) (string, error) {
	record, err := sent[admin.APIKey](attribute.APIKeys, &k, 0)
	if err != nil {
		return "", err
	}
	made, err := d.office.AddAPIKey(ctx, record)
	return made.Key, d.lostKey(err)
}

// ReplaceAPIKey makes an API key in place of another one, which stays good for the grace.
func (d *Directory) ReplaceAPIKey(ctx context.Context, id string, grace time.Duration) (string, error) {
	made, err := d.office.ReplaceAPIKey(ctx, id, grace)
	return made.Key, d.lostKey(err)
}

// lostKey is told, for an addition of an API key.
func (d *Directory) lostKey(err error) error {
	if id, ok := admin.Repeated(err); ok {
		return fmt.Errorf("the key %s was made, and the answer with the key was lost; remove it by "+
			"ticketd apikey remove %s, and make another one", id, id)
	}
	return d.told(err)
}

// UpdateAPIKey changes the record of an API key by edit.
func (d *Directory) UpdateAPIKey(
	ctx context.Context, id string, edit func(*directory.APIKey) error,
) (directory.APIKey, error) {
	return update(d, attribute.APIKeys, edit, func(r *admin.APIKey) int64 { return r.Revision },
		func() (admin.APIKey, error) { return d.office.APIKey(ctx, id) },
		func(k admin.APIKey) (admin.APIKey, error) { return d.office.ChangeAPIKey(ctx, k) })
}

// RevokeAPIKey ends an API key's use for good.
func (d *Directory) RevokeAPIKey(ctx context.Context, id string) error {
	_, err := d.office.RevokeAPIKey(ctx, id)
	return d.told(err)
}

// RemoveAPIKey removes the record of an API key.
func (d *Directory) RemoveAPIKey(ctx context.Context, id string) error {
	return d.told(d.office.RemoveAPIKey(ctx, id))
}

// RevokeTicket makes the service refuse a ticket from now on.
func (d *Directory) RevokeTicket(ctx context.Context, brand, issuer string, id token.ID) error {
	return d.told(d.office.RevokeTicket(ctx, brand, issuer, id.String()))
}

// A NoTicketError says why a text is no ticket of the service.
type NoTicketError struct{ Reason string }

func (e *NoTicketError) Error() string { return e.Reason }

// OpenTicket returns the ID and the brand of a ticket, and an administrator's name. No error has
// a part of the ticket.
func (d *Directory) OpenTicket(ctx context.Context, ticket string) (t token.Ticket, err error) {
	e, err := d.office.ExplainTicket(ctx, ticket)
	err = d.told(err)
	if wrong, ok := errors.AsType[*directory.FieldError](err); ok {
		return t, &NoTicketError{"the text " + wrong.Reason}
	}
	switch {
	case errors.Is(err, directory.ErrNotFound):
		return t, &NoTicketError{err.Error()}
	case err != nil:
		return t, err
	case e.Ticket == nil:
		return t, &NoTicketError{cmp.Or(e.Why, string(e.Reason))}
	}
	t.Brand, t.Issuer, t.Username = e.Ticket.Brand, e.Ticket.Issuer, e.Ticket.Username
	if string(e.Ticket.Audience) == token.Administrator.String() {
		t.Audience = token.Administrator
	}
	t.ID, err = directory.ParseTicketID(e.Ticket.ID)
	return t, err
}

// Link makes a link that lets an administrator into the console.
func (d *Directory) Link(ctx context.Context, username string) (admin.Link, error) {
	link, err := d.office.Link(ctx, username)
	err = d.told(err)
	if wrong, ok := errors.AsType[*directory.FieldError](err); ok && wrong.Field == "username" {
		err = fmt.Errorf("administrator %q: %w", username, console.ErrNotActive)
	}
	return link, err
}

// Administrator looks up an administrator.
func (d *Directory) Administrator(ctx context.Context, username string) (directory.Administrator, error) {
	a, err := d.office.Administrator(ctx, username)
	return one(d, attribute.Administrators, a, err)
}

// Administrators lists the administrators.
func (d *Directory) Administrators(ctx context.Context, _ string) iter.Seq2[directory.Administrator, error] {
	return all(d, attribute.Administrators, d.office.Administrators(ctx))
}

// AddAdministrator adds an administrator.
func (d *Directory) AddAdministrator(ctx context.Context, a directory.Administrator) error {
	_, err := add(ctx, d, attribute.Administrators, a, d.office.AddAdministrator)
	return err
}

// errLast is the error for changes that only the directory itself allows.
var errLast = errors.New("a service keeps its last admin of the whole deployment; for --last, give --data or " +
	"--database in place of --url")

// UpdateAdministrator changes an administrator by edit.
func (d *Directory) UpdateAdministrator(
	ctx context.Context, username string, last bool, edit func(*directory.Administrator) error,
) (directory.Administrator, error) {
	if last {
		return directory.Administrator{}, errLast
	}
	return update(d, attribute.Administrators, edit, func(r *admin.Administrator) int64 { return r.Revision },
		func() (admin.Administrator, error) { return d.office.Administrator(ctx, username) },
		func(a admin.Administrator) (admin.Administrator, error) { return d.office.ChangeAdministrator(ctx, a) })
}

// RemoveAdministrator removes an administrator.
func (d *Directory) RemoveAdministrator(ctx context.Context, username string, last bool) error {
	if last {
		return errLast
	}
	return d.told(d.office.RemoveAdministrator(ctx, username))
}

// EndAdministratorSessions ends the sessions of an administrator.
func (d *Directory) EndAdministratorSessions(
	ctx context.Context, username string,
) (directory.Administrator, error) {
	a, err := d.office.EndAdministratorSessions(ctx, username)
	return one(d, attribute.Administrators, a, err)
}
