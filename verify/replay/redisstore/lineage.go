package redisstore

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/admitone/admitone/internal/durable"
)

// lineages are the lineages of the servers, by bucket, as this process last saw them. A
// claim names the lineage of its bucket, and a server of another lineage begins a new
// epoch: this process may have spent nonces elsewhere that the server does not know.
type lineages struct {
	mu   sync.Mutex // for changes
	file string
	last atomic.Pointer[[buckets]string]

	changes int // makes unknown lineages differ
}

// unknownLineage is the beginning of lineages that no server has.
const unknownLineage = "?"

// load reads the file of an earlier process. Without a file, every lineage is as good. With
// a damaged file, none is.
func (l *lineages) load(file string) error {
	last := new([buckets]string)
	l.file = file
	l.last.Store(last)
	if file == "" {
		return nil
	}
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return &lineageError{err}
	}
	var read []string
	if json.Unmarshal(data, &read) != nil || len(read) != buckets {
		read = nil
	}
	for i := range last {
		if last[i] = unknownLineage; read != nil {
			last[i] = read[i]
		}
	}
	return nil
}

func (l *lineages) of(bucket int) string { return l.last.Load()[bucket] }

// saw takes note of the lineages that servers named in answer to a touch; an empty one means
// that no server did. The file has a lineage before a claim names it: until then, the server
// admits nobody.
//
// A change of the lineage takes two touches. Claims that name the last lineage may reach the
// last server after the first touch. So claims first name an unknown lineage, and the epoch
// of the second touch is after them. The result says whether a second touch is needed.
// Unknown lineages differ, so a late answer to an earlier touch changes nothing.
func (l *lineages) saw(named, seen *[buckets]string) (again bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	left := *l.last.Load()
	kept := left
	l.changes++
	for i, lineage := range seen {
		switch {
		case lineage == "" || left[i] != named[i]: // another touch was faster
		case lineage == named[i] || named[i] == "" || strings.HasPrefix(named[i], unknownLineage):
			kept[i] = lineage
		default:
			left[i] = unknownLineage + strconv.Itoa(l.changes)
			kept[i], again = left[i], true
		}
	}
	if again {
		l.last.Store(&left)
	}
	if kept == left {
		return again, nil
	}
	if l.file != "" {
		data, err := json.Marshal(kept[:])
		if err == nil {
			err = durable.WriteFile(l.file, append(data, '\n'), 0o600)
		}
		if err != nil {
			return again, &lineageError{err}
		}
	}
	l.last.Store(&kept)
	return again, nil
}

// lineageError concerns the file of the lineages.
type lineageError struct{ cause error }

func (e *lineageError) Error() string {
	return fmt.Sprintf("the servers' lineage cannot be kept, so another server could not be noticed after a restart: %v",
		e.cause)
}

func (e *lineageError) Unwrap() error { return e.cause }

// newOrigin returns a random text, for an epoch without an origin.
func newOrigin() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
