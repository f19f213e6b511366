//go:build unix

package pgstore

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Looking at a connection waits for nobody who reads from it.
// trap R17: pgx's background reader may, for as long as nothing comes.
func TestUnreadDoesNotWait(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	server, err := l.Accept()
	require.NoError(t, err)
	defer server.Close()

	reading := make(chan struct{})
	go func() {
		close(reading)
		_, _ = conn.Read(make([]byte, 1))
	}()
	<-reading
	for range 100 { // until it is in its read for certain
		answer := make(chan bool, 1)
		go func() { answer <- unread(conn) }()
		select {
		case something := <-answer:
			require.False(t, something)
		case <-time.After(30 * time.Second):
			t.Fatal("it waits for the reader")
		}
		time.Sleep(time.Millisecond)
	}
}
