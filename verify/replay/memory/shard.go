package memory

import (
	"math"
	"sync"
	"time"

	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/internal/cache"
)

// dropsPerClaim is the number of expired windows dropped by a claim in passing. A claim
// makes at most one window, so a larger number catches up.
const dropsPerClaim = 4

// window is the part of a shard for one span of ticket expiry.
type window struct {
	cache.Window
	cache.Chain
}

const (
	// windowBytes is the memory of a window beside the filters. slotBytes is the memory of a
	// window's place in the shard's map and queue; neither shrinks.
	windowBytes = 128
	slotBytes   = 64
)

func (w *window) bytes() int64 { return windowBytes + w.Chain.Bytes() }

func (w *window) add(k cache.Key) {
	w.Add(k)
	w.Records++
}

// shard is a whole cache for a part of the nonces. mu guards all fields but barrier, epoch and
// budget. A claim finds a shard in slow memory. So the fields of a claim that is admitted stand
// together, in cache lines of 64 bytes.
type shard struct {
	mu     sync.Mutex
	last   *window   // the latest window that a claim asked for, or nil
	latest time.Time // the highest reading of the clock
	due    time.Time // no window's retention ends before

	recent   cache.Recent
	admitted uint64 // without the repeated
	repeated uint64

	answers [replay.ClockBehind + 1]uint64 // all others

	barrier bool
	epoch   time.Time
	budget  int64 // bytes for windows
	bytes   int64 // of all windows, and of the slots
	slots   int   // the most windows so far: the map and the queue do not shrink
	live    map[int64]*window

	queue   cache.Queue[*window]
	dropped cache.Ranges
}

// window returns the window of an index, or nil. Most claims in a row are for the same window.
func (s *shard) window(index int64) *window {
	if s.last == nil || s.last.Index != index {
		s.last = s.live[index]
	}
	return s.last
}

func (s *shard) claim(c *replay.Claim, k cache.Key, clock func() time.Time) replay.Answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	// The clock is read under the lock: a claim must not be judged by the time before a wait
	// for the lock.
	now := clock()
	if now.After(s.latest) {
		s.latest = now
	}
	for i := 0; i < dropsPerClaim && s.dropExpired(now); i++ {
	}
	place := s.recent.Place(k)
	a := s.judge(c, k, now)
	switch {
	case a.Repeated:
		s.repeated++
	case a.Status == replay.Admitted:
		s.admitted++
		s.insert(c, k, place, now)
	default:
		s.answers[a.Status]++
	}
	return a
}

func (s *shard) peek(c *replay.Claim, k cache.Key, clock func() time.Time) replay.Answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.judge(c, k, clock())
}

// judge answers the claim and changes nothing. After Admitted without Repeated,
// insert does not fail.
func (s *shard) judge(c *replay.Claim, k cache.Key, now time.Time) replay.Answer {
	if !now.Before(c.RetainUntil) {
		return replay.Answer{Status: replay.TooLate}
	}
	status := s.lookup(c, k, now)
	if status != replay.Admitted && status != replay.Full {
		if e := s.recent.Find(k, &c.Nonce); e != nil {
			return c.Spent(e.FirstUsed(), e.Binding(), now)
		}
	}
	return replay.Answer{Status: status}
}

// lookup answers without the exact table.
func (s *shard) lookup(c *replay.Claim, k cache.Key, now time.Time) replay.Status {
	if s.barrier && !c.NotBefore.After(s.epoch) {
		return replay.IssuedBeforeStart
	}
	index, issued := cache.WindowOf(c.Expires), c.Issued.UnixMilli()
	w := s.window(index)
	if w != nil && w.Over(now) { // as good as dropped
		if issued <= w.Issued {
			return replay.ClockBehind
		}
		w = nil
	}
	switch {
	case w != nil && w.Has(k):
		return replay.PossiblyUsed
	case s.dropped.Forgotten(index, issued):
		return replay.ClockBehind
	case w == nil && !s.canGrow(nil, now):
		return replay.Full
	case w != nil && w.Full() && !s.canGrow(w, now):
		return replay.Full
	}
	return replay.Admitted
}

