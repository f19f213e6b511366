package web

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/admitone/admitone/token"
)

// trap W7: verbatim, percent-encoded and twice-encoded tickets are the same, and
// a plus sign never becomes a space that is then mended.
func TestTicket(t *testing.T) {
	for _, row := range []struct {
		target, ticket string
		found          bool
	}{
		{"/login", "", false},
		{"/login?tax=1&t=2&Ta=3&tA=4", "", false},
		{"/login?ta=tkt1_a-b_c", "tkt1_a-b_c", true},
		{"/login?TA=tkt1_a", "tkt1_a", true},
		{"/login?x=1&ta=tkt1_a&y=2", "tkt1_a", true},
		{"/login?ta=tkt1%5Fa%2Db", "tkt1_a-b", true},
		{"/login?ta=tkt1%255Fa%252Db", "tkt1_a-b", true},
		{"/login?ta=tkt1%25255Fa", "tkt1%5Fa", true},
		{"/login?%74a=tkt1_a", "tkt1_a", true},
		{"/login?ta=a+b", "a b", true},
		{"/login?ta=a%2Bb", "a+b", true},
		{"/login?ta=a%252Bb", "a+b", true},
		{"/login?ta=tkt1_a%0A", "tkt1_a\n", true},
		{"/login?ta=100%25", "100%", true},
		{"/login?ta=", "", true},
		{"/login?ta", "", true},
		{"/login?ta=a&ta=a", "", true},
		{"/login?ta=a&TA=b", "", true},
		{"/login?ta=a;b", "", true},
		{"/login?ta=%zz", "", true},
	} {
		ticket, found := Ticket(httptest.NewRequest(http.MethodGet, row.target, nil))
		assert.Equal(t, row.found, found, row.target)
		assert.Equal(t, row.ticket, ticket, row.target)
	}
	post := func(target, body string) (string, bool) {
		r := httptest.NewRequest(http.MethodPost, target, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		return Ticket(r)
	}
	ticket, found := post("/login", "ta=tkt1_a")
	assert.True(t, found)
	assert.Equal(t, "tkt1_a", ticket)
	ticket, found = post("/login?ta=tkt1_a", "ta=tkt1_b")
	assert.True(t, found)
	assert.Empty(t, ticket, "one in the query and another in the form")
	_, found = post("/login", "x=1")
	assert.False(t, found)
}

// trap W1: what a browser or scanner fetches in advance spends nothing.
func TestMaySpend(t *testing.T) {
	request := func(method string, header ...string) *http.Request {
		r := httptest.NewRequest(method, "/login?ta=x", nil)
		for i := 0; i < len(header); i += 2 {
			r.Header.Add(header[i], header[i+1])
		}
		return r
	}
	assert.True(t, MaySpend(request(http.MethodGet)))
	assert.True(t, MaySpend(request(http.MethodPost)))
	assert.True(t, MaySpend(request(http.MethodGet, "Sec-Fetch-Mode", "navigate")))
	for _, method := range []string{http.MethodHead, http.MethodOptions, http.MethodPut, "PROPFIND"} {
		assert.False(t, MaySpend(request(method)), method)
	}
	for _, h := range [][]string{
		{"Sec-Purpose", "prefetch"}, {"Sec-Purpose", "prefetch;prerender"}, {"Purpose", "Prefetch"}, {"X-Moz", "prefetch"},
		{"X-Purpose", "preview"}, {"Sec-Purpose", "", "Sec-Purpose", "prefetch"},
	} {
		assert.False(t, MaySpend(request(http.MethodGet, h...)), h)
	}
}

// trap W6: the way on is a path of this host.
func TestWithoutTicket(t *testing.T) {
	for from, want := range map[string]string{
		"http://h/login?ta=x":                "/login",
		"http://h/login?a=1&ta=x&b=%2F":      "/login?a=1&b=%2F",
		"http://h/login?TA=x&%74a=y&ta":      "/login",
		"http://h/login?a&&b=":               "/login?a&b=",
		"http://h/chat/a%2Fb?ta=x":           "/chat/a%2Fb",
		"http://h//evil.example/login?ta=x":  "/evil.example/login",
		"http://h///evil.example?ta=x":       "/evil.example",
		"http://h/%5Cevil.example?ta=x":      "/%5Cevil.example",
		"http://h/login?next=//evil&ta=x":    "/login?next=//evil",
		"http://h/login?%zz=1&ta=x":          "/login",
		"http://h?ta=x":                      "/",
		"http://user:secret@h/login?ta=x#ta": "/login",
	} {
		u, err := url.Parse(from)
		require.NoError(t, err)
		assert.Equal(t, want, WithoutTicket(u), from)
	}
}

func newAEAD(t *testing.T) tink.AEAD {
	t.Helper()
	h, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	require.NoError(t, err)
	a, err := aead.New(h)
	require.NoError(t, err)
	return a
}

func TestSessions(t *testing.T) {
	a := newAEAD(t)
	now := time.Date(2025, 1, 19, 14, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	s, err := NewSessions(a, "prod", true, clock)
	require.NoError(t, err)
	in := Session{Audience: token.Agent, Brand: "commbox", Username: "john.d", Name: "John Doe", TicketID: "ab", OneTime: true, Issued: now}
	w := httptest.NewRecorder()
	require.NoError(t, s.Start(w, in))
	cookie := w.Result().Cookies()[0]
	assert.Equal(t, "__Host-admitone-agent", cookie.Name)
	assert.True(t, cookie.Secure && cookie.HttpOnly && cookie.Path == "/" && cookie.Domain == "")
	assert.NotContains(t, cookie.Value, "john")

	with := func(name, value string) *http.Request {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.AddCookie(&http.Cookie{Name: name, Value: value})
		return r
	}
	got, ok := s.Current(with(cookie.Name, cookie.Value), token.Agent)
	require.True(t, ok)
	in.Entered = now
	assert.Equal(t, in, got)

	other, err := NewSessions(a, "test", true, clock)
	require.NoError(t, err)
	plain, err := NewSessions(a, "prod", false, clock)
	require.NoError(t, err)
	for name, check := range map[string]func() (Session, bool){
		"other audience": func() (Session, bool) { return s.Current(with(cookie.Name, cookie.Value), token.Customer) },
		"renamed": func() (Session, bool) {
			return s.Current(with("__Host-admitone-customer", cookie.Value), token.Customer)
		},
		"other realm":     func() (Session, bool) { return other.Current(with(cookie.Name, cookie.Value), token.Agent) },
		"other scheme":    func() (Session, bool) { return plain.Current(with(cookie.Name, cookie.Value), token.Agent) },
		"changed":         func() (Session, bool) { return s.Current(with(cookie.Name, "B"+cookie.Value[1:]), token.Agent) },
		"not base64":      func() (Session, bool) { return s.Current(with(cookie.Name, "!"), token.Agent) },
		"none":            func() (Session, bool) { return s.Current(httptest.NewRequest(http.MethodGet, "/", nil), token.Agent) },
		"sealed for else": func() (Session, bool) { return s.Current(with(cookie.Name, sealElsewhere(t, a)), token.Agent) },
	} {
		_, ok := check()
		assert.False(t, ok, name)
	}
	now = now.Add(SessionLifetime - time.Second)
	_, ok = s.Current(with(cookie.Name, cookie.Value), token.Agent)
	assert.True(t, ok)
	now = now.Add(time.Second)
	_, ok = s.Current(with(cookie.Name, cookie.Value), token.Agent)
	assert.False(t, ok)
	now = now.Add(-SessionLifetime - 2*time.Minute)
	_, ok = s.Current(with(cookie.Name, cookie.Value), token.Agent)
	assert.False(t, ok, "begun in the future")

	// A planted cookie of the same name hides nothing.
	both := with(cookie.Name, "garbage")
	both.AddCookie(&http.Cookie{Name: cookie.Name, Value: cookie.Value})
	now = in.Entered
	_, ok = s.Current(both, token.Agent)
	assert.True(t, ok)

	// What a ticket can carry fits, whatever it is made of.
	for _, c := range []string{"<", "&", `"`, `\\`, "é", "x"} {
		fill := func(n int) string { return strings.Repeat(c, n/len(c)) }
		assert.NoError(t, s.Start(httptest.NewRecorder(), Session{
			Audience: token.Customer, Brand: fill(64), Channel: fill(64), Email: fill(255), Name: fill(100) + " " + fill(100),
			TicketID: strings.Repeat("a", 32), KeyID: "00000000", Actor: fill(64), Customer: 1 << 62, OneTime: true, Issued: now,
		}), c)
	}
	assert.Error(t, s.Start(httptest.NewRecorder(), Session{Name: strings.Repeat("x", 4000)}))
	_, err = NewSessions(nil, "", true, nil)
	assert.Error(t, err)
	_, err = NewSessions(a, "\n", true, nil)
	assert.Error(t, err)
}

// sealElsewhere returns a ticket of the same key and realm as a cookie's value: the
// associated data keeps the two apart.
func sealElsewhere(t *testing.T, a tink.AEAD) string {
	t.Helper()
	i, err := token.NewIssuer(token.Config{Sealer: a, Realm: "prod"})
	require.NoError(t, err)
	s, err := i.Issue(&token.Ticket{Audience: token.Agent, Brand: "b", Username: "u"})
	require.NoError(t, err)
	return strings.TrimPrefix(s, "tkt1_")
}
