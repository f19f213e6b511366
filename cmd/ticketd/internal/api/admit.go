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
	"github.com/admitone/admitone/verify/replay"
)

// site is the place where a ticket is used. Each request reads it once from the directory.
type site struct {
	brand, channel   string // as they were asked for; channel is "" for the brand itself
	*directory.Place        // the zero Place if there is no such brand
}

// lookUpSite reads the brand and, unless channel is "", its channel. The error is a
// *verify.Error: the directory could not be asked.
func (s *server) lookUpSite(ctx context.Context, brand, channel string) (site, error) {
	p, err := s.Directory.Place(ctx, brand, channel)
	switch {
	case errors.Is(err, directory.ErrNotFound):
		p = new(directory.Place)
	case err != nil:
		return site{}, notAsked(err)
	}
	return site{brand, channel, p}, nil
}

// missing returns an error if the directory lacks the brand or the channel.
func (at site) missing() error {
	switch {
	case at.channel != "" && at.Channel == nil:
		return fmt.Errorf("the directory has no brand %q with a channel %q", at.brand, at.channel)
	case at.Brand.Name == "":
		return fmt.Errorf("the directory has no brand %q", at.brand)
	}
	return nil
}

// notAsked is the verdict on a ticket if the directory could not be asked.
func notAsked(err error) *verify.Error {
	return &verify.Error{Reason: verify.StoreUnavailable, Cause: err}
}

var errRevoked = errors.New("the ticket was revoked")

// admit is the service's own check of a ticket that is genuine, in time and for this
// use. The brand, the channel and the agent must still exist, and none may be switched
// off, and the ticket must not be revoked. The check changes nothing. from is the person's
// address. The agent is the record of an agent's ticket.
func (s *server) admit(ctx context.Context, t token.Ticket, at site, from netip.Addr) (directory.Agent, error) {
	agent, err := s.admitPerson(ctx, t, at, from)
	if err != nil {
		return directory.Agent{}, err
	}
	switch revoked, err := s.Directory.TicketRevoked(ctx, t.Brand, t.Issuer, t.ID); {
	case err != nil:
		return directory.Agent{}, notAsked(err)
	case revoked:
		return directory.Agent{}, errRevoked
	}
	return agent, nil
}

// admitPerson is the part of admit about brand, channel and agent.
func (s *server) admitPerson(ctx context.Context, t token.Ticket, at site, from netip.Addr) (directory.Agent, error) {
	var none directory.Agent
	if err := at.missing(); err != nil {
		return none, err
	}
	set := &at.Settings
	switch {
	case !set.TicketLogin:
		return none, fmt.Errorf("ticket login is switched off for brand %q, channel %q", set.Brand, set.Channel)
	case t.Lifetime > set.MaxLifetime:
		return none, &verify.Error{Reason: verify.LifetimeTooLong}
	case s.issuedBefore(t, set.TicketsSince):
		return none, s.beforeReturn(ctx, set.TicketsSince)
	case t.Channel != "" && (at.Channel == nil || s.issuedBefore(t, at.Channel.TicketsSince)):
		return none, errors.New("the ticket was issued before the channel was removed and made again")
	case t.Audience == token.Customer && t.Issuer != "":
		return none, phoneFault(t, set)
	case t.Audience == token.Customer:
		return none, nil
	case t.Audience != token.Agent:
		return none, &verify.Error{Reason: verify.WrongAudience}
	case !set.LoginAddresses.Allow(from):
		return none, errors.New("the person's address is not on the brand's allow-list")
	}
	agent, err := s.Directory.Agent(ctx, t.Brand, t.Username)
	if err == nil && agent.Active && t.Issuer != "" {
		err = s.matchesRecord(ctx, t, set)
	}
	switch {
	case errors.Is(err, errDetails):
		return none, err
	case errors.Is(err, directory.ErrNotFound):
		// The directory's own words would name the person in the audit trail.
		return none, errors.New("the agent is not in the directory")
	case err != nil:
		return none, notAsked(err)
	case !agent.Active:
		return none, errors.New("the agent is inactive")
	case s.issuedBefore(t, agent.TicketsSince):
		return none, errors.New("the ticket was issued before the agent was removed or inactive, and returned")
	}
	return agent, nil
}

// beforeReturn tells why no ticket of a brand counts that was issued before a time.
func (s *server) beforeReturn(ctx context.Context, since time.Time) error {
	switch restored, err := s.Directory.Restored(ctx); {
	case err != nil:
		return notAsked(err)
	case since.Equal(restored):
		return errors.New("the ticket was issued before the directory was restored from a backup")
	}
	return errors.New("the ticket was issued before the brand was removed and made again")
}

// errDetails begins the refusal of a named issuer's ticket whose details are not good here.
// Which details these are is for operators, as it is at the issue: otherwise an issuer could
// find out a record field by field.
var errDetails = errors.New("the ticket's details of the person are not those that the brand wants")

// matchesRecord checks an agent's ticket of a named issuer as matchAgent checks a request for
// a ticket: the issuer has not asked the directory.
func (s *server) matchesRecord(ctx context.Context, t token.Ticket, set *directory.Effective) error {
	given := directory.Fields{
		Email: t.Email, Phone1: t.Phone1, UniqueID: t.UniqueID, FirstName: t.FirstName, LastName: t.LastName,
		Region: set.Region,
	}
	for _, missing := range missingDetails(set.RequiredAgentFields, given) {
		return fmt.Errorf("%w: %s %s", errDetails, missing.Field, missing.Reason)
	}
	_, err := s.Directory.MatchAgent(ctx, t.Brand, t.Username, given)
	if mismatch, ok := errors.AsType[*directory.MismatchError](err); ok {
		return fmt.Errorf("%w: %s", errDetails, mismatch.Reason)
	}
	if wrong, ok := errors.AsType[*directory.FieldError](err); ok {
		return fmt.Errorf("%w: %w", errDetails, wrong)
	}
	return err
}

