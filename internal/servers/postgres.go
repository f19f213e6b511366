//go:build unix

package servers

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
)

// Postgres is a PostgreSQL server, with fsync on. The only role is the superuser
// postgres, without a password.
type Postgres struct {
	// URL leads to the database postgres.
	URL string
	// Port is the server's port on 127.0.0.1.
	Port int

	t      testing.TB
	dir    string
	args   []string
	frozen bool
	process
}

// PostgreSQL starts a server for one test, with arguments such as "-c",
// "fsync=off" beside the usual arguments. For a test that needs only a database of
// its own, Database is faster.
func PostgreSQL(t testing.TB, args ...string) *Postgres {
	t.Helper()
	p := newPostgres(t, args)
	t.Cleanup(p.remove)
	p.initialize()
	p.Start()
	return p
}

// Standby makes a base backup of p, and returns a server on the backup, not yet
// started. After Start the standby follows no primary: the standby stays in recovery,
// at the state of the backup, until pg_promote().
func (p *Postgres) Standby() *Postgres {
	p.t.Helper()
	standby := newPostgres(p.t, p.args)
	p.t.Cleanup(standby.remove)
	output(p.t, PostgresProgram(p.t, "pg_basebackup", "--pgdata", standby.dir, "--dbname", p.URL, "--checkpoint=fast",
		"--no-sync", "--wal-method=stream"))
	if err := os.WriteFile(filepath.Join(standby.dir, "standby.signal"), nil, 0o644); err != nil {
		p.t.Fatal(err)
	}
	return standby
}

var shared struct {
	sync.Mutex
	server    *Postgres
	databases int
}

// Database returns the URL of a new, empty database on a server that all tests
// of the process share. TestMain must call End after the tests.
func Database(t testing.TB) string {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.server == nil {
		p := newPostgres(t, nil)
		p.initialize()
		p.Start()
		shared.server = p
	}
	shared.databases++
	name := fmt.Sprintf("t%d", shared.databases)
	conn, err := pgx.Connect(context.Background(), shared.server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(context.Background(), "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	return shared.server.url(name)
}

// End ends the server that Database started, if any.
func End() {
	shared.Lock()
	defer shared.Unlock()
	if shared.server != nil {
		shared.server.remove()
		shared.server = nil
	}
}

func newPostgres(t testing.TB, args []string) *Postgres {
	t.Helper()
	postgresPath(t, "postgres")
	// The server's user cannot enter t.TempDir.
	dir, err := os.MkdirTemp("", "postgres-")
	if err != nil {
		t.Fatal(err)
	}
	if c := postgresUser(t); c != nil {
		if err := os.Chown(dir, int(c.Uid), int(c.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	p := &Postgres{t: t, dir: dir, Port: Port(t), args: args}
	p.log = dir + ".log"
	p.URL = p.url("postgres")
	return p
}

func (p *Postgres) url(database string) string {
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/%s?sslmode=disable", p.Port, database)
}

// Start starts the server, and returns when the server takes connections.
func (p *Postgres) Start() {
	p.t.Helper()
	cmd := PostgresProgram(p.t, "postgres", "-D", p.dir, "-p", strconv.Itoa(p.Port), "-k", p.dir, "-c",
		"listen_addresses=127.0.0.1",
		"-c", "fsync=on", "-c", "max_connections=500", "-c", "shared_buffers=32MB", "-c", "max_wal_size=256MB")
	cmd.Args = append(cmd.Args, p.args...)
	p.begin(p.t, cmd)
	p.awaitAnswer(p.t, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		conn, err := pgx.Connect(ctx, p.URL)
		if err != nil {
			return err
		}
		defer conn.Close(context.Background())
		var dir string
		if err := conn.QueryRow(ctx, "SELECT current_setting('data_directory')").Scan(&dir); err != nil {
			return err
		}
		if dir != p.dir {
			return fmt.Errorf("another server, of %s, listens on port %d", dir, p.Port)
		}
		return nil
	})
}

// Stop shuts the server down in good order, and ends all connections.
func (p *Postgres) Stop() {
	p.Thaw()
	p.end(syscall.SIGINT)
}

// Kill ends the server and its processes at once. The next Start recovers from the
// log, as after a crash.
func (p *Postgres) Kill() {
	p.Thaw()
	p.end(syscall.SIGQUIT)
}

// Freeze suspends all processes of the server; Thaw resumes them.
func (p *Postgres) Freeze() {
	p.frozen = true
	p.signalAll(syscall.SIGSTOP)
}

// Thaw undoes Freeze.
func (p *Postgres) Thaw() {
	if p.frozen {
		p.signalAll(syscall.SIGCONT)
		p.frozen = false
	}
}

func (p *Postgres) signalAll(signal syscall.Signal) {
	p.t.Helper()
	pids := []string{strconv.Itoa(p.pid())}
	out, err := exec.Command("ps", "-A", "-o", "ppid=,pid=").Output()
	if err != nil {
		p.t.Fatal(err)
	}
	for line := range bytes.Lines(out) {
		if fields := strings.Fields(string(line)); len(fields) == 2 && fields[0] == pids[0] {
			pids = append(pids, fields[1])
		}
	}
	for _, pid := range pids {
		if n, _ := strconv.Atoi(pid); n > 0 {
			_ = syscall.Kill(n, signal)
		}
	}
}

func (p *Postgres) initialize() {
	p.t.Helper()
	output(p.t, PostgresProgram(p.t, "initdb", "--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8",
		"--locale=C", "--pgdata", p.dir))
}

func (p *Postgres) remove() {
	p.Kill()
	_ = os.RemoveAll(p.dir)
	_ = os.Remove(p.log)
}

// PostgresProgram returns a command to run a program of PostgreSQL, such as
// pg_dump, as the servers' user: PostgreSQL refuses to run as root.
func PostgresProgram(t testing.TB, name string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(postgresPath(t, name), args...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: postgresUser(t)}
	return cmd
}

func output(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
}

// postgresPath looks in Debian's folder for the programs of the server, which is not
// on the PATH, and then on the PATH.
func postgresPath(t testing.TB, name string) string {
	t.Helper()
	if places, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name); len(places) > 0 {
		return places[len(places)-1]
	}
	path, err := exec.LookPath(name)
	if err != nil {
		missing(t, "PostgreSQL 13 or newer ("+name+")")
	}
	return path
}

func postgresUser(t testing.TB) *syscall.Credential {
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
