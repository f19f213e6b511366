/*
Shared replay stores (packages verify/replay/redisstore, pgstore and localtier).

Modelled: one ticket, claimed again and again with binding 1, binding 2 or none (0), by two
verifiers on two hosts. A claim goes to any host that takes writes, is executed there in one
step, and is answered. A touch asks a host for its lineage in the same way. Requests and
answers are late, or get lost. A claim or touch begins an epoch on a host without an epoch of
its own, and on a host of another lineage than the verifier last saw. A fail-over makes the
replica the primary, without the last writes. A primary restarts, with old data or empty. A
verifier restarts, and forgets what was in its memory. Verifier 0 has a local tier.

Configurations:
  FENCED  a fail-over takes the old primary out of service
  WAIT    the old primary goes on, and no fail-over begins an epoch (redisstore's Durable);
          the replica must have a claim before the answer
  SPLIT   two hosts take writes, and know nothing of each other; one verifier does two things
          at a time, and keeps the lineage in a file
  CLOCKS  FENCED, with clocks that are behind, and a ticket that expires
  LIVE    FENCED, where a host of another lineage refuses claims until a touch (pgstore), and
          no request is lost

Left out, and why this is sound:
  - Other tickets, realms, buckets and batches. Records are independent, and a host executes
    the claims of a nonce one after the other (TestOneWinner).
  - The single writes of the replication. The replica takes over all data of the primary
    between any two steps, so it can have any beginning of the primary's writes.
  - Addresses, proxies and Sentinels. A claim goes to any host that takes writes.
  - Looks (Peek). They change nothing, and admit nobody.
  - Evictions. They begin an epoch in the step of the claim (TestEvictionByTheServer).
  - pgstore's windows, and clocks that step far. Tests have them (TestPurgeKeepsWhatIsLive,
    TestClockSteps, TestEpochAndSteps).
  - With WAIT, the wait before a refusal. It admits nobody.
  - With SPLIT, CLOCKS and LIVE, bindings and the local tier. FENCED has them.
  - With CLOCKS, a late request to a host that is behind. The documentation of the packages
    says what it does. Here the verifier's clock is read in the step on the host.

A tick is a skew, and the grace. The issuer's clock is ahead by as much as it may be, so the
ticket's NotBefore is the true time of its issue, in tick 2. With CLOCKS the time is that of
the verifier with the slowest clock.
*/
#ifndef FAULTS
#define FAULTS 1 /* fail-overs and restarts */
#endif
#ifdef SPLIT
#define VERIFIERS 1
#else
#define VERIFIERS 2
#endif
#define NOT_BEFORE 2
#define GRACE 1
#ifdef CLOCKS
#define NOW 5 /* the last tick */
#define LAG 1 /* of verifier 1 */
#define HOSTS_LAG 2 /* the most of host 1, which changes at any time */
#define HOSTS_CLOCK(h) (now > h * slow -> now - h * slow : 0)
#define CLOCK(v) (now - v * LAG)
#define GOOD(v) (now >= NOT_BEFORE + LAG && CLOCK(v) < EXPIRES)
#define TOO_LATE(h) (HOSTS_CLOCK(h) >= RETAIN_UNTIL)
#ifdef NO_SECOND_LOOK
#define TIME_IS_OVER(v) false
#else
#define TIME_IS_OVER(v) (CLOCK(v) >= EXPIRES)
#endif
#define EXPIRES 4 /* the end of the ticket by a verifier's clock, the skew included */
#ifdef DROPPED_EARLY
#define RETAIN_UNTIL EXPIRES
#else
#define RETAIN_UNTIL (EXPIRES + LAG)
#endif
#else
#ifdef SPLIT
#define NOW 2
#else
#define NOW 3
#endif
#define GOOD(v) (now >= NOT_BEFORE)
#define TIME_IS_OVER(v) false
#define TOO_LATE(h) false
#define HOSTS_CLOCK(h) now
#define CLOCK(v) 0 /* now, in effect */
#endif
/* The lineage of a host is the ID that it takes anew with each start and promotion: redisstore's
   replication ID, pgstore's timeline with the origin. With WAIT the lineage is the origin, which
   a replica shares. The ID of a host is h + 1. When the host takes another, all memories of
   the last one become OLD. */
