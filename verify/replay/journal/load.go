package journal

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/admitone/admitone/verify/replay/internal/cache"
)

// load reads the directory. A loss of the past moves the epoch. If the loss is known to be
// in a single window, it marks this window instead.
func (j *Store) load(now time.Time) error {
	st, known, err := readState(j.dir)
	if err != nil {
		return err
	}
	if len(st.Dropped) > cache.MaxRanges {
		return errors.New("its state has more dropped ranges than a journal keeps")
	}
	dropped := make([]cache.Range, len(st.Dropped))
	for i, r := range st.Dropped {
		dropped[i] = cache.Range{From: r[0], To: r[1]}
	}
	j.index.dropped = cache.RestoreRanges(dropped, st.Merges)
	j.copied, j.number = st.Copied, st.Copied

	genuine, err := isInstance(j.dir)
	if err != nil {
		return err
	}
	segments, copied, err := j.loadSegments(now)
	if err != nil {
		return err
	}
	if known && genuine && !copied {
		j.epoch = time.Unix(0, st.Epoch).UTC()
		j.markMissing(st.Segments)
		if err := j.removeUseless(); err != nil {
			return err
		}
		return j.removeRetired()
	}
	j.restored = known || segments > 0
	j.copied = j.number
	// A clock ahead may have let in tickets of the future.
	j.epoch = j.latest
	if old := time.Unix(0, st.Epoch).UTC(); known && old.After(j.epoch) {
		j.epoch = old
	}
	if err := j.writeState(&j.index.dropped); err != nil {
		return err
	}
	if err := writeInstance(j.dir); err != nil {
		return err
	}
	if err := j.removeUseless(); err != nil {
		return err
	}
	return j.removeRetired()
}

// markMissing marks the windows that lack a segment known to the state. The redemptions of
// these windows are unknown up to the present. The state goes on to name the segments, for
// the next Open.
func (j *Store) markMissing(segments map[int64][]uint64) {
	for index, numbers := range segments {
		for _, number := range numbers {
			j.number = max(j.number, number)
			if j.index.dropped.Has(index) || slices.Contains(j.segments[index], number) {
				continue
			}
			j.markDamaged(index, j.latest)
			j.segments[index] = append(j.segments[index], number)
		}
	}
}

// removeUseless removes the segments without a record, once the state does not name them
// any more. If the disk has no room for the new state, the next Open does.
func (j *Store) removeUseless() error {
	if len(j.useless) == 0 {
		return nil
	}
	for _, path := range j.useless {
		index, number, _ := parseSegmentName(filepath.Base(path))
		j.segments[index] = slices.DeleteFunc(j.segments[index], func(n uint64) bool { return n == number })
	}
	if j.writeState(&j.index.dropped) != nil {
		return nil
	}
	for _, path := range j.useless {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return nil
}

// removeRetired removes the files left by retire, if the disk has room for the new state
// now.
func (j *Store) removeRetired() error {
	if len(j.retiredFiles) == 0 || j.writeState(&j.index.dropped) != nil {
		return nil
	}
	for _, path := range j.retiredFiles {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return nil
}

// loadSegments reads all segments, and reports their number, and whether any is a copy not
// yet covered by the epoch.
func (j *Store) loadSegments(now time.Time) (n int, copied bool, err error) {
	entries, err := os.ReadDir(j.dir)
	if err != nil {
		return 0, false, err
	}
	for _, e := range entries {
		name, isRetired := strings.CutSuffix(e.Name(), retiredSuffix)
		index, number, ok := parseSegmentName(name)
		if !ok {
			continue
		}
		n++
		j.number = max(j.number, number)
		if isRetired {
			j.index.dropped.Add(index)
			j.retiredFiles = append(j.retiredFiles, filepath.Join(j.dir, e.Name()))
		}
	}
	damaged := make(map[int64]time.Time) // when its segments were last written to
	for _, e := range entries {
		index, number, ok := parseSegmentName(e.Name())
		if !ok {
			continue
		}
		st, err := j.loadSegment(filepath.Join(j.dir, e.Name()), index, number, now)
		if err != nil {
			return n, false, err
		}
		copied = copied || st.copied && number > j.copied
		if st.damaged && st.modified.After(damaged[index]) {
			damaged[index] = st.modified
		}
	}
	for index, modified := range damaged {
		j.markDamaged(index, modified)
	}
	return n, copied, nil
}

// loadSegment reads a segment, or removes a useless segment.
func (j *Store) loadSegment(path string, index int64, number uint64, now time.Time) (st segmentCondition, err error) {
	if j.index.dropped.Has(index) {
		return st, os.Remove(path)
	}
	n := int64(0)
	st, err = readSegment(path, index, number, func(r *record) {
		n++
		j.index.load(index, r, now)
		if first := time.Unix(0, r.first).UTC(); first.After(j.latest) {
			j.latest = first
		}
	})
	if err != nil {
		return st, err
	}
	j.segments[index] = append(j.segments[index], number)
	if n == 0 && !st.damaged { // nothing of it was ever answered
		j.useless = append(j.useless, path)
		return st, nil
	}
	w := j.index.window(index)
	w.files = append(w.files, path)
	w.written += n
	j.diskBytes += headerSize + n*recordSize
	return st, nil
}

// markDamaged marks a window with lost records. The records were made before the present,
// by the highest reading of the clock, and before the last write to the file. Their
// retention is lost too: the window lives as long as the sound records require, and its end
// is remembered like the end of any other window.
func (j *Store) markDamaged(index int64, modified time.Time) {
	w := j.index.window(index)
	w.damaged, w.complete = true, j.latest
	if modified.After(w.complete) {
		w.complete = modified
	}
	j.index.queue.Extend(w, cache.WindowEnd(index))
}
