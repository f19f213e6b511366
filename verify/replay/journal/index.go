package journal

import (
	"math"
	"time"

	"github.com/admitone/admitone/verify/replay"
	"github.com/admitone/admitone/verify/replay/internal/cache"
)

// dropsPerClaim is the number of expired windows dropped by a claim in passing. A claim
// makes at most one window, so a larger number catches up.
const dropsPerClaim = 4

// nonceIndex is the journal's memory: every live nonce exactly, so no answer needs the
// disk. The journal's mu guards the index.
type nonceIndex struct {
	live     map[int64]*window
	queue    cache.Queue[*window] // the windows of live
	dropped  cache.Ranges
	lost     time.Time // the latest window.complete of the dropped damaged windows
	gone     []*window // dropped, and still to be removed from the disk
	records  int
	inFlight map[[16]byte]*commit // nonces whose record is being written

	// The bindings of the latest admissions, for replay.Grace at least. Bindings go into the
	// first table for a Grace. Then the first table becomes the older table, and the older
	// table is forgotten.
	bindings, older map[[16]byte]binding
	since           time.Time // when bindings was begun
}

// binding is the binding of an admission. If sure is false, the admission's record may be
// missing on the disk. Then a claim with the same binding writes the record again before the
// answer: a record that was loaded may be in the operating system's memory only.
type binding struct {
	to   [32]byte
	sure bool
}

// window has the nonces of a span of ticket expiry.
type window struct {
	cache.Window
	used    map[[16]byte]int64 // the first use, Unix ns
	notSure map[[16]byte]bool  // nonces whose only record may be missing on the disk: its write failed
	pending int                // records that are being written
	numbers []uint64           // of its segments, missing ones included
	disk    int64              // bytes of its segments

	// The redemptions of a damaged window are unknown, up to this moment.
	damaged  bool
	complete time.Time
}

func newNonceIndex() nonceIndex {
	return nonceIndex{
		live:     make(map[int64]*window),
		inFlight: make(map[[16]byte]*commit),
		bindings: make(map[[16]byte]binding),
	}
}

func (x *nonceIndex) bytes() int64 {
	return int64(x.records)*nonceBytes + int64(len(x.live)+len(x.gone))*windowBytes +
		int64(len(x.bindings)+len(x.older))*bindingBytes
}

// spare is kept free for another claim.
const spare = nonceBytes + windowBytes + bindingBytes

// full reports whether another nonce has no room, even after everything expired
// is dropped.
func (x *nonceIndex) full(now time.Time, maxBytes int64) bool {
	return x.bytes()+spare > maxBytes && x.over(now) == nil
}

// over returns the first window of the queue, if its retention has ended and no record of
// the window is being written; otherwise nil.
func (x *nonceIndex) over(now time.Time) *window {
	if len(x.queue) == 0 || !x.queue[0].Over(now) || x.queue[0].pending > 0 {
		return nil
	}
	return x.queue[0]
}

// window returns the window, made if need be.
func (x *nonceIndex) window(index int64) *window {
	w := x.live[index]
	if w == nil {
		w = &window{Window: cache.Window{Index: index, Issued: math.MinInt64}, used: make(map[[16]byte]int64)}
		x.live[index] = w
		x.queue.Add(w)
	}
	return w
}

// load takes in a record from the disk.
func (x *nonceIndex) load(index int64, r *record, now time.Time) *window {
	w := x.window(index)
	if first, ok := w.used[r.nonce]; !ok {
		w.used[r.nonce] = r.first
		w.Records++
		x.records++
		x.bind(r, now)
	} else {
		w.used[r.nonce] = min(first, r.first)
		if x.binding(r.nonce).to != r.binding {
			// An owner that was taken over wrote one of the records, and a later owner the other one.
			// One of the two admitted, and nobody knows which.
			delete(x.bindings, r.nonce)
			delete(x.older, r.nonce)
		}
	}
	x.queue.Extend(w, time.Unix(r.retain, 0).UTC())
	w.Issued = max(w.Issued, r.issued)
	return w
}

