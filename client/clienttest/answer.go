package clienttest

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/admitone/admitone/client"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
)

// request is a request with a good API key.
type request struct {
	w      http.ResponseWriter
	r      *http.Request
	actor  string   // ID of the API key
	brands []string // of the API key; nil: all
}

func (q *request) allows(brand string) bool {
	return q.brands == nil || slices.Contains(q.brands, brand)
}

// read decodes the body. The fields may stand in an object data.
func (q *request) read(into any) *client.Error {
	body, err := drain(q.w, q.r)
	var outer struct{ Data json.RawMessage }
	if err == nil {
		err = json.Unmarshal(body, &outer)
	}
	if err == nil && outer.Data != nil {
		body = outer.Data
	}
	if err == nil {
		d := json.NewDecoder(bytes.NewReader(body))
		d.DisallowUnknownFields()
		err = d.Decode(into)
	}
	if err != nil {
		return &client.Error{Status: http.StatusBadRequest, Description: "Bad request: " + err.Error()}
	}
	return nil
}

// operation authenticates requests, and answers the error of do.
func (s *Service) operation(path string, do func(*request) *client.Error) http.Handler {
	methods := []string{http.MethodPost}
	if path == "/core/systemstatus" {
		methods = []string{http.MethodGet, http.MethodHead}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		if !slices.Contains(methods, r.Method) {
			w.Header().Set("Allow", strings.Join(methods, ", "))
			refuse(w, &client.Error{Status: http.StatusNotImplemented, Description: "Not implemented: use " + methods[0]})
			return
		}
		scheme, key, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		s.mu.Lock()
		brands, ok := s.keys[key]
		s.mu.Unlock()
		if !ok || !strings.EqualFold(scheme, "Bearer") {
			refuse(w, unauthorized("the API key is not accepted"))
			return
		}
		if e := do(&request{w, r, key[4:14], brands}); e != nil {
			refuse(w, e)
		}
	})
}

func unauthorized(why string) *client.Error {
	return &client.Error{Status: http.StatusUnauthorized, Description: "Unauthorized: " + why}
}

func notFound(what string) *client.Error {
	return &client.Error{Status: http.StatusNotFound, Description: "Not found: there is no such " + what}
}

func wrongField(name, reason string) *client.Error {
	return &client.Error{
		Status: http.StatusBadRequest, Description: "Bad request: " + name + " " + reason,
		Fields: []client.FieldError{{Field: name, Reason: reason}},
	}
}

// wrongTicket is the answer to a request for a ticket that cannot be.
func wrongTicket(err error) *client.Error {
	if wrong, ok := errors.AsType[*token.FieldError](err); ok {
		return wrongField(wrong.Field, wrong.Reason)
	}
	return &client.Error{Status: http.StatusInternalServerError, Description: "Internal error: " + err.Error()}
}

