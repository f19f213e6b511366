// Package redisstore is a replay.Store on Redis 6.2 or newer, or Valkey. Any number of
// processes share the store, on a single server, under Sentinel or in a Cluster. The
// tests run on the installed redis-server or valkey-server; they passed with Redis 7.0 and
// 8.0 and Valkey 8.1.
//
// # A claim
//
// A claim is a script, in a round trip. The script reads the server's own clock,
// refuses a late claim, looks for the nonce, refuses a ticket possibly older than the
// server's memory, and inserts the nonce with the claim's RetainUntil as its expiry. The
// script runs alone, so a single one of any number of claims of a nonce is Admitted. The
// store never answers PossiblyUsed.
//
// At most two scripts are on their way at a time. A claim that comes with fewer on their
// way is sent at once, alone. Other claims wait for a script to come back, at most for a
// quarter of Config.Timeout, and then share a script, up to 256 claims together. The server
// answers each claim on its own, one after the other. If the script fails as a whole, all
// its claims are replay.ErrUnavailable. A caller that gives up before the sending spends
// nothing; a caller that gives up later does not disturb the others. At most 16,384 claims
// wait. In a Cluster, all this holds for the claims of a bucket.
//
// A claim is sent once. If the answer is lost, or later than Config.Timeout, the error is
// ErrUnavailable, and the nonce may be spent or not. The same claim with the same Binding,
// within replay.Grace of the first use, gets the lost answer. On an error nothing is
// admitted, and no replay is reported. The store connects again by itself.
//
// A server at its maxmemory answers Full, and forgets nothing.
//
// # Keys
//
// For realm "prod" and one of 64 buckets, chosen by the nonce's first byte:
//
//	admitone:1:{3f/prod}:00112233445566778899aabbccddeeff   a spent nonce, until its RetainUntil
//	admitone:1:{3f/prod}:epoch                              the bucket's epoch; never expires
//
// The text in braces decides the shard. So a nonce and its epoch are on the same shard,
// and a realm's load spreads over a Cluster. The keys are the same without a Cluster: they
// do not depend on a client's way to the server. A nonce takes 180 to 210 bytes of the
// server's memory, 64 more with a Binding.
//
// # The barrier
//
// A bucket's epoch is the beginning of the bucket's complete memory. Tickets possibly
// issued before the epoch are IssuedBeforeStart. A missing epoch begins anew: at the first
// start, and after a loss of the data (FLUSHALL, a restart without persistence, a deleted
// key). The new epoch is the server's time or the finding process's time, whichever is
// later.
//
// So when the first process of a deployment starts, tickets already issued are refused,
// and new tickets for about a skew. Later processes, and their restarts, refuse nothing.
// Open restores all epochs. So does every process: every 5 s, at once when a connection has
// ended, every 200 ms while a server is out of reach, and with the first claim in a bucket
// without epoch. After a restart without data, a server refuses older tickets, and some
// moments later no other.
//
// # Evictions
//
// An evicted nonce is forgotten. So the script compares the server's count of evicted keys
// (evicted_keys in INFO) with the count written with the epoch, in the same step as the
// claim. A count that rose or fell begins a new epoch: CONFIG RESETSTAT hides evictions. A
// maxmemory-policy other than noeviction begins a new epoch when a process sees the policy.
// With Durable, a count of 0 after a restart begins none.
//
// # Another server
//
// A URL can lead to another primary, and back: by a name, a proxy, two primaries that both
// think they are the one. The lineage of a server is its replication ID; with Durable, it is
// a random text written with the first epoch. A process names the lineage that it last saw
// in every claim, and a server of another lineage begins a new epoch. So a process that saw
// two servers ends the epoch of each in turn, for all other processes, too. After a restart
// of the server, every process does this once. A change takes two touches: claims on the way
// may still reach the last server after the first touch, so the epoch of the second counts.
//
// With Config.LineageFile the process remembers the lineage across its own restarts. A
// process that only ever saw one of two primaries cannot know what the other one admitted.
//
// # Restarts and fail-overs
//
// Redis answers before its data is safe, so a restarted server lacks the last writes: with
// snapshots (save, RDB) all since the latest snapshot, up to an hour by default; with
// appendfsync everysec, or no, the last second or more. A promoted replica lacks the
// writes not yet sent by the old primary, usually some milliseconds' worth. Tickets
// redeemed in this time would be admitted again.
//
// So, unless Config.Durable is set, the epoch begins anew whenever the primary's
// replication ID differs from the ID written with the epoch. This happens after each
// restart and each fail-over. It also happens, harmlessly except for older tickets, when a
// first replica is attached, when the last replica has been away for an hour
// (repl-backlog-ttl), and for the buckets of a slot that moves to another shard. Unredeemed
// tickets from before the new epoch are refused, and new tickets for about a skew.
//
// With Durable a restart refuses nothing. Set Durable only under these conditions:
// appendonly yes and appendfsync always, on a disk that keeps synced data; and, with
// replicas, Wait.Replicas as many as a primary has. Otherwise lost redemptions can be
// repeated.
//
// No epoch closes the last hole: an old primary, cut off from its replicas but not from all
// verifiers, admits the same tickets as the new primary, until its demotion. Wait with at
// least one replica closes the hole: a primary without replicas then admits nobody, tells
// nobody that a ticket was used, and spends nothing. A replica counts if it was heard from
// within 3 s. Of the claims under way when replicas go away, those that fell short are spent
// on the old primary; later ones are not made until replicas have a write again. With
// several replicas, wait for all replicas that may be promoted; Redis does not promise to
// promote a replica that has answered. (min-replicas-to-write 1 narrows the hole to
// min-replicas-max-lag.)
//
// A server restored from a backup counts as a restart. To delete a nonce's key by hand makes
// the ticket good again: give no other client the right to do so.
//
// # Clocks
//
// The store's clock is the server's. If the clock was ahead and is set back by more than
// some 20 seconds, keys may have expired too early, and the epochs begin anew: tickets
// issued before the correction are refused, and no others. The store notices a wrong time
// that lasted for 5 s, or met a claim. Smaller steps are covered by the 60 s for which a
// nonce is kept beyond the acceptance of its ticket.
//
// A server with a clock behind the true time does no harm as long as the verifiers' clocks
// are right: an epoch begins by a verifier's clock if this is later. The verifier reads its
// clock before it sends a request. If the server is behind and the request is late, too, the
// epoch is too early, by the shorter of the two times. If a clock was ahead
// when an epoch began, tickets are refused until the epoch's time has come. If the server's
// clock was ahead, setting it right ends the refusal. After a verifier's wrong clock, set
// all clocks right and delete the epochs (admitone:1:*:epoch) to end it sooner.
//
// # Servers
//
// Open reads INFO. It refuses a server older than 6.2, a server whose maxmemory-policy may
// evict keys, and a replica. The policy is read again every 5 s, and a bad policy makes all
// claims ErrUnavailable. The store leaves a primary that has become a replica, so that the
// address, or a proxy, leads to the new primary. CONFIG is not used. With an ACL, the user
// needs
//
//	ACL SETUSER admitone on >PASSWORD resetkeys ~admitone:1:* resetchannels nocommands
//	  +evalsha +eval +script|load +get +set +time +info +ping +cluster|slots +cluster|shards +role +wait
//
// (in Redis 6.2: +script, +cluster). While a Cluster moves a slot between shards, claims in
// the slot are ErrUnavailable. Wait takes a connection for each script under way.
package redisstore
