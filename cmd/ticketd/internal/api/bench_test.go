package api

import (
	"encoding/json"
	"fmt"
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
func exchange(b *testing.B, h http.Handler, path, key, body string) string {
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

// BenchmarkRedeem measures POST /auth/redeem for an agent, from memory.
func BenchmarkRedeem(b *testing.B) {
	w := newWorld(b, unlimited)
	redeem := w.apiKey(directory.APIKey{Scopes: []directory.Scope{directory.ScopeRedeem}, Brands: []string{"commbox"}})
	h := w.server.Config.Handler
	var bodies []string
	for range 1000 {
		var issued struct{ Data client.Issued }
		require.NoError(b, json.Unmarshal([]byte(exchange(b, h, "/auth/ticket", w.key, benchTicket)), &issued))
		bodies = append(bodies, fmt.Sprintf(`{"ticket":%q,"audience":"agent","binding":"0123456789abcdef"}`, issued.Data.Ticket))
	}
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		exchange(b, h, "/auth/redeem", redeem, bodies[n%len(bodies)]) // the first time, or a repetition
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
