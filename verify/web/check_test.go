package web

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/token"
)

// trap W5: every answer has every identity header, empty where there is none
// (GHSA-7r4p-vjf4-gxv4), and the check never spends a ticket.
func TestCheck(t *testing.T) {
	w := newWorld(t).start()
	names, err := Headers{}.names()
	require.NoError(t, err)
	b := w.browser()
	forged := []string{"Remote-User", "admin", "Admitone-Brand", "x", "Cookie", "__Host-admitone-agent=x"}
	ticket := w.issue(func(tk *token.Ticket) { tk.Email, tk.Actor = "", "" })
	for _, res := range []answer{
		b.get(
			"/auth/check", forged...,
		), b.get("/auth/check?ta=" + ticket), b.do(http.MethodPost, "/auth/check", "ta="+ticket),
	} {
		assert.Equal(t, http.StatusUnauthorized, res.StatusCode)
		assert.Equal(t, "no-store", res.Header.Get("Cache-Control"))
		assert.Empty(t, res.Cookies())
		for _, name := range names {
			v, present := res.Header[name]
			assert.True(t, present, name)
			assert.Equal(t, []string{""}, v, name)
		}
	}
	w.entered(b.get("/login?ta=" + ticket)) // unspent
	accesses := w.store.accesses
	res := b.get("/auth/check", forged[:4]...)
	assert.Equal(t, http.StatusOK, res.StatusCode)
	for _, name := range names {
		_, present := res.Header[name]
		assert.True(t, present, name)
	}
	assert.Equal(t, "john.d", res.Header.Get("Remote-User"))
	assert.Equal(t, "agent", res.Header.Get("Admitone-Audience"))
	assert.Equal(t, "commbox", res.Header.Get("Admitone-Brand"))
	assert.Regexp(t, `^[0-9a-f]{32}$`, res.Header.Get("Admitone-Ticket-Id"))
	assert.Regexp(t, `^[0-9a-f]{8}$`, res.Header.Get("Admitone-Key-Id"))
	assert.Equal(t, accesses, w.store.accesses, "a check asks no replay store")

	w.clock.add(SessionIdle / 2)
	assert.Len(t, b.get("/auth/check").Cookies(), 1, "renewed")
	w.clock.add(SessionIdle)
	assert.Equal(t, http.StatusUnauthorized, b.get("/auth/check").StatusCode)
}

func TestCheckConfig(t *testing.T) {
	s := mustSessions(t, SessionConfig{Keys: newAEAD(t)})
	h, err := NewCheck(s, token.Agent, Headers{User: "x-webauth-user", Name: "X-Name"})
	require.NoError(t, err)
	rec := httptest.NewRecorder()
	cookie := started(t, s, john)
	h.ServeHTTP(rec, carrying(cookie.Name, cookie.Value))
	assert.Equal(t, "john.d", rec.Header().Get("X-Webauth-User"))
	assert.Equal(t, "a,b", rec.Header().Get("Remote-Groups"))
	assert.NotContains(t, rec.Header(), "Remote-User")
	customer, err := NewCheck(s, token.Customer, Headers{})
	require.NoError(t, err)
	rec = httptest.NewRecorder()
	customer.ServeHTTP(rec, carrying(cookie.Name, cookie.Value))
	assert.Equal(t, http.StatusUnauthorized, rec.Code)

	for _, c := range []struct {
		sessions SessionStore
		audience token.Audience
		headers  Headers
	}{
		{nil, token.Agent, Headers{}}, {s, 0, Headers{}}, {s, 3, Headers{}},
		{s, token.Agent, Headers{User: "a b"}}, {s, token.Agent, Headers{User: "X\r\nY"}}, {s, token.Agent, Headers{User: "remote-name"}},
		{s, token.Agent, Headers{Name: "set-cookie"}}, {s, token.Agent, Headers{Actor: "Cache-Control"}},
	} {
		_, err := NewCheck(c.sessions, c.audience, c.headers)
		assert.Error(t, err)
	}
}

// trap W4: header values are one line of printable ASCII that decodes to the text.
func FuzzHeaderValue(f *testing.F) {
	for _, s := range []string{"", "John", " a ", "José", "a,b", "100%", "a\r\nX: 1", "\x00\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, also := range []byte{0, ','} {
			v := headerValue(s, also)
			for i := range len(v) {
				require.True(t, v[i] >= ' ' && v[i] <= '~' && (also == 0 || v[i] != also), "%q", v)
			}
			require.Equal(t, strings.TrimSpace(v), v)
			back, err := pathUnescape(v)
			require.NoError(t, err)
			require.Equal(t, s, back)
		}
	})
}

func pathUnescape(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", errors.New("cut off")
		}
		hex := "0123456789ABCDEF"
		b.WriteByte(byte(strings.IndexByte(hex, s[i+1])<<4 | strings.IndexByte(hex, s[i+2])))
		i += 2
	}
	return b.String(), nil
}

func TestLogout(t *testing.T) {
	w := newWorld(t).start()
	b := w.browser()
	w.entered(b.get("/login?ta=" + w.issue(nil)))
	assert.Equal(t, http.StatusMethodNotAllowed, b.get("/logout").StatusCode)
	for _, h := range [][]string{
		{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"},
	} {
		res := b.do(http.MethodPost, "/logout", "", h...)
		assert.Equal(t, http.StatusForbidden, res.StatusCode, h)
		assert.Empty(t, res.Cookies())
	}
	assert.Equal(t, "john.d", b.user())
	res := b.do(http.MethodPost, "/logout", "next=//evil.example", ownForm...)
	assert.Equal(t, http.StatusSeeOther, res.StatusCode)
	assert.Equal(t, "/bye", res.Header.Get("Location"))
	assert.Empty(t, b.user())
	assert.Equal(t, "/login", b.do(http.MethodPost, "/logout?next=/login", "").Header.Get("Location"))
}
