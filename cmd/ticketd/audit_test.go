package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/internal/servers"
)

// ticketd audit --follow prints the events there are, and then those of other processes. With
// --url, a running service tells the events.
func TestAuditFollow(t *testing.T) {
	t.Parallel()
	for name, where := range map[string][]string{
		"sqlite":   {"--data", t.TempDir()},
		"postgres": {"--data", t.TempDir(), "--database", servers.Database(t)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			do := func(args ...string) {
				t.Helper()
				p := start(t, append(args, where...)...)
				require.Equal(t, 0, p.wait(), p.stderr.String())
			}
			do("init")
			do("brand", "add", "commbox")
			follow := start(t, append([]string{"audit", "--follow", "--brand", "commbox"}, where...)...)
			next := func() string {
				t.Helper()
				line, err := follow.stdout.ReadString('\n')
				require.NoError(t, err, follow.stderr.String())
				return line
			}
			assert.Contains(t, next(), " brand.add brand=commbox by=shell:")
			do("brand", "add", "acme")
			do("brand", "set", "commbox", "--region", "GB")
			assert.Contains(t, next(), " brand.set brand=commbox fields=region by=shell:")
			assert.Equal(t, 0, follow.end(os.Interrupt), follow.stderr.String())
			assert.Empty(t, follow.stderr.String())
			if name == "sqlite" {
				followByURL(t, where)
			}
		})
	}
}

func followByURL(t *testing.T, where []string) {
	key := administer(t, append([]string{"apikey", "add", "--brands", "commbox", "--scopes", "admin"}, where...)...)
	console := freeAddress(t)
	p := start(t, append([]string{"serve", "--listen", freeAddress(t), "--console-listen", console}, where...)...)
	p.logs("serving the console")
	follow := startWith(t, []string{"ADMITONE_API_KEY=" + key},
		"audit", "--follow", "--limit", "1", "--brand", "commbox", "--url", "http://"+console)
	line, err := follow.stdout.ReadString('\n')
	require.NoError(t, err, follow.stderr.String())
	assert.Contains(t, line, " key.add brand=commbox ")
	administer(t, append([]string{"brand", "add", "beta"}, where...)...)
	administer(t, append([]string{"brand", "set", "commbox", "--region", "DE"}, where...)...)
	line, err = follow.stdout.ReadString('\n')
	require.NoError(t, err, follow.stderr.String())
	assert.Contains(t, line, " brand.set brand=commbox fields=region by=shell:")
	assert.Equal(t, 0, follow.end(os.Interrupt), follow.stderr.String())
	assert.Equal(t, 0, p.end(os.Interrupt))
}

// auditEvent is an event as ticketd audit --json prints it.
type auditEvent struct {
	Action, ActorKind, Brand, Name, Reason, Ticket string
	At                                             time.Time
	Count                                          int
	Details                                        struct{ Since time.Time }
}

// audited returns the events that ticketd audit prints, the oldest first.
func audited(t *testing.T, args ...string) (events []auditEvent) {
	t.Helper()
	p := start(t, append([]string{"audit", "--json", "--limit", "1000000"}, args...)...)
	for decoder := json.NewDecoder(p.stdout); decoder.More(); {
		var e auditEvent
		require.NoError(t, decoder.Decode(&e))
		events = append(events, e)
	}
	require.Equal(t, 0, p.wait(), p.stderr.String())
	return events
}

// actions returns the actions of events.
func actions(events []auditEvent) (all []string) {
	for _, e := range events {
		all = append(all, e.Action)
	}
	return all
}

// The trail follows a ticket from its issue to its entry, while the service runs and whatever
// the level of the log.
func TestAuditTicket(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p, info := startDemo(t, "--data", dir, "--listen", freeAddress(t), "--log-level", "error")
	ticket := info.ticket(t, info.request(true))
	require.Equal(t, http.StatusSeeOther, mustEnter(t, info.LoginURL, ticket))
	for range 50 {
		require.Equal(t, http.StatusForbidden, mustEnter(t, info.LoginURL, ticket))
	}
	require.Eventually(t, func() bool { return len(audited(t, "--data", dir, "--ticket", ticket)) == 3 },
		time.Minute, 10*time.Millisecond)
	assert.Equal(t, 0, p.end(syscall.SIGTERM))
	assert.NotContains(t, p.stderr.String(), "ticket issued")
	events := audited(t, "--data", dir, "--ticket", ticket)
	assert.Equal(t, []string{"ticket.issue", "ticket.enter", "ticket.refuse", "ticket.refuse"}, actions(events))
	assert.Equal(t, 49, events[3].Count, "the equal refusals are one event")
	assert.NotContains(t, actions(audited(t, "--data", dir)), "audit.gap")
}

// Killed under load, the directory has each answered change of the administration with its
// event, and the trail each answered issue from before the time that its gap tells.
func TestAuditKilled(t *testing.T) {
	t.Parallel()
	for name, where := range map[string][]string{
		"sqlite":   {"--data", t.TempDir()},
		"postgres": {"--data", t.TempDir(), "--database", servers.Database(t)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			auditKilled(t, where)
		})
	}
}

// administration is the admin API, as its clients see it.
type administration struct{ url, key string }

// ask sends a request. ok is whether the service answered with success.
func (a administration) ask(method, path, body string) (answer map[string]any, ok bool) {
	r, err := http.NewRequest(method, a.url+"/admin/"+path, strings.NewReader(body))
	if err != nil {
		return nil, false
	}
	r.Header.Set("Authorization", "Bearer "+a.key)
	r.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, false
	}
	defer res.Body.Close()
	return answer, json.NewDecoder(res.Body).Decode(&answer) == nil && res.StatusCode < 300
}

