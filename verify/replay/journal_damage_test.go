package replay

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// closedJournal returns the directory of a journal with n records in one slice,
// and one in another.
func closedJournal(t *testing.T, clock *fakeClock, n uint64) (dir string, claims []Claim, segment string) {
	t.Helper()
	j, dir := newJournal(t, clock, JournalConfig{})
	for i := range n {
		c := ticket(i, start, lifetime, skew)
		require.Equal(t, Admitted, claim(t, j, c).Status)
		claims = append(claims, c)
	}
	segment = segmentsIn(t, dir)[0]
	require.Equal(t, Admitted, claim(t, j, elsewhere).Status)
	require.NoError(t, j.Close())
	return dir, claims, segment
}

// elsewhere is a ticket of another slice.
var elsewhere = ticket(1<<40, start, 2*lifetime, skew)

// A record cut off anywhere was never answered for. Its nonce is not spent;
// all others are, and what is written after it is found again.
//
// trap R28
func TestJournalTornTail(t *testing.T) {
	for cut := int64(1); cut < recordSize; cut++ {
		clock := newClock()
		dir, claims, segment := closedJournal(t, clock, 3)
		require.NoError(t, os.Truncate(segment, headerSize+2*recordSize+cut))
		j := reopen(t, dir, clock, JournalConfig{})
		require.Zero(t, j.Stats().Damaged)
		requireSpent(t, j, claims[:2])
		requireSpent(t, j, []Claim{elsewhere})
		after := ticket(100, start, lifetime, skew)
		require.Equal(t, Admitted, claim(t, j, claims[2]).Status)
		require.Equal(t, Admitted, claim(t, j, after).Status)
		j = restarted(t, j, clock)
		requireSpent(t, j, append(claims, after))
	}
}

// Nor is a header that was cut off, of a segment that had no record yet. Such a
// segment is no reason to refuse anything.
//
// trap R28
func TestJournalTornHeader(t *testing.T) {
	for size := range int64(headerSize + recordSize) { // or a first record that was
		clock := newClock()
		dir, claims, segment := closedJournal(t, clock, 1)
		require.NoError(t, os.Truncate(segment, size))
		j := reopen(t, dir, clock, JournalConfig{})
		require.Zero(t, j.Stats().Damaged)
		require.NoFileExists(t, segment)
		require.Equal(t, Admitted, claim(t, j, claims[0]).Status)
		requireSpent(t, j, []Claim{elsewhere})
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
// admitted again, nor any of its slice that may have had it. All others are
// what they were, and so are tickets issued since.
//
// trap R28
func TestJournalFlippedBits(t *testing.T) {
	const records = 3
	clock := newClock()
	dir, claims, segment := closedJournal(t, clock, records)
	fresh := ticket(100, start, lifetime, skew)
	later := ticket(101, start.Add(skew+1), lifetime-skew-1, skew) // of the same slice
	other := ticket(102, start, 3*lifetime, skew)
	for bit := int64(0); bit < 8*(headerSize+records*recordSize); bit++ {
		flip(t, segment, bit)
		j := reopen(t, dir, clock, JournalConfig{})
		require.Equal(t, 1, j.Stats().Damaged, "bit %d", bit)
		struck := (bit/8 - headerSize) / recordSize
		if bit/8 < headerSize {
			struck = -1 // all
		}
		for i, c := range claims {
			want := AlreadyUsed
			if struck < 0 || struck == int64(i) {
				want = IssuedBeforeStart
			}
			require.Equal(t, want, peek(t, j, c).Status, "bit %d, claim %d", bit, i)
		}
		require.Equal(t, IssuedBeforeStart, peek(t, j, fresh).Status)
		require.Equal(t, Admitted, peek(t, j, later).Status)
		require.Equal(t, Admitted, peek(t, j, other).Status)
		require.Equal(t, AlreadyUsed, peek(t, j, elsewhere).Status)
		require.NoError(t, j.Close())
		flip(t, segment, bit)
	}
	j := reopen(t, dir, clock, JournalConfig{})
	assert.Zero(t, j.Stats().Damaged)
	require.NoError(t, j.Close())

	// And it goes on, over further restarts, until the slice is over.
	flip(t, segment, 8*headerSize)
	j = reopen(t, dir, clock, JournalConfig{})
	require.Equal(t, Admitted, claim(t, j, later).Status)
	j = restarted(t, j, clock)
	assert.Equal(t, AlreadyUsed, claim(t, j, later).Status)
	assert.Equal(t, IssuedBeforeStart, claim(t, j, claims[0]).Status)
	assert.Equal(t, AlreadyUsed, claim(t, j, claims[1]).Status)
	clock.set(claims[0].RetainUntil.Add(1)) // rounded up to a second
	clock.step(time.Second)
	claim(t, j, ticket(200, clock.now(), lifetime, skew))
	j = restarted(t, j, clock)
	assert.Zero(t, j.Stats().Damaged)
	assert.NoFileExists(t, segment)
	clock.set(start)
	assert.Equal(t, ClockBehind, claim(t, j, claims[0]).Status)
}

// A lost record may be the latest one: with the clock set back across the
// restart, the time that counts is still that of the record.
//
// trap R2
// trap R28
func TestJournalDamageAndBackwardStep(t *testing.T) {
	clock := newClock()
	j, dir := newJournal(t, clock, JournalConfig{})
	clock.step(time.Minute)
	lost := ticket(1, clock.now(), lifetime, skew)
	require.Equal(t, Admitted, claim(t, j, lost).Status)
	require.NoError(t, j.Close())
	segment := segmentsIn(t, dir)[0]
	flip(t, segment, 8*headerSize)
	require.NoError(t, os.Chtimes(segment, clock.now(), clock.now())) // as the machine's clock had it
	clock.step(-time.Minute)
	j = reopen(t, dir, clock, JournalConfig{})
	assert.Equal(t, IssuedBeforeStart, claim(t, j, lost).Status)
}

// Without a state that can be trusted, the past is not known.
//
// trap R30
func TestJournalStateLost(t *testing.T) {
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
				clock := newClock()
				dir, claims, _ := closedJournal(t, clock, 3)
				require.NoError(t, spoil(filepath.Join(dir, file)))
				clock.step(time.Second)
				j := reopen(t, dir, clock, JournalConfig{})
				st := j.Stats()
				assert.True(t, st.Restored)
				assert.Equal(t, clock.now().UTC(), st.Epoch)
				requireSpent(t, j, claims)
				assert.Equal(t, IssuedBeforeStart, claim(t, j, ticket(100, start, lifetime, skew)).Status)
				clock.step(skew + 1)
				assert.Equal(t, Admitted, claim(t, j, ticket(101, clock.now(), lifetime, skew)).Status)
				j = restarted(t, j, clock)
				assert.False(t, j.Stats().Restored)
				assert.Equal(t, st.Epoch, j.Stats().Epoch)
			})
		}
	}
}

// Every bit of the state is covered by its checksum, or changes nothing.
func TestJournalStateFlippedBits(t *testing.T) {
	clock := newClock()
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

// A journal of a later format is left alone.
func TestJournalOfAnotherFormat(t *testing.T) {
	clock := newClock()
	dir, _, _ := closedJournal(t, clock, 1)
	st := journalState{Format: 2}
	require.NoError(t, st.write(dir))
	_, err := OpenJournal(dir, JournalConfig{Now: clock.now})
	require.ErrorContains(t, err, "format 2")
	require.ErrorContains(t, err, "use a newer program")
}
