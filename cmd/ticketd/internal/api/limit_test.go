package api

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/cmd/ticketd/internal/ratelimit"
)

const customer = `{"brand":"commbox","email":"a@b"}`

func TestRateLimit(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Limit = ratelimit.Limit{Rate: 2, Burst: 3} })
	both := []directory.Scope{directory.ScopeIssue, directory.ScopeRedeem}
	own := w.apiKey(directory.APIKey{Scopes: both, AllBrands: true, Rate: 0.5, Burst: 1})
	for i := range 3 {
		res := w.ask(w.key, customer)
		require.Equal(t, http.StatusOK, res.status)
		assert.Equal(t, `"key";q=3;w=2`, res.header.Get("RateLimit-Policy"))
		assert.Equal(t, []string{`"key";r=2;t=1`, `"key";r=1;t=1`, `"key";r=0;t=2`}[i], res.header.Get("RateLimit"))
		assert.Empty(t, res.header.Get("Retry-After"))
	}
	for range 3 {
		res := w.ask(w.key, customer)
		require.Equal(t, http.StatusTooManyRequests, res.status)
		assert.Equal(t, "1", res.header.Get("Retry-After"))
		assert.Equal(t, `"key";r=0;t=2`, res.header.Get("RateLimit"))
		assert.Contains(t, gjson(t, res.body, "description"), "2 a second, and 3 at once; try again in 1 s")
	}
	assert.Contains(t, w.log.String(), "rate limit of the API key")
	assert.Equal(t, http.StatusOK, w.ask(w.anyKey, customer).status, "each key has its own")
	assert.Equal(t, http.StatusOK, w.ask(own, customer).status)
	res := w.client().do(http.MethodPost, redeemPath, strings.NewReader("{}"),
		map[string]string{"Authorization": "Bearer " + own})
	assert.Equal(t, http.StatusTooManyRequests, res.status, "one for all operations, before the body is looked at")
	assert.Equal(t, "2", res.header.Get("Retry-After"))
	assert.Equal(t, `"key";q=1;w=2`, res.header.Get("RateLimit-Policy"), "the key's own limit")
	w.ns.Add(int64(time.Second))
	assert.Equal(t, http.StatusOK, w.ask(w.key, customer).status, "after Retry-After")
}

func TestFailuresAreLimited(t *testing.T) {
	w := newWorld(t)
	counts := make(map[int]int)
	for range failureLimit.Burst + 20 {
		counts[w.ask("hello", customer).status]++
	}
	assert.Equal(t, map[int]int{http.StatusUnauthorized: failureLimit.Burst, http.StatusTooManyRequests: 20}, counts)
	assert.Equal(
		t, failureLimit.Burst, strings.Count(w.log.String(), `msg="request refused"`),
		"a flood leaves no line each in the trail",
	)
	res := w.ask("", customer)
	assert.Equal(t, http.StatusTooManyRequests, res.status)
	assert.Equal(t, "1", res.header.Get("Retry-After"))
	assert.Equal(t, `"address";q=60;w=60`, res.header.Get("RateLimit-Policy"))
	assert.Equal(t, http.StatusOK, w.ask(w.key, customer).status, "who shares the address is not locked out")
	w.ns.Add(int64(time.Second))
	assert.Equal(t, http.StatusUnauthorized, w.ask("hello", customer).status)
}

