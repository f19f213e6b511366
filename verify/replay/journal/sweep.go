package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/admitone/admitone/internal/durable"
)

// sweep removes dropped windows: first it notes their existence on the disk, then it
// removes their files. If sweep fails, the next commit tries again.
func (j *Store) sweep() {
	j.mu.Lock()
	gone := j.index.gone
	j.mu.Unlock()
	if len(gone) == 0 || j.stillOurs() != nil {
		return
	}
	for _, w := range gone {
		if s := j.files[w.Index]; s != nil && slices.Contains(w.numbers, s.number) {
			j.abandon(s)
		}
	}
	err := j.writeState()
	if err != nil && j.retire(gone) == nil {
		err = j.writeState()
	}
	if err != nil {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.err = err
		j.failures++
		return
	}
	for _, w := range gone {
		for _, number := range w.numbers {
			path := j.path(segmentName(w.Index, number))
			os.Remove(path) // or else the next Open does
			os.Remove(retired(path, w))
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, w := range gone {
		j.diskBytes -= w.disk
	}
	j.index.gone = j.index.gone[len(gone):]
}

func (j *Store) path(name string) string { return filepath.Join(j.dir, name) }

// retired returns the name of a segment if its window is gone and the state does not say so
// yet. The name also has the window's Issued, and complete in Unix ns.
func retired(path string, w *window) string {
	return fmt.Sprintf("%s.%d.%d.gone", path, w.Issued, unixOrZero(w.complete))
}

// parseRetired reports false for the name of some other file.
func parseRetired(name string) (index int64, number uint64, issued, lost int64, ok bool) {
	n, err := fmt.Sscanf(name, "window.%d.%d.%d.%d.gone", &index, &number, &issued, &lost)
	return index, number, issued, lost, err == nil && n == 4 &&
		name == fmt.Sprintf("%s.%d.%d.gone", segmentName(index, number), issued, lost)
}

// retire frees the room of segments whose windows are gone, on a full disk without room for
// the new state. The new names record the same fact.
func (j *Store) retire(gone []*window) error {
	for _, w := range gone {
		for _, number := range w.numbers {
			path := j.path(segmentName(w.Index, number))
			if err := os.Rename(path, retired(path, w)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	if err := durable.SyncDir(j.dir); err != nil {
		return err
	}
	for _, w := range gone {
		for _, number := range w.numbers {
			path := j.path(segmentName(w.Index, number))
			if err := os.Truncate(retired(path, w), 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}
