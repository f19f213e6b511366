package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/daead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	tinkpb "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/metrics"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/web"
)

// syncBuffer is a log that tests read while the service writes.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// world is a service with a clock that tests set, on a real directory.
type world struct {
	t         *testing.T
	ns        atomic.Int64
	log       syncBuffer
	directory *directory.DB
	opener    token.Opener
	channels  *token.Channels
	metrics   *metrics.Metrics
	server    *httptest.Server
	key       string // of brand commbox
	acmeKey   string
	anyKey    string // of every brand
	secrets   []string
}

func (w *world) now() time.Time { return time.Unix(0, w.ns.Load()).UTC() }

func handle(t *testing.T, template *tinkpb.KeyTemplate) *keyset.Handle {
	t.Helper()
	m := keyset.NewManager()
	id, err := m.Add(template)
	require.NoError(t, err)
	require.NoError(t, m.SetPrimary(id))
	h, err := m.Handle()
	require.NoError(t, err)
	return h
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, metrics: metrics.New()}
	w.ns.Store(time.Date(2025, 1, 19, 14, 18, 47, 630_790_000, time.UTC).UnixNano())
	ctx := t.Context()
	var err error
	w.directory, err = directory.Open(ctx, filepath.Join(t.TempDir(), "directory.db"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = w.directory.Close() })
	on, off := true, false
	for _, b := range []directory.Brand{
		{Name: "commbox"},
		{Name: "acme", Region: "US", RequiredAgentFields: []string{"email", "phone1"}, AgentLifetime: 30 * time.Second,
			Settings: directory.Settings{OneTime: &on, CustomerLifetime: 2 * time.Minute, MaxLifetime: 10 * time.Minute}},
		{Name: "off", Settings: directory.Settings{TicketLogin: &off}},
	} {
		require.NoError(t, w.directory.AddBrand(ctx, b))
	}
	for _, a := range []directory.Agent{
		{Brand: "commbox", Username: "john.d", Email: "john.d@gmail.com", Phone1: "+442501234567", UniqueID: "123456", FirstName: "John", LastName: "Doe", Active: true},
		{Brand: "commbox", Username: "gone", Email: "gone@example.com"},
		{Brand: "acme", Username: "mary", Email: "mary@example.com", Phone1: "+12121234567", FirstName: "<b>Mary</b>", Active: true},
	} {
		require.NoError(t, w.directory.AddAgent(ctx, a))
	}
	for _, c := range []directory.Channel{
		{Brand: "commbox", ID: "web"}, {Brand: "commbox", ID: "closed", Settings: directory.Settings{TicketLogin: &off}}, {Brand: "acme", ID: "web"},
		{Brand: "acme", ID: "short", Settings: directory.Settings{OneTime: &off, CustomerLifetime: 5 * time.Second, MaxLifetime: 10 * time.Second}},
	} {
		require.NoError(t, w.directory.AddChannel(ctx, c))
	}
	issue := []directory.Scope{directory.ScopeIssue}
	w.key = w.apiKey(directory.APIKey{Scopes: issue, Brands: []string{"commbox"}})
	w.acmeKey = w.apiKey(directory.APIKey{Scopes: issue, Brands: []string{"acme"}})
	w.anyKey = w.apiKey(directory.APIKey{Scopes: issue, AllBrands: true})

	keys, err := token.NewKeyset(handle(t, aead.AES256GCMKeyTemplate()))
	require.NoError(t, err)
	siv, err := daead.New(handle(t, daead.AESSIVKeyTemplate()))
	require.NoError(t, err)
	w.channels, err = token.NewChannels(siv, "r")
	require.NoError(t, err)
	w.opener = keys
	issuer, err := token.NewIssuer(token.Config{Sealer: keys, Realm: "r", Now: w.now})
	require.NoError(t, err)
	store, err := replay.NewMemory(replay.MemoryConfig{NoBarrier: true, Now: w.now})
	require.NoError(t, err)
	verifier, err := verify.New(verify.Config{Opener: keys, Realm: "r", AnyBrand: true, Store: store, Now: w.now})
	require.NoError(t, err)
	sessions, err := web.NewSessions(web.SessionConfig{Keys: keys, Realm: "r", Insecure: true, Now: w.now})
	require.NoError(t, err)
	h, err := New(Config{
		Directory: w.directory, Issuer: issuer, Opener: keys, Realm: "r", Verifier: verifier, Channels: w.channels,
		Sessions: sessions, Metrics: w.metrics, Log: slog.New(slog.NewTextHandler(&w.log, nil)), Now: w.now, MaxLifetime: token.MaxLifetime,
	})
	require.NoError(t, err)
	w.server = httptest.NewServer(h)
	t.Cleanup(func() {
		w.server.Close()
		scraped := httptest.NewRecorder()
		w.metrics.Handler(slog.Default()).ServeHTTP(scraped, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		assert.NotContains(t, scraped.Body.String(), "commbox", "no label has a brand")
		for _, s := range w.secrets {
			assert.NotContains(t, scraped.Body.String(), s, "no metric has a ticket or API key")
			assert.NotContains(t, w.log.String(), s, "no log line has a ticket or API key")
		}
	})
	return w
}

func (w *world) apiKey(k directory.APIKey) string {
	w.t.Helper()
	key, err := w.directory.CreateAPIKey(w.t.Context(), k)
	require.NoError(w.t, err)
	w.secrets = append(w.secrets, key[len("adm_xxxxxxxxxx_"):])
	return key
}

// client follows no redirect and keeps cookies for itself.
type client struct {
	*world
	cookies []*http.Cookie
}

func (w *world) client() *client { return &client{world: w} }

