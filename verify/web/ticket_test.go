package web

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
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
		{"/login?ta=tkt1_a%", "", true},
		{"/login?%74a=%", "", true},
		{"/login?ta=tkt1_a&off=50%&x=1;y=2", "tkt1_a", true},
		{"/login?off=50%&ta=tkt1_a", "tkt1_a", true},
		{"/login?data=50%&%=1&TA=tkt1_a", "tkt1_a", true},
		{"/login?ta=tkt1_a&ta=%", "", true},
		{"/login?ta=%&ta=tkt1_a", "", true},
		{"/login?x=1;ta=tkt1_a", "", true},
		{"/login?x=1;ta=tkt1_a&ta=tkt1_b", "", true},
		{"/login?data=50%", "", false},
		{"/login?" + strings.Repeat("&", 999) + "ta=tkt1_a", "tkt1_a", true},
		{"/login?" + strings.Repeat("&", 1000) + "ta=tkt1_a", "", true},
		{"/login?" + strings.Repeat("&", 20_000) + "ta=tkt1_a", "", true},
	} {
		ticket, found := ticketOf(httptest.NewRequest(http.MethodGet, row.target, nil), false)
		assert.Equal(t, row.found, found, row.target)
		assert.Equal(t, row.ticket, ticket, row.target)
	}
	post := func(target, body string) (string, bool) {
		r := httptest.NewRequest(http.MethodPost, target, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		return ticketOf(r, false)
	}
	ticket, found := post("/login", "ta=tkt1_a")
	assert.True(t, found)
	assert.Equal(t, "tkt1_a", ticket)
	ticket, found = post("/login?ta=tkt1_a", "ta=tkt1_b")
	assert.True(t, found)
	assert.Empty(t, ticket, "one in the query and another in the form")
	_, found = post("/login", "x=1")
	assert.False(t, found)
	ticket, _ = post("/login?off=50%", "ta=tkt1_a")
	assert.Equal(t, "tkt1_a", ticket)
	ticket, _ = post("/login?off=50%&ta=tkt1_a", "x=1")
	assert.Equal(t, "tkt1_a", ticket)
	for _, row := range [][2]string{
		{"/login", "ta=tkt1_a&off=50%"}, {"/login?off=50%", "ta=tkt1_a&off=50%"}, {"/login?ta=tkt1_a", "off=50%"}, {"/login?ta=%", "ta=tkt1_a"},
	} {
		ticket, found = post(row[0], row[1])
		assert.True(t, found, row)
		assert.Empty(t, ticket, row)
	}
	for target, want := range map[string]string{
		"/login?=TAtkt1_a&off=50%": "tkt1_a", "/login?=TAtkt1_a%": "", "/login?x;=TAtkt1_a": "", "/login?ta=tkt1_a&=TAtkt1_b": "",
	} {
		ticket, found = ticketOf(httptest.NewRequest(http.MethodGet, target, nil), true)
		assert.True(t, found, target)
		assert.Equal(t, want, ticket, target)
	}
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
	assert.True(t, maySpend(request(http.MethodGet)))
	assert.True(t, maySpend(request(http.MethodPost)))
	assert.True(t, maySpend(request(http.MethodGet, "Sec-Fetch-Mode", "navigate")))
	for _, method := range []string{http.MethodHead, http.MethodOptions, http.MethodPut, "PROPFIND"} {
		assert.False(t, maySpend(request(method)), method)
	}
	for _, h := range [][]string{
		{"Sec-Purpose", "prefetch"}, {"Sec-Purpose", "prefetch;prerender"}, {"Purpose", "Prefetch"}, {"X-Moz", "prefetch"},
		{"X-Purpose", "preview"}, {"Sec-Purpose", "", "Sec-Purpose", "prefetch"},
	} {
		assert.False(t, maySpend(request(http.MethodGet, h...)), h)
	}
}

// trap W6: the way on is the path at which the browser is.
func TestWithoutTicket(t *testing.T) {
	for from, want := range map[string]string{
		"http://h/login?ta=x":                "login",
		"http://h/login?a=1&ta=x&b=%2F":      "login?a=1&b=%2F",
		"http://h/login?TA=x&%74a=y&ta":      "login",
		"http://h/login?a&&b=":               "login?a&b=",
		"http://h/chat/a%2Fb?ta=x":           "a%2Fb",
		"http://h//evil.example/login?ta=x":  "login",
		"http://h///evil.example?ta=x":       "evil.example",
		"http://h/%5Cevil.example?ta=x":      "%5Cevil.example",
		"http://h/login?next=//evil&ta=x":    "login?next=//evil",
		"http://h/login?%zz=1&ta=x":          "login",
		"http://h/login?a=50%&ta=x&b=1":      "login?b=1",
		"http://h/login?a=1;ta=x&b=1":        "login?b=1",
		"http://h?ta=x":                      "./",
		"http://user:secret@h/login?ta=x#ta": "login",
	} {
		u, err := url.Parse(from)
		require.NoError(t, err)
		assert.Equal(t, want, here(&http.Request{URL: u}, without(u)), from)
	}
}

// FuzzTicket: whatever the query, what is found is gone from the way on, and a
// ticket that stands there verbatim or encoded is found as it is.
func FuzzTicket(f *testing.F) {
	for _, s := range []string{
		"ta=tkt1_a", "TA=%74kt1_a", "=TAtkt1_a", "a=b&ta=x", "ta=a&ta=b", "%zz&ta=a", "ta=a;b", "&&=", "ta",
		"%3DTA=x", "a=50%&ta=x", "a=1;ta=x&ta=%", "ta#",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, query string) {
		r := &http.Request{Method: http.MethodGet, URL: &url.URL{Path: "/login", RawQuery: query}, Header: http.Header{}}
		ticketOf(r, true)
		to := here(r, without(r.URL))
		require.True(t, to == "login" || strings.HasPrefix(to, "login?"), to)
		u, err := url.Parse(to)
		if err != nil {
			return // a byte that no request line has
		}
		for _, nameless := range []bool{false, true} {
			again := &http.Request{Method: http.MethodGet, URL: u, Header: http.Header{}}
			ticket, found := ticketOf(again, nameless)
			// "?ta#" is no ticket, and becomes the name of one without a value.
			require.False(t, found && ticket != "", "%q", to)
		}
	})
}
