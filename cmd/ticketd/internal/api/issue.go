package api

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"

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
	t, text, no := s.issue(r, c.key, q)
	if no != nil {
		return no
	}
	s.Metrics.Issued(t)
	s.logIssued(r, t)
	s.reply(w, http.StatusOK, "Operation successful", issued{text})
	return nil
}

// issue makes the ticket that is asked for.
func (s *server) issue(r *http.Request, key directory.APIKey, q ticketRequest) (_ *token.Ticket, text string, no *refusal) {
	t := &token.Ticket{
		Audience: token.Customer, Brand: q.brand, Username: q.username, Email: q.email, UniqueID: q.uniqueID,
		FirstName: q.firstName, LastName: q.lastName, Remark: q.remark, Channel: q.channel,
		OverrideUserInfo: q.overrideUserInfo, Actor: key.ID,
	}
	if q.phone1 != "" {
		t.Phone1 = "+1" // stands in until the brand's region is known
	}
	if t.Username != "" {
		t.Audience = token.Agent
		// The flag means nothing for agents, and requests carry it all the same.
		t.OverrideUserInfo = false
	}
	// Before any look-up, so that a field too long is told from a record not found.
	var field *token.FieldError
	if err := t.Validate(); errors.As(err, &field) {
		return nil, "", badField(field.Field, field.Reason)
	}
	set, no := s.settings(r, key, t)
	if no != nil {
		return nil, "", no
	}
	if q.phone1 != "" {
		phone, err := directory.E164(q.phone1, set.Region)
		if e, ok := errors.AsType[*directory.FieldError](err); ok {
			return nil, "", badField(e.Field, e.Reason)
		} else if err != nil {
			return nil, "", internal(err)
		}
		t.Phone1 = phone
	}
	if t.Audience == token.Agent {
		if no := s.matchAgent(r, set, t); no != nil {
			return nil, "", no
		}
	}
	if no := s.apply(set, t, q); no != nil {
		return nil, "", no
	}
	text, err := s.Issuer.Issue(t)
	if errors.As(err, &field) {
		return nil, "", badField(field.Field, field.Reason)
	} else if err != nil {
		return nil, "", internal(err)
	}
	return t, text, nil
}

// settings finds the brand, and the channel if the ticket is for one, and checks
// that the key may issue for it and that tickets are switched on.
func (s *server) settings(r *http.Request, key directory.APIKey, t *token.Ticket) (directory.Effective, *refusal) {
	var none directory.Effective
	brand, err := s.Directory.Brand(r.Context(), t.Brand)
	switch {
	case errors.Is(err, directory.ErrNotFound):
		return none, &refusal{status: http.StatusNotFound, description: "Not found: there is no such brand; check its spelling", reason: "no such brand"}
	case err != nil:
		return none, internal(err)
	case !key.Allows(directory.ScopeIssue, brand.Name):
		return none, &refusal{status: http.StatusUnauthorized, description: "Unauthorized: the API key is not for this brand; use one of the brand's", reason: "API key of another brand"}
	}
	set, place := brand.Effective(nil), "brand"
	if t.Channel != "" {
		c, err := s.Directory.Channel(r.Context(), t.Brand, t.Channel)
		switch {
		case errors.Is(err, directory.ErrNotFound):
			return none, &refusal{status: http.StatusNotFound, description: "Not found: the brand has no such channel; give the channel's internal ID", reason: "no such channel"}
		case err != nil:
			return none, internal(err)
		}
		if set = brand.Effective(&c); c.TicketLogin != nil {
			place = "channel"
		}
	}
	if !set.APIAddresses.Allow(clientOf(r)) {
		return none, addressRefused()
	}
	if !set.TicketLogin {
		return none, &refusal{status: http.StatusNotImplemented, description: "Not implemented: ticket login is switched off for this " + place, reason: "ticket login off"}
	}
	return set, nil
}

// matchAgent checks that an agent's ticket names an agent of the brand by all
// the fields that the brand asks for. Which of them did not match is told to
// operators only: the caller could find out a record field by field.
func (s *server) matchAgent(r *http.Request, set directory.Effective, t *token.Ticket) *refusal {
	values := map[string]string{"email": t.Email, "phone1": t.Phone1, "uniqueId": t.UniqueID, "firstName": t.FirstName, "lastName": t.LastName}
	var missing []fault
	for _, name := range set.RequiredAgentFields {
		if values[name] == "" {
			missing = append(missing, fault{name, "is missing; the brand requires it of its agents"})
		}
	}
	if len(missing) == 0 && t.Email == "" && t.Phone1 == "" && t.UniqueID == "" {
		missing = []fault{{"email", "is missing, and so are phone1 and uniqueId; give at least one of them"}}
	}
	if len(missing) > 0 {
		return badFields(missing)
	}
	_, err := s.Directory.MatchAgent(r.Context(), t.Brand, t.Username, directory.Fields{
		Email: t.Email, Phone1: t.Phone1, UniqueID: t.UniqueID, FirstName: t.FirstName, LastName: t.LastName,
	})
	var mismatch *directory.MismatchError
	switch {
	case errors.As(err, &mismatch):
		return &refusal{status: http.StatusNotFound, description: "Not found: the brand has no agent with this username and these details", reason: mismatch.Error()}
	case err != nil:
		return internal(err)
	}
	return nil
}

// apply sets what t is to be from the request and the settings.
func (s *server) apply(set directory.Effective, t *token.Ticket, q ticketRequest) *refusal {
	t.OneTime = set.OneTime
	if q.oneTimeUse != nil {
		t.OneTime = *q.oneTimeUse
	}
	longest, ordinary := min(set.MaxLifetime, s.MaxLifetime), set.AgentLifetime
	if t.Audience == token.Customer {
		ordinary = set.CustomerLifetime
	}
	if q.expiresIn > longest {
		return badField("expiresIn", fmt.Sprintf("is more than the %d seconds that are the longest here; ask for less", int(longest.Seconds())))
	}
	t.Lifetime = cmp.Or(q.expiresIn, min(ordinary, longest))
	return nil
}
