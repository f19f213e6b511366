package pgstore

import (
	"context"
	"flag"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/internal/servers"
)

// patience is how long anything may take on a machine that is busy.
const patience = 3 * time.Minute

func TestMain(m *testing.M) {
	// Most tests wait, for a disk or a clock, and not for a processor.
	_ = flag.Set("test.parallel", strconv.Itoa(max(4, runtime.GOMAXPROCS(0))))
	code := m.Run()
	servers.End()
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
