package main

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/client/admin"
	"github.com/admitone/admitone/internal/servers"
)

// halves is a deployment of an issuing service and login services, made by the commands that
// people type. The folder has the files of the key host, and a folder for each service.
type halves struct {
	t                *testing.T
	dir              string
	keyring, ticketd *command
	database         string
	issue            *process
	issueURL         string
	console          string
	logins           []*process
	urls             []string // of the login services
	key              string   // an API key
	asked            atomic.Int64
}

func (h *halves) path(name string) string { return filepath.Join(h.dir, name) }

// newHalves makes the files of a deployment with the directory at a place of --database.
func newHalves(t *testing.T, database string) *halves {
	t.Helper()
	h := &halves{t: t, dir: t.TempDir(), database: database}
	env := []string{"ADMITONE_REALM=prod", "ADMITONE_KEK=", "ADMITONE_DATABASE=" + database}
	h.keyring = &command{t: t, exe: buildKeyring(t), dir: h.dir, env: env}
	self, err := os.Executable()
	require.NoError(t, err)
	h.ticketd = &command{t: t, exe: self, dir: h.dir, env: append(environ(), env...)}
	h.ticketd.run(0, "init", "--role", "login", "--data", "login")
	h.ticketd.run(0, "init", "--role", "issue", "--data", "issue")
	for _, name := range []string{"channel.keyring", "channel.keyring.audit"} {
		data, err := os.ReadFile(h.path("login/" + name))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(h.path("issue/"+name), data, 0o600))
	}
	h.keyring.run(0, "rewrap", "issue/channel.keyring", "--kek", "file:login/kek.key", "--new-kek", "file:issue/kek.key")
	h.keyring.run(0, "identity", "our.id", "--new", "-o", "our.pub")
	h.publish()
	// Whoever asks the URL in the list is noticed: login services must not.
	trap, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = trap.Close() })
	go func() {
		for {
			conn, err := trap.Accept()
			if err != nil {
				return
			}
			h.asked.Add(1)
			_ = conn.Close()
		}
	}()
	h.keyring.run(0, "trust", "add", "trust.list", "issuer.pub", "--fingerprint", h.fingerprint("our.id"), "--any-brand",
		"--audiences", "agent,customer", "--max-lifetime", "24h", "--many-times", "--override",
		"--url", "https://"+trap.Addr().String()+"/.well-known/admitone/own.pub", "--kek", "signed:our.id")
	h.ticketd.run(0, "brand", "add", "acme")
	h.ticketd.run(0, "agent", "add", "mary", "--brand", "acme", "--email", "mary@example.com")
	h.ticketd.run(0, "channel", "add", "web", "--brand", "acme")
	h.ticketd.run(0, "administrator", "add", "root", "--all-brands", "--role", "admin")
	out := h.ticketd.run(0, "apikey", "add", "--brands", "acme", "--scopes", "issue,redeem,admin", "--json")
	var key struct{ Key string }
	require.NoError(t, json.NewDecoder(strings.NewReader(out[strings.Index(out, "{"):])).Decode(&key), out)
	h.key = key.Key
	return h
}

func (h *halves) fingerprint(id string) string {
	return strings.TrimSpace(h.keyring.run(0, "identity", id))
}

// publish brings new bundles of both halves.
func (h *halves) publish(more ...string) {
	h.t.Helper()
	h.keyring.run(0, append([]string{"publish", "issue/issuer.keyring", "-o", "issuer.pub", "--identity", "our.id",
		"--name", "own", "--kek", "file:issue/kek.key"}, more...)...)
	h.keyring.run(0, append([]string{"publish", "login/recipient.keyring", "-o", "login.pub", "--identity", "our.id",
		"--name", "login", "--kek", "file:login/kek.key"}, more...)...)
}

// serve starts a service of a role in its folder.
func (h *halves) serve(role, data string, more ...string) (*process, string) {
	h.t.Helper()
	address := freeAddress(h.t)
	args := []string{"serve", "--role", role, "--data", h.path(data), "--database", h.database, "--realm", "prod",
		"--listen", address, "--metrics-listen", "127.0.0.1:0", "--rate-limit", "100000", "--rate-burst", "100000"}
	switch role {
	case "issue":
		args = append(args, "--recipient", h.path("login.pub"), "--recipient-identity", "verify:"+h.path("our.pub"),
			"--issuer-name", "own", "--login-url", h.urls[0])
	case "login":
		args = append(args, "--trust", h.path("trust.list"), "--trust-kek", "verify:"+h.path("our.pub"), "--skew", "0s")
	}
	p := start(h.t, append(args, more...)...)
	url := "http://" + address
	healthy(h.t, p, url)
	return p, url
}

