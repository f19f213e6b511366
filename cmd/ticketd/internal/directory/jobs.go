package directory

import (
	"context"
	"sync"
	"time"
)

const (
	useInterval   = time.Minute      // between two writes of one key's last use
	purgeInterval = time.Minute      // between two deletions of expired redemptions
	jobTimeout    = 10 * time.Second // for one write
	useBacklog    = 64               // uses that wait to be written
)

// jobs does the writes without a waiting caller: the last use of API keys, and the
// deletion of expired redemptions. Failures are ignored: the next attempt follows a
// minute later, and a directory without writes fails in the calls that matter.
type jobs struct {
	write *pool
	queue chan keyUse
	quit  chan struct{}
	done  chan struct{}

	mu      sync.Mutex
	last    map[string]time.Time // by key ID: the last use that was queued
	refused map[string]bool      // by table: whether the user of the database may not purge
}

// keyUse is the use of an API key.
type keyUse struct {
	id string
	at time.Time
}

func startJobs(write *pool) *jobs {
	j := &jobs{
		write: write,
		queue: make(chan keyUse, useBacklog),
		quit:  make(chan struct{}),
		done:  make(chan struct{}),
		last:  make(map[string]time.Time), refused: make(map[string]bool),
	}
	go j.run()
	return j
}

// noteUse queues the use of a key. written is the key's last use in the directory. A
// use in the same minute as the last one is left out. noteUse does not wait.
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
	case j.queue <- keyUse{id, now}:
		j.last[id] = now
	default: // the queue is full; the key's next use tries again
	}
}

// stop writes the queued uses and ends the jobs.
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
			// One time limit for all writes: the end of the service does not wait for a lost
			// database.
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
func (j *jobs) putUse(ctx context.Context, u keyUse) {
	ctx, cancel := context.WithTimeout(ctx, jobTimeout)
	defer cancel()
	_, _ = exec(ctx, j.write,
		`UPDATE api_key SET last_used = $2 WHERE id = $1 AND (last_used IS NULL OR last_used < $2)`,
		u.id, u.at.UnixMilli())
}

// purge deletes the redemptions, the revocations and the additions that have expired.
func (j *jobs) purge(now time.Time) {
	ctx, cancel := context.WithTimeout(context.Background(), jobTimeout)
	defer cancel()
	for _, p := range []struct {
		table, condition string
		before           time.Time
	}{
		{"redemption", "expires < $1", now},
		{"revocation", "expires < $1", now},
		{"idempotency", "created <= $1", now.Add(-onceKept)},
	} {
		_ = j.unlessRefused(p.table, func() error {
			_, err := exec(ctx, j.write, "DELETE FROM "+p.table+" WHERE "+p.condition, p.before.UnixMilli())
			return err
		})
	}
}

// insufficientPrivilege is PostgreSQL's code for a statement that the user may not do.
const insufficientPrivilege = "42501"

// unlessRefused calls purge, unless PostgreSQL has refused a purge of the table before because the user
// has no right to it. Each attempt would be an error in the log of the server. The user of a login
// service has no such right, and the issuing service purges. After a restart, a purge is tried again.
func (j *jobs) unlessRefused(table string, purge func() error) error {
	j.mu.Lock()
	refused := j.refused[table]
	j.mu.Unlock()
	if refused {
		return nil
	}
	err := purge()
	if sqlState(err) == insufficientPrivilege {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.refused[table] = true
	}
	return err
}
