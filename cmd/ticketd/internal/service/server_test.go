package service

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A client that wants the connection closed gets its answer, whether or not anybody
// read what it sent.
func TestAnswerBeforeClose(t *testing.T) {
	var h handler
	refuse := http.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/some" {
			_, _ = io.CopyN(io.Discard, r.Body, 1000)
		}
		http.Error(w, "no API key", http.StatusUnauthorized)
	}))
	h.api.Store(&refuse)
	server := httptest.NewServer(&h)
	defer server.Close()
	body := strings.Repeat("x", 100_000)
	for _, head := range []string{
		"POST / HTTP/1.0\r\n", "POST /some HTTP/1.0\r\n", "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n",
	} {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		require.NoError(t, err)
		_, err = fmt.Fprintf(conn, "%sContent-Length: %d\r\n\r\n%s", head, len(body), body)
		require.NoError(t, err)
		answer, err := io.ReadAll(conn)
		require.NoError(t, err, head)
		assert.Contains(t, string(answer), "401 Unauthorized", head)
		assert.Contains(t, string(answer), "no API key", head)
		require.NoError(t, conn.Close())
	}

	// Who waits to be asked for the body is not.
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\n"+
		"Content-Length: %d\r\n\r\n", len(body))
	require.NoError(t, err)
	answer, err := io.ReadAll(conn)
	require.NoError(t, err)
	assert.True(t, strings.HasPrefix(string(answer), "HTTP/1.1 401"), "%s", answer)
}

// trap S16: an idle connection is kept for longer than the load balancer in front keeps it.
func TestIdleTimeout(t *testing.T) {
	assert.Greater(t, IdleTimeout, 600*time.Second)
	assert.Equal(t, 5*time.Minute, newServer(nil, 5*time.Minute, slog.Default()).IdleTimeout)

	// A short one is kept for as long, and the connection then ends.
	var h handler
	ok := http.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	h.api.Store(&ok)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := newServer(&h, 50*time.Millisecond, slog.Default())
	defer server.Close()
	go func() { _ = server.Serve(listener) }()
	conn, err := net.Dial("tcp", listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	sent := time.Now()
	_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	answer, err := io.ReadAll(conn) // until the service ends the connection
	require.NoError(t, err)
	assert.Contains(t, string(answer), "200 OK")
	assert.GreaterOrEqual(t, time.Since(sent), 50*time.Millisecond)
}
