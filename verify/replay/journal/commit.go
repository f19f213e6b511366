package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/admitone/admitone/internal/durable"
	"github.com/admitone/admitone/verify/replay/internal/cache"
)

// maxOpenFiles bounds how many segments are open at a time. Tickets of equal lifetime,
// redeemed soon after their issue, take two or three.
const maxOpenFiles = 64

// batch gathers the records for a commit, by window.
type batch struct {
	records map[int64][]record
	*commit
}

// commit is the outcome of a batch, awaited by its claims.
type commit struct {
	done   chan struct{}   // closed when it is over
	failed map[int64]error // by window; not to be read before
}

func (b *batch) add(index int64, r record) *commit {
	if b.commit == nil {
		b.records, b.commit = make(map[int64][]record), &commit{done: make(chan struct{})}
	}
	b.records[index] = append(b.records[index], r)
	return b.commit
}

// notWritten wraps an error from before any record could reach the disk.
type notWritten struct{ error }

func (e notWritten) Unwrap() error { return e.error }

func isNotWritten(err error) bool { return errors.As(err, new(notWritten)) }

// commitAll is the committer. During each commit the next batch gathers, so a single fsync
// serves all claims of a batch.
func (j *Store) commitAll() {
	defer close(j.done)
	for range j.work {
		j.mu.Lock()
		b, closed := j.open, j.closed
		j.open = batch{}
		j.mu.Unlock()
		if b.commit != nil {
			j.commit(b)
		}
		j.sweep()
		if closed {
			return
		}
	}
}

// commit writes a batch, all windows at once, and answers the claims.
func (j *Store) commit(b batch) {
	b.failed = make(map[int64]error)
	ours := j.stillOurs()
	segments := make(map[int64]*segment)
	var made []*segment
	for index := range b.records {
		s, isNew, err := j.segmentFor(index, ours)
		if err != nil {
			b.failed[index] = notWritten{err}
			continue
		}
		segments[index] = s
		if isNew {
			made = append(made, s)
		}
	}
	if err := j.noteSegments(made); err != nil {
		for _, s := range made {
			index := parseIndex(s)
			b.failed[index] = notWritten{err}
			j.abandon(index, s)
			delete(segments, index)
			os.Remove(s.path) // or else the next Open does
		}
		made = nil
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for index, s := range segments {
		wg.Go(func() {
			if err := s.append(b.records[index], j.at); err != nil {
				mu.Lock()
				defer mu.Unlock()
				b.failed[index] = err
			}
		})
	}
	wg.Wait()
	for index, s := range segments {
		if b.failed[index] != nil {
			j.abandon(index, s)
		}
	}
	for len(j.files) > maxOpenFiles {
		j.closeOldest()
	}
	j.finish(b, made)
}

// stillOurs returns an error if the directory is no longer the locked directory: somebody
// moved, wiped or replaced the directory.
func (j *Store) stillOurs() error {
	info, err := os.Stat(filepath.Join(j.dir, lockFile))
	if err == nil && !os.SameFile(info, j.owner) {
		err = errors.New("another directory has taken its place")
	}
	if err != nil {
		return fmt.Errorf("the journal's directory is not what it was: %w; restart this process", err)
	}
	return nil
}

// segmentFor returns the segment for the window's records.
func (j *Store) segmentFor(index int64, ours error) (s *segment, isNew bool, err error) {
	if ours != nil {
		return nil, false, ours
	}
	if s := j.files[index]; s != nil {
		s.used = j.commits
		return s, false, nil
	}
	j.number++
	s, err = createSegment(j.dir, index, j.number, j.at)
	if err != nil {
		return nil, false, err
	}
	s.used = j.commits
	j.files[index] = s
	return s, true, nil
}

// noteSegments makes the existence of new segments durable.
func (j *Store) noteSegments(made []*segment) error {
	if len(made) == 0 {
		return nil
	}
	for _, s := range made {
		index, number, _ := parseSegmentName(filepath.Base(s.path))
		j.segments[index] = append(j.segments[index], number)
	}
	err := j.writeState(&j.index.dropped)
	if err != nil {
		for _, s := range made {
			index := parseIndex(s)
			j.segments[index] = j.segments[index][:len(j.segments[index])-1]
		}
	}
	return err
}

func (j *Store) closeOldest() {
	var oldest int64
	for index, s := range j.files {
		if o := j.files[oldest]; o == nil || s.used < o.used {
			oldest = index
		}
	}
	j.abandon(oldest, j.files[oldest])
}

// abandon closes a segment. The window's next record begins another.
func (j *Store) abandon(index int64, s *segment) {
	s.f.Close() // after a good fsync or a failed one, there is nothing to learn here
	delete(j.files, index)
}

// finish takes the outcome into the index and wakes the waiting claims.
func (j *Store) finish(b batch, made []*segment) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.commits++
	j.err = nil
	for _, err := range b.failed {
		j.err = err
	}
	if j.err != nil {
		j.failures++
	}
	for _, s := range made {
		j.diskBytes += headerSize
		w := j.index.live[parseIndex(s)]
		w.files = append(w.files, s.path)
	}
	for index, records := range b.records {
		for i := range records {
			j.index.finish(index, &records[i], b.failed[index])
		}
		if b.failed[index] == nil {
			j.diskBytes += int64(len(records)) * recordSize
			j.index.live[index].written += int64(len(records))
		}
	}
	close(b.done)
}

