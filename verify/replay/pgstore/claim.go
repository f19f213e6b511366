package pgstore

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/admitone/admitone/verify/replay"
)

const claimSQL = "SELECT status, first_used, binding, seen FROM admitone_replay.claim($1, $2, $3, $4, $5, $6, $7)"

// attempts is how often a statement is sent at most, if the server said each
// time that it undid it.
const attempts = 4

// Claim implements replay.Store, in one statement and one round trip. When the
// context or Config.Timeout ends it before the answer is here, the nonce may be
// spent and may not be; a claim with a binding can then be made again.
func (s *Store) Claim(ctx context.Context, c replay.Claim) (replay.Answer, error) {
	return s.ask(ctx, &c, true)
}

// Peek implements replay.Store.
func (s *Store) Peek(ctx context.Context, c replay.Claim) (replay.Answer, error) {
	return s.ask(ctx, &c, false)
}

func (s *Store) ask(ctx context.Context, c *replay.Claim, spend bool) (replay.Answer, error) {
	if err := c.Check(); err != nil {
		return replay.Answer{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	var binding []byte
	if c.Binding != [32]byte{} {
		binding = c.Binding[:]
	}
	var got row
	err := s.query(ctx, claimSQL, []any{s.realm, c.Nonce[:], c.NotBefore.UnixMilli(), c.Expires.UnixMilli(), c.RetainUntil.UnixMilli(), binding, spend},
		&got.status, &got.firstUsed, &got.binding, &got.seen)
	if err != nil {
		s.heal(ctx, err)
		return replay.Answer{}, unavailable(err)
	}
	return got.answer(c)
}

// row is what the SQL function claim returns.
type row struct {
	status          string
	firstUsed, seen *int64 // milliseconds since the epoch
	binding         []byte
}

func (r *row) answer(c *replay.Claim) (replay.Answer, error) {
	switch r.status {
	case "admitted":
		return replay.Answer{Status: replay.Admitted}, nil
	case "issued_before_start":
		return replay.Answer{Status: replay.IssuedBeforeStart}, nil
	case "too_late":
		return replay.Answer{Status: replay.TooLate}, nil
	case "clock_behind":
		return replay.Answer{Status: replay.ClockBehind}, nil
	case "already_used":
		if r.firstUsed == nil || r.seen == nil {
			break
		}
		var binding [32]byte
		copy(binding[:], r.binding)
		return c.Spent(time.UnixMilli(*r.firstUsed).UTC(), binding, time.UnixMilli(*r.seen).UTC()), nil
	}
	return replay.Answer{}, fmt.Errorf("%w: pgstore: the database answered %q, which is no answer", replay.ErrUnavailable, r.status)
}

// query sends one statement that returns one row, and returns when its
// transaction is committed. It is sent again only where the server undid it:
// otherwise one attempt could spend the nonce, and the next call it spent.
func (s *Store) query(ctx context.Context, sql string, args []any, into ...any) error {
	for n := 1; ; n++ {
		var err error
		if s.explicit.Load() {
			err = s.queryExplicit(ctx, sql, args, into...)
		} else {
			err = s.pool.QueryRow(ctx, sql, args...).Scan(into...)
		}
		switch {
		case err == nil:
			return nil
		case sqlState(err) == wrongIsolation:
			s.explicit.Store(true)
		case !undone(err):
			return err
		}
		if n == attempts || ctx.Err() != nil {
			return err
		}
	}
}

// queryExplicit does the same where the server's, database's or role's default
// is another isolation: three statements, still in one round trip.
func (s *Store) queryExplicit(ctx context.Context, sql string, args []any, into ...any) error {
	var batch pgx.Batch
	batch.Queue("BEGIN ISOLATION LEVEL READ COMMITTED")
	batch.Queue(sql, args...).QueryRow(func(r pgx.Row) error { return r.Scan(into...) })
	var end string
	batch.Queue("COMMIT").Exec(func(tag commandTag) error {
		end = tag.String()
		return nil
	})
	if err := s.pool.SendBatch(ctx, &batch).Close(); err != nil {
		return err
	}
	if end != "COMMIT" {
		return fmt.Errorf("the transaction ended with %q", end)
	}
	return nil
}
