// Makes a ticket for a person, who is the argument, in the JSON of /auth/ticket. Environment: REALM, and for format 1
// KEYS, or for format 2 ISSUER, SIGNING (private keys) and RECIPIENT (public keys): files with keysets of Tink in JSON.
import { readFileSync } from 'node:fs'
import { newIssuer } from './admitone.mjs'

const { REALM: realm, ISSUER: issuer, KEYS, SIGNING, RECIPIENT } = process.env
if (realm === undefined || !(KEYS || (issuer && SIGNING && RECIPIENT)) || !process.argv[2]) {
  throw new Error('set REALM, and KEYS or ISSUER, SIGNING and RECIPIENT, and give the person as JSON')
}
const read = (file) => file && JSON.parse(readFileSync(file, 'utf8'))
const issue = await newIssuer({ realm, issuer, keys: read(KEYS), signing: read(SIGNING), recipient: read(RECIPIENT) })
const { expiresIn, ...person } = JSON.parse(process.argv[2])
console.log(await issue(person, expiresIn && expiresIn * 1000))
