package replay

// maxRanges bounds what a shard remembers of the slices it dropped.
const maxRanges = 64

// ranges is the set of the indices of dropped slices that held records, as
// disjoint ranges in ascending order. It never shrinks. When there are more than
// maxRanges, the two that are nearest to each other become one, the gap between
// them included. That errs on the side of refusing, and refuses the least that
// it can: tickets of a gap are good only while the clock stands behind what it
// was when its neighbours were dropped, and meet ClockBehind then.
type ranges struct {
	n      int
	merges uint64
	r      [maxRanges + 1]struct{ lo, hi int64 } // the last one is there for add
}

// find returns the number of the first range that ends at or after i.
func (s *ranges) find(i int64) int {
	lo, hi := 0, s.n
	for lo < hi {
		if mid := (lo + hi) / 2; s.r[mid].hi < i {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

func (s *ranges) has(i int64) bool {
	at := s.find(i)
	return at < s.n && s.r[at].lo <= i
}

func (s *ranges) add(i int64) {
	at := s.find(i)
	if at < s.n && s.r[at].lo <= i {
		return
	}
	joinsBelow := at > 0 && s.r[at-1].hi == i-1
	joinsAbove := at < s.n && s.r[at].lo == i+1
	switch {
	case joinsBelow && joinsAbove:
		s.r[at-1].hi = s.r[at].hi
		s.remove(at)
	case joinsBelow:
		s.r[at-1].hi = i
	case joinsAbove:
		s.r[at].lo = i
	default:
		copy(s.r[at+1:s.n+1], s.r[at:s.n])
		s.r[at].lo, s.r[at].hi = i, i
		s.n++
	}
	if s.n > maxRanges {
		s.mergeNearest()
	}
}

// mergeNearest closes the smallest gap, the lowest of several.
func (s *ranges) mergeNearest() {
	at := 1
	for i := 2; i < s.n; i++ {
		if s.r[i].lo-s.r[i-1].hi < s.r[at].lo-s.r[at-1].hi {
			at = i
		}
	}
	s.r[at-1].hi = s.r[at].hi
	s.remove(at)
	s.merges++
}

func (s *ranges) remove(at int) {
	copy(s.r[at:], s.r[at+1:s.n])
	s.n--
}
