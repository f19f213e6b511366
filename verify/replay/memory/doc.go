// Package memory is a replay.Store in the memory of a single process: exact for recent
// nonces, and in Bloom filters for all others.
//
// # Promises
//
// A Store begins with nothing, so the epoch is the time of Open. After a restart, older
// tickets are refused, and new tickets for about a skew. So the store keeps the invariant
// of package replay within one process at a time, as long as the clock moves forward across
// restarts. Two processes with a Store each admit a ticket twice; use a shared store for
// several processes, and package journal for a memory beyond the process.
//
// If the clock was ahead at the start and is then set back, all tickets are
// IssuedBeforeStart until the clock has caught up, and Stats.ClockBehind shows the
// difference. A restart ends this sooner, and ends the promise too: before the restart,
// wait for the longest lifetime of a ticket, plus skews.
//
// # Filters and table
//
// A chain of Bloom filters holds every live nonce. Filters err only on the safe side: "no"
// means never seen, and admits; "maybe" never admits.
//
// A small exact table holds the latest admissions. The table turns a "maybe" into
// AlreadyUsed with the time of the first use, and serves the grace. A nonce can fall
// out of the table. Then only the filters' "maybe" is left, and the answer is
// PossiblyUsed. The default table holds the admissions of a replay.Grace at 3,200 a
// second; at a higher rate, raise Config.Recent.
//
// # Memory and errors
//
// Config.MaxBytes bounds all memory. Up to 64 shards (256 KiB or more for each) divide the
// memory, each with a lock, separate windows and a separate table. A shard without room,
// even after all expired windows are dropped, answers Full and forgets nothing. Garbage
// before collection comes on top.
//
// A filter is an array of 64-byte blocks, and a nonce sets up to 16 bits in the emptier of
// two blocks. The error rate of a window is the probability that the window's chain
// mistakes a new nonce for a known nonce, computed from the bits already set. The chain
// grows when the rate meets a limit: 2.4e-7 for the first filter, and for each further
// filter 0.75 of the addition before. So any chain stays under 1e-6. Stats.ErrorRate is the
// highest rate of all windows.
//
// A window begins with a filter for as many nonces as the window before, or as the latest
// expired window. The very first windows begin with 512 bytes and double. A full filter has
// about 15 nonces in a block, 34 bits for each. A million live nonces at a steady rate take
// 7.5 MB, with 2 MB for the exact table; this is the load of 9 million tickets an hour,
// with lifetimes of 5 min and skews of 10 s, remembered for 6.5 min. The default of 64 MiB
// holds ten million or so. Plan computes other loads.
//
// Sparse traffic costs more for each nonce. A nonce alone in a window takes 704 bytes, and
// the default holds 80,000 of these nonces. Reckon with this if you issue few tickets with
// lifetimes of days.
//
// # Work
//
// The work of a claim is constant, apart from two parts: the chain, with a length
// logarithmic in the window's size, and expired windows: a claim drops up to four, each in
// logarithmic time, or more if their room is needed. Nothing else is swept. Only new
// filters are allocated. Up to 64 ranges of dropped windows are remembered in each shard
// until the process ends; beyond 64, the two nearest ranges are merged.
package memory
