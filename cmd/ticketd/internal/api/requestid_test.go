package api

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/client"
)

// A request's ID is in the answer, in the body of a refusal, on a page about a failure, and in the log. An
// ID of the caller's choice is taken in one form only.
func TestRequestID(t *testing.T) {
	w := newWorld(t)
	made := regexp.MustCompile(`^[0-9a-f]{32}$`)
	post := func(key, id string) response {
		t.Helper()
		header := map[string]string{
			"Authorization": "Bearer " + key, "Content-Type": "application/json", "X-Request-Id": id,
		}
		return w.client().do(http.MethodPost, "/auth/ticket", strings.NewReader(reference), header)
	}
	first, second := post(w.key, ""), post(w.key, "")
	require.Equal(t, http.StatusOK, first.status)
	assert.Regexp(t, made, first.header.Get("X-Request-Id"))
	assert.NotEqual(t, first.header.Get("X-Request-Id"), second.header.Get("X-Request-Id"))
	assert.NotContains(t, first.body, "request_id", "who has a ticket needs no more")

	for _, id := range []string{"a", "3f2504e0-4f89-11d3-9a0c-0305e82c3301", strings.Repeat("Az09._-x", 8)} {
		assert.Equal(t, []string{id}, post(w.key, id).header["X-Request-Id"])
		assert.Regexp(t, `msg="ticket issued" .* request_id=`+regexp.QuoteMeta(id)+"\n", w.log.String())
	}
	for _, id := range []string{strings.Repeat("x", 65), "a b", "a=b", "a,b", "<b>", `a"b`, "\u00e4", "tkt1/x"} {
		assert.Regexp(t, made, post(w.key, id).header.Get("X-Request-Id"), id)
		assert.NotContains(t, w.log.String(), id)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.server.URL+"/healthz", nil)
	require.NoError(t, err)
	r.Header["X-Request-Id"] = []string{"one", "two"}
	res, err := http.DefaultTransport.RoundTrip(r)
	require.NoError(t, err)
	res.Body.Close()
	assert.Regexp(t, made, res.Header.Get("X-Request-Id"), "nobody can tell which of two counts")

	refused := post("adm_nobody", "of-a-backend")
	require.Equal(t, http.StatusUnauthorized, refused.status)
	var e client.Envelope
	require.NoError(t, json.Unmarshal([]byte(refused.body), &e))
	assert.Equal(t, "of-a-backend", e.RequestID)
	assert.Regexp(t, `msg="request refused" .* request_id=of-a-backend\n`, w.log.String())

	page := w.client().do(http.MethodGet, "/login?ta=tkt1_x", nil, map[string]string{"X-Request-Id": "of-a-proxy"})
	require.Equal(t, http.StatusForbidden, page.status)
	assert.Contains(t, page.body, `<p class="reference">Reference for support: <bdi>of-a-proxy</bdi></p>`)
	assert.Regexp(t, `msg="ticket refused" .* request_id=of-a-proxy\n`, w.log.String())
	assert.NotContains(t, w.client().get("/docs").body, `class="reference"`)
}

// Each further line of a request has the ID as well.
func TestRequestIDInFurtherLines(t *testing.T) {
	w := newWorld(t)
	ticket := w.ticket(w.key, reference)
	res := w.client().do(http.MethodGet, "/login?next=https://elsewhere.example/&ta="+ticket, nil,
		map[string]string{"X-Request-Id": "twice"})
	require.Equal(t, http.StatusSeeOther, res.status)
	assert.Regexp(t, `msg="the parameter next leads elsewhere[^\n]* request_id=twice\n`, w.log.String())
	assert.Regexp(t, `msg="ticket redeemed" [^\n]* request_id=twice\n`, w.log.String())
	assert.Equal(t, 2, strings.Count(w.log.String(), "request_id=twice"))
}
