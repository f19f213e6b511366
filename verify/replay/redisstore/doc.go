// Package redisstore is a replay.Store on Redis 6.2 or newer, or Valkey: shared
// by any number of processes, on one server, under Sentinel or in a Cluster. Its
// tests run on whichever of redis-server and valkey-server is installed; they were
// tried with Redis 7.0 and 8.0 and Valkey 8.1.
//
// # A claim
//
// A claim is one script and one round trip. It reads the server's own clock,
// refuses what is too late for it, looks for the nonce, refuses what may be
// older than the server's memory, and inserts the nonce with the claim's
// RetainUntil for its expiry. The script runs alone, so of any number of claims
// of a nonce one is Admitted. There are no false PossiblyUsed.
//
// A claim is sent once. If its answer is lost, or late by Config.Timeout, that
// is ErrUnavailable, and the nonce may be spent or not; the same claim with the
// same Binding, within replay.Grace of the first use, gets the answer that was
// lost. Nothing is admitted on an error, and none is told as a replay. The store
// connects again by itself.
//
// A server that has reached its maxmemory answers Full, and forgets nothing.
//
// # Keys
//
// For realm "prod" and one of 64 buckets, which the nonce's first byte chooses:
//
//	admitone:1:{3f/prod}:00112233445566778899aabbccddeeff   a spent nonce, until its RetainUntil
//	admitone:1:{3f/prod}:epoch                              the bucket's epoch; never expires
//
// What is in braces decides the shard, so a nonce and its epoch are on the same
// one, and a realm's load spreads over a Cluster. It is the same without a
// Cluster: the keys do not depend on how a client gets to the server. A nonce
// takes 180 to 210 bytes of the server's memory, 64 more with a Binding.
//
// # The barrier
//
// A bucket's epoch is the moment from which its memory is complete. Tickets that
// may have been issued before it are IssuedBeforeStart. It begins when it is
// missing: at the first start, and when the data was lost (FLUSHALL, a restart
// without persistence, a deleted key); by the server's clock or that of the process
// that finds it missing, whichever is later. So when the
// first process of a deployment starts, tickets already issued are refused, and
// new ones for about one skew; later processes and their restarts refuse nothing.
// Open sees to all epochs. So does every process every 5 s, at once when a
// connection has ended, every 200 ms while a server is out of reach, and with the
// first claim that finds one missing: after a restart without its data a server
// refuses what was issued before, and some moments later nothing.
//
// # Restarts and fail-overs
//
// Redis answers before its data is safe. A server that restarts comes back
// without the last writes: with snapshots (save, RDB) without all since the
// latest, up to an hour with the default settings; with appendfsync everysec, or
// no, without the last second or more. A replica that takes over has not got
// what the old primary had not yet sent, usually some milliseconds' worth. Tickets
// redeemed in that time would be admitted once more.
//
// So, unless Config.Durable is set, the epoch begins anew whenever the primary's
// replication ID is another than the one that wrote the epoch: after each restart
// and each fail-over, and also, harmlessly but for tickets issued before it, when
// a first replica is attached, when the last one has been away for an hour
// (repl-backlog-ttl), and for the buckets of a slot that moves to another shard.
// Tickets that were issued before that and not redeemed are refused, and new ones
// for about one skew.
//
// With Durable nothing is refused after a restart, and with it set, this must be
// true: appendonly yes and appendfsync always, on a disk that keeps what was
// synced; and where there are replicas, Wait.Replicas as many as a primary has.
// If it is not true, what was lost can be redeemed a second time.
//
// One hole is left, which no epoch closes: an old primary cut off from its
// replicas, but not from all verifiers, admits what the new one admits too, until
// it is told that it is one no longer. Wait with at least one replica closes
// it: a primary without replicas then admits nobody. With several replicas, wait
// for all that may take over; Redis does not promise to promote one that has
// answered. (min-replicas-to-write 1 narrows the hole to min-replicas-max-lag.)
//
// A server restored from a backup is a restart. Whoever deletes a nonce's key by
// hand makes the ticket good again: give no other client the right to.
//
// # Clocks
//
// The server's clock is the store's. If it was ahead and is set back by more than
// some 20 seconds, keys may have expired too early, and the epochs begin anew:
// tickets issued before the correction are refused, and nothing else. It is noticed
// where the wrong time lasted for 5 s, or met a claim. Smaller steps are covered
// by the 60 s for which a nonce is kept longer than any verifier accepts its
// ticket. A server whose clock stands behind the true time does no harm as long as
// the verifiers' are right, since an epoch begins by theirs if that is later. If the
// server's clock was ahead when an epoch began, tickets are refused until it is
// set right, or the time has come; if a verifier's was, until the time has come, or
// until, with all clocks right, the epochs are deleted (admitone:1:*:epoch).
//
// # Servers
//
// Open looks at INFO, and refuses a server older than 6.2, one whose
// maxmemory-policy may evict keys, and a replica; the policy is looked at again
// every 5 s, and a bad one makes all claims ErrUnavailable. A primary that has
// become a replica is left, so that its name, or a proxy, leads to the new one.
// CONFIG is not used.
// With an ACL, the user needs
//
//	ACL SETUSER admitone on >PASSWORD resetkeys ~admitone:1:* resetchannels nocommands
//	  +evalsha +eval +script|load +get +set +time +info +ping +cluster|slots +cluster|shards +role +wait
//
// (in Redis 6.2: +script, +cluster). While a Cluster moves a slot between shards,
// claims in it are ErrUnavailable. Wait takes a connection for every claim under
// way.
package redisstore
