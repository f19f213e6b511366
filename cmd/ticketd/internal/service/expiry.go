package service

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/admitone/admitone/cmd/ticketd/internal/directory"
)

const (
	expiryEvery = 5 * time.Minute // between two looks at the API keys in the directory
	expiryTold  = 24 * time.Hour  // between two lines in the log about a key
	maxExpiring = 10_000          // most keys that one look reads
)

// expiring reminds of the API keys that end soon: by a line in the log each day for each key,
// and by numbers for the metrics. A key that was replaced with a grace ends as well.
type expiring struct {
	list func(ctx context.Context, now time.Time, limit int) ([]directory.APIKey, error)
	now  func() time.Time
	log  *slog.Logger

	told map[string]time.Time // when the log had a line about the key with the ID

	mu   sync.Mutex
	ends []time.Time // of the keys at the last look
	seen bool        // whether there was a look
}

// look reads the keys that end soon, and reminds of those that were not told within a day.
func (e *expiring) look(ctx context.Context) error {
	now := e.now()
	keys, err := e.list(ctx, now, maxExpiring)
	if err != nil {
		return err
	}
	told, ends := make(map[string]time.Time, len(keys)), make([]time.Time, len(keys))
	for i, k := range keys {
		ends[i], told[k.ID] = k.Expires, e.told[k.ID]
		if at, ok := e.told[k.ID]; ok && now.Sub(at) < expiryTold {
			continue
		}
		told[k.ID] = now
		e.log.WarnContext(ctx, "an API key expires soon; replace the key in the console or by the administration, "+
			"or make another one with ticketd apikey add, and give it to the holder",
			"api_key", k.ID, "expires", k.Expires, "days_left", int(k.Expires.Sub(now)/expiryTold))
	}
	e.told = told
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ends, e.seen = ends, true
	return nil
}

// within returns how many keys of the last look are good, and end within a time from now. ok
// is false before the first look.
func (e *expiring) within(d time.Duration) (n int, ok bool) {
	now := e.now()
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, end := range e.ends {
		if left := end.Sub(now); left > 0 && left <= d {
			n++
		}
	}
	return n, e.seen
}

// keep looks until ctx is done. An outage of the directory is told elsewhere.
func (e *expiring) keep(ctx context.Context) {
	tick := time.NewTicker(expiryEvery)
	defer tick.Stop()
	for {
		_ = e.look(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