// A flood of requests over the limit of a key, or without a good key, leaves a bounded number
// of lines: the first ones, and the number of the others once a minute.
func TestFloodsInTheLog(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Limit = ratelimit.Limit{Rate: 0.001, Burst: 1} })
	lines := func() int { return strings.Count(w.log.String(), "\n") }
	assert.Equal(t, http.StatusOK, w.ask(w.key, customer).status)
	const tries = 200
	for kind, request := range map[string]func() int{
		"rate_limit": func() int { return w.ask(w.key, customer).status },
		"api_call":   func() int { return w.ask("hello", customer).status },
	} {
		before := lines()
		for range tries {
			require.Contains(t, []int{http.StatusUnauthorized, http.StatusTooManyRequests}, request())
		}
		assert.Equal(t, lineLimit.Burst, lines()-before, "%s: a line each", kind)
		w.ns.Add(int64(floodTold))
		before = lines()
		request()
		assert.Equal(t, 2, lines()-before, "%s: the number, and the line of a caller who is calm", kind)
		assert.Contains(t, w.log.String(), fmt.Sprintf("kind=%s more=%d ", kind, tries-lineLimit.Burst))
	}
	// Each other key and kind has its own lines meanwhile.
	for range tries {
		w.ask(w.key, customer)
	}
	w.ask(w.anyKey, customer)
	before := lines()
	w.ask(w.anyKey, customer)
	assert.Equal(t, 1, lines()-before)
	res := w.client().do(http.MethodGet, redeemPath, nil, nil)
	assert.Equal(t, http.StatusNotImplemented, res.status)
	assert.Equal(t, 2, lines()-before)
}