type response struct {
	status int
	header http.Header
	body   string
}

func (c *client) do(method, target string, body io.Reader, header map[string]string) response {
	c.t.Helper()
	if strings.HasPrefix(target, "/") {
		target = c.server.URL + target
	}
	r, err := http.NewRequestWithContext(c.t.Context(), method, target, body)
	require.NoError(c.t, err)
	for k, v := range header {
		r.Header.Set(k, v)
	}
	for _, cookie := range c.cookies {
		r.AddCookie(cookie)
	}
	res, err := http.DefaultTransport.RoundTrip(r)
	require.NoError(c.t, err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	require.NoError(c.t, err)
	c.cookies = append(c.cookies, res.Cookies()...)
	return response{res.StatusCode, res.Header, string(b)}
}

func (c *client) get(target string) response { return c.do(http.MethodGet, target, nil, nil) }

// ask posts a body to /auth/ticket with a key.
func (w *world) ask(key, body string) response {
	w.t.Helper()
	return w.client().do(http.MethodPost, "/auth/ticket", strings.NewReader(body), map[string]string{"Authorization": "Bearer " + key})
}

// ticket asks for a ticket, which must be granted.
func (w *world) ticket(key, body string) string {
	w.t.Helper()
	res := w.ask(key, body)
	require.Equal(w.t, http.StatusOK, res.status, res.body)
	var e struct{ Data issued }
	require.NoError(w.t, json.Unmarshal([]byte(res.body), &e))
	require.NotEmpty(w.t, e.Data.Ticket)
	w.secrets = append(w.secrets, e.Data.Ticket[10:])
	return e.Data.Ticket
}

func (w *world) chatPath(brand, channel string) string {
	w.t.Helper()
	code, err := w.channels.Code(brand, channel)
	require.NoError(w.t, err)
	return "/chat/" + code
}

const reference = `{"brand":"commbox","username":"john.d","email":"john.d@gmail.com","uniqueId":"123456","firstName":"John","lastName":"Doe","phone1":"442501234567","oneTimeUse":true}`

func TestEnvelope(t *testing.T) {
	w := newWorld(t)
	for name, body := range map[string]string{"wrapped": `{"data":` + reference + `}`, "flat": reference} {
		t.Run(name, func(t *testing.T) {
			res := w.ask(w.key, body)
			require.Equal(t, http.StatusOK, res.status, res.body)
			ticket := w.ticket(w.key, body)
			assert.LessOrEqual(t, len(ticket), 200)
			var e struct{ Data issued }
			require.NoError(t, json.Unmarshal([]byte(res.body), &e))
			w.secrets = append(w.secrets, e.Data.Ticket[10:])
			assert.Equal(t, `{"status":"200","description":"Operation successful","response_time":"2025-01-19T14:18:47.63079Z","data":{"encpryptedString":"`+e.Data.Ticket+`"}}`+"\n", res.body)
			assert.Equal(t, "application/json; charset=utf-8", res.header.Get("Content-Type"))
			assert.Equal(t, "no-store", res.header.Get("Cache-Control"))
		})
	}
}

func TestIssueRefuses(t *testing.T) {
	w := newWorld(t)
	long := func(n int) string { return strings.Repeat("x", n) }
	redeemOnly := w.apiKey(directory.APIKey{Scopes: []directory.Scope{directory.ScopeRedeem}, AllBrands: true})
	for _, row := range []struct {
		name, key, body string
		status          int
		says            string
		field           string
	}{
		{"empty", w.key, "", 400, "empty", ""},
		{"blank", w.key, " \n ", 400, "empty", ""},
		{"not JSON", w.key, "brand=commbox", 400, "not JSON", ""},
		{"cut off", w.key, `{"brand":"commbox"`, 400, "not JSON", ""},
		{"array", w.key, `[` + reference + `]`, 400, "not a JSON object", ""},
		{"string", w.key, `"commbox"`, 400, "not a JSON object", ""},
		{"null", w.key, `null`, 400, "not a JSON object", ""},
		{"two values", w.key, reference + reference, 400, "goes on after", ""},
		{"two shapes", w.key, `{"data":` + reference + `,"brand":"commbox"}`, 400, "both inside data and beside", ""},
		{"data is text", w.key, `{"data":"x"}`, 400, "not an object", "data"},
		{"data is null", w.key, `{"data":null}`, 400, "not an object", "data"},
		{"data in data", w.key, `{"data":{"data":` + reference + `}}`, 400, "not a known field", "data"},
		{"not UTF-8", w.key, "{\"brand\":\"\xff\"}", 400, "UTF-8", ""},
		{"over 64 KiB", w.key, `{"brand":"` + long(70_000) + `"}`, 400, "64 KiB", ""},
		{"1 MB", w.key, `{"brand":"` + long(1<<20) + `"}`, 400, "64 KiB", ""},
		{"field twice", w.key, `{"brand":"commbox","brand":"acme"}`, 400, "comes twice", ""},
		{"half a surrogate pair", w.key, `{"brand":"commbox","uniqueId":"\ud800"}`, 400, "uniqueId is not a well-formed", "uniqueId"},
		{"the other half", w.key, `{"brand":"commbox","uniqueId":"a\udfffb"}`, 400, "uniqueId is not a well-formed", "uniqueId"},
		{"halves in the wrong order", w.key, `{"brand":"commbox","uniqueId":"\udc00\ud800"}`, 400, "uniqueId is not a well-formed", "uniqueId"},
		{"unknown field", w.key, `{"brand":"commbox","email":"a@b","oneTimeuse":true}`, 400, "oneTimeuse is not a known field", "oneTimeuse"},
		{"brand in capitals", w.key, `{"Brand":"commbox","email":"a@b"}`, 400, "Brand is not a known field", "Brand"},
		{"no brand", w.key, `{"email":"a@b"}`, 400, "brand is missing", "brand"},
		{"brand empty", w.key, `{"brand":"","email":"a@b"}`, 400, "brand is missing", "brand"},
		{"brand null", w.key, `{"brand":null,"email":"a@b"}`, 400, "brand is missing", "brand"},
		{"brand a number", w.key, `{"brand":1,"email":"a@b"}`, 400, "brand is not a string", "brand"},
		{"email a list", w.key, `{"brand":"commbox","email":["a@b"]}`, 400, "email is not a string", "email"},
		{"uniqueId a fraction", w.key, `{"brand":"commbox","uniqueId":1.5}`, 400, "uniqueId is neither", "uniqueId"},
		{"phone1 negative", w.key, `{"brand":"commbox","phone1":-442501234567}`, 400, "phone1 is neither", "phone1"},
		{"phone1 exponent", w.key, `{"brand":"commbox","phone1":4.4e11}`, 400, "phone1 is neither", "phone1"},
		{"oneTimeUse text", w.key, `{"brand":"commbox","email":"a@b","oneTimeUse":"true"}`, 400, "oneTimeUse is neither", "oneTimeUse"},
		{"oneTimeUse 1", w.key, `{"brand":"commbox","email":"a@b","oneTimeUse":1}`, 400, "oneTimeUse is neither", "oneTimeUse"},
		{"expiresIn text", w.key, `{"brand":"commbox","email":"a@b","expiresIn":"60"}`, 400, "expiresIn is not", "expiresIn"},
		{"expiresIn 0", w.key, `{"brand":"commbox","email":"a@b","expiresIn":0}`, 400, "expiresIn is not", "expiresIn"},
		{"expiresIn -1", w.key, `{"brand":"commbox","email":"a@b","expiresIn":-1}`, 400, "expiresIn is not", "expiresIn"},
		{"expiresIn 1.5", w.key, `{"brand":"commbox","email":"a@b","expiresIn":1.5}`, 400, "expiresIn is not", "expiresIn"},
		{"expiresIn huge", w.key, `{"brand":"commbox","email":"a@b","expiresIn":99999999999999999999}`, 400, "more than the 900 seconds", "expiresIn"},
		{"expiresIn over the maximum", w.key, `{"brand":"commbox","email":"a@b","expiresIn":901}`, 400, "more than the 900 seconds", "expiresIn"},
		{"expiresIn over the brand's", w.acmeKey, `{"brand":"acme","email":"a@b","expiresIn":601}`, 400, "more than the 600 seconds", "expiresIn"},
		{"expiresIn over the channel's", w.acmeKey, `{"brand":"acme","email":"a@b","channel":"short","expiresIn":11}`, 400, "more than the 10 seconds", "expiresIn"},
		{"brand too long", w.key, `{"brand":"` + long(65) + `","email":"a@b"}`, 400, "brand is longer than 64 bytes", "brand"},
		{"email too long", w.key, `{"brand":"commbox","email":"` + long(256) + `"}`, 400, "email is longer than 255 bytes", "email"},
		{"newline in a name", w.key, `{"brand":"commbox","email":"a@b","firstName":"a\nb"}`, 400, "firstName contains a control character", "firstName"},
		{"phone written locally, no region", w.key, `{"brand":"commbox","phone1":"212-123-4567"}`, 400, "+", "phone1"},
		{"phone too short", w.key, `{"brand":"commbox","phone1":"+4425"}`, 400, "phone1", "phone1"},
		{"phone with letters", w.key, `{"brand":"commbox","phone1":"call me"}`, 400, "phone1", "phone1"},
		{"nobody", w.key, `{"brand":"commbox","firstName":"Jane"}`, 400, "email is missing, and so are uniqueId and phone1", "email"},
		{"agent without identifier", w.key, `{"brand":"commbox","username":"john.d","firstName":"John"}`, 400, "at least one", "email"},
		{"agent without the brand's fields", w.acmeKey, `{"brand":"acme","username":"mary","email":"mary@example.com"}`, 400, "phone1 is missing", "phone1"},
		{"agent with channel", w.key, `{"brand":"commbox","username":"john.d","email":"john.d@gmail.com","channel":"web"}`, 400, "customers' tickets only", "channel"},

		{"no key", "", reference, 401, "Authorization: Bearer", ""},
		{"not a key", "hello", reference, 401, "not accepted", ""},
		{"unknown key", "adm_aaaaaaaaaa_" + long(52), reference, 401, "not accepted", ""},
		{"wrong secret", w.key[:20] + "zzzz" + w.key[24:], reference, 401, "not accepted", ""},
		{"key without scope", redeemOnly, reference, 401, "may not issue", ""},
		{"key of another brand", w.acmeKey, reference, 401, "not for this brand", ""},
		{"key before body", "hello", "not JSON", 401, "not accepted", ""},

		{"no such brand", w.key, `{"brand":"nobody","email":"a@b"}`, 404, "no such brand", ""},
		{"brand in another case", w.key, `{"brand":"Commbox","email":"a@b"}`, 404, "no such brand", ""},
		{"no such agent", w.key, `{"brand":"commbox","username":"jane","email":"john.d@gmail.com"}`, 404, "no agent", ""},
		{"agent of another brand", w.acmeKey, `{"brand":"acme","username":"john.d","email":"john.d@gmail.com","phone1":"442501234567"}`, 404, "no agent", ""},
		{"agent inactive", w.key, `{"brand":"commbox","username":"gone","email":"gone@example.com"}`, 404, "no agent", ""},
		{"wrong email", w.key, `{"brand":"commbox","username":"john.d","email":"other@gmail.com"}`, 404, "no agent", ""},
		{"wrong phone", w.key, `{"brand":"commbox","username":"john.d","email":"john.d@gmail.com","phone1":"442501234568"}`, 404, "no agent", ""},
		{"wrong uniqueId", w.key, `{"brand":"commbox","username":"john.d","uniqueId":"1234567"}`, 404, "no agent", ""},
		{"wrong name", w.key, `{"brand":"commbox","username":"john.d","email":"john.d@gmail.com","lastName":"Dough"}`, 404, "no agent", ""},
		{"no such channel", w.key, `{"brand":"commbox","email":"a@b","channel":"nowhere"}`, 404, "no such channel", ""},

		{"brand switched off", w.anyKey, `{"brand":"off","email":"a@b"}`, 501, "switched off for this brand", ""},
		{"channel switched off", w.key, `{"brand":"commbox","email":"a@b","channel":"closed"}`, 501, "switched off for this channel", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			res := w.ask(row.key, row.body)
			assert.Equal(t, row.status, res.status, res.body)
			var e struct {
				Status, Description string
				ResponseTime        string `json:"response_time"`
				Data                faults
			}
			require.NoError(t, json.Unmarshal([]byte(res.body), &e), res.body)
			assert.Equal(t, row.status, must(json.Number(e.Status).Int64()))
			assert.Contains(t, e.Description, row.says)
			assert.Equal(t, "2025-01-19T14:18:47.63079Z", e.ResponseTime)
			if row.field == "" {
				assert.Empty(t, e.Data.Errors)
			} else {
				require.NotEmpty(t, e.Data.Errors)
				assert.Equal(t, row.field, e.Data.Errors[0].Field)
				assert.NotEmpty(t, e.Data.Errors[0].Reason)
			}
			assert.NotContains(t, res.body, "encpryptedString")
			assert.Equal(t, row.status == 401, res.header.Get("WWW-Authenticate") == "Bearer")
			if row.status == 404 && strings.Contains(row.body, "username") {
				assert.Equal(t, "Not found: the brand has no agent with this username and these details", e.Description, "which field differs is not told")
			}
		})
	}
}

