package journal

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/internal/claimtest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// newJournal makes a journal whose epoch is an hour before start, so that the
// tests' tickets are good from the first moment, and returns its directory.
func newJournal(t testing.TB, clock *claimtest.Clock, config Config) (*Store, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "journal")
	clock.Step(-time.Hour)
	j := reopen(t, dir, clock, config)
	clock.Step(time.Hour)
	return j, dir
}

func reopen(t testing.TB, dir string, clock *claimtest.Clock, config Config) *Store {
	t.Helper()
	config.Dir, config.Now = dir, clock.Now
	j, err := Open(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(func() { j.Close() })
	return j
}

// restarted closes the journal and opens it again.
func restarted(t testing.TB, j *Store, clock *claimtest.Clock) *Store {
	t.Helper()
	require.NoError(t, j.Close())
	return reopen(t, j.dir, clock, Config{MaxBytes: j.maxBytes})
}

func segmentsIn(t testing.TB, dir string) (paths []string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "window.*"))
	require.NoError(t, err)
	return paths
}

// What was redeemed is known after a restart, wherever the clock stands then:
// also after one that stepped back, and for a ticket of an issuer ahead of us.
// What was not is good.
//
// trap R2
func TestRestartReplay(t *testing.T) {
	for _, step := range []time.Duration{0, time.Second, -30 * time.Second, -30 * time.Minute} {
		clock := claimtest.NewClock()
		j, _ := newJournal(t, clock, Config{})
		used := ticket(1, start, lifetime, skew)
		ahead := ticket(2, start.Add(skew), lifetime, skew)
		require.Equal(t, replay.Admitted, claim(t, j, used).Status)
		require.Equal(t, replay.Admitted, claim(t, j, ahead).Status)
		epoch := j.Epoch()
		clock.Step(step)
		j = restarted(t, j, clock)
		want := replay.Answer{Status: replay.AlreadyUsed, FirstUsed: start}
		assert.Equal(t, want, claim(t, j, used))
		assert.Equal(t, want, claim(t, j, ahead))
		assert.Equal(t, replay.Admitted, claim(t, j, ticket(3, start, lifetime, skew)).Status)
		st := stats(t, j)
		assert.Equal(t, epoch, j.Epoch())
		assert.False(t, st.Restored)
		assert.Equal(t, max(0, -step), st.ClockBehind, "also behind what it was before the restart")
		assert.Zero(t, st.Failures)
		assert.EqualValues(t, 3, st.Live)
	}
}

// Windows dropped while the clock ran ahead are known to have existed, also
// after a restart with the clock set right.
//
// trap R13
// trap R14
func TestForwardStepAndCorrection(t *testing.T) {
	for _, restartAhead := range []bool{false, true} {
		clock := claimtest.NewClock()
		j, dir := newJournal(t, clock, Config{})
		var victims []replay.Claim
		for n := range uint64(40) {
			c := ticket(n, start, time.Duration(n)*10*time.Second, skew)
			require.Equal(t, replay.Admitted, claim(t, j, c).Status)
			victims = append(victims, c)
		}
		require.Len(t, segmentsIn(t, dir), stats(t, j).Windows)
		clock.Step(2 * time.Hour)
		if restartAhead {
			j = restarted(t, j, clock)
		}
		later := ticket(1000, clock.Now(), lifetime, skew)
		for n := range uint64(20) { // some are dropped by each
			claim(t, j, ticket(2000+n, clock.Now(), lifetime, skew))
		}
		require.Equal(t, replay.Admitted, claim(t, j, later).Status)
		clock.Step(-2 * time.Hour)
		j = restarted(t, j, clock)
		assert.Len(t, segmentsIn(t, dir), 1, "segments are removed with their windows")
		for _, c := range victims {
			assert.Equal(t, replay.Answer{Status: replay.ClockBehind}, claim(t, j, c))
		}
		assert.Equal(t, replay.AlreadyUsed, claim(t, j, later).Status)
		assert.Equal(t, replay.ClockBehind, claim(t, j, ticket(3000, start, time.Minute, skew)).Status)
		assert.Equal(t, replay.Admitted, claim(t, j, ticket(3001, start, 10*time.Minute, skew)).Status)
	}
}

