package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/internal/servers"
)

// The tests run this very binary as ticketd, in processes of its own.
func TestMain(m *testing.M) {
	if os.Getenv("TICKETD_TEST_AS_MAIN") != "" {
		main()
		return
	}
	// Most of them wait for processes, time-outs and polls. The flag -parallel wins.
	_ = flag.Set("test.parallel", "6")
	transport := http.DefaultTransport.(*http.Transport)
	transport.MaxIdleConnsPerHost = 100 // of as many clients at once
	// All share it, so no httptest.Server may close its idle connections: one on which
	// an answer without a body has just come is idle before its client has the answer.
	http.DefaultTransport = struct{ http.RoundTripper }{transport}
	testscript.Main(everything{m}, map[string]func(){"ticketd": main})
}

// everything is all tests, and removes in the end what they share.
type everything struct{ *testing.M }

func (e everything) Run() int {
	defer servers.End()
	defer func() { _ = os.RemoveAll(shared.dir) }()
	return e.M.Run()
}

// shared is what is built once for all tests.
var shared struct {
	sync.Mutex
	dir, keyring string
}

// buildKeyring builds the keyring command, and returns its path.
func buildKeyring(t *testing.T) string {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.keyring == "" {
		dir, err := os.MkdirTemp("", "ticketd-test-")
		require.NoError(t, err)
		shared.dir = dir
		exe := filepath.Join(dir, "keyring")
		out, err := exec.Command("go", "build", "-o", exe, "../keyring").CombinedOutput()
		require.NoError(t, err, string(out))
		shared.keyring = exe
	}
	return shared.keyring
}

// environ is the environment of a ticketd.
func environ(more ...string) []string {
	return append(append(os.Environ(), "TICKETD_TEST_AS_MAIN=1", "ADMITONE_REALM=", "ADMITONE_KEK=",
		"GORACE="+os.Getenv("GORACE")+" atexit_sleep_ms=10"), more...) // else each waits for a second at its end
}

// process is a running ticketd.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdout *bufio.Reader
	stderr lockedBuffer
	ended  chan struct{}
	tmp    string // its TMPDIR
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *lockedBuffer) contains(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Contains(l.b.Bytes(), []byte(text))
}

func start(t *testing.T, args ...string) *process {
	t.Helper()
	return startWith(t, nil, args...)
}

// startWith starts a ticketd with more in its environment.
func startWith(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	p := &process{t: t, cmd: exec.Command(exe, args...), ended: make(chan struct{}), tmp: t.TempDir()}
	p.cmd.Env = environ(append(env, "TMPDIR="+p.tmp)...)
	p.cmd.Stderr = &p.stderr
	out, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	p.stdout = bufio.NewReader(out)
	require.NoError(t, p.cmd.Start())
	t.Cleanup(func() {
		select {
		case <-p.ended:
		default:
			_ = p.cmd.Process.Kill()
			_ = p.cmd.Wait()
		}
	})
	return p
}

// end signals the process and returns its exit code.
func (p *process) end(signal os.Signal) int {
	p.t.Helper()
	require.NoError(p.t, p.cmd.Process.Signal(signal))
	return p.wait()
}

// logs waits until the log, which arrives through a pipe, has a text.
func (p *process) logs(text string) {
	p.t.Helper()
	require.Eventually(p.t, func() bool { return p.stderr.contains(text) }, time.Minute, 2*time.Millisecond,
		"the log has no %q", text)
}

// busy reports, after an answer that there is none now, whether the log says why:
// on a machine that is too busy the directory's time-outs pass.
func (p *process) busy() bool {
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if p.stderr.contains("context deadline exceeded") || p.stderr.contains("interrupted (9)") {
			return true
		}
	}
	return false
}

func (p *process) wait() int {
	stuck := time.AfterFunc(time.Minute, func() { _ = p.cmd.Process.Kill() })
	defer stuck.Stop()
	_ = p.cmd.Wait()
	close(p.ended)
	return p.cmd.ProcessState.ExitCode()
}

// startDemo starts a demo with --json and returns what it prints. Tests ask as fast
// as they can.
func startDemo(t *testing.T, args ...string) (*process, demoInfo) {
	t.Helper()
	return startDemoWith(t, nil, args...)
}

func startDemoWith(t *testing.T, env []string, args ...string) (*process, demoInfo) {
	t.Helper()
	p := startWith(t, env, append([]string{"demo", "--json", "--rate-limit", "1e6", "--rate-burst", "1000000"},
		args...)...)
	line, err := p.stdout.ReadBytes('\n')
	require.NoError(t, err, p.stderr.String())
	var info demoInfo
	require.NoError(t, json.Unmarshal(line, &info))
	return p, info
}

// request asks for a ticket that outlives all pauses of a machine that is busy.
func (demoInfo) request(oneTime bool) string {
	return fmt.Sprintf(`{"data":{"brand":"commbox","username":"john.d","email":"john.d@gmail.com","uniqueId":"123456","firstName":"John","lastName":"Doe","phone1":"442501234567","expiresIn":900,"oneTimeUse":%v}}`, oneTime)
}

// ordinary makes a request one for a ticket that lives as long as the service has it.
func ordinary(request string) string { return strings.Replace(request, `"expiresIn":900,`, "", 1) }

// ticket asks for a ticket, which must be granted.
func (i demoInfo) ticket(t testing.TB, body string) string {
	t.Helper()
	ticket, err := i.tryTicket(body)
	require.NoError(t, err)
	return ticket
}

func (i demoInfo) tryTicket(body string) (string, error) {
	r, err := http.NewRequest(http.MethodPost, i.URL+"/auth/ticket", strings.NewReader(body))
	if err != nil {
		return "", err
	}
	r.Header.Set("Authorization", "Bearer "+i.APIKey)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	var e struct {
		Status string
		Data   struct{ EncpryptedString string }
	}
	if err := json.NewDecoder(res.Body).Decode(&e); err != nil {
		return "", err
	}
	if res.StatusCode != http.StatusOK || e.Status != "200" || e.Data.EncpryptedString == "" {
		return "", fmt.Errorf("status %d", res.StatusCode)
	}
	return e.Data.EncpryptedString, nil
}

// enter opens a URL with a ticket and returns the status.
func enter(pageURL, ticket string) (int, *http.Response, error) {
	c := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := c.Get(pageURL + "?ta=" + ticket)
	if err != nil {
		return 0, nil, err
	}
	_, err = io.Copy(io.Discard, res.Body)
	res.Body.Close()
	return res.StatusCode, res, err
}

func mustEnter(t testing.TB, pageURL, ticket string) int {
	t.Helper()
	status, _, err := enter(pageURL, ticket)
	require.NoError(t, err)
	return status
}

// needs skips a test where a program is missing; in CI that is a failure.
func needs(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is not installed", program)
		}
		t.Skipf("%s is not installed", program)
	}
	return path
}

// freeAddress returns an address of the loopback interface that nobody listens on,
// nor is given by chance.
func freeAddress(t testing.TB) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", servers.Port(t))
}

// healthy waits until a service answers.
func healthy(t testing.TB, p *process, url string) {
	t.Helper()
	answers := func() bool {
		res, err := http.Get(url + "/healthz")
		return err == nil && res.Body.Close() == nil && res.StatusCode == http.StatusOK
	}
	if !assert.Eventually(t, answers, time.Minute, 5*time.Millisecond) {
		t.Fatal(p.stderr.String())
	}
}
