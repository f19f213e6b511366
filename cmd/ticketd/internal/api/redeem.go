package api

import (
	"crypto/sha256"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	"github.com/admitone/admitone/client"
	"github.com/admitone/admitone/cmd/internal/view"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/metrics"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
)

// notNow is the Retry-After of an undecided ticket.
const notNow = 5 * time.Second

const minBinding, maxBinding = 16, 1024 // bytes

// parseRedemption reads the body of POST /auth/redeem and /auth/inspect. The error is
// about the body as a whole, the list about its fields.
func parseRedemption(raw []byte) (q client.RedeemRequest, _ []client.FieldError, err error) {
	b, err := readBody(raw, `{"ticket":"tkt1_…","audience":"agent"}`)
	if err != nil {
		return q, nil, err
	}
	q.Ticket = unescaped(b.text("ticket", false))
	q.Audience = client.Audience(b.text("audience", false))
	q.Channel, q.ChannelCode = b.text("channel", false), b.text("channelCode", false)
	address := b.text("address", false)
	q.Binding = b.text("binding", false)
	wrong := b.finish()
	add := func(name, reason string) {
		if !mentions(wrong, name) {
			wrong = append(wrong, client.FieldError{Field: name, Reason: reason})
		}
	}
	if mentions(wrong, "data") {
		return q, wrong, nil
	}
	if q.Ticket == "" {
		add("ticket", "is missing; send what stood behind ta= in the URL")
	}
	switch q.Audience {
	case client.Agent, client.Customer:
	case "":
		add("audience", "is missing; send agent or customer, whichever enters here")
	default:
		add("audience", "is neither agent nor customer")
	}
	switch {
	case q.Channel != "" && q.ChannelCode != "":
		add("channelCode", "stands beside channel; send one of the two")
	case q.Channel+q.ChannelCode != "" && q.Audience == client.Agent:
		add("channel", "is for customers only; agents enter no channel")
	}
	if address != "" {
		if q.Address, err = netip.ParseAddr(address); err != nil {
			add("address", "is not an IP address; send the person's, without a port")
		}
	}
	if n := len(q.Binding); n > 0 && (n < minBinding || n > maxBinding) {
		add("binding", "is not 16 to 1024 bytes long; send a random value, the same with each attempt")
	}
	return q, wrong, nil
}

// unescaped undoes percent-encoding: clients hand on the text from the URL, which may be
// encoded up to twice. A ticket has no percent sign of its own.
func unescaped(ticket string) string {
	for range 2 {
		if once, err := url.PathUnescape(ticket); err == nil {
			ticket = once
		}
	}
	return ticket
}

// Refusals before the times of a ticket are checked, in the order in which
// apiRedemption.completeUse checks.
var (
	// errOtherBrand: a key learns nothing else about a ticket of another brand.
	errOtherBrand = errors.New("the API key is not for the ticket's brand")

	// errOtherDoor: no API key learns anything about a ticket of an administrator.
	errOtherDoor = errors.New("the ticket is an administrator's, which opens the console alone")

	// errAddress is answered as a refusal of the request, not as a verdict.
	errAddress = errors.New("the request's address is not on the allow-list")

	// errChannelCode is the refusal whether or not the ticket is bound to a channel.
	errChannelCode = errors.New(
		"the channelCode stands for no channel of the ticket's brand; send it as it is in the chat URL")
)

