package settings

import (
	"io"
	"sync"
	"time"
)

const (
	// logPause is the time between two writes of a LogWriter.
	logPause = 20 * time.Millisecond

	// maxHeldLog is how much a LogWriter holds, in bytes, before its callers wait.
	maxHeldLog = 1 << 20
)

// LogWriter gathers what is written and passes it on in order, so that a request waits for
// no system call. The first line after a pause goes out at once, and each line after logPause
// at the latest. A process that is killed loses the lines of that time. If the reader of the
// log is slow, callers wait: no line is dropped.
type LogWriter struct {
	w io.Writer

	mu     sync.Mutex
	held   []byte
	closed bool
	room   sync.Cond // signals that held has become empty

	some, end, ended chan struct{}
}

// NewLogWriter returns a LogWriter that writes to w.
func NewLogWriter(w io.Writer) *LogWriter {
	l := &LogWriter{w: w, some: make(chan struct{}, 1), end: make(chan struct{}), ended: make(chan struct{})}
	l.room.L = &l.mu
	go l.run()
	return l
}

// Write gathers a line. After Close it writes at once.
func (l *LogWriter) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.held) >= maxHeldLog && !l.closed {
		l.room.Wait()
	}
	if l.closed {
		return l.w.Write(line)
	}
	l.held = append(l.held, line...)
	select {
	case l.some <- struct{}{}:
	default:
	}
	return len(line), nil
}

// Close writes all that was gathered.
func (l *LogWriter) Close() error {
	close(l.end)
	<-l.ended
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.room.Broadcast()
	_, err := l.w.Write(l.held)
	l.held = nil
	return err
}

func (l *LogWriter) run() {
	defer close(l.ended)
	pause := time.NewTimer(0)
	defer pause.Stop()
	var spare []byte
	for {
		select {
		case <-l.some:
		case <-l.end:
			return
		}
		l.mu.Lock()
		lines := l.held
		l.held = spare[:0]
		l.room.Broadcast()
		l.mu.Unlock()
		_, _ = l.w.Write(lines) // there is nobody to tell
		spare = lines
		pause.Reset(logPause)
		select {
		case <-pause.C:
		case <-l.end:
			return
		}
	}
}
