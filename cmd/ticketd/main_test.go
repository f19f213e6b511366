package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
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

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/cmd/ticketd/internal/service"
	"github.com/admitone/admitone/keyring"
	"github.com/admitone/admitone/keyring/kms"
	"github.com/admitone/admitone/token"
)

func TestScripts(t *testing.T) {
	if testing.Short() {
		t.Skip("they start many processes, each of which does little")
	}
	scripts, err := filepath.Glob(filepath.Join("testdata", "*.txt"))
	require.NoError(t, err)
	require.NotEmpty(t, scripts)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("GORACE", "atexit_sleep_ms=10") // else each program waits for a second at its end
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){"apikeyid": cmdAPIKeyID},
	})
}

// cmdAPIKeyID sets a variable to the ID of the API key of a note, which apikey list
// --json has just printed: apikeyid VARIABLE NOTE
func cmdAPIKeyID(ts *testscript.TestScript, _ bool, args []string) {
	for line := range strings.Lines(ts.ReadFile("stdout")) {
		var key struct{ ID, Note string }
		ts.Check(json.Unmarshal([]byte(line), &key))
		if key.Note == args[1] {
			ts.Setenv(args[0], key.ID)
			return
		}
	}
	ts.Fatalf("no API key has the note %q", args[1])
}

func TestDemo(t *testing.T) {
	t.Parallel()
	p, info := startDemo(t)
	assert.Equal(t, demoInfo{
		URL: info.URL, APIKey: info.APIKey, Brand: "commbox", Agent: john, Channel: "webchat",
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

// A request that never ends does not hold up who asks twice.
func TestInterruptedTwice(t *testing.T) {
	t.Parallel()
	// Where this test is held up for as long as the grace, it tells nothing.
	for inTime := false; !inTime; {
		p, info := startDemo(t)
		c, err := net.Dial("tcp", strings.TrimPrefix(info.URL, "http://"))
		require.NoError(t, err)
		defer c.Close()
		_, err = fmt.Fprintf(c,
			"POST /auth/ticket HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: 100\r\n\r\n{", info.APIKey)
		require.NoError(t, err)
		require.Equal(t, http.StatusSeeOther, mustEnter(t, info.LoginURL, info.ticket(t, info.request(true))),
			"the stalled request is with the service by now")
		first := time.Now()
		require.NoError(t, p.cmd.Process.Signal(os.Interrupt))
		p.logs("msg=stopping")
		inTime = time.Since(first) < service.ShutdownGrace/2
		code := p.end(os.Interrupt)
		if inTime {
			assert.Equal(t, 128+int(syscall.SIGINT), code)
			assert.NotContains(t, p.stderr.String(), "still open after", "it did not wait for the grace to end")
		}
	}
}

// A data folder that lost a part is not made anew around the rest.
func TestDataLost(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p, _ := startDemo(t, "--data", dir)
	require.Equal(t, 0, p.end(syscall.SIGTERM))
	lose := func(name string) {
		require.NoError(t, os.Rename(filepath.Join(dir, name), filepath.Join(dir, "lost-"+name)))
	}
	lose("kek.key")
	p = start(t, "demo", "--data", dir)
	assert.Equal(t, 1, p.wait())
	assert.Contains(t, p.stderr.String(), "kek.key")
	assert.NoFileExists(t, filepath.Join(dir, "kek.key"), "a new one would open nothing")
	require.NoError(t, os.Rename(filepath.Join(dir, "lost-kek.key"), filepath.Join(dir, "kek.key")))
	lose("admitone.db")
	p = start(t, "serve", "--data", dir)
	assert.Equal(t, 1, p.wait())
	assert.Contains(t, p.stderr.String(), "admitone.db")
	assert.NoFileExists(t, filepath.Join(dir, "admitone.db"))
}

// trap K17: a keyring from before a rotation is refused after a restart as well.
func TestOlderKeyringPutBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p, _ := startDemo(t, "--data", dir)
	file := filepath.Join(dir, "ticket.keyring")
	older, err := os.ReadFile(file)
	require.NoError(t, err)
	kek, err := kms.Open("file:"+filepath.Join(dir, "kek.key"), nil)
	require.NoError(t, err)
	newer, err := keyring.Change(file, keyring.Config{Kind: keyring.Ticket, KEK: kek}, "",
		keyring.Step{Do: keyring.Rotate, Now: true})
	require.NoError(t, err)
	p.logs("generation=2 primary=" + newer.Primary.String())
	require.NoError(t, os.WriteFile(file+".older", older, 0o600))
	require.NoError(t, os.Rename(file+".older", file))
	p.logs("older file was put back")
	require.Equal(t, 0, p.end(syscall.SIGTERM))

	p = start(t, "demo", "--data", dir)
	assert.Equal(t, 1, p.wait())
	assert.Contains(t, p.stderr.String(), "ticket.keyring")
	assert.Contains(t, p.stderr.String(), "generation")

	require.NoError(t, os.WriteFile(filepath.Join(dir, "generations.json"), []byte("{"), 0o600))
	p = start(t, "demo", "--data", dir)
	assert.Equal(t, 1, p.wait())
	assert.Contains(t, p.stderr.String(), "generations.json")
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

// Rotating and disabling keys under load: no ticket fails, new ones carry the
// new key, and a disabled key's are refused.
// trap K8: as unknown_key, not as forged.
func TestRotate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p, info := startDemo(t, "--data", dir)
	kek, err := kms.Open("file:"+filepath.Join(dir, "kek.key"), nil)
	require.NoError(t, err)
	file := filepath.Join(dir, "ticket.keyring")
	config := keyring.Config{Kind: keyring.Ticket, KEK: kek}

	ctx, cancel := context.WithCancel(t.Context())
	var entered atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				ticket, err := info.tryTicket(info.request(true))
				if err != nil && p.busy() {
					continue
				}
				if !assert.NoError(t, err) {
					return
				}
				status, _, err := enter(info.LoginURL, ticket)
				if status == http.StatusServiceUnavailable && p.busy() {
					continue
				}
				if !assert.NoError(t, err) || !assert.Equal(t, http.StatusSeeOther, status) {
					return
				}
				entered.Add(1)
			}
		})
	}
	progress := func() {
		t.Helper()
		from := entered.Load()
		require.Eventually(t, func() bool { return entered.Load() > from+20 }, time.Minute, time.Millisecond)
	}
	progress()
	before := info.ticket(t, info.request(true))
	old, err := token.UnverifiedKeyID(before)
	require.NoError(t, err)
	for range 3 {
		state, err := keyring.Change(file, config, "", keyring.Step{Do: keyring.Rotate, Now: true})
		require.NoError(t, err)
		require.Eventually(t, func() bool {
			id, err := token.UnverifiedKeyID(info.ticket(t, info.request(false)))
			return err == nil && id == state.Primary
		}, time.Minute, 10*time.Millisecond, "new tickets carry the new key")
		progress()
	}
	assert.Equal(t, http.StatusSeeOther, mustEnter(t, info.LoginURL, before), "a retiring key still opens")
	cancel()
	wg.Wait()
	last := info.ticket(t, info.request(false))
	id, err := token.UnverifiedKeyID(last)
	require.NoError(t, err)
	_, err = keyring.Change(file, config, "", keyring.Step{Do: keyring.Rotate, Now: true})
	require.NoError(t, err)
	for _, k := range []token.KeyID{old, id} {
		_, err = keyring.Change(file, config, "", keyring.Step{Do: keyring.Disable, Key: k, Unsafe: true})
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool { return mustEnter(t, info.LoginURL, last) == http.StatusForbidden }, time.Minute,
		10*time.Millisecond)
	p.logs("reason=unknown_key")
	assert.Equal(t, http.StatusSeeOther, mustEnter(t, info.LoginURL, info.ticket(t, info.request(true))))
	require.Equal(t, 0, p.end(syscall.SIGTERM))
	log := p.stderr.String()
	assert.Equal(t, strings.Count(log, "reason=unknown_key"), strings.Count(log, "ticket refused"),
		"refused for no other reason")
}