// serveLogin starts one more login service. All have the keyrings of one folder.
func (h *halves) serveLogin(more ...string) {
	h.t.Helper()
	data := "login"
	if len(h.logins) > 0 {
		data = "login" + string(rune('0'+len(h.logins)))
		require.NoError(h.t, os.Mkdir(h.path(data), 0o700))
		more = append(more, "--keyrings", h.path("login"), "--kek", "file:"+h.path("login/kek.key"))
	}
	p, url := h.serve("login", data, more...)
	h.logins, h.urls = append(h.logins, p), append(h.urls, url)
}

func (h *halves) serveIssue(more ...string) {
	h.t.Helper()
	address := freeAddress(h.t)
	h.console = "http://" + address
	h.issue, h.issueURL = h.serve("issue", "issue", append(more, "--console-listen", address)...)
}

// ticket asks the issuing service for a ticket.
func (h *halves) ticket(body string) string {
	h.t.Helper()
	return demoInfo{URL: h.issueURL, APIKey: h.key}.ticket(h.t, body)
}

// call sends JSON to an operation, and returns the status and the answer.
func (h *halves) call(method, url, body string) (int, string) {
	h.t.Helper()
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	require.NoError(h.t, err)
	r.Header.Set("Authorization", "Bearer "+h.key)
	r.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(r)
	require.NoError(h.t, err)
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	require.NoError(h.t, err)
	return res.StatusCode, string(answer)
}

const (
	marysTicket = `{"brand":"acme","username":"mary","email":"mary@example.com","oneTimeUse":true}`
	marysMany   = `{"brand":"acme","username":"mary","email":"mary@example.com","oneTimeUse":false,"expiresIn":600}`
	janesTicket = `{"brand":"acme","uniqueId":"c-1","firstName":"Jane","overrideUserInfo":true,"oneTimeUse":true}`
)

// member is a browser that enters with a ticket.
func member(t *testing.T, page, ticket string) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	c := &http.Client{
		Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	res, err := c.Get(page + "?ta=" + ticket)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusSeeOther, res.StatusCode)
	return c
}

// signedIn reports whether a browser has a session at a login service.
func signedIn(t *testing.T, c *http.Client, url string) bool {
	t.Helper()
	res, err := c.Get(url + "/auth/brand/acme/check")
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	return res.StatusCode == http.StatusOK
}

// An issuing service makes what login services admit once, and all that administrators do there
// counts at the login services, which share nothing with it but the directory.
//
// trap F13: a login service opens no connection for a ticket or a list.
func TestHalves(t *testing.T) {
	t.Parallel()
	for _, database := range []string{"sqlite", "postgres"} {
		t.Run(database, func(t *testing.T) {
			t.Parallel()
			place, logins := filepath.Join(t.TempDir(), "directory.db"), 1
			var replay []string
			if database == "postgres" {
				place, logins = servers.Database(t), 2
				replay = []string{"--replay", servers.Database(t), "--replicas", "2"}
			}
			h := newHalves(t, place)
			if database == "postgres" {
				replay = append(replay, "--database", limitedUser(t, place))
			}
			for range logins {
				h.serveLogin(replay...)
			}
			h.serveIssue()
			h.walk()
			for _, p := range append(h.logins, h.issue) {
				assert.Equal(t, 0, p.end(syscall.SIGTERM), p.stderr.String())
				assert.NotContains(t, p.stderr.String(), "permission denied") // by the database
			}
			assert.Zero(t, h.asked.Load())
		})
	}
}

