package main

import (
	"net"
	"net/http"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// systemd hears of a service that answers.
func TestNotifyReady(t *testing.T) {
	t.Parallel()
	data, address := filepath.Join(t.TempDir(), "data"), freeAddress(t)
	require.Equal(t, 0, start(t, "init", "--data", data).wait())
	socket := filepath.Join(t.TempDir(), "s")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	require.NoError(t, err)
	defer conn.Close()
	p := startWith(t, []string{"NOTIFY_SOCKET=" + socket}, "serve", "--data", data, "--listen", address)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(time.Minute)))
	said := make([]byte, 100)
	n, err := conn.Read(said)
	require.NoError(t, err, "%s", p.stderr.String())
	assert.Equal(t, "READY=1", string(said[:n]))
	res, err := http.Get("http://" + address + "/readyz")
	require.NoError(t, err)
	defer res.Body.Close()
	assert.Equal(t, http.StatusOK, res.StatusCode)
	require.Equal(t, 0, p.end(syscall.SIGTERM))

	p = startWith(t, []string{"NOTIFY_SOCKET=" + socket + "2"}, "serve", "--data", data, "--listen", address)
	assert.Equal(t, 1, p.wait())
	assert.Contains(t, p.stderr.String(), "NOTIFY_SOCKET")
}
