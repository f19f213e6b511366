//go:build unix

package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/admitone/admitone/client"
	"github.com/admitone/admitone/token"
)

// issueTicket asks for a ticket. With more than one fault, the answer may name any.
func (r *historyRun) issueTicket(s step) string {
	m, name, key := r.model, r.brand(s.brand), r.model.keys[s.key]
	b := m.brands[name]
	t := &modelTicket{agent: s.op == "issue to agent", brand: name, once: s.on, issued: m.now}
	ask := client.IssueRequest{Brand: name, OneTimeUse: &t.once}
	t.lifetime = map[bool]time.Duration{true: token.AgentLifetime, false: token.CustomerLifetime}[t.agent]
	if b != nil {
		t.lifetime = min(t.lifetime, b.longest())
	}
	if s.value > 0 {
		t.lifetime = []time.Duration{0, 25 * time.Second, 10 * time.Minute}[s.value]
		ask.ExpiresIn = t.lifetime
	}
	var want []int
	must := func(is bool, status int) {
		if !is {
			want = append(want, status)
		}
	}
	accepted, allowed := m.good(key, name)
	must(accepted && allowed, http.StatusUnauthorized)
	must(b != nil, http.StatusNotFound)
	if t.agent {
		given := r.agent(s)
		if a := agentOf(b, given.Username); a != nil && s.detail == 3 {
			given.Email, given.FirstName = a.Email, a.FirstName
		}
		ask.Username, ask.Email, ask.FirstName = given.Username, given.Email, given.FirstName
		a := agentOf(b, given.Username)
		must(a != nil && a.Active && a.Email == given.Email && a.FirstName == given.FirstName, http.StatusNotFound)
		if a != nil {
			t.username = a.Username
		}
	} else {
		t.customer, t.override, t.channel = customerOfStep(s), s.odd, historyChannels[s.channel]
		t.customer.Remark = fmt.Sprint("of step ", s.id)
		c := t.customer
		ask.UniqueID, ask.Email, ask.Phone1, ask.FirstName, ask.Remark = c.UniqueID, c.Email, c.Phone1, c.FirstName, c.Remark
		ask.OverrideUserInfo, ask.Channel = t.override, t.channel
		must(b == nil || t.channel == "" || b.channels[t.channel] != nil, http.StatusNotFound)
	}
	if b != nil {
		_, _, login := b.place(t.channel)
		must(login, http.StatusNotImplemented)
		must(b.api != 2, http.StatusUnauthorized)
		must(t.lifetime <= b.longest(), http.StatusBadRequest)
	}
	if m.silent {
		want = []int{500, 503}
	}
	good := want == nil
	if good {
		want = []int{200}
	}
	body, err := json.Marshal(ask)
	if err != nil {
		return err.Error()
	}
	a := r.call(key, "/auth/ticket", string(body))
	if wrong := expectStatus(a, want); wrong != "" || !good {
		return wrong
	}
	var e struct{ Data client.Issued }
	var opened token.Ticket
	if err := json.Unmarshal([]byte(a.body), &e); err != nil {
		return err.Error()
	}
	if err := r.open(e.Data.Ticket, &opened); err != nil {
		return err.Error()
	}
	if opened.OneTime != t.once || opened.Lifetime != t.lifetime || !opened.IssuedAt.Equal(t.issued) {
		return fmt.Sprintf("the ticket is %+v, want %+v", opened, t)
	}
	t.text, t.id = e.Data.Ticket, opened.ID.String()
	m.tickets[s.id] = t
	return ""
}

func agentOf(b *modelBrand, username string) *modelAgent {
	if b == nil {
		return nil
	}
	return b.agents[foldName(username)]
}

