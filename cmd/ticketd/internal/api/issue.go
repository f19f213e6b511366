package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"

	"github.com/admitone/admitone/client"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/token"
)

// ticket answers POST /auth/ticket.
func (s *server) ticket(w http.ResponseWriter, r *http.Request, c call) *refusal {
	q, wrong, err := parseTicket(c.body)
	if err != nil {
		return badBody(err)
	}
	if len(wrong) > 0 {
		return badFields(wrong)
	}
	t, text, denied := s.issue(r.Context(), clientOf(r), c.key, q)
	if denied != nil {
		return denied
	}
	s.Metrics.Issued(t)
	s.logIssued(r, t)
	s.reply(w, http.StatusOK, "Operation successful", client.Issued{Ticket: text})
	return nil
}

// issue makes the ticket that the holder of a key requests from an address.
func (s *server) issue(
	ctx context.Context, from netip.Addr, key directory.APIKey, q client.IssueRequest,
) (*token.Ticket, string, *refusal) {
	t := &token.Ticket{
		Audience: token.Customer, Brand: q.Brand, Username: q.Username, Email: q.Email, UniqueID: q.UniqueID,
		FirstName: q.FirstName, LastName: q.LastName, Remark: q.Remark, Channel: q.Channel,
		OverrideUserInfo: q.OverrideUserInfo, Actor: key.ID,
	}
	if t.Username != "" {
		t.Audience = token.Agent
		// The flag means nothing for agents, but requests have it all the same.
		t.OverrideUserInfo = false
	}
	// This check comes before any look-up: a field too long is not a record that is
	// missing.
	if wrong := invalid(t, q); wrong != nil {
		return nil, "", badFields([]client.FieldError{*wrong})
	}
	set, denied := s.issueSettings(ctx, from, key, t)
	if denied != nil {
		return nil, "", denied
	}
	if t.Audience == token.Agent {
		denied = s.matchAgent(ctx, set, t, q.Phone1)
	} else if q.Phone1 != "" {
		var err error
		if t.Phone1, err = directory.E164(q.Phone1, set.Region); err != nil {
			denied = refusedField(err)
		}
	}
	if denied != nil {
		return nil, "", denied
	}
	if denied := s.apply(set, t, q); denied != nil {
		return nil, "", denied
	}
	text, err := s.Issuer.Issue(t)
	if wrong, ok := errors.AsType[*token.FieldError](err); ok && wrong.Field == "ticket" { // no field of the request
		return nil, "", badField("remark", fmt.Sprintf("has %d bytes, and the whole ticket %s", len(t.Remark), tooLong))
	}
	if errors.Is(err, ErrNoRecipient) {
		return nil, "", &refusal{
			status: http.StatusServiceUnavailable, reason: err.Error(), retry: notNow,
			description: "Cannot issue now: the public keys of the login service are out of date; " +
				"the operator has to bring its new bundle here",
		}
	}
	if err != nil {
		return nil, "", refusedField(err)
	}
	return t, text, nil
}

// refusedField is the refusal for an error that may name a wrong field of the request.
func refusedField(err error) *refusal {
	if wrong, ok := errors.AsType[*token.FieldError](err); ok {
		return badField(wrong.Field, wrong.Reason)
	}
	return internal(err)
}

// tooLong says what to do if a ticket is too long for a URL. Without a remark, the longest
// values of all other fields fit.
const tooLong = "would be longer than 2048 characters; shorten the remark, or leave out other fields"

// invalid returns the mistake in a ticket whose phone number is not known yet, or nil. The
// brand's region decides how to read the number.
func invalid(t *token.Ticket, q client.IssueRequest) *client.FieldError {
	err := cmp.Or(t.ValidateTexts(), directory.NormalizeIdentifiers(&t.Username, &t.Email, &t.UniqueID))
	if wrong, ok := errors.AsType[*token.FieldError](err); ok {
		return &client.FieldError{Field: wrong.Field, Reason: wrong.Reason}
	}
	switch {
	case t.Audience == token.Agent && t.Channel != "":
		return &client.FieldError{Field: "channel", Reason: "is for customers' tickets only; leave it out"}
	case t.Audience == token.Customer && q.Email == "" && q.UniqueID == "" && q.Phone1 == "":
		return &client.FieldError{
			Field:  "email",
			Reason: "is missing, and so are uniqueId and phone1; give at least one of them",
		}
	}
	return nil
}

