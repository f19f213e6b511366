package directory

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

const (
	watchInterval = 250 * time.Millisecond // between two looks at the file
	saveInterval  = time.Second            // at least, between two checkpoints
	watchTimeout  = 5 * time.Second        // for the statements of one look
	maxStamps     = 8
)

// A watch notices if somebody puts another file in the place of the open file, or copies
// another file over the open file. SQLite notices neither: SQLite would go on with the old
// file, or mix the two.
//
// Another file has another inode. A copy over the file has another stamp: a random text in
// the table directory_state, changed before each checkpoint, with SQLite's version of the
// schema, which changes when pages move. Only a checkpoint changes the file. So if the
// file has changed and the stamp is unknown, somebody has overwritten the file. The stamp
// is read from the file itself, without the WAL.
//
// The watch also makes checkpoints: a few seconds after a change, the change is in the
// file and the WAL is empty. Otherwise SQLite would apply the old WAL to the new file.
type watch struct {
	db   *DB
	path string // as given
	log  *slog.Logger

	quit, done chan struct{} // nil before Watch

	mu      sync.Mutex
	file    *file       // nil while no file is open
	seen    os.FileInfo // the file when last found good
	wal     os.FileInfo // the WAL of the file, or nil
	stamps  []string    // the stamps that the file may have, the newest last
	version int         // SQLite's data_version at the last look at the stamp
	pending time.Time   // when the newest stamp was written or seen; zero once the file has this stamp
	id      string      // the directory's ID, see directory_state

	waiting os.FileInfo // the last file seen at the path while no file is open
	reason  string      // the logged reason why no file is open
}

// Watch watches the file of an SQLite directory until Close. If the file is replaced,
// moved, removed or overwritten, all calls fail within a second, until the new file at the
// path is open. No answer comes from the old file then. A new file that is damaged or has
// another schema is not opened, and the log says why. Call Watch once, in the process that
// runs for long. For PostgreSQL, Watch does nothing.
func (db *DB) Watch(ctx context.Context, log *slog.Logger) error {
	if db.file == nil {
		return nil
	}
	return db.file.start(ctx, log)
}

// start begins to watch.
func (w *watch) start(ctx context.Context, log *slog.Logger) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	seen, err := os.Stat(w.path)
	if err != nil {
		return err
	}
	if err := w.remember(ctx, w.file, seen); err != nil {
		return err
	}
	c, err := w.watched(ctx, w.file)
	if err != nil {
		return err
	}
	w.log, w.quit, w.done = log, make(chan struct{}), make(chan struct{})
	w.db.open.Store(c)
	go w.run()
	return nil
}

// watched returns connections that check the file before each write.
func (w *watch) watched(ctx context.Context, f *file) (*connections, error) {
	c, err := f.connections(ctx)
	if err != nil {
		return nil, err
	}
	c.check = func(ctx context.Context) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.file != f {
			return errReplaced
		}
		return w.check(ctx)
	}
	return c, nil
}

// remember takes a file for the one to watch.
func (w *watch) remember(ctx context.Context, f *file, seen os.FileInfo) error {
	w.file, w.seen, w.stamps, w.version, w.pending = f, seen, nil, 0, time.Time{}
	w.wal, _ = os.Stat(f.name + "-wal")
	if stamp, err := stampOf(ctx, f.name); err == nil {
		w.expect(stamp) // the WAL may have a newer one
	}
	return w.adopt(ctx)
}

// stop ends the watch.
func (w *watch) stop() {
	if w.quit == nil {
		return
	}
	close(w.quit)
	<-w.done
	w.mu.Lock()
	defer w.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), watchTimeout)
	defer cancel()
	if w.file != nil && w.check(ctx) != nil {
		w.drop(errClosed)
	}
}

func (w *watch) run() {
	defer close(w.done)
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			w.look()
		case <-w.quit:
			return
		}
	}
}

// look looks once.
func (w *watch) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), watchTimeout)
	defer cancel()
	if w.file == nil {
		w.reopen(ctx)
		return
	}
	switch err := w.check(ctx); {
	case isReplaced(err):
		w.drop(err)
		return
	case err != nil:
		return // requests fail in the same way, and the log has their errors
	}
	w.wal, _ = os.Stat(w.file.name + "-wal")
	if err := w.adopt(ctx); err == nil {
		w.save(ctx)
	}
}

// errReplaced is wrapped by the errors for a replaced file.
var errReplaced = errors.New("the directory's file was replaced")

