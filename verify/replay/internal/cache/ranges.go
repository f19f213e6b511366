package cache

// MaxRanges bounds the number of ranges in Ranges.
const MaxRanges = 64

// Ranges is a set of window indices, the dropped windows, as disjoint ranges in ascending
// order. Each range has the latest issue of all the tickets redeemed in the range's windows.
// The set never shrinks. Beyond MaxRanges, the two nearest ranges are merged, gap
// included. This errs on the side of refusal, and refuses as little as possible: the
// tickets of a gap are good only while the clock stands behind the drop of the neighbours,
// and meet a refusal then.
type Ranges struct {
	n      int
	merges uint64
	r      [MaxRanges + 1]Range // the last element gives Add room
}

// Range is a range of window indices, both ends included, with the latest issue of the
// forgotten tickets in Unix ms.
type Range struct{ From, To, Issued int64 }

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

// Forgotten reports whether a ticket can be among the forgotten tickets of the window i: the
// window was dropped, and the ticket was issued no later than the last of these tickets.
func (s *Ranges) Forgotten(i, issued int64) bool {
	at := s.find(i)
	return at < s.n && s.r[at].From <= i && issued <= s.r[at].Issued
}

// Add puts the index into the set, with the latest issue of the window's tickets. A window
// can be added again.
func (s *Ranges) Add(i, issued int64) {
	at := s.find(i)
	if at < s.n && s.r[at].From <= i {
		s.r[at].Issued = max(s.r[at].Issued, issued)
		return
	}
	joinsBelow := at > 0 && s.r[at-1].To == i-1
	joinsAbove := at < s.n && s.r[at].From == i+1
	switch {
	case joinsBelow && joinsAbove:
		s.join(at)
		s.r[at-1].Issued = max(s.r[at-1].Issued, issued)
	case joinsBelow:
		s.r[at-1].To, s.r[at-1].Issued = i, max(s.r[at-1].Issued, issued)
	case joinsAbove:
		s.r[at].From, s.r[at].Issued = i, max(s.r[at].Issued, issued)
	default:
		copy(s.r[at+1:s.n+1], s.r[at:s.n])
		s.r[at] = Range{i, i, issued}
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
	s.join(at)
	s.merges++
}

// join makes one range of the range and the range below, gap included.
func (s *Ranges) join(at int) {
	s.r[at-1].To, s.r[at-1].Issued = s.r[at].To, max(s.r[at-1].Issued, s.r[at].Issued)
	copy(s.r[at:], s.r[at+1:s.n])
	s.n--
}
