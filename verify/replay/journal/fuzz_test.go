package journal

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzSegment reads segments with a known content that were cut, have room, or have a changed
// byte. No record is made up: each that is read is the one that was written there. A segment that
// was only cut is not damaged, and of a segment that is not damaged no record is missing before
// the end.
func FuzzSegment(f *testing.F) {
	f.Add(bytes.Repeat([]byte{7}, 3*(recordSize-4)), uint16(0), uint16(0), byte(0), uint16(100))
	f.Add(bytes.Repeat([]byte{0}, 9*(recordSize-4)), uint16(40), uint16(0), byte(0), uint16(0))
	f.Add([]byte("x"), uint16(0), uint16(70), byte(1), uint16(9))
	path := filepath.Join(f.TempDir(), segmentName(3, 5))
	f.Fuzz(func(t *testing.T, bodies []byte, cut, at uint16, flip byte, room uint16) {
		file, err := os.Create(path)
		require.NoError(t, err)
		defer file.Close()
		id, err := identify(file)
		require.NoError(t, err)
		data := appendHeader(nil, 3, 5, id)
		headerCRC := binary.BigEndian.Uint32(data[headerSize-4:])
		var written []record
		for len(bodies) >= recordSize-4 {
			var r record
			copy(r.nonce[:], bodies)
			copy(r.binding[:], bodies[16:])
			r.first = int64(binary.BigEndian.Uint64(bodies[48:]))
			r.retain = int64(binary.BigEndian.Uint64(bodies[56:]))
			r.issued = int64(binary.BigEndian.Uint64(bodies[64:]))
			data = appendRecord(data, &r, headerCRC, int64(len(written)))
			written, bodies = append(written, r), bodies[recordSize-4:]
		}
		whole := len(data) - int(cut)%(len(data)+1)
		data = append(data[:whole], make([]byte, room)...)
		if whole > 0 {
			data[int(at)%whole] ^= flip
		}
		_, err = file.Write(data)
		require.NoError(t, err)

		var read []record
		st, err := readSegment(path, 3, 5, func(r *record) { read = append(read, *r) })
		require.NoError(t, err)
		next := 0
		for _, r := range read {
			for next < len(written) && written[next] != r {
				next++
			}
			require.Less(t, next, len(written), "a record that nobody wrote")
			next++
		}
		if flip == 0 && (cut == 0 || room == 0) {
			require.False(t, st.damaged)
			require.False(t, st.copied && whole >= headerSize)
			require.Len(t, read, max(0, (whole-headerSize)/recordSize))
		}
		if !st.damaged {
			require.True(t, slices.Equal(written[:len(read)], read), "a record is missing")
		}
	})
}

// FuzzState reads files of the state: what is taken is written and read again as the same.
func FuzzState(f *testing.F) {
	line, err := json.Marshal(&state{
		Format: stateFormat, Epoch: 7, Dropped: [][3]int64{{1, 2, 3}}, Lost: 4, Merges: 5, Copied: 6,
		Segments: map[int64][]uint64{-1: {1, 2}, 9: {3}},
	})
	require.NoError(f, err)
	f.Add(line)
	f.Add([]byte(`{"format":2}`))
	f.Add([]byte{})
	dir := f.TempDir()
	read := func(t *testing.T, data []byte) (state, bool, error) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, stateFile), data, 0o600))
		return readState(dir)
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		if _, ok, _ := read(t, line); ok {
			require.Equal(t, byte('\n'), line[len(line)-1], "the file is cut")
		}
		st, ok, err := read(t, fmt.Appendf(nil, "%s\n%08x\n", line, crc32.Checksum(line, castagnoli)))
		if !ok || err != nil {
			require.False(t, ok)
			return
		}
		require.Equal(t, stateFormat, st.Format)
		again, err := json.Marshal(&st)
		require.NoError(t, err)
		twice, ok, err := read(t, fmt.Appendf(nil, "%s\n%08x\n", again, crc32.Checksum(again, castagnoli)))
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, st, twice)
	})
}
