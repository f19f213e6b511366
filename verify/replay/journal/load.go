package journal

import (
	"errors"
	"os"
	"slices"
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
		dropped[i] = cache.Range{From: r[0], To: r[1], Issued: r[2]}
	}
	j.index.dropped = cache.RestoreRanges(dropped, st.Merges)
	j.index.lost = timeOf(st.Lost)
	j.copied = st.Copied
	j.number = max(st.Copied, uint64(max(0, now.UnixNano()))) // so that no name is used again: see owner.go

	genuine, err := isInstance(j.dir)
	if err != nil {
		return err
	}
	segments, copied, err := j.loadSegments(st.Segments, now)
	if err != nil {
		return err
	}
	if err := j.stillOurs(); err != nil { // from here on, the directory changes: see owner.go
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
	if err := j.writeState(); err != nil {
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
			if w := j.index.live[index]; w == nil || !slices.Contains(w.numbers, number) {
				j.markDamaged(index, j.latest)
				w = j.index.live[index]
				w.numbers = append(w.numbers, number)
			}
		}
	}
}

// removeUseless removes the segments without a record, once the state does not name them
// any more. If the disk has no room for the new state, the next Open does.
func (j *Store) removeUseless() error {
	if len(j.useless) == 0 || j.writeState() != nil {
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
	if len(j.retiredFiles) == 0 || j.writeState() != nil {
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
// yet covered by the epoch. named are the segments known to the state; those of nothing
// more to say are taken out.
func (j *Store) loadSegments(named map[int64][]uint64, now time.Time) (n int, copied bool, err error) {
	entries, err := os.ReadDir(j.dir)
	if err != nil {
		return 0, false, err
	}
	for _, e := range entries {
		if _, number, ok := parseSegmentName(e.Name()); ok {
			n++
			j.number = max(j.number, number)
		} else if index, number, issued, lost, ok := parseRetired(e.Name()); ok {
			n++
			j.number = max(j.number, number)
			j.index.drop(index, issued, timeOf(lost))
			j.retiredFiles = append(j.retiredFiles, j.path(e.Name()))
			unname(named, index, number)
		}
	}
	damaged := make(map[int64]time.Time) // when its segments were last written to
	for _, e := range entries {
		index, number, ok := parseSegmentName(e.Name())
		if !ok {
			continue
		}
		st, err := j.loadSegment(named, index, number, now)
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

func unname(named map[int64][]uint64, index int64, number uint64) {
	if numbers := named[index]; len(numbers) > 0 {
		named[index] = slices.DeleteFunc(numbers, func(n uint64) bool { return n == number })
	}
}

// loadSegment reads a segment.
func (j *Store) loadSegment(named map[int64][]uint64, index int64, number uint64, now time.Time) (
	st segmentCondition, err error,
) {
	path := j.path(segmentName(index, number))
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
	if n == 0 && !st.damaged { // nothing of it was ever answered
		j.useless = append(j.useless, path)
		unname(named, index, number)
		return st, nil
	}
	w := j.index.window(index)
	w.numbers = append(w.numbers, number)
	j.addDisk(w, st.size)
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
