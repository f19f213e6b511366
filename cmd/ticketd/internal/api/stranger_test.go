package api

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tink-crypto/tink-go/v2/daead"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/token"
)

// countedSIV counts the codes that it opens.
type countedSIV struct {
	tink.DeterministicAEAD
	opened atomic.Int64
}

func (c *countedSIV) DecryptDeterministically(sealed, ad []byte) ([]byte, error) {
	c.opened.Add(1)
	return c.DeterministicAEAD.DecryptDeterministically(sealed, ad)
}

// trap S11: what anybody may send costs a few openings and statements, with any number of
// brands.
func TestStrangersWork(t *testing.T) {
	siv := &countedSIV{}
	w := newWorld(t, func(c *Config) {
		primitive, err := daead.New(handle(t, daead.AESSIVKeyTemplate()))
		require.NoError(t, err)
		siv.DeterministicAEAD = primitive
		c.Channels, err = token.NewChannels(siv, "r")
		require.NoError(t, err)
	})
	for i := range 1000 {
		require.NoError(t, w.directory.AddBrand(t.Context(), directory.Brand{Name: fmt.Sprintf("brand-%d", i)}))
	}
	require.NoError(t, w.directory.AddChannel(t.Context(), directory.Channel{Brand: "brand-999", ID: "web"}))
	_, err := w.directory.UpdateBrand(t.Context(), "brand-999",
		func(b *directory.Brand) error { b.DisplayName = "The last one"; return nil })
	require.NoError(t, err)
	codes, err := token.NewChannels(siv, "r")
	require.NoError(t, err)
	code, err := codes.Code("brand-999", "web")
	require.NoError(t, err)
	unknown := code[:len(code)-8] + "AAAAAAAA"
	nowhere, err := codes.Code("no-brand", "web")
	require.NoError(t, err)

	var mu sync.Mutex
	statements := 0
	w.directory.Trace(func(string) { mu.Lock(); defer mu.Unlock(); statements++ })
	ticket := w.ticket(w.key, reference)
	forged := ticket[:len(ticket)-6] + "AAAAAA"
	least, most := 1000, 0
	for _, path := range []string{
		"/chat/" + code, "/chat/" + unknown, "/chat/" + nowhere, "/chat/x", "/login", "/login?ta=" + forged,
		"/chat/" + code + "?ta=" + forged, "/chat/" + unknown + "?ta=" + forged, "/auth/check", "/auth/check-customer",
		"/logout", "/healthz", "/readyz", "/docs", "/openapi.yaml", "/nowhere", "/auth/ticket",
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			for range 2 { // the second time, nothing is new
				mu.Lock()
				statements = 0
				mu.Unlock()
				siv.opened.Store(0)
				w.opener.opened.Store(0)
				c := w.client()
				res := c.do(method, path, nil, map[string]string{"Authorization": "Bearer adm_xxxxxxxxxx_x"})
				mu.Lock()
				work := 1 + statements + int(siv.opened.Load()) + int(w.opener.opened.Load()) // 1 is for the request itself
				mu.Unlock()
				assert.LessOrEqual(t, work, 6, "%s %s", method, path)
				least, most = min(least, work), max(most, work)
				if path == "/chat/"+code {
					assert.Contains(t, res.body, "The last one", "the page has the looks of the brand of its code")
				}
			}
		}
	}
	assert.LessOrEqual(t, most, 10*least)
}

// trap S10: forged tickets leave a bounded number of lines for each address, and the ones of
// others still leave theirs.
func TestRefusalsInTheLog(t *testing.T) {
	w := newWorld(t, func(c *Config) {
		c.Proxies = Proxies{Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	})
	chat := w.chatPath("commbox", "web")
	used := w.ticket(w.key, reference)
	require.Equal(t, http.StatusSeeOther, w.client().get("/login?ta="+used).status)
	from := func(address, target string) {
		res := w.client().do(http.MethodGet, target, nil, map[string]string{"X-Forwarded-For": address})
		require.Equal(t, http.StatusForbidden, res.status)
	}
	lines := func() int { return strings.Count(w.log.String(), "\n") }
	const tries = 300
	for _, target := range []string{"/login?ta=tkt1_x", chat + "?ta=x", "/login?ta=" + used, "/login?ta=a&ta=b"} {
		for i, address := range []string{"192.0.2.1", "2001:db8::%d", "nonsense"} {
			before := lines()
			for n := range tries {
				if strings.Contains(address, "%d") {
					from(fmt.Sprintf(address, n+1), target) // one network of one customer
				} else {
					from(address, target)
				}
			}
			assert.LessOrEqual(t, lines()-before, lineLimit.Burst, "%s %d", target, i)
		}
	}
	assert.NotContains(t, w.log.String(), "more refusals than are logged")
	before := lines()
	from("192.0.2.2", "/login?ta=x")
	assert.Equal(t, 1, lines()-before, "another address has its lines")
	w.ns.Add(int64(10 * time.Second))
	before = lines()
	from("192.0.2.1", "/login?ta=x")
	assert.Equal(t, 1, lines()-before, "a calmer one has its lines again")
	w.ns.Add(int64(50 * time.Second))
	before = lines()
	from("192.0.2.3", "/login?ta=x")
	assert.Equal(t, 2, lines()-before, "the rest is told by its number, once")
	const refusals = 4 * 3 * tries
	assert.Contains(t, w.log.String(), fmt.Sprintf("kind=ticket more=%d ", refusals-3*lineLimit.Burst))
}
