// node random.mjs MODULE: makes the random tickets of token/SPEC.md, draw by draw, and prints the first payload and the
// hash of all.
import { createHash, webcrypto } from 'node:crypto'
import { pathToFileURL } from 'node:url'

globalThis.crypto ??= webcrypto // Node 18
const module = await import(pathToFileURL(process.argv[2]))
const stream = createHash('shake128', { outputLength: 1 << 25 }).update('admitone/ticket/1 random tickets').digest()
let at = 0
const take = (size) => {
  if (at + size > stream.length) throw new Error('the stream is too short')
  return stream.subarray(at, (at += size))
}
const draw = (n) => take(4).readUInt32BE() % n
const alphabet = [...'abcXYZ019 .@-_/<>&%é日😀']
const letters = 'abcdefghijklmnopqrstuvwxyz'

function text(most) {
  const size = 1 + draw(draw(4) === 0 ? most : Math.min(most, 20))
  for (let s = 'x'; ; ) {
    const longer = s + alphabet[draw(22)]
    if (Buffer.byteLength(longer) > size) return s
    s = longer
  }
}

function phone() {
  let s = '+' + (1 + draw(9))
  for (let more = draw(31); more > 0; more--) s += draw(10)
  return s
}

// The third value of a field says for each audience whether the field is there: yes, no, or as drawn.
const fields = [['brand', 64, 'yyd'], ['username', 255, 'yny'], ['email', 255, 'ddn'], ['uniqueId', 255, 'dyn'],
  ['firstName', 100, 'ddn'], ['lastName', 100, 'ddn'], ['phone1', 32, 'ddn'],
  ['remark', 512, 'ddn'], ['channel', 64, 'ndn'], ['actor', 64, 'ddd']]

function content() {
  const a = draw(3)
  const t = { audience: ['agent', 'customer', 'administrator'][a] }
  const [once, override] = [draw(2) === 1, draw(2) === 1]
  t.oneTimeUse = once || a === 2
  t.overrideUserInfo = override && a === 1
  t.id = take(16).toString('hex')
  t.issuedAt = take(6).readUIntBE(0, 6)
  t.lifetime = 1 + draw(2 ** 32 - 1)
  for (const [name, most, presence] of fields) {
    if (presence[a] === 'n' || (presence[a] === 'd' && draw(2) === 0)) continue
    t[name] = name === 'phone1' ? phone() : text(most)
  }
  const claims = new Map()
  for (let more = draw(4); more > 0; more--) {
    const name = letters[draw(26)] + '_.-0'[draw(4)]
    claims.set(name, text(60))
  }
  if (claims.size > 0) t.claims = Object.fromEntries([...claims].sort())
  return t
}

const hash = createHash('sha256')
for (let i = 0; i < 10_000; i++) {
  const t = content()
  const payload = module.encodePayload(t)
  const back = JSON.stringify(module.decodePayload(payload))
  if (back !== JSON.stringify(t)) throw new Error(`ticket ${i} comes back as another`)
  if (i === 0) console.log(module.hex(payload))
  hash.update(payload)
}
console.log(hash.digest('hex'))
