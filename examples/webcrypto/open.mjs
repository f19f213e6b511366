// Opens a ticket of format 1 from standard input and spends nothing. Environment: REALM, and KEYS, a file with a
// keyset of Tink in JSON. In Node 20 or later.
import { readFileSync } from 'node:fs'
import { newVerifier, Refused } from './admitone.mjs'

const { REALM: realm, KEYS } = process.env
if (realm === undefined || !KEYS) throw new Error('set REALM and KEYS')
const keys = JSON.parse(readFileSync(KEYS, 'utf8'))
const claim = () => Promise.reject(new Error('there is no store here')) // so nothing can be redeemed
const verifier = await newVerifier({ realm, keys, brands: '*', skew: 10_000, claim })
try {
  const t = await verifier.open(readFileSync(0, 'utf8').trimEnd())
  console.log(`${t.audience} ${t.username ?? t.email} of ${t.brand}, issued at ${new Date(t.issuedAt).toISOString()}`)
} catch (error) {
  if (!(error instanceof Refused)) throw error
  console.error(error.reason)
  process.exitCode = 1
}
