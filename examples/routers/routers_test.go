package routers

import (
	"context"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"

	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
	"github.com/admitone/admitone/verify/replay/memory"
	"github.com/admitone/admitone/verify/web"
)

// In every router: confirm page, its stylesheet, entry, check, logout.
func TestRouters(t *testing.T) {
	for name, mount := range map[string]func(login, check, logout http.Handler) http.Handler{
		"net/http": Standard, "chi": Chi, "gin": Gin, "echo": Echo,
	} {
		t.Run(name, func(t *testing.T) { tryRouter(t, mount) })
	}
}

func tryRouter(t *testing.T, mount func(login, check, logout http.Handler) http.Handler) {
	handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	require.NoError(t, err)
	keys, err := token.NewKeyset(handle)
	require.NoError(t, err)
	issuer, err := token.NewIssuer(token.Config{Sealer: keys})
	require.NoError(t, err)
	store, err := memory.Open(context.Background(), memory.Config{NoBarrier: true})
	require.NoError(t, err)
	verifier, err := verify.New(verify.Config{Opener: keys, AnyBrand: true, Store: store})
	require.NoError(t, err)
	sessions, err := web.NewSessions(web.SessionConfig{Keys: keys})
	require.NoError(t, err)
	login, err := web.New(web.Config{
		Verifier: verifier, Sessions: sessions,
		Use:   func(*http.Request, *token.Ticket) verify.Use { return verify.Use{Audience: token.Agent} },
		Admit: func(*http.Request, token.Ticket, verify.Use) (web.Entry, error) { return web.Entry{Confirm: true}, nil },
	})
	require.NoError(t, err)
	check, err := web.NewCheck(web.CheckConfig{Sessions: sessions, Audience: token.Agent, Brands: []string{"b"}})
	require.NoError(t, err)
	server := httptest.NewTLSServer(mount(login, check, sessions.Logout("/bye")))
	t.Cleanup(server.Close)

	client := server.Client()
	client.Jar, err = cookiejar.New(nil)
	require.NoError(t, err)
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	do := func(method, target, body string) (*http.Response, string) {
		r, err := http.NewRequest(method, server.URL+target, strings.NewReader(body))
		require.NoError(t, err)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		res, err := client.Do(r)
		require.NoError(t, err)
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		return res, string(text)
	}
	ticket, err := issuer.Issue(&token.Ticket{Audience: token.Agent, OneTime: true, Brand: "b", Username: "john.d"})
	require.NoError(t, err)
	res, _ := do(http.MethodHead, "/login?ta="+ticket, "")
	assert.Equal(t, http.StatusServiceUnavailable, res.StatusCode)
	res, page := do(http.MethodGet, "/login?a=1&ta="+ticket, "")
	require.Equal(t, http.StatusOK, res.StatusCode)
	sheet := regexp.MustCompile(`href="(\?admitone-css=[^"]+)"`).FindStringSubmatch(page)
	require.NotNil(t, sheet)
	res, _ = do(http.MethodGet, "/login"+sheet[1], "")
	assert.Equal(t, "text/css; charset=utf-8", res.Header.Get("Content-Type"))
	form := url.Values{}
	for _, m := range regexp.MustCompile(`name="([a-z]+)" value="([^"]+)"`).FindAllStringSubmatch(page, -1) {
		form.Set(m[1], m[2])
	}
	action := regexp.MustCompile(`action="([^"]+)"`).FindStringSubmatch(page)
	require.NotNil(t, action)
	res, _ = do(http.MethodPost, "/login"+action[1], form.Encode())
	require.Equal(t, http.StatusSeeOther, res.StatusCode)
	assert.Equal(t, "login?a=1", res.Header.Get("Location"))
	res, _ = do(http.MethodGet, "/auth/check", "")
	assert.Equal(t, http.StatusOK, res.StatusCode)
	assert.Equal(t, "john.d", res.Header.Get("Remote-User"))
	res, _ = do(http.MethodPost, "/logout", "")
	assert.Equal(t, "/bye", res.Header.Get("Location"))
	res, _ = do(http.MethodGet, "/auth/check", "")
	assert.Equal(t, http.StatusUnauthorized, res.StatusCode)
	assert.Equal(t, []string{""}, res.Header["Remote-User"])
}