#ifdef WAIT
#define LINEAGE(h) origin[h]
#else
#define LINEAGE(h) (h + 1)
#endif
#define OLD 3
#define UNKNOWN 4 /* the lineage of no host, in a verifier that has left one */
#define LEFT 5    /* an UNKNOWN of before, in a touch on the way */
#define NONE 2
#define TAKES_WRITES(h) (primary[h] == h)
#ifdef FENCED
#define HAS_TIER(v) (v == 0 || tier)
#else
#define HAS_TIER(v) false
#endif

mtype = { fresh, again, used, refused };

byte now = 1;

/* The hosts. */
byte primary[2]; /* the host itself, or the other one */
byte record[2];  /* of the ticket: the binding + 1, or 0 */
byte first[2];   /* first use; 0: too long ago for the grace */
byte epoch[2];   /* 0: none; NOT_BEFORE: this or later */
#ifdef WAIT
byte origin[2];
#else
bool own[2];     /* the host itself wrote the epoch */
#endif
#ifdef CLOCKS
byte slow; /* how far the clock of host 1 is behind */
#endif

/* The verifiers. */
byte known[VERIFIERS]; /* the lineage last seen; 0: none */
#ifdef SPLIT
byte file[VERIFIERS];  /* the lineage for the next process */
#endif
bool tier;             /* the local tier of verifier 0 remembers the ticket as used */

/* The workers, each of which does one thing at a time for a verifier. */
byte b[2];             /* the binding in the claim */
byte named[2];         /* the lineage in the request */
byte line[2];          /* the lineage in the answer to a touch */
#ifdef WAIT
byte at[2];            /* waits for the replica of this host, + 1 */
#endif
#ifdef TIER_ADMITS
byte mine;             /* the binding + 1 that verifier 0 admitted */
#endif

/* What the properties speak of. */
byte admitted; /* to which binding + 1 */
bool spent;    /* a host has made a record */
#ifdef TIER_ADMITS
byte spentAt;
#endif
#ifdef LIVE
bool waits;    /* a person at verifier 0 */
/* LIVE: whoever waits gets an answer in the end. */
ltl answered { [] (waits -> <> !waits) }
#endif

inline admit(to) {
	/* ONCE: one admission, or one binding's. */
	assert(admitted == 0 || (to != 0 && admitted == to + 1));
	admitted = to + 1
}

/* NOT_OWN: the epoch is not the host's own. */
#if defined(WAIT) || defined(EPOCH_KEPT)
#define NOT_OWN(h) (epoch[h] == 0)
#else
#define NOT_OWN(h) (epoch[h] == 0 || !own[h])
#endif
/* OTHER: the caller last saw another host. */
#ifdef LINEAGE_NOT_COMPARED
#define OTHER(h) false
#else
#define OTHER(h) (named[w] != 0 && named[w] != LINEAGE(h))
#endif
#ifdef EPOCH_BY_THE_HOST
#define BEGINNING(h) HOSTS_CLOCK(h)
#else
#define BEGINNING(h) (CLOCK(v) > HOSTS_CLOCK(h) -> CLOCK(v) : HOSTS_CLOCK(h))
#endif
#ifdef GRACE_FOR_ANY
#define HOLDS(h) (b[w] != 0)
#else
#define HOLDS(h) (b[w] != 0 && record[h] == b[w] + 1)
#endif
#ifdef GRACE_FOR_EVER
#define IN_GRACE(h) true
#else
#define IN_GRACE(h) (now < first[h] + GRACE)
#endif
/* Without a trace of binding 1, a claim with binding 2 is the same as one with 1. */
#define ONE_IS_THERE (b[1 - w] == 1 || record[0] == 2 || record[1] == 2 || admitted == 2)
/* HAS_CLAIM: the replica has what the claim wrote, and its primary was no replica since. */
#ifdef REPEAT_WITHOUT_WRITE
#define HAS_CLAIM(h) (at[w] == h + 1 && primary[1 - h] == h && (got != fresh || record[1 - h] == record[h]))
#else
#define HAS_CLAIM(h) (at[w] == h + 1 && primary[1 - h] == h && record[1 - h] == record[h])
#endif

/* ON_THE_WAY is where steps of others can come in between. If a verifier does one thing at a
   time, nothing in it depends on when a request or an answer arrives, without CLOCKS. */
#if defined(SPLIT) || defined(CLOCKS) || defined(LIVE)
#define ON_THE_WAY }; atomic {
#else
#define ON_THE_WAY
#endif