// A wiped directory knows nothing, and refuses all that it might have known.
//
// trap R30
func TestWiped(t *testing.T) {
	clock := claimtest.NewClock()
	j, dir := newJournal(t, clock, Config{})
	used, unused := ticket(1, start, lifetime, skew), ticket(2, start, lifetime, skew)
	require.Equal(t, replay.Admitted, claim(t, j, used).Status)

	// Under a running process: nothing is admitted that another, in a new
	// directory at the same place, might admit too.
	require.NoError(t, os.RemoveAll(dir))
	for range 2 {
		_, err := j.Claim(context.Background(), unused)
		require.ErrorIs(t, err, replay.ErrUnavailable)
		assert.ErrorContains(t, err, "restart this process")
	}
	other := reopen(t, dir, clock, Config{})
	_, err := j.Claim(context.Background(), unused)
	require.ErrorIs(t, err, replay.ErrUnavailable)
	require.ErrorContains(t, err, "another process has taken over")
	assert.Error(t, stats(t, j).Err)

	assert.Equal(t, replay.IssuedBeforeStart, claim(t, other, used).Status)
	assert.Equal(t, replay.IssuedBeforeStart, claim(t, other, unused).Status)
	assert.Equal(t, start, other.Epoch())
	assert.False(t, stats(t, other).Restored)
	clock.Step(skew + 1)
	fresh := ticket(3, clock.Now(), lifetime, skew)
	assert.Equal(t, replay.Admitted, claim(t, other, fresh).Status)
	other = restarted(t, other, clock)
	assert.Equal(t, replay.AlreadyUsed, claim(t, other, fresh).Status)
	assert.Equal(t, start, other.Epoch(), "nothing new about a restart")
}

// copyDir is a backup, or the restoring of one.
func copyDir(t *testing.T, from, to string) {
	t.Helper()
	require.NoError(t, os.RemoveAll(to))
	require.NoError(t, os.CopyFS(to, os.DirFS(from)))
}

// A directory that was restored from a backup does not know what was redeemed
// since: its epoch is new. What it does know, it knows.
//
// trap R30
func TestRestored(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("all files are alike here")
	}
	clock := claimtest.NewClock()
	j, dir := newJournal(t, clock, Config{})
	before, after := ticket(1, start, lifetime, skew), ticket(2, start, lifetime, skew)
	require.Equal(t, replay.Admitted, claim(t, j, before).Status)
	backup := filepath.Join(t.TempDir(), "backup")
	copyDir(t, dir, backup)
	require.Equal(t, replay.Admitted, claim(t, j, after).Status)
	require.NoError(t, j.Close())
	clock.Step(time.Minute)
	copyDir(t, backup, dir)

	j = reopen(t, dir, clock, Config{})
	epoch := j.Epoch()
	assert.True(t, stats(t, j).Restored)
	assert.Equal(t, clock.Now().UTC(), epoch)
	assert.Equal(t, replay.AlreadyUsed, claim(t, j, before).Status)
	assert.Equal(t, replay.IssuedBeforeStart, claim(t, j, after).Status)
	clock.Step(skew + 1)
	fresh := ticket(3, clock.Now(), lifetime, skew)
	assert.Equal(t, replay.Admitted, claim(t, j, fresh).Status)

	// The copies are still there, and at the next start they are old news.
	j = restarted(t, j, clock)
	assert.Equal(t, epoch, j.Epoch())
	assert.False(t, stats(t, j).Restored)
	assert.Equal(t, replay.AlreadyUsed, claim(t, j, fresh).Status)
	assert.Equal(t, replay.Admitted, claim(t, j, ticket(4, clock.Now(), lifetime, skew)).Status)

	// One segment put back is enough, with all else in place.
	require.NoError(t, j.Close())
	newest := segmentsIn(t, dir)[1]
	data, err := os.ReadFile(newest)
	require.NoError(t, err)
	require.NoError(t, os.Rename(newest, newest+".old")) // keeps its inode from being used again
	require.NoError(t, os.WriteFile(newest, data, 0o600))
	clock.Step(time.Minute)
	j = reopen(t, dir, clock, Config{})
	assert.True(t, stats(t, j).Restored)
	assert.Equal(t, clock.Now().UTC(), j.Epoch())
}

