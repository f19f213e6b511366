package journal

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/verify/replay"
)

// When this is set beside envJournal, the process opens the journal without a lock.
const envUnlocked = "REPLAY_TEST_UNLOCKED"

// laterTicket is issued n milliseconds after the first ticket. So if a window is damaged,
// some later ticket is good again.
func laterTicket(n uint64, issued time.Time) replay.Claim {
	return ticket(n, issued.Add(time.Duration(n)*time.Millisecond), time.Hour, skew)
}

// redeemUnlocked redeems the same tickets as all its like, until another takes over.
func redeemUnlocked(dir string) {
	ns, _ := strconv.ParseInt(os.Getenv(envIssued), 10, 64)
	j, err := openLocked(context.Background(), Config{Dir: dir}, nothing, noLock)
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	var next atomic.Uint64
	for range 8 {
		go func() {
			for {
				n := next.Add(1)
				a, err := j.Claim(context.Background(), laterTicket(n, time.Unix(0, ns)))
				if err == nil && a.Status == replay.Admitted {
					os.Stdout.WriteString(fmt.Sprintln("admitted", n))
				}
				if errors.Is(err, errTaken) {
					os.Stdout.WriteString("taken 0\n")
					os.Exit(0)
				}
			}
		}()
	}
	select {}
}

// trap R34: processes open one journal, one after the other, all of them alive, and the lock
// excludes nobody. No ticket is admitted by two processes, and all but the last end by
// themselves.
func TestProcessesWithoutLock(t *testing.T) {
	dir := t.TempDir()
	j, err := Open(t.Context(), Config{Dir: dir})
	require.NoError(t, err)
	require.NoError(t, j.Close())
	issued := j.Epoch().Add(skew + time.Millisecond)

	const processes = 5
	type result struct {
		admitted []uint64
		taken    bool
	}
	results := make([]result, processes)
	ended := make(chan error, processes)
	var last *exec.Cmd
	for i := range processes {
		last = exec.Command(os.Args[0])
		last.Env = append(os.Environ(), envJournal+"="+dir, envUnlocked+"=1",
			envIssued+"="+strconv.FormatInt(issued.UnixNano(), 10))
		out, err := last.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, last.Start())
		child := last
		t.Cleanup(func() { child.Process.Kill() })
		atWork := make(chan struct{}, 1)
		go func() {
			r := &results[i]
			ended <- readLines(out, func(what string, n uint64) {
				r.taken = r.taken || what == "taken"
				if what == "admitted" {
					r.admitted = append(r.admitted, n)
				}
				select {
				case atWork <- struct{}{}:
				default:
				}
			})
			child.Wait()
		}()
		<-atWork
	}
	require.NoError(t, last.Process.Kill())
	for range processes {
		select {
		case err := <-ended:
			require.NoError(t, err)
		case <-time.After(time.Minute):
			require.Fail(t, "a process goes on after another took over")
		}
	}

	all := make(map[uint64]bool)
	for i, r := range results {
		assert.NotEmpty(t, r.admitted, "process %d", i)
		assert.Equal(t, i < processes-1, r.taken, "process %d", i)
		for _, n := range r.admitted {
			require.False(t, all[n], "ticket %d is admitted twice, the second time by process %d", n, i)
			all[n] = true
		}
	}
	j, err = Open(t.Context(), Config{Dir: dir})
	require.NoError(t, err)
	defer j.Close()
	for n := range all {
		require.NotEqual(t, replay.Admitted, claim(t, j, laterTicket(n, issued)).Status)
	}
	t.Logf("%d tickets", len(all))
}

// readLines hands each line of a word and a number to see.
func readLines(r io.Reader, see func(what string, n uint64)) error {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		var what string
		var n uint64
		if _, err := fmt.Sscanf(lines.Text(), "%s %d", &what, &n); err != nil {
			return fmt.Errorf("%s: %w", lines.Text(), err)
		}
		see(what, n)
	}
	return lines.Err()
}