// redeemTicket redeems a ticket over the API.
func (r *historyRun) redeemTicket(s step, t *modelTicket) string {
	m, key := r.model, r.model.keys[s.key]
	b := m.brands[t.brand]
	agent, channel := t.agent != s.odd, ""
	if !agent {
		if channel = historyChannels[s.channel]; channel == "" {
			channel = t.channel
		}
	}
	ask := client.RedeemRequest{Ticket: t.text, Audience: client.Customer, Channel: channel}
	if agent {
		ask.Audience = client.Agent
	}
	from := []string{"10.1.1.1", "", "198.51.100.7"}[s.value]
	if s.binding > 0 {
		ask.Binding = strings.Repeat(fmt.Sprint(s.binding), 16)
	}
	body, err := json.Marshal(ask)
	if err != nil {
		return err.Error()
	}
	if from != "" {
		body = append(body[:len(body)-1], `,"address":"`+from+`"}`...)
	}
	address := b == nil || b.door == 0 || b.door == 1 && from == "10.1.1.1" || b.door == 2 && from == "198.51.100.7"

	var want []int
	accepted, allowed := m.good(key, t.brand)
	reasons := m.wrong(t, agent, channel, address)
	used := m.spent(t, ask.Binding)
	switch {
	case !allowed: // and nothing more is told
		reasons = []string{"wrong_brand"}
	case len(reasons) == 0 && used:
		reasons = []string{"already_used"}
	default:
		used = false
	}
	switch {
	case m.silent:
		want = []int{503}
	case !accepted:
		want = []int{401}
	case len(reasons) > 0 && s.op == "redeem":
		want = []int{403}
	default:
		want = []int{200}
	}
	if accepted && allowed && !m.silent && b != nil && b.api == 2 {
		want = []int{401}
		if len(reasons) > 0 { // either may be told
			want = []int{401, 403}
		}
	}
	a := r.call(key, "/auth/"+s.op, string(body))
	if wrong := expectStatus(a, want); wrong != "" {
		return wrong + fmt.Sprintf(" (%v)", reasons)
	}
	var v verdict
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		return err.Error()
	}
	told := a.status == 403 || a.status == 200 && s.op == "inspect"
	switch {
	case told && len(reasons) == 0 && v.Data.Result == "acceptable":
		return r.compareCustomers(nil)
	case told && !slices.Contains(reasons, v.Data.Reason):
		return fmt.Sprintf("refused as %q, want one of %v", v.Data.Reason, reasons)
	case a.status == 403 && used && !t.agent:
		return r.compareCustomers(t) // the record is made before the claim
	case a.status == 200 && !told:
		m.spend(t, ask.Binding)
		return r.compareRedeemed(v, t, b)
	}
	return ""
}

// compareRedeemed compares the records of an answer that admits.
func (r *historyRun) compareRedeemed(v verdict, t *modelTicket, b *modelBrand) string {
	if v.Data.Result != "admitted" || v.Data.Ticket == nil || v.Data.Ticket.ID != t.id {
		return "the answer is not about the ticket: " + v.body
	}
	if t.agent {
		a := agentOf(b, t.username)
		want := client.AgentRecord{Username: a.Username, Email: a.Email, FirstName: a.FirstName, LastName: a.LastName,
			Groups: a.Groups}
		if got := v.Data.Agent; got == nil || got.Username != want.Username || got.Email != want.Email ||
			got.FirstName != want.FirstName || got.LastName != want.LastName || !slices.Equal(got.Groups, want.Groups) {
			return fmt.Sprintf("the agent is told as %+v, want %+v", got, want)
		}
		return ""
	}
	c := r.model.admitCustomer(b, t)
	if wrong := r.compareCustomers(nil); wrong != "" {
		return wrong
	}
	want := client.CustomerRecord{ID: fmt.Sprint(c.ID), Email: c.Email, Phone1: c.Phone1, UniqueID: c.UniqueID,
		FirstName: c.FirstName, Remark: c.Remark}
	if got := v.Data.Customer; got == nil || *got != want {
		return fmt.Sprintf("the customer is told as %+v, want %+v", got, want)
	}
	return ""
}

// revokeTicket revokes a ticket at the shell, or over the API by its ID or by itself.
func (r *historyRun) revokeTicket(s step, t *modelTicket) string {
	m := r.model
	b, key := m.brands[t.brand], m.keys[s.key]
	if s.value == 0 {
		var id token.Ticket
		if err := r.open(t.text, &id); err != nil {
			return err.Error()
		}
		err := r.directory.RevokeTicket(r.t.Context(), t.brand, "", id.ID)
		if b == nil {
			return changed(err, "not found")
		}
		t.revoked = true
		return changed(err, "done")
	}
	body := fmt.Sprintf(`{"brand":%q,"ticketId":%q}`, t.brand, t.id)
	if s.value == 2 {
		body = fmt.Sprintf(`{"ticket":%q}`, t.text)
	}
	var want []int
	accepted, allowed := m.good(key, t.brand)
	if !accepted || !allowed && s.value == 1 || b != nil && b.api == 2 {
		want = append(want, 401)
	}
	if !allowed && s.value == 2 {
		want = append(want, 400)
	}
	if b == nil {
		want = append(want, 404)
	}
	if m.silent {
		want = []int{500, 503}
	}
	if want == nil {
		want = []int{200}
		t.revoked = true
	}
	return expectStatus(r.call(key, "/auth/revoke", body), want)
}
