/*
A journal on disk (package verify/replay/journal), from the claim to the answer.

Modelled: one ticket, claimed again and again with binding 1, binding 2 or none (0). Up to
OWNERS processes own the directory, one after the other or at the same time. Each writes its
token, reads the segments, looks at the token and begins; each claim is judged, looks at the
token, creates a segment, names it in the state, writes, syncs, looks again and answers.
A process can be killed before each step. Each step on the disk can fail, FAILS times in all.
Answers get lost. A power failure keeps or loses each record that no fsync has covered.

Configurations:
  TAKEOVER  the lock excludes nobody: the next owner starts while others run
  LOSS      the lock works; the directory is wiped, restored from a copy, or loses a segment
  neither   the lock works, and the directory loses nothing

Left out, and why this is sound:
  - Other tickets. Records are independent; what fails with another record of the batch is here
    the failure of a step.
  - Two claims at once in a process. The second waits for the commit of the first, and is
    judged afterwards (TestGroupCommit).
  - The end of the grace: it never ends here, so more is admitted than in the program.
  - Windows, retention and clocks that step: tests have them (TestModel, TestRetention,
    TestClockSteps). The clock here only goes forward, as package journal asks for when it is
    opened.
  - Torn and damaged records: a torn record is one that is not there.
  - A refusal as used that first writes a doubtful record again. It adds nothing: the record may
    be on the disk without.
  - In LOSS, a loss in the middle of a commit. owner.go says that this second fault does harm.

Segments are read in the order of the owners' numbers, whoever wrote the token last. So owners
may have clocks that differ.

A tick is a skew (10 s). The epoch of the first owner is 0.
*/
#ifndef OWNERS
#define OWNERS 2
#endif
#ifndef FAULTS
#define FAULTS 1 /* kills, power failures and losses */
#endif
#ifndef FAILS
#define FAILS 1 /* steps on the disk that fail */
#endif
#ifndef NOW
#ifdef LOSS
#define NOW 3 /* the last tick */
#else
#define NOW 1
#endif
#endif
#define SKEW 1
#ifdef TAKEOVER
#define STARTS(previous) true
#else
#define STARTS(previous) !alive[previous]
#endif

byte now = 1;
byte issued;               /* issuedAt of the ticket */
byte fails = FAILS;
bool alive[OWNERS];
bool mid;                  /* an owner is in the middle of a commit */

/* The directory. */
byte token;                /* the file owner, 0: none */
bool genuine = true;              /* the directory is the marked instance */
byte epoch;                /* in the file state, with the segments named there */
bool named[OWNERS];
bool seg[OWNERS];          /* the owner's segment exists */
byte rec[OWNERS];          /* its record: the binding + 1, or 0 */
bool stable[OWNERS];       /* the record is on stable storage */

/* What the properties speak of. */
byte admitted;             /* to which binding + 1 */
bool recorded;             /* some record was written */
bool lost;                 /* the directory lost something */

#ifdef BARRIER_WITHOUT_SKEW
#define BEFORE(t) (issued <= (t))
#else
#define BEFORE(t) (issued - SKEW <= (t))
#endif
#ifdef LOSS
#define BARRED (BEFORE(mine) || damaged && BEFORE(complete))
#else
#define BARRED false
#endif

inline admit(b) {
	/* ONCE: one admission, or one binding's. */
	assert(admitted == 0 || (b != 0 && admitted == b + 1));
	admitted = b + 1
}

#ifdef LOSS
#define ALL(i, what) i = 0; do :: i < OWNERS -> what; i++ :: else -> break od; i = 0
#endif

