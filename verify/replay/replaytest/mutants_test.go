package replaytest_test

import (
	"errors"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/verify/internal/exactstore"
	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/internal/claimtest"
	"github.com/admitone/admitone/verify/replay/replaytest"
)

// When it is set, the test binary puts the store with this fault through the suite.
const envMutant = "REPLAYTEST_MUTANT"

// unseen are the faults that only verifiers of different skews, or a full store, show:
// package verify's tests find them.
var unseen = map[exactstore.Fault]bool{
	exactstore.BarrierWithoutSkew: true,
	exactstore.SpendsRefused:      true,
}

// slow are the faults after which the suite gives the store time to recover.
var slow = map[exactstore.Fault]bool{exactstore.OutageForEver: true, exactstore.Deadlock: true}

// handle shows no more of an exactstore.Store than a store has: no method to forget.
type handle struct {
	replay.Store
	all *exactstore.Store
}

// Stats is there to be called beside the others.
func (h handle) Stats() int { return h.all.Len() }

func putThrough(t *testing.T, fault exactstore.Fault) {
	clock := claimtest.NewClock()
	clock.Step(5)
	capacity := 0
	if fault == exactstore.EvictsWhenFull {
		capacity = 1000
	}
	s := exactstore.New(clock.Now, capacity, fault)
	patience := 3 * time.Minute
	if slow[fault] {
		patience = 3 * time.Second
	}
	replaytest.RunWithin(t, replaytest.Harness{
		Open:    func(*testing.T) replay.Store { return handle{s, s} },
		Now:     clock.Now,
		Step:    clock.Step,
		Epoch:   func(*testing.T) time.Time { return s.Epoch() },
		Reset:   func(*testing.T) { s.Reset() },
		Restart: func(*testing.T) { s.Restart() },
		Outage:  func(*testing.T) func() { return s.Outage() },
		Exact:   true,
	}, patience)
}

// The store without a fault passes.
func TestExactStorePasses(t *testing.T) {
	putThrough(t, exactstore.Fault(os.Getenv(envMutant)))
}

// With any one fault, the store does not pass.
func TestMutantsAreCaught(t *testing.T) {
	if os.Getenv(envMutant) != "" {
		t.Skip("this is one of them")
	}
	for _, fault := range exactstore.Faults {
		if unseen[fault] {
			continue
		}
		t.Run(string(fault), func(t *testing.T) {
			t.Parallel()
			child := exec.Command(os.Args[0], "-test.run=^TestExactStorePasses$", "-test.timeout=5m", "-test.failfast")
			child.Env = append(os.Environ(), envMutant+"="+string(fault))
			out, err := child.CombinedOutput()
			exit, ok := errors.AsType[*exec.ExitError](err)
			require.True(t, ok, "not caught: %v\n%s", err, out)
			assert.NotZero(t, exit.ExitCode())
			assert.Regexp(t, `--- FAIL: TestExactStorePasses/|all goroutines are asleep`, string(out))
		})
	}
}
