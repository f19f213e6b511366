package api

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/client"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/ratelimit"
)

// unlimited is a rate limit that a benchmark does not reach.
func unlimited(c *Config) {
	c.Limit = ratelimit.Limit{Rate: 1e9, Burst: 1 << 30}
	c.Log = slog.New(slog.NewJSONHandler(io.Discard, nil))
}

// exchange answers one request by the handler alone, without a network. It returns the
// answer's body.
func exchange(b testing.TB, h http.Handler, path, key, body string) string {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	r.Header["Authorization"] = []string{"Bearer " + key}
	r.Header["Content-Type"] = []string{"application/json"}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		b.Fatalf("%s answers %d: %s", path, w.Code, w.Body)
	}
	return w.Body.String()
}

const benchTicket = `{"data":{"brand":"commbox","username":"john.d","email":"john.d@gmail.com",` +
	`"phone1":"+442501234567","uniqueId":"123456","firstName":"John","lastName":"Doe","oneTimeUse":true}}`

// BenchmarkIssue measures POST /auth/ticket for an agent. The time includes a request
// and a recorder of package httptest; BenchmarkBare has the time of these alone.
func BenchmarkIssue(b *testing.B) {
	w := newWorld(b, unlimited)
	h := w.server.Config.Handler
	b.ReportAllocs()
	for b.Loop() {
		exchange(b, h, "/auth/ticket", w.key, benchTicket)
	}
}

// spendAll calls spend with another ticket in each round of a benchmark.
func spendAll(b *testing.B, w *world, spend func(ticket string)) {
	var tickets []string
	b.ReportAllocs()
	for b.Loop() {
		if len(tickets) == 0 {
			b.StopTimer()
			for range 1000 {
				tickets = append(tickets, w.benchTicket(b))
			}
			b.StartTimer()
		}
		spend(tickets[0])
		tickets = tickets[1:]
	}
}

// benchTicket asks for a ticket.
func (w *world) benchTicket(b testing.TB) string {
	var issued struct{ Data client.Issued }
	answer := exchange(b, w.server.Config.Handler, "/auth/ticket", w.key, benchTicket)
	require.NoError(b, json.Unmarshal([]byte(answer), &issued))
	return issued.Data.Ticket
}

// BenchmarkRedeem measures POST /auth/redeem for an agent, from memory.
func BenchmarkRedeem(b *testing.B) {
	w := newWorld(b, unlimited)
	redeem := w.apiKey(directory.APIKey{Scopes: []directory.Scope{directory.ScopeRedeem}, Brands: []string{"commbox"}})
	spendAll(b, w, func(ticket string) {
		exchange(b, w.server.Config.Handler, "/auth/redeem", redeem, redemptionOf(ticket))
	})
}

// redemptionOf is the body of a backend's request with an agent's ticket.
func redemptionOf(ticket string) string {
	return `{"ticket":"` + ticket + `","audience":"agent","binding":"0123456789abcdef"}`
}

// BenchmarkLogin measures GET /login?ta= for an agent, from memory.
func BenchmarkLogin(b *testing.B) {
	w := newWorld(b, unlimited)
	spendAll(b, w, func(ticket string) { login(b, w.server.Config.Handler, ticket) })
}

// login enters with an agent's ticket, as exchange answers a request.
func login(b testing.TB, h http.Handler, ticket string) {
	r := httptest.NewRequest(http.MethodGet, "/login?ta="+ticket, nil)
	r.Header["User-Agent"] = []string{"Mozilla/5.0 (X11; Linux x86_64; rv:141.0) Gecko/20100101 Firefox/141.0"}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusSeeOther || w.Header().Get("Set-Cookie") == "" {
		b.Fatalf("/login answers %d: %s", w.Code, w.Body)
	}
}

// BenchmarkBare is the floor of these benchmarks: a request and its answer without work.
func BenchmarkBare(b *testing.B) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body)
	})
	b.ReportAllocs()
	for b.Loop() {
		exchange(b, h, "/auth/ticket", "key", benchTicket)
	}
}
