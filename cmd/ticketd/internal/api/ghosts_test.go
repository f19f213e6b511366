//go:build unix

package api

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/internal/servers"
	"github.com/admitone/admitone/token"
)

// onBoth runs the test with a directory on each kind of database.
func onBoth(t *testing.T, test func(t *testing.T, w *world), change ...func(*Config)) {
	t.Parallel()
	for name, dsn := range map[string]func() string{
		"sqlite":   func() string { return filepath.Join(t.TempDir(), "directory.db") },
		"postgres": func() string { return servers.Database(t) },
	} {
		t.Run(name, func(t *testing.T) { test(t, newWorldOn(t, dsn(), change...)) })
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
				w.ns.Add(int64(time.Second))
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

// trap W9: an unspent ticket of the first agent does not admit the second, at any door. A
// ticket issued after the return and the skew does.
func TestGhostTickets(t *testing.T) {
	t.Parallel()
	for name, leaveAndReturn := range returns {
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, w *world) {
				key := w.apiKey(directory.APIKey{AllBrands: true,
					Scopes: []directory.Scope{directory.ScopeIssue, directory.ScopeRedeem}})
				doors := func(want int, ticket string) {
					t.Helper()
					fields := map[string]any{"ticket": ticket, "audience": "agent"}
					inspected := w.spend(inspectPath, key, fields)
					assert.Equal(t, want != http.StatusForbidden, strings.Contains(inspected.body, "acceptable"), inspected.body)
					if want == http.StatusForbidden {
						assert.Equal(t, want, w.client().get("/login?ta="+ticket).status)
					}
					assert.Equal(t, want, w.spend(redeemPath, key, fields).status)
				}
				// For many uses, so that the first use proves that the ticket is good.
				many := w.ticket(key, strings.Replace(reference, `"oneTimeUse":true`, `"oneTimeUse":false`, 1))
				once := w.ticket(key, reference)
				doors(http.StatusOK, many)
				w.ns.Add(int64(time.Second))
				leaveAndReturn(t, w)
				doors(http.StatusForbidden, many)
				doors(http.StatusForbidden, once)
				assert.Contains(t, w.log.String(), "reason=refused_by_caller")
				early := w.ticket(key, reference)
				w.ns.Add(int64(testSkew + time.Millisecond))
				doors(http.StatusForbidden, early)
				doors(http.StatusOK, w.ticket(key, reference))
			}, func(c *Config) { c.Skew = testSkew })
		})
	}
}

const testSkew = 10 * time.Second

// A ticket from before a restore is refused, and the log says why.
func TestTicketBeforeRestore(t *testing.T) {
	t.Parallel()
	var config Config
	w := newWorldOn(t, filepath.Join(t.TempDir(), "directory.db"), func(c *Config) { config = *c })
	old := w.ticket(w.anyKey, reference)
	w.ns.Add(int64(time.Second))
	var stream bytes.Buffer
	_, err := w.directory.Save(t.Context(), &stream, directory.SaveOptions{})
	require.NoError(t, err)
	restored, err := directory.Open(t.Context(), filepath.Join(t.TempDir(), "restored.db"))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, restored.Close()) })
	restored.SetClock(w.now)
	_, err = restored.Load(t.Context(), &stream, directory.LoadOptions{ID: "restored"})
	require.NoError(t, err)
	config.Directory = restored
	h, err := New(config)
	require.NoError(t, err)
	w.server.Close()
	w.server = httptest.NewServer(h)

	const cause = `cause="the ticket was issued before the directory was restored from a backup"`
	assert.NotContains(t, w.log.String(), cause)
	assert.Equal(t, http.StatusForbidden, w.client().get("/login?ta="+old).status)
	assert.Contains(t, w.log.String(), cause)
	w.ns.Add(int64(time.Second))
	assert.Equal(t, http.StatusSeeOther, w.client().get("/login?ta="+w.ticket(w.anyKey, reference)).status)
}

// trap W9: customers' tickets and sessions of a brand that was removed are not good in the
// brand that has its name, and neither are its API keys. A new name has no such time: add,
// then issue, then enter.
func TestGhostBrand(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		body := func(brand string) string { return `{"brand":"` + brand + `","email":"jane@example.com"}` }
		chat := w.chatPath("commbox", "web")
		old := w.ticket(w.anyKey, body("commbox"))
		jane := w.client()
		require.Equal(t, http.StatusSeeOther, jane.get(chat+"?ta="+old).status)
		require.Equal(t, http.StatusOK, jane.get("/auth/check-customer").status)
		returns["brand removed and made again"](t, w)
		w.ns.Add(int64(ownerKnown))
		assert.Equal(t, http.StatusUnauthorized, jane.get("/auth/check-customer").status)
		assert.Equal(t, http.StatusUnauthorized, w.ask(w.key, body("commbox")).status)
		assert.Equal(t, http.StatusForbidden, w.client().get(chat+"?ta="+old).status)
		assert.Contains(t, w.log.String(), `cause="the ticket was issued before the brand was removed and made again"`)
		w.ns.Add(int64(testSkew + time.Millisecond))
		assert.Equal(t, http.StatusForbidden, w.client().get(chat+"?ta="+old).status)
		fresh := w.ticket(w.anyKey, body("commbox"))
		assert.Equal(t, http.StatusSeeOther, w.client().get(chat+"?ta="+fresh).status)
		assert.Equal(t, http.StatusUnauthorized, jane.get("/auth/check-customer").status, "as long as she is another")

		require.NoError(t, w.directory.AddBrand(t.Context(), directory.Brand{Name: "new"}))
		require.NoError(t, w.directory.AddChannel(t.Context(), directory.Channel{Brand: "new", ID: "web"}))
		agent := second
		agent.Brand, agent.Username = "new", "new.name"
		require.NoError(t, w.directory.AddAgent(t.Context(), agent))
		assert.Equal(t, http.StatusSeeOther,
			w.client().get(w.chatPath("new", "web")+"?ta="+w.ticket(w.anyKey, body("new"))).status)
		ticket := w.ticket(w.anyKey, `{"brand":"new","username":"new.name","email":"john.d@gmail.com"}`)
		assert.Equal(t, http.StatusSeeOther, w.client().get("/login?ta="+ticket).status)
	}, func(c *Config) { c.Skew = testSkew })
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

