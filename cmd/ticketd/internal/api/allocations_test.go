//go:build !race

package api

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
)

// A redemption and an entry allocate little, beside a request and a recorder of package
// httptest. The least of some rounds counts: others have a look at the directory's file.
func TestAllocations(t *testing.T) {
	w := newWorld(t, unlimited, audited(t))
	h := w.server.Config.Handler
	redeem := w.apiKey(directory.APIKey{Scopes: []directory.Scope{directory.ScopeRedeem}, Brands: []string{"commbox"}})
	for name, c := range map[string]struct {
		most float64
		use  func(ticket string)
	}{
		"redeem": {65, func(ticket string) { exchange(t, h, "/auth/redeem", redeem, redemptionOf(ticket)) }},
		"login":  {52, func(ticket string) { login(t, h, ticket) }},
	} {
		least := 1e9
		for range 30 {
			tickets := []string{w.benchTicket(t), w.benchTicket(t)}
			least = min(least, testing.AllocsPerRun(1, func() {
				c.use(tickets[0])
				tickets = tickets[1:]
			}))
		}
		t.Log(name, least)
		assert.LessOrEqual(t, least, c.most, name)
	}
}
