// Package token makes and opens login tickets.
//
// A ticket carries a person past a login page. A backend that knows who the
// person is has one issued, appends it to a login or chat URL as ?ta=…, and the
// login service that receives it opens it with no database and no call home:
//
//	ticket   = "tkt1_" base64url(sealed)          no padding
//	sealed   = Tink AEAD ciphertext               0x01 ‖ key ID ‖ IV ‖ ciphertext ‖ tag
//	AD       = "admitone/ticket/1" 0x00 realm
//
// The sealed payload holds brand, identity, expiry and a random ID; SPEC.md in
// this package's folder has every byte of it, and codec.go the code. One payload
// has one encoding and one sealed ticket is one string: everything else is
// refused, so a ticket cannot be presented in a second form.
//
// An Issuer makes tickets. Open reads them, but does not decide whether they
// admit: use the verify package, which checks times, audience, brand and
// channel, and that a one-time ticket is redeemed once.
//
// Keys are Tink's. Sealer and Opener are the two halves of tink.AEAD; a
// keyring.Ring is both and rotates by itself, and NewKeyset makes both of a
// plain Tink keyset. With one symmetric keyset, whoever can open tickets can
// make them: give the keys to services that may do either.
//
// The package does no I/O but drawing random bytes, and reads no clock but
// Config.Now.
package token
