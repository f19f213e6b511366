package journal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/admitone/admitone/internal/durable"
	"github.com/admitone/admitone/token"
	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/internal/cache"
)

// DefaultBytes is the default of Config.MaxBytes.
const DefaultBytes = 256 << 20

const (
	leastBytes = 64 << 10

	// The memory of a nonce, a binding and a window, at most. A Go map with entries of 24 or
	// 48 bytes is between 7/16 and 7/8 full, and has a byte more for each entry.
	nonceBytes   = 60
	bindingBytes = 115
	windowBytes  = 1024
)

// Config configures a Store. Dir is mandatory.
type Config struct {
	// Dir is a directory for this journal alone. Open makes the directory if need be, with
	// mode 0700.
	Dir string

	// MaxBytes bounds the memory in use, in bytes: 60 for a nonce, 1 KiB for a
	// window and, for at most twice replay.Grace, 115 for a binding. 0 is
	// DefaultBytes, enough for some four million nonces; less than 64 KiB is
	// refused. On the disk a nonce takes 76 bytes, and up to a quarter more in a file in use.
	MaxBytes int64

	// Now is the store's clock; nil is time.Now. The store calls Now with a lock
	// held, so Now must not call the store. Only the wall clock counts.
	Now func() time.Time

	// Log gets warnings of Open. Nil is slog.Default().
	Log *slog.Logger
}

// Store is a replay.Store of one process, on disk. The package comment has the promises.
type Store struct {
	dir      string
	now      func() time.Time
	log      *slog.Logger
	at       func(step string) error // for tests: fails or dies at a step
	maxBytes int64
	lock     io.Closer
	token    string      // of the owner: see owner.go
	owner    os.FileInfo // of the file with the token

	lookAgain func() error // stillOurs, after a commit; for tests
	epoch     time.Time
	restored  bool
	work      chan struct{} // has room for one: there is something to commit
	done      chan struct{} // closed when the committer has ended

	mu        sync.Mutex
	index     nonceIndex
	open      batch // waits for the next commit
	closed    bool
	taken     bool  // another process is the owner
	err       error // of the latest commit, nil after a success
	failures  uint64
	commits   uint64
	latest    time.Time // the highest reading of the clock
	diskBytes int64

	answers  [replay.ClockBehind + 1]atomic.Uint64
	repeated atomic.Uint64

	// Of the committer alone.
	files        map[int64]*segment
	number       uint64   // of the latest segment
	copied       uint64   // see state
	retiredFiles []string // at the opening
	useless      []string // segments without a record, at the opening
}

var _ replay.Managed = (*Store)(nil)

// Open opens the journal in Config.Dir. Open waits up to 5 seconds for another process to
// release the directory, and then fails with an error naming the process. The remains of a
// crash are no error, and neither is damage: where a redemption is uncertain, nobody is
// admitted.
//
// A *token.ConfigError names the field at fault. If ctx has ended, the error is
// replay.ErrUnavailable.
func Open(ctx context.Context, config Config) (*Store, error) {
	return openSteps(ctx, config, func(string) error { return nil })
}

// openSteps is Open. It calls at before each named step of a write, for tests of failures
// and crashes.
func openSteps(ctx context.Context, config Config, at func(step string) error) (*Store, error) {
	return openLocked(ctx, config, at, durable.Lock)
}

// openLocked is openSteps with another lock.
func openLocked(ctx context.Context, config Config, at func(step string) error,
	lock func(path string) (io.Closer, error),
) (j *Store, err error) {
	if err := replay.Unavailable(ctx.Err()); err != nil {
		return nil, err
	}
	if config.Dir == "" {
		return nil, &token.ConfigError{
			Field:  "journal.Config.Dir",
			Reason: "is empty; give a directory for the journal alone",
		}
	}
	maxBytes := cmp.Or(config.MaxBytes, DefaultBytes)
	if maxBytes < leastBytes {
		return nil, &token.ConfigError{
			Field:  "journal.Config.MaxBytes",
			Reason: fmt.Sprintf("is %d; give at least %d, or 0 for %d", maxBytes, leastBytes, DefaultBytes),
		}
	}
	clock := config.Now
	if clock == nil {
		clock = time.Now
	}
	j = &Store{
		dir:      config.Dir,
		now:      func() time.Time { return clock().Round(0).UTC() },
		log:      cmp.Or(config.Log, slog.Default()),
		at:       at,
		maxBytes: maxBytes,
		work:     make(chan struct{}, 1),
		done:     make(chan struct{}),
		index:    newNonceIndex(),
		files:    make(map[int64]*segment),
	}
	j.lookAgain = j.stillOurs
	if err := j.begin(lock); err != nil {
		if j.lock != nil {
			j.lock.Close()
		}
		return nil, fmt.Errorf("cannot open the journal in %s: %w", j.dir, err)
	}
	go j.commitAll()
	return j, nil
}

