package api

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/token"
)

// administratorTicket seals a ticket of an administrator with the world's own keys.
func (w *world) administratorTicket(brand string) string {
	w.t.Helper()
	issuer, err := token.NewIssuer(token.Config{Sealer: w.opener, Realm: "r", Now: w.now})
	require.NoError(w.t, err)
	text, err := issuer.Issue(&token.Ticket{
		Audience: token.Administrator, OneTime: true, Brand: brand, Username: "john.d",
	})
	require.NoError(w.t, err)
	w.secrets = append(w.secrets, text[10:])
	return text
}

// An administrator's ticket opens no door of this package, with a brand or without, and no
// API key learns anything about the ticket.
func TestAdministratorsTicketOpensNoDoor(t *testing.T) {
	w := newWorld(t)
	all, one := w.redeemKey(), w.redeemKey("commbox")
	for _, brand := range []string{"", "commbox"} {
		ticket := w.administratorTicket(brand)
		for _, page := range []string{"/login", w.chatPath("commbox", "web")} {
			c := w.client()
			res := c.get(page + "?ta=" + ticket)
			assert.Equal(t, http.StatusForbidden, res.status, page)
			assert.Empty(t, res.header.Values("Set-Cookie"), page)
		}
		for _, path := range []string{redeemPath, inspectPath} {
			for _, audience := range []string{"agent", "customer"} {
				for _, key := range []string{all, one} {
					v := w.spend(path, key, map[string]any{"ticket": ticket, "audience": audience})
					assert.Equal(t, "wrong_audience", v.Data.Reason)
					assert.Nil(t, v.Data.Ticket)
					assert.Empty(t, v.Data.TicketID)
				}
			}
			v := w.spend(path, all, map[string]any{"ticket": ticket, "audience": "administrator"})
			assert.Equal(t, http.StatusBadRequest, v.status)
		}
		res := w.client().do(http.MethodPost, "/auth/revoke", strings.NewReader(`{"ticket":"`+ticket+`"}`),
			map[string]string{"Authorization": "Bearer " + w.anyKey, "Content-Type": "application/json"})
		assert.Equal(t, http.StatusBadRequest, res.status, res.body)
		assert.NotContains(t, res.body, "administrator")
	}
	assert.NotContains(t, w.log.String(), `msg="ticket redeemed"`)
}

// POST /auth/ticket makes no administrator's ticket, whatever the body and the key.
func TestNoKeyIssuesAnAdministratorsTicket(t *testing.T) {
	w := newWorld(t)
	for _, key := range []string{w.key, w.anyKey} {
		for _, body := range []string{
			`{"username":"root"}`,
			`{"brand":"","username":"root","email":"root@example.com"}`,
			`{"username":"root","audience":"administrator","oneTimeUse":true}`,
		} {
			assert.NotEqual(t, http.StatusOK, w.ask(key, body).status, body)
		}
		assert.Equal(t, http.StatusBadRequest,
			w.ask(key, strings.Replace(reference, "{", `{"audience":"administrator",`, 1)).status,
			"the audience is no field of the request")
	}
}