/* A host that takes writes, or none. */
inline choose() {
	if
	:: TAKES_WRITES(0) -> h = 0
	:: TAKES_WRITES(1) -> h = 1
#ifndef LIVE
	:: h = NONE /* the request is lost */
#endif
	fi
}

/* The first part of a step on a host. */
inline begin() {
#ifdef EMPTY_IS_COMPLETE
	if :: epoch[h] == 0 -> epoch[h] = 1; own[h] = true :: else fi;
#endif
	if
	:: NOT_OWN(h) || OTHER(h) -> epoch[h] = (BEGINNING(h) < NOT_BEFORE -> BEGINNING(h) : NOT_BEFORE)
	:: else
	fi;
#ifdef WAIT
	if :: origin[h] == 0 -> origin[h] = h + 1 :: else fi
#else
	own[h] = true
#endif
}

/* The rest of a claim's step. */
inline spend() {
	if
	:: TOO_LATE(h) -> got = refused
	:: !TOO_LATE(h) && record[h] != 0 && HOLDS(h) && IN_GRACE(h) ->
		/* GRACE: admitted again within the grace only. */
		assert(now < first[h] + GRACE);
		got = again
	:: !TOO_LATE(h) && record[h] != 0 && !(HOLDS(h) && IN_GRACE(h)) -> got = used
	:: !TOO_LATE(h) && record[h] == 0 && NOT_BEFORE <= epoch[h] -> got = refused
	:: !TOO_LATE(h) && record[h] == 0 && NOT_BEFORE > epoch[h] ->
		record[h] = b[w] + 1; first[h] = now; spent = true; got = fresh;
#ifdef TIER_ADMITS
		spentAt = now
#endif
	fi
}

/* The verifier leaves UNKNOWN. Each UNKNOWN differs from those before. */
inline leave() {
	skip;
#if defined(SPLIT) && !defined(SAME_UNKNOWN)
	if :: known[0] == UNKNOWN && named[0] == UNKNOWN -> named[0] = LEFT :: else fi;
	if :: known[0] == UNKNOWN && named[1] == UNKNOWN -> named[1] = LEFT :: else fi
#endif
}

/* What a verifier makes of a host's answer to a touch. A change of the lineage takes two touches:
   claims that name the last lineage may be executed elsewhere, after the epoch of the first. */
inline adopt() {
	if
#ifdef LAST_ANSWER_WINS
	:: false
#else
	:: known[v] != named[w] /* another touch was faster */
#endif
#ifdef NEVER_ADOPTED
	:: named[w] != 0 && named[w] != line[w]
#endif
	:: else ->
#if defined(ONE_STEP) || !defined(SPLIT) && !defined(LIVE)
		known[v] = line[w];
#ifdef SPLIT
		file[v] = line[w]
#endif
#else
		if
		:: named[w] == 0 || named[w] == UNKNOWN || named[w] == line[w] ->
			leave(); known[v] = line[w];
#ifdef SPLIT
			file[v] = line[w]
#endif
		:: else -> known[v] = UNKNOWN
		fi
#endif
	fi
}

proctype Worker(byte v, w) {
	byte h;
	mtype got;
	bool asks; /* with LIVE: a claim waits for its answer */
end_worker:
	do
	:: atomic { known[v] != 0 && GOOD(v) ->
#if defined(FENCED) || defined(WAIT)
			if :: b[w] = 0 :: b[w] = 1 :: ONE_IS_THERE -> b[w] = 2 fi;
#endif
claim:
#ifdef LIVE
			asks = true;
			if :: v == 0 -> waits = true :: else fi;
#endif
			if
			:: tier && v == 0 && b[w] == 0 ->
				/* USED: refused as used only if a host has had a record. */
				assert(spent);
				got = used; goto receive
#ifdef TIER_ADMITS
			:: b[w] != 0 && v == 0 && mine == b[w] + 1 ->
				assert(now < spentAt + GRACE);
				got = again; goto receive
#endif
			:: else
			fi;
			named[w] = known[v];
			ON_THE_WAY
			choose();
			if
#ifdef TIER_OFFLINE
			:: h == NONE && v == 0 && !tier -> got = fresh; goto receive
#endif
			:: h == NONE -> goto next
#ifdef LIVE
			:: h != NONE && (NOT_OWN(h) || OTHER(h)) -> goto touch
#endif
			:: else
			fi;
			begin(); spend();
#if defined(WAIT) && !defined(NO_WAIT)
			if :: got == fresh || got == again :: else -> goto next fi;
			at[w] = h + 1
		};
		atomic {
			if
			:: HAS_CLAIM(h)
			:: goto next /* unavailable */
			fi;
#endif
#ifdef CLOCKS
			ON_THE_WAY
#endif
			skip;
receive:	if
			:: (got == fresh || got == again) && TIME_IS_OVER(v)
			:: (got == fresh || got == again) && !TIME_IS_OVER(v) ->
#ifdef TIER_ADMITS
				if :: v == 0 -> mine = b[w] + 1 :: else fi;
#endif
				admit(b[w])
			:: got == used -> tier = HAS_TIER(v)
#ifdef TIER_NOTES_ALL
			:: got == refused -> tier = HAS_TIER(v)
#else
			:: got == refused
#endif
#ifndef LIVE
			:: true /* the answer is lost */
#endif
			fi;
#ifdef LIVE
			asks = false;
			if :: v == 0 -> waits = false :: else fi;
#endif
			goto next
		};
	:: true ->
touch:		atomic {
			named[w] = known[v];
			ON_THE_WAY
			choose();
			if :: h == NONE -> goto next :: else fi;
			begin(); line[w] = LINEAGE(h);
			ON_THE_WAY
			adopt();
#ifdef LIVE
			if :: asks -> goto claim :: else fi;
#endif
			goto next
		};
next:	atomic { h = 0; b[w] = 0; got = 0; named[w] = 0; line[w] = 0;
#ifdef WAIT
			at[w] = 0;
#endif
			asks = false
		}
	od
}