// insert spends the nonce of a claim just admitted by judge.
func (s *shard) insert(c *replay.Claim, k cache.Key, place cache.Place, now time.Time) {
	index := cache.WindowOf(c.Expires)
	retain := c.RetainUntil.Round(0).UTC()
	w := s.window(index)
	for ; w != nil && w.Over(now); w = s.window(index) {
		s.dropExpired(now)
	}
	switch {
	case w == nil:
		blocks := s.makeRoom(nil, s.expected(index, now), now)
		w = &window{Window: cache.Window{Index: index, RetainUntil: retain, Issued: math.MinInt64}}
		w.Grow(blocks)
		s.bytes += w.bytes()
		s.live[index], s.last = w, w
		if len(s.live) > s.slots {
			s.slots++
			s.bytes += slotBytes
		}
		s.queue.Add(w)
		if retain.Before(s.due) {
			s.due = retain
		}
	case w.Full():
		blocks := s.makeRoom(w, 0, now)
		s.bytes -= w.bytes()
		w.Grow(blocks)
		s.bytes += w.bytes()
	}
	s.queue.Extend(w, retain)
	w.Issued = max(w.Issued, c.Issued.UnixMilli())
	w.add(k)
	place.Add(&c.Nonce, &c.Binding, now)
}

// growth returns the size in blocks for the next filter of w (nil: of a new window), the
// least acceptable size, and the bytes beside the blocks.
func growth(w *window) (want, least int, overhead int64) {
	if w == nil {
		return cache.MinBlocks, cache.MinBlocks, windowBytes + slotBytes
	}
	want, least = w.Growth()
	return want, least, cache.FilterOverhead
}

// expected returns the probable size of a new window in blocks: the size of the window
// before, or of the latest window with all tickets expired.
func (s *shard) expected(index int64, now time.Time) int {
	records := 0
	for _, i := range [...]int64{index - 1, cache.WindowOf(now) - 1} {
		if w := s.live[i]; w != nil {
			records = max(records, w.Records)
		}
	}
	return cache.FilterSize(records / cache.PerBlock)
}

// canGrow reports whether makeRoom will find room.
func (s *shard) canGrow(w *window, now time.Time) bool {
	_, least, overhead := growth(w)
	short := s.bytes + overhead + int64(least)*cache.BlockBytes - s.budget
	return short <= 0 || expired(s.queue, 0, now, short) >= short
}

// expired returns the bytes of the windows with ended retention at and under element i of
// the queue, and stops counting at enough. Only these windows and their children are
// visited.
func expired(q cache.Queue[*window], i int, now time.Time, enough int64) int64 {
	if i >= len(q) || !q[i].Over(now) || enough <= 0 {
		return 0
	}
	n := q[i].bytes()
	n += expired(q, 2*i+1, now, enough-n)
	return n + expired(q, 2*i+2, now, enough-n)
}

// makeRoom returns the number of blocks for the next filter of w. makeRoom drops expired
// windows and nothing else. Call makeRoom only if canGrow reports true.
func (s *shard) makeRoom(w *window, expected int, now time.Time) int {
	want, least, overhead := growth(w)
	want = max(want, expected)
	fits := func(blocks int) bool {
		return s.bytes+overhead+int64(blocks)*cache.BlockBytes <= s.budget
	}
	for !fits(want) && s.dropExpired(now) {
	}
	for want > least && !fits(want) {
		want = max(least, cache.FilterSize(want/2))
	}
	return want
}

// dropExpired drops the first window of the queue, if the window's retention has ended. The
// window's index is remembered for ever: in a second life the window has only tickets issued
// later than the dropped tickets.
func (s *shard) dropExpired(now time.Time) bool {
	if now.Before(s.due) || len(s.queue) == 0 {
		return false
	}
	if s.due = s.queue[0].RetainUntil; now.Before(s.due) {
		return false
	}
	w := s.queue.Remove()
	delete(s.live, w.Index)
	s.last = nil
	s.dropped.Add(w.Index, w.Issued)
	s.bytes -= w.bytes()
	return true
}

// addTo adds the shard's numbers to st.
func (s *shard) addTo(st *replay.Stats, clock func() time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st.Windows += len(s.queue)
	st.Bytes += s.bytes
	for _, w := range s.queue {
		st.Live += int64(w.Records)
		st.LongestChain = max(st.LongestChain, len(w.Filters))
		st.ErrorRate = max(st.ErrorRate, w.ErrorRate())
	}
	st.Answers[replay.Admitted] += s.admitted + s.repeated
	for status := replay.AlreadyUsed; status <= replay.ClockBehind; status++ {
		st.Answers[status] += s.answers[status]
	}
	st.Repeated += s.repeated
	st.DroppedRanges += len(s.dropped.List())
	st.RangeMerges += s.dropped.Merges()
	st.ClockBehind = max(st.ClockBehind, s.latest.Sub(clock()))
}
