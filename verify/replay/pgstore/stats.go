package pgstore

import "context"

// NonceBytes is the most that a spent nonce takes on the server's disk, in the
// table and its two indexes, with a realm of 16 bytes and a binding. What is
// purged is counted until a vacuum has passed.
const NonceBytes = 320

// Stats is what operators want to know of the database.
type Stats struct {
	// Live is the number of nonces, of all realms and with those that are over
	// and not yet purged, and Dead that of those that wait for a vacuum. They
	// are the server's own estimates, which begin anew after a crash.
	Live, Dead int64
	// DiskBytes is the size of the table and its indexes.
	DiskBytes int64
}

// Stats asks the server, within Config.Timeout. Call it for a scrape and not for
// a request.
func (s *Store) Stats(ctx context.Context) (Stats, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	var st Stats
	err := s.pool.QueryRow(ctx, `SELECT pg_stat_get_live_tuples(c), pg_stat_get_dead_tuples(c), pg_total_relation_size(c)
		FROM (SELECT 'admitone_replay.claims'::regclass AS c) AS claims`).Scan(&st.Live, &st.Dead, &st.DiskBytes)
	if err != nil {
		return Stats{}, unavailable(err)
	}
	return st, nil
}
