package api

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/metrics"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
)

// notNow is when to ask again where a ticket could not be decided.
const notNow = 5 * time.Second

const minBinding, maxBinding = 16, 1024 // bytes

// redemption is the body of POST /auth/redeem and /auth/inspect.
type redemption struct {
	ticket      string
	audience    token.Audience
	channel     string
	channelCode string
	address     netip.Addr // the person's; zero: not given
	binding     [32]byte   // zero: none

	foreign *token.Ticket // what the ticket says, for the log only, where it is not for the caller's brands
}

func parseRedemption(raw []byte) (q redemption, _ []fault, err error) {
	b, err := readBody(raw, `{"ticket":"tkt1_…","audience":"agent"}`)
	if err != nil {
		return q, nil, err
	}
	q.ticket = unescaped(b.text("ticket", false))
	audience := b.text("audience", false)
	q.channel, q.channelCode = b.text("channel", false), b.text("channelCode", false)
	address, binding := b.text("address", false), b.text("binding", false)
	wrong := b.faults()
	add := func(name, reason string) {
		if !mentions(wrong, name) {
			wrong = append(wrong, fault{name, reason})
		}
	}
	if mentions(wrong, "data") {
		return q, wrong, nil
	}
	if q.ticket == "" {
		add("ticket", "is missing; send what stood behind ta= in the URL")
	}
	switch audience {
	case "agent":
		q.audience = token.Agent
	case "customer":
		q.audience = token.Customer
	case "":
		add("audience", "is missing; send agent or customer, whichever enters here")
	default:
		add("audience", "is neither agent nor customer")
	}
	switch {
	case q.channel != "" && q.channelCode != "":
		add("channelCode", "stands beside channel; send one of the two")
	case q.channel+q.channelCode != "" && q.audience == token.Agent:
		add("channel", "is for customers only; agents enter no channel")
	}
	if address != "" {
		if q.address, err = netip.ParseAddr(address); err != nil {
			add("address", "is not an IP address; send the person's, without a port")
		}
	}
	switch {
	case binding == "":
	case len(binding) < minBinding || len(binding) > maxBinding:
		add("binding", "is not 16 to 1024 bytes long; send a random value, the same with each attempt")
	default:
		q.binding = sha256.Sum256([]byte(binding))
	}
	return q, wrong, nil
}

// unescaped undoes percent-encoding: clients hand on what stood in the URL, which
// may be encoded up to twice. A ticket has no percent sign of its own.
func unescaped(ticket string) string {
	for range 2 {
		if once, err := url.PathUnescape(ticket); err == nil {
			ticket = once
		}
	}
	return ticket
}

// errChannelCode is why no channel can be entered, whether or not the ticket is
// bound to one.
var errChannelCode = errors.New("the channelCode stands for no channel of the ticket's brand; send it as it is in the chat URL")

// examine prepares a redemption: it reads the body, and says what the ticket would
// be used for. The verdict, if not nil, is given without asking the Verifier.
func (s *server) examine(r *http.Request, c call) (q redemption, verdict *verify.Error, no *refusal) {
	q, wrong, err := parseRedemption(c.body)
	if err != nil {
		return q, nil, badBody(err)
	}
	if len(wrong) > 0 {
		return q, nil, badFields(wrong)
	}
	var t token.Ticket
	if token.Open(s.Opener, s.ad, q.ticket, &t) != nil {
		return q, nil, nil // the Verifier says why
	}
	// First of all, and whatever else is wrong: of another brand's ticket a key
	// learns nothing more.
	if !c.key.Allows(directory.ScopeRedeem, t.Brand) {
		q.foreign = &t
		return q, &verify.Error{Reason: verify.WrongBrand}, nil
	}
	if q.channelCode != "" {
		if q.channel, err = s.Channels.ID(t.Brand, unescaped(q.channelCode)); err != nil {
			verdict = &verify.Error{Reason: verify.WrongChannel, Refused: &t, Cause: errChannelCode}
		}
	}
	set, err := s.callSettings(r.Context(), t, q.channel)
	switch {
	case errors.Is(err, directory.ErrNotFound): // admit will refuse it
	case err != nil:
		return q, &verify.Error{Reason: verify.StoreUnavailable, Cause: err}, nil
	case !set.APIAddresses.Allow(clientOf(r)):
		return q, nil, addressRefused()
	}
	return q, verdict, nil
}