// limitedUser returns the URL of a database for a user with the rights in docs/halves.md. Such a user
// cannot add API keys, agents, brands and administrators, or change what they may do.
func limitedUser(t *testing.T, place string) string {
	t.Helper()
	ctx := t.Context()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "halves.md"))
	require.NoError(t, err)
	grants := regexp.MustCompile(`(?m)^GRANT .*;$`).FindAllString(string(page), -1)
	require.Len(t, grants, 9)
	owner, err := pgx.Connect(ctx, place)
	require.NoError(t, err)
	defer owner.Close(context.Background())
	_, err = owner.Exec(ctx, "CREATE USER login;"+strings.Join(grants, "\n"))
	require.NoError(t, err)
	limited := strings.Replace(place, "postgres@", "login@", 1)
	login, err := pgx.Connect(ctx, limited)
	require.NoError(t, err)
	defer login.Close(context.Background())
	for _, statement := range []string{
		"INSERT INTO api_key SELECT 'x', secret_sha256, scopes, all_brands, note, rate, burst, created FROM api_key",
		"UPDATE api_key SET secret_sha256 = ''", "UPDATE api_key SET expires = NULL", "UPDATE api_key SET all_brands = true",
		"INSERT INTO api_key_brand SELECT id, 'acme' FROM api_key", "DELETE FROM api_key_brand",
		"UPDATE agent SET username_fold = 'x'", "DELETE FROM agent", "UPDATE brand SET login_addresses = ''",
		"UPDATE administrator SET record = ''", "DELETE FROM administrator", "UPDATE channel SET record = ''",
		"UPDATE directory_state SET id = ''", "CREATE TABLE x (y TEXT)", "SET ROLE postgres",
		"ALTER TABLE api_key DISABLE TRIGGER ALL", "DELETE FROM revocation", "UPDATE revocation SET ticket = ''",
		"DELETE FROM event", "UPDATE event SET details = ''", "DELETE FROM issuer", "UPDATE issuer SET name = 'x'",
		"DELETE FROM customer", "DELETE FROM redemption",
		// A number above all others would hide later revocations and events.
		"INSERT INTO revocation (number, brand, issuer, ticket) OVERRIDING SYSTEM VALUE VALUES (9, '', '', '')",
		"INSERT INTO event (id, at, action) OVERRIDING SYSTEM VALUE VALUES (99, 0, '')",
	} {
		_, err := login.Exec(ctx, statement)
		var refused *pgconn.PgError
		require.ErrorAs(t, err, &refused, statement)
		assert.Equal(t, "42501", refused.Code, statement) // insufficient_privilege
	}
	return limited
}

func (h *halves) walk() {
	t := h.t
	first, last := h.urls[0], h.urls[len(h.urls)-1]
	ticket := h.ticket(marysTicket)
	assert.True(t, strings.HasPrefix(ticket, "tkt2_"), ticket)
	mary := member(t, last+"/login", ticket)
	assert.True(t, signedIn(t, mary, last))
	for _, url := range h.urls {
		assert.Equal(t, http.StatusForbidden, mustEnter(t, url+"/login", ticket), "a replay")
	}
	h.logins[len(h.logins)-1].logs(`issuer=own`)
	many := h.ticket(marysMany)
	for _, url := range h.urls {
		assert.Equal(t, http.StatusSeeOther, mustEnter(t, url+"/login", many))
	}

	// A customer, by the address that the issuing service tells.
	status, answer := h.call(http.MethodGet, h.console+"/admin/brands/acme/channels/web", "")
	require.Equal(t, http.StatusOK, status, answer)
	var channel struct{ URL string }
	require.NoError(t, json.Unmarshal([]byte(answer), &channel))
	require.True(t, strings.HasPrefix(channel.URL, first+"/chat/"), channel.URL)
	assert.Equal(t, http.StatusSeeOther, mustEnter(t, channel.URL, h.ticket(janesTicket)))

	// By the API of the login service.
	ticket = h.ticket(marysTicket)
	status, answer = h.call(http.MethodPost, first+"/auth/redeem", `{"audience":"agent","ticket":"`+ticket+`"}`)
	assert.Equal(t, http.StatusOK, status, answer)
	assert.Contains(t, answer, `"issuer":"own"`)

	// What the other half has is told.
	for url, says := range map[string]string{
		h.issueURL + "/auth/redeem": "people enter, and tickets are opened, at " + first + " only",
		h.issueURL + "/login":       first, h.issueURL + "/chat/x": first, h.issueURL + "/auth/check": first,
		h.issueURL + "/logout": first, first + "/auth/ticket": "this service makes no tickets",
		first + "/admin/brands": "", first + "/console": "",
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			status, answer := h.call(method, url, "")
			assert.Equal(t, http.StatusNotFound, status, url)
			assert.Contains(t, answer, says, url)
		}
	}
	_, document := h.call(http.MethodGet, h.issueURL+"/openapi.yaml", "")
	assert.NotContains(t, document, "\n  /login:")
	assert.NotContains(t, document, "\n  /auth/redeem:")
	assert.Contains(t, document, "\n  /auth/ticket:")
	_, document = h.call(http.MethodGet, first+"/openapi.yaml", "")
	assert.Contains(t, document, "\n  /login:")
	assert.NotContains(t, document, "\n  /auth/ticket:")
	for _, url := range []string{h.issueURL, first} {
		status, page := h.call(http.MethodGet, url+"/docs", "")
		assert.Equal(t, http.StatusOK, status)
		assert.Contains(t, page, "/auth/revoke")
	}

	h.revocations(many)
	h.administration(mary, last)
}

