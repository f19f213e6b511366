package pgstore

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/admitone/admitone/verify/replay"
)

// attempts is the most attempts of a statement, if the server says each time that the
// attempt was undone.
const attempts = 4

// Claim implements replay.Store, in a statement and round trip possibly shared with other
// claims. If the context or Config.Timeout ends before the answer, the nonce may be spent
// or not; a claim with a binding can then be made again.
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
	if fault := s.fault.Load(); fault != nil {
		return replay.Answer{}, unavailable(*fault)
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return replay.Answer{}, unavailable(err)
	}
	r := &request{claim: *c, spend: spend}
	if err := s.requests.Do(ctx, r); err != nil {
		return replay.Answer{}, unavailable(err)
	}
	return r.answer, r.err
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
	return replay.Answer{}, fmt.Errorf("%w: the database answered %q, which is no answer", replay.ErrUnavailable, r.status)
}

// query sends a statement, has the rows read, and returns after the commit. The statement
// is sent again only if the server undid the attempt. Otherwise a first attempt could spend
// the nonce, and a second report a replay.
func (s *Store) query(ctx context.Context, sql string, args []any, read func(pgx.Rows) error) error {
	for n := 1; ; n++ {
		var err error
		if s.explicit.Load() {
			err = s.queryExplicit(ctx, sql, args, read)
		} else {
			rows, _ := s.pool.Query(ctx, sql, args...) // read meets its error
			err = read(rows)
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

// queryExplicit does the same where the server's, database's or role's default is another
// isolation: three statements, still in a single round trip.
func (s *Store) queryExplicit(ctx context.Context, sql string, args []any, read func(pgx.Rows) error) error {
	var batch pgx.Batch
	batch.Queue("BEGIN ISOLATION LEVEL READ COMMITTED")
	batch.Queue(sql, args...).Query(read)
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
