package api

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
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
