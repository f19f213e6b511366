package keyring

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/tink-crypto/tink-go/v2/keyset"

	"github.com/admitone/admitone/internal/durable"
	"github.com/admitone/admitone/internal/textrule"
	"github.com/admitone/admitone/token"
)

// Create makes a keyring file at path, mode 0600, with one key, the primary, of the given
// algorithm ("" means the kind's default; see Algorithms). Most keyrings can take their
// policy from DefaultPolicy. Create never overwrites: if there is a file, the error wraps
// fs.ErrExist.
func Create(path string, c Config, p Policy, algorithm string) error {
	return create(path, &c, p, func(e *edit) error {
		k, err := e.add(algorithm)
		if err != nil {
			return err
		}
		e.done = []Step{{Do: created, Key: k.ID, Algorithm: k.Algorithm, Policy: &p}}
		return e.makePrimary(k)
	})
}

// create makes a file; fill makes the keys.
func create(path string, c *Config, p Policy, fill func(*edit) error) error {
	if err := c.check(); err != nil {
		return err
	}
	if c.Kind == AnyKind {
		return &token.ConfigError{Field: "keyring.Config.Kind", Reason: anyKindFault}
	}
	if !c.Kind.isSigned() {
		if err := p.Check(c.Kind); err != nil {
			return err
		}
	}
	if err := checkAbsent(path); err != nil {
		return err
	}
	e := &edit{
		h:   &header{Format: format, Kind: c.Kind, Realm: c.Realm, Policy: p, Keys: []Key{}},
		m:   keyset.NewManager(),
		now: c.now(),
		kek: c.KEK,
	}
	if err := fill(e); err != nil {
		return err
	}
	// Most errors are found before the first write.
	log, err := readAudit(path)
	if err != nil {
		return err
	}
	if log.err != nil {
		return &FileError{log.path, AuditBroken, fmt.Errorf("is an earlier keyring's and %w; move it away", log.err)}
	}
	w, err := e.prepare(path, log, nil, c)
	if err != nil {
		return err
	}
	lock, err := lockFile(path, path)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := checkAbsent(path); err != nil {
		return err
	}
	if again, err := readAudit(path); err != nil || again.prev != log.prev || again.size != log.size {
		return fmt.Errorf("another process is making %s; try again", path)
	}
	if err := w.write(c, durable.CreateSteps); err != nil {
		return err
	}
	c.warn(path, w.file.info())
	return nil
}

func checkAbsent(path string) error {
	if _, err := os.Lstat(path); err == nil {
		return &fs.PathError{Op: "create", Path: path, Err: fs.ErrExist}
	}
	return nil
}

// Read opens the file at path and returns its content without the keys. If an audit log is
// beside the file, the two must agree. The errors are those of Open and Audit.
func Read(path string, c Config) (Info, error) {
	if err := c.check(); err != nil {
		return Info{}, err
	}
	f, _, err := readBoth(path, &c)
	if err != nil {
		return Info{}, err
	}
	return f.info(), nil
}

// Change does all steps in one write, or none, and returns the new content. why is for the
// audit log: up to 256 bytes of text.
//
// Change holds an advisory lock (PATH.lock beside the file), announces the change in the
// audit log (PATH.audit), and replaces the file as a whole. The errors are those of Read and
// of the file system. A *BlockedError means that a step must not be done, or not yet. If a
// step has nothing to do, the error wraps ErrAlready.
func Change(path string, c Config, why string, steps ...Step) (Info, error) {
	o := changeOptions{anyClock: c.UnsafeClockBehind}
	for _, s := range steps {
		// An emergency does not wait until a clock is right.
		o.anyClock = o.anyClock || s.Do == Revoke || s.Do == Disable && s.Unsafe
		o.begin = o.begin || s.Do == BeginAudit
	}
	return change(path, &c, why, o, func(e *edit, _ Info) error { return e.do(steps) })
}

// Rewrap puts the keyring under another KEK. Processes that have only the old KEK keep their
// present keys, and cannot load the file any more.
func Rewrap(path string, c Config, kek KEK, why string) (Info, error) {
	if err := checkKEK("keyring.Rewrap.kek", kek); err != nil {
		return Info{}, err
	}
	return change(path, &c, why, changeOptions{anyClock: c.UnsafeClockBehind, rewrap: true}, func(e *edit, _ Info) error {
		e.kek = kek
		e.done = append(e.done, Step{Do: rewrapped, KEK: kek.Hint()})
		return nil
	})
}