// begin takes the directory's lock and loads the directory's contents.
func (j *Store) begin(lock func(path string) (io.Closer, error)) (err error) {
	if err := os.MkdirAll(j.dir, 0o700); err != nil {
		return err
	}
	byGroup, err := durable.CheckFolder(j.dir)
	if err != nil {
		return err
	}
	if byGroup {
		j.log.Warn("the journal's folder can be written by its group, whose members can make the journal forget: "+
			"let no other account be in the group, or chmod g-w", "folder", j.dir)
	}
	if j.lock, err = lock(j.path(lockFile)); err != nil {
		return err
	}
	if err := j.own(); err != nil {
		return err
	}
	now := j.now()
	if _, err := unixNano(now); err != nil {
		return err
	}
	j.latest = now
	if err := j.load(now); err != nil {
		return err
	}
	if j.index.expireAll(now) {
		j.wake()
	}
	return nil
}

// unixNano refuses readings of the clock beyond the range of a record.
func unixNano(now time.Time) (int64, error) {
	if y := now.Year(); y < 1678 || y > 2261 {
		return 0, fmt.Errorf("the clock says that this is the year %d; set the clock right", y)
	}
	return now.UnixNano(), nil
}

// Claim implements replay.Store. It returns when the admission is on stable
// storage. If the context ends first or the disk fails, the nonce may be spent.
// Then all claims are refused, except, within replay.Grace, claims with the same
// binding.
func (j *Store) Claim(ctx context.Context, c replay.Claim) (replay.Answer, error) {
	if err := check(ctx, &c); err != nil {
		return replay.Answer{}, err
	}
	for {
		a, b, mine, err := j.step(&c)
		if err != nil {
			return replay.Answer{}, err
		}
		if b == nil {
			return j.count(a), nil
		}
		select {
		case <-b.done:
		case <-ctx.Done():
			return replay.Answer{}, replay.Unavailable(ctx.Err())
		}
		if err := b.failed[cache.WindowOf(c.Expires)]; err != nil {
			return replay.Answer{}, replay.Unavailable(err)
		}
		if mine {
			return j.count(a), nil
		}
	}
}

func check(ctx context.Context, c *replay.Claim) error {
	return cmp.Or(replay.Unavailable(ctx.Err()), c.Check())
}

func (j *Store) count(a replay.Answer) replay.Answer {
	j.answers[a.Status].Add(1)
	if a.Repeated {
		j.repeated.Add(1)
	}
	return a
}

var errClosed = errors.New("the journal is closed")

// ended returns an error if no claim can be answered any more.
func (j *Store) ended() error {
	switch {
	case j.closed:
		return replay.Unavailable(errClosed)
	case j.taken:
		return replay.Unavailable(errTaken)
	}
	return nil
}

