//go:build unix

package api

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/internal/servers"
)

// Each request opens its ticket once and reads each fact of the directory once, and none
// that is remembered, on both databases. A server is asked about the revocation of each
// ticket.
func TestOpeningsAndStatements(t *testing.T) {
	t.Parallel()
	for name, dsn := range map[string]func() string{
		"sqlite":   func() string { return filepath.Join(t.TempDir(), "directory.db") },
		"postgres": func() string { return servers.PostgreSQL(t, "-c", "fsync=off").URL },
	} {
		t.Run(name, func(t *testing.T) {
			revocation := 0
			if name == "postgres" {
				revocation = 1
			}
			testOpeningsAndStatements(t, newWorldOn(t, dsn()), revocation)
		})
	}
}

// testOpeningsAndStatements has the number of statements about a ticket's revocation.
func testOpeningsAndStatements(t *testing.T, w *world, revocation int) {
	var mu sync.Mutex
	var statements []string
	w.directory.Trace(func(s string) {
		mu.Lock()
		defer mu.Unlock()
		statements = append(statements, s)
	})
	// once wants so many openings and statements of a request, which must succeed, and no
	// statement twice.
	once := func(what string, openings, want int, request func() int) {
		t.Helper()
		w.opener.opened.Store(0)
		mu.Lock()
		statements = nil
		mu.Unlock()
		status := request()
		require.Contains(t, []int{http.StatusOK, http.StatusSeeOther}, status, what)
		mu.Lock()
		defer mu.Unlock()
		assert.EqualValues(t, openings, w.opener.opened.Load(), "openings: %s", what)
		assert.Len(t, statements, want, "statements: %s\n%s", what, strings.Join(statements, "\n"))
		for i, s := range statements {
			assert.NotContains(t, statements[:i], s, "twice: %s", what)
		}
	}
	// counts makes two requests of a kind. Before the first, the records that the directory
	// remembers are forgotten.
	counts := func(what string, openings, cold, warm int, prepare func() func() int) {
		t.Helper()
		request := prepare()
		w.brand("acme", func(*directory.Brand) {})
		once(what+", cold", openings, cold, request)
		once(what+", warm", openings, warm, prepare())
	}
	key := w.redeemKey("commbox")
	people := 0
	customer := func(more string) string {
		people++
		return fmt.Sprintf(`{"brand":"commbox","uniqueId":"id-%d","email":"p%d@example.com","oneTimeUse":true%s}`, people, people, more)
	}
	known := func(more string) string {
		body := customer(more)
		first := w.ticket(w.key, strings.Replace(body, more, "", 1))
		require.Equal(t, http.StatusOK, w.spend(redeemPath, key,
			map[string]any{"ticket": first, "audience": "customer"}).status)
		return w.ticket(w.key, body)
	}
	redeem := func(ticket func() string, audience string) func() func() int {
		return func() func() int {
			fields := map[string]any{"ticket": ticket(), "audience": audience}
			if audience == "customer" {
				fields["channel"] = "web"
			}
			return func() int { return w.spend(redeemPath, key, fields).status }
		}
	}
	chat := w.chatPath("commbox", "web")
	get := func(page string, ticket func() string) func() func() int {
		return func() func() int {
			target := page + "?ta=" + ticket()
			return func() int { return w.client().get(target).status }
		}
	}
	ask := func(body func() string) func() func() int {
		return func() func() int {
			sent := body()
			return func() int { return w.ask(w.key, sent).status }
		}
	}
	// uses is counts for the use of a ticket.
	uses := func(what string, cold, warm int, prepare func() func() int) {
		t.Helper()
		counts(what, 1, cold+revocation, warm+revocation, prepare)
	}
	agent := func() string { return w.ticket(w.key, reference) }
	old := func(more string) func() string { return func() string { return known(more) } }
	fresh := func(more string) func() string { return func() string { return w.ticket(w.key, customer(more)) } }

	const override = `,"overrideUserInfo":true,"firstName":"Ann"`
	counts("issue, agent", 0, 3, 0, ask(func() string { return reference }))
	counts("issue, customer", 0, 2, 0, ask(func() string { return customer("") }))
	counts("issue, customer in a channel", 0, 2, 0, ask(func() string { return customer(`,"channel":"web"`) }))
	uses("inspect, agent", 3, 0, func() func() int {
		fields := map[string]any{"ticket": agent(), "audience": "agent"}
		return func() int { return w.spend(inspectPath, key, fields).status }
	})
	uses("redeem, agent", 3, 0, redeem(agent, "agent"))
	revoke := func(body func() string) func() func() int {
		return func() func() int {
			sent := body()
			return func() int { return w.revoke(w.key, sent).status }
		}
	}
	counts("revoke, by ID", 0, 5, 2, revoke(func() string {
		return `{"brand":"commbox","ticketId":"00112233445566778899aabbccddeeff"}`
	}))
	counts("revoke, by ticket", 1, 5, 3, revoke(func() string { return `{"ticket":"` + agent() + `"}` }))
	uses("redeem, known customer", 3, 1, redeem(old(""), "customer"))
	uses("redeem, known customer, bound", 3, 1, redeem(old(`,"channel":"web"`), "customer"))
	uses("redeem, new customer", 6, 4, redeem(fresh(""), "customer"))
	uses("redeem, new customer, override", 6, 4, redeem(fresh(override), "customer"))
	uses("login", 2, 0, get("/login", agent))
	uses("chat, known customer", 2, 1, get(chat, old("")))
	uses("chat, new customer", 5, 4, get(chat, fresh("")))
	uses("chat, new customer, override", 5, 4, get(chat, fresh(override)))

	yes := true
	w.brand("commbox", func(b *directory.Brand) { b.Confirm = &yes })
	for what, row := range map[string]struct {
		page   string
		ticket func() string

		showCold, showWarm, spendCold, spendWarm int
	}{
		"login":                {"/login", agent, 2, 0, 2, 0},
		"chat, known customer": {chat, old(""), 2, 1, 2, 1},
		"chat, new customer":   {chat, fresh(""), 2, 1, 5, 4},
	} {
		uses("confirm page, "+what, row.showCold, row.showWarm, get(row.page, row.ticket))
		uses("its button, "+what, row.spendCold, row.spendWarm, func() func() int {
			c := w.client()
			page := c.get(row.page + "?ta=" + row.ticket())
			require.Equal(t, http.StatusOK, page.status, what)
			return func() int { return c.press(page).status }
		})
	}
	w.brand("commbox", func(b *directory.Brand) { b.Confirm = nil })
	uses("redeem, known customer, override", 6, 4, redeem(old(override), "customer"))
	uses("chat, known customer, override", 5, 4, get(chat, old(override)))
}
