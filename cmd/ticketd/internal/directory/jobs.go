package directory

import (
	"context"
	"database/sql"
	"sync"
	"time"
)

const (
	useInterval   = time.Minute      // between two writes of one key's last use
	purgeInterval = time.Minute      // between two looks for redemptions to forget
	jobTimeout    = 10 * time.Second // for one write
	useBacklog    = 64               // keys whose last use waits to be written
)

// jobs are the writes that nobody waits for: when API keys were last used, and
// forgetting the redemptions of tickets that are useless by now. A failure is let
// pass: what is not written now is a minute later, and a directory that cannot
// write fails where that matters.
type jobs struct {
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

func startJobs(write *sql.DB) *jobs {
	j := &jobs{
		write: write,
		queue: make(chan use, useBacklog),
		quit:  make(chan struct{}),
		done:  make(chan struct{}),
		last:  make(map[string]time.Time),
	}
	go j.run()
	return j
}

// noteUse queues the use of a key, whose last written one is given, unless one of
// the same minute has been. It does not wait.
func (j *jobs) noteUse(id string, written, now time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	last := written
	if queued := j.last[id]; queued.After(last) {
		last = queued
	}
	if !last.IsZero() && now.Before(last.Add(useInterval)) {
		return
	}
	select {
	case j.queue <- use{id, now}:
		j.last[id] = now
	default: // writing is behind; the key's next use asks again
	}
}

// stop writes what is queued and ends.
func (j *jobs) stop() {
	close(j.quit)
	<-j.done
}

func (j *jobs) run() {
	defer close(j.done)
	purge := time.NewTicker(purgeInterval)
	defer purge.Stop()
	for {
		select {
		case u := <-j.queue:
			j.putUse(context.Background(), u)
		case now := <-purge.C:
			j.purge(now)
		case <-j.quit:
			// All of it together: a service that ends does not wait for a
			// database that is gone.
			ctx, cancel := context.WithTimeout(context.Background(), jobTimeout)
			defer cancel()
			for {
				select {
				case u := <-j.queue:
					j.putUse(ctx, u)
				default:
					return
				}
			}
		}
	}
}

// putUse writes one use.
func (j *jobs) putUse(ctx context.Context, u use) {
	ctx, cancel := context.WithTimeout(ctx, jobTimeout)
	defer cancel()
	_, _ = exec(ctx, j.write,
		`UPDATE api_key SET last_used = $2 WHERE id = $1 AND (last_used IS NULL OR last_used < $2)`,
		u.id, u.at.UnixMilli())
}

// purge forgets the redemptions whose time is over.
func (j *jobs) purge(now time.Time) {
	ctx, cancel := context.WithTimeout(context.Background(), jobTimeout)
	defer cancel()
	_, _ = exec(ctx, j.write, `DELETE FROM redemption WHERE expires < $1`, now.UnixMilli())
}
