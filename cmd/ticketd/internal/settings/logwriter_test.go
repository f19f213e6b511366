package settings

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sink is a reader of the log that can stop to read.
type sink struct {
	mu     sync.Mutex
	b      bytes.Buffer
	writes int
	stop   chan struct{} // nil: it reads
}

func (s *sink) Write(p []byte) (int, error) {
	if s.stop != nil {
		<-s.stop
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes++
	return s.b.Write(p)
}

func (s *sink) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func TestLogWriterGathers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := new(sink)
		l := NewLogWriter(out)
		fmt.Fprintln(l, "first")
		synctest.Wait()
		assert.Equal(t, "first\n", out.String(), "a line after a pause goes out at once")
		var want strings.Builder
		want.WriteString("first\n")
		for n := range 1000 {
			fmt.Fprintln(l, n)
			fmt.Fprintln(&want, n)
		}
		synctest.Wait()
		assert.Equal(t, "first\n", out.String(), "the next lines wait")
		time.Sleep(logPause)
		synctest.Wait()
		assert.Equal(t, want.String(), out.String())
		assert.Equal(t, 2, out.writes)

		fmt.Fprintln(l, "last")
		require.NoError(t, l.Close())
		fmt.Fprintln(l, "after the end")
		assert.Equal(t, want.String()+"last\nafter the end\n", out.String())
	})
}

// A reader of the log that stops holds up the callers; no line is lost, and the lines of
// a caller stay in order.
func TestLogWriterWaitsForASlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &sink{stop: make(chan struct{})}
		l := NewLogWriter(out)
		line := strings.Repeat("x", 1<<10)
		var callers sync.WaitGroup
		for c := range 4 {
			callers.Go(func() {
				for n := range 1000 {
					fmt.Fprintf(l, "%d %d %s\n", c, n, line)
				}
			})
		}
		synctest.Wait()
		l.mu.Lock()
		held := len(l.held)
		l.mu.Unlock()
		assert.Less(t, held, maxHeldLog+2<<10, "callers wait")
		close(out.stop)
		callers.Wait()
		require.NoError(t, l.Close())
		var next [4]int
		for text := range strings.Lines(out.String()) {
			var c, n int
			_, err := fmt.Sscan(text, &c, &n)
			require.NoError(t, err)
			require.Equal(t, next[c], n)
			next[c]++
		}
		assert.Equal(t, [4]int{1000, 1000, 1000, 1000}, next)
	})
}