// insert takes in a record before the record is written.
func (x *nonceIndex) insert(index int64, r *record, now time.Time) {
	x.load(index, r, now).pending++
}

func (x *nonceIndex) bind(r *record, now time.Time) {
	x.rotate(now)
	if r.binding != [32]byte{} && now.Sub(time.Unix(0, r.first)) < replay.Grace {
		x.bindings[r.nonce] = binding{to: r.binding}
	}
}

// rotate forgets bindings after their grace.
func (x *nonceIndex) rotate(now time.Time) {
	age := now.Sub(x.since)
	if age >= 0 && age < replay.Grace {
		return
	}
	x.older, x.bindings, x.since = x.bindings, make(map[[16]byte]binding), now
	if age >= 2*replay.Grace {
		x.older = nil
	}
}

// binding returns the nonce's binding, or zero if none counts any more.
func (x *nonceIndex) binding(nonce [16]byte) binding {
	if b, ok := x.bindings[nonce]; ok {
		return b
	}
	return x.older[nonce]
}

// unsure reports whether the write of the nonce's record failed, and none succeeded since.
func (x *nonceIndex) unsure(c *replay.Claim) bool {
	w := x.live[cache.WindowOf(c.Expires)]
	return w != nil && w.notSure[c.Nonce]
}

// finish notes the outcome of writing a record.
func (x *nonceIndex) finish(index int64, r *record, err error) {
	w := x.live[index]
	w.pending--
	delete(x.inFlight, r.nonce)
	switch {
	case err == nil:
		delete(w.notSure, r.nonce)
		for _, table := range []map[[16]byte]binding{x.bindings, x.older} {
			if b, ok := table[r.nonce]; ok {
				b.sure = true
				table[r.nonce] = b
			}
		}
	case r.again: // the earlier record is as it was
	case isNotWritten(err):
		// Nobody was admitted, and no record can ever say otherwise.
		delete(w.used, r.nonce)
		delete(x.bindings, r.nonce)
		delete(x.older, r.nonce)
		w.Records--
		x.records--
	default:
		if w.notSure == nil {
			w.notSure = make(map[[16]byte]bool)
		}
		w.notSure[r.nonce] = true
	}
}

// expire drops some windows with ended retention, and more if room is needed. The result
// reports whether any must be removed from the disk.
func (x *nonceIndex) expire(now time.Time, maxBytes int64) bool {
	x.rotate(now)
	for i := 0; i < dropsPerClaim || x.bytes()+spare > maxBytes; i++ {
		if !x.expireOne(now) {
			break
		}
	}
	return len(x.gone) > 0
}

// expireAll is expire without a limit.
func (x *nonceIndex) expireAll(now time.Time) bool {
	for x.expireOne(now) {
	}
	return len(x.gone) > 0
}

func (x *nonceIndex) expireOne(now time.Time) bool {
	w := x.over(now)
	if w == nil {
		return false
	}
	x.queue.Remove()
	x.records -= w.Records
	w.used, w.notSure = nil, nil
	delete(x.live, w.Index)
	x.gone = append(x.gone, w)
	x.drop(w.Index, w.Issued, w.complete)
	return true
}

// drop remembers a dropped window for ever. lost is the window's complete.
func (x *nonceIndex) drop(index, issued int64, lost time.Time) {
	x.dropped.Add(index, issued)
	if lost.After(x.lost) {
		x.lost = lost
	}
}

// forgotten reports whether the claim's nonce can be among the nonces of a dropped window.
func (x *nonceIndex) forgotten(c *replay.Claim, now time.Time) bool {
	index, issued := cache.WindowOf(c.Expires), c.Issued.UnixMilli()
	if w := x.live[index]; w != nil && w.Over(now) && issued <= w.Issued { // as good as dropped
		return true
	}
	return x.dropped.Forgotten(index, issued) || x.dropped.Has(index) && !c.NotBefore.After(x.lost)
}
