package main

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/internal/servers"
)

// statusOf asks for a ticket and returns the status and the ticket.
func statusOf(t *testing.T, info demoInfo, key, body string) (int, string) {
	info.APIKey = key
	ticket, err := info.tryTicket(body)
	if err == nil {
		return http.StatusOK, ticket
	}
	status := 0
	_, scanned := fmt.Sscanf(err.Error(), "status %d", &status)
	assert.NoError(t, scanned, "a request was not answered: %v", err)
	return status, ""
}

// The directory's PostgreSQL is stopped, killed and frozen under load, and comes
// back: meanwhile no answer is wrong, and after that all is as before, without a
// restart.
// trap R24: an outage of the directory is not told as a refusal.
func TestDirectoryOutage(t *testing.T) {
	t.Parallel()
	postgres := servers.PostgreSQL(t)
	p, info := startDemo(t, "--database", postgres.URL)
	administer(t, "agent", "add", "gone", "--brand", "commbox", "--email", "gone@example.com", "--database", postgres.URL)
	gone := info.ticket(t, `{"brand":"commbox","username":"gone","email":"gone@example.com","expiresIn":900}`)
	administer(t, "agent", "set", "gone", "--brand", "commbox", "--active=false", "--database", postgres.URL)
	revoked := administer(t, "apikey", "add", "--brands", "commbox", "--database", postgres.URL)
	administer(t, "apikey", "revoke", strings.Split(revoked, "_")[1], "--database", postgres.URL)
	// A change is in force within a second.
	require.Eventually(t, func() bool {
		ofGone, _ := statusOf(t, info, info.APIKey, `{"brand":"commbox","username":"gone","email":"gone@example.com"}`)
		ofRevoked, _ := statusOf(t, info, revoked, info.request(true))
		return ofGone == http.StatusNotFound && ofRevoked == http.StatusUnauthorized
	}, time.Minute, 50*time.Millisecond)

	var stop atomic.Bool
	var good, failed, customers atomic.Int64
	var wg sync.WaitGroup
	// oneOf counts what was answered, and says whether it was the right answer.
	oneOf := func(status, right int) bool {
		switch status {
		case right:
			good.Add(1)
		case http.StatusServiceUnavailable:
			failed.Add(1)
		default:
			assert.Fail(t, "a wrong answer", "status %d, not %d", status, right)
			stop.Store(true)
		}
		return status == right
	}
	mustAnswer := func(url, ticket string) int {
		status, _, err := enter(url, ticket)
		assert.NoError(t, err, "a request was not answered")
		return status
	}
	load := func(do func(n int64)) {
		for range 2 {
			wg.Go(func() {
				for !stop.Load() {
					do(customers.Add(1))
				}
			})
		}
	}
	load(func(int64) {
		status, ticket := statusOf(t, info, info.APIKey, info.request(true))
		if !oneOf(status, http.StatusOK) {
			return
		}
		for !stop.Load() && !oneOf(mustAnswer(info.LoginURL, ticket), http.StatusSeeOther) {
		}
		if !stop.Load() {
			oneOf(mustAnswer(info.LoginURL, ticket), http.StatusForbidden)
		}
	})
	load(func(n int64) {
		status, ticket := statusOf(t, info, info.APIKey,
			fmt.Sprintf(`{"brand":"commbox","uniqueId":"c-%d","expiresIn":900,"oneTimeUse":true}`, n))
		if !oneOf(status, http.StatusOK) {
			return
		}
		for !stop.Load() && !oneOf(mustAnswer(info.ChatURL, ticket), http.StatusSeeOther) {
		}
	})
	load(func(int64) {
		status, _ := statusOf(t, info, info.APIKey, `{"brand":"commbox","username":"john.d","email":"other@example.com"}`)
		oneOf(status, http.StatusNotFound)
		if status, _ = statusOf(t, info, revoked, info.request(true)); status != http.StatusTooManyRequests {
			oneOf(status, http.StatusUnauthorized)
		}
		oneOf(mustAnswer(info.LoginURL, gone), http.StatusForbidden)
	})
	more := func(n *atomic.Int64) {
		t.Helper()
		from := n.Load()
		require.Eventually(t, func() bool { return stop.Load() || n.Load() > from+20 }, time.Minute, 5*time.Millisecond)
	}
	more(&good)
	assert.True(t, failed.Load() == 0 || p.busy())
	outages := []struct{ begin, end func() }{{postgres.Stop, postgres.Start}, {postgres.Kill, postgres.Start}}
	if !testing.Short() { // every answer that there is none takes its time
		outages = append(outages, struct{ begin, end func() }{postgres.Freeze, postgres.Thaw})
	}
	for _, outage := range outages {
		outage.begin()
		more(&failed)
		require.Eventually(t, func() bool {
			status, body := fetch(t, info.URL+"/readyz")
			return status == http.StatusServiceUnavailable && body == "not ready: directory\n"
		}, time.Minute, 20*time.Millisecond)
		outage.end()
		more(&good)
		require.Eventually(t, func() bool {
			status, _ := fetch(t, info.URL+"/readyz")
			return status == http.StatusOK
		}, time.Minute, 20*time.Millisecond)
	}
	stop.Store(true)
	wg.Wait()
	t.Logf("%d right answers, %d that there was none", good.Load(), failed.Load())

	// Each customer who entered has one record, however often it was tried.
	seen := make(map[string]bool)
	for line := range strings.Lines(administer(t, "customer", "list", "--brand", "commbox", "--json",
		"--database", postgres.URL)) {
		_, id, _ := strings.Cut(line, `"uniqueId":"`)
		id, _, _ = strings.Cut(id, `"`)
		assert.False(t, seen[id], id)
		seen[id] = true
	}
	assert.NotEmpty(t, seen)
	assert.Equal(t, 0, p.end(syscall.SIGTERM))
}
