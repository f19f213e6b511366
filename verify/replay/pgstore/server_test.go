package pgstore

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// A server is a PostgreSQL of the test's own, with fsync on, on a port of the
// loopback interface.
type server struct {
	dir  string
	port int
	args []string // beside the usual ones
	cmd  *exec.Cmd
	done chan struct{} // closed when the postmaster has ended
	log  bytes.Buffer
}

// bin returns the path of a program of PostgreSQL, or skips the test. On CI it
// fails it, so that it is not left out in silence.
func bin(t testing.TB, name string) string {
	t.Helper()
	places, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if len(places) > 0 {
		return places[len(places)-1]
	}
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is not there, and on CI these tests must run; install PostgreSQL 13 or newer", name)
	}
	t.Skipf("%s is not there; install PostgreSQL 13 or newer to run these tests", name)
	return ""
}

// credential is whom PostgreSQL runs as: it refuses to be root.
func credential(t testing.TB) *syscall.Credential {
	t.Helper()
	if os.Getuid() != 0 {
		return nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		if u, err := user.Lookup(name); err == nil {
			uid, _ := strconv.ParseUint(u.Uid, 10, 32)
			gid, _ := strconv.ParseUint(u.Gid, 10, 32)
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		}
	}
	t.Fatal("there is neither a user postgres nor nobody to run PostgreSQL as")
	return nil
}

func run(t testing.TB, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(bin(t, name), args...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential(t)}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s: %s", name, out)
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// newDir returns an empty directory of PostgreSQL's user. (Those of TempDir
// cannot be entered by others than root.)
func newDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pgstore-")
	require.NoError(t, err)
	if c := credential(t); c != nil {
		require.NoError(t, os.Chown(dir, int(c.Uid), int(c.Gid)))
	}
	return dir
}

// startServer makes a server and starts it.
func startServer(t testing.TB, args ...string) *server {
	t.Helper()
	s := &server{dir: newDir(t), port: freePort(t), args: args}
	run(t, "initdb", "--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--pgdata", s.dir)
	s.start(t)
	return s
}

// startOwn is startServer for one test.
func startOwn(t testing.TB, args ...string) *server {
	t.Helper()
	s := startServer(t, args...)
	t.Cleanup(s.end)
	return s
}

func (s *server) start(t testing.TB) {
	t.Helper()
	cmd := exec.Command(bin(t, "postgres"), "-D", s.dir, "-p", strconv.Itoa(s.port), "-k", s.dir,
		"-c", "listen_addresses=127.0.0.1", "-c", "fsync=on", "-c", "max_connections=200", "-c", "shared_buffers=32MB", "-c", "max_wal_size=256MB")
	cmd.Args = append(cmd.Args, s.args...)
	cmd.Dir = s.dir
	cmd.Stdout, cmd.Stderr = &s.log, &s.log
	// Should the test be killed, the server ends, too.
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential(t), Pdeathsig: syscall.SIGQUIT}
	require.NoError(t, cmd.Start())
	s.cmd, s.done = cmd, make(chan struct{})
	go func(done chan struct{}) {
		_ = cmd.Wait()
		close(done)
	}(s.done)
	s.await(t)
}

// await waits until the server takes connections.
func (s *server) await(t testing.TB) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		conn, err := pgx.Connect(ctx, s.url("postgres"))
		cancel()
		if err == nil {
			_ = conn.Close(context.Background())
			return
		}
		select {
		case <-s.done:
			t.Fatalf("PostgreSQL did not start:\n%s", &s.log)
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("PostgreSQL does not answer: %v", err)
		}
	}
}

// stop ends the server: SIGINT is a fast shutdown in good order, SIGQUIT an
// immediate one, after which it must recover.
func (s *server) stop(sig syscall.Signal) {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(sig)
	<-s.done
	s.cmd = nil
}

func (s *server) end() {
	s.stop(syscall.SIGQUIT)
	_ = os.RemoveAll(s.dir)
}

// signalAll signals the server and its processes.
func (s *server) signalAll(sig syscall.Signal) {
	pids := []int{s.cmd.Process.Pid}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		// pid (name) state ppid …
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if fields[1] == strconv.Itoa(pids[0]) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			pids = append(pids, pid)
		}
	}
	for _, pid := range pids {
		_ = syscall.Kill(pid, sig)
	}
}

func (s *server) url(database string) string {
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/%s?sslmode=disable", s.port, database)
}

var (
	common     *server
	commonOnce sync.Once
	databases  atomic.Int64
)

// database returns the URL of a new database, on a server that tests share.
func database(t testing.TB) string {
	t.Helper()
	bin(t, "postgres")
	commonOnce.Do(func() { common = startServer(t) })
	require.NotNil(t, common, "the server did not start")
	name := fmt.Sprintf("t%d", databases.Add(1))
	exec1(t, common.url("postgres"), "CREATE DATABASE "+name)
	return common.url(name)
}

func TestMain(m *testing.M) {
	code := m.Run()
	if common != nil {
		common.end()
	}
	os.Exit(code)
}

// exec1 runs SQL on a connection of its own.
func exec1(t testing.TB, url, sql string) {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), url)
	require.NoError(t, err)
	defer conn.Close(context.Background())
	_, err = conn.Exec(context.Background(), sql, pgx.QueryExecModeSimpleProtocol)
	require.NoError(t, err, sql)
}

// ask1 asks for one value on a connection of its own.
func ask1[T any](t testing.TB, url, sql string) (v T) {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), url)
	require.NoError(t, err)
	defer conn.Close(context.Background())
	require.NoError(t, conn.QueryRow(context.Background(), sql).Scan(&v), sql)
	return v
}
