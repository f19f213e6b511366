// Package replay remembers which one-time tickets were redeemed, so that each
// works once: the Store interface, Memory, a Store in the memory of one process,
// and Journal, one whose memory survives that process. What is said here of the
// filters and of slices is about Memory; Journal has a section of its own.
//
// # The invariant
//
// For any one-time ticket at most one redemption succeeds: under overflow,
// eviction and clock steps both ways, with verifiers of different lifetimes
// and skews on one store, from any number of goroutines. With a retry binding
// it is at most one binding. A nonce whose ticket may still be accepted is
// never forgotten; what a store cannot remember it does not admit, and what it
// does not know of the past it refuses.
//
// # Who may say what
//
// A chain of Bloom filters holds every live nonce. Filters err on one side
// only: "no" means never seen, and admits; "maybe" never does.
//
// A small exact table holds the latest admissions. It turns a "maybe" into
// AlreadyUsed, and says when. It serves the grace: a claim with the binding of
// the first one, within Grace of it, is Admitted again, as Repeated. A nonce
// may fall out of the table; then the filters' "maybe" is all there is, and
// the answer is PossiblyUsed. (The default table holds the admissions of a
// Grace at 3,200 a second; raise MemoryConfig.Recent where there are more.) A
// mistake of the filters (see below) thus costs somebody a new ticket, and lets
// nobody in.
//
// The store's clock, read in the same step as the claim, says TooLate at and
// past the claim's RetainUntil: a request that was held up must not come when
// its nonce is already forgotten.
//
// # Slices, and clocks that step
//
// The filters are sliced by the tickets' expiry, in windows of 16 s, and not
// by time of arrival: so one lookup touches one slice, a ticket dated far
// ahead holds up no other, and an older ticket may come after a newer one. A
// slice is dropped whole when the latest RetainUntil of its records has
// passed, and never made again: which slices were dropped is remembered
// until the process ends, as up to 64 ranges in each shard; where there would be
// more, the two nearest to each other become one. If the clock jumps ahead, slices
// are dropped before their time; when it is set right, claims for them are refused as
// ClockBehind, and all others are served. The same is in store for a claim
// that comes, with a larger skew than its predecessors', after their slice was
// dropped; it cannot happen where the skews of the verifiers on one store
// differ by no more than 44 s.
//
// # The barrier
//
// A Memory begins knowing nothing, so tickets that may have been issued before
// it began (NotBefore at or before the epoch, which is the time of NewMemory)
// are refused as IssuedBeforeStart. After a restart this lasts, for new
// tickets, about one skew. Hence the promise: Memory keeps the invariant
// within one process at a time, on a clock that moves forward across restarts.
// Two processes with a Memory each admit a ticket twice. Whoever needs more
// needs a store that outlives the process, as Journal does, or is shared.
//
// If the clock was ahead at the start and is then set back, everything is
// refused as IssuedBeforeStart until it has caught up, and Stats.ClockBehind
// shows it. A restart ends this sooner, and with it the promise: wait first
// for the longest lifetime of a ticket, plus skews.
//
// # Memory and errors
//
// MemoryConfig.MaxBytes bounds all memory. It is divided among up to 64 shards
// (one for every 256 KiB), each with a lock, slices and an exact table of its
// own. A shard that can take no more, when all that is expired is dropped,
// answers Full, and forgets nothing. Garbage awaiting collection comes on top.
//
// A filter is an array of 64-byte blocks, and a nonce sets up to 16 bits of one
// of two of them, the emptier. A slice's error rate — the probability that its
// chain mistakes a nonce for one of its own — is computed from the bits as they
// are set, and the chain grows when that meets a limit: 2.4e-7 for the first
// filter, and 0.75 of the step before for each one more, so that any chain stays
// under 1e-6. Stats.ErrorRate is the highest of these figures.
//
// A slice begins with a filter for as many nonces as the slice before it has, or
// the latest one that is over; the first of all begin with 512 bytes and double.
// A full filter has about 15 nonces in a block, 34 bits for each. So a million
// live nonces at a steady rate (9 million an hour, with lifetimes of 5 min and
// skews of 10 s, which are remembered for 6.5 min) take 7.5 MB, of which 2 MB are
// the exact table. The default of 64 MiB holds ten million or so. Load.Needs
// computes it for other rates.
//
// Sparse traffic costs more for each: a nonce that is alone in its slice takes
// 736 bytes, and the default holds 80,000 of them. Who issues few tickets with
// lifetimes of days reckons with that.
//
// Work per claim is constant but for the chain, whose length is logarithmic in
// the slice's size, and for expired slices, of which a claim drops up to
// four, each in logarithmic time, or more if it needs their room. Nothing else
// is swept, and nothing is allocated but new filters.
//
// # The journal
//
// A Journal writes every admission to a file and answers when it is on stable
// storage. A commit takes all claims that have come in while the one before it
// was under way, so that one fsync serves them all. Its epoch is its creation:
// a restart, in good order or by kill -9 or power failure, refuses nothing good
// and admits nothing twice. With a Journal nobody is refused as used by mistake:
// it knows every live nonce exactly, in memory, and never answers PossiblyUsed.
// A replay reads no disk. The price is memory, at most 60 bytes for a nonce
// (JournalConfig.MaxBytes), and 68 bytes on the disk.
//
// Slices are those of Memory, with a file or a few for each (see segment.go for
// their format). That a slice existed is written down before its files are
// removed, so a clock that is set back, across a restart too, meets
// ClockBehind there.
//
// One process owns the directory, by a lock; two would each admit a ticket. A
// process whose directory is moved away, wiped or replaced under it answers
// ErrUnavailable until the directory is back or the process is restarted.
//
// If the disk fails, is full or becomes read-only, claims of fresh tickets are
// answered ErrUnavailable, and each one tries again, so that service resumes
// when the disk does. After a write or an fsync that failed, a record may be on
// the disk or not, and another file is begun. Its nonce is refused from then on
// as AlreadyUsed, but to a claim with the same binding, within Grace, which is
// admitted once its record is safe. Where the disk failed before the record was
// written, as it does all the time that it is full, the nonce is not spent.
//
// When a journal is opened, a record that was cut short at the end of a file is
// ignored: nobody was told of it. A record that is there in full and fails its
// checksum may have been anybody's of its slice: in that slice, tickets issued
// before the opening that are not known to be used are refused as
// IssuedBeforeStart, to which power failure in the middle of a write can lead
// on file systems that lengthen files before they fill them. Where the state
// file is lost or damaged, all that was issued before the opening is.
//
// A wiped directory begins a new epoch. So does one that was restored from a
// backup, or copied, since it does not know what was redeemed meanwhile: its
// files' inodes and times of birth are not those written in them. (Moving a
// directory within a file system, and giving it to another owner, changes
// neither. Windows, and file systems without inodes that last, cannot tell.)
// What this cannot see is a volume, or a whole machine, put back from a
// snapshot, old contents written over the new ones in place, and single
// segments removed or cut by hand between whole records. After any of that,
// remove the directory before the service starts: the new epoch makes up for
// it.
//
// The barrier and the recognition of damage use the clock. They hold if the
// clock, when the directory is opened, is not behind what it was when the lost
// records were written.
//
// # Other stores
//
// Who writes a Store of their own, on a database, say, checks claims with
// [Claim.Check], answers those of spent nonces with [Claim.Spent], and puts the
// store through package replaytest, whose example is such a store.
package replay
