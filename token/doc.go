// Package token makes and opens login tickets.
//
// A ticket carries a person past a login page. A backend that knows the person issues a
// ticket and appends the ticket to a login or chat URL as ?ta=…. The login service opens
// the ticket without a database and without a call home:
//
//	ticket   = "tkt1_" base64url(sealed)          no padding
//	sealed   = Tink AEAD ciphertext               0x01 ‖ key ID ‖ IV ‖ ciphertext ‖ tag
//	AD       = "admitone/ticket/1" 0x00 realm
//
// The sealed payload holds brand, identity, times and a random ID. SPEC.md in this
// package's folder describes every byte, and codec.go is the code. One payload has one
// encoding, and one sealed ticket is one string. Open refuses everything else, so a ticket
// cannot be presented in a second form.
//
// An Issuer makes tickets. Open reads tickets, and does not decide whether they admit. Use
// package verify for that: it checks times, audience, brand and channel, and redeems a
// one-time ticket once.
//
// That is format 1. Package signed has format 2, in which the issuer signs and the login service
// cannot make tickets. An Issuer makes either.
//
// Keys are Tink's, as a tink.AEAD. A keyring.Ring follows the rotation of its file;
// NewKeyset takes a Tink keyset. The keys are symmetric: a service that can open tickets can
// make tickets, too. Give the keys only to services that may do both. Tink's hybrid keys are
// no tink.AEAD: everybody with the public key could make tickets.
//
// The package does no I/O except drawing random bytes, and reads no clock except
// Config.Now.
package token
