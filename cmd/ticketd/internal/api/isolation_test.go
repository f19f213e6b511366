package api

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
)

// Fifty brands of a thousand agents each, who have the same usernames and unique
// IDs everywhere: a key of one brand issues and redeems for that brand only, and an
// agent's details of one brand match in no other.
func TestBrandsAreIsolated(t *testing.T) {
	t.Parallel()
	brands, agents := 50, 1000
	if testing.Short() {
		brands, agents = 8, 100
	}
	w := newWorld(t)
	name := func(i int) string { return fmt.Sprintf("brand-%02d", i) }
	email := func(b, a int) string { return fmt.Sprintf("agent-%04d@brand-%02d.example", a, b) }
	keys := make([]string, brands)
	for b := range brands {
		require.NoError(t, w.directory.AddBrand(t.Context(), directory.Brand{Name: name(b)}))
		require.NoError(t, w.directory.AddChannel(t.Context(), directory.Channel{Brand: name(b), ID: "web"}))
		did, err := w.directory.ImportAgents(t.Context(), name(b), func(yield func(directory.Agent, error) bool) {
			for a := range agents {
				if !yield(directory.Agent{Username: fmt.Sprintf("agent-%04d", a), UniqueID: fmt.Sprint(a), Email: email(b, a),
					Active: true}, nil) {
					return
				}
			}
		}, nil)
		require.NoError(t, err)
		require.Equal(t, agents, did.Added)
		keys[b] = w.apiKey(directory.APIKey{Scopes: []directory.Scope{directory.ScopeIssue, directory.ScopeRedeem},
			Brands: []string{name(b)}})
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for b := range brands {
		a := r.IntN(agents)
		request := func(brand, of int) string {
			return fmt.Sprintf(`{"brand":%q,"username":"agent-%04d","email":%q,"oneTimeUse":true}`, name(brand), a, email(of, a))
		}
		agent := w.ticket(keys[b], request(b, b))
		customer := w.ticket(keys[b], fmt.Sprintf(`{"brand":%q,"uniqueId":"7","firstName":%q,"oneTimeUse":true,"channel":"web"}`, name(b), name(b)))
		for other := range brands {
			if other == b {
				continue
			}
			assert.Equal(t, http.StatusUnauthorized, w.ask(keys[other], request(b, b)).status, "another brand's key")
			assert.Equal(t, http.StatusNotFound, w.ask(keys[b], request(b, other)).status, "another brand's agent")
			for ticket, audience := range map[string]string{agent: "agent", customer: "customer"} {
				fields := map[string]any{"ticket": ticket, "audience": audience}
				if audience == "customer" {
					fields["channel"] = "web"
				}
				v := w.spend([]string{redeemPath, inspectPath}[r.IntN(2)], keys[other], fields)
				assert.Equal(t, "wrong_brand", v.Data.Reason)
				assert.Nil(t, v.Data.Ticket)
			}
			if t.Failed() {
				return
			}
		}
		// None of all that has spent anything, or made a record elsewhere.
		v := w.spend(redeemPath, keys[b], map[string]any{"ticket": agent, "audience": "agent"})
		require.Equal(t, http.StatusOK, v.status, v.body)
		assert.Equal(t, email(b, a), v.Data.Agent.Email)
		v = w.spend(redeemPath, keys[b], map[string]any{"ticket": customer, "audience": "customer", "channel": "web"})
		require.Equal(t, http.StatusOK, v.status, v.body)
		assert.Equal(t, name(b), v.Data.Customer.FirstName, "each brand has its own customer 7")
		records, err := w.directory.Customers(t.Context(), name(b), 0, 10)
		require.NoError(t, err)
		assert.Len(t, records, 1)
	}
}
