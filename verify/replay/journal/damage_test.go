package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/internal/claimtest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// closedJournal returns the directory of a journal with n records in one window,
// and one in another.
func closedJournal(t *testing.T, clock *claimtest.Clock, n uint64) (dir string, claims []replay.Claim, segment string) {
	t.Helper()
	j, dir := newJournal(t, clock, Config{})
	for i := range n {
		c := ticket(i, start, lifetime, skew)
		require.Equal(t, replay.Admitted, claim(t, j, c).Status)
		claims = append(claims, c)
	}
	segment = segmentsIn(t, dir)[0]
	require.Equal(t, replay.Admitted, claim(t, j, elsewhere).Status)
	require.NoError(t, j.Close())
	return dir, claims, segment
}

// elsewhere is a ticket of another window.
var elsewhere = ticket(1<<40, start, 2*lifetime, skew)

// A record cut off anywhere was never answered for. Its nonce is not spent;
// all others are, and what is written after it is found again.
//
// trap R28
func TestTornTail(t *testing.T) {
	for cut := int64(1); cut < recordSize; cut++ {
		clock := claimtest.NewClock()
		dir, claims, segment := closedJournal(t, clock, 3)
		require.NoError(t, os.Truncate(segment, headerSize+2*recordSize+cut))
		j := reopen(t, dir, clock, Config{})
		require.Zero(t, stats(t, j).Damaged)
		requireSpent(t, j, claims[:2])
		requireSpent(t, j, []replay.Claim{elsewhere})
		after := ticket(100, start, lifetime, skew)
		require.Equal(t, replay.Admitted, claim(t, j, claims[2]).Status)
		require.Equal(t, replay.Admitted, claim(t, j, after).Status)
		j = restarted(t, j, clock)
		requireSpent(t, j, append(claims, after))
	}
}

// Nor is a header that was cut off, of a segment that had no record yet. Such a
// segment is no reason to refuse anything.
//
// trap R28
func TestTornHeader(t *testing.T) {
	for size := range int64(headerSize + recordSize) { // or a first record that was
		clock := claimtest.NewClock()
		dir, claims, segment := closedJournal(t, clock, 1)
		require.NoError(t, os.Truncate(segment, size))
		j := reopen(t, dir, clock, Config{})
		require.Zero(t, stats(t, j).Damaged)
		require.NoFileExists(t, segment)
		require.Equal(t, replay.Admitted, claim(t, j, claims[0]).Status)
		requireSpent(t, j, []replay.Claim{elsewhere})
	}
}

// overwrite puts bytes at an offset of a file.
func overwrite(t *testing.T, path string, offset int64, b []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteAt(b, offset)
	require.NoError(t, errors.Join(err, f.Close()))
}

