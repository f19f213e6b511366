// Package signed makes and opens tickets of format 2: signed by the issuer, encrypted to the
// recipient. A login service opens such tickets and cannot make them.
//
//	ticket    = "tkt2_" base64url(sealed)
//	sealed    = 0x01 ‖ recipient key ID ‖ enc ‖ ciphertext     HPKE, base mode
//	plaintext = 0x01 ‖ signing key ID ‖ signature ‖ payload    the payload is format 1's
//
// The signature covers the realm, the issuer's name, the hash of the recipient's public key and
// the payload. So a recipient cannot pass a ticket on to another recipient, and a key that is
// known under two names verifies for the right name only. SPEC.md in the folder of package token
// describes every byte.
//
// A Sealer is the Signed of a token.Config. Open opens a ticket, and does not decide whether the
// ticket admits: package verify does. No function here decrypts without verifying.
//
// Keys are Tink keysets. They run on crypto/hpke, crypto/ed25519 and crypto/ecdsa, and are parsed
// once: Tink's own HPKE makes the same bytes and takes about twice the time.
//
//	signing      ED25519, ECDSA_P256 (with SHA-256, encoded as IEEE P1363)
//	encryption   DHKEM_X25519_HKDF_SHA256, DHKEM_P256_HKDF_SHA256, X_WING,
//	             each with HKDF_SHA256 and AES_256_GCM
//
// Under GODEBUG=fips140=only, recipients have P-256. Both signatures run there.
package signed