proctype Owner(byte id) {
	byte i, b, to;                  /* to: the binding of the spent ticket */
	bool used, sure, again, failed, ours;
	bool useless[OWNERS];           /* segments to be removed */
#ifdef LOSS
	byte mine, complete;            /* the epoch; the end of what is unknown */
	bool known[OWNERS];             /* segments to be named */
	bool damaged;
#endif
	{
	/* Open. */
	token = id + 1;
#ifdef LOSS
	d_step { mine = epoch; ALL(i, known[i] = named[i]) };
#endif
	do
	:: i < OWNERS ->
		atomic {
			if
			:: seg[i] && rec[i] -> /* what was synced is seen, the rest is seen or not */
				if
				:: true ->
#ifdef LAST_LOADED_WINS
					to = rec[i] - 1;
#else
					/* Of records with several bindings, nobody knows which admitted. */
					if
					:: !used -> to = rec[i] - 1
					:: used && to != rec[i] - 1 -> to = 0
					:: else
					fi;
#endif
#ifdef FOUND_IS_SAFE
					sure = true;
#endif
					used = true
				:: !stable[i] -> useless[i] = true
				fi
			:: seg[i] && !rec[i] -> useless[i] = true
			:: else
			fi;
#ifdef LOSS
#ifndef MISSING_IS_EMPTY
			if :: !seg[i] && known[i] -> damaged = true; complete = now :: else fi;
#endif
			known[i] = known[i] || seg[i] && !useless[i];
#endif
			i++
		}
	:: else -> break
	od;
	atomic {
		i = 0;
		if :: token == id + 1 :: else -> goto end fi;
#ifdef LOSS
#ifdef EPOCH_AT_EACH_START
		genuine = false;
#endif
		if
		:: !genuine ->
#ifndef NO_EPOCH_AFTER_LOSS
			mine = now;
#endif
			epoch = mine; genuine = true
		:: else
		fi
#endif
	};
#ifdef LOSS
	/* The state names useless segments no more, before they are removed. */
	d_step { ALL(i, known[i] = known[i] && !useless[i]; named[i] = known[i]); epoch = mine };
#endif
	d_step {
		do
		:: i < OWNERS -> if :: useless[i] -> seg[i] = false :: else fi; useless[i] = false; i++
		:: else -> break
		od;
		i = 0
	};
	/* Claims. */
	do
	:: atomic { issued <= now + SKEW ->
			/* Nobody sees how a claim is judged, so the first look comes at once. */
			if :: b = 0 :: b = 1 :: b = 2 fi;
			if
			:: used && b != 0 && to == b && sure -> goto answer
			:: used && b != 0 && to == b && !sure ->
#ifdef FAILED_IS_SAFE
				goto answer;
#endif
				again = true
			:: used && (b == 0 || to != b) ->
				/* USED: refused as used only if a record may be on the disk. */
				assert(recorded);
				goto next
			:: !used && BARRED ->
				/* BARRIER: refused by the barrier only after a loss. */
				assert(lost);
				goto next
			:: !used && !BARRED -> used = true; to = b; sure = false
			fi;
			if
			:: token == id + 1 -> mid = true
			:: else -> goto end
			fi
		};
		if
		:: seg[id] = true
		:: atomic { fails > 0 -> fails--; goto unwritten }
		fi;
#ifdef LOSS
#ifndef NOT_NAMED
		if
		:: d_step { known[id] = true; epoch = mine; ALL(i, named[i] = known[i]) }
		:: atomic { fails > 0 -> fails--; goto unwritten }
		fi;
#endif
#endif
#ifdef LOOK_BEFORE_FSYNC
		ours = (token == id + 1);
#endif
		if
		:: atomic { recorded = true;
				if
				:: seg[id] && rec[id] != b + 1 -> rec[id] = b + 1; stable[id] = false
				:: seg[id] && rec[id] == b + 1
				:: !seg[id] /* another owner has removed it */
				fi }
		:: atomic { fails > 0 -> fails--; recorded = true; failed = true; goto look }
		fi;
#ifndef ANSWER_BEFORE_FSYNC
		if
		:: atomic { if :: seg[id] && rec[id] -> stable[id] = true :: else fi }
		:: atomic { fails > 0 -> fails--; failed = true }
		fi;
#endif
look:		atomic {
#ifdef NO_LOOK
			ours = true;
#endif
#if !defined(NO_LOOK) && !defined(LOOK_BEFORE_FSYNC)
			ours = (token == id + 1);
#endif
			mid = false;
			if
			:: !ours -> goto end /* errTaken: this process admits nobody from now on */
			:: ours && failed -> goto next
			:: ours && !failed -> sure = true
			fi
		};
answer:		if
		:: atomic { admit(b); goto next }
		:: atomic { fails > 0 -> fails--; goto next } /* the answer is lost */
		fi;
unwritten:	atomic {
			mid = false;
#ifdef AGAIN_IS_UNDONE
			again = false;
#endif
#ifndef UNWRITTEN_IS_SPENT
			if :: !again -> used = false; to = 0 :: else fi
#endif
		};
next:		atomic { b = 0; again = false; failed = false; ours = false }
	od
	} unless { !alive[id] };
end:	alive[id] = false
}

active proctype World() {
	byte i, next, left = FAULTS;
	if :: issued = 2 :: NOW > 1 -> issued = 3 fi;
end_world:
	do
	:: now < NOW -> now++
	:: atomic { next < OWNERS && (next == 0 || STARTS(next - 1)) ->
			alive[next] = true; run Owner(next); next++; mid = false }
	:: atomic { left > 0 -> left--;
			if
			:: select(i : 0 .. OWNERS - 1); alive[i] = false; mid = false /* kill -9 */
			:: i = 0; /* power failure */
				do
				:: i < OWNERS -> alive[i] = false;
					if
					:: !stable[i] -> rec[i] = 0
					:: rec[i] -> stable[i] = true
					:: else
					fi;
					i++
				:: else -> break
				od;
				mid = false
#ifdef LOSS
			:: !mid -> i = 0; /* wiped, or restored from a copy that has some of the records */
				do
				:: i < OWNERS -> named[i] = false;
					if
					:: seg[i] = false; rec[i] = 0; stable[i] = false
					:: rec[i] && stable[i]
					fi;
					i++
				:: else -> break
				od;
				token = 0; genuine = false; epoch = 0; lost = true
			:: next > 0 && !alive[next - 1] -> select(i : 0 .. OWNERS - 1); /* a segment is deleted */
				if :: seg[i] -> seg[i] = false; rec[i] = 0; stable[i] = false; lost = true :: else fi
#endif
			fi;
			i = 0 }
	od
}