// step judges the claim. If the claim must wait for a commit, step returns the
// commit: with mine, the answer holds once the commit has succeeded; without it,
// the claim is to be judged again.
func (j *Store) step(c *replay.Claim) (a replay.Answer, wait *commit, mine bool, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.ended(); err != nil {
		return a, nil, false, err
	}
	now := j.now()
	first, err := unixNano(now)
	if err != nil {
		return a, nil, false, replay.Unavailable(err)
	}
	if now.After(j.latest) {
		j.latest = now
	}
	if j.index.expire(now, j.maxBytes) {
		j.wake()
	}
	if b := j.index.inFlight[c.Nonce]; b != nil {
		return a, b, false, nil
	}
	a = j.judge(c, now)
	r := record{nonce: c.Nonce, binding: c.Binding, first: first}
	switch b := j.index.binding(c.Nonce); {
	case a.Status == replay.Admitted && !a.Repeated:
	case a.Repeated && !b.sure, a.Status == replay.AlreadyUsed && j.index.unsure(c):
		// The record is written again before the answer. Without the record the ticket would be
		// good after a crash, and AlreadyUsed would have been wrong.
		r.binding, r.first, r.again = b.to, a.FirstUsed.UnixNano(), true
	default:
		return a, nil, false, nil
	}
	r.retain, r.issued = ceilSeconds(c.RetainUntil), c.Issued.UnixMilli()
	index := cache.WindowOf(c.Expires)
	j.index.insert(index, &r, now)
	wait = j.open.add(index, r)
	j.index.inFlight[c.Nonce] = wait
	j.wake()
	return a, wait, true, nil
}

func ceilSeconds(t time.Time) int64 {
	if t.Nanosecond() > 0 {
		return t.Unix() + 1
	}
	return t.Unix()
}

// judge answers the claim and changes nothing.
func (j *Store) judge(c *replay.Claim, now time.Time) replay.Answer {
	if !now.Before(c.RetainUntil) {
		return replay.Answer{Status: replay.TooLate}
	}
	w := j.index.live[cache.WindowOf(c.Expires)]
	if w != nil {
		if first, ok := w.used[c.Nonce]; ok {
			return c.Spent(time.Unix(0, first).UTC(), j.index.binding(c.Nonce).to, now)
		}
	}
	switch {
	case !c.NotBefore.After(j.epoch):
		return replay.Answer{Status: replay.IssuedBeforeStart}
	case j.index.forgotten(c, now):
		return replay.Answer{Status: replay.ClockBehind}
	case w != nil && w.damaged && !c.NotBefore.After(w.complete):
		return replay.Answer{Status: replay.IssuedBeforeStart}
	case j.index.full(now, j.maxBytes):
		return replay.Answer{Status: replay.Full}
	}
	return replay.Answer{Status: replay.Admitted}
}

// Peek implements replay.Store.
func (j *Store) Peek(ctx context.Context, c replay.Claim) (replay.Answer, error) {
	if err := check(ctx, &c); err != nil {
		return replay.Answer{}, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.ended(); err != nil {
		return replay.Answer{}, err
	}
	return j.judge(&c, j.now()), nil
}

// Close commits the claims under way and releases the directory. Claims are
// replay.ErrUnavailable from then on.
func (j *Store) Close() error {
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		return nil
	}
	j.closed = true
	j.wake()
	j.mu.Unlock()
	<-j.done
	for _, s := range j.files {
		s.close()
	}
	return j.lock.Close()
}

// wake tells the committer about new work.
func (j *Store) wake() {
	select {
	case j.work <- struct{}{}:
	default:
	}
}

// Epoch implements replay.Managed. The epoch is the creation of the journal, or the Open
// after a loss of the journal's past, in part or in whole.
func (j *Store) Epoch() time.Time { return j.epoch }

// Stats implements replay.Managed. No disk is asked.
func (j *Store) Stats(context.Context) (replay.Stats, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	st := replay.Stats{
		Live:          int64(j.index.records),
		Windows:       len(j.index.queue),
		Bytes:         j.index.bytes(),
		MaxBytes:      j.maxBytes,
		DiskBytes:     j.diskBytes,
		Answers:       make(map[replay.Status]uint64),
		Repeated:      j.repeated.Load(),
		Commits:       j.commits,
		Failures:      j.failures,
		Err:           j.err,
		Restored:      j.restored,
		ClockBehind:   max(0, j.latest.Sub(j.now())),
		DroppedRanges: len(j.index.dropped.List()),
		RangeMerges:   j.index.dropped.Merges(),
	}
	for status := replay.Admitted; status <= replay.ClockBehind; status++ {
		st.Answers[status] = j.answers[status].Load()
	}
	for _, w := range j.index.live {
		if w.damaged {
			st.Damaged++
		}
	}
	return st, nil
}