func must(n int64, err error) int {
	if err != nil {
		return -1
	}
	return int(n)
}

func TestExpiredKey(t *testing.T) {
	w := newWorld(t)
	key := w.apiKey(directory.APIKey{Scopes: []directory.Scope{directory.ScopeIssue}, AllBrands: true, Expires: time.Now().Add(time.Hour)})
	assert.Equal(t, http.StatusOK, w.ask(key, `{"brand":"commbox","email":"a@b"}`).status)
	w.ns.Store(time.Now().Add(2 * time.Hour).UnixNano())
	assert.Equal(t, http.StatusUnauthorized, w.ask(key, `{"brand":"commbox","email":"a@b"}`).status)
}

func TestOtherMethods(t *testing.T) {
	w := newWorld(t)
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete, http.MethodPatch, http.MethodOptions, "BREW"} {
		res := w.client().do(method, "/auth/ticket", strings.NewReader(reference), map[string]string{"Authorization": "Bearer " + w.key})
		assert.Equal(t, http.StatusNotImplemented, res.status, method)
		assert.Equal(t, http.MethodPost, res.header.Get("Allow"))
		assert.Contains(t, res.body, `"status":"501"`)
	}
	assert.Equal(t, http.StatusNotImplemented, w.client().do(http.MethodHead, "/auth/ticket", nil, nil).status)
}

