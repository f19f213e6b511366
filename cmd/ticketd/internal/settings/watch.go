package settings

import (
	"crypto/sha256"
	"fmt"
	"os"
)

// watch tells when the contents of files have changed. It compares contents, not
// times: a copied file can keep its time, and in a folder mounted by Kubernetes a link
// changes instead of the file.
type watch struct {
	paths []string
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
	for _, path := range w.paths {
		data, err := os.ReadFile(path)
		sum := sha256.Sum256(data)
		fmt.Fprintf(h, "%t%x", err == nil, sum)
	}
	h.Sum(sum[:0])
	return sum
}
