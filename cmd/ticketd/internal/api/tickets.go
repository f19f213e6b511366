package api

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/admitone/admitone/client"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/metrics"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
)

// Tickets makes and explains tickets for the administration, by the rules of the operations
// under /auth/.
type Tickets struct{ s *server }

// NewTickets returns Tickets. Of the Config it needs what an issue and an inspection need:
// Directory, Issuer, Verifier, Metrics, Now, Skew and MaxLifetime. Log and Audit have defaults.
func NewTickets(c Config) *Tickets { return &Tickets{newServer(c)} }

// A RefusedError is the error for a ticket that POST /auth/ticket would not issue either.
type RefusedError struct {
	Description string              // of the API's answer
	Reason      string              // for administrators; the API tells only operators
	Fields      []client.FieldError // the wrong fields, if fields are wrong
}

// Error returns the description and the reason.
func (e *RefusedError) Error() string { return e.Description + " (" + e.Reason + ")" }

// Issue makes a ticket of a brand, as POST /auth/ticket does for an API key of the brand from
// the address of the actor. The audit event is the actor's. The error may be a *RefusedError.
func (t *Tickets) Issue(
	ctx context.Context, by directory.Actor, q client.IssueRequest,
) (token.Ticket, string, error) {
	from, _ := netip.ParseAddr(by.Remote) // the zero Addr is on no allow-list
	key := directory.APIKey{
		ID: shortened(by.Name), Scopes: []directory.Scope{directory.ScopeIssue}, Brands: []string{q.Brand},
	}
	made, text, denied := t.s.issue(ctx, from, key, q)
	switch {
	case denied == nil:
	case denied.undecided || denied.status == http.StatusInternalServerError:
		return token.Ticket{}, "", errors.New(denied.reason)
	default:
		return token.Ticket{}, "", &RefusedError{denied.description, denied.reason, denied.fields}
	}
	t.s.Metrics.Issued(made)
	t.s.recordBy(by, directory.ActionIssueTicket, made, "")
	t.s.logIssuedFor(ctx, by.Remote, made)
	return *made, text, nil
}

// maxActor is the longest name of an actor in a ticket, in bytes.
const maxActor = 64

// shortened returns a name that fits into a ticket.
func shortened(name string) string {
	if len(name) <= maxActor {
		return name
	}
	return strings.ToValidUTF8(name[:maxActor], "")
}

// An Explanation says what a ticket is and what the service would do with it now.
type Explanation struct {
	Ticket    *token.Ticket // nil unless the text has a genuine ticket
	Reason    verify.Reason // why the ticket would be refused now; "" if it would be admitted
	Why       string        // the Reason for people
	Used      bool          // whether the replay store knows of a redemption
	FirstUsed time.Time     // of the redemption, if the store knows
	Revoked   bool

	// Addresses are those from which an agent may enter; empty means any. Whether the person's
	// address is among them is not known here.
	Addresses directory.Addresses
}

// ticketText finds tickets in a text.
var ticketText = regexp.MustCompile(`tkt[0-9]+_[A-Za-z0-9_-]+`)

// TicketIn returns the first text of a ticket's form in a text, such as a URL or an answer of
// the API, and "" if there is none.
func TicketIn(text string) string { return ticketText.FindString(unescaped(text)) }

// Open returns the ticket in a text, and spends nothing. The error is a *verify.Error: the
// ticket is not genuine.
func (t *Tickets) Open(ctx context.Context, text string) (token.Ticket, error) {
	return t.s.openTicket(ctx, text)
}

// Explain explains a ticket, and spends nothing. It supposes that the ticket is used where it
// is meant to be. For a genuine ticket, there is an audit event of the actor's.
func (t *Tickets) Explain(ctx context.Context, by directory.Actor, text string) (e Explanation) {
	s := t.s
	var at site
	use := func(opened token.Ticket, u *verify.Use) (err error) {
		e.Ticket, u.Audience, u.Channel = &opened, opened.Audience, opened.Channel
		if opened.Audience == token.Administrator {
			return nil
		}
		if at, err = s.lookUpSite(ctx, opened.Brand, opened.Channel); err == nil {
			place := *at.Place // others read it too
			e.Addresses, place.Settings.LoginAddresses = place.Settings.LoginAddresses, nil
			at.Place = &place
			e.Revoked, err = s.Directory.TicketRevoked(ctx, opened.Brand, opened.Issuer, opened.ID)
		}
		return err
	}
	check := func(opened token.Ticket) error {
		if opened.Audience == token.Administrator { // the console has the records
			return nil
		}
		_, err := s.admit(ctx, opened, at, netip.Addr{})
		return err
	}
	verdict, err := s.Verifier.Inspect(ctx, text, verify.Use{Complete: use, Check: check})
	e.judge(err)
	if e.Ticket == nil && err != nil {
		e.Ticket = verify.AsError(err).Refused // its issuer may not issue it
	}
	if e.Ticket == nil {
		return e
	}
	if e.Ticket.Audience != token.Agent {
		e.Addresses = nil
	}
	if e.Ticket.OneTime && err != nil && !e.Used {
		// A ticket that is refused for another reason may be used as well.
		_, err := s.Verifier.Inspect(ctx, text, verify.Use{Complete: use, Check: func(token.Ticket) error {
			return verify.ErrAskFirst
		}})
		e.noteUse(err)
	}
	s.Metrics.Verified(metrics.Inspect, verdict, err, s.Now())
	s.recordBy(by, directory.ActionInspectTicket, e.Ticket, string(e.Reason))
	return e
}

// judge notes the verdict on the ticket.
func (e *Explanation) judge(err error) {
	if err == nil {
		return
	}
	refused := verify.AsError(err)
	e.Reason = refused.Reason
	told := verify.Error{Reason: refused.Reason}
	if refused.Reason == verify.RefusedByCaller {
		told.Cause = refused.Cause
	}
	_, e.Why, _ = strings.Cut(told.Error(), ": ")
	e.noteUse(err)
}

// noteUse notes an earlier redemption.
func (e *Explanation) noteUse(err error) {
	refused := verify.AsError(err)
	if slices.Contains([]verify.Reason{verify.AlreadyUsed, verify.PossiblyUsed}, refused.Reason) {
		e.Used, e.FirstUsed = true, refused.FirstUsed
	}
}
