package keyring

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"time"
)

// Time limits for looks at the file, since a file system may hang: lookWait for HasKey and
// Close, reloadWait for Reload, which may wait for a slow key-encryption key.
const (
	lookWait   = time.Second
	reloadWait = 10 * time.Second
)

// retryMost is the longest interval between two tries of an unchanged file that was refused.
// Each try asks the key-encryption key's service, which may count refusals, limit them or
// charge for them.
const retryMost = time.Minute

// look is a look at the file, shared by all callers that ask before the look begins.
type look struct {
	reload bool          // read the file even if it seems unchanged
	asked  bool          // by Reload: try the file even if it was refused a moment ago
	done   chan struct{} // closed at the end
	err    error         // valid after the end
}

// outcome is the outcome of a look.
type outcome struct {
	checked time.Time
	good    time.Time // end of the last look that succeeded
	err     error
}

// HasKey reports whether the Ring has a key with this ID that opens.
//
// If another process rotates the keyring, a ciphertext under the new key may arrive a
// moment later. So for an unknown ID HasKey first looks whether the file has changed. There
// is one look at a time, which all callers share, and a look reads the file only if the
// file has changed. HasKey waits at most a second for a look.
func (r *Ring) HasKey(id KeyID) bool {
	if _, ok := r.keys.Load().enabled[id]; ok {
		return true
	}
	r.ask(false, false).wait(cmp.Or(r.c.patience, lookWait))
	_, ok := r.keys.Load().enabled[id]
	return ok
}

// KeyIDs returns the IDs of the keys that open, without a look at the file.
func (r *Ring) KeyIDs() []KeyID { return slices.Collect(maps.Keys(r.keys.Load().enabled)) }

// Lifetime returns the longest lifetime of anything that the keys seal, by the policy
// of the keys in use; 0 means that nothing runs out, as in a Channel Ring.
func (r *Ring) Lifetime() time.Duration { return r.keys.Load().header.Policy.Lifetime }

// Reload looks at the file now. If the file is refused, the Ring keeps its keys, and the
// error says why. A look that takes longer than ten seconds is an error, too, and goes on.
func (r *Ring) Reload() error {
	l := r.ask(true, true)
	if !l.wait(cmp.Or(r.c.patience, reloadWait)) {
		return fmt.Errorf("%s was not read within %v; see whether its file system or the key-encryption key's service hangs",
			r.path, reloadWait)
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

// wait waits for the end of a look, and reports whether the end came within the limit.
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

// ask returns a look that begins after the call. One goroutine looks for all callers,
// however long a look takes.
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

// run looks until no caller has asked for another look.
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

// moved reports whether the file differs from the file that was last read, or is missing.
func (r *Ring) moved() bool {
	now, err := os.Stat(r.path)
	return err != nil || !unmoved(now, r.seen)
}

func unmoved(now, seen fs.FileInfo) bool {
	return os.SameFile(now, seen) && now.Size() == seen.Size() && now.ModTime().Equal(seen.ModTime())
}

// refusal is the record of a file that was refused.
type refusal struct {
	fingerprint [sha256.Size]byte
	stat        fs.FileInfo
	err         error
	wait        time.Duration // until the next try; doubles with each try
	again       time.Time     // time of the next try
}

// of reports whether the file is still the refused file. A file with another time or mode is
// another file: somebody may have mended the cause.
func (f *refusal) of(fingerprint [sha256.Size]byte, stat fs.FileInfo) bool {
	return f.fingerprint == fingerprint && unmoved(stat, f.stat) && stat.Mode() == f.stat.Mode()
}

// retry returns the next refusal of the same file. f is nil for the first refusal.
func (f *refusal) retry(fingerprint [sha256.Size]byte, stat fs.FileInfo, err error, poll time.Duration) *refusal {
	wait := poll
	if f != nil {
		wait = max(poll, min(2*f.wait, retryMost))
	}
	// Config.Now may be set back, which must not put off the next try.
	return &refusal{fingerprint, stat, err, wait, time.Now().Add(wait)}
}

// note records the outcome of a look, and logs a change for the better or the worse.
func (r *Ring) note(err error) {
	before, now := r.last.Load(), r.c.now()
	o := &outcome{now, now, err}
	if err != nil {
		o.good = before.good
	}
	r.last.Store(o)
	r.keys.Load().sample(now)
	generation := r.keys.Load().header.Generation
	news := r.changed
	r.changed = false
	switch {
	case err == nil && before.err != nil:
		r.c.Log.Info("keyring is well again", "file", r.path, "generation", generation)
		news = true
	case err != nil && (before.err == nil || before.err.Error() != err.Error()):
		r.c.Log.Error("keyring not reloaded; the last good keys stay in use",
			"file", r.path, "generation", generation, "error", err)
		news = true
	}
	if news && r.c.OnReload != nil {
		r.c.OnReload(r.Report())
	}
}
