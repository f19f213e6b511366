package pgstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/admitone/admitone/internal/durable"
)

// lineage is the lineage of the server, as this process last saw it. Every claim names the
// lineage, and a server of another lineage admits nothing: this process may have spent
// nonces elsewhere that the server does not know. The process then asks for a new epoch.
type lineage struct {
	mu   sync.Mutex // for changes
	file string
	last atomic.Pointer[string]
}

// unknownLineage is the lineage of no server.
const unknownLineage = "?"

// load reads the file of an earlier process. Without a file, every lineage is as good. With
// a damaged file, none is.
func (l *lineage) load(file string) error {
	l.file = file
	var last string
	l.last.Store(&last)
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
	if json.Unmarshal(data, &last) != nil || last == "" {
		last = unknownLineage
	}
	return nil
}

// keep keeps the lineage named by a server. The file has the lineage before a claim names
// it: until then, the server admits nobody.
func (l *lineage) keep(seen string) error {
	if seen == *l.last.Load() {
		return nil
	}
	if l.file != "" {
		data, err := json.Marshal(seen)
		if err == nil {
			err = durable.WriteFile(l.file, append(data, '\n'), 0o600)
		}
		if err != nil {
			return &lineageError{err}
		}
	}
	l.last.Store(&seen)
	return nil
}

// lineageError concerns the file of the lineage.
type lineageError struct{ cause error }

func (e *lineageError) Error() string {
	return fmt.Sprintf("the server's lineage cannot be kept, so another server could not be noticed after a restart; "+
		"make Config.LineageFile writable: %v", e.cause)
}

func (e *lineageError) Unwrap() error { return e.cause }

// renew has the server begin a new epoch, if the server has none of its own or is not of
// the lineage named by a claim that failed. It does nothing if another goroutine was faster.
//
// A change of the lineage takes two renewals. Claims that name the last lineage may reach the
// last server after the first renewal. So claims first name an unknown lineage, and the epoch
// of the second renewal is after them.
func (s *Store) renew(ctx context.Context, named string) error {
	s.lineage.mu.Lock()
	defer s.lineage.mu.Unlock()
	if last := *s.lineage.last.Load(); last != named {
		return nil
	}
	epoch, seen, err := s.renewOnce(ctx, named)
	if err == nil && seen != named && named != "" && named != unknownLineage {
		unknown := unknownLineage
		s.lineage.last.Store(&unknown)
		epoch, seen, err = s.renewOnce(ctx, unknown)
	}
	if err != nil {
		return err
	}
	if last := s.epoch.Load(); last == nil || epoch.After(*last) {
		s.epoch.Store(&epoch)
	}
	return s.lineage.keep(seen)
}

func (s *Store) renewOnce(ctx context.Context, named string) (epoch time.Time, seen string, err error) {
	args := []any{s.now().UnixMilli(), named}
	err = s.query(ctx, "SELECT epoch, lineage FROM admitone_replay.renew($1, $2)", args, func(rows pgx.Rows) error {
		type result struct {
			Epoch   int64
			Lineage string
		}
		r, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[result])
		epoch, seen = time.UnixMilli(r.Epoch).UTC(), r.Lineage
		return err
	})
	return epoch, seen, err
}