/* The host h takes another ID. */
inline rename() {
	skip;
#ifndef WAIT
	own[h] = false;
	do
	:: v < 2 ->
		if :: named[v] == h + 1 -> named[v] = OLD :: else fi;
		if :: line[v] == h + 1 -> line[v] = OLD :: else fi;
		if
		:: v < VERIFIERS && known[v] == h + 1 -> known[v] = OLD
		:: else
		fi;
#ifdef SPLIT
		if :: v < VERIFIERS && file[v] == h + 1 -> file[v] = OLD :: else fi;
#endif
		v++
	:: else -> break
	od;
	v = 0
#endif
}

inline copy(from, to) {
	record[to] = record[from]; first[to] = first[from];
	epoch[to] = epoch[from];
#ifdef WAIT
	origin[to] = origin[from]
#endif
}

active proctype World() {
	byte h, v, left = FAULTS;
	atomic {
#ifdef SPLIT
		primary[1] = 1;
		run Worker(0, 0); run Worker(0, 1)
#else
		run Worker(0, 0); run Worker(1, 1)
#endif
	};
end_world:
	do
	:: d_step { now < NOW -> now++; first[0] = 0; first[1] = 0 /* the grace is over */ }
#ifdef CLOCKS
	:: select(slow : 0 .. HOSTS_LAG)
	:: d_step { record[0] != 0 && TOO_LATE(0) -> record[0] = 0 }
	:: d_step { record[1] != 0 && TOO_LATE(1) -> record[1] = 0 }
#endif
#ifndef SPLIT
	:: d_step { primary[0] == 0 && primary[1] == 0 -> copy(0, 1) }
	:: d_step { primary[0] == 1 && primary[1] == 1 -> copy(1, 0) }
#endif
#ifdef WAIT
	:: atomic { TAKES_WRITES(0) && TAKES_WRITES(1) -> select(h : 0 .. 1); primary[h] = 1 - h;
			v = 0; do :: v < 2 -> if :: at[v] == h + 1 -> at[v] = 0 :: else fi; v++ :: else -> break od;
			h = 0; v = 0 }
#endif
	:: atomic { left > 0 -> left--; select(h : 0 .. 1);
			if
			:: !TAKES_WRITES(h) -> /* a fail-over */
				rename(); primary[h] = h;
#if !defined(WAIT) && !defined(NOT_FENCED)
				primary[1 - h] = h; own[1 - h] = false
#endif
#ifndef WAIT
			:: TAKES_WRITES(h) -> /* a restart with old data, or empty */
				rename();
				if
				:: true
				:: record[h] = 0; first[h] = 0
				:: record[h] = 0; first[h] = 0; epoch[h] = 0
				fi
#endif
			:: h < VERIFIERS -> /* a verifier is restarted */
#if defined(SPLIT) && !defined(NO_FILE)
				leave();
				known[h] = file[h];
#else
				known[h] = 0;
#endif
				tier = tier && h != 0
			fi;
			h = 0 }
	od
}
