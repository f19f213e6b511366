// Package trust keeps the list of the issuers of a login service: a signed file with the public
// keys of each issuer and the grant that says which tickets the issuer may make.
//
// The file is of kind keyring.Trust. The identity key of the login service's own organisation
// signs it, on a machine that is not a login service. So a login service can read the list, and
// a thief with everything in its folder cannot change it. Add, SetGrant, Take and Deny
// change the file, with the audit log beside it. Open returns a Ring over the file: the
// verify.Issuers of a verify.Config.
//
// The public keys of an issuer come in bundles (keyring.Publish), which the issuer's own identity
// signs. Add pins this identity by its fingerprint, which people compare by telephone, for
// example. A bundle says which keys the issuer has, and nothing about what they are good for:
// name, realm and grant come from the list alone. Take takes the keys of a bundle if the pinned
// identity signed it, and if it is not older than the bundle before. A fault in one bundle
// changes nothing for other issuers.
//
// A denied key or issuer stays denied, whatever later bundles say.
//
// The package opens no network connection. The command keyring fetches bundles.
package trust
