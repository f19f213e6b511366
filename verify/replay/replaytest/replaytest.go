// Package replaytest is the conformance suite of every replay.Store, in this module and
// elsewhere. The suite looks for all known ways in which a ticket could be admitted twice,
// or a good ticket refused.
//
// A test of the store's own runs the suite:
//
//	func TestConformance(t *testing.T) {
//		db := startDatabase(t)
//		replaytest.Run(t, replaytest.Harness{
//			Open: func(t *testing.T) replay.Store {
//				s, err := dynamostore.Open(t.Context(), dynamostore.Config{Addr: db.Addr()})
//				if err != nil {
//					t.Fatal(err)
//				}
//				t.Cleanup(func() { s.Close() })
//				return s
//			},
//			Now:    time.Now, // the database runs on this machine
//			Outage: func(t *testing.T) func() { db.Stop(); return db.Start },
//			Reset:  func(t *testing.T) { db.Wipe() },
//			Exact:  true,
//		})
//	}
//
// The package's example is a whole store on conditional puts, as in DynamoDB, etcd and
// Spanner, together with the test that runs the suite.
//
// Run the suite with the race detector, too. Tests that the Harness does not make possible
// are skipped with a reason: look at the skips.
package replaytest

import (
	"testing"
	"time"

	"github.com/admitone/admitone/verify/replay"
)

// Harness gives access to the store under test. Open and Now are mandatory.
type Harness struct {
	// Open returns another handle on the store under test, like the handle of another
	// process; for a store of one process, the store itself. Open is called several
	// times in a test and in many tests, and arranges (t.Cleanup) that the handle is
	// closed. The store is empty when Run begins.
	Open func(t *testing.T) replay.Store

	// Now is the store's own clock, or, if Step is nil, a clock within a quarter of a
	// second of the store's.
	Now func() time.Time

	// Step moves the store's clock, in either direction. Step is nil if the clock
	// cannot be moved, for instance a database server's. Then the suite sleeps, some 15
	// seconds in all (not with -short), and skips longer tests.
	Step func(d time.Duration)

	// Epoch returns the store's epoch; with an epoch for each shard, the earliest. Epoch
	// is nil for a store without a barrier.
	Epoch func(t *testing.T) time.Time

	// Reset loses all memory of the store, like a wiped disk or a server restarted
	// empty. Handles may stay open across a Reset or not: their answers must be safe
	// either way. Reset is nil if not possible.
	Reset func(t *testing.T)

	// Restart ends and starts again the holder of the store's state, in good order or
	// with kill -9. Nothing may be lost, and Restart returns when the store answers
	// again. Restart is nil if not possible, or if the store promises nothing across a
	// restart.
	Restart func(t *testing.T)

	// Outage makes the store unreachable, or its disk full, until restore is called.
	// Outage is nil if not possible.
	Outage func(t *testing.T) (restore func())

	// Exact is set for a store that never answers PossiblyUsed.
	Exact bool
}

// Run runs the suite, as subtests of t. After an outage or a restart the store has three
// minutes to recover, so that a busy machine fails no test.
func Run(t *testing.T, h Harness) { run(t, h, 3*time.Minute) }

func run(t *testing.T, h Harness, patience time.Duration) {
	if h.Open == nil || h.Now == nil {
		t.Fatal("replaytest.Harness needs Open and Now")
	}
	s := &suite{Harness: h, patience: patience}
	type test struct {
		name string
		run  func(*suite, *testing.T)
	}
	for _, test := range []test{
		{"Once", once},
		{"Handles", handles},
		{"OneWinner", oneWinner},
		{"OneWinnerBound", oneWinnerBound},
		{"Volume", volume},
		{"NothingRemoves", nothingRemoves},
		{"NoDeadlock", noDeadlock},

		{"DistinctNonces", distinctNonces},
		{"InvalidClaim", invalidClaim},
		{"OddTimes", oddTimes},
		{"Order", order},
		{"FarExpiry", farExpiry},
		{"Barrier", barrier},

		{"Binding", binding},
		{"Retention", retention},
		{"Waiting", func(s *suite, t *testing.T) {
			for _, test := range []test{
				{"GraceEnds", graceEnds},
				{"RetentionByTheClock", retentionByTheClock},
				{"RetentionNotCutShort", retentionNotCutShort},
			} {
				t.Run(test.name, func(t *testing.T) {
					if s.Step == nil {
						t.Parallel() // they sleep
					}
					test.run(s, t)
				})
			}
		}},
		{"LateClaim", lateClaim},
		{"ForwardStep", forwardStep},
		{"ShortLeap", shortLeap},
		{"ClockAhead", clockAhead},
		{"BackwardStep", backwardStep},

		{"Cancelled", cancelled},
		{"CancelledOnTheWay", cancelledOnTheWay},
		{"Outage", outage},
		{"Restart", restart},
		{"Amnesia", amnesia},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(s, t) })
	}
}