// issueSettings finds the brand, and the ticket's channel if any. The key must be allowed
// to issue there, and tickets must be switched on.
func (s *server) issueSettings(
	ctx context.Context, from netip.Addr, key directory.APIKey, t *token.Ticket,
) (set directory.Effective, _ *refusal) {
	brand, channel, err := s.Directory.BrandChannel(ctx, t.Brand, t.Channel)
	switch {
	case errors.Is(err, directory.ErrNotFound):
		return set, notFound("there is no such brand; check its spelling", "no such brand")
	case err != nil:
		return set, undecided(err)
	case !key.Allows(directory.ScopeIssue, brand.Name):
		return set, unauthorized("the API key is not for this brand; use one of the brand's", "API key of another brand")
	case t.Channel != "" && channel == nil:
		return set, notFound("the brand has no such channel; give the channel's internal ID", "no such channel")
	}
	set = brand.Effective(channel)
	switch {
	case !set.APIAddresses.Allow(from):
		return set, addressRefused()
	case !set.TicketLogin && channel != nil && channel.TicketLogin != nil:
		return set, switchedOff("channel")
	case !set.TicketLogin:
		return set, switchedOff("brand")
	}
	return set, nil
}

func notFound(description, reason string) *refusal {
	return &refusal{status: http.StatusNotFound, description: "Not found: " + description, reason: reason}
}

func switchedOff(where string) *refusal {
	return &refusal{
		status: http.StatusNotImplemented, reason: "ticket login off",
		description: "Not implemented: ticket login is switched off for this " + where,
	}
}

// matchAgent checks that an agent's ticket names an agent of the brand by all fields that
// the brand requires. Only operators learn which field did not match: otherwise a caller
// could find out a record field by field.
//
// The ticket gets the username and the phone number as they are in the record.
func (s *server) matchAgent(
	ctx context.Context, set directory.Effective, t *token.Ticket, phone string,
) *refusal {
	given := directory.Fields{
		Email: t.Email, Phone1: phone, UniqueID: t.UniqueID, FirstName: t.FirstName, LastName: t.LastName,
		Region: set.Region,
	}
	if missing := missingDetails(set.RequiredAgentFields, given); len(missing) > 0 {
		if _, err := directory.E164(phone, set.Region); phone != "" && err != nil {
			return refusedField(err)
		}
		return badFields(missing)
	}
	agent, err := s.Directory.MatchAgent(ctx, t.Brand, t.Username, given)
	if err != nil {
		if wrong, ok := errors.AsType[*directory.FieldError](err); ok {
			return badField(wrong.Field, wrong.Reason)
		}
		if mismatch, ok := errors.AsType[*directory.MismatchError](err); ok {
			return notFound("the brand has no agent with this username and these details", mismatch.Error())
		}
		return undecided(err)
	}
	t.Username = agent.Username
	if phone != "" {
		t.Phone1 = agent.Phone1
	}
	return nil
}

// missingDetails returns the mistakes for details of an agent that are not given: those that
// the brand requires, or else any that says who the agent is.
func missingDetails(required []string, given directory.Fields) []client.FieldError {
	missing := missingFields(required, given)
	if len(missing) == 0 && given.Email == "" && given.Phone1 == "" && given.UniqueID == "" {
		missing = []client.FieldError{{
			Field: "email", Reason: "is missing, and so are phone1 and uniqueId; give at least one of them",
		}}
	}
	return missing
}

// missingFields returns the mistakes for required fields that are not given.
func missingFields(required []string, given directory.Fields) (missing []client.FieldError) {
	if len(required) == 0 {
		return nil
	}
	values := map[string]string{
		"email": given.Email, "phone1": given.Phone1, "uniqueId": given.UniqueID,
		"firstName": given.FirstName, "lastName": given.LastName,
	}
	for _, name := range required {
		if values[name] == "" {
			missing = append(missing, client.FieldError{
				Field: name, Reason: "is missing; the brand requires it of its agents",
			})
		}
	}
	return missing
}

// apply sets the fields of t that depend on the settings.
func (s *server) apply(set directory.Effective, t *token.Ticket, q client.IssueRequest) *refusal {
	t.OneTime = set.OneTime
	if q.OneTimeUse != nil {
		t.OneTime = *q.OneTimeUse
	}
	longest, ordinary := min(set.MaxLifetime, s.MaxLifetime), set.AgentLifetime
	if t.Audience == token.Customer {
		ordinary = set.CustomerLifetime
	}
	if q.ExpiresIn > longest {
		return badField("expiresIn",
			fmt.Sprintf("is more than the %d seconds that are the longest here; ask for less", int(longest.Seconds())))
	}
	t.Lifetime = cmp.Or(q.ExpiresIn, min(ordinary, longest))
	return nil
}
