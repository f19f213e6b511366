//go:build unix

package api

import (
	"fmt"
	"maps"
	"slices"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
)

// What may come of an entry.
const (
	entered   = "entered"
	alreadyIs = "is in already, by this ticket"
	asksFirst = "is asked first"
	staysOut  = "finds another user, who stays"
	isRefused = "is refused"
	comeBack  = "is to try again"
)

// strictness orders the policies about another user's session.
var strictness = map[string]int{"": 0, directory.Replace: 0, directory.Confirm: 1, directory.Refuse: 2}

// entry returns what may come of the entry with a ticket, and for each of the cases in
// which a confirm page is shown, the session that it would replace.
func (m *historyModel) entry(
	b *modelBrowser, t *modelTicket, channel string, page *modelPage,
) (may map[string]bool, leaving *modelSession) {
	may = map[string]bool{}
	own := b.sessions[t.agent]
	door := true
	if brand := m.brands[t.brand]; brand != nil {
		door = brand.door != 2
	}
	reasons := m.wrong(t, t.agent, channel, door)
	expired := slices.Contains(reasons, "expired")
	bought := own != nil && own.ticket == t && own.channel == channel
	told, over, unknown := m.session(own)
	if m.silent {
		// The end of a ticket and its channel are known without the directory. A reload with
		// the ticket of the session is answered as the session is. Whose the ticket is may not
		// be known either.
		known := expired || slices.Contains(reasons, "wrong_channel")
		reload := bought && expired
		may[comeBack] = !known || expired && unknown
		may[alreadyIs] = reload && len(told) > 0
		may[isRefused] = known && (!reload || over)
		return may, nil
	}
	for _, signedIn := range []bool{true, false} {
		if signedIn && len(told) == 0 || !signedIn && !over {
			continue
		}
		if len(reasons) > 0 {
			reload := signedIn && bought && expired
			may[alreadyIs] = may[alreadyIs] || reload
			may[isRefused] = may[isRefused] || !reload || len(reasons) > 1
			continue
		}
		if signedIn && bought {
			may[alreadyIs] = true
			continue
		}
		binding := ""
		if b.secret {
			binding = fmt.Sprintf("%p", b)
		}
		used := m.spent(t, binding)
		outcome, replaces := m.entryInTime(t, channel, own, signedIn, page, used)
		for _, o := range outcome {
			may[o] = true
		}
		if slices.Contains(outcome, asksFirst) {
			leaving = replaces
		}
	}
	return may, leaving
}

// entryInTime is entry for a ticket that is good, apart from an earlier use.
func (m *historyModel) entryInTime(
	t *modelTicket, channel string, own *modelSession, signedIn bool, page *modelPage, used bool,
) (may []string, leaving *modelSession) {
	brand := m.brands[t.brand]
	ask, policy, _ := brand.place(channel)
	user := ""
	if t.agent {
		user = brand.agents[foldName(t.username)].Username
	} else if c := brand.recordOf(t); c != nil {
		user = fmt.Sprint(c.ID)
	}
	if signedIn && (own.brand.name != t.brand || own.user != user) {
		leaving = own
		// Of two policies the stricter holds.
		if other := m.brands[own.brand.name]; other != nil {
			if _, theirs, _ := other.place(own.channel); strictness[theirs] > strictness[policy] {
				policy = theirs
			}
		}
		switch {
		case strictness[policy] == 2 && used:
			return []string{staysOut, isRefused}, nil
		case strictness[policy] == 2:
			return []string{staysOut}, nil
		}
		ask = ask || strictness[policy] == 1
	}
	confirmed := page != nil && page.ticket == t && page.leaving == leaving
	switch {
	case used:
		return []string{isRefused}, leaving
	case ask && !confirmed:
		return []string{asksFirst}, leaving
	}
	return []string{entered}, leaving
}

// atDoor opens a page with a ticket, and compares the outcome.
func (r *historyRun) atDoor(s step, t *modelTicket, channel string, page *modelPage, open func() reply) string {
	m, b := r.model, r.model.browsers[s.browser]
	may, leaving := m.entry(b, t, channel, page)
	brand := m.brands[t.brand]
	confirms := false
	if brand != nil {
		confirms, _, _ = brand.place(channel)
	}
	binding := ""
	if b.secret {
		binding = fmt.Sprintf("%p", b)
	}
	r.asked(b.sessions[t.agent], false)
	r.asked(b.sessions[!t.agent], false)
	a := open()
	got := map[int]string{200: asksFirst, 303: alreadyIs, 403: isRefused, 409: staysOut, 503: comeBack}[a.status]
	if a.status == 303 && a.set[cookieOf(t.agent)] {
		got = entered
	}
	if !may[got] {
		maps.DeleteFunc(may, func(_ string, is bool) bool { return !is })
		return fmt.Sprintf("answered %d: the person %s, want %v", a.status, got, slices.Sorted(maps.Keys(may)))
	}
	switch got {
	case asksFirst:
		token := confirmInput.FindStringSubmatch(a.body)
		if token == nil {
			return "the confirm page has no button"
		}
		b.secret = true
		b.page = &modelPage{ticket: t, leaving: leaving, token: token[1], path: r.path(t, channel), channel: channel}
	case entered:
		m.spend(t, binding)
		n := &modelSession{agent: t.agent, brand: brand, ticket: t, channel: channel, entered: m.now, renewed: m.now}
		b.sessions[t.agent] = n
		if t.agent {
			agent := brand.agents[foldName(t.username)]
			n.user, n.record = agent.Username, agent.record
			return ""
		}
		c := m.admitCustomer(brand, t)
		if wrong := r.compareCustomers(nil); wrong != "" {
			return wrong
		}
		n.user, n.record, n.place = fmt.Sprint(c.ID), c.record, brand.channels[channel]
		return ""
	}
	// The record of a ticket that is good in all else is made before the ticket is spent,
	// but not for a page that asks: mail scanners open it.
	if !t.agent && !m.silent && !(got == asksFirst && confirms && page == nil) &&
		len(m.wrong(t, t.agent, channel, true)) == 0 {
		return r.compareCustomers(t)
	}
	return ""
}
