package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strconv"
	"time"

	"github.com/admitone/admitone/cmd/ticketd/internal/agentfile"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/token"
)

// A store has the records on which the commands work: the directory itself, or the directory
// of a running service. The methods are as those of directory.DB. A list is of all records, or
// may leave out those before a name and the name itself.
type store interface {
	Brand(ctx context.Context, name string) (directory.Brand, error)
	Brands(ctx context.Context, after string) iter.Seq2[directory.Brand, error]
	AddBrand(ctx context.Context, b directory.Brand) error
	UpdateBrand(ctx context.Context, name string, edit func(*directory.Brand) error) (directory.Brand, error)
	RemoveBrand(ctx context.Context, name string, withAll bool) error
	EndBrandSessions(ctx context.Context, name string) (directory.Brand, error)

	Agent(ctx context.Context, brand, username string) (directory.Agent, error)
	Agents(ctx context.Context, brand, after string) iter.Seq2[directory.Agent, error]
	AddAgent(ctx context.Context, a directory.Agent) error
	UpdateAgent(
		ctx context.Context, brand, username string, edit func(*directory.Agent) error) (directory.Agent, error)
	RemoveAgent(ctx context.Context, brand, username string) error
	EndAgentSessions(ctx context.Context, brand, username string) (directory.Agent, error)

	// ImportFile imports a file of agents, all or none, and reports its progress unless the
	// agents are elsewhere. If lines are wrong, nothing is imported, and these are the mistakes.
	ImportFile(
		ctx context.Context, brand string, file io.Reader, dryRun bool, progress func(done, all int),
	) (directory.Imported, []agentfile.Mistake, error)

	Customer(ctx context.Context, brand string, id int64) (directory.Customer, error)
	Customers(ctx context.Context, brand, after string) iter.Seq2[directory.Customer, error]
	FindCustomers(ctx context.Context, brand string, c directory.Customer) ([]directory.Customer, error)
	AddCustomer(ctx context.Context, c directory.Customer) (directory.Customer, error)
	UpdateCustomer(
		ctx context.Context, brand string, id int64, edit func(*directory.Customer) error) (directory.Customer, error)
	RemoveCustomer(ctx context.Context, brand string, id int64) error
	EndCustomerSessions(ctx context.Context, brand string, id int64) (directory.Customer, error)

	Channel(ctx context.Context, brand, id string) (directory.Channel, error)
	Channels(ctx context.Context, brand, after string) iter.Seq2[directory.Channel, error]
	AddChannel(ctx context.Context, c directory.Channel) error
	UpdateChannel(
		ctx context.Context, brand, id string, edit func(*directory.Channel) error) (directory.Channel, error)
	RemoveChannel(ctx context.Context, brand, id string) error

	APIKey(ctx context.Context, id string) (directory.APIKey, error)
	APIKeys(ctx context.Context, brand, after string) iter.Seq2[directory.APIKey, error]
	CreateAPIKey(ctx context.Context, k directory.APIKey) (string, error)
	ReplaceAPIKey(ctx context.Context, id string, grace time.Duration) (string, error)
	UpdateAPIKey(ctx context.Context, id string, edit func(*directory.APIKey) error) (directory.APIKey, error)
	RevokeAPIKey(ctx context.Context, id string) error
	RemoveAPIKey(ctx context.Context, id string) error

	Administrator(ctx context.Context, username string) (directory.Administrator, error)
	Administrators(ctx context.Context, after string) iter.Seq2[directory.Administrator, error]
	AddAdministrator(ctx context.Context, a directory.Administrator) error
	UpdateAdministrator(ctx context.Context, username string, last bool,
		edit func(*directory.Administrator) error) (directory.Administrator, error)
	RemoveAdministrator(ctx context.Context, username string, last bool) error
	EndAdministratorSessions(ctx context.Context, username string) (directory.Administrator, error)

	Issuers(ctx context.Context) ([]directory.Issuer, error)
	EndIssuerSessions(ctx context.Context, name string) (directory.Issuer, error)

	RevokeTicket(ctx context.Context, brand, issuer string, id token.ID) error
	Events(ctx context.Context, f directory.EventFilter) iter.Seq2[directory.Event, error]
	NewEvents(ctx context.Context, f directory.EventFilter, after int64, limit int) ([]directory.Event, int64, error)
	LastEvent(ctx context.Context, f directory.EventFilter) (int64, error)
}

