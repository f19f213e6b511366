package journal

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"testing"

	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/internal/claimtest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// smallDisk mounts a file system of 64 pages, or skips the test.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("cannot mount a small file system here: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("cannot unmount %s: %v", dir, err)
		}
	})
	return dir
}

// fill takes all room there is.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	require.NoError(t, err)
	defer f.Close()
	for b := make([]byte, 4096); ; {
		if _, err := f.Write(b); err != nil {
			require.ErrorIs(t, err, unix.ENOSPC)
			return
		}
	}
}

// The disk is filled, and freed again. Meanwhile the answer is unavailable, and
// then all is as it was, without a restart.
//
// trap R24
// trap R28
func TestDiskFull(t *testing.T) {
	disk := smallDisk(t)
	clock := claimtest.NewClock()
	clock.Step(-lifetime)
	dir, filler := filepath.Join(disk, "journal"), filepath.Join(disk, "filler")
	j := reopen(t, dir, clock, Config{})
	defer func() { j.Close() }() // before the file system is unmounted
	clock.Step(lifetime)
	n := uint64(0)
	fresh := func() replay.Claim { n++; return ticket(n, clock.Now(), lifetime, skew) }
	spent := map[replay.Claim]bool{}
	var asked []replay.Claim
	for range 5 {
		for range 20 {
			c := fresh()
			require.Equal(t, replay.Admitted, claim(t, j, c).Status)
			spent[c] = true
		}
		fill(t, filler)
		failures := 0
		for range 300 { // what is left of the segment's last page is used up first
			c := fresh()
			a, err := j.Claim(context.Background(), c)
			if err != nil {
				require.ErrorIs(t, err, replay.ErrUnavailable)
				require.ErrorIs(t, stats(t, j).Err, unix.ENOSPC)
				asked = append(asked, c)
				failures++
				continue
			}
			require.Equal(t, replay.Admitted, a.Status)
			spent[c] = true
		}
		require.Greater(t, failures, 200)
		require.NoError(t, os.Remove(filler))
	}
	for _, restart := range []bool{false, true} {
		if restart {
			j = restarted(t, j, clock)
		}
		refused := 0
		for _, c := range asked {
			if spent[c] {
				continue
			}
			if a := claim(t, j, c); a.Status == replay.Admitted {
				spent[c] = true
			} else {
				require.Equal(t, replay.AlreadyUsed, a.Status)
				refused++
			}
		}
		assert.LessOrEqual(t, refused, 10, "the first to meet the full disk; all others were spent by nobody")
		for c := range spent {
			requireSpent(t, j, []replay.Claim{c})
		}
	}
	assert.Zero(t, stats(t, j).Damaged)
}

// A disk that is full of the journal's own segments has room again when they
// are over, though there is none to note that down.
//
// trap R28
func TestFillsItsDisk(t *testing.T) {
	disk := smallDisk(t)
	clock := claimtest.NewClock()
	clock.Step(-lifetime)
	j := reopen(t, filepath.Join(disk, "journal"), clock, Config{})
	defer func() { j.Close() }()
	clock.Step(lifetime)
	next := uint64(0)
	for range 3 {
		var spent []replay.Claim
		for {
			next++
			c := ticket(next, clock.Now(), lifetime, skew)
			if _, err := j.Claim(context.Background(), c); err != nil {
				require.ErrorIs(t, err, replay.ErrUnavailable)
				break
			}
			spent = append(spent, c)
		}
		fill(t, filepath.Join(disk, "filler"))
		requireSpent(t, j, spent)
		require.Greater(t, len(spent), 1000)
		before := clock.Now()
		clock.Set(spent[0].RetainUntil)
		admitted := false
		for try := 0; !admitted && try < 100; try++ {
			next++
			a, err := j.Claim(context.Background(), ticket(next, clock.Now(), lifetime, skew))
			admitted = err == nil && a.Status == replay.Admitted
			require.True(t, admitted || errors.Is(err, replay.ErrUnavailable), "%+v, %v", a, err)
		}
		require.True(t, admitted, "%v", stats(t, j).Err)
		after := clock.Now()
		clock.Set(before)
		assert.Equal(t, replay.ClockBehind, claim(t, j, spent[0]).Status)
		j = restarted(t, j, clock)
		assert.Equal(t, replay.ClockBehind, claim(t, j, spent[0]).Status)
		clock.Set(after)
		require.NoError(t, os.Remove(filepath.Join(disk, "filler")))
	}
}