func reply(w http.ResponseWriter, status int, description string, data any) {
	answer := client.Envelope{
		Status: strconv.Itoa(status), Description: description,
		ResponseTime: time.Now().UTC().Format("2006-01-02T15:04:05.9999999Z"), Data: data,
	}
	if status >= http.StatusBadRequest {
		answer.RequestID = w.Header().Get(requestID)
	}
	body, err := json.Marshal(answer)
	if err != nil {
		panic(err) // all data are of types of package client
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // to a client that may be gone
}

func refuse(w http.ResponseWriter, e *client.Error) {
	setRetryAfter(w.Header(), e.RetryAfter)
	if e.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	if e.Result == "" && len(e.Fields) == 0 {
		reply(w, e.Status, e.Description, nil)
		return
	}
	reply(w, e.Status, e.Description, e)
}

// status answers GET /core/systemstatus.
func (s *Service) status(q *request) *client.Error {
	reply(q.w, http.StatusOK, "System is operational", nil)
	return nil
}

// issue answers POST /auth/ticket.
func (s *Service) issue(q *request) *client.Error {
	var asked struct {
		client.IssueRequest
		ExpiresIn int64 `json:"expiresIn"` // seconds
	}
	if e := q.read(&asked); e != nil {
		return e
	}
	t := &token.Ticket{
		Audience: token.Customer, Brand: asked.Brand, Username: asked.Username, Email: asked.Email,
		UniqueID: asked.UniqueID, FirstName: asked.FirstName, LastName: asked.LastName, Phone1: asked.Phone1,
		Remark: asked.Remark, Channel: asked.Channel, OverrideUserInfo: asked.OverrideUserInfo, Actor: q.actor,
		OneTime: asked.OneTimeUse != nil && *asked.OneTimeUse, Lifetime: time.Duration(asked.ExpiresIn) * time.Second,
	}
	if t.Phone1 != "" && !strings.HasPrefix(t.Phone1, "+") {
		t.Phone1 = "+" + t.Phone1
	}
	usual := token.CustomerLifetime
	if t.Username != "" {
		t.Audience, t.OverrideUserInfo, usual = token.Agent, false, token.AgentLifetime
	}
	t.Lifetime = cmp.Or(t.Lifetime, usual)
	if err := t.Validate(); err != nil {
		return wrongTicket(err)
	}
	if e := s.place(q, t); e != nil {
		return e
	}
	if t.Lifetime < 0 || t.Lifetime > token.MaxLifetime {
		return wrongField("expiresIn", fmt.Sprintf("is not from 1 to %.0f seconds", token.MaxLifetime.Seconds()))
	}
	text, err := s.issuer.Issue(t)
	if err != nil {
		return wrongTicket(err)
	}
	reply(q.w, http.StatusOK, "Operation successful", client.Issued{Ticket: text})
	return nil
}

// place checks that brand, channel and agent of a new ticket exist, and writes the agent's name
// as the record does.
func (s *Service) place(q *request, t *token.Ticket) *client.Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.brands[t.Brand]
	switch {
	case b == nil:
		return notFound("brand")
	case !q.allows(t.Brand):
		return unauthorized("the API key is not for this brand")
	case t.Channel != "" && !slices.Contains(b.channels, t.Channel):
		return notFound("channel")
	case t.Audience == token.Customer:
		return nil
	case t.Email+t.Phone1+t.UniqueID == "":
		return wrongField("email", "is missing, and so are phone1 and uniqueId; give at least one of them")
	}
	a, ok := b.agents[strings.ToLower(t.Username)]
	same := func(given, record string) bool { return given == "" || given == record }
	if !ok || t.Email != "" && !strings.EqualFold(t.Email, a.Email) || !same(t.Phone1, a.Phone1) ||
		!same(t.UniqueID, a.UniqueID) || !same(t.FirstName, a.FirstName) || !same(t.LastName, a.LastName) {
		return notFound("agent with these details")
	}
	t.Username = a.Username
	return nil
}

// redemption is a request to redeem or inspect a ticket, and the records for it.
type redemption struct {
	*Service
	q     *request
	asked client.RedeemRequest
	brand *brand
	agent client.AgentRecord
}

// redemption reads the request and checks its fields.
func (s *Service) redemption(q *request) (*redemption, *client.Error) {
	m := &redemption{Service: s, q: q}
	if e := q.read(&m.asked); e != nil {
		return nil, e
	}
	switch n := len(m.asked.Binding); {
	case m.asked.Ticket == "":
		return nil, wrongField("ticket", "is missing")
	case m.asked.Audience != client.Agent && m.asked.Audience != client.Customer:
		return nil, wrongField("audience", "is neither agent nor customer")
	case m.asked.Channel != "" && m.asked.ChannelCode != "":
		return nil, wrongField("channelCode", "stands beside channel")
	case m.asked.Channel+m.asked.ChannelCode != "" && m.asked.Audience == client.Agent:
		return nil, wrongField("channel", "is for customers only")
	case n > 0 && n < 16 || n > 1024:
		return nil, wrongField("binding", "is not 16 to 1024 bytes long")
	}
	return m, nil
}

// use returns the use of the ticket.
func (m *redemption) use() verify.Use {
	u := verify.Use{Audience: token.Customer, Channel: m.asked.Channel, Complete: m.complete, Check: m.check}
	if m.asked.Audience == client.Agent {
		u.Audience = token.Agent
	}
	if m.asked.Binding != "" {
		u.Binding = sha256.Sum256([]byte(m.asked.Binding))
	}
	return u
}

// complete refuses a ticket of another brand, and finds the channel of a code.
func (m *redemption) complete(t token.Ticket, u *verify.Use) error {
	if !m.q.allows(t.Brand) {
		return &verify.Error{Reason: verify.WrongBrand}
	}
	if m.asked.ChannelCode != "" {
		id, err := m.channels.ID(t.Brand, m.asked.ChannelCode)
		if err != nil {
			return &verify.Error{Reason: verify.WrongChannel, Cause: err}
		}
		m.asked.Channel, u.Channel = id, id
	}
	return nil
}

// check refuses a ticket that was revoked, or whose brand, channel or agent is not there.
func (m *redemption) check(t token.Ticket) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.brand = m.brands[t.Brand]
	channel := cmp.Or(t.Channel, m.asked.Channel)
	switch {
	case m.brand == nil:
		return errors.New("there is no such brand")
	case channel != "" && !slices.Contains(m.brand.channels, channel):
		return errors.New("there is no such channel")
	case m.revoked[t.ID]:
		return errors.New("the ticket was revoked")
	case t.Audience == token.Customer:
		return nil
	}
	var ok bool
	if m.agent, ok = m.brand.agents[strings.ToLower(t.Username)]; !ok {
		return errors.New("there is no such agent")
	}
	return nil
}

