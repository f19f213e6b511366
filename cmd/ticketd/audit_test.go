package main

import (
	"encoding/json"
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

// ticketd audit --follow prints the events there are, and then those of other processes.
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
		})
	}
}

// auditEvent is an event as ticketd audit --json prints it.
type auditEvent struct {
	Action, ActorKind, Brand, Reason, Ticket string
	At                                       time.Time
	Count                                    int
	Details                                  struct{ Since time.Time }
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

// Killed under load, the trail has each answered change, and each answered issue from before
// the time that its gap tells.
func TestAuditKilled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p, info := startDemo(t, "--data", dir, "--listen", freeAddress(t))
	var wg sync.WaitGroup
	var mu sync.Mutex
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
				done := i%8 == 0 && revoke(ticket)
				mu.Lock()
				issued = append(issued, at)
				if done {
					revoked++
				}
				mu.Unlock()
			}
		})
	}
	begun := time.Now()
	require.Eventually(t, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return revoked >= 20 && len(issued) >= 300 && time.Since(begun) > 2*time.Second
	}, time.Minute, time.Millisecond)
	require.NoError(t, p.cmd.Process.Kill())
	p.wait()
	wg.Wait()

	p = start(t, "serve", "--data", dir, "--listen", strings.TrimPrefix(info.URL, "http://"))
	healthy(t, p, info.URL)
	require.Equal(t, 0, p.end(syscall.SIGTERM))
	count := make(map[string]int)
	var gap auditEvent
	events := audited(t, "--data", dir)
	for _, e := range events {
		count[e.Action]++
		if e.Action == "audit.gap" {
			gap = e
		}
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
	t.Logf("%d issues and %d revocations answered; %d issues before %v", len(issued), revoked, want, gap.Details.Since)
}
