//go:build unix

package main

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// With few descriptors, more clients keep their connections than the service can have: a
// new client is served, and the directory and the replay store have what they need.
func TestFewDescriptors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p, info := startDemo(t, "--data", dir, "--listen", freeAddress(t))
	require.Equal(t, 0, p.end(syscall.SIGTERM))
	exe, err := os.Executable()
	require.NoError(t, err)
	p = startProgram(t, nil, needs(t, "sh"), "-c", `ulimit -n 160 && exec "$@"`, "sh", exe, "serve", "--data", dir,
		"--listen", strings.TrimPrefix(info.URL, "http://"), "--metrics-listen", "127.0.0.1:0")
	healthy(t, p, info.URL)
	for range 400 {
		c, err := net.Dial("tcp", strings.TrimPrefix(info.URL, "http://"))
		require.NoError(t, err)
		defer c.Close()
		_, err = io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
		require.NoError(t, err)
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, res.StatusCode)
	}
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	res, err := client.Get(info.LoginURL + "?ta=" + info.ticket(t, info.request(true)))
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	assert.Equal(t, http.StatusSeeOther, res.StatusCode)
	p.logs("closed to make room for new ones")
	assert.False(t, p.stderr.contains("too many open files"))
	got, _ := scrape(t, p.scrapeURL())
	assert.Greater(t, got["ticketd_http_connections_shed_total"], 300.0)
	assert.Equal(t, 0, p.end(syscall.SIGTERM))
}