func TestIssueAccepts(t *testing.T) {
	w := newWorld(t)
	for name, row := range map[string]struct {
		key, body string
		want      func(t *testing.T, tk token.Ticket)
	}{
		"numbers as digits": {w.key, `{"brand":"commbox","username":"john.d","uniqueId":123456,"phone1":442501234567}`, func(t *testing.T, tk token.Ticket) {
			assert.Equal(t, "123456", tk.UniqueID)
			assert.Equal(t, "+442501234567", tk.Phone1)
		}},
		"phone with plus and separators": {w.key, `{"brand":"commbox","phone1":"+44 250 123-4567"}`, func(t *testing.T, tk token.Ticket) {
			assert.Equal(t, "+442501234567", tk.Phone1)
			assert.Equal(t, token.Customer, tk.Audience)
		}},
		"phone written locally, with region": {w.acmeKey, `{"brand":"acme","phone1":"212-123-4567"}`, func(t *testing.T, tk token.Ticket) {
			assert.Equal(t, "+12121234567", tk.Phone1)
			assert.True(t, tk.OneTime, "the brand's default")
			assert.Equal(t, 2*time.Minute, tk.Lifetime)
		}},
		"email in another case": {w.key, `{"brand":"commbox","username":"john.d","email":"John.D@Gmail.com"}`, func(t *testing.T, tk token.Ticket) {
			assert.False(t, tk.OneTime)
			assert.Equal(t, time.Minute, tk.Lifetime)
		}},
		"the documentation's whole example": {w.key, `{"data":{"brand":"commbox","username":"john.d","email":"john.d@gmail.com","uniqueId":"123456","firstName":"John","lastName":"Doe","phone1":"442501234567","overrideUserInfo":true,"oneTimeUse":true}}`, func(t *testing.T, tk token.Ticket) {
			assert.False(t, tk.OverrideUserInfo, "it means nothing for agents")
			assert.True(t, tk.OneTime)
		}},
		"customer with all": {w.key, `{"brand":"commbox","email":"j@x","uniqueId":"7","firstName":"Jane","lastName":"Roe","phone1":"442501234567","remark":"VIP","channel":"web","overrideUserInfo":true,"oneTimeUse":true,"expiresIn":900}`, func(t *testing.T, tk token.Ticket) {
			assert.Equal(t, 15*time.Minute, tk.Lifetime)
			assert.True(t, tk.OverrideUserInfo)
			assert.Equal(t, "web", tk.Channel)
			assert.Equal(t, "VIP", tk.Remark)
			assert.Equal(t, w.key[4:14], tk.Actor)
		}},
		"escapes": {w.key, `{"brand":"commbox","uniqueId":"\ud83d\ude00\\ud800\"\ufffd"}`, func(t *testing.T, tk token.Ticket) {
			assert.Equal(t, "😀\\ud800\"\ufffd", tk.UniqueID)
		}},
		"empty and null are absent": {w.key, `{"brand":"commbox","username":"","email":"j@x","firstName":null,"oneTimeUse":null,"expiresIn":null}`, func(t *testing.T, tk token.Ticket) {
			assert.Equal(t, token.Customer, tk.Audience)
			assert.Equal(t, 5*time.Minute, tk.Lifetime)
		}},
		"one-time switched off by the request": {w.acmeKey, `{"brand":"acme","email":"j@x","oneTimeUse":false}`, func(t *testing.T, tk token.Ticket) { assert.False(t, tk.OneTime) }},
		"the channel's settings": {w.acmeKey, `{"brand":"acme","email":"j@x","channel":"short"}`, func(t *testing.T, tk token.Ticket) {
			assert.False(t, tk.OneTime)
			assert.Equal(t, 5*time.Second, tk.Lifetime)
		}},
		"the brand's agents": {w.acmeKey, `{"brand":"acme","username":"mary","email":"mary@example.com","phone1":"(212) 123-4567"}`, func(t *testing.T, tk token.Ticket) {
			assert.Equal(t, "mary", tk.Username)
			assert.Equal(t, 30*time.Second, tk.Lifetime)
		}},
		"a key of every brand": {w.anyKey, `{"brand":"acme","email":"j@x"}`, func(t *testing.T, tk token.Ticket) {}},
	} {
		t.Run(name, func(t *testing.T) {
			var tk token.Ticket
			require.NoError(t, w.open(w.ticket(row.key, row.body), &tk))
			row.want(t, tk)
		})
	}
}

