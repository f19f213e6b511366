package api

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/client"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/token"
)

// revoke posts a body to /auth/revoke with a key.
func (w *world) revoke(key, body string) response {
	w.t.Helper()
	return w.client().do(http.MethodPost, "/auth/revoke", strings.NewReader(body),
		map[string]string{"Authorization": "Bearer " + key, "Content-Type": "application/json"})
}

// A ticket that was revoked by its ID or by itself is refused at every door, a ticket for
// many uses too, and no other ticket is.
func TestRevoke(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		key := w.redeemKey("commbox")
		id := func(ticket string) string {
			var tk token.Ticket
			require.NoError(t, w.open(ticket, &tk))
			return tk.ID.String()
		}
		byTicket := func(ticket string) string { return `{"ticket":"` + ticket + `"}` }
		for name, body := range map[string]func(string) string{
			"by ID": func(ticket string) string { return `{"brand":"commbox","ticketId":"` + id(ticket) + `"}` },
			"by ID in capitals, in data": func(ticket string) string {
				return `{"data":{"brand":"commbox","ticketId":"` + strings.ToUpper(id(ticket)) + `"}}`
			},
			"by ticket":          byTicket,
			"by ticket, in data": func(ticket string) string { return `{"data":` + byTicket(ticket) + `}` },
		} {
			once, twin := w.ticket(w.key, reference), w.ticket(w.key, reference)
			many := w.ticket(w.key, `{"brand":"commbox","email":"jane@example.com"}`)
			chat := w.chatPath("commbox", "web") + "?ta="
			require.Equal(t, http.StatusSeeOther, w.client().get(chat+many).status, name)
			for _, ticket := range []string{once, many, many} {
				res := w.revoke(w.key, body(ticket))
				require.Equal(t, http.StatusOK, res.status, "%s: %s", name, res.body)
				var e struct{ Data client.Revoked }
				require.NoError(t, json.Unmarshal([]byte(res.body), &e))
				assert.Equal(t, id(ticket), e.Data.TicketID)
				assert.Contains(t, w.log.String(), `msg="ticket revoked" ticket=`+id(ticket)+" brand=commbox revoked_by=")
			}
			for ticket, audience := range map[string]string{once: "agent", many: "customer"} {
				fields := map[string]any{"ticket": ticket, "audience": audience}
				v := w.spend(redeemPath, key, fields)
				assert.Equal(t, http.StatusForbidden, v.status, name)
				assert.Equal(t, client.RefusedByCaller, client.Reason(v.Data.Reason), name)
				v = w.spend(inspectPath, key, fields)
				assert.Equal(t, client.RefusedByCaller, client.Reason(v.Data.Reason), name)
			}
			assert.Equal(t, http.StatusForbidden, w.client().get("/login?ta="+once).status, name)
			assert.Equal(t, http.StatusForbidden, w.client().get(chat+many).status, name)
			assert.Equal(t, http.StatusSeeOther, w.client().get("/login?ta="+twin).status, name)
		}
		expired := w.ticket(w.key, reference)
		w.ns.Add(int64(time.Hour))
		assert.Equal(t, http.StatusOK, w.revoke(w.key, byTicket(expired)).status)

		// Four rounds of three revocations and four refused redemptions, and the one above.
		assert.Contains(t, w.scrape(), "\nticketd_tickets_revoked_total 13\n")
		assert.Contains(t, w.scrape(), "\nticketd_revoked_tickets_refused_total 16\n")
	})
}

