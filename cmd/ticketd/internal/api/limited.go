package api

import (
	"context"
	"sync"
	"time"
)

// Limited is a context with a deadline. Its timer is made when somebody waits for the end:
// most requests are answered from memory, and a timer takes longer than some of their work.
// A Limited below a request's context ends with its own deadline, if that comes first, and not
// with the request: End ends it.
type Limited struct {
	Parent context.Context
	Until  time.Time // the deadline

	mu    sync.Mutex
	limit context.Context // with the timer; nil until somebody waits
	stop  context.CancelFunc
	ended bool
}

// Deadline implements context.Context.
func (l *Limited) Deadline() (time.Time, bool) {
	if d, ok := l.Parent.Deadline(); ok && d.Before(l.Until) {
		return d, true
	}
	return l.Until, true
}

// Done implements context.Context.
func (l *Limited) Done() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.limit == nil {
		parent := l.Parent
		if p, ok := parent.(interface{ onlyTimed(time.Time) bool }); ok && p.onlyTimed(l.Until) {
			parent = context.Background() // whose end needs no second timer
		}
		l.limit, l.stop = context.WithDeadline(parent, l.Until)
		if l.ended {
			l.stop()
		}
	}
	return l.limit.Done()
}

// Err implements context.Context.
func (l *Limited) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.limit != nil:
		return l.limit.Err()
	case l.ended:
		return context.Canceled
	case l.Parent.Err() != nil:
		return l.Parent.Err()
	case !time.Now().Before(l.Until):
		return context.DeadlineExceeded
	}
	return nil
}

// onlyTimed reports whether the context does not end before a time, unless End ends it.
func (l *Limited) onlyTimed(before time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Parent == context.Background() && !l.ended && before.Before(l.Until)
}

// Value implements context.Context. Package context asks it for the context with the timer, to
// end contexts that are made of this one.
func (l *Limited) Value(key any) any {
	l.mu.Lock()
	limit := l.limit
	l.mu.Unlock()
	if limit != nil {
		if v := limit.Value(key); v != nil {
			return v
		}
	}
	return l.Parent.Value(key)
}

// End ends the context.
func (l *Limited) End() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	if l.stop != nil {
		l.stop()
	}
}
