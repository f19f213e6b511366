package redisstore

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
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
}

// unknownLineage is the lineage of no server.
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

// saw keeps the lineages that servers named; an empty one means that no server did. The
// file has them before a claim names them: until then, the servers admit nobody.
func (l *lineages) saw(seen *[buckets]string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	next := *l.last.Load()
	for i, lineage := range seen {
		if lineage != "" {
			next[i] = lineage
		}
	}
	if next == *l.last.Load() {
		return nil
	}
	if l.file != "" {
		data, err := json.Marshal(next[:])
		if err == nil {
			err = durable.WriteFile(l.file, append(data, '\n'), 0o600)
		}
		if err != nil {
			return &lineageError{err}
		}
	}
	l.last.Store(&next)
	return nil
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
