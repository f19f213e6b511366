package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/admitone/admitone/internal/durable"
)

// DefaultJournalBytes is a Journal's MaxBytes where none is given.
const DefaultJournalBytes = 256 << 20

const (
	minJournalBytes = 64 << 10

	// What a nonce, its binding and a slice cost in memory, at most: a Go map
	// of entries of 24 or 48 bytes is between 7/16 and 7/8 full, and has a
	// byte for each beside.
	nonceBytes        = 60
	bindingBytes      = 115
	journalSliceBytes = 1024
)

// JournalConfig says what a Journal is opened with. The zero value is good.
type JournalConfig struct {
	// MaxBytes bounds the memory in use, at 60 bytes for a nonce, 1 KiB for a
	// slice and, for up to twice Grace, 115 bytes for a binding; 0 is 256 MiB,
	// which is some four million nonces, and less than 64 KiB is refused. On
	// the disk a nonce takes 68 bytes.
	MaxBytes int64

	// Now is the store's clock; nil is time.Now. It is called with a lock
	// held, so it must not call the Journal. Only its wall clock counts.
	Now func() time.Time
}

// Journal is a Store of one process whose memory outlives it. The package
// comment says what it promises.
type Journal struct {
	dir      string
	now      func() time.Time
	at       func(step string) error // for tests: fails or dies at a step
	maxBytes int64
	lock     io.Closer
	owner    os.FileInfo // of the lock file
	epoch    time.Time
	restored bool
	work     chan struct{} // has room for one: there is something to commit
	done     chan struct{} // closed when the committer has ended

	mu        sync.Mutex
	index     journalIndex
	open      batch // what waits for the next commit
	closed    bool
	err       error // of the latest commit, nil if it went well
	failures  uint64
	commits   uint64
	latest    time.Time // the highest reading of the clock
	diskBytes int64

	answers  [ClockBehind + 1]atomic.Uint64
	repeated atomic.Uint64

	// Of the committer alone.
	files        map[int64]*segment
	number       uint64   // of the latest segment
	copied       uint64   // see journalState
	retiredFiles []string // at the opening
}

var _ Store = (*Journal)(nil)

// OpenJournal opens the journal in a directory of its own, which it makes if
// need be (mode 0700). It waits up to 5 seconds for another process that has
// it open; then the error names that process. What a crash left behind is no
// error, and neither is damage: of what is not certain, it lets nobody in.
func OpenJournal(dir string, config JournalConfig) (*Journal, error) {
	return openJournal(dir, config, func(string) error { return nil })
}

func openJournal(dir string, config JournalConfig, at func(step string) error) (j *Journal, err error) {
	maxBytes := config.MaxBytes
	if maxBytes == 0 {
		maxBytes = DefaultJournalBytes
	}
	if maxBytes < minJournalBytes {
		return nil, fmt.Errorf("replay: MaxBytes is %d; give at least %d, or 0 for %d",
			config.MaxBytes, minJournalBytes, DefaultJournalBytes)
	}
	clock := config.Now
	if clock == nil {
		clock = time.Now
	}
	j = &Journal{
		dir:      dir,
		now:      func() time.Time { return clock().Round(0).UTC() },
		at:       at,
		maxBytes: maxBytes,
		work:     make(chan struct{}, 1),
		done:     make(chan struct{}),
		index:    newJournalIndex(),
		files:    make(map[int64]*segment),
	}
	defer func() {
		if err != nil {
			if j.lock != nil {
				j.lock.Close()
			}
			j, err = nil, fmt.Errorf("replay: cannot open the journal in %s: %w", dir, err)
		}
	}()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return j, err
	}
	if j.lock, err = durable.Lock(filepath.Join(dir, lockFile)); err != nil {
		return j, err
	}
	if j.owner, err = os.Stat(filepath.Join(dir, lockFile)); err != nil {
		return j, err
	}
	now := j.now()
	if _, err := sane(now); err != nil {
		return j, err
	}
	j.latest = now
	if err := j.load(now); err != nil {
		return j, err
	}
	if j.index.expireAll(now) {
		j.wake()
	}
	go j.commitAll()
	return j, nil
}

// sane refuses readings that a record cannot hold.
func sane(now time.Time) (int64, error) {
	if y := now.Year(); y < 1678 || y > 2261 {
		return 0, fmt.Errorf("the clock says that this is the year %d; set it right", y)
	}
	return now.UnixNano(), nil
}

// Claim implements Store. It returns when the admission is on stable storage.
// If the context ends first, or the disk fails, the nonce may be spent: it is
// then refused to all but, within Grace, claims with the same binding.
func (j *Journal) Claim(ctx context.Context, c Claim) (Answer, error) {
	if err := check(ctx, &c); err != nil {
		return Answer{}, err
	}
	for {
		a, b, mine, err := j.step(&c)
		if err != nil {
			return Answer{}, err
		}
		if b == nil {
			return j.count(a), nil
		}
		select {
		case <-b.done:
		case <-ctx.Done():
			return Answer{}, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
		}
		if err := b.failed[sliceIndex(c.Expires)]; err != nil {
			return Answer{}, unavailable(err)
		}
		if mine {
			return j.count(a), nil
		}
	}
}

func (j *Journal) count(a Answer) Answer {
	j.answers[a.Status].Add(1)
	if a.Repeated {
		j.repeated.Add(1)
	}
	return a
}

