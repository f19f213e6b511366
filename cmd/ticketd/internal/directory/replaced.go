package directory

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/pressly/goose/v3"
)

// drainTimeout is how long the calls that still use a replaced file may take.
const drainTimeout = 30 * time.Second

// drop closes a replaced file. If another file is at the path, drop first writes the WAL
// into the old file. If the file was overwritten, drop leaves the new contents as they are.
// In both cases, drop puts the WAL aside.
func (w *watch) drop(reason error) {
	f := w.file
	w.file, w.waiting, w.reason = nil, nil, reason.Error()
	w.db.open.Store(&connections{err: reason})
	if reason != errClosed {
		w.log.Error("the directory cannot be used: stop the service before its file is replaced; "+
			"a good file at the path is opened", "reason", reason, "file", w.path)
	}
	ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	info, err := os.Stat(w.path)
	moved := err != nil || !os.SameFile(info, w.seen)
	if moved {
		_, _ = f.write.ExecContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`)
	}
	if moved || errors.Is(reason, errOverwritten) {
		w.putAside(f.name)
	}
	// The guard is connected, and closes after all others.
	_ = f.guard.PingContext(ctx)
	_ = errors.Join(f.read.Close(), f.write.Close())
	for ctx.Err() == nil && f.read.Stats().OpenConnections+f.write.Stats().OpenConnections > 0 {
		time.Sleep(5 * time.Millisecond)
	}
	_ = f.guard.Close()
	if reason != errClosed {
		w.log.Info("the directory's old file is closed", "file", w.path)
	}
}

// putAside renames the WAL of a replaced file, unless the WAL is empty. SQLite would take
// the WAL for a part of the new file.
func (w *watch) putAside(name string) {
	wal, err := os.Stat(name + "-wal")
	if err != nil || wal.Size() == 0 || w.wal == nil || !os.SameFile(wal, w.wal) {
		return
	}
	err = errors.Join(os.Rename(name+"-wal", name+"-wal.replaced"), os.Remove(name+"-shm"))
	w.log.Warn("the last changes of the directory's old file are put aside", "file", name+"-wal.replaced", "error", err)
}

// reopen opens the file at the path, provided that the file is good and nobody is still
// writing the file.
func (w *watch) reopen(ctx context.Context) {
	info, err := os.Stat(w.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		w.refuse(errors.New("there is no file at the path; restore it from a copy"))
		return
	case err != nil:
		w.refuse(err)
		return
	case w.waiting == nil || !os.SameFile(info, w.waiting) || info.Size() != w.waiting.Size() ||
		!info.ModTime().Equal(w.waiting.ModTime()):
		w.waiting = info // it may still be written
		return
	case info.Size() == 0:
		w.refuse(errors.New("the file is empty; restore it from a copy"))
		return
	}
	name, err := realName(w.path)
	if err != nil {
		w.refuse(err)
		return
	}
	if stamp, err := stampOf(ctx, name); err == nil && !slices.Contains(w.stamps, stamp) {
		w.putAside(name)
	}
	was := w.id
	var c *connections
	f, err := openFile(ctx, w.path, false, intact)
	if err == nil {
		if err = w.remember(ctx, f, info); err == nil {
			c, err = w.watched(ctx, f)
		}
		if err != nil {
			w.file = nil
			_ = f.close()
		}
	}
	if err != nil {
		w.refuse(err)
		return
	}
	w.db.open.Store(c)
	w.log.Warn("the directory's file was replaced, and the new file is in use", "file", w.path,
		"same_directory", was == w.id)
}

// refuse notes why no file is open.
func (w *watch) refuse(reason error) {
	if text := reason.Error(); text != w.reason {
		w.reason = text
		w.db.open.Store(&connections{err: fmt.Errorf("%w: %w", errReplaced, reason)})
		w.log.Error("the directory cannot be used", "reason", reason, "file", w.path)
	}
}

// intact returns an error unless the file is a whole directory with the schema of this
// program.
func intact(ctx context.Context, write *sql.DB) error {
	if err := isCurrent(ctx, write, goose.DialectSQLite3, "sqlite"); err != nil {
		return err
	}
	var verdict string
	if err := write.QueryRowContext(ctx, `PRAGMA quick_check(1)`).Scan(&verdict); err != nil {
		return err
	}
	if verdict != "ok" {
		return fmt.Errorf("the file is damaged (%s); restore it from another copy", verdict)
	}
	return nil
}
