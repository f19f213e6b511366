package journal

import (
	"bytes"
	"log/slog"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/internal/claimtest"
)

// trap R35: a segment deleted while the service is down is a loss of its window, and not an
// empty window: nothing issued before is admitted there, also after more restarts, and also
// if the window gets other segments. Other windows know nothing of it.
func TestMissingSegment(t *testing.T) {
	clock := claimtest.NewClock()
	dir, claims, segment := closedJournal(t, clock, 3)
	unused := ticket(50, start, lifetime, skew)
	require.NoError(t, os.Remove(segment))
	j := reopen(t, dir, clock, Config{})
	for range 3 {
		assert.Equal(t, 1, stats(t, j).Damaged)
		for _, c := range append(claims, unused) {
			require.Equal(t, replay.IssuedBeforeStart, claim(t, j, c).Status)
		}
		requireSpent(t, j, []replay.Claim{elsewhere})
		clock.Set(clock.Now().Add(skew + time.Second))
		later := ticket(uint64(100+clock.Now().Unix()), clock.Now(), lifetime-clock.Now().Sub(start), skew)
		require.Equal(t, replay.Admitted, claim(t, j, later).Status)
		j = restarted(t, j, clock)
		require.NotEqual(t, replay.Admitted, claim(t, j, later).Status)
	}

	// The loss ends with its window, and is not told of for ever.
	clock.Set(claims[0].RetainUntil.Add(lifetime))
	require.Equal(t, replay.Admitted, claim(t, j, ticket(60, clock.Now(), lifetime, skew)).Status)
	j = restarted(t, j, clock)
	assert.Zero(t, stats(t, j).Damaged)
}

// trap R35: a segment without a record, left by a crash, is removed and no loss.
func TestSegmentWithoutRecordIsNoLoss(t *testing.T) {
	clock := claimtest.NewClock()
	dir, claims, segment := closedJournal(t, clock, 1)
	require.NoError(t, os.Truncate(segment, headerSize))
	j := reopen(t, dir, clock, Config{})
	assert.Zero(t, stats(t, j).Damaged)
	assert.NoFileExists(t, segment)
	j = restarted(t, j, clock)
	assert.Zero(t, stats(t, j).Damaged)
	assert.Equal(t, replay.Admitted, claim(t, j, claims[0]).Status, "the record was never answered for")
}

// trap R34: the name of a removed segment is not used again. An owner that is slow to remove
// the segment would remove another owner's records.
func TestSegmentNamesAreNotUsedAgain(t *testing.T) {
	clock := claimtest.NewClock()
	j, dir := newJournal(t, clock, Config{})
	c := ticket(1, start, lifetime, skew)
	require.Equal(t, replay.Admitted, claim(t, j, c).Status)
	segment := segmentsIn(t, dir)[0]
	require.NoError(t, j.Close())
	require.NoError(t, os.Truncate(segment, headerSize))
	j = restarted(t, reopen(t, dir, clock, Config{}), clock)
	require.Empty(t, segmentsIn(t, dir))
	require.Equal(t, replay.Admitted, claim(t, j, c).Status)
	require.NoFileExists(t, segment)
}

// trap R35: a folder that everybody may write to is refused with the remedy, and one that
// its group may write to is warned of.
func TestFolderOfOthers(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("modes tell nothing there")
	}
	for mode, want := range map[os.FileMode]string{
		0o700: "", 0o755: "", 0o770: "chmod g-w", os.ModeSetgid | 0o775: "chmod g-w", 0o777: "chmod o-w", 0o702: "chmod o-w",
		os.ModeSticky | 0o777: "chmod o-w",
	} {
		var log bytes.Buffer
		dir := t.TempDir()
		require.NoError(t, os.Chmod(dir, mode))
		j, err := Open(t.Context(), Config{Dir: dir, Log: slog.New(slog.NewTextHandler(&log, nil))})
		if mode&0o002 != 0 {
			require.ErrorContains(t, err, want, "%v", mode)
			require.NoFileExists(t, dir+"/lock")
			continue
		}
		require.NoError(t, err, "%v", mode)
		require.NoError(t, j.Close())
		if want == "" {
			assert.Empty(t, log.String(), "%v", mode)
		} else {
			assert.Contains(t, log.String(), want, "%v", mode)
		}
	}
}
