package replay

import "time"

// recent is an exact, fixed-size table of the latest admissions. A nonce is
// used once, so the most recently used is the most recently redeemed: in each
// set the first to come is the first to go, and a replay refreshes nothing.
// It has no pointers, and memory is taken once.
type recent struct {
	entries []entry
	next    []uint8 // by set: the way to be written next
}

// ways is the number of entries of a set.
const ways = 8

// An entry is one cache line.
type entry struct {
	nonce   [16]byte
	binding [32]byte
	sec     int64 // of the first use, Unix time
	nsec    int32
	used    bool
}

const (
	entryBytes = 64
	setBytes   = ways*entryBytes + 1
)

func newRecent(sets int) recent {
	return recent{make([]entry, sets*ways), make([]uint8, sets)}
}

func (r *recent) set(k key) int { return k.scale(len(r.next)) }

func (r *recent) find(k key, nonce *[16]byte) *entry {
	first := r.set(k) * ways
	for i := first; i < first+ways; i++ {
		if e := &r.entries[i]; e.used && e.nonce == *nonce {
			return e
		}
	}
	return nil
}

func (r *recent) add(k key, c *Claim, now time.Time) {
	set := r.set(k)
	way := int(r.next[set])
	r.next[set] = uint8((way + 1) % ways)
	r.entries[set*ways+way] = entry{c.Nonce, c.Binding, now.Unix(), int32(now.Nanosecond()), true}
}

// answer is what a nonce in the table has coming to it.
func (e *entry) answer(c *Claim, now time.Time) Answer {
	return c.Spent(time.Unix(e.sec, int64(e.nsec)).UTC(), e.binding, now)
}
