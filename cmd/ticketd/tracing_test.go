package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// Spans have route, status and the ticket's ID, by which they are found in the
// audit trail, and belong to the caller's trace.
// trap W2: none has the ticket.
func TestTraces(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var text strings.Builder
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		assert.NoError(t, err)
		var export collector.ExportTraceServiceRequest
		if assert.NoError(t, proto.Unmarshal(body, &export)) {
			mu.Lock()
			defer mu.Unlock()
			text.WriteString(strings.ReplaceAll(protojson.Format(&export), " ", ""))
		}
	}))
	defer server.Close()
	p, info := startDemoWith(t, []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + server.URL})
	ticket := info.ticket(t, info.request(true))
	r, err := http.NewRequest(http.MethodGet, info.LoginURL+"?ta="+ticket, nil)
	require.NoError(t, err)
	r.Header.Set("X-Request-Id", "from-a-proxy.1")
	r.Header.Set("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	res, err := http.DefaultTransport.RoundTrip(r)
	require.NoError(t, err)
	res.Body.Close()
	require.Equal(t, http.StatusSeeOther, res.StatusCode)
	assert.Equal(t, http.StatusForbidden, mustEnter(t, info.LoginURL, ticket))
	assert.Equal(t, 0, p.end(syscall.SIGTERM), "what was not sent yet is sent at the end")

	_, id, _ := strings.Cut(p.stderr.String(), `msg="ticket issued" ticket=`)
	id, _, _ = strings.Cut(id, " ")
	require.Len(t, id, 32)
	mu.Lock()
	defer mu.Unlock()
	spans := text.String()
	assert.Equal(t, 3, strings.Count(spans, `"stringValue":"`+id+`"`), spans)
	for _, want := range []string{`"name":"POST/auth/ticket"`, `"name":"GET/login"`, `"stringValue":"ticketd"`,
		`"intValue":"303"`, `"intValue":"403"`,
		"\"key\":\"admitone.request.id\",\n\"value\":{\n\"stringValue\":\"from-a-proxy.1\"\n}",
		`"traceId":"S/kvNXezTaajzpKdDg5HNg=="`} {
		assert.Contains(t, spans, want)
	}
	assert.NotContains(t, spans, strings.TrimPrefix(ticket, "tkt1_")[:20])
	assert.NotContains(t, spans, "tkt1_")
	assert.NotContains(t, spans, info.APIKey)
}