// open reads a ticket with the world's own keys.
func (w *world) open(ticket string, tk *token.Ticket) error {
	ad, err := token.AssociatedData("r")
	require.NoError(w.t, err)
	return token.Open(w.opener, ad, ticket, tk)
}

func TestLoginOnce(t *testing.T) {
	w := newWorld(t)
	ticket := w.ticket(w.key, reference)
	john := w.client()
	res := john.get("/login?lang=en&ta=" + ticket)
	require.Equal(t, http.StatusSeeOther, res.status, res.body)
	assert.Equal(t, "/login?lang=en", res.header.Get("Location"))
	assert.Equal(t, "no-store", res.header.Get("Cache-Control"))
	assert.Equal(t, "no-referrer", res.header.Get("Referrer-Policy"))
	require.Len(t, john.cookies, 1)
	assert.True(t, john.cookies[0].HttpOnly)
	assert.Equal(t, http.SameSiteLaxMode, john.cookies[0].SameSite)
	assert.NotContains(t, res.body+strings.Join(res.header.Values("Set-Cookie"), ""), ticket[10:])

	page := john.get("/login")
	assert.Equal(t, http.StatusOK, page.status)
	assert.Contains(t, page.body, "John Doe")
	assert.Contains(t, page.body, "one-time")
	assert.Contains(t, page.body, w.key[4:14], "by whose key")

	stranger := w.client()
	again := stranger.get("/login?ta=" + ticket)
	assert.Equal(t, http.StatusForbidden, again.status)
	assert.Empty(t, stranger.cookies)
	assert.Equal(t, "nosniff", again.header.Get("X-Content-Type-Options"))
	assert.Regexp(t, `msg="ticket refused" reason=already_used .*ticket=[0-9a-f]{32} key=[0-9a-f]{8} brand=commbox`, w.log.String())
	assert.Equal(t, http.StatusForbidden, stranger.get("/login").status)
	assert.Contains(t, w.log.String(), "reason=already_used")

	forged := w.client().get("/login?ta=" + ticket[:60] + map[bool]string{true: "A", false: "B"}[ticket[60] != 'A'] + ticket[61:])
	assert.Equal(t, again.status, forged.status)
	assert.Equal(t, again.body, forged.body, "strangers get one answer to used and forged tickets")
	assert.Contains(t, w.log.String(), "reason=forged")
}

func TestLoginManyTimesUntilExpiry(t *testing.T) {
	w := newWorld(t)
	ticket := w.ticket(w.key, strings.Replace(reference, "true", "false", 1))
	for range 3 {
		assert.Equal(t, http.StatusSeeOther, w.client().get("/login?ta="+ticket).status)
		w.ns.Add(int64(19 * time.Second))
	}
	w.ns.Add(int64(3*time.Second - time.Millisecond - 790*time.Microsecond))
	assert.Equal(t, http.StatusSeeOther, w.client().get("/login?ta="+ticket).status, "the last millisecond of its minute")
	w.ns.Add(int64(2 * time.Millisecond))
	assert.Equal(t, http.StatusForbidden, w.client().get("/login?ta="+ticket).status)
	assert.Contains(t, w.log.String(), "reason=expired")
}

