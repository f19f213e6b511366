// Package keyring keeps keys that rotate: in a file, together with the history of the keys,
// and in memory as a Ring, an AEAD whose keys change while a service runs.
//
// Create makes a file, Change and Apply change it, Read returns its content without the
// keys, Audit returns its history, and Open returns a Ring over it. A reader brings its own
// Config: the realm, the key-encryption key (KEK) and the kind of keyring. The file's
// own statements about these three must match the Config, and never decide.
//
// # States
//
//	staged    there, and opens nothing yet: some readers may not know the algorithm  → pending
//	pending   opens, does not seal; waits until every process has the key           → primary
//	primary   opens and seals; exactly one key                                      → retiring
//	retiring  opens its ciphertexts; waits until they have run out                  → disabled, or back to primary
//	disabled  opens nothing                                                         → destroyed, or back to retiring
//	destroyed gone; the ID is never given again
//
// A key is pending for propagation + skew (Policy.PromoteFrom). It is retiring for
// propagation + lifetime + 3 × skew after its time as the primary (Policy.DisableFrom), and
// disabled for destroy-after (Policy.DestroyFrom). People hold, roll back, disable and
// revoke keys with a Step; see Action for all steps. The policy does the rest: Info.Plan
// says which steps are due, and Apply does them. Run Apply every few minutes from a timer.
//
// The keys of an Issuer keyring sign, and others verify: read "seals" as "signs", and "opens" as
// "is known to others". For the keys of a Recipient keyring, others seal. Others hold the public
// halves, so a key of an Issuer is pending for published + skew, and a key of a Recipient is
// retiring for published + lifetime + 3 × skew.
//
// A policy that is made shorter does not shorten what was promised before: a bundle that is out
// stays good until its end, and a process that has an older file may keep it for as long as that
// file's policy says. The file keeps these times (Key.Known, Key.Sealed, Key.Needed).
//
// A key of an algorithm that older versions of this package do not know comes in staged,
// and is enabled when all readers know the algorithm. A reader cannot use a file at all
// if it cannot use one of the keys that open.
//
// # File format 1
//
//	file    = header LF base64(wrapped) LF
//	header  = JSON, one line, at most 512 KiB
//	wrapped = the KEK's encryption of a serialized Tink keyset (tink.Keyset)
//	AD      = "admitone/keyring/1" 0x00 realm 0x00 SHA-256(header)
//
// The base64 is of RFC 4648 §4, with padding. AD is the associated data of the wrapping: a
// file does not open in another realm, nor after a change of any byte of the header. A
// header has exactly one form: the fields are in the order of this example, and none is
// unknown, repeated or spelt otherwise (shown here on several lines):
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
// After a change to a shorter policy, the field "known" follows the policy: the time until which
// readers may go on with what they had before the change.
//
// Times are UTC with at most milliseconds, durations whole seconds. A duration of 0 is left
// out, and so is a time that has not come. A key's ID is the ID in the Tink prefix of the
// key's ciphertexts. See Key for the other fields. Header and keyset must agree: they have
// the same IDs, the same primary and the same algorithms, and the keys that open are the
// enabled keys. All keys have the TINK output prefix. The algorithm of a disabled key need
// not be known.
//
// The generation rises by one at each write. A Ring never goes back to a lower generation,
// nor to the same generation with other contents. It also refuses a file that lacks a key
// of the file in use: the file is another keyring then.
//
// # Audit log
//
// Beside the file NAME is NAME.audit, in JSON lines. Before a write, the writer appends an
// intent and makes the intent durable: the generation, the steps and their keys, the time,
// the person and the reason. After the write, the writer appends the outcome: the
// fingerprint of the new file. Each line has the SHA-256 of the line before. The field
// "audit" of the header is the SHA-256 of the intent of the header's generation, so the KEK
// vouches for the log up to this intent:
//
//	{"entry":"intent","generation":2,"time":"2026-02-05T09:00:00Z","steps":[{"do":"promote","key":"9be40d77"}],
//	 "who":"ops@keys1","why":"policy","before":"5df6…","prev":"c0c1…"}
//	{"entry":"outcome","generation":2,"after":"e3b0…","prev":"9f86…"}
//
// An intent without an outcome was done if the file has the intent's hash. The next change
// adds the outcome, or says in the field "found" of its intent whether the change was done.
// A file that is older than a logged outcome was put back, and is refused. Only writers need
// the log. A Ring ignores the log, since other machines get the file alone. The log cannot
// show that file and log together were replaced by older ones; services remember the
// generation for this case (Config.MinGeneration).
//
// # Signed files
//
// Files of the kinds IssuerPublic, RecipientPublic and Trust hold no secret. Their form is that of
// a keyring file, with an empty policy and no keys in the header, and with "kek":"signed". The
// second line is
//
//	base64(content signature)
//	content   = JSON, as json.Marshal writes it; see Bundle and package verify/trust
//	signature = Ed25519, 64 bytes, over "admitone/signed/1" 0x00 length(AD) AD content
//
// with the AD from above, its length as u64, big-endian. An Identity verifies the signature, and the
// KEK of NewIdentity makes it. In a Bundle, "audit" is that of the keyring at the time of Publish,
// and no audit log is beside the file. The proof of a signing key in a Bundle is a signature of the
// key, in the form of Tink, over
//
//	"admitone/key/1" 0x00 realm 0x00 name 0x00 algorithm 0x00 public
//
// # Without this package
//
// Under the KEK InsecureCleartext ("kek":"cleartext") the keyset is not encrypted, and only
// the file's mode protects the keys. A cleartext file is refused if everybody may read or
// write it, or if its group may write it.
//
// A keyset can be read with Tink alone:
//
//	kek, err := subtle.NewAESGCM(key) // tink-go's; the KEK that package kms calls file:PATH
//	...
//	plain, err := kek.Decrypt(wrapped, ad)
//	...
//	handle, err := insecurecleartextkeyset.Read(keyset.NewBinaryReader(bytes.NewReader(plain)))
package keyring
