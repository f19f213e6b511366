package replay

import "time"

// A slice stands for a window of ticket expiry of 1<<sliceShift seconds.
const sliceShift = 4

// A slice holds the nonces of the tickets that expire in one window of Unix
// time. Which slice a ticket belongs to is decided by the ticket and not by
// when it arrives, so that there is one place to look for it, whatever the
// clock does.
type slice struct {
	index     int64     // of the window, see sliceIndex
	retain    time.Time // the latest RetainUntil of its records
	pos       int       // where it stands in the shard's queue
	records   int
	blocks    int     // in all filters
	errorRate float64 // the sum of its filters' rates, from the bits as they are
	limit     float64 // the errorRate at which it must grow
	filters   []filter
}

const (
	// What a slice and a filter cost beside their blocks: the structures and
	// their share of the chain; and what the shard's map and queue take for
	// each slice that they have had room for.
	sliceOverhead  = 96
	slotOverhead   = 64
	filterOverhead = 64
)

// sliceIndex rounds down, before 1970 too: a shift is a floor.
func sliceIndex(expires time.Time) int64 { return expires.Unix() >> sliceShift }

func (s *slice) bytes() int64 {
	return sliceOverhead + int64(len(s.filters))*filterOverhead + int64(s.blocks)*blockBytes
}

func (s *slice) has(k key) bool {
	for i := len(s.filters) - 1; i >= 0; i-- {
		a, b := s.filters[i].blocks(k)
		if a.has(k) || b.has(k) {
			return true
		}
	}
	return false
}

// full reports whether the slice must grow before it takes another key.
func (s *slice) full() bool {
	return s.errorRate >= s.limit
}

// add puts the key into the emptiest of its blocks.
func (s *slice) add(k key) {
	var (
		best   *block
		blocks int // of best's filter
		ones   int
	)
	for _, f := range s.filters {
		a, b := f.blocks(k)
		if n := a.ones(); best == nil || n < ones {
			best, blocks, ones = a, len(f), n
		}
		if n := b.ones(); n < ones {
			best, blocks, ones = b, len(f), n
		}
	}
	before := best.errorRate()
	best.add(k)
	s.errorRate += 2 * (best.errorRate() - before) / float64(blocks)
	s.records++
}

func (s *slice) grow(blocks int) {
	s.limit = firstError + tightening*s.limit
	s.filters = append(s.filters, make(filter, blocks))
	s.blocks += blocks
}

// A queue is a heap (container/heap) of slices by the end of their retention.
type queue []*slice

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].retain.Before(q[j].retain) }
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].pos, q[j].pos = i, j
}

func (q *queue) Push(x any) {
	s := x.(*slice)
	s.pos = len(*q)
	*q = append(*q, s)
}

func (q *queue) Pop() any {
	last := len(*q) - 1
	s := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	return s
}

// expired returns the bytes of the slices at and under i whose retention is
// over, counting no further than is enough. It visits no slice but those and
// their children.
func (q queue) expired(i int, now time.Time, enough int64) int64 {
	if i >= len(q) || now.Before(q[i].retain) || enough <= 0 {
		return 0
	}
	n := q[i].bytes()
	n += q.expired(2*i+1, now, enough-n)
	return n + q.expired(2*i+2, now, enough-n)
}