func TestHundredAtOnce(t *testing.T) {
	w := newWorld(t)
	ticket := w.ticket(w.key, reference)
	var entered, refused atomic.Int32
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			switch w.client().get("/login?ta=" + ticket).status {
			case http.StatusSeeOther:
				entered.Add(1)
			case http.StatusForbidden:
				refused.Add(1)
			}
		})
	}
	wg.Wait()
	assert.EqualValues(t, 1, entered.Load())
	assert.EqualValues(t, 99, refused.Load())
}

// trap W1: HEAD and prefetch spend nothing.
func TestLookingAheadSpendsNothing(t *testing.T) {
	w := newWorld(t)
	ticket := w.ticket(w.key, reference)
	c := w.client()
	assert.Equal(t, http.StatusServiceUnavailable, c.do(http.MethodHead, "/login?ta="+ticket, nil, nil).status)
	for _, h := range []map[string]string{
		{"Sec-Purpose": "prefetch"}, {"Sec-Purpose": "prefetch;prerender"}, {"Sec-Purpose": "Prefetch;anonymous-client-ip"},
		{"Purpose": "prefetch"}, {"X-Purpose": "preview"}, {"X-Moz": "prefetch"},
	} {
		res := c.do(http.MethodGet, "/login?ta="+ticket, nil, h)
		assert.Equal(t, http.StatusServiceUnavailable, res.status, h)
		assert.Equal(t, "no-store", res.header.Get("Cache-Control"))
	}
	for _, method := range []string{http.MethodOptions, http.MethodPut, http.MethodDelete} {
		assert.Equal(t, http.StatusMethodNotAllowed, c.do(method, "/login?ta="+ticket, nil, nil).status)
	}
	assert.Empty(t, c.cookies)
	assert.Equal(t, http.StatusSeeOther, c.get("/login?ta="+ticket).status)
}

// trap W7: verbatim, percent-encoded and twice-encoded are the same ticket, and
// nothing else is.
func TestTicketForms(t *testing.T) {
	w := newWorld(t)
	encode := func(s string) string {
		var b strings.Builder
		for i := range len(s) {
			b.WriteString("%" + strings.ToUpper(string("0123456789abcdef"[s[i]>>4])+string("0123456789abcdef"[s[i]&15])))
		}
		return b.String()
	}
	for name, target := range map[string]func(string) string{
		"verbatim":      func(s string) string { return "/login?ta=" + s },
		"capitals":      func(s string) string { return "/login?TA=" + s },
		"encoded":       func(s string) string { return "/login?ta=" + encode(s) },
		"encoded twice": func(s string) string { return "/login?ta=" + url.QueryEscape(encode(s)) },
		"not first":     func(s string) string { return "/login?a=b&ta=" + s + "&c=d" },
	} {
		ticket := w.ticket(w.key, reference)
		assert.Equal(t, http.StatusSeeOther, w.client().get(target(ticket)).status, name)
	}
	ticket := w.ticket(w.key, reference)
	for name, target := range map[string]string{
		"line feed":     "/login?ta=" + ticket + "%0A",
		"carriage":      "/login?ta=" + ticket + "%0D%0A",
		"LF inside":     "/login?ta=" + ticket[:50] + "%0a" + ticket[50:],
		"padding":       "/login?ta=" + ticket + "=",
		"padding 2":     "/login?ta=" + ticket + "%3d%3d",
		"plus":          "/login?ta=" + ticket + "+",
		"three times":   "/login?ta=" + url.QueryEscape(url.QueryEscape(encode(ticket))),
		"twice":         "/login?ta=" + ticket + "&ta=" + ticket,
		"ta and TA":     "/login?ta=" + ticket + "&TA=" + ticket,
		"empty":         "/login?ta=",
		"semicolon":     "/login?ta=" + ticket + ";",
		"bad escape":    "/login?ta=" + ticket + "%zz",
		"other channel": w.chatPath("commbox", "web") + "?ta=" + ticket,
	} {
		assert.Equal(t, http.StatusForbidden, w.client().get(target).status, name)
	}
	post := w.client().do(http.MethodPost, "/login?x=1", strings.NewReader("ta="+ticket), map[string]string{"Content-Type": "application/x-www-form-urlencoded"})
	assert.Equal(t, http.StatusSeeOther, post.status, "a POST form field, and the ticket is unspent")
	assert.Equal(t, "/login?x=1", post.header.Get("Location"))
	unspent := w.ticket(w.key, reference)
	big := w.client().do(http.MethodPost, "/login", strings.NewReader("x="+strings.Repeat("x", 1<<17)+"&ta="+unspent), map[string]string{"Content-Type": "application/x-www-form-urlencoded"})
	assert.Equal(t, http.StatusForbidden, big.status, "a form over 64 KiB is not read to its end")
	assert.Equal(t, http.StatusSeeOther, w.client().get("/login?ta="+unspent).status)
}

// trap R3: whatever single character is changed, put in or left out, nobody
// enters, and the true ticket still does.
func TestChangedTickets(t *testing.T) {
	w := newWorld(t)
	ticket := w.ticket(w.key, reference)
	c := w.client()
	try := func(s string) {
		if status := c.get("/login?ta=" + url.QueryEscape(s)).status; status != http.StatusForbidden {
			t.Fatalf("%q: %d", s, status)
		}
	}
	for i := range ticket {
		other := "A"
		if ticket[i] == 'A' {
			other = "B"
		}
		try(ticket[:i] + other + ticket[i+1:])
		try(ticket[:i] + "\n" + ticket[i:])
		try(ticket[:i])
	}
	for _, s := range []string{"=", "\r", "\n", "\r\n", "A", "%", " ", "\x00"} {
		try(ticket + s)
	}
	assert.Equal(t, http.StatusSeeOther, c.get("/login?ta="+ticket).status)
}

