package cache

import "time"

// Recent is an exact table of fixed size with the latest admissions. In each set
// of entries the oldest is overwritten first. A nonce is admitted once, so the
// latest admission is also the latest use, and a replay refreshes nothing. The
// table has no pointers, and takes its memory once.
type Recent struct {
	entries []Entry
	next    []uint8 // by set: the way to be written next
}

// Ways is the number of entries in a set.
const Ways = 8

// Entry is an admission. An entry fills a cache line.
type Entry struct {
	nonce   [16]byte
	binding [32]byte
	sec     int64 // of the first use, Unix time
	nsec    int32
	used    bool
}

const (
	// EntryBytes is the size of an Entry, and SetBytes the size of a set.
	EntryBytes = 64
	SetBytes   = Ways*EntryBytes + 1
)

// NewRecent returns an empty table with the given number of sets.
func NewRecent(sets int) Recent {
	return Recent{make([]Entry, sets*Ways), make([]uint8, sets)}
}

// Len returns the table's capacity in entries.
func (r *Recent) Len() int { return len(r.entries) }

// Find returns the nonce's entry, or nil. The entry is valid until the next Add.
func (r *Recent) Find(k Key, nonce *[16]byte) *Entry {
	first := k.scale(len(r.next)) * Ways
	for i := first; i < first+Ways; i++ {
		if e := &r.entries[i]; e.used && e.nonce == *nonce {
			return e
		}
	}
	return nil
}

// Place is the place of a key's admission in the table. It is valid until the next Add.
type Place struct {
	entry *Entry
	next  *uint8
	used  bool
}

// Place returns the place where Add writes. Place reads the entry there, which nobody has used
// for long: the entry comes from slow memory while the caller looks at the filters.
func (r *Recent) Place(k Key) Place {
	set := k.scale(len(r.next))
	next := &r.next[set]
	e := &r.entries[set*Ways+int(*next)]
	return Place{e, next, e.used}
}

// Add notes an admission.
func (p Place) Add(nonce *[16]byte, binding *[32]byte, first time.Time) {
	*p.next = (*p.next + 1) % Ways
	e := p.entry
	e.nonce, e.binding = *nonce, *binding
	e.sec, e.nsec = first.Unix(), int32(first.Nanosecond())
	if !p.used {
		e.used = true
	}
}

// FirstUsed returns the time of the admission.
func (e *Entry) FirstUsed() time.Time { return time.Unix(e.sec, int64(e.nsec)).UTC() }

// Binding returns the binding of the admission, or zero.
func (e *Entry) Binding() [32]byte { return e.binding }
