//go:build unix

package api

import (
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/internal/servers"
)

// onBoth runs the test with a directory on each kind of database.
func onBoth(t *testing.T, test func(t *testing.T, w *world)) {
	t.Parallel()
	for name, dsn := range map[string]func() string{
		"sqlite":   func() string { return filepath.Join(t.TempDir(), "directory.db") },
		"postgres": func() string { return servers.Database(t) },
	} {
		t.Run(name, func(t *testing.T) { test(t, newWorldOn(t, dsn())) })
	}
}

// returns lists the ways in which agent john.d of brand commbox is away and returns.
var returns = map[string]func(t *testing.T, w *world){
	"removed and added": func(t *testing.T, w *world) {
		require.NoError(t, w.directory.RemoveAgent(t.Context(), "commbox", "john.d"))
		require.NoError(t, w.directory.AddAgent(t.Context(), second))
	},
	"inactive and active": func(t *testing.T, w *world) {
		for _, active := range []bool{false, true} {
			_, err := w.directory.UpdateAgent(t.Context(), "commbox", "john.d",
				func(a *directory.Agent) error { a.Active = active; return nil })
			require.NoError(t, err)
		}
	},
	"removed and imported": func(t *testing.T, w *world) {
		require.NoError(t, w.directory.RemoveAgent(t.Context(), "commbox", "john.d"))
		w.imports(second)
	},
	"inactive and active by import": func(t *testing.T, w *world) {
		away := second
		away.Active = false
		w.imports(away)
		w.imports(second)
	},
	"brand removed and made again": func(t *testing.T, w *world) {
		require.NoError(t, w.directory.RemoveBrand(t.Context(), "commbox", true))
		require.NoError(t, w.directory.AddBrand(t.Context(), directory.Brand{Name: "commbox"}))
		require.NoError(t, w.directory.AddChannel(t.Context(), directory.Channel{Brand: "commbox", ID: "web"}))
		require.NoError(t, w.directory.AddAgent(t.Context(), second))
	},
}

// second is another person with the username of the first.
var second = directory.Agent{
	Brand: "commbox", Username: "john.d", Email: "john.d@gmail.com", Phone1: "+442501234567", UniqueID: "123456",
	FirstName: "John", LastName: "Doe", Active: true,
}

func (w *world) imports(a directory.Agent) {
	w.t.Helper()
	_, err := w.directory.ImportAgents(w.t.Context(), a.Brand,
		func(yield func(directory.Agent, error) bool) { yield(a, nil) }, nil)
	require.NoError(w.t, err)
}

// trap W9: a session belongs to a record, and not to a name.
func TestGhostSessions(t *testing.T) {
	t.Parallel()
	for name, leaveAndReturn := range returns {
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, w *world) {
				john := w.client()
				require.Equal(t, http.StatusSeeOther, john.get("/login?ta="+w.ticket(w.key, reference)).status)
				require.Equal(t, http.StatusOK, john.get("/auth/check").status)
				leaveAndReturn(t, w)
				w.ns.Add(int64(ownerKnown))
				for range 3 {
					assert.Equal(t, http.StatusUnauthorized, john.get("/auth/check").status)
					assert.Equal(t, http.StatusForbidden, john.get("/login").status)
					w.ns.Add(int64(time.Minute))
				}

				// Others of that name enter, also while the answer about the ghost is known.
				key := w.apiKey(directory.APIKey{Scopes: []directory.Scope{directory.ScopeIssue}, AllBrands: true})
				other := w.client()
				require.Equal(t, http.StatusSeeOther, other.get("/login?ta="+w.ticket(key, reference)).status)
				assert.Equal(t, http.StatusOK, other.get("/auth/check").status)
				assert.Equal(t, http.StatusUnauthorized, john.get("/auth/check").status)
			})
		})
	}
}

// trap W9: a customer's session ends with the record, whose number is never another's.
func TestGhostCustomers(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		jane := w.client()
		enter := func(c *browser) string {
			ticket := w.ticket(w.key, `{"brand":"commbox","email":"jane@example.com"}`)
			require.Equal(t, http.StatusSeeOther, c.get(w.chatPath("commbox", "web")+"?ta="+ticket).status)
			res := c.get("/auth/check-customer")
			require.Equal(t, http.StatusOK, res.status)
			return res.header.Get("Remote-User")
		}
		first := enter(jane)
		found, err := w.directory.FindCustomers(t.Context(), "commbox", directory.Customer{Email: "jane@example.com"})
		require.NoError(t, err)
		require.Len(t, found, 1)
		require.NoError(t, w.directory.RemoveCustomer(t.Context(), "commbox", found[0].ID))
		w.ns.Add(int64(ownerKnown))
		assert.NotEqual(t, first, enter(w.client()))
		assert.Equal(t, http.StatusUnauthorized, jane.get("/auth/check-customer").status)
	})
}

// trap W12: the check tells groups, name and email address of the record, at most 5
// seconds old, also when the cookie is renewed meanwhile.
func TestCheckTellsTheRecord(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		change := func(edit func(*directory.Agent)) {
			_, err := w.directory.UpdateAgent(t.Context(), "commbox", "john.d",
				func(a *directory.Agent) error { edit(a); return nil })
			require.NoError(t, err)
		}
		change(func(a *directory.Agent) { a.Groups = []string{"admins"} })
		john := w.client()
		require.Equal(t, http.StatusSeeOther, john.get("/login?ta="+w.ticket(w.key, reference)).status)
		told := func() [3]string {
			res := john.get("/auth/check")
			assert.Equal(t, http.StatusOK, res.status)
			return [3]string{res.header.Get("Remote-Groups"), res.header.Get("Remote-Name"), res.header.Get("Remote-Email")}
		}
		assert.Equal(t, [3]string{"admins", "John Doe", "john.d@gmail.com"}, told())
		change(func(a *directory.Agent) {
			a.Groups, a.LastName, a.Email = []string{"staff"}, "Roe", "roe@example.com"
		})
		w.ns.Add(int64(ownerKnown))
		assert.Equal(t, [3]string{"staff", "John Roe", "roe@example.com"}, told())
		w.ns.Add(int64(31 * time.Minute)) // the cookie is renewed
		assert.Equal(t, [3]string{"staff", "John Roe", "roe@example.com"}, told())
		change(func(a *directory.Agent) { a.Groups = nil })
		w.ns.Add(int64(ownerKnown))
		assert.Equal(t, [3]string{"", "John Roe", "roe@example.com"}, told())

		jane := w.client()
		ticket := w.ticket(w.key, `{"brand":"commbox","email":"jane@example.com","firstName":"Jane"}`)
		require.Equal(t, http.StatusSeeOther, jane.get(w.chatPath("commbox", "web")+"?ta="+ticket).status)
		found, err := w.directory.FindCustomers(t.Context(), "commbox", directory.Customer{Email: "jane@example.com"})
		require.NoError(t, err)
		_, err = w.directory.UpdateCustomer(t.Context(), "commbox", found[0].ID, func(c *directory.Customer) error {
			c.FirstName, c.Email = "Joan", "joan@example.com"
			return nil
		})
		require.NoError(t, err)
		w.ns.Add(int64(ownerKnown))
		res := jane.get("/auth/check-customer")
		assert.Equal(t, "Joan", res.header.Get("Remote-Name"))
		assert.Equal(t, "joan@example.com", res.header.Get("Remote-Email"))
	})
}
