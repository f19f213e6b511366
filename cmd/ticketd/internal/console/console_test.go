package console

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
	"github.com/admitone/admitone/verify/replay/memory"
	"github.com/admitone/admitone/verify/web"
)

const origin = "https://console.test"

// world is a console with a clock that tests set.
type world struct {
	t         *testing.T
	time      time.Time
	directory *directory.DB
	issuer    *token.Issuer
	links     Links
	console   *Console
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, time: time.Date(2025, 1, 19, 14, 0, 0, 0, time.UTC)}
	now := func() time.Time { return w.time }
	handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	require.NoError(t, err)
	keys, err := token.NewKeyset(handle)
	require.NoError(t, err)
	w.directory, err = directory.Open(t.Context(), filepath.Join(t.TempDir(), "directory.db"))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, w.directory.Close()) })
	for _, name := range []string{"acme", "beta"} {
		require.NoError(t, w.directory.AddBrand(t.Context(), directory.Brand{Name: name}))
	}
	w.add("root", true)
	w.add("ann", false, "acme")
	w.issuer, err = token.NewIssuer(token.Config{Sealer: keys, Now: now})
	require.NoError(t, err)
	store, err := memory.Open(t.Context(), memory.Config{NoBarrier: true, Now: now})
	require.NoError(t, err)
	verifier, err := verify.New(verify.Config{Opener: keys, AnyBrand: true, Store: store, Now: now})
	require.NoError(t, err)
	w.links = Links{Directory: w.directory, Issuer: w.issuer, URL: origin}
	w.console, err = New(Config{
		Directory: w.directory, Verifier: verifier, Keys: keys, URL: origin, Now: now,
		RefusalTime: time.Nanosecond, Log: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	return w
}

func (w *world) add(username string, all bool, brands ...string) {
	w.t.Helper()
	require.NoError(w.t, w.directory.AddAdministrator(w.t.Context(), directory.Administrator{
		Username: username, Name: strings.ToUpper(username), Role: directory.RoleAdmin, AllBrands: all, Brands: brands,
		Active: true,
	}))
}

func (w *world) link(username string) string {
	w.t.Helper()
	link, err := w.links.ForShell(w.t.Context(), username, "shell")
	require.NoError(w.t, err)
	return link.URL
}

// browser keeps cookies.
type browser struct {
	*world
	cookies map[string]*http.Cookie
}

func (w *world) browser() *browser { return &browser{w, map[string]*http.Cookie{}} }

func (b *browser) do(method, target string, form url.Values, header ...string) *httptest.ResponseRecorder {
	b.t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(form.Encode()))
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	for _, c := range b.cookies {
		r.AddCookie(c)
	}
	rec := httptest.NewRecorder()
	b.console.ServeHTTP(rec, r)
	for _, c := range rec.Result().Cookies() {
		if b.cookies[c.Name] = c; c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		}
	}
	return rec
}

var confirmForm = regexp.MustCompile(`name="confirm" value="([^"]+)"`)

// enter opens a link and presses the button.
func (b *browser) enter(link string, header ...string) *httptest.ResponseRecorder {
	b.t.Helper()
	page := b.do(http.MethodGet, link, nil)
	require.Equal(b.t, http.StatusOK, page.Code)
	m := confirmForm.FindStringSubmatch(page.Body.String())
	require.NotNil(b.t, m, page.Body.String())
	u, err := url.Parse(link)
	require.NoError(b.t, err)
	form := url.Values{"ta": {u.Query().Get("ta")}, "confirm": {m[1]}}
	return b.do(http.MethodPost, origin+EnterPath, form, header...)
}

func (b *browser) visitor() (Visitor, error) {
	r := httptest.NewRequest(http.MethodGet, origin+"/console", nil)
	for _, c := range b.cookies {
		r.AddCookie(c)
	}
	return b.console.Visitor(r)
}

func (b *browser) isOut(message string) {
	b.t.Helper()
	_, err := b.visitor()
	assert.ErrorIs(b.t, err, web.ErrNoSession, message)
}