// trap R5: a ticket at the wrong page or in the wrong channel is refused and not spent.
func TestChat(t *testing.T) {
	w := newWorld(t)
	path := w.chatPath("commbox", "web")
	body := `{"brand":"commbox","email":"jane@example.com","firstName":"Jane","lastName":"Roe","channel":"web","oneTimeUse":true}`
	ticket := w.ticket(w.key, body)
	for name, target := range map[string]string{
		"login":                 "/login",
		"another channel":       w.chatPath("commbox", "closed"),
		"another brand's":       w.chatPath("acme", "web"),
		"no channel":            "/chat/AAAA",
		"garbage":               "/chat/%2e%2e%2flogin",
		"channel that is gone":  w.chatPath("commbox", "gone"),
		"code with a line feed": path + "%0A",
	} {
		assert.Equal(t, http.StatusForbidden, w.client().get(target+"?ta="+ticket).status, name)
	}
	jane := w.client()
	res := jane.get(path + "?ta=" + ticket)
	require.Equal(t, http.StatusSeeOther, res.status)
	assert.Equal(t, path, res.header.Get("Location"))
	page := jane.get(path)
	assert.Contains(t, page.body, "Chatting as Jane Roe")
	assert.Equal(t, http.StatusForbidden, jane.get("/login").status, "a customer's session is none of an agent")
	assert.Equal(t, http.StatusForbidden, jane.get(w.chatPath("acme", "web")).status, "nor of another brand")
	assert.Equal(t, http.StatusForbidden, jane.get(w.chatPath("commbox", "closed")).status, "nor of another channel")
	assert.Equal(t, http.StatusForbidden, w.client().get(path+"?ta="+ticket).status)

	// The record is kept, and updated only where the ticket says so.
	enter := func(more string) string {
		c := w.client()
		tk := w.ticket(w.key, `{"brand":"commbox","email":"jane@example.com"`+more+`}`)
		require.Equal(t, http.StatusSeeOther, c.get(path+"?ta="+tk).status)
		return c.get(path).body
	}
	assert.Contains(t, enter(`,"lastName":"Married"`), "Chatting as Jane Roe")
	assert.Contains(t, enter(`,"lastName":"Married","overrideUserInfo":true`), "Chatting as Jane Married")
	assert.Contains(t, enter(``), "Chatting as Jane Married")
}

func TestAgentGoneMeanwhile(t *testing.T) {
	w := newWorld(t)
	ticket := w.ticket(w.key, reference)
	active := func(active bool) {
		_, err := w.directory.UpdateAgent(t.Context(), "commbox", "john.d", func(a *directory.Agent) error { a.Active = active; return nil })
		require.NoError(t, err)
	}
	active(false)
	assert.Equal(t, http.StatusForbidden, w.client().get("/login?ta="+ticket).status)
	assert.Contains(t, w.log.String(), "reason=refused_by_caller")
	active(true)
	assert.Equal(t, http.StatusSeeOther, w.client().get("/login?ta="+ticket).status, "the refusal spent nothing")
}

// What was switched off or shortened since a ticket was issued holds at redemption.
func TestSettingsAtRedemption(t *testing.T) {
	w := newWorld(t)
	const body = `{"brand":"acme","email":"jane@example.com","expiresIn":60}`
	any, short := w.ticket(w.acmeKey, body), w.ticket(w.acmeKey, `{"brand":"acme","email":"jane@example.com","expiresIn":10}`)
	assert.Equal(t, http.StatusForbidden, w.client().get(w.chatPath("acme", "short")+"?ta="+any).status, "longer than the channel allows")
	assert.Contains(t, w.log.String(), "reason=lifetime_too_long")
	assert.Equal(t, http.StatusSeeOther, w.client().get(w.chatPath("acme", "short")+"?ta="+short).status)
	assert.Equal(t, http.StatusForbidden, w.client().get(w.chatPath("commbox", "closed")+"?ta="+w.ticket(w.key, `{"brand":"commbox","email":"a@b"}`)).status)
	assert.Contains(t, w.log.String(), `switched off for brand \"commbox\", channel \"closed\"`)

	login := func(on bool) {
		_, err := w.directory.UpdateBrand(t.Context(), "acme", func(b *directory.Brand) error { b.TicketLogin = &on; return nil })
		require.NoError(t, err)
	}
	login(false)
	assert.Equal(t, http.StatusForbidden, w.client().get(w.chatPath("acme", "web")+"?ta="+any).status)
	assert.Contains(t, w.log.String(), `switched off for brand \"acme\", channel \"web\"`)
	login(true)
	assert.Equal(t, http.StatusSeeOther, w.client().get(w.chatPath("acme", "web")+"?ta="+any).status, "no refusal spent it")
}

func TestManyUnknownFields(t *testing.T) {
	w := newWorld(t)
	var b strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&b, `,"field%04d":1`, i)
	}
	first := w.ask(w.key, `{"brand":"commbox"`+b.String()+`}`)
	assert.Equal(t, http.StatusBadRequest, first.status)
	assert.Less(t, len(first.body), 4000, "the answer is not many times the request")
	assert.Contains(t, first.body, "2990 more")
	assert.Equal(t, first.body, w.ask(w.key, `{"brand":"commbox"`+b.String()+`}`).body, "in the same order each time")
}

