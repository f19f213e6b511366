//go:build unix

package api

import (
	"slices"
	"strings"
	"time"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
)

// What the documents promise, in numbers.
const (
	promisedFresh    = 5 * time.Second  // the age of what the check tells
	promisedSilent   = time.Minute      // how long the last answer of a silent directory counts
	promisedGrace    = 10 * time.Second // for a retry with the same binding
	promisedIdle     = time.Hour
	promisedLifetime = 12 * time.Hour
	promisedMost     = 15 * time.Minute // the longest lifetime of a ticket
)

// historyModel is what the service should be, in a few maps. It is written from the
// documents, and shares nothing with the code but the types of records.
type historyModel struct {
	now      time.Time
	silent   bool // the directory
	brands   map[string]*modelBrand
	away     map[string]bool // names that were away: a brand, a brand/agent or a brand#channel
	keys     map[int]*modelKey
	tickets  map[int]*modelTicket
	browsers map[int]*modelBrowser
}

type modelBrand struct {
	name      string
	returned  time.Time // zero: the name is new
	settings  directory.Settings
	api, door int         // choice of an allow-list: 1 has the client's address, 2 another
	ends      []time.Time // of sessions that began before
	agents    map[string]*modelAgent
	customers []*modelCustomer
	channels  map[string]*modelChannel
}

type modelChannel struct {
	directory.Settings
	returned time.Time
	gone     time.Time // zero: still there
}

type modelAgent struct {
	directory.Agent
	returned time.Time
	record   *modelRecord
}

type modelCustomer struct {
	directory.Customer // ID 0: not known yet
	record             *modelRecord
	gone               bool
}

// A modelRecord is what one record ID tells, over time.
type modelRecord struct {
	versions []modelVersion

	// When the directory was asked for a session of the record in a channel, for certain or
	// perhaps. An agent's sessions are in the channel nil.
	asked, maybe map[*modelChannel]time.Time
}

type modelVersion struct {
	from, to time.Time // to: zero for the present one
	person
}

// person is what a check tells of somebody.
type person struct{ user, name, email, groups string }

type modelKey struct {
	text, id string
	brands   []string // nil: all
	expires  time.Time
	revoked  bool
}

type modelTicket struct {
	text, id string
	agent    bool
	brand    string
	username string
	customer directory.Customer // the ticket's details
	channel  string
	once     bool
	override bool
	issued   time.Time
	lifetime time.Duration
	revoked  bool
	used     time.Time // zero: unspent
	binding  string
	changed  *modelCustomer // the record that the ticket made or changed
}

type modelSession struct {
	agent            bool
	brand            *modelBrand
	user, channel    string
	place            *modelChannel // nil: an agent's
	record           *modelRecord
	ticket           *modelTicket
	entered, renewed time.Time
}

type modelBrowser struct {
	sessions map[bool]*modelSession // by whether it is an agent's
	secret   bool                   // the browser has a binding of its own
	page     *modelPage
}

// modelPage is a confirm page that a browser shows.
type modelPage struct {
	ticket  *modelTicket
	leaving *modelSession
	token   string
	path    string
	channel string
}

func newHistoryModel(now time.Time) *historyModel {
	m := &historyModel{now: now, brands: map[string]*modelBrand{}, away: map[string]bool{}, keys: map[int]*modelKey{},
		tickets: map[int]*modelTicket{}, browsers: map[int]*modelBrowser{}}
	for i := range 2 {
		m.browsers[i] = &modelBrowser{sessions: map[bool]*modelSession{}}
	}
	return m
}

func foldName(name string) string { return strings.ToLower(name) }

func tellAgent(a directory.Agent) person {
	return person{a.Username, a.FirstName + " " + a.LastName, a.Email, strings.Join(a.Groups, ",")}
}

// begin starts a record: a new ID.
func (m *historyModel) begin(p person) *modelRecord {
	return &modelRecord{versions: []modelVersion{{from: m.now, person: p}},
		asked: map[*modelChannel]time.Time{}, maybe: map[*modelChannel]time.Time{}}
}

// tell changes what a record tells.
func (m *historyModel) tell(r *modelRecord, p person) {
	r.versions[len(r.versions)-1].to = m.now
	r.versions = append(r.versions, modelVersion{from: m.now, person: p})
}

// over ends a record ID, and with it the sessions that have it.
func (m *historyModel) over(r *modelRecord) {
	if last := &r.versions[len(r.versions)-1]; last.to.IsZero() {
		last.to = m.now
	}
}

// returned is the moment of return of a name that was away, or zero.
func (m *historyModel) returned(name string) time.Time {
	if m.away[name] {
		return m.now
	}
	return time.Time{}
}

