//go:build unix

// Package servers is for tests only: it starts real database servers. These are
// PostgreSQL, PgBouncer, and Redis or Valkey, alone, in a Cluster and under Sentinel.
// Each server listens on a spare port of the loopback interface only and keeps its
// data in a directory of its own. The server ends with its test, or with the test's
// process if the process is killed.
//
// If a program is not installed, the test is skipped. With the environment variable
// CI set, the test fails instead, so that no test is left out in silence.
package servers

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is the time limit for an answer of a server. The limit is long, since the
// machine may be busy.
const patience = 3 * time.Minute

// missing skips the test, or fails it on CI.
func missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is not installed, and CI is set", what)
	}
	t.Skipf("%s is not installed", what)
}

// eventually waits until condition is nil.
func eventually(t testing.TB, what string, condition func() error) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		err := condition()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
	}
}

var ports struct {
	sync.Mutex
	file  *os.File // has a locked byte for each port taken
	taken map[int]bool
}

// Port returns a free port of the loopback interface. The port 10,000 above is free as
// well: a node of a Cluster has its bus there. Port returns no port twice, and no port
// that another running process got: a server takes a while until it listens, and may
// be stopped and started again. All ports are below the range that systems use for
// outgoing connections.
func Port(t testing.TB) int {
	t.Helper()
	ports.Lock()
	defer ports.Unlock()
	if ports.file == nil {
		file, err := os.OpenFile(filepath.Join(os.TempDir(), fmt.Sprintf("admitone-test-ports-%d", os.Getuid())),
			os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		ports.file, ports.taken = file, map[int]bool{}
	}
	free := func(port int) bool {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		return err == nil && l.Close() == nil
	}
	for range 1000 {
		port := 10000 + rand.IntN(10000)
		lock := syscall.Flock_t{Type: syscall.F_WRLCK, Start: int64(port), Len: 1} // ends with the process
		if !ports.taken[port] && syscall.FcntlFlock(ports.file.Fd(), syscall.F_SETLK, &lock) == nil && free(port) &&
			free(port+10000) {
			ports.taken[port] = true
			return port
		}
	}
	t.Fatal("there is no spare port")
	return 0
}

// process is the process of a server, which can end and begin again.
type process struct {
	mu    sync.Mutex
	cmd   *exec.Cmd
	ended chan struct{} // closed when cmd has ended
	log   string        // file
}

// begin starts the command, with its output in the log.
func (p *process) begin(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	log, err := os.Create(p.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	endWithParent(cmd.SysProcAttr)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	ended := make(chan struct{})
	p.cmd, p.ended = cmd, ended
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
}

// awaitAnswer calls ask, which asks the server, until the error is nil.
func (p *process) awaitAnswer(t testing.TB, ask func() error) {
	t.Helper()
	p.mu.Lock()
	cmd, ended := p.cmd, p.ended
	p.mu.Unlock()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		err := ask()
		if err == nil {
			return
		}
		select {
		case <-ended:
			t.Fatalf("%s has ended: %v\n%s", cmd, err, p.output())
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not answer: %v\n%s", cmd, err, p.output())
		}
	}
}

func (p *process) output() []byte {
	out, _ := os.ReadFile(p.log)
	return out
}

// end signals the process, if any, and returns when the process has ended.
func (p *process) end(signal syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Signal(signal)
	<-p.ended
	p.cmd = nil
}

// pid returns the process ID, or 0 without a process.
func (p *process) pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return 0
	}
	return p.cmd.Process.Pid
}
