// Package pgstore is a replay.Store on PostgreSQL 13 or newer, which any number
// of processes share.
//
// # A claim
//
// A claim is one call of the SQL function admitone_replay.claim: one statement,
// one transaction, one round trip. It judges by the server's clock, read again
// after any waiting, and inserts the nonce where no row has it. The unique index
// makes one of many clients the winner; the others wait for its commit and see
// its row. The answer is read to the end of the transaction, so an admission is
// on disk before anybody hears of it.
//
// At most two such statements are on their way at a time. A claim that comes
// while there are fewer is sent at once, alone. The others wait for one to come
// back, and then share one statement and one commit, up to 256 of them: the
// function claims calls claim for each, one after the other, so their answers are
// the same as they would be alone. If that statement fails, all of them are
// replay.ErrUnavailable. Who gives up before his claim is sent spends nothing; if
// it was sent, the others' answers are not disturbed. At most 16,384 claims wait.
//
// The function must run in READ COMMITTED, for it looks again after it has
// waited. Where the default of the server, database or role is another, it
// refuses, and the store from then on wraps it in a transaction that says so,
// in the same round trip; ALTER ROLE … SET default_transaction_isolation = 'read
// committed' saves those two statements. Where synchronous_commit is off, the
// function turns it on for its own transaction. Other settings of it are
// respected: local is enough for what is promised here.
//
// Times are stored as milliseconds since the Unix epoch, and a claim's are
// rounded down. No session's time zone matters, nor does the database's
// encoding.
//
// # Poolers
//
// A claim leaves nothing behind in its session: neither a prepared statement nor
// a setting nor a lock. So a store works through PgBouncer in transaction mode,
// as long as statements are not prepared. That is the default here. On direct
// connections default_query_exec_mode=cache_statement in the URL is somewhat
// faster; a Config.Pool is used in the mode that it has. PgBouncer's session mode
// serves as well, and its statement mode where the schema is there and transactions
// are READ COMMITTED by default. Parameters of the URL that set server variables
// (timezone, options, …) are for direct connections: PgBouncer refuses those it
// does not know.
//
// # What happens when
//
// Any failure to get an answer — nobody listens, the server stops, a time-out,
// no free connection, a server that is read-only now — is
// replay.ErrUnavailable. Nobody is admitted on it. The next claim tries anew, so
// service resumes by itself. After a restart of the server the pool's old
// connections cost nobody an answer: that they have ended is seen before a claim
// is sent on them. A claim is sent again only where the server said that it undid
// it; so no claim is taken for its own replay. Where an answer was lost the caller
// may claim again: with the same binding, and within replay.Grace, it is told the
// same.
//
// A claim that comes back from a server on which the claims before it are not
// complete is refused as replay.IssuedBeforeStart, if its ticket may be as old.
// The moment from which they are complete is the epoch, kept in a row that
// names the timeline of the server's write-ahead log and the transaction that
// wrote it. If that row is missing or not this server's own, a new epoch begins,
// by the server's clock or that of the process that finds so, whichever is later.
// So it is when the schema is made, dropped or truncated, when a dump is
// restored into any database, when a base backup is restored to a point in time,
// and when a standby is promoted. Promotion begins a new epoch whether or not
// claims were lost, since the new primary cannot know: an asynchronous failover
// costs those who were on their way a new ticket, and admits nobody twice.
//
// Three things are beyond the store. Rows that an administrator deletes from the
// table by hand. A primary that goes on taking claims beside its promoted
// standby: fence it. And a disk that is set back, underneath the server, to a
// snapshot of itself without archive recovery: truncate admitone_replay.claims
// before such a server is let on the network.
//
// A server whose clock stands behind the true time when it takes another's place
// does no harm as long as the verifiers' clocks are right. If a clock was ahead when
// an epoch began, tickets are refused until the time has come, or until, with all
// clocks right, admitone_replay.claims is truncated.
//
// # Memory of what was forgotten
//
// Claims whose RetainUntil is over are purged, every Config.PurgeEvery, in
// batches of 1,000 and beside redemptions; any number of processes may. What
// was purged is noted, in the same transaction, as ranges of 16 s of ticket
// expiry. If the server's clock is set back, claims of those ranges are
// refused as replay.ClockBehind, and all others are served. The same is in store
// for a claim that comes, with a skew larger by more than a minute than its
// predecessor's, after that one was purged.
//
// A claim takes some 230 bytes with its indexes, until a purge and then a vacuum
// have passed. replay.Full and replay.PossiblyUsed are never answered; a full disk
// is replay.ErrUnavailable.
//
// # Schema and rights
//
// Open makes the schema admitone_replay if it is not there. Processes that start
// together wait for each other. A role that may not create schemas needs no more
// than USAGE of this one, made by its owner with the script of Schema: the
// functions run with the owner's rights. With USAGE alone a service can spend a
// nonce, and cannot make the store forget one.
package pgstore