// phoneFault returns why the phone number of a customer's ticket of a named issuer is not a
// number as POST /auth/ticket would write it, or nil.
func phoneFault(t token.Ticket, set *directory.Effective) error {
	if t.Phone1 == "" {
		return nil
	}
	switch number, err := directory.E164(t.Phone1, set.Region); {
	case err != nil:
		return fmt.Errorf("%w: %w", errDetails, err)
	case number != t.Phone1:
		return fmt.Errorf("%w: phone1 is not in E.164 form", errDetails)
	}
	return nil
}

// issuedBefore reports whether a ticket may be older than the return of a name; zero is
// no return. The clocks of the issuer and of whoever changed the directory may differ by
// the skew.
func (s *server) issuedBefore(t token.Ticket, returned time.Time) bool {
	return !returned.IsZero() && !t.IssuedAt.After(returned.Add(s.Skew))
}

// found is a customer's record as it is before the ticket is spent.
type found struct {
	directory.Customer
	made   bool // the ticket made the record
	lookup directory.Lookup
}

// findCustomer finds or makes the record of a customer's ticket. This comes before
// the ticket is spent: if the directory fails, nothing is lost.
func (s *server) findCustomer(ctx context.Context, t token.Ticket) (f found, err error) {
	on := directoryRedemption(&t)
	on.Lookup = &f.lookup
	f.Customer, f.made, err = s.Directory.ResolveCustomer(ctx, t.Brand, customerOf(t), on)
	switch {
	case errors.Is(err, directory.ErrNotFound):
		return f, fmt.Errorf("the directory has no brand %q", t.Brand)
	case err != nil:
		return f, refusedOrNotAsked(err)
	}
	return f, nil
}

// refusedOrNotAsked is the verdict on a customer's ticket if the directory names a wrong
// field of the ticket, or could not be asked. This service seals no wrong field, but
// another issuer with the same keys may.
func refusedOrNotAsked(err error) error {
	if wrong, ok := errors.AsType[*directory.FieldError](err); ok {
		return wrong
	}
	return notAsked(err)
}

// The grace of a redemption begins with the claim, at the earliest. Both limits count from
// there, so that a client whose answer was lost can repeat the request in time.
const (
	// ClaimTime is the time limit of a claim. After it, the answer is "cannot tell now" with
	// the Retry-After notNow, and a second remains for the way of the next request.
	ClaimTime = replay.Grace - notNow - time.Second

	// answerBy is the time from before the claim to the answer, with all that follows the
	// claim. It leaves the client the other half of the grace.
	answerBy = replay.Grace / 2
)

// afterClaim returns the context of the work after a claim, whether or not the client
// waits. checked is a moment before the claim.
func afterClaim(ctx context.Context, checked time.Time) (context.Context, context.CancelFunc) {
	return context.WithDeadline(context.WithoutCancel(ctx), checked.Add(answerBy))
}

// updateCustomer writes the ticket's details into a customer's record, if the ticket
// asks for that, once the ticket is spent. The person is in by then: a failure is
// logged. When ctx is done, the answer has the record as it was found, and the directory
// may still write the details later.
func (s *server) updateCustomer(ctx context.Context, t token.Ticket, f found) directory.Customer {
	if !t.OverrideUserInfo || f.made {
		return f.Customer
	}
	attrs := []any{"ticket", t.ID.String(), "brand", t.Brand, "customer", f.ID}
	if v, ok := ctx.Value(visitKey{}).(*visit); ok {
		attrs = append(attrs, "request_id", v.id[0]) // the request may end first
	}
	done := make(chan directory.Customer, 1)
	go func() {
		// The directory has its own time limits. SQLite waits for a lock without regard to a
		// context.
		on := directoryRedemption(&t)
		on.Override, on.Lookup = true, &f.lookup
		updated, _, err := s.Directory.ResolveCustomer(context.WithoutCancel(ctx), t.Brand, customerOf(t), on)
		if err != nil {
			s.Log.Error("customer record not updated", append(attrs, "error", err)...)
			updated = f.Customer
		}
		done <- updated
	}()
	select {
	case updated := <-done:
		return updated
	case <-ctx.Done():
		s.Log.Warn("customer record not updated before the answer", attrs...)
		return f.Customer
	}
}

// directoryRedemption returns the redemption of a ticket, without its effects.
func directoryRedemption(t *token.Ticket) directory.Redemption {
	return directory.Redemption{Ticket: t.ID.String(), Issuer: t.Issuer, Expires: t.Expires()}
}

// customerOf returns the ticket's details of a customer.
func customerOf(t token.Ticket) directory.Customer {
	return directory.Customer{
		Email: t.Email, Phone1: t.Phone1, UniqueID: t.UniqueID,
		FirstName: t.FirstName, LastName: t.LastName, Remark: t.Remark,
	}
}

// channelOf returns the ID of the channel that a code stands for in a brand, or "" if
// the code stands for none.
func (s *server) channelOf(brand, code string) string {
	id, err := s.Channels.ID(brand, code)
	if err != nil {
		return ""
	}
	return id
}