type changeOptions struct {
	document bool // change a signed file
	rewrap   bool // whether signed or not
	anyClock bool // accept a clock far behind the file
	begin    bool // begin a new audit log
}

// change applies f to the header and keyset at path and writes them as the next generation,
// under the lock. If f fails or does nothing, nothing is written.
func change(path string, c *Config, why string, o changeOptions, f func(*edit, Info) error) (Info, error) {
	if err := c.check(); err != nil {
		return Info{}, err
	}
	if fault := textrule.Fault(why, maxReason); fault != "" {
		return Info{}, &token.ConfigError{Field: "keyring.Change.why", Reason: fault}
	}
	// This is before the lock, which would leave a lock file beside a missing file.
	first, err := read(path, c)
	if err != nil {
		return Info{}, err
	}
	if k := first.header.Kind; !o.rewrap && k.isSigned() != o.document {
		return Info{}, &FileError{path, WrongKind, fmt.Errorf("is of kind %s, which has other commands", k)}
	}
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return Info{}, err
	}
	lock, err := lockFile(target, path)
	if err != nil {
		return Info{}, err
	}
	defer lock.Close()
	// The lock protects target, and path may lead to another file by now.
	if again, err := filepath.EvalSymlinks(path); err != nil || again != target {
		return Info{}, fmt.Errorf("%s: the link was moved during the wait for the lock; nothing was changed; try again", path)
	}
	old, err := reread(target, c, first)
	if err != nil {
		return Info{}, err
	}
	log, err := checkedAudit(target, old, c, o)
	if err != nil {
		return Info{}, err
	}
	if log.unfinished(old) {
		// Without the outcome, an older file that is put back would go unnoticed.
		log.finish(old, target)
	}
	before := old.info()
	e := &edit{h: old.header, m: managerOf(old), why: why, kek: c.KEK, document: old.document}
	if c.UnsafeClockBehind && e.h.pullBack(c.now()) {
		e.done = []Step{{Do: redated}}
	}
	if e.now, err = e.h.stamp(c.now(), o.anyClock); err != nil {
		return Info{}, err
	}
	if err := f(e, (&contents{header: e.h, fingerprint: old.fingerprint}).info()); err != nil {
		return Info{}, err
	}
	if len(e.done) == 0 {
		return before, nil
	}
	e.why = why
	if o.begin {
		if log, err = log.restart(e.now); err != nil {
			return Info{}, err
		}
	}
	w, err := e.prepare(target, log, &before, c)
	if err != nil {
		return Info{}, err
	}
	if err := w.write(c, durable.WriteSteps); err != nil {
		return Info{}, err
	}
	after := w.file.info()
	if after.Policy != before.Policy {
		c.warn(path, after)
	}
	return after, nil
}

// checkedAudit reads the audit log, which must fit the file, unless the change begins a new
// log.
func checkedAudit(target string, f *contents, c *Config, o changeOptions) (*auditLog, error) {
	log, err := readAudit(target)
	if err != nil {
		return nil, err
	}
	ferr := log.check(f, c.UnsafeOlder)
	if ferr != nil && ferr.Path == "" {
		ferr.Path = target
	}
	switch {
	case o.begin && log.exists && ferr == nil:
		return nil, fmt.Errorf("the audit log %s is intact; keep it", log.path)
	case o.begin && (!log.exists || ferr.Reason == AuditBroken):
		return log, nil
	case !log.exists:
		return nil, errNoAudit(log.path)
	case ferr != nil:
		return nil, ferr
	}
	return log, nil
}

// lockFile takes the lock of the file at target. Errors name the file as path.
func lockFile(target, path string) (io.Closer, error) {
	lock, err := durable.Lock(target + ".lock")
	if errors.Is(err, durable.ErrLocked) {
		return nil, fmt.Errorf("another process is changing %s; try again: %w", path, err)
	}
	if err != nil {
		return nil, err
	}
	return lock, nil
}

// pendingWrite is a write that is ready, after all checks.
type pendingWrite struct {
	target string
	log    *auditLog
	intent []byte // the log's next line
	data   []byte // the new file
	file   *contents
}