func TestUsage(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts many processes, each of which does little")
	}
	t.Parallel()
	empty := t.TempDir()
	for _, row := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"--help"}, 0, ""},
		{[]string{"serve", "--help"}, 0, ""},
		{[]string{"serve"}, 2, "no data folder: give --data"},
		{[]string{"dance"}, 2, "unknown command"},
		{[]string{"demo", "now"}, 2, "unknown command"},
		{[]string{"demo", "--skew", "much"}, 2, "skew"},
		{[]string{"serve", "--data", filepath.Join(empty, "none")}, 1, "data folder"},
		{[]string{"serve", "--data", empty}, 1, "no directory"},
		{[]string{"demo", "--listen", "192.0.2.1:0"}, 1, "--listen"},
		{[]string{"demo", "--listen", "nowhere"}, 2, "--listen"},
		{[]string{"demo", "--public-url", "ftp://x"}, 2, "--public-url"},
		{[]string{"demo", "--public-url", "https://x/path"}, 2, "--public-url"},
		{[]string{"demo", "--public-url", "https://me@x"}, 2, "--public-url"},
		{[]string{"demo", "--max-lifetime", "0.5ms"}, 2, "--max-lifetime"},
		{[]string{"demo", "--max-lifetime", "-1s"}, 2, "--max-lifetime"},
		{[]string{"demo", "--skew=-1s"}, 2, "--skew"},
		{[]string{"demo", "--replicas", "0"}, 2, "--replicas"},
		{[]string{"demo", "--replicas", "2"}, 2, "give a shared store"},
		{[]string{"serve", "--data", empty, "--replicas", "2"}, 2, "give a shared store"},
		{[]string{"demo", "--replay", "memory:x"}, 2, "--replay is"},
		{[]string{"demo", "--replay", "redis:secret"}, 2, "--replay is"},
		{[]string{"demo", "--metrics-listen", "9464"}, 2, "--metrics-listen"},
		{[]string{"demo", "--metrics-listen", "192.0.2.1:0"}, 1, "--metrics-listen cannot be listened on; choose another address"},
		{[]string{"demo", "--replay", "redis://127.0.0.1:1"}, 1, "replay store"},
		{[]string{"demo", "--replay", "postgres://127.0.0.1:1/x"}, 1, "replay store"},
		{[]string{"demo", "--realm", strings.Repeat("r", 65)}, 2, "64 bytes"},
	} {
		p := start(t, row.args...)
		_, _ = io.Copy(io.Discard, p.stdout)
		assert.Equal(t, row.code, p.wait(), "%v: %s", row.args, p.stderr.String())
		assert.Contains(t, p.stderr.String(), row.says)
	}
	left, err := os.ReadDir(empty)
	require.NoError(t, err)
	for _, e := range left {
		assert.Equal(t, "ticketd.lock", e.Name(), "serve makes no state")
	}
}

// A data folder made with a longest lifetime is not served with a longer one.
func TestLifetimesMustFit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p, _ := startDemo(t, "--data", dir)
	require.Equal(t, 0, p.end(syscall.SIGTERM))
	p = start(t, "serve", "--data", dir, "--max-lifetime", "1h")
	assert.Equal(t, 1, p.wait())
	assert.Contains(t, p.stderr.String(), "--max-lifetime 1h0m0s exceeds")
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
