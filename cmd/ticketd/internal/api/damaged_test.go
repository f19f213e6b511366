package api

import (
	"bytes"
	"database/sql"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
)

// damage overwrites the pages of a directory's file, but for the first one, and lets
// the connections forget the pages that they have read.
func damage(t *testing.T, file string) {
	t.Helper()
	db, err := sql.Open("sqlite", file)
	require.NoError(t, err)
	defer db.Close()
	do := func(statement string) {
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err, statement)
	}
	do(`PRAGMA wal_checkpoint(TRUNCATE)`)
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	const page = 4096
	require.Greater(t, len(content), 10*page)
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteAt(bytes.Repeat([]byte{0xA5}, len(content)-page), page)
	require.NoError(t, err)
	do(`CREATE TABLE IF NOT EXISTS other (x)`)
	require.NoError(t, f.Close()) // last: it ends SQLite's locks of this process
}

// A directory whose file is damaged is an outage at every route: 503 with Retry-After,
// and neither a fault of ours (500) nor an answer.
//
// trap R24
func TestDirectoryDamaged(t *testing.T) {
	file := filepath.Join(t.TempDir(), "directory.db")
	w := newWorldOn(t, file)
	redeems := w.apiKey(directory.APIKey{Scopes: []directory.Scope{directory.ScopeRedeem}, Brands: []string{"commbox"}})
	john, jane := w.client(), w.client()
	chat := w.chatPath("commbox", "web")
	require.Equal(t, http.StatusSeeOther, john.get("/login?ta="+w.ticket(w.key, reference)).status)
	require.Equal(t, http.StatusSeeOther, jane.get(chat+"?ta="+w.ticket(w.key, `{"brand":"commbox","uniqueId":"8"}`)).status)
	w.ns.Add(int64(ownerStale)) // the last answers about them no longer count
	agent := w.ticket(w.key, reference)
	customer := w.ticket(w.key, `{"brand":"commbox","uniqueId":"7","oneTimeUse":true}`)
	yes := true
	w.brand("commbox", func(b *directory.Brand) { b.Confirm = &yes })
	type button struct {
		browser *browser
		page    response
	}
	var buttons []button
	for _, target := range []string{"/login?ta=" + agent, chat + "?ta=" + customer} {
		c := w.client()
		page := c.get(target)
		require.Equal(t, http.StatusOK, page.status)
		buttons = append(buttons, button{c, page})
	}
	damage(t, file)

	asked := make(map[string]bool)
	post := func(path, key, body string) {
		t.Helper()
		asked[path] = true
		res := w.client().do(http.MethodPost, path, strings.NewReader(body), map[string]string{
			"Authorization": "Bearer " + key, "Content-Type": "application/json"})
		assert.Equal(t, http.StatusServiceUnavailable, res.status, "%s: %s", path, res.body)
		assert.Equal(t, "5", res.header.Get("Retry-After"), path)
		assert.Contains(t, res.body, `"result":"cannot_tell","reason":"store_unavailable"`, path)
	}
	redemption := func(ticket, audience string) string {
		return `{"ticket":"` + ticket + `","audience":"` + audience + `"}`
	}
	for _, body := range []string{reference, `{"brand":"commbox","uniqueId":"7"}`, `{"brand":"commbox","uniqueId":"7","channel":"web"}`} {
		post("/auth/ticket", w.key, body)
	}
	for _, path := range []string{redeemPath, inspectPath} {
		post(path, redeems, redemption(agent, "agent"))
		post(path, redeems, redemption(customer, "customer"))
	}
	post("/auth/revoke", w.key, `{"ticket":"`+agent+`"}`)
	post("/auth/revoke", w.key, `{"brand":"commbox","ticketId":"00112233445566778899aabbccddeeff"}`)
	get := func(c *browser, route, target string) {
		t.Helper()
		asked[route] = true
		header := map[string]string{"Authorization": "Bearer " + w.key}
		res := c.do(http.MethodGet, target, nil, header)
		assert.Equal(t, http.StatusServiceUnavailable, res.status, "%s: %s", target, res.body)
		assert.NotEmpty(t, res.header.Get("Retry-After"), target)
		assert.Empty(t, res.header.Values("Set-Cookie"), target)
	}
	get(w.client(), "/core/systemstatus", "/core/systemstatus")
	get(w.client(), "GET /login", "/login?ta="+agent)
	get(john, "GET /login", "/login?ta="+agent)
	get(john, "GET /login", "/login")
	get(w.client(), "GET /chat/{code}", chat+"?ta="+customer)
	get(jane, "GET /chat/{code}", chat+"?ta="+customer)
	get(jane, "GET /chat/{code}", chat)
	for _, path := range []string{"/auth/check", "/auth/brand/commbox/check"} {
		for c, more := range map[*browser]string{john: "", jane: "-customer"} {
			get(c, strings.Replace(path, "commbox", "{brand}", 1)+more, path+more)
			get(c, strings.Replace(path, "commbox", "{brand}", 1)+more+"/{path...}", path+more+"/x")
		}
	}
	for _, b := range buttons {
		res := b.browser.press(b.page)
		assert.Equal(t, http.StatusServiceUnavailable, res.status, res.body)
		assert.NotEmpty(t, res.header.Get("Retry-After"))
	}

	// The other routes were asked by the buttons, or need no directory.
	alone := []string{"POST /login", "POST /chat/{code}", // the buttons
		"POST /logout", "GET /healthz", "GET /readyz", "GET /openapi.yaml",
		"GET /.well-known/admitone/{file}",
		"GET /docs", "GET /docs.css"}
	routes, err := new(server).routes()
	require.NoError(t, err)
	for _, r := range routes {
		if !asked[r.pattern] {
			assert.Contains(t, alone, r.pattern, "the test leaves the route out")
		}
	}
	assert.NotContains(t, w.log.String(), "level=ERROR msg=panic")
}