// prepare makes the next generation of the file at target. before is nil for a new file.
func (e *edit) prepare(target string, log *auditLog, before *Info, c *Config) (*pendingWrite, error) {
	a := auditLine{Time: e.now, Steps: e.done, Actor: c.Actor, Why: e.why}
	head := ""
	if before != nil {
		a.Before, head = before.Fingerprint, before.Audit
		e.h.Generation = max(e.h.Generation, log.highest(), c.MinGeneration)
	}
	if e.h.Generation == math.MaxUint64 {
		return nil, fmt.Errorf("generation %d is the last that there is: give a lower MinGeneration, or make a new file",
			e.h.Generation)
	}
	e.h.Generation++
	a.Generation, e.h.KEK = e.h.Generation, e.kek.Hint()
	line, hash, err := log.intent(a, head)
	if err != nil {
		return nil, err
	}
	e.h.Audit = hash
	var handle *keyset.Handle
	if !e.h.Kind.isSigned() {
		if handle, err = e.m.Handle(); err != nil {
			return nil, err
		}
	}
	under := *c
	under.KEK = e.kek
	data, f, err := encode(target, e.h, handle, e.document, &under)
	if err != nil {
		return nil, err
	}
	return &pendingWrite{target, log, line, data, f}, nil
}

// write logs the intent, replaces the file, and logs the outcome. A writer that is killed
// in between leaves the old or the new file, and an intent without outcome. The change was
// done if the file names the intent.
func (w *pendingWrite) write(c *Config, replace func(string, []byte, fs.FileMode, func(string) error) error) error {
	if err := c.step("announce"); err != nil {
		return err
	}
	durable.Clean(w.target)
	if err := w.log.append(w.intent, w.target); err != nil {
		return err
	}
	if err := replace(w.target, w.data, 0o600, c.at); err != nil {
		return err
	}
	// The change is done. If logging the outcome fails, the next change logs it.
	if c.step("log the outcome") != nil {
		return nil
	}
	w.log.finish(w.file, w.target)
	c.step("end")
	return nil
}

// read opens the file at path, without the audit log. Without c, read decrypts nothing, and
// returns the header alone.
func read(path string, c *Config) (*contents, error) {
	data, stat, err := readFile(path)
	if err != nil {
		return nil, err
	}
	if c == nil {
		return peek(path, data)
	}
	f, err := decode(path, data, c)
	if err != nil {
		return nil, err
	}
	if err := checkMode(path, stat, c); err != nil {
		return nil, err
	}
	return f, nil
}

// reread reads the file at path once more. An unchanged file is not opened again: the KEK's
// service may be slow, count requests or charge for them.
func reread(path string, c *Config, first *contents) (*contents, error) {
	data, stat, err := readFile(path)
	if err != nil {
		return nil, err
	}
	f := first
	if sha256.Sum256(data) != first.fingerprint {
		if f, err = decode(path, data, c); err != nil {
			return nil, err
		}
	}
	if err := checkMode(path, stat, c); err != nil {
		return nil, err
	}
	return f, nil
}

// stamp returns the time to record for a change, which is never before the recorded times.
// Unless anyClock is set, stamp refuses a clock that is behind them by more than the skew:
// the end of every key's life is calculated from recorded times.
func (h *header) stamp(now time.Time, anyClock bool) (time.Time, error) {
	last := h.last()
	if !anyClock && now.Before(last.Add(-h.Policy.Skew)) {
		return now, &token.ConfigError{Field: "keyring.Config.UnsafeClockBehind", Reason: fmt.Sprintf(
			"is not set, the clock says %s, and the last change of the keyring was at %s; set the clock, "+
				"or, if the machine of the last change was ahead, set the field",
			now.Format(time.RFC3339), last.Format(time.RFC3339))}
	}
	return later(now, last), nil
}

// pullBack replaces recorded times after now, which a clock that was ahead recorded, by now.
// The steps happened before now, so every key is still kept long enough. Otherwise the
// policy would do nothing until the recorded times have come. pullBack reports whether
// times were too far ahead.
func (h *header) pullBack(now time.Time) bool {
	if !now.Before(h.last().Add(-h.Policy.Skew)) {
		return false
	}
	for i := range h.Keys {
		k := &h.Keys[i]
		for _, t := range []*time.Time{&k.Created, &k.Enabled, &k.Promoted, &k.Demoted, &k.Disabled} {
			if t.After(now) {
				*t = now
			}
		}
	}
	return true
}
