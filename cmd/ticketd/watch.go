package main

import (
	"crypto/sha256"
	"fmt"
	"os"
)

// watch tells when the contents of files have changed. It looks at the contents,
// not at times: these stay when a file is copied, and where a folder is mounted, as
// by Kubernetes, a link changes and not the file.
type watch struct {
	paths []string
	taken [sha256.Size]byte // what changed last told of
	seen  [sha256.Size]byte // what was there at the last look
}

// newWatch begins before the files are first read, so that no change is missed.
func newWatch(paths ...string) *watch {
	w := &watch{paths: paths}
	w.seen = w.sum()
	w.taken = w.seen
	return w
}

// changed reports whether the files have changed since it last said so, and are as
// they were at the call before: one that is being written in place must not be taken
// half, and half a file of settings may well be a file of settings. Who was asked to
// take them takes them as they are.
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
