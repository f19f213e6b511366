//go:build unix

package api

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// doAtDoor takes a step of a backend, a browser or a proxy.
func (r *historyRun) doAtDoor(s step) string {
	switch s.op {
	case "issue to agent", "issue to customer":
		return r.issueTicket(s)
	case "check":
		return r.check(s)
	case "look":
		return r.look(s)
	case "sign out":
		r.send(s.browser, http.MethodPost, "/logout", "", map[string]string{"Sec-Fetch-Site": "same-origin"})
		clear(r.model.browsers[s.browser].sessions)
		return ""
	case "press":
		return r.press(s)
	}
	t := r.model.tickets[s.ticket]
	switch {
	case t == nil:
		return ""
	case s.op == "revoke ticket":
		return r.revokeTicket(s, t)
	case s.op == "redeem", s.op == "inspect":
		return r.redeemTicket(s, t)
	}
	return r.enter(s, t)
}

func expectStatus(a reply, want []int) string {
	if slices.Contains(want, a.status) {
		return ""
	}
	return fmt.Sprintf("answered %d, want %v: %s", a.status, want, firstLine(a.body))
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}

// check asks a proxy's check for the session of a browser.
func (r *historyRun) check(s step) string {
	m, own := r.model, r.model.browsers[s.browser].sessions[s.on]
	path, any := "/auth/check", s.value == 2
	if !any {
		path = "/auth/brand/" + r.brand(s.value) + "/check"
	}
	if !s.on {
		path += "-customer"
	}
	told, over, unknown := m.session(own)
	if !any && own != nil && own.brand.name != r.brand(s.value) {
		told, over = nil, true // nobody there, whatever the session
	}
	renew := own != nil && m.now.Sub(own.renewed) >= promisedIdle/2
	r.asked(own, false)
	a := r.send(s.browser, http.MethodGet, path, "", nil)
	var want []int
	if len(told) > 0 {
		want = append(want, 200)
	}
	if over {
		want = append(want, 401)
	}
	if unknown {
		want = append(want, 503)
	}
	if wrong := expectStatus(a, want); wrong != "" {
		return wrong
	}
	h := a.header
	got := person{h.Get("Remote-User"), h.Get("Remote-Name"), h.Get("Remote-Email"), h.Get("Remote-Groups")}
	if a.status != 200 {
		if got != (person{}) || h.Get("Admitone-Brand") != "" {
			return fmt.Sprintf("answered %d and tells of %+v", a.status, got)
		}
		r.renewed(s, a)
		return ""
	}
	r.asked(own, true)
	if !slices.Contains(told, got) {
		return fmt.Sprintf("tells %+v, want one of %+v", got, told)
	}
	if h.Get("Admitone-Brand") != own.brand.name || h.Get("Admitone-Channel") != own.channel ||
		h.Get("Admitone-Ticket-Id") != own.ticket.id {
		return fmt.Sprintf("tells another session: %v", h)
	}
	if r.renewed(s, a); renew && !own.renewed.Equal(m.now) {
		return "the cookie is not renewed"
	}
	return ""
}

// asked notes that the directory was asked about the owner of a session, for certain or
// perhaps.
func (r *historyRun) asked(s *modelSession, certain bool) {
	switch {
	case s == nil || r.model.silent:
	case certain:
		s.record.asked[s.place] = r.model.now
	default:
		s.record.maybe[s.place] = r.model.now
	}
}

// renewed notes that a browser's cookie was renewed.
func (r *historyRun) renewed(s step, a reply) {
	for agent, session := range r.model.browsers[s.browser].sessions {
		if a.set[cookieOf(agent)] {
			session.renewed = r.model.now
		}
	}
}

func cookieOf(agent bool) string {
	if agent {
		return "admitone-agent"
	}
	return "admitone-customer"
}

// look opens the agents' page without a ticket.
func (r *historyRun) look(s step) string {
	own := r.model.browsers[s.browser].sessions[true]
	told, over, unknown := r.model.session(own)
	r.asked(own, false)
	a := r.send(s.browser, http.MethodGet, "/login", "", nil)
	r.renewed(s, a)
	var want []int
	if len(told) > 0 {
		want = append(want, 200)
	}
	if over {
		want = append(want, 403)
	}
	if unknown {
		want = append(want, 503)
	}
	return expectStatus(a, want)
}

var confirmInput = regexp.MustCompile(`name="confirm" value="([^"]+)"`)

// path returns the URL of a ticket's door.
func (r *historyRun) path(t *modelTicket, channel string) string {
	if t.agent {
		return "/login"
	}
	code, err := r.channels.Code(t.brand, channel)
	if err != nil {
		panic(err)
	}
	return "/chat/" + code
}

// enter opens the URL with a ticket.
func (r *historyRun) enter(s step, t *modelTicket) string {
	channel := ""
	if !t.agent {
		channel = historyChannels[s.channel]
		if channel == "" {
			channel = t.channel
		}
		if channel == "" {
			channel = "web"
		}
	}
	path := r.path(t, channel)
	return r.atDoor(s, t, channel, nil, func() reply {
		return r.send(s.browser, http.MethodGet, path+"?ta="+t.text, "", nil)
	})
}

// press presses the button of the confirm page that a browser shows.
func (r *historyRun) press(s step) string {
	page := r.model.browsers[s.browser].page
	if page == nil {
		return ""
	}
	return r.atDoor(s, page.ticket, page.channel, page, func() reply {
		form := url.Values{"ta": {page.ticket.text}, "confirm": {page.token}}
		return r.send(s.browser, http.MethodPost, page.path, form.Encode(), map[string]string{
			"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"})
	})
}
