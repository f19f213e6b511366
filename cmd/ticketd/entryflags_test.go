package main

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Tickets in the older form, and other names of the check's headers: neither without
// being asked for, both from the file, at once, as from flags and the environment.
func TestDoorSettings(t *testing.T) {
	t.Parallel()
	dir, address := t.TempDir(), freeAddress(t)
	ask := func(c *http.Client, u string) *http.Response {
		t.Helper()
		res, err := c.Get(u)
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, res.Body)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		return res
	}
	person := func() *http.Client {
		jar, err := cookiejar.New(nil)
		require.NoError(t, err)
		return &http.Client{
			Jar:           jar,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	p, info := startDemo(t, "--data", dir, "--listen", address)
	ticket := info.ticket(t, info.request(true))
	assert.Equal(t, http.StatusForbidden, ask(person(), info.LoginURL+"?=TA"+ticket).StatusCode)
	john := person()
	assert.Equal(t, http.StatusSeeOther, ask(john, info.LoginURL+"?ta="+ticket).StatusCode, "it was not spent")
	check := ask(john, info.URL+"/auth/brand/commbox/check")
	assert.Equal(t, "john.d", check.Header.Get("Remote-User"))
	assert.Equal(t, 0, p.end(syscall.SIGTERM))

	// enters tries one more ticket and returns what the check says of who came.
	home := "login"
	enters := func() http.Header {
		t.Helper()
		ticket := info.ticket(t, info.request(true))
		john := person()
		res := ask(john, info.LoginURL+"?=TA"+strings.ReplaceAll(ticket, "_", "%255F"))
		require.Equal(t, http.StatusSeeOther, res.StatusCode)
		assert.Equal(t, home, res.Header.Get("Location"))
		assert.Equal(t, http.StatusForbidden, ask(person(), info.LoginURL+"?ta="+ticket).StatusCode,
			"in either form it is the same ticket")
		assert.NotContains(t, p.stderr.String(), ticket[10:])
		check := ask(john, info.URL+"/auth/brand/commbox/check")
		assert.Equal(t, http.StatusOK, check.StatusCode)
		nobody := ask(person(), info.URL+"/auth/brand/commbox/check")
		assert.Equal(t, http.StatusUnauthorized, nobody.StatusCode)
		for name := range check.Header {
			assert.Contains(t, nobody.Header, name, "trap W5: also for nobody")
		}
		return check.Header
	}

	file := filepath.Join(t.TempDir(), "ticketd.yaml")
	write := func(text string) {
		require.NoError(t, os.WriteFile(file+".new",
			[]byte("data: "+dir+"\nlisten: "+address+"\nnameless-ticket: true\n"+text), 0o600))
		require.NoError(t, os.Rename(file+".new", file))
	}
	write("check-headers: [user=X-User, ticket-id = x-ticket]\n")
	p = start(t, "serve", "--config", file)
	healthy(t, p, info.URL)
	header := enters()
	assert.Equal(t, []string{"john.d"}, header.Values("X-User"))
	assert.Regexp(t, "^[0-9a-f]{32}$", header.Get("X-Ticket"))
	assert.Equal(t, []string{"John Doe"}, header.Values("Remote-Name"))
	assert.NotContains(t, header, "Remote-User")
	assert.NotContains(t, header, "Admitone-Ticket-Id")

	write("check-headers: user=X-Login\n")
	p.logs("changed=check-headers")
	header = enters()
	assert.Equal(t, []string{"john.d"}, header.Values("X-Login"))
	assert.NotContains(t, header, "X-User")
	home = "/inbox?a=1"
	write("check-headers: user=X-Login\nagent-home: /inbox?a=1\n")
	p.logs("changed=agent-home")
	enters()
	write("check-headers: user=X-Login\nagent-home: //evil.example\n")
	p.logs("is not a path of this site")
	write("check-headers: user=X_Login\n")
	p.logs("cannot be a header's name")
	assert.Contains(t, enters(), "X-Login", "those before stay in effect")
	assert.Equal(t, 0, p.end(syscall.SIGTERM))

	home = "/"
	p, _ = startDemoWith(t, []string{"ADMITONE_NAMELESS_TICKET=true"}, "--data", dir, "--listen", address,
		"--check-headers", "user=X-User", "--agent-home", "/")
	assert.Equal(t, []string{"john.d"}, enters().Values("X-User"))
	res := ask(person(), info.LoginURL+"?next=/other&ta="+info.ticket(t, info.request(true)))
	assert.Equal(t, "/other", res.Header.Get("Location"))
	res = ask(person(), info.ChatURL+"?ta="+info.ticket(t, `{"brand":"commbox","email":"jane@example.com"}`))
	assert.NotEqual(t, "/", res.Header.Get("Location"), "customers stay in their chat")
	assert.Equal(t, http.StatusSeeOther, res.StatusCode)
	assert.Equal(t, 0, p.end(syscall.SIGTERM))
}