// Made read-only and writable again.
//
// trap R24
// trap R28
func TestDiskReadOnly(t *testing.T) {
	disk := smallDisk(t)
	clock := claimtest.NewClock()
	clock.Step(-lifetime)
	dir := filepath.Join(disk, "journal")
	j := reopen(t, dir, clock, Config{})
	defer func() { j.Close() }()
	clock.Step(lifetime)
	spent := ticket(1, start, lifetime, skew)
	require.Equal(t, replay.Admitted, claim(t, j, spent).Status)
	j.mu.Lock() // no file may be open for writing
	for _, s := range j.files {
		j.abandon(s)
	}
	j.mu.Unlock()
	// The lock is held on a file that is open for writing, so the file system
	// is laid over with a read-only view of itself.
	if err := unix.Mount(disk, disk, "", unix.MS_BIND, ""); err != nil {
		t.Skipf("cannot bind: %v", err)
	}
	require.NoError(t, unix.Mount("", disk, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	c := ticket(2, start, lifetime, skew)
	unavailableClaim(t, j, c)
	require.ErrorIs(t, stats(t, j).Err, unix.EROFS)
	require.Equal(t, replay.AlreadyUsed, claim(t, j, spent).Status)
	require.NoError(t, unix.Unmount(disk, 0))
	require.Equal(t, replay.Admitted, claim(t, j, c).Status)
}

// No file may grow beyond a limit: every write that reaches it is cut short, in
// the middle of a record. Each costs one claim its answer, and no more.
//
// trap R24
// trap R28
func TestShortWrites(t *testing.T) {
	// The limit is a process's, and this one writes files of its own.
	if os.Getenv("TEST_SHORT_WRITES") == "" {
		exe, err := os.Executable()
		require.NoError(t, err)
		child := exec.Command(exe, "-test.run=^TestShortWrites$", "-test.v")
		child.Env = append(os.Environ(), "TEST_SHORT_WRITES=1")
		out, err := child.CombinedOutput()
		require.NoError(t, err, string(out))
		require.Contains(t, string(out), "--- PASS: TestShortWrites")
		return
	}
	clock := claimtest.NewClock()
	j, dir := newJournal(t, clock, Config{})
	signal.Ignore(unix.SIGXFSZ)
	defer signal.Reset(unix.SIGXFSZ)
	var old unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_FSIZE, &old))
	limit := unix.Rlimit{Cur: headerSize + 20*recordSize + 30, Max: old.Max}
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_FSIZE, &limit))
	defer func() { require.NoError(t, unix.Setrlimit(unix.RLIMIT_FSIZE, &old)) }()

	var spent, failed []replay.Claim
	for n := range uint64(210) {
		c := bound(ticket(n, start, lifetime, skew), byte(1+n%2))
		if a, err := j.Claim(context.Background(), c); err == nil {
			require.Equal(t, replay.Answer{Status: replay.Admitted}, a)
			spent = append(spent, c)
		} else {
			require.ErrorIs(t, err, replay.ErrUnavailable)
			require.ErrorIs(t, stats(t, j).Err, unix.EFBIG)
			failed = append(failed, c)
		}
	}
	assert.Len(t, failed, 10, "each 21st")
	for _, c := range failed {
		require.Equal(t, replay.AlreadyUsed, claim(t, j, bound(c, 9)).Status)
		require.True(t, claim(t, j, c).Repeated)
	}
	// After a restart, retries write the records again.
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_FSIZE, &old))
	j = restarted(t, j, clock)
	assert.Zero(t, stats(t, j).Damaged)
	assert.GreaterOrEqual(t, len(segmentsIn(t, dir)), 11)
	for _, c := range append(spent, failed...) {
		require.True(t, claim(t, j, c).Repeated)
		require.Equal(t, replay.AlreadyUsed, claim(t, j, bound(c, 9)).Status)
	}
}
