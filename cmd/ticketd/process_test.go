package main

import (
	"bufio"
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

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
	return startProgram(t, env, exe, args...)
}

// startProgram starts a ticketd by another program.
func startProgram(t *testing.T, env []string, program string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(program, args...), ended: make(chan struct{}), tmp: t.TempDir()}
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
