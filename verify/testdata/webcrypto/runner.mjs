// Runs the golden vectors of the folder testdata through a module like examples/webcrypto/admitone.js.
import { readFileSync, readdirSync } from 'node:fs'
import { webcrypto } from 'node:crypto'

globalThis.crypto ??= webcrypto // Node 18

const parse = (text) =>
  Object.fromEntries(text.trimEnd().split('\n').map((l) => [l.slice(0, l.indexOf(':')), l.slice(l.indexOf(':') + 2)]))

// readVectors returns the vectors of a folder by their names, each with the folder and the keys.
export function readVectors(testdata) {
  const all = new Map()
  for (const folder of ['vectors', 'issuers', 'signed', 'keys']) {
    const dir = `${testdata}/${folder}`
    const read = (name) => readFileSync(`${dir}/${name}`, 'utf8')
    const json = readdirSync(dir).filter((f) => f.endsWith('.json'))
    const files = Object.fromEntries(json.map((f) => [f, JSON.parse(read(f))]))
    for (const name of readdirSync(dir).filter((f) => f.endsWith('.txt'))) {
      all.set(`${folder}/${name.replace('.txt', '')}`, { folder, files, ...parse(read(name)) })
    }
  }
  for (const v of all.values()) v.signing = all.get('signed/good-reference-2').files['acme.json']
  return all
}

const list = (text) => (text === '*' ? '*' : text.split(' '))

// configOf is the verifier of a vector. Its clock is that of the vector.
function configOf(v) {
  if (v.folder === 'signed') {
    const [by, id, last] = v.retired?.split(' ') ?? []
    const names = Object.keys(v.files).filter((f) => f !== 'recipient.json').map((f) => f.replace('.json', ''))
    const issuers = names.sort().map((name) => ({ name, signing: v.files[`${name}.json`],
      retired: by === name ? { [id]: Number(last) } : {}, grant: { brands: '*', audiences: [] } }))
    const recipient = v.files['recipient.json']
    return { realm: v.realm, recipient, issuers, brands: '*', skew: 0, claim: async () => true }
  }
  const issuers = Object.entries(v.files['grants.json'] ?? {}).map(([name, { brands, ...grant }]) => ({
    name, keys: v.files[`${name}.json`], grant: { ...grant, brands: brands[0] === '*' ? '*' : brands } }))
  let time = Number(v.now)
  let spent = v.spent === 'true'
  return { realm: v.realm, keys: v.files['keyset.json'], issuers, brands: list(v.brands), skew: Number(v.skew),
    maxLifetime: Number(v['max-lifetime']), now: () => time,
    claim: async () => {
      if (v['now-after-claim']) time = Number(v['now-after-claim'])
      const isNew = !spent
      spent = true
      return isNew
    } }
}

// verifierOf returns the verifier of a vector. Those of format 2 have no clock, so a module makes each once.
const verifiers = new WeakMap()
async function verifierOf(module, v) {
  const config = configOf(v)
  if (v.folder !== 'signed') return module.newVerifier(config)
  if (!verifiers.has(module)) verifiers.set(module, new Map())
  const known = verifiers.get(module)
  const key = JSON.stringify([v.realm, v.retired])
  if (!known.has(key)) known.set(key, await module.newVerifier(config))
  return known.get(key)
}

// useKeys does with the keysets of a vector what a verifier or an issuer does.
async function useKeys(module, { kind, keysets, signing }) {
  const [first, ...others] = JSON.parse(keysets)
  const config = { realm: '', brands: '*', skew: 0, claim: async () => true }
  const grant = { brands: '*', audiences: [] }
  const issuers = [first, ...others].map((signing, i) => ({ name: 'abcde'[i], signing, grant }))
  if (kind === 'recipient') await module.newIssuer({ realm: '', issuer: 'acme', signing, recipient: first })
  else await module.newVerifier(kind === 'ticket' ? { ...config, keys: first } : { ...config, issuers })
}

// differs runs a vector. It returns '' if the module agrees, and the difference if not.
// 'not supported' stands for a key whose algorithm WebCrypto lacks.
export async function differs(module, v) {
  if (v.folder === 'keys') {
    const result = await useKeys(module, v).then(() => 'good', () => 'refused')
    return result === v.expect ? '' : `${result}, not ${v.expect}`
  }
  const ticket = JSON.parse(v.ticket)
  let got
  try {
    const verifier = await verifierOf(module, v)
    const use = { audience: v.audience, channel: v.channel }
    got = await (v.folder === 'signed' ? verifier.open(ticket) : verifier.redeem(ticket, use))
  } catch (error) {
    if (error instanceof module.NotSupported) return 'not supported'
    if (error instanceof module.Refused) return error.reason === v.expect ? '' : `${error.reason}, not ${v.expect}`
    return `failed: ${error.stack}`
  }
  if (v.expect !== 'good') return `good, not ${v.expect}`
  const { keyId, issuer, signingKeyId, nonce, ...content } = got
  const sealed = module.unbase64url(ticket.slice(5))
  const facts = [[issuer, v.issuer], [nonce, v.nonce], [keyId, module.hex(sealed.slice(1, 5))],
    [JSON.stringify(content), JSON.stringify(contentOf(v))], [module.hex(module.encodePayload(content)), v.payload],
    [`${ticket.slice(0, 5)}${module.base64url(sealed)}`, ticket], [signingKeyId, v.signature?.slice(2, 10) ?? '']]
  for (const [a, b] of facts) if (a !== b) return `${a}, not ${b}`
  return ''
}

const order = ['audience', 'oneTimeUse', 'overrideUserInfo', 'id', 'issuedAt', 'lifetime', 'brand', 'username', 'email',
  'uniqueId', 'firstName', 'lastName', 'phone1', 'remark', 'channel', 'actor', 'claims']

const contentOf = (v) => {
  const decoded = JSON.parse(v.decoded)
  return Object.fromEntries(order.filter((name) => name in decoded).map((name) => [name, decoded[name]]))
}
