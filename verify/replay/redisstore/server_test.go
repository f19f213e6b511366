//go:build unix

package redisstore

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/verify/replay"
)

// serverPrograms are those of redis-server and valkey-server that this machine
// has. Where it has none the test is skipped; with CI set it fails.
func serverPrograms(t testing.TB) (found []string) {
	t.Helper()
	for _, name := range []string{"redis-server", "valkey-server"} {
		if path, err := exec.LookPath(name); err == nil {
			found = append(found, path)
		}
	}
	if len(found) == 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("neither redis-server nor valkey-server is installed, and CI is set")
		}
		t.Skip("neither redis-server nor valkey-server is installed")
	}
	return found
}

// onEach runs a test on every kind of server that there is.
func onEach(t *testing.T, test func(t *testing.T, program string)) {
	t.Parallel()
	for _, program := range serverPrograms(t) {
		t.Run(filepath.Base(program), func(t *testing.T) {
			t.Parallel()
			test(t, program)
		})
	}
}

// durable are the options of a server that loses nothing in a crash of its own.
var durable = []string{"--appendonly", "yes", "--appendfsync", "always", "--save", ""}

// forgetful are those of one that keeps nothing.
var forgetful = []string{"--appendonly", "no", "--save", ""}

type server struct {
	t       testing.TB
	program string
	options []string
	dir     string
	port    int
	url     string // without user and password

	sentinel string // the configuration file, if this is a Sentinel

	log     bytes.Buffer
	mu      sync.Mutex // of command
	command *exec.Cmd
}

// startServer starts a server on a spare port of the loopback, and waits until
// it answers. It ends with the test.
func startServer(t testing.TB, program string, options ...string) *server {
	t.Helper()
	s := &server{t: t, program: program, options: options, dir: t.TempDir(), port: sparePort(t)}
	s.url = fmt.Sprintf("redis://127.0.0.1:%d", s.port)
	t.Cleanup(s.kill)
	s.start()
	return s
}

var (
	portsMu sync.Mutex
	ports   = map[int]bool{}
)

// sparePort returns one that is not in use, nor 10,000 above it, where a Cluster's
// node has its bus.
func sparePort(t testing.TB) int {
	t.Helper()
	portsMu.Lock()
	defer portsMu.Unlock()
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		port := l.Addr().(*net.TCPAddr).Port
		require.NoError(t, l.Close())
		port = 20000 + port%20000
		if ports[port] {
			continue
		}
		free := true
		for _, p := range []int{port, port + 10000} {
			if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p)); err != nil {
				free = false
			} else {
				_ = l.Close()
			}
		}
		if free {
			ports[port] = true
			return port
		}
	}
	t.Fatal("found no spare port")
	return 0
}

// start begins a process on the same port and directory.
func (s *server) start() {
	s.t.Helper()
	s.begin()
	s.waitUntilServing()
}

func (s *server) begin() {
	s.t.Helper()
	arguments := append([]string{"--bind", "127.0.0.1", "--port", fmt.Sprint(s.port), "--dir", s.dir}, s.options...)
	if s.sentinel != "" {
		arguments = []string{s.sentinel, "--sentinel", "--bind", "127.0.0.1", "--port", fmt.Sprint(s.port), "--dir", s.dir}
	}
	command := exec.Command(s.program, arguments...)
	s.log.Reset()
	command.Stdout, command.Stderr = &s.log, &s.log
	require.NoError(s.t, command.Start())
	s.mu.Lock()
	s.command = command
	s.mu.Unlock()
}

func (s *server) waitUntilServing() {
	s.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		c, err := net.DialTimeout("tcp", s.address(), time.Second)
		if err == nil {
			answer := make([]byte, 64)
			_ = c.SetDeadline(time.Now().Add(time.Second))
			_, _ = c.Write([]byte("PING\r\n"))
			n, _ := c.Read(answer)
			_ = c.Close()
			if a := string(answer[:n]); n > 0 && !strings.HasPrefix(a, "-LOADING") {
				return
			}
		}
		if time.Now().After(deadline) {
			s.kill()
			s.t.Fatalf("%s does not answer: %v\n%s", s.program, err, s.log.String())
		}
	}
}

func (s *server) address() string { return fmt.Sprintf("127.0.0.1:%d", s.port) }

// kill ends the process with SIGKILL, and returns when it has ended.
func (s *server) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.command != nil {
		_ = s.command.Process.Kill()
		_ = s.command.Wait()
		s.command = nil
	}
}

func (s *server) signal(signal syscall.Signal) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	require.NoError(s.t, s.command.Process.Signal(signal))
}

// do sends a command on a connection of its own, and wants no error. It returns
// the answer's text.
func (s *server) do(arguments ...string) string {
	s.t.Helper()
	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{s.address()}, ForceSingleClient: true, DisableCache: true})
	require.NoError(s.t, err)
	defer client.Close()
	return s.doOn(client, arguments...)
}

func (s *server) doOn(client rueidis.Client, arguments ...string) string {
	s.t.Helper()
	message, err := client.Do(context.Background(), client.B().Arbitrary(arguments...).Build()).ToMessage()
	require.NoError(s.t, err, "%v", arguments)
	value, err := message.ToAny()
	require.NoError(s.t, err)
	return fmt.Sprint(value)
}

// open opens a store for the rest of the test.
func open(t testing.TB, config Config) *Store {
	t.Helper()
	s, err := Open(context.Background(), config)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s
}

const (
	lifetime = 5 * time.Minute
	skew     = 10 * time.Second
)

// ticket returns the claim of a ticket issued now, by a clock that is ahead by
// all that the skew allows.
func ticket() replay.Claim {
	issued := time.Now().Add(skew)
	c := replay.Claim{
		NotBefore:   issued.Add(-skew),
		Expires:     issued.Add(lifetime),
		RetainUntil: issued.Add(lifetime + 3*skew + time.Minute),
	}
	_, _ = rand.Read(c.Nonce[:])
	return c
}

func claim(t testing.TB, s *Store, c replay.Claim) replay.Answer {
	t.Helper()
	a, err := s.Claim(context.Background(), c)
	require.NoError(t, err)
	return a
}

func status(t testing.TB, s *Store, c replay.Claim) string {
	t.Helper()
	return claim(t, s, c).Status.String()
}

// requireUnavailable wants the outage told as one.
func requireUnavailable(t testing.TB, a replay.Answer, err error) {
	t.Helper()
	require.ErrorIs(t, err, replay.ErrUnavailable)
	require.Equal(t, replay.Answer{}, a)
}

// settle waits until a ticket issued now is admitted.
func settle(t testing.TB, s *Store) {
	t.Helper()
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		a, err := s.Claim(context.Background(), ticket())
		require.NoError(c, err)
		require.Equal(c, replay.Admitted, a.Status)
	}, 20*time.Second, 20*time.Millisecond)
}
