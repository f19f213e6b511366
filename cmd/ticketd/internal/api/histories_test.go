//go:build unix

package api

import (
	"flag"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/internal/servers"
)

var (
	histories    = flag.Int("histories", 40, "random histories of TestHistories on each database")
	historySeed  = flag.Uint64("seed", 0, "seed of TestHistories; 0: a random one")
	historySteps = flag.Int("steps", 60, "steps of each history")
)

func seedOfHistories(t *testing.T) uint64 {
	seed := *historySeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("repeat with -seed %d", seed)
	return seed
}

// Random histories of changes to the directory, of tickets, entries, checks and outages:
// every answer is as the model has it, on both databases.
//
// trap W9
// trap W10
// trap W11
// trap W12
// trap W13
// trap S1
// trap S7
func TestHistories(t *testing.T) {
	t.Parallel()
	for name, dsn := range map[string]func(*testing.T) string{
		"sqlite":   func(t *testing.T) string { return filepath.Join(t.TempDir(), "directory.db") },
		"postgres": func(t *testing.T) string { return servers.Database(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seed := seedOfHistories(t)
			n := *histories
			if testing.Short() {
				n /= 6
			}
			h := newHistoryWorld(t, dsn(t), historyFault{})
			for i := range n {
				if i%1000 == 999 {
					t.Logf("%d histories", i+1)
				}
				steps := newHistory(rand.New(rand.NewPCG(seed, uint64(i))), *historySteps)
				if wrong := h.run(steps); wrong != "" {
					steps = h.shortest(steps[:h.failed+1])
					require.FailNow(t, h.run(steps), "history %d:\n%s", i, describeHistory(steps))
				}
			}
			t.Log(h.tally)
		})
	}
}

func describeHistory(steps []step) string {
	var lines []string
	for _, s := range steps {
		lines = append(lines, s.String())
	}
	return strings.Join(lines, "\n")
}
