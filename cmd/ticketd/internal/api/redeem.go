package api

import (
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

// Why a ticket is refused before its times are looked at. The order in which
// apiRedemption.completeUse asks is the order of these.
var (
	// errOtherBrand: a key learns nothing else about a ticket of another brand.
	errOtherBrand = errors.New("the API key is not for the ticket's brand")

	// errAddress is answered as a refusal of the request, not as a verdict.
	errAddress = errors.New("the request's address is not on the allow-list")

	// errChannelCode is the refusal whether or not the ticket is bound to a channel.
	errChannelCode = errors.New(
		"the channelCode stands for no channel of the ticket's brand; send it as it is in the chat URL")
)

// apiRedemption is one request of a backend to redeem or inspect a ticket, and the
// records that the directory has for it.
type apiRedemption struct {
	*server
	q   redemption
	r   *http.Request
	key directory.APIKey

	site  site
	agent directory.Agent
}

// readRedemption reads the body of a request.
func (s *server) readRedemption(r *http.Request, c call) (*apiRedemption, *refusal) {
	q, wrong, err := parseRedemption(c.body)
	if err != nil {
		return nil, badBody(err)
	}
	if len(wrong) > 0 {
		return nil, badFields(wrong)
	}
	return &apiRedemption{server: s, q: q, r: r, key: c.key}, nil
}

// use is the use of the ticket. check runs after the service's own check.
func (a *apiRedemption) use(check func(token.Ticket) error) verify.Use {
	return verify.Use{
		Audience: a.q.audience, Channel: a.q.channel, Binding: a.q.binding,
		Complete: a.completeUse,
		Check: func(t token.Ticket) (err error) {
			if a.agent, err = a.admit(a.r.Context(), t, a.site, a.q.address); err != nil {
				return err
			}
			return check(t)
		},
	}
}

// completeUse reads the site of a ticket, and refuses a key, an address and a channel
// code that are not good there.
func (a *apiRedemption) completeUse(t token.Ticket, u *verify.Use) (err error) {
	if !a.key.Allows(directory.ScopeRedeem, t.Brand) {
		return &verify.Error{Reason: verify.WrongBrand, Cause: errOtherBrand}
	}
	if a.q.channelCode != "" {
		a.q.channel = a.channelOf(t.Brand, unescaped(a.q.channelCode))
		u.Channel = a.q.channel
	}
	// The allow-list is that of the channel to which the ticket is bound, or else of
	// the channel that the customer enters. If the two differ, the ticket is refused
	// before admit.
	channel := t.Channel
	if channel == "" && t.Audience == token.Customer {
		channel = a.q.channel
	}
	if a.site, err = a.lookUpSite(a.r.Context(), t.Brand, channel); err != nil {
		return err
	}
	if !a.site.settings.APIAddresses.Allow(clientOf(a.r)) {
		return errAddress
	}
	if a.q.channelCode != "" && a.q.channel == "" {
		return &verify.Error{Reason: verify.WrongChannel, Cause: errChannelCode}
	}
	return nil
}

// inspect answers POST /auth/inspect.
func (s *server) inspect(w http.ResponseWriter, r *http.Request, c call) *refusal {
	a, denied := s.readRedemption(r, c)
	if denied != nil {
		return denied
	}
	t, err := s.Verifier.Inspect(r.Context(), a.q.ticket, a.use(func(token.Ticket) error { return nil }))
	if errors.Is(err, errAddress) {
		return addressRefused()
	}
	s.Metrics.Verified(metrics.Inspect, t, err, s.Now())
	s.logInspected(r, t, err, c.key.ID)
	if err == nil {
		s.reply(w, http.StatusOK, "The ticket is good; it is not spent", inspected{Result: "acceptable", Ticket: view(&t)})
		return nil
	}
	e := verify.AsError(err)
	if e.Reason.CannotTell() {
		return s.cannotTell(w, e)
	}
	s.reply(w, http.StatusOK, describe(e),
		inspected{Result: "refused", Reason: e.Reason, FirstUsed: e.FirstUsed, Ticket: view(toldTicket(e))})
	return nil
}

// redeem answers POST /auth/redeem. Only an admitted ticket is a success, so that a
// caller who looks at nothing but the status lets nobody in by mistake. Only a success
// has the contents of the ticket.
func (s *server) redeem(w http.ResponseWriter, r *http.Request, c call) *refusal {
	a, denied := s.readRedemption(r, c)
	if denied != nil {
		return denied
	}
	var customer directory.Customer
	made := false
	t, err := s.Verifier.Redeem(r.Context(), a.q.ticket, a.use(func(t token.Ticket) (err error) {
		if t.Audience == token.Customer {
			customer, made, err = s.findCustomer(r.Context(), t)
		}
		return err
	}))
	if errors.Is(err, errAddress) {
		return addressRefused()
	}
	s.countRedemption(r, t, err)
	s.Verifier.Log(s.Log, t, err, "redeemed_by", c.key.ID, "remote", remote(r))
	if err != nil {
		e := verify.AsError(err)
		if e.Reason.CannotTell() {
			return s.cannotTell(w, e)
		}
		answer := refused{Result: "refused", Reason: e.Reason, FirstUsed: e.FirstUsed}
		if told := toldTicket(e); told != nil {
			answer.TicketID = told.ID.String()
		}
		s.reply(w, http.StatusForbidden, describe(e), answer)
		return nil
	}
	answer := admitted{Result: "admitted", Ticket: view(&t), Channel: a.q.channel}
	if t.Audience == token.Agent {
		answer.Agent = viewAgent(a.agent)
	} else {
		if !made {
			customer = s.updateCustomer(r.Context(), t, customer)
		}
		answer.Customer = viewCustomer(customer)
	}
	s.reply(w, http.StatusOK, "Admitted", answer)
	return nil
}

// toldTicket returns the refused ticket that the caller may learn about, or nil.
func toldTicket(e *verify.Error) *token.Ticket {
	if errors.Is(e, errOtherBrand) {
		return nil
	}
	return e.Refused
}

func (s *server) cannotTell(w http.ResponseWriter, e *verify.Error) *refusal {
	w.Header().Set("Retry-After", seconds(notNow))
	s.reply(w, http.StatusServiceUnavailable, "Cannot tell now: "+(&verify.Error{Reason: e.Reason}).Error(), refused{Result: "cannot_tell", Reason: e.Reason})
	return nil
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