// Nor does one that has no segment to tell a copy by: all that it had was over
// when the backup was made, or nothing was redeemed yet.
//
// trap R30
func TestRestoredWithoutSegments(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("all files are alike here")
	}
	clock := claimtest.NewClock()
	j, dir := newJournal(t, clock, Config{})
	require.NoError(t, j.Close())
	require.Empty(t, segmentsIn(t, dir))
	backup := filepath.Join(t.TempDir(), "backup")
	copyDir(t, dir, backup)
	j = reopen(t, dir, clock, Config{})
	c := ticket(1, start, lifetime, skew)
	require.Equal(t, replay.Admitted, claim(t, j, c).Status)
	require.NoError(t, j.Close())
	clock.Step(time.Second)
	copyDir(t, backup, dir)

	j = reopen(t, dir, clock, Config{})
	epoch := j.Epoch()
	assert.True(t, stats(t, j).Restored)
	assert.Equal(t, clock.Now().UTC(), epoch)
	assert.Equal(t, replay.IssuedBeforeStart, claim(t, j, c).Status)
	j = restarted(t, j, clock)
	assert.False(t, stats(t, j).Restored)
	assert.Equal(t, epoch, j.Epoch())
}

// A nonce is known to the last nanosecond of its time, though a record has whole
// seconds only, by the process that wrote it and the next one.
//
// trap R6
func TestRetainsToTheEnd(t *testing.T) {
	for _, fraction := range []time.Duration{0, 1, 500 * time.Millisecond, time.Second - 1} {
		clock := claimtest.NewClock()
		j, _ := newJournal(t, clock, Config{})
		c := ticket(1, start.Add(fraction), lifetime, skew)
		require.Equal(t, replay.Admitted, claim(t, j, c).Status)
		clock.Set(c.RetainUntil.Add(-1))
		claim(t, j, ticket(2, clock.Now(), lifetime, skew)) // would drop what is over
		want := replay.Answer{Status: replay.AlreadyUsed, FirstUsed: start}
		assert.Equal(t, want, claim(t, j, c))
		j = restarted(t, j, clock)
		assert.Equal(t, want, claim(t, j, c))
		clock.Step(1)
		assert.Equal(t, replay.TooLate, claim(t, j, c).Status)
	}
}

// Moving it and giving it to another owner or mode does not make it a copy.
func TestMoved(t *testing.T) {
	clock := claimtest.NewClock()
	j, dir := newJournal(t, clock, Config{})
	c := ticket(1, start, lifetime, skew)
	require.Equal(t, replay.Admitted, claim(t, j, c).Status)
	require.NoError(t, j.Close())
	for _, path := range append(segmentsIn(t, dir), filepath.Join(dir, instanceFile)) {
		require.NoError(t, os.Chmod(path, 0o640))
	}
	require.NoError(t, os.Rename(dir, dir+"2"))
	j = reopen(t, dir+"2", clock, Config{})
	assert.False(t, stats(t, j).Restored)
	assert.Equal(t, replay.AlreadyUsed, claim(t, j, c).Status)
	assert.Equal(t, replay.Admitted, claim(t, j, ticket(2, start, lifetime, skew)).Status)
}

func TestHasOneOwner(t *testing.T) {
	clock := claimtest.NewClock()
	j, dir := newJournal(t, clock, Config{})
	synctest.Test(t, func(t *testing.T) { // it waits for the lock
		_, err := Open(t.Context(), Config{Dir: dir, Now: clock.Now})
		require.ErrorContains(t, err, dir)
		require.ErrorContains(t, err, "locked by another process (process ID "+strconv.Itoa(os.Getpid())+")")
	})
	require.NoError(t, j.Close())
	require.NoError(t, j.Close())
	for name, call := range claimtest.Calls(j) {
		a, err := call(context.Background(), ticket(1, start, lifetime, skew))
		assert.ErrorIs(t, err, replay.ErrUnavailable, name)
		assert.Zero(t, a, name)
	}
	reopen(t, dir, clock, Config{})
}

func TestConfig(t *testing.T) {
	dir := t.TempDir()
	_, err := Open(t.Context(), Config{Dir: dir, MaxBytes: 64<<10 - 1})
	assert.ErrorContains(t, err, "give at least 65536")
	_, err = Open(t.Context(), Config{})
	assert.ErrorContains(t, err, "journal.Config.Dir is empty")
	_, err = Open(t.Context(), Config{Dir: filepath.Join(dir, "absent", "\x00")})
	assert.ErrorContains(t, err, "cannot open the journal in")
	_, err = Open(t.Context(), Config{Dir: dir, Now: func() time.Time { return time.Time{} }})
	assert.ErrorContains(t, err, "set the clock right")

	j, err := Open(t.Context(), Config{Dir: dir})
	require.NoError(t, err)
	defer j.Close()
	info, err := os.Stat(dir)
	require.NoError(t, err)
	require.True(t, info.IsDir())
	c := ticket(1, time.Now().Add(skew), lifetime, skew)
	assert.Equal(t, replay.Admitted, claim(t, j, c).Status)
	assert.EqualValues(t, DefaultBytes, stats(t, j).MaxBytes)
}

