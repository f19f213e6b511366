package manage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/admitone/admitone/client"
	"github.com/admitone/admitone/cmd/ticketd/internal/api"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/token"
)

// An IssuedTicket is a ticket that an administrator made.
type IssuedTicket struct {
	token.Ticket
	URL string // whoever opens the URL enters
}

// IssueTicket makes a ticket for an agent or a customer of a brand, as the API does for a
// caller from the same address. Of an agent, the username is enough: the details are those of
// the record. A customer's ticket is for one channel, whose page the URL opens.
func (d *Desk) IssueTicket(ctx context.Context, brand string, q client.IssueRequest) (IssuedTicket, error) {
	if err := d.may("IssueTicket", brand); err != nil {
		return IssuedTicket{}, err
	}
	q.Brand = brand
	page := d.office.LoginURL
	if q.Username != "" {
		a, err := d.db.Agent(ctx, brand, q.Username)
		if errors.Is(err, directory.ErrNotFound) {
			err = &directory.FieldError{Field: "username", Reason: "is no agent of this brand; check the spelling"}
		}
		if err != nil {
			return IssuedTicket{}, err
		}
		if a.Email == "" && a.Phone1 == "" && a.UniqueID == "" {
			return IssuedTicket{}, &directory.FieldError{Field: "username",
				Reason: "is of an agent without email address, phone number and unique ID; add one of them to the record"}
		}
		q.Email, q.Phone1, q.UniqueID = a.Email, a.Phone1, a.UniqueID
		q.FirstName, q.LastName = a.FirstName, a.LastName
	} else {
		if q.Channel == "" {
			return IssuedTicket{}, &directory.FieldError{
				Field: "channel", Reason: "is missing; choose where the customer enters",
			}
		}
		var err error
		if page, err = d.office.ChatURL(brand, q.Channel); err != nil {
			return IssuedTicket{}, err
		}
	}
	t, text, err := d.office.Tickets.Issue(ctx, d.caller.Actor, q)
	if err != nil {
		return IssuedTicket{}, err
	}
	url, err := token.LoginURL(page, text)
	return IssuedTicket{t, url}, err
}

// An Explanation says what a ticket is, what would become of it now, and what became of it.
type Explanation struct {
	api.Explanation
	Events []directory.Event // of the ticket, at most MaxLimit, the oldest first
}

// ExplainTicket explains the ticket in a text, such as a URL, and spends nothing. The error
// wraps directory.ErrNotFound if the ticket is not of the caller's brands, whether or not the
// ticket is genuine. For callers of all brands, an Explanation without a Ticket says why the
// text is no genuine ticket.
func (d *Desk) ExplainTicket(ctx context.Context, text string) (Explanation, error) {
	if err := d.may("ExplainTicket", ""); err != nil {
		return Explanation{}, err
	}
	text = api.TicketIn(text)
	if text == "" {
		return Explanation{}, &directory.FieldError{
			Field: "ticket", Reason: "has no ticket in it; paste the whole URL, or the text that begins with tkt1_",
		}
	}
	if d.office.Issuer != "" && strings.HasPrefix(text, "tkt2_") {
		return Explanation{}, &directory.FieldError{
			Field: "ticket", Reason: "is encrypted to the login service, which alone opens it: ask POST /auth/inspect there, " +
				"or look for the ticket's ID in the audit trail",
		}
	}
	t, err := d.office.Tickets.Open(ctx, text)
	visible := err == nil && t.Audience != token.Administrator && d.caller.has(t.Brand)
	if !visible && !d.caller.AllBrands {
		return Explanation{}, fmt.Errorf("a ticket of your brands: %w", directory.ErrNotFound)
	}
	e := Explanation{Explanation: d.office.Tickets.Explain(ctx, d.caller.Actor, text)}
	if e.Ticket == nil {
		return e, nil
	}
	for cursor := ""; len(e.Events) < MaxLimit; {
		page, err := d.db.Events(ctx, directory.EventFilter{Brand: t.Brand, Ticket: t.ID.String()}, cursor, MaxLimit)
		if err != nil {
			return e, err
		}
		e.Events = append(e.Events, page.Events...)
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	// Another issuer may have chosen the same ID.
	e.Events = slices.DeleteFunc(e.Events, func(e directory.Event) bool { return e.Issuer != t.Issuer })
	slices.Reverse(e.Events)
	return e, nil
}