// refusal is the answer to a ticket that is not admitted. The ticket is told to a key of its brand only.
func (m *redemption) refusal(err error) (e *client.Error, told *client.Ticket) {
	v := verify.AsError(err)
	e = verdict(client.Reason(v.Reason))
	e.FirstUsed = v.FirstUsed
	if v.Refused != nil && m.q.allows(v.Refused.Brand) {
		told = view(v.Refused)
		e.TicketID = told.ID
	}
	return e, told
}

// inspect answers POST /auth/inspect.
func (s *Service) inspect(q *request) *client.Error {
	m, e := s.redemption(q)
	if e != nil {
		return e
	}
	t, err := s.verifier.Inspect(q.r.Context(), m.asked.Ticket, m.use())
	if err == nil {
		reply(q.w, http.StatusOK, "The ticket is good; it is not spent",
			client.Inspection{Result: client.Acceptable, Ticket: view(&t)})
		return nil
	}
	e, told := m.refusal(err)
	if e.Result == client.CannotTell {
		return e
	}
	reply(q.w, http.StatusOK, e.Description, client.Inspection{
		Result: e.Result, Reason: e.Reason, FirstUsed: e.FirstUsed, Ticket: told,
	})
	return nil
}

// redeem answers POST /auth/redeem.
func (s *Service) redeem(q *request) *client.Error {
	m, e := s.redemption(q)
	if e != nil {
		return e
	}
	t, err := s.verifier.Redeem(q.r.Context(), m.asked.Ticket, m.use())
	if err != nil {
		e, _ := m.refusal(err)
		return e
	}
	admitted := client.Redemption{Result: client.Admitted, Ticket: view(&t), Channel: m.asked.Channel}
	if t.Audience == token.Agent {
		admitted.Agent = &m.agent
	} else {
		s.mu.Lock()
		record := m.brand.customer(&t)
		s.mu.Unlock()
		admitted.Customer = &record
	}
	reply(q.w, http.StatusOK, "Admitted", admitted)
	return nil
}

// revoke answers POST /auth/revoke.
func (s *Service) revoke(q *request) *client.Error {
	var asked client.RevokeRequest
	if e := q.read(&asked); e != nil {
		return e
	}
	t := token.Ticket{Brand: asked.Brand}
	switch raw, err := hex.DecodeString(asked.TicketID); {
	case asked.Ticket != "" && asked.Brand+asked.TicketID+asked.Issuer != "":
		return wrongField("ticket", "stands beside brand, ticketId or issuer")
	case asked.Ticket != "":
		opened, ok := s.open(q.r, asked.Ticket)
		if !ok || !q.allows(opened.Brand) {
			return wrongField("ticket", "is no ticket of the API key's brands")
		}
		t = opened
	case asked.Brand+asked.TicketID == "":
		return wrongField("ticket", "is missing")
	case asked.Brand == "":
		return wrongField("brand", "is missing")
	case err != nil || copy(t.ID[:], raw) != len(t.ID) || len(raw) != len(t.ID):
		return wrongField("ticketId", "is not 32 hexadecimal digits")
	case asked.Issuer != "":
		return wrongField("issuer", "is no issuer here")
	}
	if !q.allows(t.Brand) {
		return unauthorized("the API key is not for this brand")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.brands[t.Brand] == nil {
		return notFound("brand")
	}
	s.revoked[t.ID] = true
	reply(q.w, http.StatusOK, "Revoked", client.Revoked{TicketID: t.ID.String()})
	return nil
}

// open returns a genuine ticket, expired or not.
func (s *Service) open(r *http.Request, text string) (t token.Ticket, ok bool) {
	opened := errors.New("the ticket is opened")
	_, err := s.verifier.Inspect(r.Context(), text, verify.Use{Complete: func(genuine token.Ticket, _ *verify.Use) error {
		t = genuine
		return opened
	}})
	return t, errors.Is(err, opened)
}

// view returns what a ticket says.
func view(t *token.Ticket) *client.Ticket {
	return &client.Ticket{
		ID: t.ID.String(), KeyID: t.KeyID.String(), Audience: client.Audience(t.Audience.String()),
		OneTimeUse: t.OneTime, OverrideUserInfo: t.OverrideUserInfo, IssuedAt: t.IssuedAt, ExpiresAt: t.Expires(),
		Brand: t.Brand, Username: t.Username, Email: t.Email, UniqueID: t.UniqueID, FirstName: t.FirstName,
		LastName: t.LastName, Phone1: t.Phone1, Remark: t.Remark, Channel: t.Channel, Actor: t.Actor,
	}
}