// A large segment has room behind its records, so that a write there keeps the length of the
// file. A kill leaves the room. A power failure can leave the beginning of a record there, up
// to the end of a sector. Nothing of this is damage.
//
// trap R28
func TestRoom(t *testing.T) {
	clock := claimtest.NewClock()
	j, dir := newJournal(t, clock, Config{})
	var claims []replay.Claim
	var segment string
	size, grown := int64(0), 0
	for n := range uint64(80) {
		c := ticket(n, start, lifetime, skew)
		require.Equal(t, replay.Admitted, claim(t, j, c).Status)
		claims = append(claims, c)
		segment = segmentsIn(t, dir)[0]
		info, err := os.Stat(segment)
		require.NoError(t, err)
		require.Equal(t, info.Size(), stats(t, j).DiskBytes)
		if info.Size() > size {
			size, grown = info.Size(), grown+1
		}
	}
	assert.Less(t, grown, 60, "the first 4 KiB have no room")
	whole, err := os.ReadFile(segment) // as a kill leaves it
	require.NoError(t, err)
	end := headerSize + len(claims)*recordSize
	require.Greater(t, len(whole), end)
	require.NoError(t, j.Close())
	closed, err := os.ReadFile(segment)
	require.NoError(t, err)
	require.Equal(t, whole[:end], closed, "the room is taken back")

	check := func(name string, damaged int, spent []replay.Claim, change func(b []byte) []byte) {
		require.NoError(t, os.WriteFile(segment, change(slices.Clone(whole)), 0o600), name)
		j = reopen(t, dir, clock, Config{})
		st := stats(t, j)
		require.Equal(t, damaged, st.Damaged, name)
		require.EqualValues(t, len(spent), st.Live, name)
		requireSpent(t, j, spent)
		if damaged == 0 {
			for _, c := range claims[len(spent):] {
				require.Equal(t, replay.Admitted, peek(t, j, c).Status, name)
			}
		}
		require.NoError(t, j.Close())
	}
	check("killed", 0, claims, func(b []byte) []byte { return b })
	zero := func(from, to int) func([]byte) []byte {
		return func(b []byte) []byte { clear(b[from:to]); return b }
	}
	tears := 0
	for i := 60; i < len(claims); i++ {
		at := headerSize + i*recordSize
		check("a record that was never written, and all after it", 0, claims[:i], zero(at, len(whole)))
		rest := append(slices.Clone(claims[:i]), claims[i+1:]...)
		if i < len(claims)-1 {
			check("a record that was written after others", 1, rest, zero(at, at+recordSize))
		}
		if tear := (at + sectorSize - 1) &^ (sectorSize - 1); tear > at && tear < at+recordSize {
			tears++
			check("torn", 0, claims[:i], zero(tear, len(whole)))
			if whole[tear] != 0 && tear+1 < at+recordSize && !isZero(whole[tear+1:at+recordSize]) {
				check("cut elsewhere", 1, claims[:i], zero(tear+1, len(whole)))
			}
		}
	}
	assert.Positive(t, tears)
	for _, at := range []int{end + recordSize, len(whole) - 1} {
		check("something in the room", 1, claims, func(b []byte) []byte { b[at] = 1; return b })
	}
}

// flip changes one bit of a file, or changes it back.
func flip(t *testing.T, path string, bit int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	defer f.Close()
	b := make([]byte, 1)
	_, err = f.ReadAt(b, bit/8)
	require.NoError(t, err)
	b[0] ^= 1 << (bit % 8)
	_, err = f.WriteAt(b, bit/8)
	require.NoError(t, err)
}

// Whatever bit of a segment flips, the ticket whose record it was in is not
// admitted again, nor any of its window that may have had it. All others are
// what they were, and so are tickets issued since.
//
// trap R28
func TestFlippedBits(t *testing.T) {
	const records = 3
	clock := claimtest.NewClock()
	dir, claims, segment := closedJournal(t, clock, records)
	fresh := ticket(100, start, lifetime, skew)
	later := ticket(101, start.Add(skew+1), lifetime-skew-1, skew) // of the same window
	other := ticket(102, start, 3*lifetime, skew)
	for bit := int64(0); bit < 8*(headerSize+records*recordSize); bit++ {
		flip(t, segment, bit)
		j := reopen(t, dir, clock, Config{})
		require.Equal(t, 1, stats(t, j).Damaged, "bit %d", bit)
		struck := (bit/8 - headerSize) / recordSize
		if bit/8 < headerSize {
			struck = -1 // all
		}
		for i, c := range claims {
			want := replay.AlreadyUsed
			if struck < 0 || struck == int64(i) {
				want = replay.IssuedBeforeStart
			}
			require.Equal(t, want, peek(t, j, c).Status, "bit %d, claim %d", bit, i)
		}
		require.Equal(t, replay.IssuedBeforeStart, peek(t, j, fresh).Status)
		require.Equal(t, replay.Admitted, peek(t, j, later).Status)
		require.Equal(t, replay.Admitted, peek(t, j, other).Status)
		require.Equal(t, replay.AlreadyUsed, peek(t, j, elsewhere).Status)
		require.NoError(t, j.Close())
		flip(t, segment, bit)
	}
	j := reopen(t, dir, clock, Config{})
	assert.Zero(t, stats(t, j).Damaged)
	require.NoError(t, j.Close())

	// And it goes on, over further restarts, until the window is over.
	flip(t, segment, 8*headerSize)
	j = reopen(t, dir, clock, Config{})
	require.Equal(t, replay.Admitted, claim(t, j, later).Status)
	j = restarted(t, j, clock)
	assert.Equal(t, replay.AlreadyUsed, claim(t, j, later).Status)
	assert.Equal(t, replay.IssuedBeforeStart, claim(t, j, claims[0]).Status)
	assert.Equal(t, replay.AlreadyUsed, claim(t, j, claims[1]).Status)
	clock.Set(claims[0].RetainUntil.Add(1)) // rounded up to a second
	clock.Step(time.Second)
	claim(t, j, ticket(200, clock.Now(), lifetime, skew))
	j = restarted(t, j, clock)
	assert.Zero(t, stats(t, j).Damaged)
	assert.NoFileExists(t, segment)
	clock.Set(start)
	assert.Equal(t, replay.ClockBehind, claim(t, j, claims[0]).Status)
}

