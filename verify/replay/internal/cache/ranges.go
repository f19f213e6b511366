package cache

// MaxRanges bounds the number of ranges in Ranges.
const MaxRanges = 64

// Ranges is a set of window indices, the dropped windows, as disjoint ranges in ascending
// order. The set never shrinks. Beyond MaxRanges, the two nearest ranges are merged, gap
// included. This errs on the side of refusal, and refuses as little as possible: the
// tickets of a gap are good only while the clock stands behind the drop of the neighbours,
// and meet a refusal then.
type Ranges struct {
	n      int
	merges uint64
	r      [MaxRanges + 1]Range // the last element gives Add room
}

// Range is a range of window indices, both ends included.
type Range struct{ From, To int64 }

// RestoreRanges returns a set with the given ranges, at most MaxRanges, disjoint and in
// ascending order. merges is the result of Merges.
func RestoreRanges(list []Range, merges uint64) (s Ranges) {
	s.n, s.merges = copy(s.r[:MaxRanges], list), merges
	return s
}

// List returns the ranges, in ascending order. Do not change the result.
func (s *Ranges) List() []Range { return s.r[:s.n] }

// Merges returns how often two ranges were merged for want of room.
func (s *Ranges) Merges() uint64 { return s.merges }

// find returns the number of the first range with its end at or after i.
func (s *Ranges) find(i int64) int {
	lo, hi := 0, s.n
	for lo < hi {
		if mid := (lo + hi) / 2; s.r[mid].To < i {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// Has reports whether the index is in the set.
func (s *Ranges) Has(i int64) bool {
	at := s.find(i)
	return at < s.n && s.r[at].From <= i
}

// Add puts the index into the set.
func (s *Ranges) Add(i int64) {
	at := s.find(i)
	if at < s.n && s.r[at].From <= i {
		return
	}
	joinsBelow := at > 0 && s.r[at-1].To == i-1
	joinsAbove := at < s.n && s.r[at].From == i+1
	switch {
	case joinsBelow && joinsAbove:
		s.r[at-1].To = s.r[at].To
		s.remove(at)
	case joinsBelow:
		s.r[at-1].To = i
	case joinsAbove:
		s.r[at].From = i
	default:
		copy(s.r[at+1:s.n+1], s.r[at:s.n])
		s.r[at] = Range{i, i}
		s.n++
	}
	if s.n > MaxRanges {
		s.mergeNearest()
	}
}

// mergeNearest closes the smallest gap, and of equal gaps the lowest.
func (s *Ranges) mergeNearest() {
	at := 1
	for i := 2; i < s.n; i++ {
		if s.r[i].From-s.r[i-1].To < s.r[at].From-s.r[at-1].To {
			at = i
		}
	}
	s.r[at-1].To = s.r[at].To
	s.remove(at)
	s.merges++
}

func (s *Ranges) remove(at int) {
	copy(s.r[at:], s.r[at+1:s.n])
	s.n--
}
