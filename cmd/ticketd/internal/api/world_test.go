package api

import (
	"bytes"
	"encoding/json"
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

	"github.com/admitone/admitone/client"
	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/metrics"
	"github.com/admitone/admitone/cmd/ticketd/internal/ratelimit"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/token/signed"
	"github.com/admitone/admitone/verify"
	"github.com/admitone/admitone/verify/replay/memory"
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
	t         testing.TB
	ns        atomic.Int64
	log       syncBuffer
	directory *directory.DB
	opener    *countedOpener
	verifier  *verify.Verifier
	channels  *token.Channels
	metrics   *metrics.Metrics
	server    *httptest.Server
	key       string // of brand commbox
	acmeKey   string
	anyKey    string // of every brand
	secrets   []string
	denied    atomic.Bool  // the sessions of acme's tickets are over
	since     atomic.Int64 // and those from before this time, in nanoseconds
}

// ended is the answer of the list of issuers about a session.
func (w *world) ended(s web.Session) bool {
	return s.Issuer != "acme-hr" || w.denied.Load() || s.Entered.Before(time.Unix(0, w.since.Load()))
}

func (w *world) now() time.Time { return time.Unix(0, w.ns.Load()).UTC() }

func handle(t testing.TB, template *tinkpb.KeyTemplate) *keyset.Handle {
	t.Helper()
	m := keyset.NewManager()
	id, err := m.Add(template)
	require.NoError(t, err)
	require.NoError(t, m.SetPrimary(id))
	h, err := m.Handle()
	require.NoError(t, err)
	return h
}

func newWorld(t testing.TB, change ...func(*Config)) *world {
	t.Helper()
	return newWorldOn(t, filepath.Join(t.TempDir(), "directory.db"), change...)
}

// newWorldOn is newWorld with the directory at a place of directory.Open's.
func newWorldOn(t testing.TB, dsn string, change ...func(*Config)) *world {
	t.Helper()
	return newWorldWith(t, nil, dsn, change...)
}

func newWorldWith(t testing.TB, issuers verify.Issuers, dsn string, change ...func(*Config)) *world {
	t.Helper()
	w := &world{t: t, metrics: metrics.New()}
	w.ns.Store(time.Date(2025, 1, 19, 14, 18, 47, 630_790_000, time.UTC).UnixNano())
	ctx := t.Context()
	var err error
	w.directory, err = directory.Open(ctx, dsn)
	require.NoError(t, err)
	w.directory.SetClock(w.now)
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
	w.opener = &countedOpener{Keyset: keys}
	issuer, err := token.NewIssuer(token.Config{Sealer: keys, Realm: "r", Now: w.now})
	require.NoError(t, err)
	store, err := memory.Open(t.Context(), memory.Config{NoBarrier: true, Now: w.now})
	require.NoError(t, err)
	unsealer, _ := issuers.(signed.Unsealer) // of a test of format 2
	verifier, err := verify.New(verify.Config{
		Opener: w.opener, Unsealer: unsealer, Issuers: issuers, Realm: "r", AnyBrand: true, Store: store, Now: w.now,
	})
	require.NoError(t, err)
	w.verifier = verifier
	log := slog.New(slog.NewMultiHandler(slog.NewTextHandler(&w.log, nil), slog.NewJSONHandler(&logTypes, nil)))
	sessions, err := web.NewSessions(web.SessionConfig{Keys: keys, Realm: "r", Now: w.now,
		Insecure: true, PublicURL: "http://login.test",
		Refresh: Refresh(w.directory, w.ended, log, w.now)})
	require.NoError(t, err)
	config := Config{
		Directory: w.directory, Issuer: issuer, Verifier: verifier, Channels: w.channels,
		Sessions: sessions, Metrics: w.metrics, Log: log, Now: w.now, MaxLifetime: token.MaxLifetime,
		RefusalTime: time.Nanosecond,
		Limiter:     ratelimit.NewLocal(1000, w.now), Limit: ratelimit.Limit{Rate: 1000, Burst: 100_000},
		AnyBrandCheck: true,
	}
	for _, f := range change {
		f(&config)
	}
	h, err := New(config)
	require.NoError(t, err)
	w.server = httptest.NewServer(h)
	t.Cleanup(func() {
		w.server.Close()
		scraped := w.scrape()
		assert.NotContains(t, scraped, "commbox", "no label has a brand")
		for _, s := range w.secrets {
			assert.NotContains(t, scraped, s, "no metric has a ticket or API key")
			assert.NotContains(t, w.log.String(), s, "no log line has a ticket or API key")
		}
		logTypes.check(t)
	})
	return w
}

