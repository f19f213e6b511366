//go:build unix

package api

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
	"github.com/admitone/admitone/internal/servers"
)

// overrideUserInfo true, false and absent, for a new and an existing customer, by a
// browser and over the API, on both databases.
func TestOverrideUserInfo(t *testing.T) {
	if testing.Short() {
		t.Skip("with -short: it takes long, on one goroutine")
	}
	t.Parallel()
	for name, dsn := range map[string]func() string{
		"sqlite":   func() string { return filepath.Join(t.TempDir(), "directory.db") },
		"postgres": func() string { return servers.PostgreSQL(t, "-c", "fsync=off").URL },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorldOn(t, dsn())
			key := w.redeemKey("commbox")
			n := 0
			for _, exists := range []bool{false, true} {
				for _, override := range []string{"", `,"overrideUserInfo":false`, `,"overrideUserInfo":true`} {
					for _, browser := range []bool{false, true} {
						n++
						id := fmt.Sprint("id-", n)
						if exists {
							_, err := w.directory.AddCustomer(t.Context(),
								directory.Customer{Brand: "commbox", UniqueID: id, FirstName: "Jane", LastName: "Roe", Remark: "old"})
							require.NoError(t, err)
						}
						ticket := w.ticket(w.key, `{"brand":"commbox","uniqueId":"`+id+`","firstName":"Joan","remark":"new","phone1":"+44 250 765 `+fmt.Sprint(4000+n)+`"`+override+`}`)
						// Many-time tickets: each time says the same.
						for range 2 {
							if browser {
								require.Equal(t, http.StatusSeeOther, w.client().get(w.chatPath("commbox", "web")+"?ta="+ticket).status)
							} else {
								v := w.spend(redeemPath, key, map[string]any{"ticket": ticket, "audience": "customer", "channel": "web"})
								require.Equal(t, http.StatusOK, v.status, v.body)
							}
						}
						got, err := w.directory.FindCustomers(t.Context(), "commbox", directory.Customer{UniqueID: id})
						require.NoError(t, err)
						require.Len(t, got, 1)
						want := directory.Customer{Brand: "commbox", UniqueID: id, FirstName: "Joan", Remark: "new",
							Phone1: fmt.Sprint("+44250765", 4000+n)}
						switch {
						case exists && strings.HasSuffix(override, "true"):
							want.LastName = "Roe" // what the ticket does not say stays
						case exists:
							want = directory.Customer{Brand: "commbox", UniqueID: id, FirstName: "Jane", LastName: "Roe", Remark: "old"}
						}
						want.ID, want.RecordID, want.Revision = got[0].ID, got[0].RecordID, got[0].Revision
						want.Created, want.Updated = got[0].Created, got[0].Updated
						assert.Equal(t, want, got[0], "exists %v, %s, browser %v", exists, override, browser)
					}
				}
			}
		})
	}
}

// PostgreSQL is stopped and started under load: 503s meanwhile, never a
// wrong answer, and then all is well again without a restart.
// trap R24
func TestDirectoryComesBack(t *testing.T) {
	if testing.Short() {
		t.Skip("it stops and starts a server")
	}
	t.Parallel()
	server := servers.PostgreSQL(t, "-c", "fsync=off")
	w := newWorldOn(t, server.URL)
	key := w.redeemKey()
	var mu sync.Mutex
	statuses := make(map[string]int)
	count := func(what string, status int, allowed ...int) bool {
		mu.Lock()
		defer mu.Unlock()
		statuses[fmt.Sprint(what, " ", status)]++
		return assert.Contains(t, allowed, status, what)
	}
	var stop atomic.Bool
	var good atomic.Int64
	var wg sync.WaitGroup
	t.Cleanup(func() { stop.Store(true); wg.Wait() })
	for range 4 {
		wg.Go(func() {
			for !stop.Load() {
				res := w.ask(w.key, reference)
				if !count("issue", res.status, 200, 503) {
					return
				}
				// An agent who does not exist is never said to, nor the other way round.
				if !count("nobody", w.ask(w.key, `{"brand":"commbox","username":"nobody","email":"a@b"}`).status, 404, 503) {
					return
				}
				if !count("stranger", w.ask("adm_aaaaaaaaaa_"+strings.Repeat("a", 52), reference).status, 401, 429, 503) {
					return
				}
				if res.status != http.StatusOK {
					continue
				}
				ticket := res.body[strings.Index(res.body, "tkt1_"):strings.Index(res.body, `"}}`)]
				first := w.spend(redeemPath, key, map[string]any{"ticket": ticket, "audience": "agent"})
				if !count("redeem", first.status, 200, 503) {
					return
				}
				if first.status != http.StatusOK {
					continue
				}
				if !count("replay", w.spend(redeemPath, key, map[string]any{"ticket": ticket, "audience": "agent"}).status, 403,
					503) {
					return
				}
				good.Add(1)
			}
		})
	}
	more := func(what string) {
		t.Helper()
		was := good.Load()
		require.Eventually(t, func() bool { return good.Load() > was+10 }, 2*time.Minute, 10*time.Millisecond, what)
	}
	seen := func(what string) func() bool {
		return func() bool { mu.Lock(); defer mu.Unlock(); return statuses[what] > 3 }
	}
	more("before")
	server.Stop()
	require.Eventually(t, seen("issue 503"), 2*time.Minute, 10*time.Millisecond)
	server.Start()
	more("after a stop")
	server.Kill()
	server.Start()
	more("after a crash")
	stop.Store(true)
	wg.Wait()
	t.Log(statuses)
}