// revocations revokes tickets at each half.
func (h *halves) revocations(many string) {
	t := h.t
	first, last := h.urls[0], h.urls[len(h.urls)-1]
	id := func(ticket string) string {
		_, answer := h.call(http.MethodPost, last+"/auth/inspect", `{"audience":"agent","ticket":"`+ticket+`"}`)
		var e struct {
			Data struct{ Ticket struct{ ID string } }
		}
		require.NoError(t, json.Unmarshal([]byte(answer), &e), answer)
		require.Len(t, e.Data.Ticket.ID, 32, answer)
		return e.Data.Ticket.ID
	}
	refused := func(ticket string) {
		t.Helper()
		for _, url := range h.urls {
			assert.Eventually(t, func() bool { return mustEnter(t, url+"/login", ticket) == http.StatusForbidden },
				time.Minute, 5*time.Millisecond)
		}
	}
	// At the issuing service by the ID, which is that of its own name.
	status, answer := h.call(http.MethodPost, h.issueURL+"/auth/revoke", `{"ticket":"`+many+`"}`)
	assert.Equal(t, http.StatusBadRequest, status)
	assert.Contains(t, answer, "/auth/revoke of "+first)
	status, answer = h.call(http.MethodPost, h.issueURL+"/auth/revoke", `{"brand":"acme","ticketId":"`+id(many)+`"}`)
	assert.Equal(t, http.StatusOK, status, answer)
	assert.Contains(t, answer, `"issuer":"own"`)
	refused(many)

	// At the login service by the ticket, or with the issuer's name.
	many = h.ticket(marysMany)
	status, answer = h.call(http.MethodPost, last+"/auth/revoke", `{"brand":"acme","ticketId":"`+id(many)+`"}`)
	assert.Equal(t, http.StatusBadRequest, status)
	assert.Contains(t, answer, "all tickets here have the name of an issuer")
	status, answer = h.call(http.MethodPost, last+"/auth/revoke", `{"ticket":"`+many+`"}`)
	assert.Equal(t, http.StatusOK, status, answer)
	refused(many)

	// In the administration and at a shell.
	many = h.ticket(marysMany)
	status, answer = h.call(http.MethodPost, h.console+"/admin/brands/acme/revocations", `{"ticketId":"`+id(many)+`"}`)
	assert.Less(t, status, 300, answer)
	refused(many)
	many = h.ticket(marysMany)
	text := h.ticketd.run(exitUsage, "ticket", "revoke", id(many), "--brand", "acme", "--data", "issue")
	assert.Contains(t, text, "--issuer is missing")
	h.ticketd.run(0, "ticket", "revoke", id(many), "--brand", "acme", "--data", "issue", "--issuer", "own")
	refused(many)
}

// administration changes records in the console's service while mary is in.
func (h *halves) administration(mary *http.Client, at string) {
	t := h.t
	out := func() {
		t.Helper()
		require.Eventually(t, func() bool { return !signedIn(t, mary, at) }, time.Minute, 20*time.Millisecond)
	}
	text := h.ticketd.run(0, "console", "link", "--user", "root", "--console-url", h.console, "--data", "issue")
	link, _, _ := strings.Cut(text[strings.Index(text, "http"):], "\n")
	root := administratorBrowser(t)
	require.Equal(t, http.StatusSeeOther, enterConsole(t, root, link))
	status, page := fetchAs(t, root, h.console+"/console/brands/acme")
	assert.Equal(t, http.StatusOK, status)
	assert.Contains(t, page, "acme")
	text = h.ticketd.run(exitFailed, "console", "link", "--user", "root", "--console-url", h.console, "--data", "login")
	assert.Contains(t, text, "use the folder of the issuing service")

	require.True(t, signedIn(t, mary, at))
	status, answer := h.call(http.MethodPost, h.console+"/admin/brands/acme/end-sessions", "")
	require.Less(t, status, 300, answer)
	out()
	mary = member(t, at+"/login", h.ticket(marysTicket))
	var own admin.Issuer // as the login services have noted it
	require.Eventually(t, func() bool {
		status, answer = h.call(http.MethodGet, h.console+"/admin/issuers/own", "")
		require.Equal(t, http.StatusOK, status, answer)
		require.NoError(t, json.Unmarshal([]byte(answer), &own))
		return len(own.KeyUses) == 1
	}, time.Minute, 20*time.Millisecond)
	assert.Equal(t, 2, own.Format)
	assert.Equal(t, own.Keys, []string{own.KeyUses[0].ID}, "the key that signs")
	assert.NotZero(t, own.BundleUntil)
	h.ticketd.run(0, "issuer", "end-sessions", "own", "--data", "issue")
	out()
	mary = member(t, at+"/login", h.ticket(marysTicket))
	status, answer = h.call(http.MethodPatch, h.console+"/admin/brands/acme/agents/mary", `{"active":false}`)
	require.Less(t, status, 300, answer)
	out()
	status, answer = h.call(http.MethodPost, h.issueURL+"/auth/ticket", marysTicket)
	assert.Equal(t, http.StatusNotFound, status, answer)
}
