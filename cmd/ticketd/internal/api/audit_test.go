package api

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/cmd/ticketd/internal/audit"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/token"
)

// Each request leaves one line in the log: its event with what the access log says, or the
// access log's own.
func TestOneLineARequest(t *testing.T) {
	w := newWorld(t)
	redeem := w.apiKey(directory.APIKey{Scopes: []directory.Scope{directory.ScopeRedeem}, Brands: []string{"commbox"}})
	post := func(path, key, body string) func() {
		return func() {
			w.client().do(http.MethodPost, path, strings.NewReader(body), map[string]string{"Authorization": "Bearer " + key})
		}
	}
	get := func(target string) func() { return func() { w.client().get(target) } }
	byAPI := `{"ticket":"` + w.ticket(w.key, reference) + `","audience":"agent"}`
	byPage := "/login?ta=" + w.ticket(w.key, reference)
	for _, row := range []struct {
		name  string
		do    func()
		event string
		has   string
	}{
		{"issue", post("/auth/ticket", w.key, reference), `"ticket issued"`, "route=/auth/ticket status=200"},
		{"issue refused", post("/auth/ticket", w.key, `{}`), `"request refused"`, "reason=brand"},
		{"no key", post("/auth/ticket", "x", `{}`), `"request refused"`, "status=401"},
		{"inspect", post("/auth/inspect", redeem, byAPI), `"ticket inspected"`, "result=acceptable"},
		{"redeem", post("/auth/redeem", redeem, byAPI), `"ticket redeemed"`, "status=200"},
		{"redeem again", post("/auth/redeem", redeem, byAPI), `"ticket refused"`, "reason=already_used"},
		{"revoke", post("/auth/revoke", w.key, byAPI[:strings.Index(byAPI, ",")]+"}"), `"ticket revoked"`, "status=200"},
		{"enter", get(byPage), `"ticket redeemed"`, `route="GET /login" status=303`},
		{"enter again", get(byPage), `"ticket refused"`, "reason=already_used"},
		{"no ticket", get("/login"), "request", "status=403"},
		{"no such path", get("/x"), "request", "route=none status=404"},
	} {
		before := len(w.log.String())
		row.do()
		line := w.log.String()[before:]
		assert.Equal(t, 1, strings.Count(line, "\n"), "%s: %s", row.name, line)
		assert.Contains(t, line, "msg="+row.event, row.name)
		for _, has := range []string{row.has, "method=", "duration_us=", "remote=127.0.0.1"} {
			assert.Contains(t, line, has, row.name)
		}
	}
}

// audited gives a service the audit trail.
func audited(t testing.TB) func(*Config) {
	return func(c *Config) {
		var err error
		c.Audit, err = audit.Start(t.Context(), audit.Config{
			Directory: c.Directory, Name: "test", Retention: audit.Retention, Log: slog.New(slog.DiscardHandler),
			Written: func(int) {}, Dropped: func(int) {}, Now: time.Now,
		})
		require.NoError(t, err)
	}
}

// Each use of a ticket is an event of the audit trail, and so are refusals, without anything
// personal.
func TestAuditTrail(t *testing.T) {
	var trail *audit.Trail
	w := newWorld(t, audited(t), func(c *Config) { trail = c.Audit })
	redeem := w.redeemKey("commbox")
	acme := w.redeemKey("acme")
	ticket := w.ticket(w.key, reference)
	var tk token.Ticket
	require.NoError(t, w.open(ticket, &tk))
	spend := func(operation, key, ticket string) {
		w.spend("/auth/"+operation, key, map[string]any{"ticket": ticket, "audience": "agent"})
	}
	spend("inspect", redeem, ticket)
	spend("redeem", acme, ticket)
	spend("redeem", redeem, ticket)
	for range 3 {
		w.client().get("/login?ta=" + ticket)
	}
	spend("redeem", redeem, "tkt1_x")
	w.revoke(w.key, `{"ticket":"`+ticket+`"}`)
	customer := w.ticket(w.key, `{"brand":"commbox","email":"jane@example.com"}`)
	w.client().get(w.chatPath("commbox", "web") + "?ta=" + customer)
	for range 3 {
		w.client().get("/login?ta=tkt1_forged")
		w.ask("x", reference)
	}
	w.ask(redeem, reference)
	w.ask(w.acmeKey, reference)
	require.NoError(t, trail.Close())

	events, _, err := w.directory.NewEvents(t.Context(), directory.EventFilter{AllBrands: true}, 0, 1000)
	require.NoError(t, err)
	id := func(key string) string { return strings.Split(key, "_")[1] }
	who := strings.NewReplacer(id(w.key), "KEY", id(redeem), "REDEEM", id(acme), "ACME", id(w.acmeKey), "ACMEISSUE")
	var got []string
	for _, e := range events {
		prefix, _, _ := strings.Cut(e.Action, ".")
		if prefix != "ticket" && e.Action != directory.ActionRefuseKey && prefix != "stranger" {
			continue
		}
		line := fmt.Sprintf("%s brand=%s %s=%s %s:%s from=%s %s x%d", e.Action, e.Brand, e.Kind, e.Name, e.Actor.Kind,
			who.Replace(e.Actor.Name), e.Actor.Remote, e.Reason, e.Count)
		switch e.Ticket {
		case tk.ID.String():
			line += " first"
		case "":
		default:
			line += " other"
		}
		got = append(got, line)
	}
	assert.ElementsMatch(t, []string{
		"ticket.issue brand=commbox agent=john.d key:KEY from=127.0.0.1  x1 first",
		"ticket.inspect brand=commbox agent=john.d key:REDEEM from=127.0.0.1  x1 first",
		"ticket.refuse brand=commbox agent=john.d key:ACME from=127.0.0.1 wrong_brand x1 first",
		"ticket.redeem brand=commbox agent=john.d key:REDEEM from=127.0.0.1  x1 first",
		"ticket.refuse brand=commbox agent=john.d ticket: from=127.0.0.1 already_used x1 first",
		"ticket.refuse brand=commbox agent=john.d ticket: from=127.0.0.1 already_used x2 first",
		"ticket.refuse brand= = key:REDEEM from=127.0.0.1 malformed x1",
		"ticket.revoke brand=commbox = key:KEY from=127.0.0.1  x1 first",
		"ticket.issue brand=commbox = key:KEY from=127.0.0.1  x1 other",
		"ticket.enter brand=commbox = ticket: from=127.0.0.1  x1 other",
		"stranger.refused brand= = stranger: from=127.0.0.1 API key malformed x6",
		"key.refuse brand= = key:REDEEM from=127.0.0.1 API key without scope issue x1",
		"key.refuse brand= = key:ACMEISSUE from=127.0.0.1 API key of another brand x1",
	}, got)
}