// errOverwritten wraps errReplaced.
var errOverwritten = fmt.Errorf("%w: the file was overwritten", errReplaced)

func isReplaced(err error) bool { return errors.Is(err, errReplaced) }

// How long check waits for somebody who may be writing the file.
const (
	unknownWait    = 100 * time.Millisecond // with an unknown stamp
	unreadableWait = 2 * time.Second        // without a readable stamp
)

// check returns an error that wraps errReplaced if the file at the path is another file,
// or if somebody has overwritten the open file.
func (w *watch) check(ctx context.Context) error {
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		info, err := os.Stat(w.path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("%w: the file is gone", errReplaced)
		case err != nil:
			return fmt.Errorf("%w: %w", errReplaced, err)
		case !os.SameFile(info, w.seen):
			return fmt.Errorf("%w: another file is in its place", errReplaced)
		case info.Size() == w.seen.Size() && info.ModTime().Equal(w.seen.ModTime()):
			return nil
		}
		stamp, err := stampOf(ctx, w.file.name)
		if i := slices.Index(w.stamps, stamp); err == nil && i >= 0 {
			w.seen, w.stamps = info, w.stamps[i:]
			if len(w.stamps) == 1 {
				w.pending = time.Time{}
			}
			return nil
		}
		switch waited := time.Since(began); {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil && waited > unknownWait:
			return errOverwritten
		case waited > unreadableWait:
			return fmt.Errorf("%w: the file is damaged: %w", errReplaced, err)
		}
	}
}

// stampOf reads the stamp in the file itself, without the WAL. The file may be in the
// middle of a checkpoint, and shorter than its first page says: with writable_schema,
// SQLite reads such a file. The connection cannot write.
func stampOf(ctx context.Context, name string) (stamp string, err error) {
	location := url.URL{Scheme: "file", Path: filepath.ToSlash(name),
		RawQuery: "mode=ro&immutable=1&_pragma=writable_schema(1)"}
	raw, err := sql.Open("sqlite", location.String())
	if err != nil {
		return "", err
	}
	defer raw.Close()
	var id string
	return stamp, raw.QueryRowContext(ctx, stampQuery).Scan(&id, &stamp)
}

// stampQuery selects the directory's ID and the file's stamp.
const stampQuery = `SELECT id, stamp || ' ' || (SELECT schema_version FROM pragma_schema_version) FROM directory_state`

// adopt adds the newest stamp, which may come from another process. Call adopt after a
// successful check only.
func (w *watch) adopt(ctx context.Context) error {
	var version int
	if err := w.file.guard.QueryRowContext(ctx, `PRAGMA data_version`).Scan(&version); err != nil {
		return err
	}
	if version == w.version {
		return nil
	}
	var stamp string
	if err := w.file.guard.QueryRowContext(ctx, stampQuery).Scan(&w.id, &stamp); err != nil {
		return err
	}
	w.version = version
	if !slices.Contains(w.stamps, stamp) {
		w.pending = time.Now() // others may not have seen it yet
	}
	w.expect(stamp)
	return nil
}

// expect adds a stamp that the file may have.
func (w *watch) expect(stamp string) {
	if !slices.Contains(w.stamps, stamp) {
		w.stamps = append(w.stamps, stamp)
	}
	w.stamps = w.stamps[max(0, len(w.stamps)-maxStamps):]
}

// save makes a checkpoint, saveInterval after the newest stamp, whoever wrote it. Meanwhile other
// processes that watch the file adopt the stamp, and write none of their own.
func (w *watch) save(ctx context.Context) {
	if w.wal == nil || w.wal.Size() == 0 {
		return
	}
	wait, cancel := context.WithTimeout(ctx, watchInterval) // a long change may have the connection
	defer cancel()
	conn, err := w.file.write.Conn(wait)
	if err != nil {
		return
	}
	defer conn.Close()
	if w.pending.IsZero() {
		if _, err := conn.ExecContext(ctx, `UPDATE directory_state SET stamp = $1`, newRecordID()); err == nil {
			w.pending = time.Now()
			_ = w.adopt(ctx)
		}
		return
	}
	if time.Since(w.pending) < saveInterval {
		return
	}
	// Without waiting for readers: the next look tries again.
	_, _ = conn.ExecContext(ctx, `PRAGMA busy_timeout = 0`)
	_, _ = conn.ExecContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`)
	_, _ = conn.ExecContext(context.WithoutCancel(ctx),
		fmt.Sprintf(`PRAGMA busy_timeout = %d`, busyTimeout.Milliseconds()))
}
