package api

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/cmd/ticketd/internal/metrics"
)

// trap R24: a directory that cannot be asked is an outage, not a verdict.
func TestDirectoryDown(t *testing.T) {
	w := newWorld(t)
	ticket := w.ticket(w.key, reference)
	chat := w.ticket(w.key, `{"brand":"commbox","email":"new@example.com","oneTimeUse":true}`)
	w.ask(w.key, `{"brand":"commbox","username":"john.d","email":"other@gmail.com"}`)
	assert.Contains(t, w.log.String(), "email", "operators are told which field differs")
	redeems := w.redeemKey()
	require.NoError(t, w.directory.Close())
	for _, path := range []string{redeemPath, inspectPath} {
		res := w.client().do(http.MethodPost, path, strings.NewReader(`{"ticket":"`+ticket+`","audience":"agent"}`),
			map[string]string{"Authorization": "Bearer " + redeems, "Content-Type": "application/json"})
		assert.Equal(t, http.StatusServiceUnavailable, res.status, "an outage, and no fault of the request")
		assert.NotEmpty(t, res.header.Get("Retry-After"))
		assert.Contains(t, res.body, `"result":"cannot_tell","reason":"store_unavailable"`)
	}
	assert.Regexp(t, `level=ERROR msg="request refused" operation=redeem .*status=503`, w.log.String())
	assert.Equal(t, http.StatusServiceUnavailable, w.client().get(w.chatPath("commbox", "web")+"?ta="+chat).status)
	res := w.ask(w.key, reference)
	assert.Equal(t, http.StatusServiceUnavailable, res.status)
	assert.NotEmpty(t, res.header.Get("Retry-After"))
	enter := w.client().get("/login?ta=" + ticket)
	assert.Equal(t, http.StatusServiceUnavailable, enter.status)
	assert.NotEmpty(t, enter.header.Get("Retry-After"))
	assert.Equal(t, http.StatusOK, w.client().get("/healthz").status)
}

// trap W2: what the log says of requests has neither path nor query.
func TestLogHasNoTicket(t *testing.T) {
	w := newWorld(t)
	ticket := w.ticket(w.key, reference)
	for _, target := range []string{"/" + ticket, "/login/" + ticket, "/chat/" + ticket,
		"/chat/" + ticket + "?ta=" + ticket, "/login?xx=" + ticket} {
		w.client().get(target)
	}
	w.client().do(ticket[:20], "/login", nil, map[string]string{"User-Agent": ticket, "Referer": "http://x/?ta=" + ticket})
	w.ask(ticket, ticket)
	// A request's own line comes when its answer is out.
	assert.Eventually(
		t, func() bool { return strings.Contains(w.log.String(), `route="GET /chat/{code}"`) }, time.Minute,
		time.Millisecond,
	)
	w.server.Close() // when all have their line
	assert.NotContains(t, w.log.String(), ticket[5:40])
}

func TestPanicIs500(t *testing.T) {
	w := newWorld(t)
	s := &server{Config: Config{Metrics: metrics.New(), Log: slog.New(slog.NewTextHandler(&w.log, nil)), Now: w.now}}
	s.floods = newFloods(s.Log, s.Now)
	rec := httptest.NewRecorder()
	s.guard(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("boom") })).ServeHTTP(rec,
		httptest.NewRequest(http.MethodGet, "/x?secret=1", nil))
	assert.Equal(t, http.StatusInternalServerError, rec.Code)
	assert.NotContains(t, rec.Body.String(), "boom")
	assert.Contains(t, w.log.String(), "boom")
	assert.NotContains(t, w.log.String(), "secret=1")
}
