package pgstore

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/admitone/admitone/internal/servers"
	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/replaytest"
)

// The suite through PgBouncer in transaction mode, where every transaction may
// have another of its two connections to the server.
//
// trap R18
// trap R30
func TestConformancePgBouncer(t *testing.T) {
	t.Parallel()
	url := servers.Database(t)
	pooled := servers.PgBouncer(t, url, "transaction")
	replaytest.Run(t, replaytest.Harness{
		Open:  func(t *testing.T) replay.Store { return openAt(t, pooled) },
		Now:   time.Now,
		Epoch: func(t *testing.T) time.Time { return epoch(t, url) },
		Reset: func(t *testing.T) { exec1(t, url, "DROP SCHEMA admitone_replay CASCADE") },
		Exact: true,
	})
}

// trap S14: one connection to the server is enough for several processes.
func TestPgBouncerOneConnection(t *testing.T) {
	t.Parallel()
	pooled := servers.PgBouncerOf(t, servers.Database(t), "transaction", 1)
	stores := []*Store{open(t, pooled), open(t, pooled)}
	for range 5 {
		first, repeated, used := race(t, stores, fresh())
		assert.Equal(t, 1, first)
		assert.Zero(t, repeated)
		assert.Equal(t, 6*len(stores)-1, used)
	}
}

// Several processes through PgBouncer: one winner, in each of its modes that
// serves, and at an isolation that the store has to change.
//
// trap R18
func TestOneWinnerPgBouncer(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ mode, isolation string }{
		{"session", "read committed"},
		{"session", "serializable"},
		{"transaction", "read committed"},
		{"transaction", "serializable"},
		{"statement", "read committed"},
	} {
		t.Run(test.mode+", "+test.isolation, func(t *testing.T) {
			t.Parallel()
			url := servers.Database(t)
			openAt(t, url).Close() // statement mode allows no transaction to make the schema in
			exec1(t, url, fmt.Sprintf("ALTER DATABASE %s SET default_transaction_isolation = '%s'",
				ask1[string](t, url, "SELECT current_database()"), test.isolation))
			pooled := servers.PgBouncer(t, url, test.mode)
			stores := []*Store{open(t, pooled)}
			if test.mode != "session" { // in which one store keeps both connections
				stores = append(stores, open(t, pooled), open(t, pooled))
			}
			for n := range 20 {
				first, repeated, used := race(t, stores, bound(fresh(), byte(n%2)))
				assert.Equal(t, 1, first)
				assert.Equal(t, 6*len(stores)-1, repeated+used)
			}
		})
	}
}
