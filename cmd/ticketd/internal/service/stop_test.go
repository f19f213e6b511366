package service

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/cmd/ticketd/internal/metrics"
)

// listening is a service whose requests are answered by api.
type listening struct {
	*Service
	*roomListener
	server *http.Server
	ended  chan error
	log    *bytes.Buffer // read it when the service has stopped
}

func listen(t *testing.T, maxConns int, api http.HandlerFunc) *listening {
	t.Helper()
	var b bytes.Buffer
	log := slog.New(slog.NewTextHandler(&b, nil))
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &Service{log: log, listener: inner, metrics: metrics.New()}
	h := http.Handler(api)
	s.handler.api.Store(&h)
	conns := newConnections()
	l := &roomListener{Listener: inner, conns: conns, max: maxConns, metrics: s.metrics, log: log}
	server := newServer(&s.handler, time.Hour, slog.New(slog.DiscardHandler))
	server.ReadTimeout, server.WriteTimeout = time.Hour, time.Hour // which no test reaches
	server.ConnState = conns.note
	t.Cleanup(func() { _ = server.Close() })
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	return &listening{s, l, server, ended, &b}
}

// dial sends a text on a new connection.
func (l *listening) dial(t *testing.T, text string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	_, err = io.WriteString(conn, text)
	require.NoError(t, err)
	return conn, bufio.NewReader(conn)
}

const get = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"

// A request whose body never comes does not hold up the end. A request that is being
// answered does.
func TestStopEndsLateBodies(t *testing.T) {
	here, release := make(chan string, 3), make(chan bool)
	l := listen(t, 0, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			here <- "body"
			if _, err := io.ReadAll(r.Body); err != nil {
				http.Error(w, "no body", http.StatusBadRequest)
				return
			}
		}
		here <- "work"
		<-release
		_, _ = io.WriteString(w, "answered")
	})
	_, late := l.dial(t, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
	require.Equal(t, "body", <-here)
	_, working := l.dial(t, get)
	require.Equal(t, "work", <-here)
	_, whole := l.dial(t, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody")
	require.Equal(t, "body", <-here)
	require.Equal(t, "work", <-here)
	stopped := make(chan error, 1)
	go func() { stopped <- l.stop(l.server, l.roomListener, l.ended) }()

	answer, err := io.ReadAll(late)
	require.NoError(t, err)
	assert.Contains(t, string(answer), "400 Bad Request")
	select {
	case err := <-stopped:
		t.Fatal("the others are not answered yet", err)
	default:
	}
	close(release)
	for _, reader := range []*bufio.Reader{working, whole} {
		answer, err = io.ReadAll(reader)
		require.NoError(t, err)
		assert.Contains(t, string(answer), "200 OK")
		assert.Contains(t, string(answer), "answered")
	}
	assert.NoError(t, <-stopped)
	assert.Empty(t, l.handler.bodies.open)
}

// At the most connections, those without a request make room: the longest idle first. A
// connection with a request stays, and if all have one, new ones wait.
func TestConnectionsMakeRoom(t *testing.T) {
	here, release := make(chan bool), make(chan bool)
	l := listen(t, 4, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/work" {
			here <- true
			<-release
		}
	})
	idle := func() *bufio.Reader {
		t.Helper()
		_, reader := l.dial(t, get)
		res, err := http.ReadResponse(reader, nil)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, res.StatusCode)
		// The server notes after the answer that the connection is idle.
		require.Eventually(t, func() bool { return l.conns.busy() == 1 }, time.Minute, time.Millisecond)
		return reader
	}
	work := func() *bufio.Reader {
		t.Helper()
		_, reader := l.dial(t, "GET /work HTTP/1.1\r\nHost: x\r\n\r\n")
		<-here
		return reader
	}
	closed := func(reader *bufio.Reader, message string) {
		t.Helper()
		_, err := reader.ReadByte()
		assert.ErrorIs(t, err, io.EOF, message)
	}
	busy := []*bufio.Reader{work()}
	first, second := idle(), idle()
	for i := range 20 {
		third := idle()
		closed(first, fmt.Sprint("the longest idle, ", i))
		first, second = second, third
	}
	// Two idle ones make room for two with requests, and one that is silent for the last.
	_, silent := l.dial(t, "")
	busy = append(busy, work(), work())
	closed(silent, "it sent nothing")
	busy = append(busy, work())

	waits, waiting := l.dial(t, get)
	assert.Equal(t, 4, l.conns.count())
	close(release)
	res, err := http.ReadResponse(waiting, nil)
	require.NoError(t, err, "a request was answered, and its connection made room")
	assert.Equal(t, http.StatusOK, res.StatusCode)
	require.NoError(t, waits.Close())
	for _, reader := range busy {
		res, err := http.ReadResponse(reader, nil)
		if assert.NoError(t, err, "no request is cut") {
			assert.Equal(t, http.StatusOK, res.StatusCode)
		}
	}
	require.NoError(t, l.stop(l.server, l.roomListener, l.ended))
	assert.Equal(t, 1, bytes.Count(l.log.Bytes(), []byte("closed to make room")), "once a minute: %s", l.log)
}

func TestMaxConnections(t *testing.T) {
	for limit, want := range map[uint64]int{0: 0, 1: 1, 100: 50, 1024: 768, 1 << 20: 1<<20 - 256, 1 << 63: 1 << 30} {
		assert.Equal(t, want, maxConnections(limit), limit)
	}
}