// states tells what a session may be answered from what was so between two moments: the
// people that may be told, and whether the session may be over.
func (s *modelSession) states(from, to time.Time) (told []person, over bool) {
	end := to.Add(time.Hour)
	for _, e := range s.brand.ends {
		if e.Equal(s.entered) && !e.After(to) {
			over = true // at the same moment: either
		}
		if e.After(s.entered) && e.Before(end) {
			end = e
		}
	}
	if c := s.place; c != nil && !c.gone.IsZero() && c.gone.Before(end) {
		end = c.gone
	}
	over = over || !end.After(to)
	last := s.record.versions[len(s.record.versions)-1].to
	over = over || !last.IsZero() && !last.After(to)
	for _, v := range s.record.versions {
		began := !v.from.After(to) && !v.from.After(end)
		still := (v.to.IsZero() || !v.to.Before(from)) && !end.Before(from)
		if began && still {
			told = append(told, v.person)
		}
	}
	return told, over
}

// session is what may be answered about a session now: people to tell, over, or that it
// cannot be told.
func (m *historyModel) session(s *modelSession) (told []person, over, unknown bool) {
	if s == nil || m.now.Sub(s.entered) >= promisedLifetime || m.now.Sub(s.renewed) >= promisedIdle {
		return nil, true, false
	}
	if !m.silent {
		told, over = s.states(later(m.now.Add(-promisedFresh), s.entered), m.now)
		return told, over, false
	}
	r := s.record
	asked, maybe := r.asked[s.place], r.maybe[s.place]
	if maybe.IsZero() || m.now.Sub(maybe) >= promisedSilent {
		return nil, false, true
	}
	oldest := asked.Add(-promisedFresh)
	unknown = asked.IsZero() || m.now.Sub(oldest) >= promisedSilent
	told, over = s.states(later(oldest, m.now.Add(-promisedSilent)), maybe)
	return told, over, unknown
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// place returns the settings of a brand or its channel; a channel that is gone counts as
// none.
func (b *modelBrand) place(channel string) (confirm bool, other string, login bool) {
	is := func(v *bool, otherwise bool) bool {
		if v == nil {
			return otherwise
		}
		return *v
	}
	confirm, other, login = is(b.settings.Confirm, false), b.settings.OtherUser, is(b.settings.TicketLogin, true)
	if c := b.channels[channel]; c != nil {
		confirm, login = is(c.Confirm, confirm), is(c.TicketLogin, login)
		if c.OtherUser != "" {
			other = c.OtherUser
		}
	}
	return confirm, other, login
}

// longest is the longest lifetime of a brand's tickets.
func (b *modelBrand) longest() time.Duration {
	if b.settings.MaxLifetime != 0 {
		return b.settings.MaxLifetime
	}
	return promisedMost
}

// good reports whether an API key is accepted, and for a brand.
func (m *historyModel) good(k *modelKey, brand string) (accepted, allowed bool) {
	if k == nil || k.revoked || !k.expires.IsZero() && !m.now.Before(k.expires) {
		return false, false
	}
	return true, k.brands == nil || slices.Contains(k.brands, brand)
}

// wrong returns the reasons for which a ticket does not admit at a place, beside an
// earlier use.
func (m *historyModel) wrong(t *modelTicket, agent bool, channel string, address bool) (reasons []string) {
	add := func(is bool, reason string) {
		if is && !slices.Contains(reasons, reason) {
			reasons = append(reasons, reason)
		}
	}
	// A name that returned: good are tickets issued after the return and the skew.
	before := func(returned time.Time) bool {
		return !returned.IsZero() && !t.issued.After(returned.Add(testSkew))
	}
	add(!m.now.Before(t.issued.Add(t.lifetime)), "expired")
	add(t.agent != agent, "wrong_audience")
	add(t.channel != "" && t.channel != channel, "wrong_channel")
	add(t.revoked, "refused_by_caller")
	b := m.brands[t.brand]
	if b == nil {
		add(true, "refused_by_caller")
		return reasons
	}
	add(t.lifetime > b.longest(), "lifetime_too_long")
	add(before(b.returned), "refused_by_caller")
	place := b.channels[channel]
	add(channel != "" && place == nil, "refused_by_caller")
	add(t.channel != "" && t.channel == channel && place != nil && before(place.returned), "refused_by_caller")
	_, _, login := b.place(channel)
	add(!login, "refused_by_caller")
	if t.agent {
		a := b.agents[foldName(t.username)]
		add(!address || a == nil || !a.Active || before(a.returned), "refused_by_caller")
	}
	return reasons
}

// spent reports whether a one-time ticket is used up for a binding.
func (m *historyModel) spent(t *modelTicket, binding string) bool {
	return t.once && !t.used.IsZero() &&
		!(binding != "" && binding == t.binding && m.now.Before(t.used.Add(promisedGrace)))
}

// spend marks the use of a ticket.
func (m *historyModel) spend(t *modelTicket, binding string) {
	if t.once && t.used.IsZero() {
		t.used, t.binding = m.now, binding
	}
}