// pageSize is the number of records read at a time.
const pageSize = 500

// here is the store of a directory that this program opened.
type here struct{ *directory.DB }

// pages returns all records behind a name. page reads up to pageSize of them.
func pages[T any](
	after string, name func(*T) string, page func(after string) ([]T, error),
) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for {
			records, err := page(after)
			if err != nil {
				yield(*new(T), err)
				return
			}
			for _, record := range records {
				if !yield(record, nil) {
					return
				}
			}
			if len(records) < pageSize {
				return
			}
			after = name(&records[len(records)-1])
		}
	}
}

func (h here) Brands(ctx context.Context, after string) iter.Seq2[directory.Brand, error] {
	return pages(after, func(b *directory.Brand) string { return b.Name },
		func(after string) ([]directory.Brand, error) { return h.DB.Brands(ctx, after, pageSize) })
}

func (h here) EndBrandSessions(ctx context.Context, name string) (directory.Brand, error) {
	return h.UpdateBrand(ctx, name, func(b *directory.Brand) error {
		b.SessionsSince = time.Now()
		return nil
	})
}

func (h here) Agents(ctx context.Context, brand, after string) iter.Seq2[directory.Agent, error] {
	return pages(after, func(a *directory.Agent) string { return a.Username },
		func(after string) ([]directory.Agent, error) { return h.DB.Agents(ctx, brand, after, pageSize) })
}

func (h here) ImportFile(
	ctx context.Context, brand string, in io.Reader, dryRun bool, progress func(done, all int),
) (did directory.Imported, mistakes []agentfile.Mistake, err error) {
	defer func() {
		if errors.Is(err, context.Canceled) {
			err = errors.New("nothing was imported: interrupted")
		}
	}()
	b, err := h.Brand(ctx, brand)
	if err != nil {
		return did, nil, err
	}
	file, mistakes, err := agentfile.Read(in, b)
	if err != nil || len(mistakes) > 0 {
		return did, mistakes, err
	}
	progress(0, len(file.Agents))
	did, err = h.ImportAgents(ctx, brand, file.All(), &directory.ImportOptions{
		Missing: file.Missing, DryRun: dryRun, Progress: func(n int) { progress(n, len(file.Agents)) },
	})
	if err != nil {
		err = fmt.Errorf("nothing was imported: %w", err)
	}
	return did, nil, err
}

func (h here) Customers(ctx context.Context, brand, after string) iter.Seq2[directory.Customer, error] {
	return pages(after, customerName, func(after string) ([]directory.Customer, error) {
		var id int64
		if after != "" {
			id, _ = strconv.ParseInt(after, 10, 64) // a text that is no ID begins at the first
		}
		return h.DB.Customers(ctx, brand, id, pageSize)
	})
}

func (h here) Channels(ctx context.Context, brand, after string) iter.Seq2[directory.Channel, error] {
	return pages(after, func(c *directory.Channel) string { return c.ID },
		func(after string) ([]directory.Channel, error) { return h.DB.Channels(ctx, brand, after, pageSize) })
}

func (h here) APIKeys(ctx context.Context, brand, after string) iter.Seq2[directory.APIKey, error] {
	return pages(after, func(k *directory.APIKey) string { return k.ID },
		func(after string) ([]directory.APIKey, error) { return h.DB.APIKeys(ctx, brand, after, pageSize) })
}

func (h here) Administrators(ctx context.Context, after string) iter.Seq2[directory.Administrator, error] {
	return pages(after, func(a *directory.Administrator) string { return a.Username },
		func(after string) ([]directory.Administrator, error) {
			return h.DB.Administrators(ctx, after, pageSize)
		})
}

func (h here) Events(ctx context.Context, f directory.EventFilter) iter.Seq2[directory.Event, error] {
	return func(yield func(directory.Event, error) bool) {
		for cursor := ""; ; {
			page, err := h.DB.Events(ctx, f, cursor, pageSize)
			if err != nil {
				yield(directory.Event{}, err)
				return
			}
			for _, e := range page.Events {
				if !yield(e, nil) {
					return
				}
			}
			if cursor = page.Next; cursor == "" {
				return
			}
		}
	}
}

func (h here) LastEvent(ctx context.Context, _ directory.EventFilter) (int64, error) {
	return h.DB.LastEvent(ctx)
}