// scrape returns the metrics.
func (w *world) scrape() string {
	scraped := httptest.NewRecorder()
	w.metrics.Handler(slog.Default()).ServeHTTP(scraped, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return scraped.Body.String()
}

// countedOpener counts the tickets that it opens.
type countedOpener struct {
	*token.Keyset
	opened atomic.Int64
}

func (c *countedOpener) Decrypt(sealed, associatedData []byte) ([]byte, error) {
	c.opened.Add(1)
	return c.Keyset.Decrypt(sealed, associatedData)
}

func (w *world) apiKey(k directory.APIKey) string {
	w.t.Helper()
	key, err := w.directory.CreateAPIKey(w.t.Context(), k)
	require.NoError(w.t, err)
	w.secrets = append(w.secrets, key[len("adm_xxxxxxxxxx_"):])
	return key
}

// browser follows no redirect and keeps cookies for itself.
type browser struct {
	*world
	cookies []*http.Cookie
}

func (w *world) client() *browser { return &browser{world: w} }

type response struct {
	status int
	header http.Header
	body   string
	url    *url.URL // that was asked for
}

func (c *browser) do(method, target string, body io.Reader, header map[string]string) response {
	c.t.Helper()
	if strings.HasPrefix(target, "/") {
		target = c.server.URL + target
	}
	r, err := http.NewRequestWithContext(c.t.Context(), method, target, body)
	require.NoError(c.t, err)
	r.Header.Set(requestIDHeader, "a-test") // so that the same answer has the same bytes
	for k, v := range header {
		r.Header.Set(k, v)
	}
	for _, cookie := range c.cookies {
		r.AddCookie(cookie)
	}
	res, err := checked{c.t}.RoundTrip(r)
	require.NoError(c.t, err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	require.NoError(c.t, err)
	c.cookies = append(c.cookies, res.Cookies()...)
	return response{res.StatusCode, res.Header, string(b), res.Request.URL}
}

func (c *browser) get(target string) response { return c.do(http.MethodGet, target, nil, nil) }

// ask posts a body to /auth/ticket with a key.
func (w *world) ask(key, body string) response {
	w.t.Helper()
	return w.client().do(http.MethodPost, "/auth/ticket", strings.NewReader(body),
		map[string]string{"Authorization": "Bearer " + key, "Content-Type": "application/json"})
}

// ticket asks for a ticket, which must be granted.
func (w *world) ticket(key, body string) string {
	w.t.Helper()
	res := w.ask(key, body)
	require.Equal(w.t, http.StatusOK, res.status, res.body)
	var e struct{ Data client.Issued }
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

func must(n int64, err error) int {
	if err != nil {
		return -1
	}
	return int(n)
}

// open reads a ticket with the world's own keys.
func (w *world) open(ticket string, tk *token.Ticket) error {
	ad, err := token.AssociatedData("r")
	require.NoError(w.t, err)
	return token.Open(w.opener, ad, ticket, tk)
}

func gjson(t *testing.T, body, name string) string {
	t.Helper()
	var m map[string]any
	require.NoError(t, json.Unmarshal([]byte(body), &m))
	s, _ := m[name].(string)
	return s
}
