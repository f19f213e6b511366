package directory

import (
	"context"
	"database/sql"
	"sync"
	"time"
)

const (
	useInterval = time.Minute      // between two writes of one key's last use
	useTimeout  = 10 * time.Second // for one write
	useBacklog  = 64               // keys whose last use waits to be written
)

// useLog writes when API keys were last used, in the background.
type useLog struct {
	write *sql.DB
	queue chan use
	quit  chan struct{}
	done  chan struct{}

	mu   sync.Mutex
	last map[string]time.Time // by key ID: the last use that was queued
}

type use struct {
	id string
	at time.Time
}

func startUseLog(write *sql.DB) *useLog {
	l := &useLog{
		write: write,
		queue: make(chan use, useBacklog),
		quit:  make(chan struct{}),
		done:  make(chan struct{}),
		last:  make(map[string]time.Time),
	}
	go l.run()
	return l
}

// note queues the use of a key, whose last written one is given, unless one of
// the same minute has been. It does not wait.
func (l *useLog) note(id string, written, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	last := written
	if queued := l.last[id]; queued.After(last) {
		last = queued
	}
	if !last.IsZero() && now.Before(last.Add(useInterval)) {
		return
	}
	select {
	case l.queue <- use{id, now}:
		l.last[id] = now
	default: // writing is behind; the key's next use asks again
	}
}

// stop writes what is queued and ends.
func (l *useLog) stop() {
	close(l.quit)
	<-l.done
}

func (l *useLog) run() {
	defer close(l.done)
	for {
		select {
		case u := <-l.queue:
			l.put(u)
		case <-l.quit:
			for {
				select {
				case u := <-l.queue:
					l.put(u)
				default:
					return
				}
			}
		}
	}
}

// put writes one use. A failure is let pass: the key's use a minute later is
// written again, and a directory that cannot write fails where that matters.
func (l *useLog) put(u use) {
	ctx, cancel := context.WithTimeout(context.Background(), useTimeout)
	defer cancel()
	_, _ = l.write.ExecContext(ctx,
		`UPDATE api_key SET last_used = $2 WHERE id = $1 AND (last_used IS NULL OR last_used < $2)`,
		u.id, u.at.UnixMilli())
}