// At its bound it says Full, forgets nothing, and takes room from what is
// expired as soon as there is any.
//
// trap R16
func TestFull(t *testing.T) {
	clock := claimtest.NewClock()
	j, dir := newJournal(t, clock, Config{MaxBytes: 64 << 10})
	some, full := admitted(t, j, 1<<20, func(n uint64) replay.Claim {
		return ticket(n, start, lifetime+time.Duration(n%60)*time.Second, skew)
	})
	require.True(t, full)
	require.Greater(t, len(some), 900)
	st := stats(t, j)
	assert.LessOrEqual(t, st.Bytes, st.MaxBytes)
	requireSpent(t, j, some)
	j = restarted(t, j, clock)
	requireSpent(t, j, some)
	assert.EqualValues(t, st.Windows*headerSize+len(some)*recordSize, stats(t, j).DiskBytes)
	assert.Equal(t, replay.Full, peek(t, j, ticket(1<<32, start, lifetime, skew)).Status)
	assert.Equal(t, replay.Full, claim(t, j, ticket(1<<32, start, lifetime, skew)).Status)

	clock.Set(some[0].RetainUntil.Add(2 * time.Minute))
	require.Equal(t, replay.Admitted, peek(t, j, ticket(1<<33, clock.Now(), lifetime, skew)).Status)
	again, full := admitted(t, j, 900, func(n uint64) replay.Claim { return ticket(1<<33+n, clock.Now(), lifetime, skew) })
	assert.False(t, full)
	j = restarted(t, j, clock)
	assert.Len(t, segmentsIn(t, dir), 1)
	assert.EqualValues(t, 900, stats(t, j).Live)
	requireSpent(t, j, again)
	size := int64(0)
	for _, path := range segmentsIn(t, dir) {
		info, err := os.Stat(path)
		require.NoError(t, err)
		size += info.Size()
	}
	assert.Equal(t, size, stats(t, j).DiskBytes)
}

// The bound is of what the runtime says is in use.
func TestMemoryIsBounded(t *testing.T) {
	x := newNonceIndex()
	before := claimtest.HeapInUse()
	for n := range uint64(150_000) { // over some doublings of the maps
		r := record{nonce: claimtest.Nonce(n), first: int64(n), retain: int64(n)}
		x.load(int64(n%7), &r, start)
	}
	used := claimtest.HeapInUse() - before
	t.Logf("%.1f bytes a nonce, stated %d", float64(used)/150_000, nonceBytes)
	assert.LessOrEqual(t, used, x.bytes())
	before = claimtest.HeapInUse()
	for n := range uint64(150_000) { // known already, and now with a binding
		r := record{nonce: claimtest.Nonce(n), binding: [32]byte{1}, first: start.UnixNano(), retain: int64(n)}
		x.bind(&r, start)
	}
	assert.LessOrEqual(t, claimtest.HeapInUse()-before, int64(150_000*bindingBytes))
	assert.Greater(t, x.bytes(), int64(150_000*(nonceBytes+bindingBytes)))
	runtime.KeepAlive(&x)

	x = newNonceIndex()
	before = claimtest.HeapInUse()
	for n := range uint64(10_000) { // nothing but windows
		r := record{nonce: claimtest.Nonce(n), first: int64(n), retain: int64(n)}
		x.load(int64(n), &r, start)
	}
	assert.LessOrEqual(t, claimtest.HeapInUse()-before, x.bytes())
	runtime.KeepAlive(&x)
}

// Bindings are known for the grace, across a restart too, and not for long
// after it.
//
// trap R25
func TestGraceAcrossRestart(t *testing.T) {
	clock := claimtest.NewClock()
	j, _ := newJournal(t, clock, Config{})
	c := bound(ticket(1, start, lifetime, skew), 7)
	require.Equal(t, replay.Admitted, claim(t, j, c).Status)
	clock.Step(replay.Grace - 1)
	j = restarted(t, j, clock)
	assert.Equal(t, replay.Answer{Status: replay.Admitted, FirstUsed: start, Repeated: true}, claim(t, j, c))
	assert.Equal(t, replay.AlreadyUsed, claim(t, j, bound(c, 8)).Status)
	clock.Step(1)
	assert.Equal(t, replay.AlreadyUsed, claim(t, j, c).Status)
	for n := range uint64(30) {
		claim(t, j, bound(ticket(2+n, start, lifetime, skew), 9))
		clock.Step(time.Second)
		assert.LessOrEqual(t, len(j.index.bindings)+len(j.index.older), 21)
	}
	j = restarted(t, j, clock)
	assert.LessOrEqual(t, len(j.index.bindings)+len(j.index.older), 10)
}

