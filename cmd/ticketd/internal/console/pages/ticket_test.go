package pages

import (
	"html"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/cmd/ticketd/internal/api"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
)

var entryURL = regexp.MustCompile(`id="url" readonly value="([^"]+)"`)

// made returns the ticket in the page.
func (w *world) made() (where, ticket string) {
	w.t.Helper()
	m := entryURL.FindStringSubmatch(w.body)
	require.NotNil(w.t, m, w.body)
	u, err := url.Parse(html.UnescapeString(m[1]))
	require.NoError(w.t, err)
	ticket = u.Query().Get("ta")
	u.RawQuery = ""
	return u.String(), ticket
}

// change changes the brand acme.
func (w *world) change(edit func(*directory.Brand)) {
	w.t.Helper()
	_, err := w.db.UpdateBrand(w.t.Context(), "acme", func(b *directory.Brand) error { edit(b); return nil })
	require.NoError(w.t, err)
}

// An administrator makes a ticket by the rules of the API, and enters with it.
func TestTryIt(t *testing.T) {
	w := newWorld(t)
	w.caller.Actor.Remote = "192.0.2.7"
	const agent, customer = "/console/brands/acme/try", "/console/brands/acme/try/customer"
	w.refuses(agent, url.Values{"username": {""}})
	w.refuses(agent, url.Values{"username": {script}})
	assert.Contains(t, w.body, "is no agent of this brand")
	w.refuses(agent, url.Values{"username": {"ann"}})
	assert.Contains(t, w.body, "add one of them to the record")
	_, err := w.db.UpdateAgent(t.Context(), "acme", "ann", func(a *directory.Agent) error {
		a.Email = "ann@example.com"
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, w.post(agent, url.Values{"username": {"Ann"}}).Code)
	where, text := w.made()
	assert.Equal(t, "https://x.test/login", where)
	ticket, err := w.tickets.Verifier.Redeem(t.Context(), text, verify.Use{Audience: token.Agent})
	require.NoError(t, err)
	assert.Equal(t, "ann", ticket.Username)
	assert.Equal(t, "root", ticket.Actor)
	assert.False(t, ticket.OneTime)

	yes := true
	w.change(func(b *directory.Brand) { b.OneTime = &yes })
	require.Equal(t, http.StatusOK, w.get(agent))
	assert.Contains(t, w.body, "Inherited: yes")
	require.Equal(t, http.StatusOK, w.post(agent, url.Values{"username": {"ann"}, "oneTimeUse": {""}}).Code)
	_, text = w.made()
	ticket, err = w.tickets.Verifier.Inspect(t.Context(), text, verify.Use{Audience: token.Agent})
	require.NoError(t, err)
	assert.True(t, ticket.OneTime, "the brand's setting")

	form := url.Values{"channel": {"web"}, "uniqueId": {"1"}, "oneTimeUse": {"false"}, "expiresIn": {"90s"}}
	require.Equal(t, http.StatusOK, w.post(customer, form).Code)
	where, text = w.made()
	assert.Equal(t, "https://x.test/chat/acme.web", where)
	ticket, err = w.tickets.Verifier.Redeem(t.Context(), text, verify.Use{Audience: token.Customer, Channel: "web"})
	require.NoError(t, err)
	assert.Equal(t, "1m30s", ticket.Lifetime.String())
	w.refuses(customer, url.Values{"channel": {"web"}})
	assert.Contains(t, w.body, `id="e-email"`)
	w.refuses(customer, url.Values{"channel": {"web"}, "uniqueId": {"1"}, "expiresIn": {"16m"}})
	assert.Contains(t, w.body, `id="e-expiresIn"`)
	w.refuses(customer, url.Values{"channel": {"none"}, "uniqueId": {"1"}})

	w.change(func(b *directory.Brand) {
		b.APIAddresses = directory.Addresses{netip.MustParsePrefix("198.51.100.0/24")}
	})
	w.refuses(agent, url.Values{"username": {"ann"}})
	assert.Contains(t, w.body, "allow-list")
	w.change(func(b *directory.Brand) { b.APIAddresses = directory.Addresses{netip.MustParsePrefix("192.0.2.0/24")} })
	_, err = w.db.UpdateAgent(t.Context(), "acme", "ann", func(a *directory.Agent) error { a.Active = false; return nil })
	require.NoError(t, err)
	w.refuses(agent, url.Values{"username": {"ann"}})
	assert.Contains(t, w.body, "inactive")
	no := false
	w.change(func(b *directory.Brand) { b.TicketLogin = &no })
	w.refuses(customer, url.Values{"channel": {"web"}, "uniqueId": {"1"}})
	assert.Contains(t, w.body, "switched off")

	require.NoError(t, w.db.RemoveChannel(t.Context(), "acme", "web"))
	require.Equal(t, http.StatusOK, w.get(customer))
	assert.Contains(t, w.body, "Add a channel")
}

func (w *world) explain(text string) {
	w.t.Helper()
	require.Equal(w.t, http.StatusOK, w.post("/console/explain", url.Values{"ticket": {text}}).Code)
	assert.NotContains(w.t, w.body, api.TicketIn(text))
}

// An explanation says what a ticket is and what became of it, and spends nothing.
func TestExplain(t *testing.T) {
	w := newWorld(t)
	w.caller.Role = directory.RoleAuditor
	issue := func(brand string) (token.Ticket, string) {
		t.Helper()
		text := w.tickets.Ticket(t, token.Ticket{
			Audience: token.Customer, Brand: brand, UniqueID: script, OneTime: true, Channel: "web",
		})
		ticket, err := w.tickets.Open(t.Context(), text)
		require.NoError(t, err)
		return ticket, text
	}
	ticket, text := issue("acme")
	use := verify.Use{Audience: token.Customer, Channel: "web"}
	for range 2 {
		w.explain("https://x.test/chat/y?ta=" + text)
		assert.Contains(t, w.body, "would be admitted now")
		assert.Contains(t, w.body, "it is not spent")
		assert.Contains(t, w.body, "no event of this ticket")
		assert.Contains(t, w.body, "/console/brands/acme/audit?ticket="+ticket.ID.String())
	}
	_, err := w.tickets.Verifier.Redeem(t.Context(), text, use)
	require.NoError(t, err)
	event := func(action, reason string) directory.Event {
		return directory.Event{
			At: time.Now(), Brand: "acme", Action: action, Ticket: ticket.ID.String(), Reason: reason, Count: 1,
		}
	}
	w.record([]directory.Event{
		event(directory.ActionIssueTicket, ""), event(directory.ActionRefuseTicket, "wrong_channel"),
		event(directory.ActionEnter, ""),
	})
	w.explain(`{"data":{"encpryptedString":"` + text + `"}}`)
	for _, want := range []string{"already_used", "it is spent on", "wrong_channel", "ticket.enter"} {
		assert.Contains(t, w.body, want)
	}
	require.NoError(t, w.db.RevokeTicket(t.Context(), "acme", "", ticket.ID))
	w.explain(text)
	assert.Contains(t, w.body, "refused_by_caller")
	assert.Contains(t, w.body, "the ticket was revoked")
	assert.Contains(t, w.body, "it is spent on", "whatever else refuses the ticket")
	assert.Contains(t, w.body, "<dt>Revoked</dt><dd>yes</dd>")

	_, foreign := issue("other")
	w.explain(foreign)
	want := w.body
	assert.Contains(t, want, "no ticket of your brands")
	assert.NotContains(t, want, "other<")
	for _, text := range []string{"tkt1_AAAA", "tkt9_AAAA", administratorTicket(w)} {
		w.explain(text)
		assert.Equal(t, want, w.body, "the same page")
	}
	w.refuses("/console/explain", url.Values{"ticket": {script}})
	w.caller.AllBrands, w.caller.Brands = true, nil
	w.explain("tkt9_AAAA")
	assert.Contains(t, w.body, "unsupported_version")
	w.explain(administratorTicket(w))
	assert.Contains(t, w.body, "administrator root")
	w.explain(foreign)
	assert.Contains(t, w.body, "would be admitted now")

	w.change(func(b *directory.Brand) {
		b.LoginAddresses = directory.Addresses{netip.MustParsePrefix("198.51.100.0/24")}
	})
	w.explain(w.tickets.Ticket(t, token.Ticket{Audience: token.Agent, Brand: "acme", Username: "ann"}))
	assert.Contains(t, w.body, "198.51.100.0/24")
	assert.Contains(t, w.body, "would be admitted now")
	w.explain(w.tickets.Ticket(t, token.Ticket{Audience: token.Agent, Brand: "acme", Username: "nobody"}))
	assert.Contains(t, w.body, "not in the directory")
}

// administratorTicket returns a ticket of an administrator.
func administratorTicket(w *world) string {
	return w.tickets.Ticket(w.t, token.Ticket{Audience: token.Administrator, OneTime: true, Username: "root"})
}
