package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/internal/servers"
)

// administer runs a command that must succeed, and returns what it prints.
func administer(t *testing.T, args ...string) string {
	t.Helper()
	var stdout, stderr strings.Builder
	require.Equal(t, exitOK, run(t.Context(), args, &stdout, &stderr), stderr.String())
	return strings.TrimSuffix(stdout.String(), "\n")
}

// From an empty folder to a service, administered by commands while it runs; on
// both databases.
func TestAdministration(t *testing.T) {
	t.Parallel()
	for _, database := range []string{"sqlite", "postgres"} {
		t.Run(database, func(t *testing.T) {
			where := []string{"--data", t.TempDir()}
			if database == "postgres" {
				where = append(where, "--database", servers.Database(t))
			}
			do := func(args ...string) string { return administer(t, append(args, where...)...) }
			do("init")
			address := freeAddress(t)
			url := "http://" + address
			p := start(t, append([]string{"serve", "--listen", address}, where...)...)
			healthy(t, p, url)

			do("brand", "add", "commbox", "--region", "GB")
			do("agent", "add", "john.d", "--brand", "commbox", "--email", "john.d@gmail.com")
			key := do("apikey", "add", "--brands", "commbox")
			info := demoInfo{URL: url, APIKey: key, LoginURL: url + "/login"}
			const body = `{"brand":"commbox","username":"john.d","email":"john.d@gmail.com","oneTimeUse":true}`
			assert.Equal(t, http.StatusSeeOther, mustEnter(t, info.LoginURL, info.ticket(t, body)))

			// answers wants an answer to a request for a ticket after a change: at once, and with
			// PostgreSQL soon.
			answers := func(status string) {
				t.Helper()
				right := func() bool {
					_, err := info.tryTicket(body)
					return fmt.Sprint(err) == status
				}
				if database == "sqlite" {
					assert.True(t, right(), status)
				} else {
					require.Eventually(t, right, time.Minute, 5*time.Millisecond, status)
				}
			}
			const granted = "<nil>"
			before := info.ticket(t, body)
			do("agent", "set", "john.d", "--brand", "commbox", "--active=false")
			answers("status 404")
			assert.Equal(t, http.StatusForbidden, mustEnter(t, info.LoginURL, before))
			do("agent", "set", "john.d", "--brand", "commbox", "--active")
			answers(granted)
			assert.Equal(t, http.StatusForbidden, mustEnter(t, info.LoginURL, before), "the ticket is of before the return")

			do("channel", "add", "webchat", "--brand", "commbox")
			chat := do("channel", "url", "webchat", "--brand", "commbox", "--public-url", url)
			assert.Equal(t, http.StatusSeeOther, mustEnter(t, chat,
				info.ticket(t, `{"brand":"commbox","email":"jane@example.com"}`)))
			assert.Contains(t, do("customer", "find", "--brand", "commbox", "--email", "JANE@example.com", "--json"),
				`"email":"jane@example.com"`)

			id := strings.Split(key, "_")[1]
			do("apikey", "revoke", id)
			answers("status 401")
			p.logs("API key revoked")
			assert.Equal(t, 0, p.end(syscall.SIGTERM))
		})
	}
}

// A hundred thousand agents, while a service issues tickets.
func TestImportMany(t *testing.T) {
	t.Parallel()
	n := 100_000
	if testing.Short() {
		n = 2_000
	}
	path := filepath.Join(t.TempDir(), "agents.csv")
	f, err := os.Create(path)
	require.NoError(t, err)
	w := bufio.NewWriter(f)
	fmt.Fprintln(w, "username,email,phone1,uniqueId,firstName,lastName,groups")
	for i := range n {
		fmt.Fprintf(w, "agent.%d,agent.%d@example.com,+4420%08d,id-%d,First %d,Last %d,\"sales,support\"\n", i, i, i, i, i, i)
	}
	require.NoError(t, w.Flush())
	require.NoError(t, f.Close())

	dir := t.TempDir()
	p, info := startDemo(t, "--data", dir)
	done := make(chan string)
	go func() {
		var stdout, stderr strings.Builder
		args := []string{"agent", "import", path, "--brand", "commbox", "--data", dir, "--json"}
		if run(t.Context(), args, &stdout, &stderr) != exitOK {
			stdout.WriteString(stderr.String())
		}
		done <- stdout.String()
	}()
	issued := 0
	for out := ""; out == ""; {
		select {
		case out = <-done:
			var did struct {
				Imported, Added int
				Seconds         float64
			}
			require.NoError(t, json.Unmarshal([]byte(out), &did), out)
			assert.Equal(t, n, did.Imported)
			assert.Equal(t, n, did.Added)
			t.Logf("%d agents in %.1f s; %d tickets issued meanwhile", n, did.Seconds, issued)
		default:
			_, err := info.tryTicket(info.request(true))
			if err != nil && p.busy() {
				continue
			}
			require.NoError(t, err)
			issued++
		}
	}
	last := fmt.Sprintf(`{"brand":"commbox","username":"agent.%d","phone1":"4420%08d"}`, n-1, n-1)
	assert.Equal(t, http.StatusSeeOther, mustEnter(t, info.LoginURL, info.ticket(t, last)))
	assert.Equal(t, 0, p.end(syscall.SIGTERM))
}