func TestEnter(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.browser()
	link := w.link("ROOT")
	page := b.do(http.MethodGet, link, nil)
	assert.Contains(t, page.Body.String(), "ROOT", "the page names the administrator")
	policy := page.Header().Get("Content-Security-Policy")
	assert.Contains(t, policy, "frame-ancestors 'none'")
	assert.NotContains(t, policy, "unsafe-inline")
	b.isOut("the page spends nothing")

	res := b.enter(link, "Sec-Fetch-Site", "same-origin")
	require.Equal(t, http.StatusSeeOther, res.Code, res.Body.String())
	cookie := b.cookies["__Host-admitone-administrator"]
	require.NotNil(t, cookie)
	assert.True(t, cookie.Secure && cookie.HttpOnly && cookie.SameSite == http.SameSiteStrictMode)
	v, err := b.visitor()
	require.NoError(t, err)
	assert.Equal(t, "root", v.Username)
	assert.True(t, v.May(directory.RoleAdmin, ""))
	assert.Zero(t, v.Age)

	second := w.browser()
	assert.Equal(t, http.StatusForbidden, second.do(http.MethodGet, link, nil).Code, "a link works once")

	w.time = w.time.Add(SessionLifetime - time.Millisecond)
	v, err = b.visitor()
	require.NoError(t, err)
	assert.Equal(t, SessionLifetime-time.Millisecond, v.Age)
	assert.Equal(t, http.StatusOK, b.do(http.MethodGet, origin+EnterPath, nil).Code, "a use, which prolongs nothing")
	w.time = w.time.Add(time.Millisecond)
	b.isOut("an hour is the end, used or not")
}

func TestLinkExpires(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	link := w.link("root")
	w.time = w.time.Add(token.AdministratorLifetime)
	assert.Equal(t, http.StatusForbidden, w.browser().do(http.MethodGet, link, nil).Code)
}

// No ticket of another audience, nor one that names no record, opens the console.
func TestOtherTickets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, tk := range map[string]token.Ticket{
		"agent":    {Audience: token.Agent, OneTime: true, Brand: "acme", Username: "root"},
		"customer": {Audience: token.Customer, OneTime: true, Brand: "acme", Email: "root@example.com"},
		"record":   {Audience: token.Administrator, OneTime: true, Username: "root"},
		"nobody":   {Audience: token.Administrator, OneTime: true, Username: "nobody"},
	} {
		text, err := w.issuer.Issue(&tk)
		require.NoError(t, err)
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			res := w.browser().do(method, origin+EnterPath+"?ta="+text, nil)
			assert.Equal(t, http.StatusForbidden, res.Code, "%s %s", method, name)
			assert.Empty(t, res.Header().Values("Set-Cookie"))
		}
	}
	// A brand in the ticket would say more than the record.
	a, err := w.directory.Administrator(t.Context(), "root")
	require.NoError(t, err)
	text, err := w.issuer.Issue(&token.Ticket{
		Audience: token.Administrator, OneTime: true, Brand: "acme", Username: "root",
		Claims: map[string]string{recordClaim: a.RecordID},
	})
	require.NoError(t, err)
	assert.Equal(t, http.StatusForbidden, w.browser().do(http.MethodGet, origin+EnterPath+"?ta="+text, nil).Code)
}

// trap W9: after each such change, the link and the session of before are over for good.
func TestChangesEndSessionsAndLinks(t *testing.T) {
	t.Parallel()
	set := func(active bool) func(w *world) error {
		return func(w *world) error {
			_, err := w.directory.UpdateAdministrator(w.t.Context(), "ann", false, func(a *directory.Administrator) error {
				a.Active = active
				return nil
			})
			return err
		}
	}
	remove := func(w *world) error { return w.directory.RemoveAdministrator(w.t.Context(), "ann", false) }
	for name, changes := range map[string][]func(w *world) error{
		"removed":      {remove},
		"inactive":     {set(false)},
		"added again":  {remove, func(w *world) error { w.add("ann", false, "acme"); return nil }},
		"active again": {set(false), set(true)},
		"signed out": {func(w *world) error {
			_, err := w.directory.EndAdministratorSessions(w.t.Context(), "ann")
			return err
		}},
		"last brand": {func(w *world) error { return w.directory.RemoveBrand(w.t.Context(), "acme", true) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			b := w.browser()
			require.Equal(t, http.StatusSeeOther, b.enter(w.link("ann")).Code)
			unused := w.link("ann")
			for _, change := range changes {
				require.NoError(t, change(w))
			}
			b.isOut(name)
			assert.Equal(t, http.StatusForbidden, w.browser().do(http.MethodGet, unused, nil).Code)
		})
	}
}

