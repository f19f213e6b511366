package journal

import (
	"cmp"
	"errors"
	"os"
	"runtime"
	"slices"
	"sync"
)

// maxOpenFiles bounds how many segments are open at a time. Tickets of equal lifetime,
// redeemed soon after their issue, take two or three.
const maxOpenFiles = 64

// batch gathers the records for a commit, by window.
type batch struct {
	records map[int64][]record
	size    int // the number of records
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
	b.size++
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
		j.gather()
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

// maxYields bounds how often the committer lets other goroutines run before a commit, and
// quietYields how often it does so in vain.
const maxYields, quietYields = 16, 3

// gather lets claims under way join the batch, as long as some do. On a fast disk, the
// processor time of many small commits is the limit. A claim alone waits for nobody.
func (j *Store) gather() {
	size, same := j.waiting(), 0
	for range maxYields {
		runtime.Gosched()
		before := size
		if size = j.waiting(); size != before {
			same = 0
		} else if same++; same == quietYields || size < 2 {
			return
		}
	}
}

// waiting returns the number of records that wait for the next commit.
func (j *Store) waiting() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.open.size
}

// commit writes a batch, all windows at once, and answers the claims.
func (j *Store) commit(b batch) {
	b.failed = make(map[int64]error)
	ours := j.seemsOurs()
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
			b.failed[s.index] = notWritten{err}
			j.abandon(s)
			delete(segments, s.index)
			os.Remove(s.path) // or else the next Open does
		}
		made = nil
	}
	j.write(b, segments)
	if err := j.lookAgain(); err != nil { // see owner.go
		for index := range segments {
			b.failed[index] = cmp.Or(b.failed[index], err)
		}
	}
	for index, s := range segments {
		if b.failed[index] != nil {
			j.abandon(s)
		}
	}
	j.finish(b, segments)
	for len(j.files) > maxOpenFiles {
		j.closeOldest()
	}
}

// write writes the records of a batch to their segments, and notes the failures.
func (j *Store) write(b batch, segments map[int64]*segment) {
	if len(segments) == 1 {
		for index, s := range segments {
			if err := s.append(b.records[index], j.at); err != nil {
				b.failed[index] = err
			}
		}
		return
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
}

// segmentFor returns the segment for the window's records.
func (j *Store) segmentFor(index int64, ours error) (s *segment, isNew bool, err error) {
	if ours != nil {
		return nil, false, ours
	}
	if s := j.files[index]; s != nil {
		if j.isOf(s) {
			s.used = j.commits
			return s, false, nil
		}
		j.abandon(s)
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

// isOf reports whether the segment belongs to the live window, and not to a dropped window
// of the same index.
func (j *Store) isOf(s *segment) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Contains(j.index.live[s.index].numbers, s.number)
}

// noteSegments makes the existence of new segments durable. Their windows are live, since
// the windows have pending records.
func (j *Store) noteSegments(made []*segment) error {
	if len(made) == 0 {
		return nil
	}
	each := func(change func(w *window, s *segment)) {
		j.mu.Lock()
		defer j.mu.Unlock()
		for _, s := range made {
			change(j.index.live[s.index], s)
		}
	}
	each(func(w *window, s *segment) { w.numbers = append(w.numbers, s.number) })
	err := j.writeState()
	if err != nil {
		each(func(w *window, _ *segment) { w.numbers = w.numbers[:len(w.numbers)-1] })
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
	s := j.files[oldest]
	s.close()
	delete(j.files, oldest)
	j.mu.Lock()
	defer j.mu.Unlock()
	if w := j.index.live[oldest]; w != nil && slices.Contains(w.numbers, s.number) {
		j.countDisk(w, s)
	}
}

// abandon closes a segment. The window's next record begins another.
func (j *Store) abandon(s *segment) {
	s.f.Close() // after a good fsync or a failed one, there is nothing to learn here
	delete(j.files, s.index)
}

// finish takes the outcome into the index and wakes the waiting claims.
func (j *Store) finish(b batch, segments map[int64]*segment) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.commits++
	j.err = nil
	for _, err := range b.failed {
		j.err = err
		j.taken = j.taken || errors.Is(err, errTaken)
	}
	if j.err != nil {
		j.failures++
	}
	for index, records := range b.records {
		for i := range records {
			j.index.finish(index, &records[i], b.failed[index])
		}
		if s := segments[index]; s != nil {
			j.countDisk(j.index.live[index], s)
		}
	}
	close(b.done)
}

// countDisk counts the present size of a window's segment.
func (j *Store) countDisk(w *window, s *segment) {
	j.addDisk(w, s.size-s.counted)
	s.counted = s.size
}

// addDisk counts bytes on the disk.
func (j *Store) addDisk(w *window, bytes int64) {
	w.disk += bytes
	j.diskBytes += bytes
}
