package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/internal/servers"
)

// A change of an agent by a command: before begin the agent was as before, after end it
// is active or not.
type agentChange struct {
	begin, end time.Time
	active     bool
}

// was reports whether an agent with these changes, the first of which made it, was active
// or not at a moment from a time to another.
func was(changes []agentChange, active bool, from, to time.Time) bool {
	for i, c := range changes {
		until := to
		if i+1 < len(changes) {
			until = changes[i+1].end
		}
		if c.active == active && !c.begin.After(to) && !until.Before(from) {
			return true
		}
	}
	return false
}

// Commands beside a service make agents active and inactive, while the service answers
// requests for their tickets. No answer is older than a second, and on SQLite none is old.
func TestChangesByCommands(t *testing.T) {
	t.Parallel()
	for name, age := range map[string]time.Duration{"sqlite": 0, "postgres": time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			where := []string{"--data", t.TempDir()}
			if name == "postgres" {
				where = append(where, "--database", servers.Database(t))
			}
			p, info := startDemo(t, where...)
			command := func(args ...string) {
				require.Equal(t, exitOK, start(t, append(args, where...)...).wait())
			}
			const agents = 3
			ask := func(agent int) int {
				status, _ := statusOf(t, info, info.APIKey,
					fmt.Sprintf(`{"brand":"commbox","username":"agent%d","email":"agent@example.com"}`, agent))
				return status
			}
			var mu sync.Mutex
			changes := make([][]agentChange, agents)
			change := func(agent int, active bool, args ...string) {
				begin := time.Now()
				command(append(args, "agent"+strconv.Itoa(agent), "--brand", "commbox")...)
				mu.Lock()
				defer mu.Unlock()
				changes[agent] = append(changes[agent], agentChange{begin, time.Now(), active})
			}
			for i := range agents {
				assert.Equal(t, http.StatusNotFound, ask(i))
				change(i, true, "agent", "add", "--email", "agent@example.com")
				assert.Equal(t, http.StatusOK, ask(i), "add, then issue")
			}
			type answer struct {
				agent      int
				active     bool
				begin, end time.Time
			}
			var answers []answer
			var stop atomic.Bool
			var wg sync.WaitGroup
			t.Cleanup(func() { stop.Store(true); wg.Wait() })
			for range 2 {
				wg.Go(func() {
					for !stop.Load() {
						a := answer{agent: rand.IntN(agents), begin: time.Now()}
						status := ask(a.agent)
						a.active, a.end = status == http.StatusOK, time.Now()
						if status == http.StatusServiceUnavailable && p.busy() {
							continue
						}
						assert.Contains(t, []int{http.StatusOK, http.StatusNotFound}, status)
						mu.Lock()
						answers = append(answers, a)
						mu.Unlock()
					}
				})
			}
			for range 15 {
				agent := rand.IntN(agents)
				active := !changes[agent][len(changes[agent])-1].active
				change(agent, active, "agent", "set", "--active="+strconv.FormatBool(active))
				right := func() bool { return (ask(agent) == http.StatusOK) == active }
				if age == 0 {
					assert.True(t, right(), "at once")
				} else {
					assert.Eventually(t, right, time.Minute, time.Millisecond)
				}
			}
			stop.Store(true)
			wg.Wait()
			assert.NotEmpty(t, answers)
			for _, a := range answers {
				assert.True(t, was(changes[a.agent], a.active, a.begin.Add(-age), a.end), "%+v of %+v", a, changes[a.agent])
			}
			t.Logf("%d answers", len(answers))
		})
	}
}
