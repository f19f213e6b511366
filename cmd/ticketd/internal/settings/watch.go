package settings

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
)

// watch tells when the contents of files have changed. It compares contents, not
// times: a copied file can keep its time, and in a folder mounted by Kubernetes a link
// changes instead of the file.
type watch struct {
	paths []string          // files, and folders with the files in them
	taken [sha256.Size]byte // contents at the last reported change
	seen  [sha256.Size]byte // contents at the last look
}

// newWatch starts a watch. Start the watch before the first read of the files, or a
// change may be missed.
func newWatch(paths ...string) *watch {
	w := &watch{paths: paths}
	w.seen = w.sum()
	w.taken = w.seen
	return w
}

// changed reports whether the files have changed since the last reported change, and
// are the same as at the call before. So a file that is being written in place is not
// taken half: half a file of settings may well be a file of settings. With asked, the
// files count as changed as they are.
func (w *watch) changed(asked bool) bool {
	now := w.sum()
	settled := now == w.seen
	w.seen = now
	if !asked && (!settled || now == w.taken) {
		return false
	}
	w.taken = now
	return true
}

// sum returns a hash over all files, a missing one included.
func (w *watch) sum() (sum [sha256.Size]byte) {
	h := sha256.New()
	for _, root := range w.paths {
		for _, path := range filesIn(root) {
			data, err := os.ReadFile(path)
			fmt.Fprintf(h, "%q%t%x", path, err == nil, sha256.Sum256(data))
		}
	}
	h.Sum(sum[:0])
	return sum
}

// filesIn returns the files in a folder, and for a file the file.
func filesIn(path string) []string {
	entries, err := os.ReadDir(path)
	if err != nil {
		return []string{path}
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = filepath.Join(path, e.Name())
	}
	return names
}
