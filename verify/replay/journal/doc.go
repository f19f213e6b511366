// Package journal is a replay.Store of a single process, on disk. The store's memory
// outlives the process.
//
// # Promises
//
// A Store writes every admission to a file, and answers once the admission is on stable
// storage. A commit takes all claims from the time of the commit before, so one fsync
// serves many claims. The epoch is the creation of the journal: a restart, in good order or
// by kill -9 or power failure, refuses no good ticket and admits none twice.
//
// Nobody is refused as used by mistake. The store knows every live nonce exactly, in
// memory, and never answers PossiblyUsed. A replay reads no disk. The price is memory,
// at most 60 bytes for a nonce (Config.MaxBytes), and 76 bytes on the disk. A file in use has
// up to a quarter more, as room for further records.
//
// Each window of ticket expiry has a file or a few; see segment.go for the format. A window
// is noted in the state file before the window's files are removed. So spent tickets of the
// window meet ClockBehind if the clock is set back, across a restart too.
//
// # One owner
//
// One process owns the directory, by a lock: two processes would each admit a ticket. On some
// network file systems the lock excludes nobody. So an owner also writes a random token into
// the directory, and looks at the token after each fsync, before it answers. If a second
// process takes the directory over, the first process admits nobody from then on. Its claims
// are ErrUnavailable and say why, and Stats.Err has the same error. The second process may
// refuse tickets issued before, in a few windows. owner.go says why this is enough, and what
// it assumes of the file system.
//
// If the directory is moved away, wiped or replaced while the process runs, claims
// are ErrUnavailable until the directory is back or the process is restarted.
//
// Open refuses a directory that everybody may write to, and warns of one that its group may
// write to.
//
// # A failing disk
//
// While the disk fails, is full or is read-only, claims of unused tickets are
// ErrUnavailable. Each claim tries again, so service resumes when the disk does.
//
// After a failed write or fsync, a record may be on the disk or not, and the store begins
// another file. The nonce then belongs to the claim that failed. The next claim of the nonce
// writes the record again, and is answered once the record is safe: AlreadyUsed, or Admitted to
// the same binding within replay.Grace. If the process ends before, the nonce may be unspent. If the
// disk failed before the record was written, as a full disk does, the nonce is not spent.
//
// A record that Open finds may be in the operating system's memory only. So the first retry
// with the same binding after Open writes the record again, too.
//
// # Damage
//
// Open ignores a record cut short at the end of a file: no claim was answered by this
// record. A whole record with a wrong checksum may have been any nonce of the window. In
// this window, tickets issued before Open and not known to be used are IssuedBeforeStart. A
// power failure during a write can lead to this state if the disk writes the sectors of the
// records in another order. If the state file is lost or damaged, all tickets issued before Open
// are IssuedBeforeStart. The state file names all segments. If one of these is missing at
// Open, its window is damaged in the same way.
//
// # Copies and backups
//
// A wiped directory begins a new epoch. So does a copied directory, or a directory restored
// from a backup, since the copy does not know the redemptions made meanwhile. The store
// recognises a copy by inodes and times of birth: the copy's files have others than are
// written in the files. Moving a directory within a file system, or changing the owner,
// changes neither. Windows, and file systems without lasting inodes, cannot tell a copy.
//
// Three things cannot be seen: a volume or a whole machine put back from a snapshot; old
// contents written over new ones in place; and segments cut by hand between whole records,
// or with zeros from there to the end. After any of these, remove the directory before the
// service starts; the new epoch makes up for the loss.
//
// The barrier and the recognition of damage use the clock. When the directory is opened,
// the clock must not be behind the time of the lost records.
package journal