// The sessions of one agent and of one customer end. Both may enter again, and nobody
// else is signed out.
func TestEndSessions(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		agent := func() *browser {
			c := w.client()
			require.Equal(t, http.StatusSeeOther, c.get("/login?ta="+w.ticket(w.key, reference)).status)
			return c
		}
		customer := func(name string) *browser {
			c := w.client()
			ticket := w.ticket(w.key, `{"brand":"commbox","email":"`+name+`@example.com"}`)
			require.Equal(t, http.StatusSeeOther, c.get(w.chatPath("commbox", "web")+"?ta="+ticket).status)
			return c
		}
		unspent := w.ticket(w.key, reference)
		john, jane, joan := agent(), customer("jane"), customer("joan")
		_, err := w.directory.EndAgentSessions(t.Context(), "commbox", "john.d")
		require.NoError(t, err)
		found, err := w.directory.FindCustomers(t.Context(), "commbox", directory.Customer{Email: "jane@example.com"})
		require.NoError(t, err)
		_, err = w.directory.EndCustomerSessions(t.Context(), "commbox", found[0].ID)
		require.NoError(t, err)
		again := []*browser{agent(), customer("jane"), joan}
		w.ns.Add(int64(ownerKnown))
		assert.Equal(t, http.StatusUnauthorized, john.get("/auth/check").status)
		assert.Equal(t, http.StatusUnauthorized, jane.get("/auth/check-customer").status)
		for i, path := range []string{"/auth/check", "/auth/check-customer", "/auth/check-customer"} {
			assert.Equal(t, http.StatusOK, again[i].get(path).status)
		}
		assert.Equal(t, http.StatusSeeOther, w.client().get("/login?ta="+unspent).status)
	})
}

// A revoked ticket is refused at every door, a ticket for many uses too, and no other
// ticket is.
func TestRevokedTicket(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		key := w.redeemKey("commbox")
		revoke := func(ticket, brand string) {
			t.Helper()
			var tk token.Ticket
			require.NoError(t, w.open(ticket, &tk))
			require.NoError(t, w.directory.RevokeTicket(t.Context(), brand, "", tk.ID))
		}
		redeem := func(ticket, audience string) int {
			return w.spend(redeemPath, key, map[string]any{"ticket": ticket, "audience": audience}).status
		}
		once, twin := w.ticket(w.key, reference), w.ticket(w.key, reference)
		many := w.ticket(w.key, `{"brand":"commbox","email":"jane@example.com"}`)
		chat := w.chatPath("commbox", "web") + "?ta="
		revoke(once, "acme")
		assert.Equal(t, http.StatusOK, redeem(many, "customer"))
		assert.Equal(t, http.StatusSeeOther, w.client().get(chat+many).status)
		revoke(once, "commbox")
		revoke(many, "commbox")
		assert.Equal(t, http.StatusForbidden, redeem(once, "agent"))
		assert.Equal(t, http.StatusForbidden, w.client().get("/login?ta="+once).status)
		assert.Equal(t, http.StatusForbidden, redeem(many, "customer"))
		assert.Equal(t, http.StatusForbidden, w.client().get(chat+many).status)
		assert.Contains(t, w.log.String(), "the ticket was revoked")
		assert.Equal(t, http.StatusSeeOther, w.client().get("/login?ta="+twin).status)
	})
}

// trap W13: while the directory is away, its last answer about a session counts for 60
// seconds. Then the check and the page say to try again.
func TestSessionWithoutDirectory(t *testing.T) {
	w := newWorld(t)
	john := w.client()
	require.Equal(t, http.StatusSeeOther, john.get("/login?ta="+w.ticket(w.key, reference)).status)
	w.ns.Add(int64(time.Second))
	require.Equal(t, http.StatusOK, john.get("/auth/check").status)
	require.NoError(t, w.directory.Close())
	w.ns.Add(int64(ownerStale - time.Second))
	res := john.get("/auth/check")
	assert.Equal(t, http.StatusOK, res.status)
	assert.Equal(t, "john.d", res.header.Get("Remote-User"))
	assert.Equal(t, http.StatusOK, john.get("/login").status)
	w.ns.Add(int64(time.Second))
	for _, path := range []string{"/auth/check", "/login"} {
		res := john.get(path)
		assert.Equal(t, http.StatusServiceUnavailable, res.status, path)
		assert.NotEmpty(t, res.header.Get("Retry-After"), path)
		assert.Empty(t, res.header.Get("Remote-User"), path)
	}
	assert.Equal(t, http.StatusUnauthorized, w.client().get("/auth/check").status)
}
