package keyring

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// A file system may hang, and a look at the file with it. HasKey and Close wait
// for no look longer than lookWait; Reload, which is asked for by name, and may
// wait for a slow key-encryption key, reloadWait.
const (
	lookWait   = time.Second
	reloadWait = 10 * time.Second
)

// retryMost is the longest time until a file that was not taken, and has not
// changed, is tried again: each try asks the key-encryption key's service, which may
// count refusals, limit them or charge for them.
const retryMost = time.Minute

// look is one look at the file, which all share who asked before it began.
type look struct {
	reload bool          // read the file even if it seems to be the one last read
	asked  bool          // by name: try it even if it was not taken a moment ago
	done   chan struct{} // closed at the end
	err    error         // only after that
}

// outcome is how a look ended.
type outcome struct {
	checked time.Time
	good    time.Time // when one last ended well
	err     error
}

// HasKey reports whether the Ring has a key with that ID that opens. Before it
// says no it looks whether the file has changed, so that what was sealed a
// moment after another process rotated the keyring is not refused. Such looks
// are one at a time and shared by all who wait; they read the file only when
// it changed. HasKey waits at most a second for one.
func (r *Ring) HasKey(id KeyID) bool {
	if _, ok := r.set.Load().enabled[id]; ok {
		return true
	}
	r.ask(false, false).wait(cmp.Or(r.c.patience, lookWait))
	_, ok := r.set.Load().enabled[id]
	return ok
}

// Lifetime returns the longest lifetime of anything that the keys seal, by the policy
// of the keys in use; 0 means that nothing runs out, as in a Channel Ring.
func (r *Ring) Lifetime() time.Duration { return r.set.Load().header.Policy.Lifetime }

// Reload looks at the file now. If the file cannot be taken, the Ring goes on
// with the keys that it has, and the error says why. If there is no answer
// within ten seconds, that is an error, too, and the look goes on.
func (r *Ring) Reload() error {
	l := r.ask(true, true)
	if !l.wait(cmp.Or(r.c.patience, reloadWait)) {
		return fmt.Errorf("%s was not read within %v; see whether its file system or the key-encryption key's service hangs", r.path, reloadWait)
	}
	return l.err
}

func (r *Ring) poll(ctx context.Context) {
	defer close(r.done)
	tick := time.NewTicker(r.c.Poll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		l := r.ask(true, false)
		select {
		case <-ctx.Done():
			l.wait(lookWait)
			return
		case <-l.done:
		}
	}
}

// wait waits for the end of a look, and reports whether it came in time.
func (l *look) wait(limit time.Duration) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-l.done:
		return true
	case <-timer.C:
		return false
	}
}

// ask returns a look that begins after the call. There is one goroutine that
// looks, however many ask and however long a look takes.
func (r *Ring) ask(reload, asked bool) *look {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.next == nil {
		r.next = &look{done: make(chan struct{})}
	}
	r.next.reload = r.next.reload || reload
	r.next.asked = r.next.asked || asked
	if !r.looking {
		r.looking = true
		go r.run()
	}
	return r.next
}

// run looks until nobody asks any more.
func (r *Ring) run() {
	for {
		r.mu.Lock()
		l := r.next
		r.next, r.looking = nil, l != nil
		r.mu.Unlock()
		if l == nil {
			return
		}
		if l.reload || r.moved() {
			l.err = r.load(l.asked)
		} else {
			l.err = r.last.Load().err
		}
		r.note(l.err)
		close(l.done)
	}
}

// moved reports whether the file is not the one that was last read. The
// answer is yes for a file that is not there, since that is news.
func (r *Ring) moved() bool {
	now, err := os.Stat(r.path)
	return err != nil || !unmoved(now, r.seen)
}

func unmoved(now, seen fs.FileInfo) bool {
	return os.SameFile(now, seen) && now.Size() == seen.Size() && now.ModTime().Equal(seen.ModTime())
}

// refusal is a file that was not taken.
type refusal struct {
	fingerprint [sha256.Size]byte
	stat        fs.FileInfo
	err         error
	wait        time.Duration // doubles with each try
	again       time.Time     // when it may be tried again
}

// of reports whether it is the same file still. A file that was only touched or
// given another mode is another: somebody did something about it.
func (f *refusal) of(fingerprint [sha256.Size]byte, stat fs.FileInfo) bool {
	return f.fingerprint == fingerprint && unmoved(stat, f.stat) && stat.Mode() == f.stat.Mode()
}

// anew returns the refusal of a file after f, of the same file; f is nil if this is
// the first.
func (f *refusal) anew(fingerprint [sha256.Size]byte, stat fs.FileInfo, err error, poll time.Duration) *refusal {
	wait := poll
	if f != nil {
		wait = max(poll, min(2*f.wait, retryMost))
	}
	// Not by Config.Now: a clock that is set back must not put it off.
	return &refusal{fingerprint, stat, err, wait, time.Now().Add(wait)}
}

// note records how a look ended, and tells of it when that is news.
func (r *Ring) note(err error) {
	before, now := r.last.Load(), r.c.now()
	o := &outcome{now, now, err}
	if err != nil {
		o.good = before.good
	}
	r.last.Store(o)
	r.set.Load().sample(now)
	generation := r.set.Load().header.Generation
	news := r.changed
	r.changed = false
	switch {
	case err == nil && before.err != nil:
		r.c.Log.Info("keyring is well again", "file", r.path, "generation", generation)
		news = true
	case err != nil && (before.err == nil || before.err.Error() != err.Error()):
		r.c.Log.Error("keyring not reloaded; the last good keys stay in use", "file", r.path, "generation", generation, "error", err)
		news = true
	}
	if news && r.c.OnReload != nil {
		r.c.OnReload(r.Report())
	}
}
