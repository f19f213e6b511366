package web

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"

	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/memory"
)

// world is a login service behind TLS, and what issues its tickets. The embedded
// Config may be changed before the first request.
type world struct {
	t *testing.T
	Config
	clock    *clock
	issuer   *token.Issuer
	sessions SessionConfig
	store    *counted
	opener   *countedOpener
	server   *httptest.Server
	log      syncBuffer
	secrets  []string // what no log line may have
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, clock: newClock()}
	h, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	require.NoError(t, err)
	keys, err := token.NewKeyset(h)
	require.NoError(t, err)
	w.issuer, err = token.NewIssuer(token.Config{Sealer: keys, Realm: "prod", Now: w.clock.now})
	require.NoError(t, err)
	store, err := memory.Open(t.Context(), memory.Config{NoBarrier: true, Now: w.clock.now})
	require.NoError(t, err)
	w.store = &counted{Store: store}
	w.opener = &countedOpener{Keyset: keys}
	w.Verifier, err = verify.New(
		verify.Config{Opener: w.opener, Realm: "prod", AnyBrand: true, Store: w.store, Now: w.clock.now},
	)
	require.NoError(t, err)
	w.sessions = SessionConfig{Keys: keys, Realm: "prod", Now: w.clock.now}
	w.Use = func(*http.Request, *token.Ticket) verify.Use { return verify.Use{Audience: token.Agent} }
	w.Log = slog.New(slog.NewTextHandler(&w.log, nil))
	w.RefusalTime = time.Nanosecond
	t.Cleanup(func() {
		for _, s := range w.secrets {
			assert.NotContains(t, w.log.String(), s, "no log line has a ticket")
		}
	})
	return w
}

// start serves /login, /auth/check and /logout, and returns the world.
func (w *world) start() *world {
	w.t.Helper()
	sessions := mustSessions(w.t, w.sessions)
	if w.Config.Sessions == nil {
		w.Config.Sessions = sessions
	}
	h, err := New(w.Config)
	require.NoError(w.t, err)
	check, err := NewCheck(CheckConfig{Sessions: w.Config.Sessions, Audience: verify.AnyAudience, AnyBrand: true})
	require.NoError(w.t, err)
	mux := http.NewServeMux()
	mux.Handle("/login", h)
	mux.Handle("/chat/{code}", h)
	mux.Handle("/auth/check", check)
	mux.Handle("/logout", sessions.Logout("/bye"))
	w.server = httptest.NewUnstartedServer(mux)
	w.server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0) // of connections that the client gave up
	if w.sessions.Insecure {
		w.server.Start()
	} else {
		w.server.StartTLS()
	}
	w.t.Cleanup(w.server.Close)
	return w
}

func (w *world) issue(change func(*token.Ticket)) string {
	w.t.Helper()
	tk := &token.Ticket{
		Audience: token.Agent, OneTime: true, Brand: "commbox", Username: "john.d", FirstName: "John",
		LastName: "Doe", Email: "john.d@example.com", Actor: "key1",
	}
	if change != nil {
		change(tk)
	}
	s, err := w.issuer.Issue(tk)
	require.NoError(w.t, err)
	w.secrets = append(w.secrets, s[5:])
	return s
}

// looks makes all pages look like p.
func (w *world) looks(p Page) {
	w.Page = func(*http.Request) Page { return p }
	admit := w.Admit
	w.Admit = func(r *http.Request, t token.Ticket, use verify.Use) (e Entry, err error) {
		if admit != nil {
			e, err = admit(r, t, use)
		}
		e.Page = p
		return e, err
	}
}

func jane(tk *token.Ticket) { tk.Username, tk.FirstName, tk.LastName = "jane.r", "Jane", "Roe" }

// browser is a client with a cookie jar that follows no redirect by itself.
type browser struct {
	w      *world
	client *http.Client
	header http.Header // sent with each request
}

