// Package keyring keeps keys that rotate: in one file, with their history, so
// that the two cannot disagree; and in memory as a Ring, an AEAD whose keys
// change underneath while a service runs.
//
// Create makes a file, Rotate and Disable change it, Read says what it holds, and
// Open gives a Ring over it. A reader brings its realm, its key-encryption key
// (KEK) and the kind of keyring that it expects in a Config of its own. What the file
// says about them must match, and never decides.
//
// # States
//
//	primary   opens and seals; exactly one
//	retiring  opens what was sealed before; does not seal
//	disabled  opens nothing
//
// Rotate makes a new key primary and the old primary retiring. A retiring key
// may be disabled when the last thing that it sealed has run out: at demoted +
// propagation + lifetime + 3 × skew (see Policy).
//
// # File format 1
//
//	file    = header LF base64(wrapped) LF
//	header  = JSON, one line, at most 256 KiB
//	wrapped = the KEK's encryption of a serialized Tink keyset (tink.Keyset)
//	AD      = "admitone/keyring/1" 0x00 realm 0x00 SHA-256(header)
//
// The base64 is of RFC 4648 §4, with padding. AD is the associated data of the
// wrapping: a file whose header was changed in any byte does not open, nor does
// one of another realm. A header is written in exactly one way, with its fields
// in the order of this example and none that are unknown, repeated or spelt
// otherwise (shown here on several lines):
//
//	{"format":1,"kind":"ticket","realm":"prod","generation":2,"kek":"file",
//	 "policy":{"lifetime":900,"propagation":120,"skew":10},
//	 "keys":[
//	  {"id":"2f6a01c4","algorithm":"AES256_GCM","state":"retiring","created":"2026-01-05T09:00:00Z",
//	   "promoted":"2026-01-05T09:00:00Z","demoted":"2026-02-05T09:00:00Z"},
//	  {"id":"9be40d77","algorithm":"AES256_GCM","state":"primary","created":"2026-02-05T09:00:00Z",
//	   "promoted":"2026-02-05T09:00:00Z"}]}
//
// Times are UTC with at most milliseconds, durations whole seconds; a duration
// of 0 is left out, and so is a time that has not come. A key's ID is the one
// in the Tink prefix of what it seals. A disabled key has "disabled", the time,
// and may have "reason". Header and keyset must agree: the same IDs, the primary
// the primary, a key disabled in one disabled in the other, algorithms as named.
// All keys have the TINK output prefix.
//
// The generation rises by one at each write. A Ring never goes back to a lower
// one, nor to the same with other contents, nor to a file that lacks a key of
// the one in use: that is another keyring.
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
