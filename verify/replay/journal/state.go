package journal

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/admitone/admitone/internal/durable"
)

// A journal's directory has, beside the segments, these files.
const (
	lockFile     = "lock"
	stateFile    = "state"    // see state
	instanceFile = "instance" // its own identity: 16 bytes, inode and birth
)

// state is the memory of a journal beside the records. The file has the state in JSON on
// the first line, and the line's CRC-32C on the second.
type state struct {
	Format  int        `json:"format"`
	Epoch   int64      `json:"epoch"`   // Unix ns
	Dropped [][3]int64 `json:"dropped"` // windows: from, to, and the latest issue of their tickets in Unix ms
	Lost    int64      `json:"lost"`    // Unix ns: redemptions of the dropped windows are unknown up to this moment
	Merges  uint64     `json:"merges"`
	Copied  uint64     `json:"copied"` // segments up to this number may be copies: the epoch allows for it

	// Segments are the windows with the numbers of their segments. A segment is here before a
	// claim is answered by one of its records, so a missing file is a loss.
	Segments map[int64][]uint64 `json:"segments"`
}

// stateFormat also changes with the names and the contents of segments: a program must not take
// segments of another format for missing.
const stateFormat = 3

func (st *state) write(dir string) error {
	line, err := json.Marshal(st)
	if err != nil {
		return err
	}
	data := fmt.Appendf(nil, "%s\n%08x\n", line, crc32.Checksum(line, castagnoli))
	return durable.WriteFile(filepath.Join(dir, stateFile), data, 0o600)
}

// writeState makes durable all facts beside the records.
func (j *Store) writeState() error {
	if err := j.at("write state"); err != nil {
		return err
	}
	st := state{
		Format: stateFormat, Epoch: j.epoch.UnixNano(), Copied: j.copied, Segments: make(map[int64][]uint64),
	}
	j.mu.Lock()
	st.Merges, st.Lost = j.index.dropped.Merges(), unixOrZero(j.index.lost)
	for _, r := range j.index.dropped.List() {
		st.Dropped = append(st.Dropped, [3]int64{r.From, r.To, r.Issued})
	}
	for index, w := range j.index.live {
		if len(w.numbers) > 0 {
			st.Segments[index] = slices.Clone(w.numbers)
		}
	}
	j.mu.Unlock()
	return st.write(j.dir)
}

// unixOrZero returns a time in Unix ns; the zero time is 0.
func unixOrZero(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func timeOf(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}

// readState reports false if the state is absent or not trustworthy.
func readState(dir string) (st state, ok bool, err error) {
	data, err := os.ReadFile(filepath.Join(dir, stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return st, false, nil
	}
	if err != nil {
		return st, false, err
	}
	line, rest, _ := bytes.Cut(data, []byte("\n"))
	if string(rest) != fmt.Sprintf("%08x\n", crc32.Checksum(line, castagnoli)) {
		return st, false, nil
	}
	if err := json.Unmarshal(line, &st); err != nil {
		return state{}, false, nil
	}
	if st.Format != stateFormat {
		return st, false, fmt.Errorf("the journal has format %d, and this program knows format %d; "+
			"use the program that made the journal, or another directory", st.Format, stateFormat)
	}
	return st, true, nil
}

// writeInstance marks the directory as the present instance.
func writeInstance(dir string) error {
	path := filepath.Join(dir, instanceFile)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	id, err := identify(f)
	if err != nil {
		return err
	}
	b := binary.BigEndian.AppendUint64(nil, id.inode)
	if _, err := f.Write(binary.BigEndian.AppendUint64(b, uint64(id.born))); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return durable.SyncDir(dir)
}

// isInstance reports whether the directory is the marked instance, neither restored from a
// backup nor copied from elsewhere.
func isInstance(dir string) (bool, error) {
	f, err := os.Open(filepath.Join(dir, instanceFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	id, err := identify(f)
	if err != nil {
		return false, err
	}
	b := make([]byte, 17)
	n, _ := f.ReadAt(b, 0)
	return n == 16 && id == identity{binary.BigEndian.Uint64(b), int64(binary.BigEndian.Uint64(b[8:]))}, nil
}