func parseIndex(s *segment) int64 {
	index, _, _ := parseSegmentName(filepath.Base(s.path))
	return index
}

// sweep removes expired windows: first it notes their existence on the disk, then it
// removes their files. If sweep fails, the next commit tries again.
func (j *Store) sweep() {
	j.mu.Lock()
	gone, dropped := j.index.gone, j.index.dropped
	j.mu.Unlock()
	if len(gone) == 0 || j.stillOurs() != nil {
		return
	}
	for _, w := range gone {
		dropped.Add(w.Index)
		if s := j.files[w.Index]; s != nil {
			j.abandon(w.Index, s)
		}
	}
	err := j.writeState(&dropped)
	if err != nil && j.retire(gone) == nil {
		err = j.writeState(&dropped)
	}
	if err != nil {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.err = err
		j.failures++
		return
	}
	for _, w := range gone {
		for _, path := range w.files {
			os.Remove(path) // or else the next Open does
			os.Remove(retired(path))
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.index.dropped = dropped
	for _, w := range gone {
		delete(j.segments, w.Index)
		delete(j.index.live, w.Index)
		j.diskBytes -= int64(len(w.files))*headerSize + w.written*recordSize
	}
	j.index.gone = j.index.gone[len(gone):]
}

// retiredSuffix marks the name of a segment if its window is gone and the state does not
// say so yet.
const retiredSuffix = ".gone"

func retired(path string) string { return path + retiredSuffix }

// retire frees the room of segments whose windows are gone, on a full disk without room for
// the new state. The new names record the same fact.
func (j *Store) retire(gone []*window) error {
	for _, w := range gone {
		for _, path := range w.files {
			if err := os.Rename(path, retired(path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	if err := durable.SyncDir(j.dir); err != nil {
		return err
	}
	for _, w := range gone {
		for _, path := range w.files {
			if err := os.Truncate(retired(path), 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// writeState makes durable all facts beside the records.
func (j *Store) writeState(dropped *cache.Ranges) error {
	if err := j.at("write state"); err != nil {
		return err
	}
	st := state{
		Format: stateFormat, Epoch: j.epoch.UnixNano(), Merges: dropped.Merges(), Copied: j.copied,
		Segments: make(map[int64][]uint64),
	}
	for index, numbers := range j.segments {
		if !dropped.Has(index) && len(numbers) > 0 {
			st.Segments[index] = numbers
		}
	}
	for _, r := range dropped.List() {
		st.Dropped = append(st.Dropped, [2]int64{r.From, r.To})
	}
	return st.write(j.dir)
}
