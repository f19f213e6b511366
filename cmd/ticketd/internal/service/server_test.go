package service

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

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
