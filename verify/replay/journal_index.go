package replay

import (
	"container/heap"
	"time"
)

// A journalIndex is all that a journal knows, in memory: every live nonce
// exactly, so that no answer needs the disk. It is guarded by the journal's mu.
type journalIndex struct {
	live     map[int64]*journalSlice
	queue    queue // those of live that are not gone
	dropped  ranges
	gone     []*journalSlice // out of the queue, and still to be removed from the disk
	records  int
	inFlight map[[16]byte]*commit // nonces whose record is being written

	// The bindings of the latest admissions, for Grace at least: a table
	// takes them for that long, becomes the older one and is then forgotten.
	bindings, older map[[16]byte][32]byte
	since           time.Time // when bindings was begun
}

// A journalSlice has the nonces of one slice, and when they were first used, in
// Unix ns.
type journalSlice struct {
	slice   // its filters are not used
	used    map[[16]byte]int64
	notSure map[[16]byte]bool // records that may not be on the disk; nobody was admitted on them
	pending int               // records that are being written
	gone    bool
	files   []string
	written int64 // records in files, those written twice twice

	// Of a damaged slice what was redeemed is not known, up to this moment.
	damaged  bool
	complete time.Time
}

func newJournalIndex() journalIndex {
	return journalIndex{
		live:     make(map[int64]*journalSlice),
		inFlight: make(map[[16]byte]*commit),
		bindings: make(map[[16]byte][32]byte),
	}
}

func (x *journalIndex) bytes() int64 {
	return int64(x.records)*nonceBytes + int64(len(x.live))*journalSliceBytes +
		int64(len(x.bindings)+len(x.older))*bindingBytes
}

// spare is kept free for another claim.
const spare = nonceBytes + journalSliceBytes + bindingBytes

// full reports whether there is no room for another nonce, although all that can
// be let go of is.
func (x *journalIndex) full(now time.Time, maxBytes int64) bool {
	return x.bytes()+spare > maxBytes && x.over(now) == nil
}

// over returns a slice whose retention is over and no record of which is being
// written, or nil. It looks at no slice but that whose retention was over first.
func (x *journalIndex) over(now time.Time) *journalSlice {
	if len(x.queue) == 0 || now.Before(x.queue[0].retain) {
		return nil
	}
	if sl := x.live[x.queue[0].index]; sl.pending == 0 {
		return sl
	}
	return nil
}

// slice returns the slice, which it makes if need be.
func (x *journalIndex) slice(index int64) *journalSlice {
	sl := x.live[index]
	if sl == nil {
		sl = &journalSlice{slice: slice{index: index}, used: make(map[[16]byte]int64)}
		x.live[index] = sl
		heap.Push(&x.queue, &sl.slice)
	}
	return sl
}

// retain sees to it that the slice lives until at.
func (x *journalIndex) retain(sl *journalSlice, at time.Time) {
	if at.After(sl.retain) {
		sl.retain = at
		heap.Fix(&x.queue, sl.pos)
	}
}

// load takes in a record from the disk.
func (x *journalIndex) load(index int64, r *record, now time.Time) *journalSlice {
	sl := x.slice(index)
	if first, ok := sl.used[r.nonce]; !ok {
		sl.used[r.nonce] = r.first
		sl.records++
		x.records++
	} else {
		sl.used[r.nonce] = min(first, r.first)
	}
	x.retain(sl, time.Unix(r.retain, 0).UTC())
	x.bind(r, now)
	return sl
}

// insert takes in a record that is going to be written.
func (x *journalIndex) insert(index int64, r *record, now time.Time) {
	x.load(index, r, now).pending++
}

func (x *journalIndex) bind(r *record, now time.Time) {
	x.rotate(now)
	if r.binding != [32]byte{} && now.Sub(time.Unix(0, r.first)) < Grace {
		x.bindings[r.nonce] = r.binding
	}
}

// rotate forgets bindings that no longer count.
func (x *journalIndex) rotate(now time.Time) {
	age := now.Sub(x.since)
	if age >= 0 && age < Grace {
		return
	}
	x.older, x.bindings, x.since = x.bindings, make(map[[16]byte][32]byte), now
	if age >= 2*Grace {
		x.older = nil
	}
}

// binding returns zero where there was none, or none that still counts.
func (x *journalIndex) binding(nonce [16]byte) [32]byte {
	if b, ok := x.bindings[nonce]; ok {
		return b
	}
	return x.older[nonce]
}

func (x *journalIndex) unsure(c *Claim) bool {
	sl := x.live[sliceIndex(c.Expires)]
	return sl != nil && sl.notSure[c.Nonce]
}

// A written record is one that was to be, with what became of it.
func (x *journalIndex) written(index int64, r *record, err error) {
	sl := x.live[index]
	sl.pending--
	delete(x.inFlight, r.nonce)
	switch {
	case err == nil:
		delete(sl.notSure, r.nonce)
	case isNotWritten(err) && !sl.notSure[r.nonce]:
		// Nobody was admitted, and nothing can ever say otherwise.
		delete(sl.used, r.nonce)
		delete(x.bindings, r.nonce)
		delete(x.older, r.nonce)
		sl.records--
		x.records--
	default:
		if sl.notSure == nil {
			sl.notSure = make(map[[16]byte]bool)
		}
		sl.notSure[r.nonce] = true
	}
}

// expire lets go of some slices whose retention is over, of more if room is
// needed, and reports whether there are any to be removed from the disk. Until
// they are, and for ever after, claims for them are refused.
func (x *journalIndex) expire(now time.Time, maxBytes int64) bool {
	x.rotate(now)
	for i := 0; i < dropsPerClaim || x.bytes()+spare > maxBytes; i++ {
		if !x.expireOne(now) {
			break
		}
	}
	return len(x.gone) > 0
}

func (x *journalIndex) expireAll(now time.Time) bool {
	for x.expireOne(now) {
	}
	return len(x.gone) > 0
}

func (x *journalIndex) expireOne(now time.Time) bool {
	sl := x.over(now)
	if sl == nil {
		return false
	}
	heap.Pop(&x.queue)
	x.records -= sl.records
	sl.gone, sl.used, sl.notSure = true, nil, nil
	x.gone = append(x.gone, sl)
	return true
}
