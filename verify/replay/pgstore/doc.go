// Package pgstore is a replay.Store on PostgreSQL 13 or newer. Any number of processes
// share the store.
//
// # A claim
//
// A claim is a call of the SQL function admitone_replay.claim: a single statement,
// transaction and round trip. The function judges by the server's clock, read again after
// any waiting, and inserts the nonce if no row has the nonce yet. The unique index chooses
// a winner among many clients; the others wait for the winner's commit and see the row. The
// answer is read to the end of the transaction, so an admission is on disk before its
// answer.
//
// At most two statements are on their way at a time. A claim that comes with fewer on
// their way is sent at once, alone. Other claims wait for a statement to come back, and
// then share a statement and a commit, up to 256 claims together. The function claims calls
// claim for each, in order, so the answers are the same as for single claims. If the
// statement fails, all its claims are replay.ErrUnavailable. A caller that gives up before
// the sending spends nothing; a caller that gives up later does not disturb the others. At
// most 16,384 claims wait.
//
// The function looks again after waiting, so it needs READ COMMITTED. If the default of the
// server, database or role is another isolation, the function refuses, and the store from
// then on wraps the call in a READ COMMITTED transaction, in the same round trip. ALTER ROLE
// … SET default_transaction_isolation = 'read committed' saves the two extra statements. If
// synchronous_commit is off, the function turns it on for its own transaction. Other
// values are respected: local is enough for the promises here.
//
// Times are stored as milliseconds since the Unix epoch, and a claim's times are rounded
// down. Neither a session's time zone nor the database's encoding matters.
//
// # Poolers
//
// A claim leaves nothing behind in its session: no prepared statement, no setting, no lock.
// So a store works through PgBouncer in transaction mode, as long as statements are not
// prepared; this is the default. On direct connections
// default_query_exec_mode=cache_statement in the URL is somewhat faster. A Config.Pool is
// used in its own mode. PgBouncer's session mode serves as well. So does statement mode, if
// the schema exists and transactions are READ COMMITTED by default. URL parameters for
// server variables (timezone, options, …) are for direct connections: PgBouncer refuses
// unknown variables.
//
// # Failures
//
// Every failure to get an answer is replay.ErrUnavailable: nobody listens, the server
// stops, a time limit passes, no connection is free, the server is read-only. Nobody is
// admitted. The next claim tries anew, so service resumes by itself. After a restart of the
// server the pool's old connections cost no claim: the store notices their end before it
// sends a claim on them. A claim is sent again only if the server said that the first
// attempt was undone, so no claim is taken for its own replay. After a lost answer, claim
// again: with the same binding, and within replay.Grace, the answer is the same.
//
// # The barrier
//
// The epoch is the beginning of the complete memory, kept in a row. The row names the
// timeline of the server's write-ahead log, and the transaction that wrote the row. If the
// row is missing or not this server's own, a new epoch begins, by the server's clock or by
// the finding process's clock, whichever is later. Tickets possibly older than the epoch are
// replay.IssuedBeforeStart.
//
// So a new epoch begins when the schema is made, dropped or truncated, when a dump is
// restored into any database, when a base backup is restored to a point in time, and when a
// standby is promoted. Promotion begins a new epoch whether or not claims were lost, since
// the new primary cannot know. An asynchronous failover costs the tickets under way, and
// admits none twice.
//
// The store cannot help in three cases. The first is an administrator who deletes rows of
// the table by hand. The second is a primary that goes on taking claims of some processes
// beside its promoted standby: fence the old primary. The third is a disk set back, underneath the server, to a
// snapshot without archive recovery: truncate admitone_replay.claims before the server
// returns to the network.
//
// A server with a clock behind the true time does no harm when it takes another's place, as
// long as the verifiers' clocks are right. The verifier reads its clock before it sends a
// request. If the server is behind and the request is late, too, the epoch is too early, by
// the shorter of the two times. If a clock was ahead when an epoch began, tickets
// are refused until the epoch's time has come. To end this sooner, set all clocks right and
// truncate admitone_replay.claims.
//
// # Another server
//
// A URL can lead to another primary, and back: by a name, a proxy, a standby promoted beside
// its primary. The lineage of a server is its timeline, with a random text written with the
// first epoch. A process names the lineage that it last saw in every claim. A server of
// another lineage spends nothing until the process has asked for a new epoch. So a process
// that saw two servers ends the epoch of each in turn, for all other processes, too. After a
// promotion, every process does this once, within 5 s. A change takes two renewals: claims on
// the way may still reach the last server after the first, so the epoch of the second counts.
//
// With Config.LineageFile the process remembers the lineage across its own restarts. A
// process that only ever saw one of two primaries cannot know what the other one admitted.
//
// # Purging
//
// Claims past their RetainUntil are purged every Config.PurgeEvery, in batches of 1,000 and
// beside redemptions, by any number of processes. The purge notes the purged windows of
// ticket expiry, as ranges, in the same transaction, with the latest issue of the purged
// tickets. If the server's clock is set back, tickets of these windows issued at or before
// that moment are replay.ClockBehind, and all others are served. The same happens to a claim
// after its nonce was purged, if its verifier's skew is larger by more than a minute than the
// skew before.
//
// A claim takes some 230 bytes with its indexes, until a purge and then a vacuum have
// passed. The store never answers replay.Full or replay.PossiblyUsed; a full disk is
// replay.ErrUnavailable.
//
// # Schema and rights
//
// Open makes the schema admitone_replay if need be. Processes that start together wait for
// each other. A role without the right to create schemas needs no more than USAGE of the
// schema, made by its owner with the script of Schema: the functions run with the owner's
// rights. With USAGE alone a service can spend a nonce, and cannot make the store forget a
// nonce.
//
// A function of another role could admit a ticket twice, and do whatever its caller may do.
// So Open refuses a schema if the schema, a table or a function belongs to another role than
// the service's own, the database's owner or a superuser, or if another role may create
// functions in the schema. The store looks again every 5 s. After a bad answer, claims are
// ErrUnavailable until the schema is in order. Run the script of Schema as the database's
// owner or a superuser.
package pgstore