// A change of the rights holds for the next request of the session.
func TestRightsAreOfNow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.browser()
	require.Equal(t, http.StatusSeeOther, b.enter(w.link("ann")).Code)
	v, err := b.visitor()
	require.NoError(t, err)
	assert.True(t, v.May(directory.RoleAdmin, "acme") && !v.May(directory.RoleAuditor, "beta"))
	_, err = w.directory.UpdateAdministrator(t.Context(), "ann", false, func(a *directory.Administrator) error {
		a.Role, a.Brands = directory.RoleAuditor, []string{"beta"}
		return nil
	})
	require.NoError(t, err)
	v, err = b.visitor()
	require.NoError(t, err)
	assert.True(t, v.May(directory.RoleAuditor, "beta"))
	assert.False(t, v.May(directory.RoleAdmin, "beta") || v.May(directory.RoleAuditor, "acme"))
}

func TestCrossSite(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.browser()
	link := w.link("root")
	for _, header := range [][]string{
		{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.test"},
	} {
		assert.Equal(t, http.StatusForbidden, b.enter(link, header...).Code, header)
		b.isOut("another site's form")
	}
	require.Equal(t, http.StatusSeeOther, b.enter(link, "Origin", origin).Code, "nothing was spent")
	for _, header := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Origin", "https://evil.test"}} {
		assert.Equal(t, http.StatusForbidden, b.do(http.MethodPost, origin+LogoutPath, url.Values{}, header...).Code)
	}
	_, err := b.visitor()
	require.NoError(t, err)
	require.Equal(t, http.StatusSeeOther, b.do(http.MethodPost, origin+LogoutPath, url.Values{}, "Origin", origin).Code)
	b.isOut("signed out")
	framed := w.browser().do(http.MethodGet, w.link("root"), nil,
		"Sec-Fetch-Dest", "iframe", "Sec-Fetch-Site", "cross-site")
	assert.NotEqual(t, http.StatusOK, framed.Code)
	other := w.browser().do(http.MethodGet, origin+"/login", nil)
	assert.Equal(t, http.StatusNotFound, other.Code)
	body, _ := io.ReadAll(other.Body)
	assert.NotEmpty(t, body)
	assert.Contains(t, other.Header().Get("Content-Security-Policy"), "frame-ancestors 'none'")
}

// A key makes links for those whose rights it covers, and does not learn of others.
func TestLinksForKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.add("two", false, "acme", "beta")
	console := []directory.Scope{directory.ScopeConsole}
	acme := directory.APIKey{ID: "k", Scopes: console, Brands: []string{"acme"}}
	both := directory.APIKey{ID: "k", Scopes: console, Brands: []string{"acme", "beta"}}
	all := directory.APIKey{ID: "k", Scopes: console, AllBrands: true}
	other := directory.APIKey{ID: "k", AllBrands: true, Scopes: []directory.Scope{
		directory.ScopeIssue, directory.ScopeRedeem, directory.ScopeAdmin,
	}}
	for _, row := range []struct {
		key  directory.APIKey
		good []string
	}{{acme, []string{"ann"}}, {both, []string{"ann", "two"}}, {all, []string{"ann", "two", "root"}}, {other, nil}} {
		for _, user := range []string{"ann", "two", "root", "nobody"} {
			link, err := w.links.ForKey(t.Context(), row.key, user)
			if strings.Contains(strings.Join(row.good, " "), user) {
				require.NoError(t, err)
				assert.Equal(t, "k", link.Ticket.Actor)
				assert.Equal(t, w.time.Add(token.AdministratorLifetime), link.Expires)
				page, err := w.directory.Events(t.Context(), directory.EventFilter{Ticket: link.Ticket.ID.String()}, "", 10)
				require.NoError(t, err)
				require.Len(t, page.Events, 1)
				assert.Equal(t, directory.ActionIssueTicket, page.Events[0].Action)
				assert.Equal(t, user, page.Events[0].Name)
				continue
			}
			assert.ErrorIs(t, err, directory.ErrNotFound)
			assert.Equal(t, `administrator "`+user+`": not found in the directory`, err.Error())
			assert.Empty(t, link)
		}
	}
	_, err := w.directory.UpdateAdministrator(t.Context(), "ann", false, func(a *directory.Administrator) error {
		a.Active = false
		return nil
	})
	require.NoError(t, err)
	_, err = w.links.ForKey(t.Context(), acme, "ann")
	assert.ErrorIs(t, err, ErrNotActive)
}

func TestConfig(t *testing.T) {
	t.Parallel()
	var wrong *token.ConfigError
	_, err := New(Config{})
	require.ErrorAs(t, err, &wrong)
	_, err = SameOrigin("console", http.NotFoundHandler())
	require.ErrorAs(t, err, &wrong)
}
