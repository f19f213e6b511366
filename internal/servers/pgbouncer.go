//go:build unix

package servers

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
)

// PgBouncer starts a PgBouncer in front of the database's server, with two
// connections to the server and pool_mode "session", "transaction" or "statement".
// The result is the database's URL through PgBouncer.
func PgBouncer(t testing.TB, database, mode string) string {
	t.Helper()
	return PgBouncerOf(t, database, mode, 2)
}

// PgBouncerOf starts a PgBouncer as PgBouncer does, with a number of connections to the
// server.
func PgBouncerOf(t testing.TB, database, mode string, connections int) string {
	t.Helper()
	path, err := exec.LookPath("pgbouncer")
	if err != nil {
		path = "/usr/sbin/pgbouncer" // Debian's place, off the PATH of users
		if _, err := os.Stat(path); err != nil {
			missing(t, "pgbouncer")
		}
	}
	at, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "pgbouncer-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	credential := postgresUser(t)
	if credential != nil {
		if err := os.Chown(dir, int(credential.Uid), int(credential.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	port := Port(t)
	file := filepath.Join(dir, "pgbouncer.ini")
	text := fmt.Sprintf("[databases]\n* = host=%s port=%s user=%s\n[pgbouncer]\n"+
		"listen_addr = 127.0.0.1\nlisten_port = %d\nunix_socket_dir =\nauth_type = any\npool_mode = %s\n"+
		"default_pool_size = %d\nmax_client_conn = 200\n",
		at.Hostname(), at.Port(), at.User.Username(), port, mode, connections)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	var p process
	p.log = filepath.Join(dir, "log")
	cmd := exec.Command(path, file)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential}
	p.begin(t, cmd)
	t.Cleanup(func() { p.end(syscall.SIGQUIT) })
	at.Host = fmt.Sprintf("127.0.0.1:%d", port)
	p.awaitAnswer(t, func() error {
		config, err := pgx.ParseConfig(at.String())
		if err != nil {
			return err
		}
		config.DefaultQueryExecMode = pgx.QueryExecModeExec
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		conn, err := pgx.ConnectConfig(ctx, config)
		if err != nil {
			return err
		}
		defer conn.Close(context.Background())
		return conn.Ping(ctx)
	})
	return at.String()
}
