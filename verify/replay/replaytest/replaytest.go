// Package replaytest is the conformance suite that every replay.Store passes,
// those of this module and those of others: it looks for all the ways known to
// it in which a ticket could be admitted twice, or a good one refused.
//
// A store is put through it by a test of its own:
//
//	func TestConformance(t *testing.T) {
//		db := startDatabase(t)
//		replaytest.Run(t, replaytest.Harness{
//			Open: func(t *testing.T) replay.Store {
//				s, err := dynamostore.Open(db.Addr())
//				if err != nil {
//					t.Fatal(err)
//				}
//				t.Cleanup(s.Close)
//				return s
//			},
//			Now:    time.Now, // the database runs on this machine
//			Outage: func(t *testing.T) func() { db.Stop(); return db.Start },
//			Reset:  func(t *testing.T) { db.Wipe() },
//			Exact:  true,
//		})
//	}
//
// The package's example is a whole store on conditional puts, as DynamoDB, etcd and
// Spanner offer them, with the test that puts it through the suite.
//
// Run it with the race detector, too. What the suite cannot bring about, since
// the Harness has no way to it, it skips, and says so: look at the skips.
package replaytest

import (
	"testing"
	"time"

	"github.com/admitone/admitone/verify/replay"
)

// Harness says how to get at the store under test. Open and Now are needed.
type Harness struct {
	// Open returns another handle on the one store under test, as another
	// process of its users would have; for a store of one process, that store
	// itself. It is called several times in one test and in many tests, and
	// sees to it (t.Cleanup) that the handle is closed. The store is empty
	// when Run begins.
	Open func(t *testing.T) replay.Store

	// Now is the store's own clock, or, if Step is nil, one within a quarter
	// of a second of it.
	Now func() time.Time

	// Step moves that clock, in either direction. It is nil where the clock
	// cannot be moved, as a database server's: the suite then sleeps, some 15
	// seconds in all (not with -short), and skips what would take longer.
	Step func(d time.Duration)

	// Epoch returns the moment from which the store's memory is complete;
	// where shards have epochs of their own, the earliest. It is nil for a
	// store that has no barrier.
	Epoch func(t *testing.T) time.Time

	// Reset loses all that the store remembers, as a wiped disk or a server
	// that restarted empty does. Handles may stay open across it or not: what
	// they answer then must be safe. It is nil where it cannot be had.
	Reset func(t *testing.T)

	// Restart ends and starts again, in good order or with kill -9, what holds
	// the store's state; nothing may be lost by it, and it returns when the
	// store answers again. It is nil where it cannot be had, or where the
	// store promises nothing across a restart.
	Restart func(t *testing.T)

	// Outage makes the store unreachable, or its disk full, until restore is
	// called. It is nil where it cannot be had.
	Outage func(t *testing.T) (restore func())

	// Exact is set for a store that never answers PossiblyUsed.
	Exact bool
}

// Run puts the store through the suite, as subtests of t. What a store has to be
// ready for, after an outage or a restart, may take it three minutes, so that a
// busy machine fails nothing.
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