// A key revokes the tickets of its own brands only, and learns nothing of others.
func TestRevokeIsolation(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		ticket := w.ticket(w.key, reference)
		var tk token.Ticket
		require.NoError(t, w.open(ticket, &tk))
		byID := func(brand string) string { return `{"brand":"` + brand + `","ticketId":"` + tk.ID.String() + `"}` }
		plain := func(res response) string {
			return gjson(t, res.body, "status") + gjson(t, res.body, "description")
		}
		other := w.revoke(w.acmeKey, `{"ticket":"`+ticket+`"}`)
		assert.Equal(t, http.StatusBadRequest, other.status)
		assert.Contains(t, other.body, "is no ticket of the API key's brands")
		for _, wrong := range []string{"x", "tkt1_AVa1oMN4c2RkZ0hqLXl3", ticket[:len(ticket)-8] + "AAAAAAAA"} {
			assert.Equal(t, plain(other), plain(w.revoke(w.acmeKey, `{"ticket":"`+wrong+`"}`)))
		}
		res := w.revoke(w.acmeKey, byID("commbox"))
		assert.Equal(t, http.StatusUnauthorized, res.status)
		assert.Equal(t, plain(res), plain(w.revoke(w.acmeKey, byID("nobody"))))
		assert.Equal(t, http.StatusNotFound, w.revoke(w.anyKey, byID("nobody")).status)
		assert.Equal(t, http.StatusOK, w.revoke(w.acmeKey, byID("acme")).status, "the ID is of another brand")
		redeemKey := w.redeemKey("commbox")
		for _, body := range []string{byID("commbox"), `{"ticket":"` + ticket + `"}`} {
			assert.Equal(t, http.StatusUnauthorized, w.revoke(redeemKey, body).status)
			w.brand("commbox", func(b *directory.Brand) {
				b.APIAddresses = directory.Addresses{netip.MustParsePrefix("192.0.2.0/24")}
			})
			res := w.revoke(w.key, body)
			assert.Equal(t, http.StatusUnauthorized, res.status)
			assert.Contains(t, res.body, "allow-list")
			w.brand("commbox", func(b *directory.Brand) { b.APIAddresses = nil })
		}
		v := w.spend(redeemPath, redeemKey, map[string]any{"ticket": ticket, "audience": "agent"})
		assert.Equal(t, http.StatusOK, v.status, "the ticket is not revoked: %s", v.body)
	})
}

// What is wrong with a request is named.
func TestRevokeFields(t *testing.T) {
	w := newWorld(t)
	for body, fields := range map[string][]string{
		`{}`:                                {"ticket"},
		`{"brand":"commbox"}`:               {"ticketId"},
		`{"ticketId":"12"}`:                 {"brand", "ticketId"},
		`{"ticket":"tkt1_x","brand":"x"}`:   {"ticket"},
		`{"ticket":1}`:                      {"ticket"},
		`{"brand":1,"ticketId":"12"}`:       {"brand", "ticketId"},
		`{"ticket":"tkt1_x","tiketId":"x"}`: {"tiketId"},
		`{"tickt":"tkt1_x"}`:                {"tickt", "ticket"},
		`{"data":1}`:                        {"data"},
	} {
		res := w.revoke(w.key, body)
		assert.Equal(t, http.StatusBadRequest, res.status, body)
		var e struct{ Data client.Error }
		require.NoError(t, json.Unmarshal([]byte(res.body), &e))
		var got []string
		for _, f := range e.Data.Fields {
			got = append(got, f.Field)
		}
		assert.Equal(t, fields, got, body)
	}
	assert.Equal(t, http.StatusBadRequest, w.revoke(w.key, ``).status)
	get := w.client().do(http.MethodGet, "/auth/revoke", nil, nil)
	assert.Equal(t, http.StatusNotImplemented, get.status)
}

// Package client revokes.
func TestClientRevokes(t *testing.T) {
	w := newWorld(t)
	tickets := w.apiClient(w.bothKey(), checked{t})
	ticket := w.issueBy(tickets, client.IssueRequest{Brand: "commbox", Email: "jane@example.com"})
	revoked, err := tickets.Revoke(t.Context(), client.RevokeRequest{Ticket: ticket})
	require.NoError(t, err)
	again, err := tickets.Revoke(t.Context(), client.RevokeRequest{Brand: "commbox", TicketID: revoked.TicketID})
	require.NoError(t, err)
	assert.Equal(t, revoked, again)
	_, err = tickets.Redeem(t.Context(), client.RedeemRequest{Ticket: ticket, Audience: client.Customer})
	var failed *client.Error
	require.ErrorAs(t, err, &failed)
	assert.Equal(t, revoked.TicketID, failed.TicketID)
	_, err = tickets.Revoke(t.Context(), client.RevokeRequest{Ticket: "forged"})
	require.ErrorAs(t, err, &failed)
	assert.Equal(t, "ticket", failed.Fields[0].Field)
}