// A journal that is full of bindings has room again when they no longer count.
func TestFullOfBindings(t *testing.T) {
	clock := claimtest.NewClock()
	j, _ := newJournal(t, clock, Config{MaxBytes: 64 << 10})
	some, full := admitted(t, j, 1<<20, func(n uint64) replay.Claim { return bound(ticket(n, start, lifetime, skew), 7) })
	require.True(t, full)
	clock.Step(2 * replay.Grace)
	more, full := admitted(t, j, 400, func(n uint64) replay.Claim { return ticket(1<<32+n, start, lifetime, skew) })
	assert.False(t, full)
	requireSpent(t, j, append(some, more...))
}

// The clock jumps ahead, tickets are redeemed, the process ends, and the clock
// is set right: what is not over by then is served.
//
// trap R14
func TestRestartAfterForwardStep(t *testing.T) {
	clock := claimtest.NewClock()
	j, _ := newJournal(t, clock, Config{})
	old := ticket(1, start, time.Hour, skew)
	require.Equal(t, replay.Admitted, claim(t, j, old).Status)
	clock.Step(time.Hour)
	ahead := ticket(2, clock.Now(), lifetime, skew)
	require.Equal(t, replay.Admitted, claim(t, j, ahead).Status)
	clock.Step(lifetime)
	require.Equal(t, replay.Admitted, claim(t, j, ticket(3, clock.Now(), lifetime, skew)).Status)
	require.NoError(t, j.Close()) // "old" is over, and swept or not
	clock.Set(start.Add(time.Minute))
	j = reopen(t, j.dir, clock, Config{})
	assert.Contains(t, []replay.Status{replay.AlreadyUsed, replay.ClockBehind}, claim(t, j, old).Status)
	assert.Equal(t, replay.AlreadyUsed, claim(t, j, ahead).Status)
	assert.Equal(t, replay.Admitted, claim(t, j, ticket(4, clock.Now(), lifetime, skew)).Status)
	assert.Equal(t, replay.Admitted, claim(t, j, ticket(5, start, time.Hour+lifetime, skew)).Status)
}

// More windows at once than files are kept open, and again.
func TestManyWindows(t *testing.T) {
	clock := claimtest.NewClock()
	j, _ := newJournal(t, clock, Config{})
	for round := range uint64(2) {
		var wg sync.WaitGroup
		for n := range uint64(3 * maxOpenFiles) {
			wg.Go(func() {
				a, err := j.Claim(context.Background(), ticket(round<<32|n, start, time.Duration(n)*20*time.Second, skew))
				if err != nil || a.Status != replay.Admitted {
					t.Errorf("%+v, %v", a, err)
				}
			})
		}
		wg.Wait()
	}
	j = restarted(t, j, clock)
	assert.LessOrEqual(t, len(j.files), maxOpenFiles)
	assert.EqualValues(t, 6*maxOpenFiles, stats(t, j).Live)
	assert.Zero(t, stats(t, j).Failures)
}

// Files of others in the directory are left alone, and the journal's own are
// nobody else's to read.
func TestDirectory(t *testing.T) {
	clock := claimtest.NewClock()
	j, dir := newJournal(t, clock, Config{})
	for _, name := range []string{"README", "window.1", "window.1.2x", "window.01.2"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("mine"), 0o600))
	}
	require.Equal(t, replay.Admitted, claim(t, j, ticket(1, start, lifetime, skew)).Status)
	j = restarted(t, j, clock)
	assert.EqualValues(t, 1, stats(t, j).Live)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		info, err := e.Info()
		require.NoError(t, err)
		if runtime.GOOS != "windows" {
			assert.Zero(t, info.Mode().Perm()&0o077, e.Name())
		}
		names = append(names, e.Name())
	}
	want := "README instance lock owner state window.01.2 window.1 window.1.2x "
	want += segmentName(112500018, uint64(start.Add(-time.Hour).UnixNano())+1)
	assert.Equal(t, want, strings.Join(names, " "))
}