// apiRedemption is a backend's request to redeem or inspect a ticket, and the directory's
// records for it.
type apiRedemption struct {
	*server
	q   client.RedeemRequest
	r   *http.Request
	key directory.APIKey

	site     site
	agent    directory.Agent
	customer found
	checked  time.Time // right before the claim
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

// use returns the use of the ticket, with a check.
func (a *apiRedemption) use(check func(token.Ticket) error) verify.Use {
	u := verify.Use{Audience: token.Customer, Channel: a.q.Channel, Complete: a.completeUse, Check: check}
	if a.q.Audience == client.Agent {
		u.Audience = token.Agent
	}
	if a.q.Binding != "" {
		u.Binding = sha256.Sum256([]byte(a.q.Binding))
	}
	return u
}

// admitHolder is the service's own check of a ticket.
func (a *apiRedemption) admitHolder(t token.Ticket) (err error) {
	a.agent, err = a.admit(a.r.Context(), t, a.site, a.q.Address)
	return err
}

// prepareClaim is admitHolder, and finds the customer before the ticket is spent.
func (a *apiRedemption) prepareClaim(t token.Ticket) (err error) {
	if err = a.admitHolder(t); err == nil && t.Audience == token.Customer {
		a.customer, err = a.findCustomer(a.r.Context(), t)
	}
	a.checked = time.Now()
	return err
}

// completeUse reads the site of a ticket. It refuses a key, an address or a channel code
// that is not good there.
func (a *apiRedemption) completeUse(t token.Ticket, u *verify.Use) (err error) {
	if t.Audience == token.Administrator {
		return &verify.Error{Reason: verify.WrongAudience, Cause: errOtherDoor}
	}
	if !a.key.Allows(directory.ScopeRedeem, t.Brand) {
		return &verify.Error{Reason: verify.WrongBrand, Cause: errOtherBrand}
	}
	if a.q.ChannelCode != "" {
		a.q.Channel = a.channelOf(t.Brand, unescaped(a.q.ChannelCode))
		u.Channel = a.q.Channel
	}
	// The allow-list belongs to the channel to which the ticket is bound, or else to the
	// channel that the customer enters. If the two differ, the ticket is refused before
	// admit.
	channel := t.Channel
	if channel == "" && t.Audience == token.Customer {
		channel = a.q.Channel
	}
	if a.site, err = a.lookUpSite(a.r.Context(), t.Brand, channel); err != nil {
		return err
	}
	if !a.site.Settings.APIAddresses.Allow(clientOf(a.r)) {
		return errAddress
	}
	if a.q.ChannelCode != "" && a.q.Channel == "" {
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
	t, err := s.Verifier.Inspect(r.Context(), a.q.Ticket, a.use(a.admitHolder))
	if errors.Is(err, errAddress) {
		return addressRefused()
	}
	s.Metrics.Verified(metrics.Inspect, t, err, s.Now())
	s.logInspected(r, t, err, c.key.ID)
	if err == nil {
		found := client.Inspection{Result: client.Acceptable, Ticket: view.Ticket(&t)}
		s.reply(w, http.StatusOK, "The ticket is good; it is not spent", found)
		return nil
	}
	e := verify.AsError(err)
	if e.Reason.CannotTell() {
		return s.cannotTell(w, e)
	}
	s.reply(w, http.StatusOK, describe(e), client.Inspection{
		Result:    client.Refused,
		Reason:    client.Reason(e.Reason),
		FirstUsed: e.FirstUsed,
		Ticket:    view.Ticket(a.toldTicket(e)),
	})
	return nil
}

// redeem answers POST /auth/redeem. Only an admitted ticket is a success, so that a caller
// who looks only at the status admits nobody by mistake. Only a success has the contents
// of the ticket.
func (s *server) redeem(w http.ResponseWriter, r *http.Request, c call) *refusal {
	a, denied := s.readRedemption(r, c)
	if denied != nil {
		return denied
	}
	t, err := s.Verifier.Redeem(r.Context(), a.q.Ticket, a.use(a.prepareClaim))
	if errors.Is(err, errAddress) {
		return addressRefused()
	}
	s.countRedemption(r, t, err)
	s.Verifier.Log(r.Context(), s.Log, t, err, slog.String("redeemed_by", c.key.ID), slog.String("remote", remote(r)))
	if err != nil {
		e := verify.AsError(err)
		if e.Reason.CannotTell() {
			return s.cannotTell(w, e)
		}
		answer := client.Error{Result: client.Refused, Reason: client.Reason(e.Reason), FirstUsed: e.FirstUsed}
		if told := a.toldTicket(e); told != nil {
			answer.TicketID = told.ID.String()
		}
		s.reply(w, http.StatusForbidden, describe(e), answer)
		return nil
	}
	answer := &client.Redemption{Result: client.Admitted, Ticket: view.Ticket(&t), Channel: a.q.Channel}
	if t.Audience == token.Agent {
		answer.Agent = agentRecord(a.agent)
	} else {
		ctx, cancel := afterClaim(r.Context(), a.checked)
		defer cancel()
		answer.Customer = customerRecord(s.updateCustomer(ctx, t, a.customer))
	}
	s.reply(w, http.StatusOK, "Admitted", answer)
	return nil
}

// toldTicket returns the refused ticket if the caller may learn about it, or else nil. A ticket
// that its issuer may not issue is refused before completeUse.
func (a *apiRedemption) toldTicket(e *verify.Error) *token.Ticket {
	t := e.Refused
	if t == nil || t.Audience == token.Administrator || !a.key.Allows(directory.ScopeRedeem, t.Brand) {
		return nil
	}
	return t
}

func (s *server) cannotTell(w http.ResponseWriter, e *verify.Error) *refusal {
	w.Header().Set("Retry-After", seconds(notNow))
	description := "Cannot tell now: " + (&verify.Error{Reason: e.Reason}).Error()
	answer := client.Error{Result: client.CannotTell, Reason: client.Reason(e.Reason)}
	status := http.StatusServiceUnavailable
	if e.Reason == verify.IssuerOverRate {
		status = http.StatusTooManyRequests // no outage, which a proxy might hold against this service
	}
	s.reply(w, status, description, answer)
	return nil
}

// describe tells a backend why a ticket is refused. Of the causes, only those of the
// service's own check are for backends; all others are for operators.
func describe(e *verify.Error) string {
	told := verify.Error{Reason: e.Reason}
	if e.Reason == verify.RefusedByCaller || errors.Is(e.Cause, errChannelCode) {
		told.Cause = e.Cause
	}
	if errors.Is(e.Cause, errDetails) {
		told.Cause = errDetails
	}
	return "Refused: " + told.Error()
}

func agentRecord(a directory.Agent) *client.AgentRecord {
	return &client.AgentRecord{
		Username: a.Username, Email: a.Email, Phone1: a.Phone1, UniqueID: a.UniqueID,
		FirstName: a.FirstName, LastName: a.LastName, Groups: a.Groups,
	}
}

func customerRecord(c directory.Customer) *client.CustomerRecord {
	return &client.CustomerRecord{
		ID: strconv.FormatInt(c.ID, 10), Email: c.Email, Phone1: c.Phone1, UniqueID: c.UniqueID,
		FirstName: c.FirstName, LastName: c.LastName, Remark: c.Remark,
	}
}
