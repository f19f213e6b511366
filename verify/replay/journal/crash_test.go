package journal

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/admitone/admitone/verify/replay"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// When these are set, the test binary is a process that redeems tickets in the
// journal until it is killed.
const (
	envJournal = "REPLAY_TEST_JOURNAL"
	envIssued  = "REPLAY_TEST_ISSUED" // when the tickets were, Unix ns
	envRound   = "REPLAY_TEST_ROUND"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(envJournal); dir != "" {
		if os.Getenv(envUnlocked) != "" {
			redeemUnlocked(dir)
		}
		redeemUntilKilled(dir)
	}
	// What is parallel here sleeps.
	_ = flag.Set("test.parallel", strconv.Itoa(max(8, runtime.GOMAXPROCS(0))))
	os.Exit(m.Run())
}

// crashTicket is of one of several windows, two of them over within the test's time.
func crashTicket(n uint64, issued time.Time) replay.Claim {
	return ticket(n, issued, time.Hour+time.Duration(n%4)*20*time.Second, skew)
}

// redeemUntilKilled redeems tickets from many goroutines, and says what it is
// about to do and what came of it, a line each.
func redeemUntilKilled(dir string) {
	fail := func(a ...any) { fmt.Println(a...); os.Exit(1) }
	j, err := Open(context.Background(), Config{Dir: dir})
	if err != nil {
		fail("error", err)
	}
	ns, _ := strconv.ParseInt(os.Getenv(envIssued), 10, 64)
	round, _ := strconv.ParseUint(os.Getenv(envRound), 10, 64)
	for g := range uint64(32) {
		go func() {
			for i := uint64(0); ; i++ {
				n := round<<32 | g<<24 | i
				os.Stdout.WriteString(fmt.Sprintf("try %d\n", n))
				a, err := j.Claim(context.Background(), crashTicket(n, time.Unix(0, ns)))
				if err != nil || a.Status != replay.Admitted {
					fail("error", n, a, err)
				}
				os.Stdout.WriteString(fmt.Sprintf("admitted %d\n", n))
				again, err := j.Claim(context.Background(), crashTicket(n, time.Unix(0, ns)))
				if err != nil || again.Status != replay.AlreadyUsed {
					fail("error again", n, again, err)
				}
			}
		}()
	}
	select {}
}

// killedChild lets a process redeem tickets for a while and kills it. It
// returns the tickets that it tried and those that were admitted.
func killedChild(t *testing.T, dir string, issued time.Time, round int, after time.Duration) (
	tried, admitted map[uint64]bool,
) {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), envJournal+"="+dir, envRound+"="+strconv.Itoa(round),
		envIssued+"="+strconv.FormatInt(issued.UnixNano(), 10))
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	r := bufio.NewReader(out)
	line, err := r.ReadString('\n') // it is at work
	var timer *time.Timer
	tried, admitted = map[uint64]bool{}, map[uint64]bool{}
	for ; err == nil; line, err = r.ReadString('\n') {
		if timer == nil {
			timer = time.AfterFunc(after, func() { child.Process.Kill() })
		}
		what, number, _ := strings.Cut(strings.TrimSpace(line), " ")
		n, perr := strconv.ParseUint(number, 10, 64)
		require.NoError(t, perr, "%s", line)
		if what == "try" {
			tried[n] = true
		} else {
			require.Equal(t, "admitted", what)
			admitted[n] = true
		}
	}
	require.ErrorIs(t, err, io.EOF)
	child.Wait()
	return tried, admitted
}

// A process under load is killed again and again. What it admitted is not
// admitted again; what it was about to admit is, once at most; and nothing else
// is refused.
//
// trap R2
// trap R28
func TestKilled(t *testing.T) {
	rounds := 20
	if testing.Short() {
		rounds = 3
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	dir := t.TempDir()
	j, err := Open(t.Context(), Config{Dir: dir})
	require.NoError(t, err)
	epoch := j.Epoch()
	issued := epoch.Add(skew + time.Millisecond)
	require.NoError(t, j.Close())

	all := map[uint64]bool{}
	unsure := 0
	for round := 1; round <= rounds; round++ {
		tried, admitted := killedChild(t, dir, issued, round, time.Duration(rng.Int64N(int64(80*time.Millisecond))))
		j, err := Open(t.Context(), Config{Dir: dir})
		require.NoError(t, err)
		for n := range admitted {
			all[n] = true
		}
		for n := range all {
			a := claim(t, j, crashTicket(n, issued))
			require.Equal(t, replay.AlreadyUsed, a.Status, "ticket %d, admitted before the kill", n)
		}
		for n := range tried {
			if !admitted[n] { // killed before it could say what came of it
				unsure++
				a := claim(t, j, crashTicket(n, issued))
				require.Contains(t, []replay.Status{replay.Admitted, replay.AlreadyUsed}, a.Status)
				require.Equal(t, replay.AlreadyUsed, claim(t, j, crashTicket(n, issued)).Status)
				all[n] = true
			}
		}
		for i := range uint64(50) { // older than the kill, and never redeemed
			n := uint64(round)<<32 | 1<<31 | i
			require.Equal(t, replay.Admitted, claim(t, j, crashTicket(n, issued)).Status)
			all[n] = true
		}
		st := stats(t, j)
		require.Zero(t, st.Damaged)
		require.False(t, st.Restored)
		require.Equal(t, epoch, j.Epoch())
		require.NoError(t, j.Close())
	}
	t.Logf("%d tickets redeemed, %d claims cut off by %d kills", len(all), unsure, rounds)
	assert.Positive(t, unsure)
}