func unavailable(err error) error { return fmt.Errorf("%w: %w", ErrUnavailable, err) }

var errClosed = errors.New("the journal is closed")

// step judges the claim. If there is a batch to wait for, the answer holds when
// that is committed if mine is set; otherwise the claim is to be judged again.
func (j *Journal) step(c *Claim) (a Answer, wait *commit, mine bool, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return a, nil, false, unavailable(errClosed)
	}
	now := j.now()
	first, err := sane(now)
	if err != nil {
		return a, nil, false, unavailable(err)
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
	switch {
	case a.Repeated:
		if !j.index.unsure(c) {
			return a, nil, false, nil
		}
		// The first claim was never answered, since its record may not be
		// on the disk. This one sees to it that it is.
		first = a.FirstUsed.UnixNano()
	case a.Status != Admitted:
		return a, nil, false, nil
	}
	r := record{nonce: c.Nonce, binding: c.Binding, first: first, retain: ceilSeconds(c.RetainUntil)}
	index := sliceIndex(c.Expires)
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
func (j *Journal) judge(c *Claim, now time.Time) Answer {
	if !now.Before(c.RetainUntil) {
		return Answer{Status: TooLate}
	}
	index := sliceIndex(c.Expires)
	sl := j.index.live[index]
	if sl != nil {
		if first, ok := sl.used[c.Nonce]; ok {
			return c.Spent(time.Unix(0, first).UTC(), j.index.binding(c.Nonce), now)
		}
	}
	switch {
	case !c.NotBefore.After(j.epoch):
		return Answer{Status: IssuedBeforeStart}
	case sl == nil && j.index.dropped.has(index):
		return Answer{Status: ClockBehind}
	case sl != nil && (sl.gone || !now.Before(sl.retain)):
		return Answer{Status: ClockBehind}
	case sl != nil && sl.damaged && !c.NotBefore.After(sl.complete):
		return Answer{Status: IssuedBeforeStart}
	case j.index.full(now, j.maxBytes):
		return Answer{Status: Full}
	}
	return Answer{Status: Admitted}
}

// Peek implements Store.
func (j *Journal) Peek(ctx context.Context, c Claim) (Answer, error) {
	if err := check(ctx, &c); err != nil {
		return Answer{}, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return Answer{}, unavailable(errClosed)
	}
	return j.judge(&c, j.now()), nil
}

// Close commits what is under way, lets go of the directory and ends the
// journal: claims are answered ErrUnavailable from then on.
func (j *Journal) Close() error {
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
		s.f.Close() // all that matters was synced
	}
	return j.lock.Close()
}

// wake tells the committer that there is something to do.
func (j *Journal) wake() {
	select {
	case j.work <- struct{}{}:
	default:
	}
}

// JournalStats is what operators want to know of a Journal.
type JournalStats struct {
	// Live is the number of nonces remembered, and Slices that of the slices
	// they are in. Those that are expired count until claims that come in
	// drop them.
	Live, Slices int
	// Bytes is the memory in use, MaxBytes its bound, and DiskBytes what the
	// segments take on the disk.
	Bytes, MaxBytes, DiskBytes int64

	// Answers counts the answers of Claim since OpenJournal, and Repeated
	// those of the Admitted that were repeated; errors are not among them.
	Answers  map[Status]uint64
	Repeated uint64

	// Commits is the number of group commits, Failures that of those that
	// failed, and Err why the latest did: nil if it succeeded. Alarm when it
	// is not nil.
	Commits, Failures uint64
	Err               error

	// Epoch is the moment from which the memory is complete: the creation of
	// the journal, or when it was opened with its past lost, in part or in
	// whole. If that is the present opening of a directory that was not empty,
	// Restored is set.
	Epoch    time.Time
	Restored bool
	// Damaged is the number of slices of which a record cannot be read; tickets
	// in them that may have been redeemed are refused as IssuedBeforeStart.
	Damaged int

	// ClockBehind is how far the clock now stands behind its highest reading,
	// those before a restart included; alarm when it is more than a second or
	// so.
	ClockBehind time.Duration
	// DroppedRanges is the number of ranges of dropped slices remembered,
	// and RangeMerges how often two of them, for want of room, became one.
	DroppedRanges int
	RangeMerges   uint64
}

// Stats gathers the numbers.
func (j *Journal) Stats() JournalStats {
	j.mu.Lock()
	defer j.mu.Unlock()
	st := JournalStats{
		Live:          j.index.records,
		Slices:        len(j.index.queue),
		Bytes:         j.index.bytes(),
		MaxBytes:      j.maxBytes,
		DiskBytes:     j.diskBytes,
		Answers:       make(map[Status]uint64),
		Repeated:      j.repeated.Load(),
		Commits:       j.commits,
		Failures:      j.failures,
		Err:           j.err,
		Epoch:         j.epoch,
		Restored:      j.restored,
		ClockBehind:   max(0, j.latest.Sub(j.now())),
		DroppedRanges: j.index.dropped.n,
		RangeMerges:   j.index.dropped.merges,
	}
	for status := Admitted; status <= ClockBehind; status++ {
		st.Answers[status] = j.answers[status].Load()
	}
	for _, sl := range j.index.live {
		if sl.damaged {
			st.Damaged++
		}
	}
	return st
}
