package pgstore

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// purgeBatch is the most claims deleted in a transaction, to keep the transaction short.
	purgeBatch = 1000
	// purgeLongest bounds a batch, on a busy server.
	purgeLongest = time.Minute
)

// Purge deletes claims past their RetainUntil by the server's clock, in batches, and
// returns their number. Claims can be made in the meantime, and other processes may purge
// at the same time: all but a single purge return early. The store calls Purge every
// Config.PurgeEvery.
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
		// Processes started together do not stay together.
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
			s.log.Warn("replay store: expired claims could not be purged; the next attempt is in about "+every.String(),
				"store", s.name, "error", err)
		}
	}
}

// heal repairs the cause of a lasting error, if possible. The claim that met the error is
// refused in any case.
func (s *Store) heal(ctx context.Context, err error) {
	switch sqlState(err) {
	case readOnly:
		// The connections lead to the former primary. New connections look for the primary again.
		s.pool.Reset()
	case noSchema, noFunction:
		// All is lost. A schema made anew has a new epoch, so no older ticket is admitted.
		if !s.repairing.TryLock() {
			return
		}
		defer s.repairing.Unlock()
		made, err := s.migrate(ctx)
		s.look(ctx) // somebody else may have been faster
		if err != nil {
			s.log.Error("replay store: the schema is gone and cannot be made anew", "store", s.name, "error", err)
		} else if made {
			s.log.Warn("replay store: the schema was gone and is made anew; tickets of before are refused", "store", s.name)
		}
	}
}
