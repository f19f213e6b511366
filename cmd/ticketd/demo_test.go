package main

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDemo(t *testing.T) {
	t.Parallel()
	p, info := startDemo(t)
	assert.Equal(t, demoInfo{
		ConsoleURL: info.ConsoleURL, URL: info.URL, APIKey: info.APIKey, Brand: "commbox", Agent: john, Channel: "webchat",
		LoginURL: info.URL + "/login", ChatURL: info.ChatURL,
	}, info)
	assert.Regexp(t, `^http://127\.0\.0\.1:\d+$`, info.URL)
	assert.Regexp(t, `^adm_[a-z0-9]{10}_[a-z0-9]+$`, info.APIKey)
	assert.True(t, strings.HasPrefix(info.ChatURL, info.URL+"/chat/"))

	ticket := info.ticket(t, info.request(true))
	assert.LessOrEqual(t, len(ticket), 200)
	assert.Equal(t, http.StatusSeeOther, mustEnter(t, info.LoginURL, ticket))
	assert.Equal(t, http.StatusForbidden, mustEnter(t, info.LoginURL, ticket))

	chat := info.ticket(t, `{"brand":"commbox","uniqueId":"c-1","oneTimeUse":true}`)
	assert.Equal(t, http.StatusForbidden, mustEnter(t, info.LoginURL, chat))
	assert.Equal(t, http.StatusSeeOther, mustEnter(t, info.ChatURL, chat))
	assert.Equal(t, http.StatusForbidden, mustEnter(t, info.ChatURL, chat))

	many := info.ticket(t, info.request(false))
	for range 3 {
		assert.Equal(t, http.StatusSeeOther, mustEnter(t, info.LoginURL, many))
	}
	assert.Equal(t, 0, p.end(syscall.SIGTERM), p.stderr.String())
	log := p.stderr.String()
	for _, secret := range []string{ticket, chat, many, info.APIKey} {
		assert.NotContains(t, log, secret[15:])
	}
	assert.Contains(t, log, `msg="ticket redeemed"`)
	left, err := os.ReadDir(p.tmp)
	require.NoError(t, err)
	assert.Empty(t, left, "a demo without --data leaves nothing")
}

// A hundred clients at once, one ticket, one of them enters.
// trap R18: against the whole service, over real connections.
func TestHundredAtOnce(t *testing.T) {
	t.Parallel()
	p, info := startDemo(t)
	for range 5 {
		ticket := info.ticket(t, info.request(true))
		var entered, refused atomic.Int32
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				status, _, err := enter(info.LoginURL, ticket)
				for err == nil && status == http.StatusServiceUnavailable && p.busy() {
					status, _, err = enter(info.LoginURL, ticket)
				}
				assert.NoError(t, err)
				switch status {
				case http.StatusSeeOther:
					entered.Add(1)
				case http.StatusForbidden:
					refused.Add(1)
				}
			})
		}
		wg.Wait()
		assert.EqualValues(t, 1, entered.Load())
		assert.EqualValues(t, 99, refused.Load())
	}
}

func TestDemoInterrupted(t *testing.T) {
	t.Parallel()
	for _, signal := range []os.Signal{os.Interrupt, syscall.SIGHUP} {
		p, _ := startDemo(t)
		assert.Equal(t, 0, p.end(signal), p.stderr.String())
		left, err := os.ReadDir(p.tmp)
		require.NoError(t, err)
		assert.Empty(t, left)
	}
}

// With a longest lifetime below the ordinary ones, tickets live that long.
func TestShortLifetimes(t *testing.T) {
	t.Parallel()
	_, info := startDemo(t, "--max-lifetime", "59s")
	assert.Equal(t, http.StatusSeeOther, mustEnter(t, info.LoginURL, info.ticket(t, ordinary(info.request(true)))))
	assert.Equal(t, http.StatusSeeOther, mustEnter(t, info.ChatURL,
		info.ticket(t, `{"brand":"commbox","email":"a@b","expiresIn":59}`)))
	_, err := info.tryTicket(`{"brand":"commbox","email":"a@b","expiresIn":60}`)
	assert.Error(t, err)
}

// The curl lines that the demo prints work when they are pasted into a shell.
func TestDemoText(t *testing.T) {
	t.Parallel()
	needs(t, "curl")
	p := start(t, "demo")
	var text strings.Builder
	for !strings.Contains(text.String(), "Ctrl-C") {
		line, err := p.stdout.ReadString('\n')
		require.NoError(t, err, p.stderr.String())
		text.WriteString(line)
	}
	assert.Regexp(t, `^Console, for the administrator admin, good once and for 300 seconds:

  http://127\.0\.0\.1:\d+/console/enter\?ta=tkt1_\S+\n`, text.String(), "the console's link comes first")
	lines := regexp.MustCompile(`(?m)^ +(curl .*)$`).FindAllStringSubmatch(text.String(), -1)
	pages := regexp.MustCompile(`(?m)^ +(http://\S+)\?ta=TICKET$`).FindAllStringSubmatch(text.String(), -1)
	require.Len(t, lines, 2)
	require.Len(t, pages, 2)
	for i := range lines {
		out, err := exec.Command("sh", "-c", lines[i][1]).Output()
		require.NoError(t, err)
		var e struct {
			Data struct{ EncpryptedString string }
		}
		require.NoError(t, json.Unmarshal(out, &e), string(out))
		assert.Equal(t, http.StatusSeeOther, mustEnter(t, pages[i][1], e.Data.EncpryptedString))
		assert.Equal(t, http.StatusForbidden, mustEnter(t, pages[i][1], e.Data.EncpryptedString))
	}
}

