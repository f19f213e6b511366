package replay

import (
	"container/heap"
	"sync"
	"time"
)

// dropsPerClaim is how many expired slices a claim drops in passing. A claim
// makes one slice at most, so any number above one catches up.
const dropsPerClaim = 4

// A shard is a whole cache of its own, for its part of the nonces. All fields
// but the first group are guarded by mu.
type shard struct {
	barrier bool
	epoch   time.Time
	budget  int64 // bytes for slices

	mu      sync.Mutex
	live    map[int64]*slice
	queue   queue
	dropped ranges
	recent  recent

	bytes    int64 // of all slices, and of the slots
	slots    int   // the most slices that there have been: the map and the queue do not shrink
	records  int
	latest   time.Time // the highest reading of the clock
	answers  [ClockBehind + 1]uint64
	repeated uint64
}

func (s *shard) claim(c *Claim, k key, clock func() time.Time) Answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	// The clock is read under the lock: a claim that had to wait for it
	// must not be judged by the time at which it began to wait.
	now := clock()
	if now.After(s.latest) {
		s.latest = now
	}
	for i := 0; i < dropsPerClaim && s.dropExpired(now); i++ {
	}
	a := s.judge(c, k, now)
	s.answers[a.Status]++
	if a.Repeated {
		s.repeated++
	} else if a.Status == Admitted {
		s.insert(c, k, now)
	}
	return a
}

func (s *shard) peek(c *Claim, k key, clock func() time.Time) Answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.judge(c, k, clock())
}

// judge answers the claim and changes nothing. After Admitted without
// Repeated, insert does not fail.
func (s *shard) judge(c *Claim, k key, now time.Time) Answer {
	if !now.Before(c.RetainUntil) {
		return Answer{Status: TooLate}
	}
	status := s.lookup(c, k, now)
	if status != Admitted && status != Full {
		if e := s.recent.find(k, &c.Nonce); e != nil {
			return e.answer(c, now)
		}
	}
	return Answer{Status: status}
}

// lookup answers without the exact table.
func (s *shard) lookup(c *Claim, k key, now time.Time) Status {
	if s.barrier && !c.NotBefore.After(s.epoch) {
		return IssuedBeforeStart
	}
	index := sliceIndex(c.Expires)
	sl := s.live[index]
	switch {
	case sl == nil && s.dropped.has(index):
		return ClockBehind
	case sl == nil:
		if !s.canGrow(nil, now) {
			return Full
		}
	case !now.Before(sl.retain): // as good as dropped
		return ClockBehind
	case sl.has(k):
		return PossiblyUsed
	case sl.full() && !s.canGrow(sl, now):
		return Full
	}
	return Admitted
}

// insert spends the nonce of a claim that judge has just admitted.
func (s *shard) insert(c *Claim, k key, now time.Time) {
	index := sliceIndex(c.Expires)
	retain := c.RetainUntil.Round(0).UTC()
	sl := s.live[index]
	switch {
	case sl == nil:
		blocks := s.makeRoom(nil, s.expected(index, now), now)
		sl = &slice{index: index, retain: retain}
		sl.grow(blocks)
		s.bytes += sl.bytes()
		s.live[index] = sl
		if len(s.live) > s.slots {
			s.slots++
			s.bytes += slotOverhead
		}
		heap.Push(&s.queue, sl)
	case sl.full():
		blocks := s.makeRoom(sl, 0, now)
		s.bytes -= sl.bytes()
		sl.grow(blocks)
		s.bytes += sl.bytes()
	}
	if retain.After(sl.retain) {
		sl.retain = retain
		heap.Fix(&s.queue, sl.pos)
	}
	sl.add(k)
	s.records++
	s.recent.add(k, c, now)
}

// growth returns how many blocks the next filter of sl (nil: of a new slice)
// should have, how many it must have at least, and what it costs beside them.
// A slice that was given what was expected of it grows by a quarter, and one of
// which nothing was known doubles. Where memory is short a smaller filter will
// do, but none under a quarter of what the slice has: so the number of filters
// stays logarithmic in the slice's size, and lookups with it.
func growth(sl *slice) (want, least int, overhead int64) {
	if sl == nil {
		return minBlocks, minBlocks, sliceOverhead + slotOverhead + filterOverhead
	}
	least = filterSize(sl.blocks / 4)
	if len(sl.filters[0]) > minBlocks {
		return least, least, filterOverhead
	}
	return filterSize(sl.blocks), least, filterOverhead
}

// expected returns how many blocks a new slice will probably need: as many as
// the slice before it in time, or the latest one whose tickets are all expired.
func (s *shard) expected(index int64, now time.Time) int {
	records := 0
	for _, i := range [...]int64{index - 1, sliceIndex(now) - 1} {
		if sl := s.live[i]; sl != nil {
			records = max(records, sl.records)
		}
	}
	return filterSize(records / perBlock)
}

// canGrow reports whether makeRoom will find room.
func (s *shard) canGrow(sl *slice, now time.Time) bool {
	_, least, overhead := growth(sl)
	short := s.bytes + overhead + int64(least)*blockBytes - s.budget
	return short <= 0 || s.queue.expired(0, now, short) >= short
}

// makeRoom returns the number of blocks for the next filter of sl, dropping
// what is expired and nothing else. It is called where canGrow said yes.
func (s *shard) makeRoom(sl *slice, expected int, now time.Time) int {
	want, least, overhead := growth(sl)
	want = max(want, expected)
	fits := func(blocks int) bool { return s.bytes+overhead+int64(blocks)*blockBytes <= s.budget }
	for !fits(want) && s.dropExpired(now) {
	}
	for want > least && !fits(want) {
		want = max(least, filterSize(want/2))
	}
	return want
}

// dropExpired drops the slice whose retention was over first, if it is over.
// The slice's index is remembered for ever: no slice has a second life.
func (s *shard) dropExpired(now time.Time) bool {
	if len(s.queue) == 0 || now.Before(s.queue[0].retain) {
		return false
	}
	sl := heap.Pop(&s.queue).(*slice)
	delete(s.live, sl.index)
	s.dropped.add(sl.index)
	s.bytes -= sl.bytes()
	s.records -= sl.records
	return true
}
