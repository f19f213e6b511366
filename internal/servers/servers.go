//go:build unix

// Package servers starts real database servers for tests: PostgreSQL, and Redis
// or Valkey, alone, in a Cluster and under Sentinel. Each listens on a spare port
// of the loopback interface only, keeps its data in a directory of its own, and
// ends with its test, or with the test's process if that is killed.
//
// Where a program is not installed, the test that asks for it is skipped; with
// the environment variable CI set it fails, so that nothing is left out in
// silence.
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

// patience is how long a server may take to do what is asked of it. It is long,
// since the machine may be busy.
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
	file  *os.File // in which each port that is taken is a locked byte
	taken map[int]bool
}

// Port returns a port of the loopback interface on which nobody listens, nor on
// the one 10,000 above it, where a node of a Cluster has its bus. It gives none
// twice, and none that it gave to another process that is still there: a server
// takes a while until it listens, and is stopped and started again. Ports are
// below those that systems choose for outgoing connections.
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

// process is a server's, which can be ended and begun again.
type process struct {
	mu    sync.Mutex
	cmd   *exec.Cmd
	ended chan struct{} // closed when cmd has
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

// awaitAnswer waits until ask, which asks the server, is content.
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

// end signals the process, if there is one, and returns when it has ended.
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

// pid is 0 if there is no process.
func (p *process) pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return 0
	}
	return p.cmd.Process.Pid
}