// A lost record may be the latest one: with the clock set back across the
// restart, the time that counts is still that of the record.
//
// trap R2
// trap R28
func TestDamageAndBackwardStep(t *testing.T) {
	clock := claimtest.NewClock()
	j, dir := newJournal(t, clock, Config{})
	clock.Step(time.Minute)
	lost := ticket(1, clock.Now(), lifetime, skew)
	require.Equal(t, replay.Admitted, claim(t, j, lost).Status)
	require.NoError(t, j.Close())
	segment := segmentsIn(t, dir)[0]
	flip(t, segment, 8*headerSize)
	require.NoError(t, os.Chtimes(segment, clock.Now(), clock.Now())) // as the machine's clock had it
	clock.Step(-time.Minute)
	j = reopen(t, dir, clock, Config{})
	assert.Equal(t, replay.IssuedBeforeStart, claim(t, j, lost).Status)
}

// Without a state that can be trusted, the past is not known.
//
// trap R30
func TestStateLost(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"removed":   os.Remove,
		"empty":     func(path string) error { return os.Truncate(path, 0) },
		"cut":       func(path string) error { return os.Truncate(path, 20) },
		"cut a bit": func(path string) error { return os.Truncate(path, 60) },
		"rewritten": func(path string) error {
			return os.WriteFile(path, []byte("{\"format\":1,\"epoch\":0}\n00000000\n"), 0o600)
		},
	} {
		for _, file := range []string{stateFile, instanceFile} {
			t.Run(file+" "+name, func(t *testing.T) {
				clock := claimtest.NewClock()
				dir, claims, _ := closedJournal(t, clock, 3)
				require.NoError(t, spoil(filepath.Join(dir, file)))
				clock.Step(time.Second)
				j := reopen(t, dir, clock, Config{})
				epoch := j.Epoch()
				assert.True(t, stats(t, j).Restored)
				assert.Equal(t, clock.Now().UTC(), epoch)
				requireSpent(t, j, claims)
				assert.Equal(t, replay.IssuedBeforeStart, claim(t, j, ticket(100, start, lifetime, skew)).Status)
				clock.Step(skew + 1)
				assert.Equal(t, replay.Admitted, claim(t, j, ticket(101, clock.Now(), lifetime, skew)).Status)
				j = restarted(t, j, clock)
				assert.False(t, stats(t, j).Restored)
				assert.Equal(t, epoch, j.Epoch())
			})
		}
	}
}

// Every bit of the state is covered by its checksum, or changes nothing.
func TestStateFlippedBits(t *testing.T) {
	clock := claimtest.NewClock()
	dir, _, _ := closedJournal(t, clock, 1)
	path := filepath.Join(dir, stateFile)
	info, err := os.Stat(path)
	require.NoError(t, err)
	for bit := range 8 * info.Size() {
		flip(t, path, bit)
		_, ok, err := readState(dir)
		require.NoError(t, err)
		require.False(t, ok, "bit %d", bit)
		flip(t, path, bit)
	}
	_, ok, err := readState(dir)
	require.NoError(t, err)
	require.True(t, ok)
}

// A journal of an earlier or a later format is left alone.
func TestOfAnotherFormat(t *testing.T) {
	clock := claimtest.NewClock()
	for _, format := range []int{1, stateFormat + 1} {
		dir, _, _ := closedJournal(t, clock, 1)
		st := state{Format: format}
		require.NoError(t, st.write(dir))
		_, err := Open(t.Context(), Config{Dir: dir, Now: clock.Now})
		require.ErrorContains(t, err, fmt.Sprintf("the journal has format %d", format))
		require.ErrorContains(t, err, "use the program that made the journal, or another directory")
	}
}
