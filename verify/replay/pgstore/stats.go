package pgstore

import (
	"context"

	"github.com/admitone/admitone/verify/replay"
)

// NonceBytes is the largest disk space of a spent nonce, in the table and its two indexes,
// with a realm of 16 bytes and a binding. Purged rows count until a vacuum has passed.
const NonceBytes = 320

// Stats implements replay.Managed. The server is asked within Config.Timeout.
func (s *Store) Stats(ctx context.Context) (replay.Stats, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	var st replay.Stats
	err := s.pool.QueryRow(ctx, `SELECT pg_stat_get_live_tuples(c), pg_stat_get_dead_tuples(c), pg_total_relation_size(c)
		FROM (SELECT 'admitone_replay.claims'::regclass AS c) AS claims`).Scan(&st.Live, &st.Dead, &st.DiskBytes)
	if err != nil {
		return replay.Stats{}, unavailable(err)
	}
	if fault := s.fault.Load(); fault != nil {
		st.Err = *fault
	}
	return st, nil
}
