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

// Each request opens its ticket once and reads each fact of the directory once, on both
// databases.
func TestOpeningsAndStatements(t *testing.T) {
	t.Parallel()
	for name, dsn := range map[string]func() string{
		"sqlite":   func() string { return filepath.Join(t.TempDir(), "directory.db") },
		"postgres": func() string { return servers.PostgreSQL(t, "-c", "fsync=off").URL },
	} {
		t.Run(name, func(t *testing.T) { testOpeningsAndStatements(t, newWorldOn(t, dsn())) })
	}
}

func testOpeningsAndStatements(t *testing.T, w *world) {
	var mu sync.Mutex
	var statements []string
	w.directory.Trace(func(s string) {
		mu.Lock()
		defer mu.Unlock()
		statements = append(statements, s)
	})
	// counts wants so many openings and statements of a request, which must succeed, and
	// no statement twice.
	counts := func(what string, openings, want int, request func() int) {
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
	redeem := func(ticket, audience string) func() int {
		return func() int {
			fields := map[string]any{"ticket": ticket, "audience": audience}
			if audience == "customer" {
				fields["channel"] = "web"
			}
			return w.spend(redeemPath, key, fields).status
		}
	}
	chat := w.chatPath("commbox", "web")
	get := func(target string) func() int { return func() int { return w.client().get(target).status } }
	ask := func(body string) func() int { return func() int { return w.ask(w.key, body).status } }

	const override = `,"overrideUserInfo":true,"firstName":"Ann"`
	counts("issue, agent", 0, 3, ask(reference))
	counts("issue, customer", 0, 2, ask(customer("")))
	counts("issue, customer in a channel", 0, 2, ask(customer(`,"channel":"web"`)))
	agent := w.ticket(w.key, reference)
	counts("inspect, agent", 1, 4, func() int {
		return w.spend(inspectPath, key, map[string]any{"ticket": agent, "audience": "agent"}).status
	})
	counts("redeem, agent", 1, 4, redeem(agent, "agent"))
	revoke := func(body string) func() int { return func() int { return w.revoke(w.key, body).status } }
	counts("revoke, by ID", 0, 4, revoke(`{"brand":"commbox","ticketId":"00112233445566778899aabbccddeeff"}`))
	counts("revoke, by ticket", 1, 4, revoke(`{"ticket":"`+agent+`"}`))
	counts("redeem, known customer", 1, 4, redeem(known(""), "customer"))
	counts("redeem, known customer, bound", 1, 4, redeem(known(`,"channel":"web"`), "customer"))
	counts("redeem, new customer", 1, 6, redeem(w.ticket(w.key, customer("")), "customer"))
	counts("redeem, new customer, override", 1, 6, redeem(w.ticket(w.key, customer(override)), "customer"))
	counts("login", 1, 3, get("/login?ta="+w.ticket(w.key, reference)))
	counts("chat, known customer", 1, 3, get(chat+"?ta="+known("")))
	counts("chat, new customer", 1, 5, get(chat+"?ta="+w.ticket(w.key, customer(""))))
	counts("chat, new customer, override", 1, 5, get(chat+"?ta="+w.ticket(w.key, customer(override))))

	yes := true
	w.brand("commbox", func(b *directory.Brand) { b.Confirm = &yes })
	for what, row := range map[string]struct {
		target      string
		show, spend int
	}{
		"login":                {"/login?ta=" + w.ticket(w.key, reference), 3, 3},
		"chat, known customer": {chat + "?ta=" + known(""), 3, 3},
		"chat, new customer":   {chat + "?ta=" + w.ticket(w.key, customer("")), 3, 5},
	} {
		c := w.client()
		var page response
		counts("confirm page, "+what, 1, row.show, func() int { page = c.get(row.target); return page.status })
		require.Equal(t, http.StatusOK, page.status, what)
		counts("its button, "+what, 1, row.spend, func() int { return c.press(page).status })
	}
	w.brand("commbox", func(b *directory.Brand) { b.Confirm = nil })
	counts("redeem, known customer, override", 1, 6, redeem(known(override), "customer"))
	counts("chat, known customer, override", 1, 5, get(chat+"?ta="+known(override)))
}