// callSettings returns the settings that say from where a ticket may be inspected
// and redeemed: those of the channel that it is bound to, or else of the one that
// is entered with it. Where the brand has no such channel its own hold.
func (s *server) callSettings(ctx context.Context, t token.Ticket, entered string) (directory.Effective, error) {
	channel := t.Channel
	if channel == "" && t.Audience == token.Customer {
		channel = entered
	}
	set, err := s.Directory.Effective(ctx, t.Brand, channel)
	if channel != "" && errors.Is(err, directory.ErrNotFound) {
		return s.Directory.Effective(ctx, t.Brand, "")
	}
	return set, err
}

// inspect answers POST /auth/inspect.
func (s *server) inspect(w http.ResponseWriter, r *http.Request, c call) *refusal {
	q, verdict, no := s.examine(r, c)
	if no != nil {
		return no
	}
	var t token.Ticket
	var err error
	if verdict != nil {
		err = verdict
	} else {
		t, err = s.Verifier.Inspect(r.Context(), q.ticket, verify.Use{Audience: q.audience, Channel: q.channel, Binding: q.binding, Check: func(t token.Ticket) error {
			_, err := s.admit(r.Context(), t, q.channel, q.address)
			return err
		}})
	}
	s.Metrics.Verified(metrics.Inspect, t, err, s.Now())
	s.logInspected(r, &t, q.foreign, err, c.key.ID)
	if err == nil {
		s.reply(w, http.StatusOK, "The ticket is good; it is not spent", inspected{Result: "acceptable", Ticket: view(&t)})
		return nil
	}
	e := asError(err)
	if e.Reason.CannotTell() {
		return s.cannotTell(w, e)
	}
	s.reply(w, http.StatusOK, describe(e), inspected{Result: "refused", Reason: e.Reason, FirstUsed: e.FirstUsed, Ticket: view(e.Refused)})
	return nil
}

// redeem answers POST /auth/redeem. Only an admitted ticket is a success, so that
// who looks at nothing but the status lets nobody in by mistake; and only then the
// answer has what the ticket says.
func (s *server) redeem(w http.ResponseWriter, r *http.Request, c call) *refusal {
	q, verdict, no := s.examine(r, c)
	if no != nil {
		return no
	}
	var t token.Ticket
	var h holder
	var customer directory.Customer
	var err error
	if verdict != nil {
		err = verdict
	} else {
		t, err = s.Verifier.Redeem(r.Context(), q.ticket, verify.Use{Audience: q.audience, Channel: q.channel, Binding: q.binding, Check: func(t token.Ticket) (err error) {
			if h, err = s.admit(r.Context(), t, q.channel, q.address); err != nil || t.Audience != token.Customer {
				return err
			}
			customer, err = s.findCustomer(r.Context(), t)
			return err
		}})
	}
	s.Metrics.Verified(metrics.Redeem, t, err, s.Now())
	if err != nil {
		more := []any{"redeemed_by", c.key.ID}
		if t := q.foreign; t != nil {
			more = append(more, "ticket", t.ID, "brand", t.Brand)
		}
		e := s.logRefusal(r, err, more...)
		if e.Reason.CannotTell() {
			return s.cannotTell(w, e)
		}
		no := refused{Result: "refused", Reason: e.Reason, FirstUsed: e.FirstUsed}
		if e.Refused != nil {
			no.TicketID = e.Refused.ID.String()
		}
		s.reply(w, http.StatusForbidden, describe(e), no)
		return nil
	}
	s.logRedeemed(r, t, "redeemed_by", c.key.ID)
	yes := admitted{Result: "admitted", Ticket: view(&t), Channel: q.channel}
	if t.Audience == token.Agent {
		yes.Agent = viewAgent(h.agent)
	} else {
		yes.Customer = viewCustomer(s.updateCustomer(r.Context(), t, customer))
	}
	s.reply(w, http.StatusOK, "Admitted", yes)
	return nil
}

func (s *server) cannotTell(w http.ResponseWriter, e *verify.Error) *refusal {
	w.Header().Set("Retry-After", seconds(notNow))
	s.reply(w, http.StatusServiceUnavailable, "Cannot tell now: "+(&verify.Error{Reason: e.Reason}).Error(), refused{Result: "cannot_tell", Reason: e.Reason})
	return nil
}