// The demo keeps its state in --data, serve starts from it, and what was issued
// before a restart is refused if it could have been redeemed before.
// trap R2: with real processes.
func TestDemoKeepsItsData(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new")
	p, first := startDemo(t, "--data", dir)
	spent, unspent := first.ticket(t, first.request(true)), first.ticket(t, first.request(true))
	many := first.ticket(t, first.request(false))
	require.Equal(t, http.StatusSeeOther, mustEnter(t, first.LoginURL, spent))

	second := start(t, "demo", "--data", dir)
	assert.Equal(t, 1, second.wait(), "two processes cannot use one folder")
	assert.Contains(t, second.stderr.String(), "another ticketd uses")
	require.Equal(t, 0, p.end(syscall.SIGTERM))

	p, again := startDemo(t, "--data", dir, "--listen", strings.TrimPrefix(first.URL, "http://"))
	first.ConsoleURL = again.ConsoleURL // each start makes another link
	assert.Equal(t, first, again, "the same address, API key and chat URL")
	assert.Equal(t, http.StatusForbidden, mustEnter(t, again.LoginURL, spent))
	assert.Equal(t, http.StatusForbidden, mustEnter(t, again.LoginURL, unspent))
	p.logs("reason=issued_before_start")
	assert.Equal(t, http.StatusSeeOther, mustEnter(t, again.LoginURL, many), "what may be used many times survives")
	assert.Equal(t, http.StatusSeeOther, mustEnter(t, again.LoginURL, again.ticket(t, again.request(true))))
	require.Equal(t, 0, p.end(syscall.SIGTERM))

	serve := func() *process {
		p := start(t, "serve", "--data", dir, "--listen", strings.TrimPrefix(first.URL, "http://"))
		require.Eventually(t, func() bool {
			res, err := http.Get(first.URL + "/healthz")
			return err == nil && res.Body.Close() == nil && res.StatusCode == http.StatusOK
		}, time.Minute, 10*time.Millisecond)
		return p
	}
	p = serve()
	spent, unspent = first.ticket(t, first.request(true)), first.ticket(t, first.request(true))
	assert.Equal(t, http.StatusSeeOther, mustEnter(t, first.LoginURL, spent))
	require.Equal(t, 0, p.end(syscall.SIGTERM))

	// serve keeps a journal: a restart forgets nothing and refuses nothing good.
	p = serve()
	assert.Equal(t, http.StatusForbidden, mustEnter(t, first.LoginURL, spent))
	p.logs("reason=already_used")
	assert.Equal(t, http.StatusSeeOther, mustEnter(t, first.LoginURL, unspent))
	spent = first.ticket(t, first.request(true))
	require.Equal(t, 0, p.end(syscall.SIGTERM))

	// What another store admitted meanwhile, the journal does not know, and refuses.
	p, _ = startDemo(t, "--data", dir, "--listen", strings.TrimPrefix(first.URL, "http://"))
	assert.Equal(t, http.StatusForbidden, mustEnter(t, first.LoginURL, spent))
	spent = first.ticket(t, first.request(true))
	assert.Equal(t, http.StatusSeeOther, mustEnter(t, first.LoginURL, spent))
	require.Equal(t, 0, p.end(syscall.SIGTERM))
	p = serve()
	assert.Equal(t, http.StatusForbidden, mustEnter(t, first.LoginURL, spent))
	assert.Equal(t, http.StatusSeeOther, mustEnter(t, first.LoginURL, first.ticket(t, first.request(true))))
	require.Equal(t, 0, p.end(syscall.SIGTERM))

	require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		require.NoError(t, err)
		info, err := d.Info()
		require.NoError(t, err)
		assert.Zero(t, info.Mode().Perm()&0o077, "%s is nobody else's", path)
		return nil
	}))
}

// Behind TLS the cookies are Secure and bound to the host.
func TestPublicURL(t *testing.T) {
	t.Parallel()
	p, info := startDemo(t, "--public-url", "https://login.example.com")
	assert.Equal(t, "https://login.example.com/login", info.LoginURL)
	address := regexp.MustCompile(`address=(\S+)`)
	require.Eventually(t, func() bool { return address.MatchString(p.stderr.String()) }, time.Minute, time.Millisecond)
	local := "http://" + address.FindStringSubmatch(p.stderr.String())[1]
	info.URL = local
	_, res, err := enter(local+"/login", info.ticket(t, info.request(true)))
	require.NoError(t, err)
	require.Len(t, res.Cookies(), 1)
	assert.True(t, res.Cookies()[0].Secure)
	assert.Equal(t, "__Host-admitone-agent", res.Cookies()[0].Name)
	assert.Equal(t, "login", res.Header.Get("Location"))
}
