package web

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify"
	"github.com/admitone/admitone/verify/replay"
)

// slow is a store that takes its time to answer.
type slow struct{ replay.Store }

func (s slow) Claim(ctx context.Context, c replay.Claim) (replay.Answer, error) {
	time.Sleep(30 * time.Millisecond)
	return s.Store.Claim(ctx, c)
}

// trap S12: however much work a refusal is, its page takes the same time. The clock is
// synctest's, which stands still while the program works.
func TestRefusalTime(t *testing.T) {
	for set, want := range map[time.Duration]time.Duration{0: RefusalTime, time.Second: time.Second} {
		w := newWorld(t)
		w.RefusalTime = set
		var err error
		w.Verifier, err = verify.New(verify.Config{
			Opener: w.opener, Realm: "prod", AnyBrand: true, Store: slow{w.store}, Now: w.clock.now,
		})
		require.NoError(t, err)
		w.Sessions = mustSessions(t, w.sessions)
		w.Admit = func(_ *http.Request, tk token.Ticket, _ verify.Use) (Entry, error) {
			time.Sleep(20 * time.Millisecond) // the directory
			if tk.Username == "jane.r" {
				return Entry{}, context.DeadlineExceeded
			}
			return Entry{}, nil
		}
		h, err := New(w.Config)
		require.NoError(t, err)
		used, expired := w.issue(nil), w.issue(nil)
		takes := func(status int, ctx context.Context, method, ticket string, header ...string) (took time.Duration) {
			synctest.Test(t, func(t *testing.T) {
				r := httptest.NewRequestWithContext(ctx, method, "/login", nil)
				if method == http.MethodPost {
					r = httptest.NewRequestWithContext(ctx, method, "/login", strings.NewReader("ta="+ticket))
					r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				} else {
					r.URL.RawQuery = "ta=" + ticket
				}
				for i := 0; i < len(header); i += 2 {
					r.Header.Set(header[i], header[i+1])
				}
				rec, start := httptest.NewRecorder(), time.Now()
				h.ServeHTTP(rec, r)
				took = time.Since(start)
				assert.Equal(t, status, rec.Code, ticket)
			})
			return took
		}
		always := context.Background()
		entry := takes(http.StatusSeeOther, always, http.MethodGet, used)
		assert.Equal(t, 50*time.Millisecond, entry, "nobody waits to enter")
		w.clock.add(token.AgentLifetime + time.Minute)
		fresh := w.issue(nil)
		takes(http.StatusSeeOther, always, http.MethodGet, fresh)
		for name, ticket := range map[string]string{
			"used": fresh, "expired": expired, "forged": fresh[:len(fresh)-6] + "AAAAAA",
			"unknown key":      "tkt1_AQAAAAA" + fresh[12:],
			"no ticket at all": "x", "empty": "", "two": "a&ta=b", "refused by the service": w.issue(jane),
		} {
			for _, method := range []string{http.MethodGet, http.MethodPost} {
				assert.Equal(t, want, takes(http.StatusForbidden, always, method, ticket), "%s %s", method, name)
			}
		}
		foreign := []string{"Sec-Fetch-Dest", "iframe", "Sec-Fetch-Site", "cross-site"}
		assert.Equal(t, want, takes(http.StatusForbidden, always, http.MethodGet, w.issue(nil), foreign...), "framed")
		gone, leave := context.WithCancel(always)
		leave()
		assert.Less(t, takes(http.StatusForbidden, gone, http.MethodGet, "x"), want, "nobody reads the page")
	}
	w := newWorld(t)
	w.RefusalTime, w.Sessions = -1, mustSessions(t, w.sessions)
	_, err := New(w.Config)
	assert.ErrorContains(t, err, "web.Config.RefusalTime is negative")
}