// changed is what the service answered to the administration, until it was killed.
type changed struct {
	mu     sync.Mutex
	names  map[string]string // of agents that were added, with the last name that was set; "": removed
	keys   []string          // IDs of API keys that were added
	events map[string]int    // changes, by action and name
}

// keepChanging makes changes until the service is gone. Its agents' names begin so.
func (c *changed) keepChanging(a administration, prefix string) {
	const agents = "brands/commbox/agents"
	note := func(action, name string, set func()) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.events[action+" "+name]++
		set()
	}
	for i := 0; ; i++ {
		name := fmt.Sprintf("%s-%d", prefix, i)
		if _, ok := a.ask(http.MethodPost, agents, `{"username":"`+name+`"}`); !ok {
			return
		}
		note("agent.add", name, func() { c.names[name] = "-" })
		if _, ok := a.ask(http.MethodPatch, agents+"/"+name, `{"lastName":"Changed"}`); !ok {
			return
		}
		note("agent.set", name, func() { c.names[name] = "Changed" })
		key, ok := a.ask(http.MethodPost, "api-keys", `{"brands":["commbox"]}`)
		if !ok {
			return
		}
		id := fmt.Sprint(key["id"])
		note("key.add", id, func() { c.keys = append(c.keys, id) })
		if i%4 == 3 {
			if _, ok := a.ask(http.MethodDelete, agents+"/"+name, ""); !ok {
				// Whether it was made is not known.
				c.mu.Lock()
				delete(c.names, name)
				c.mu.Unlock()
				return
			}
			note("agent.remove", name, func() { c.names[name] = "" })
		}
	}
}

func auditKilled(t *testing.T, where []string) {
	p, info := startDemo(t, append([]string{"--listen", freeAddress(t)}, where...)...)
	console, _, _ := strings.Cut(info.ConsoleURL, "/console/enter?ta=")
	shell := start(t, append([]string{
		"apikey", "add", "--scopes", "admin", "--brands", "commbox", "--rate", "1e6", "--burst", "1000000",
	}, where...)...)
	key, err := shell.stdout.ReadString('\n')
	require.NoError(t, err)
	require.Zero(t, shell.wait(), shell.stderr.String())
	admin := administration{console, strings.TrimSpace(key)}

	var wg sync.WaitGroup
	done := &changed{names: make(map[string]string), events: make(map[string]int)}
	for _, prefix := range []string{"a", "b"} {
		wg.Go(func() { done.keepChanging(admin, prefix) })
	}
	var issued []time.Time // of the answers
	revoked := 0
	revoke := func(ticket string) bool {
		r, err := http.NewRequest(http.MethodPost, info.URL+"/auth/revoke", strings.NewReader(`{"ticket":"`+ticket+`"}`))
		require.NoError(t, err)
		r.Header.Set("Authorization", "Bearer "+info.APIKey)
		res, err := http.DefaultClient.Do(r)
		return err == nil && res.Body.Close() == nil && res.StatusCode == http.StatusOK
	}
	for range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				ticket, err := info.tryTicket(info.request(true))
				if err != nil { // it is killed
					return
				}
				at := time.Now()
				ok := i%8 == 0 && revoke(ticket)
				done.mu.Lock()
				issued = append(issued, at)
				if ok {
					revoked++
				}
				done.mu.Unlock()
			}
		})
	}
	begun := time.Now()
	require.Eventually(t, func() bool {
		done.mu.Lock()
		defer done.mu.Unlock()
		return revoked >= 20 && len(issued) >= 300 && len(done.names) >= 20 && time.Since(begun) > 2*time.Second
	}, time.Minute, time.Millisecond)
	require.NoError(t, p.cmd.Process.Kill())
	p.wait()
	wg.Wait()

	listen := strings.TrimPrefix(console, "http://")
	p = start(t, append([]string{
		"serve", "--listen", strings.TrimPrefix(info.URL, "http://"), "--console-listen", listen,
	}, where...)...)
	healthy(t, p, info.URL)
	for name, last := range done.names {
		agent, ok := admin.ask(http.MethodGet, "brands/commbox/agents/"+name, "")
		assert.Equal(t, last != "", ok, "agent %s: %v", name, agent)
		if last == "Changed" {
			assert.Equal(t, last, agent["lastName"], name)
		}
	}
	for _, id := range done.keys {
		_, ok := admin.ask(http.MethodGet, "api-keys/"+id, "")
		assert.True(t, ok, "API key %s", id)
	}
	require.Equal(t, 0, p.end(syscall.SIGTERM))

	count := make(map[string]int)
	var gap auditEvent
	events := audited(t, where...)
	for _, e := range events {
		count[e.Action]++
		count[e.Action+" "+e.Name]++
		if e.Action == "audit.gap" {
			gap = e
		}
	}
	for change, n := range done.events {
		assert.Equal(t, n, count[change], change)
	}
	assert.GreaterOrEqual(t, count["ticket.revoke"], revoked)
	require.Equal(t, 1, count["audit.gap"])
	known, want := 0, 0
	for _, e := range events {
		if e.Action == "ticket.issue" && e.At.Before(gap.Details.Since) {
			known++
		}
	}
	for _, at := range issued {
		if at.Before(gap.Details.Since) {
			want++
		}
	}
	assert.Positive(t, want)
	assert.GreaterOrEqual(t, known, want)
	t.Logf("%d changes, %d issues and %d revocations answered; %d issues before %v", len(done.events), len(issued),
		revoked, want, gap.Details.Since)
}
