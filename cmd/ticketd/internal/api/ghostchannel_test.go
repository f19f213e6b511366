//go:build unix

package api

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
)

// trap W9: a customer's session ends with its channel, and a ticket that names the channel
// is not good in the channel that has its name. A ticket for any channel is.
func TestGhostChannel(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		bound := func() string {
			return w.ticket(w.key, `{"brand":"commbox","channel":"web","email":"jane@example.com"}`)
		}
		chat, redeem := w.chatPath("commbox", "web"), w.redeemKey("commbox")
		doors := func(want int, ticket string) {
			t.Helper()
			fields := map[string]any{"ticket": ticket, "audience": "customer", "channel": "web"}
			assert.Equal(t, want, w.spend(redeemPath, redeem, fields).status)
			inspected := w.spend(inspectPath, redeem, fields).body
			assert.Equal(t, want == http.StatusOK, strings.Contains(inspected, "acceptable"), inspected)
			entered := map[int]int{http.StatusOK: http.StatusSeeOther, http.StatusForbidden: http.StatusForbidden}[want]
			assert.Equal(t, entered, w.client().get(chat+"?ta="+ticket).status)
		}
		require.NoError(t, w.directory.AddChannel(t.Context(), directory.Channel{Brand: "commbox", ID: "vip"}))
		old, unbound := bound(), w.ticket(w.key, `{"brand":"commbox","email":"jane@example.com"}`)
		jane, elsewhere := w.client(), w.client()
		require.Equal(t, http.StatusSeeOther, jane.get(chat+"?ta="+old).status)
		require.Equal(t, http.StatusSeeOther, elsewhere.get(w.chatPath("commbox", "vip")+"?ta="+unbound).status)
		check := func(c *browser) int { return c.get("/auth/check-customer").status }
		require.Equal(t, http.StatusOK, check(jane))
		w.ns.Add(int64(time.Second))
		require.NoError(t, w.directory.RemoveChannel(t.Context(), "commbox", "web"))
		w.ns.Add(int64(ownerKnown))
		assert.Equal(t, http.StatusUnauthorized, check(jane), "the channel is gone")
		assert.Equal(t, http.StatusForbidden, jane.get(chat).status)
		require.NoError(t, w.directory.AddChannel(t.Context(), directory.Channel{Brand: "commbox", ID: "web"}))
		doors(http.StatusForbidden, old)
		assert.Contains(t, w.log.String(), "before the channel was removed and made again")
		doors(http.StatusOK, unbound)
		early := bound()
		w.ns.Add(int64(testSkew + time.Millisecond))
		doors(http.StatusForbidden, early)
		fresh := bound()
		doors(http.StatusOK, fresh)
		assert.Equal(t, http.StatusUnauthorized, check(jane), "the channel is another")
		assert.Equal(t, http.StatusOK, check(elsewhere))
		require.Equal(t, http.StatusSeeOther, jane.get(chat+"?ta="+fresh).status)
		assert.Equal(t, http.StatusOK, check(jane))
	}, func(c *Config) { c.Skew = testSkew })
}