func (w *world) browser() *browser {
	jar, err := cookiejar.New(nil)
	require.NoError(w.t, err)
	return &browser{w, &http.Client{
		Transport: w.server.Client().Transport, Jar: jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, http.Header{}}
}

type answer struct {
	*http.Response
	body string
}

func (b *browser) do(method, target, body string, header ...string) answer {
	b.w.t.Helper()
	r, err := http.NewRequest(method, b.w.server.URL+target, strings.NewReader(body))
	require.NoError(b.w.t, err)
	if body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for name, v := range b.header {
		r.Header[name] = v
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := b.client.Do(r)
	require.NoError(b.w.t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(b.w.t, err)
	return answer{res, string(text)}
}

func (b *browser) get(target string, header ...string) answer {
	b.w.t.Helper()
	return b.do(http.MethodGet, target, "", header...)
}

// user returns who the browser is signed in as, as a proxy would learn it.
func (b *browser) user() string { return b.get("/auth/check").Header.Get("Remote-User") }

func (b *browser) cookie(name string) string {
	u, err := url.Parse(b.w.server.URL)
	require.NoError(b.w.t, err)
	for _, c := range b.client.Jar.Cookies(u) {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}

var (
	inputs     = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)
	formAction = regexp.MustCompile(`<form method="post" action="([^"]*)"`)
)

// press sends the form of a page, as its button does.
func (b *browser) press(page answer, header ...string) answer {
	b.w.t.Helper()
	action := formAction.FindStringSubmatch(page.body)
	require.NotNil(b.w.t, action, "a page with a button: %s", page.body)
	u, err := page.Request.URL.Parse(unescape(action[1]))
	require.NoError(b.w.t, err)
	return b.do(http.MethodPost, u.RequestURI(), fields(page).Encode(), header...)
}

func fields(page answer) url.Values {
	v := url.Values{}
	for _, m := range inputs.FindAllStringSubmatch(page.body, -1) {
		v.Add(m[1], unescape(m[2]))
	}
	return v
}

func unescape(s string) string {
	return strings.NewReplacer("&amp;", "&", "&#34;", `"`, "&#39;", "'", "&#43;", "+", "&lt;", "<", "&gt;", ">").Replace(s)
}

// ownForm is what a browser sends of itself with a form on the page's own site.
var ownForm = []string{
	"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "Origin", "null",
}

// entered requires that an answer lets in, and returns where it leads.
func (w *world) entered(a answer) string {
	w.t.Helper()
	require.Equal(w.t, http.StatusSeeOther, a.StatusCode, a.body)
	assert.Equal(w.t, "no-store", a.Header.Get("Cache-Control"))
	assert.Equal(w.t, "no-referrer", a.Header.Get("Referrer-Policy"))
	for _, s := range w.secrets {
		assert.NotContains(w.t, a.Header.Get("Location"), s)
	}
	return a.leads()
}

// leads returns where on this site a redirect leads.
func (a answer) leads() string {
	u, err := a.Location()
	if err != nil || u.Host != a.Request.URL.Host {
		return "elsewhere: " + a.Header.Get("Location")
	}
	return strings.TrimPrefix(u.String(), u.Scheme+"://"+u.Host)
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

// counted counts the accesses to a store, and can fail.
type counted struct {
	replay.Store
	mu       sync.Mutex
	accesses int
	err      error
	claiming func() // runs at the beginning of each claim; nil for nothing
}

func (c *counted) note() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.accesses++
	return c.err
}

func (c *counted) Claim(ctx context.Context, claim replay.Claim) (replay.Answer, error) {
	if err := c.note(); err != nil {
		return replay.Answer{}, err
	}
	if c.claiming != nil {
		c.claiming()
	}
	return c.Store.Claim(ctx, claim)
}

func (c *counted) Peek(ctx context.Context, claim replay.Claim) (replay.Answer, error) {
	if err := c.note(); err != nil {
		return replay.Answer{}, err
	}
	return c.Store.Peek(ctx, claim)
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// current returns the session that a request carries, and whether there is one.
func current(s SessionStore, w http.ResponseWriter, r *http.Request, a token.Audience) (Session, bool) {
	session, err := s.Current(w, r, a)
	return session, err == nil
}