// trap R24: a directory that cannot be asked is an outage, not a verdict.
func TestDirectoryDown(t *testing.T) {
	w := newWorld(t)
	ticket := w.ticket(w.key, reference)
	chat := w.ticket(w.key, `{"brand":"commbox","email":"new@example.com","oneTimeUse":true}`)
	w.ask(w.key, `{"brand":"commbox","username":"john.d","email":"other@gmail.com"}`)
	assert.Contains(t, w.log.String(), "email", "operators are told which field differs")
	require.NoError(t, w.directory.Close())
	assert.Equal(t, http.StatusServiceUnavailable, w.client().get(w.chatPath("commbox", "web")+"?ta="+chat).status)
	res := w.ask(w.key, reference)
	assert.Equal(t, http.StatusInternalServerError, res.status)
	assert.Equal(t, "Internal error; try again later", gjson(t, res.body, "description"))
	enter := w.client().get("/login?ta=" + ticket)
	assert.Equal(t, http.StatusServiceUnavailable, enter.status)
	assert.NotEmpty(t, enter.header.Get("Retry-After"))
	assert.Equal(t, http.StatusOK, w.client().get("/healthz").status)
}

func gjson(t *testing.T, body, name string) string {
	t.Helper()
	var m map[string]any
	require.NoError(t, json.Unmarshal([]byte(body), &m))
	s, _ := m[name].(string)
	return s
}

// trap W4: a ticket's own fields inject nothing into the page.
func TestEscaping(t *testing.T) {
	w := newWorld(t)
	ticket := w.ticket(w.acmeKey, `{"brand":"acme","username":"mary","email":"mary@example.com","phone1":"+12121234567"}`)
	c := w.client()
	require.Equal(t, http.StatusSeeOther, c.get("/login?ta="+ticket).status)
	page := c.get("/login")
	assert.Contains(t, page.body, "&lt;b&gt;Mary&lt;/b&gt;")
	assert.NotContains(t, page.body, "<b>Mary")
	assert.Contains(t, page.header.Get("Content-Security-Policy"), "default-src 'none'")
}

// trap W6: no path or query leads the browser elsewhere.
func TestRedirectStaysHere(t *testing.T) {
	w := newWorld(t)
	for _, query := range []string{"next=//evil.example", "%2f%2fevil.example", "\\evil.example"} {
		ticket := w.ticket(w.key, reference)
		res := w.client().get("/login?" + query + "&ta=" + ticket)
		require.Equal(t, http.StatusSeeOther, res.status)
		assert.True(t, strings.HasPrefix(res.header.Get("Location"), "/login?"), res.header.Get("Location"))
	}
	for path, want := range map[string]string{"//evil.example/login": "/evil.example/login", `/\evil.example`: "/%5Cevil.example", "/login": "/login"} {
		assert.Equal(t, want, web.WithoutTicket(&url.URL{Path: path, RawQuery: "ta=x&TA=y&%74a=z"}))
	}
}

// trap W2: what the log says of requests has neither path nor query.
func TestLogHasNoTicket(t *testing.T) {
	w := newWorld(t)
	ticket := w.ticket(w.key, reference)
	for _, target := range []string{"/" + ticket, "/login/" + ticket, "/chat/" + ticket, "/chat/" + ticket + "?ta=" + ticket, "/login?xx=" + ticket} {
		w.client().get(target)
	}
	w.client().do(ticket[:20], "/login", nil, map[string]string{"User-Agent": ticket, "Referer": "http://x/?ta=" + ticket})
	w.ask(ticket, ticket)
	assert.NotContains(t, w.log.String(), ticket[5:40])
	assert.Contains(t, w.log.String(), `route="GET /chat/{code}"`)
}

func TestSessionExpires(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	require.Equal(t, http.StatusSeeOther, c.get("/login?ta="+w.ticket(w.key, reference)).status)
	w.ns.Add(int64(web.SessionIdle - time.Second))
	assert.Equal(t, http.StatusOK, c.get("/login").status, "and the session is renewed")
	require.Len(t, c.cookies, 2)
	w.ns.Add(int64(web.SessionIdle - time.Second))
	renewed := c.cookies[1].Value
	c.cookies[1].Value = "x" + renewed[1:]
	assert.Equal(t, http.StatusForbidden, c.get("/login").status, "changed")
	c.cookies[1].Value = renewed
	assert.Equal(t, http.StatusOK, c.get("/login").status)
	c.cookies = c.cookies[:2]
	w.ns.Add(int64(time.Second))
	assert.Equal(t, http.StatusForbidden, c.get("/login").status)
}

func TestPanicIs500(t *testing.T) {
	w := newWorld(t)
	s := &server{Config: Config{Metrics: metrics.New(), Log: slog.New(slog.NewTextHandler(&w.log, nil)), Now: w.now}}
	rec := httptest.NewRecorder()
	s.guard(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("boom") })).ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/x?secret=1", nil))
	assert.Equal(t, http.StatusInternalServerError, rec.Code)
	assert.NotContains(t, rec.Body.String(), "boom")
	assert.Contains(t, w.log.String(), "boom")
	assert.NotContains(t, w.log.String(), "secret=1")
}

// FuzzParse: whatever the body, it is parsed or refused with words.
func FuzzParse(f *testing.F) {
	f.Add(`{"data":` + reference + `}`)
	f.Add(reference)
	f.Add(`{"brand":{"a":[1,2,{}]},"expiresIn":18446744073709551616}`)
	f.Fuzz(func(t *testing.T, body string) {
		r, wrong, err := parse([]byte(body))
		if err == nil && len(wrong) == 0 {
			require.NotEmpty(t, r.brand)
		}
		for _, w := range wrong {
			require.NotEmpty(t, w.Reason)
		}
	})
}
