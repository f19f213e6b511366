package api

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
)

// holder is what the directory knows of a ticket's holder.
type holder struct {
	settings directory.Effective
	agent    directory.Agent // of an agent's ticket
}

// admit is the service's own check of a ticket that is genuine and in time: the
// brand, the channel if one is entered, and the agent still exist, and none was
// switched off since. It changes nothing. from is the person's address.
func (s *server) admit(ctx context.Context, t token.Ticket, channel string, from netip.Addr) (h holder, err error) {
	h.settings, err = s.Directory.Effective(ctx, t.Brand, channel)
	switch {
	case err != nil && channel == "":
		return h, lookup(err, fmt.Sprintf("the directory has no brand %q", t.Brand))
	case err != nil:
		return h, lookup(err, fmt.Sprintf("the directory has no brand %q with a channel %q", t.Brand, channel))
	case !h.settings.TicketLogin:
		return h, fmt.Errorf("ticket login is switched off for brand %q, channel %q", t.Brand, channel)
	case t.Lifetime > h.settings.MaxLifetime:
		return h, &verify.Error{Reason: verify.LifetimeTooLong}
	case t.Audience != token.Agent:
		return h, nil
	case !h.settings.LoginAddresses.Allow(from):
		return h, errors.New("the person's address is not on the brand's allow-list")
	}
	h.agent, err = s.Directory.Agent(ctx, t.Brand, t.Username)
	switch {
	case err != nil:
		return h, lookup(err, "the agent is not in the directory")
	case !h.agent.Active:
		return h, errors.New("the agent is inactive")
	}
	return h, nil
}

// lookup tells what the directory does not have, which refuses a ticket, from a
// directory that could not be asked, which is no verdict. The directory's own words
// would name the person in the audit trail.
func lookup(err error, absent string) error {
	if errors.Is(err, directory.ErrNotFound) {
		return errors.New(absent)
	}
	return &verify.Error{Reason: verify.StoreUnavailable, Cause: err}
}

// findCustomer finds or makes the record of a customer's ticket. It comes before
// the ticket is spent, so that nothing is where the directory fails.
func (s *server) findCustomer(ctx context.Context, t token.Ticket) (directory.Customer, error) {
	c, _, err := s.Directory.ResolveCustomer(ctx, t.Brand, customerOf(t), redemptionOf(t, false))
	if err != nil {
		return c, lookup(err, fmt.Sprintf("the directory has no brand %q", t.Brand))
	}
	return c, nil
}

// updateCustomer gives a customer's record what the ticket says, where it says
// so, once that is spent. The person is in by then, whether or not the record can
// be written and the browser still waits.
func (s *server) updateCustomer(ctx context.Context, t token.Ticket, c directory.Customer) directory.Customer {
	if !t.OverrideUserInfo {
		return c
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	updated, _, err := s.Directory.ResolveCustomer(ctx, t.Brand, customerOf(t), redemptionOf(t, true))
	if err != nil {
		s.Log.Error("customer record not updated", "ticket", t.ID, "brand", t.Brand, "customer", c.ID, "error", err)
		return c
	}
	return updated
}

// customerOf returns what a ticket says of a customer.
func customerOf(t token.Ticket) directory.Customer {
	return directory.Customer{
		Email: t.Email, Phone1: t.Phone1, UniqueID: t.UniqueID, FirstName: t.FirstName, LastName: t.LastName, Remark: t.Remark,
	}
}

// redemptionOf returns on whose behalf a customer's record is found or made.
func redemptionOf(t token.Ticket, override bool) directory.Redemption {
	return directory.Redemption{Ticket: t.ID.String(), Expires: t.Expires(), Override: override}
}

// channelOf returns the ID of the channel that a code stands for in the brand
// of a ticket, or "" where there is none. It decides nothing about the ticket.
func (s *server) channelOf(ticket, code string) string {
	var t token.Ticket
	if token.Open(s.Opener, s.ad, ticket, &t) != nil {
		return ""
	}
	id, err := s.Channels.ID(t.Brand, code)
	if err != nil {
		return ""
	}
	return id
}