func asError(err error) *verify.Error {
	var e *verify.Error
	if !errors.As(err, &e) {
		e = &verify.Error{Reason: verify.StoreUnavailable, Cause: err}
	}
	return e
}

// describe says to a backend why a ticket is refused. What the service's own check
// found it may know; all other causes are for operators.
func describe(e *verify.Error) string {
	told := verify.Error{Reason: e.Reason}
	if e.Reason == verify.RefusedByCaller || errors.Is(e.Cause, errChannelCode) {
		told.Cause = e.Cause
	}
	return "Refused: " + told.Error()
}

// The data of answers.

type inspected struct {
	Result    string        `json:"result"`
	Reason    verify.Reason `json:"reason,omitempty"`
	FirstUsed time.Time     `json:"firstUsed,omitzero"`
	Ticket    *ticketView   `json:"ticket,omitempty"`
}

type refused struct {
	Result    string        `json:"result"`
	Reason    verify.Reason `json:"reason"`
	FirstUsed time.Time     `json:"firstUsed,omitzero"`
	TicketID  string        `json:"ticketId,omitempty"`
}

type admitted struct {
	Result   string        `json:"result"`
	Ticket   *ticketView   `json:"ticket"`
	Agent    *agentView    `json:"agent,omitempty"`
	Customer *customerView `json:"customer,omitempty"`
	Channel  string        `json:"channel,omitempty"`
}

// ticketView is what a ticket says.
type ticketView struct {
	ID               token.ID          `json:"id"`
	KeyID            string            `json:"keyId"`
	Audience         string            `json:"audience"`
	OneTime          bool              `json:"oneTimeUse"`
	OverrideUserInfo bool              `json:"overrideUserInfo,omitempty"`
	IssuedAt         time.Time         `json:"issuedAt"`
	ExpiresAt        time.Time         `json:"expiresAt"`
	Brand            string            `json:"brand"`
	Username         string            `json:"username,omitempty"`
	Email            string            `json:"email,omitempty"`
	UniqueID         string            `json:"uniqueId,omitempty"`
	FirstName        string            `json:"firstName,omitempty"`
	LastName         string            `json:"lastName,omitempty"`
	Phone1           string            `json:"phone1,omitempty"`
	Remark           string            `json:"remark,omitempty"`
	Channel          string            `json:"channel,omitempty"`
	Actor            string            `json:"actor,omitempty"`
	Claims           map[string]string `json:"claims,omitempty"`
}

func view(t *token.Ticket) *ticketView {
	if t == nil {
		return nil
	}
	return &ticketView{
		ID: t.ID, KeyID: t.KeyID.String(), Audience: t.Audience.String(), OneTime: t.OneTime, OverrideUserInfo: t.OverrideUserInfo,
		IssuedAt: t.IssuedAt, ExpiresAt: t.Expires(), Brand: t.Brand, Username: t.Username, Email: t.Email, UniqueID: t.UniqueID,
		FirstName: t.FirstName, LastName: t.LastName, Phone1: t.Phone1, Remark: t.Remark, Channel: t.Channel, Actor: t.Actor, Claims: t.Claims,
	}
}

// agentView and customerView are records of the directory.
type agentView struct {
	Username  string   `json:"username"`
	Email     string   `json:"email,omitempty"`
	Phone1    string   `json:"phone1,omitempty"`
	UniqueID  string   `json:"uniqueId,omitempty"`
	FirstName string   `json:"firstName,omitempty"`
	LastName  string   `json:"lastName,omitempty"`
	Groups    []string `json:"groups,omitempty"`
}

func viewAgent(a directory.Agent) *agentView {
	return &agentView{a.Username, a.Email, a.Phone1, a.UniqueID, a.FirstName, a.LastName, a.Groups}
}

type customerView struct {
	ID        string `json:"id"`
	Email     string `json:"email,omitempty"`
	Phone1    string `json:"phone1,omitempty"`
	UniqueID  string `json:"uniqueId,omitempty"`
	FirstName string `json:"firstName,omitempty"`
	LastName  string `json:"lastName,omitempty"`
	Remark    string `json:"remark,omitempty"`
}

func viewCustomer(c directory.Customer) *customerView {
	return &customerView{strconv.FormatInt(c.ID, 10), c.Email, c.Phone1, c.UniqueID, c.FirstName, c.LastName, c.Remark}
}