func TestAllowLists(t *testing.T) {
	// The tests come from the loopback interface, as a trusted proxy does.
	proxies := Proxies{Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	w := newWorld(t, func(c *Config) { c.Proxies = proxies })
	list := func(text string) directory.Addresses {
		a, err := directory.ParseAddresses(text)
		require.NoError(t, err)
		return a
	}
	const backends, offices = "192.0.2.0/24, 2001:db8:1::/48", "198.51.100.7, 2001:db8:2::/48"
	_, err := w.directory.UpdateBrand(t.Context(), "commbox", func(b *directory.Brand) error {
		b.APIAddresses, b.LoginAddresses = list(backends), list(offices)
		return nil
	})
	require.NoError(t, err)
	_, err = w.directory.UpdateChannel(t.Context(), "commbox", "web", func(c *directory.Channel) error {
		c.APIAddresses = list("203.0.113.5")
		return nil
	})
	require.NoError(t, err)
	key := w.apiKey(directory.APIKey{Scopes: []directory.Scope{directory.ScopeIssue, directory.ScopeRedeem},
		AllBrands: true})
	call := func(path, from, body string) response {
		return w.client().do(http.MethodPost, path, strings.NewReader(body), map[string]string{
			"Authorization": "Bearer " + key, "Content-Type": "application/json", "X-Forwarded-For": from})
	}
	for from, status := range map[string]int{
		"192.0.2.1": 200, "192.0.2.255": 200, "192.0.3.1": 401, "2001:db8:1::5": 200, "2001:db8:2::5": 401, "::ffff:192.0.2.1": 200,
		"192.0.2.1, 192.0.3.1": 401, "192.0.3.1, 192.0.2.1": 200, "nonsense": 401, "": 401, "127.0.0.1": 401,
	} {
		res := call("/auth/ticket", from, customer)
		assert.Equal(t, status, res.status, from)
		if status == 401 {
			assert.Contains(t, res.body, "allow-list")
			assert.Contains(t, w.log.String(), "address not on the allow-list")
		}
	}
	bound := `{"brand":"commbox","email":"a@b","channel":"web"}`
	assert.Equal(t, 401, call("/auth/ticket", "192.0.2.1", bound).status, "the channel's own list takes precedence")
	assert.Equal(t, 200, call("/auth/ticket", "203.0.113.5", bound).status)
	assert.Equal(
		t, 200, call("/auth/ticket", "192.0.3.1", `{"brand":"acme","email":"a@b"}`).status, "a brand without a list",
	)

	// Redeeming, by the backend's address and the person's.
	issue := func(body string) string {
		w.t.Helper()
		res := call("/auth/ticket", "192.0.2.1", body)
		require.Equal(t, 200, res.status, res.body)
		ticket := res.body[strings.Index(res.body, "tkt1_"):strings.Index(res.body, `"}}`)]
		w.secrets = append(w.secrets, ticket[10:])
		return ticket
	}
	agent := issue(reference)
	for _, row := range []struct {
		path, from, person string
		status             int
		says               string
	}{
		{redeemPath, "192.0.3.1", "198.51.100.7", 401, "allow-list"},
		{inspectPath, "192.0.3.1", "198.51.100.7", 401, "allow-list"},
		{redeemPath, "192.0.2.1", "", 403, "refused_by_caller"},
		{redeemPath, "192.0.2.1", "198.51.100.8", 403, "refused_by_caller"},
		{inspectPath, "192.0.2.1", "2001:db8:3::1", 200, "refused_by_caller"},
		{inspectPath, "192.0.2.1", "2001:db8:2::1", 200, "acceptable"},
		{redeemPath, "2001:db8:1::1", "198.51.100.7", 200, "admitted"},
	} {
		body := `{"ticket":"` + agent + `","audience":"agent","address":"` + row.person + `"}`
		res := call(row.path, row.from, body)
		assert.Equal(t, row.status, res.status, row)
		assert.Contains(t, res.body, row.says, row)
	}
	for from, status := range map[string]int{"198.51.100.7": http.StatusSeeOther, "198.51.100.8": http.StatusForbidden,
		"192.0.2.1": http.StatusForbidden} {
		res := w.client().do(http.MethodGet, "/login?ta="+issue(reference), nil, map[string]string{"X-Forwarded-For": from})
		assert.Equal(t, status, res.status, from)
	}
	chat := issue(customer)
	res := w.client().do(http.MethodGet, w.chatPath("commbox", "web")+"?ta="+chat, nil,
		map[string]string{"X-Forwarded-For": "198.51.100.99"})
	assert.Equal(t, http.StatusSeeOther, res.status, "the list is for agents")
	// A channel's own list takes precedence for redeeming in it, too, and for tickets
	// that are bound to it; the brand's holds for all else.
	res = call("/auth/ticket", "203.0.113.5", bound)
	boundTicket := res.body[strings.Index(res.body, "tkt1_"):strings.Index(res.body, `"}}`)]
	w.secrets = append(w.secrets, boundTicket[10:])
	code := strings.TrimPrefix(w.chatPath("commbox", "web"), "/chat/")
	for _, row := range []struct {
		ticket, from, fields string
		status               int
	}{
		{chat, "203.0.113.5", `"audience":"customer","channel":"web"`, 200},
		{chat, "203.0.113.5", `"audience":"customer","channelCode":"` + code + `"`, 200},
		{chat, "203.0.113.5", `"audience":"customer"`, 401},
		{chat, "203.0.113.5", `"audience":"customer","channel":"closed"`, 401},
		{chat, "203.0.113.5", `"audience":"customer","channel":"none"`, 401},
		{chat, "203.0.113.5", `"audience":"customer","channelCode":"none"`, 401},
		{boundTicket, "203.0.113.5", `"audience":"customer","channel":"web"`, 200},
		{boundTicket, "192.0.2.1", `"audience":"customer","channel":"web"`, 401},
		{boundTicket, "192.0.2.1", `"audience":"customer"`, 401},
		{agent, "203.0.113.5", `"audience":"customer","channel":"web"`, 401}, // of an agent's ticket no channel decides
	} {
		for _, path := range []string{inspectPath, redeemPath} {
			res := call(path, row.from, `{"ticket":"`+row.ticket+`",`+row.fields+`}`)
			assert.Equal(t, row.status, res.status, "%s %v: %s", path, row, res.body)
		}
	}
	assert.Equal(t, 401, call(redeemPath, "192.0.2.1", `{"ticket":"`+chat+`","audience":"customer","channel":"web"}`).status)
	assert.Equal(t, 200, call(redeemPath, "192.0.2.1", `{"ticket":"`+chat+`","audience":"customer"}`).status)
	assert.Contains(t, w.log.String(), "remote=198.51.100.99")
}
