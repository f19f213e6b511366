package pgstore

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// purgeBatch is how many claims one transaction deletes at most, so that
	// it is short.
	purgeBatch = 1000
	// purgeLongest bounds a batch, on a server that is busy.
	purgeLongest = time.Minute
)

// Purge deletes the claims whose RetainUntil is over by the server's clock, in
// batches, and returns how many. Claims can be made meanwhile, and others may
// purge at the same time: all but one at once return early. The store calls it
// every Config.PurgeEvery.
func (s *Store) Purge(ctx context.Context) (int, error) {
	total := 0
	for {
		var n int
		err := s.query(ctx, "SELECT admitone_replay.purge($1::int)", []any{purgeBatch}, func(rows pgx.Rows) (err error) {
			n, err = pgx.CollectExactlyOneRow(rows, pgx.RowTo[int])
			return err
		})
		if err != nil {
			s.heal(ctx, err)
			return total, unavailable(err)
		}
		total += n
		if n < purgeBatch {
			return total, nil
		}
	}
}

func (s *Store) purgeEvery(ctx context.Context, every time.Duration) {
	for {
		// Processes that were started together do not stay together.
		wait := time.NewTimer(every/2 + rand.N(every))
		select {
		case <-ctx.Done():
			wait.Stop()
			return
		case <-wait.C:
		}
		bounded, cancel := context.WithTimeout(ctx, purgeLongest)
		_, err := s.Purge(bounded)
		cancel()
		if err != nil && ctx.Err() == nil {
			s.log.Warn("replay store: claims that are over could not be purged; the next attempt is in about "+every.String(), "store", s.name, "error", err)
		}
	}
}

// heal does what can be done about an error that would otherwise last. The
// claim that met it is refused in any case.
func (s *Store) heal(ctx context.Context, err error) {
	switch sqlState(err) {
	case readOnly:
		// The connections lead to what was the primary. New ones will
		// look for it again.
		s.pool.Reset()
	case noSchema, noFunction:
		// All is lost. A schema made anew has an epoch of its own, so that
		// nothing of before is admitted.
		if !s.repairing.TryLock() {
			return
		}
		defer s.repairing.Unlock()
		made, err := s.migrate(ctx)
		if err != nil {
			s.log.Error("replay store: the schema is gone and cannot be made anew", "store", s.name, "error", err)
		} else if made {
			s.log.Warn("replay store: the schema was gone and is made anew; tickets of before are refused", "store", s.name)
		}
	}
}
