// Package keyring keeps keys that rotate: in one file, with their history, so
// that the two cannot disagree; and in memory as a Ring, an AEAD whose keys
// change underneath while a service runs.
//
// Create makes a file, Change and Apply change it, Read says what it holds, Audit
// what was done to it, and Open gives a Ring over it. A reader brings its realm, its
// key-encryption key (KEK) and the kind of keyring that it expects in a Config of
// its own. What the file says about them must match, and never decides.
//
// # States
//
//	staged    there, and opens nothing yet: its algorithm may be new to some readers  → pending
//	pending   opens, does not seal; waits until all have it                           → primary
//	primary   opens and seals; exactly one                                            → retiring
//	retiring  opens what it sealed; waits until that has run out                      → disabled, or back to primary
//	disabled  opens nothing                                                           → destroyed, or back to retiring
//	destroyed gone; its ID is never given again
//
// A key is pending for propagation + skew (Policy.PromoteFrom), retiring for
// propagation + lifetime + 3 × skew from when it ceased to be the primary
// (Policy.DisableFrom), disabled for destroy-after (Policy.DestroyFrom). Who holds,
// rolls back, disables or revokes keys by hand does so with a Step; see Action for
// what there is. The rest is the policy's: Info.Plan says what is due, and Apply,
// run every few minutes by a timer, does it.
//
// An algorithm that older versions of this package do not know comes in staged,
// and is enabled when all readers know it: one key that a reader cannot use makes
// the whole file useless to it.
//
// # File format 1
//
//	file    = header LF base64(wrapped) LF
//	header  = JSON, one line, at most 512 KiB
//	wrapped = the KEK's encryption of a serialized Tink keyset (tink.Keyset)
//	AD      = "admitone/keyring/1" 0x00 realm 0x00 SHA-256(header)
//
// The base64 is of RFC 4648 §4, with padding. AD is the associated data of the
// wrapping: a file whose header was changed in any byte does not open, nor does
// one of another realm. A header is written in exactly one way, with its fields
// in the order of this example and none that are unknown, repeated or spelt
// otherwise (shown here on several lines):
//
//	{"format":1,"kind":"ticket","realm":"prod","generation":3,"kek":"file",
//	 "policy":{"lifetime":900,"propagation":120,"skew":10,"rotateEvery":2592000,"destroyAfter":2592000},
//	 "audit":"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
//	 "keys":[
//	  {"id":"2f6a01c4","algorithm":"AES256_GCM","state":"retiring","created":"2026-01-05T09:00:00Z",
//	   "enabled":"2026-01-05T09:00:00Z","promoted":"2026-01-05T09:00:00Z","demoted":"2026-02-05T09:00:00Z"},
//	  {"id":"9be40d77","algorithm":"AES256_GCM","state":"primary","created":"2026-02-05T08:57:00Z",
//	   "enabled":"2026-02-05T08:57:00Z","promoted":"2026-02-05T09:00:00Z"}],
//	 "tombstones":["71c20a9d"]}
//
// Times are UTC with at most milliseconds, durations whole seconds; a duration
// of 0 is left out, and so is a time that has not come. A key's ID is the one
// in the Tink prefix of what it seals. See Key for its other fields. Header and
// keyset must agree: the same IDs, the primary the primary, a key that opens
// enabled and any other disabled, algorithms as named. All keys have the TINK output
// prefix. Of a disabled key the algorithm need not be known.
//
// The generation rises by one at each write. A Ring never goes back to a lower
// one, nor to the same with other contents, nor to a file that lacks a key of
// the one in use: that is another keyring.
//
// # Audit log
//
// Beside the file NAME is NAME.audit, in JSON lines. Before a write, its intent is
// appended and made durable: the generation, what is done to which keys, when, by
// whom and why. After it, its outcome: the fingerprint of the new file. Each line
// has the SHA-256 of the one before, and the header has, as "audit", that of the
// intent of its generation. So the KEK vouches for the log up to there:
//
//	{"entry":"intent","generation":2,"time":"2026-02-05T09:00:00Z","steps":[{"do":"promote","key":"9be40d77"}],
//	 "who":"ops@keys1","why":"policy","before":"5df6…","prev":"c0c1…"}
//	{"entry":"outcome","generation":2,"after":"e3b0…","prev":"9f86…"}
//
// An intent without an outcome was done if the file has its hash; the next change
// adds the outcome, or says in its intent which it was ("found"). A file that is older than a logged outcome was put
// back, and is refused. Only who changes a keyring needs the log; a Ring does not
// look at it, since only the file goes to other machines. What the log cannot show
// is that file and log together were replaced by older ones: services remember the
// generation (Config.MinGeneration).
//
// # Without this package
//
// With the KEK InsecureCleartext ("kek":"cleartext") the keyset stands there in
// clear, and nothing but its mode protects the file from being read or changed;
// one that everyone may read or write, or its group write, is not taken.
//
// Nothing of this package is needed to read a keyset:
//
//	kek, err := subtle.NewAESGCM(key) // tink-go's; the KEK that kms calls file:PATH
//	...
//	plain, err := kek.Decrypt(wrapped, ad)
//	...
//	handle, err := insecurecleartextkeyset.Read(keyset.NewBinaryReader(bytes.NewReader(plain)))
package keyring
