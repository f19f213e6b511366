// Tickets of admitone on WebCrypto: opens, redeems and makes tickets of format 1 and format 2, as
// token/SPEC.md has them. Runs on Node 20 and later, on edge runtimes and on Deno, without packages.
// WebCrypto lacks X-Wing, AES-GCM-SIV and XChaCha20-Poly1305: tickets under such keys throw NotSupported.

type Bytes = Uint8Array<ArrayBuffer>
const subtle = crypto.subtle

export type Reason =
  | 'malformed' | 'unsupported_version' | 'unknown_key' | 'unknown_issuer' | 'forged'
  | 'issuer_not_allowed' | 'not_yet_valid' | 'expired' | 'lifetime_too_long'
  | 'wrong_audience' | 'wrong_brand' | 'wrong_channel' | 'refused_by_caller' | 'already_used'

/** Refused is thrown for a ticket that does not admit. Tell a stranger the same for every reason. */
export class Refused extends Error {
  readonly reason: Reason
  readonly ticket: Ticket | undefined // of a genuine ticket, for your logs
  constructor(reason: Reason, ticket?: Ticket) {
    super(`the ticket is refused: ${reason}`)
    this.reason = reason
    this.ticket = ticket
  }
}

/** NotSupported is thrown for a key whose algorithm WebCrypto lacks. It says nothing about the ticket. */
export class NotSupported extends Error {}

export type Audience = 'agent' | 'customer' | 'administrator'

/** Person is what an issuer says. A field that is absent is left out. */
export interface Person {
  audience: Audience
  oneTimeUse?: boolean
  overrideUserInfo?: boolean
  brand?: string
  username?: string
  email?: string
  uniqueId?: string
  firstName?: string
  lastName?: string
  phone1?: string
  remark?: string
  channel?: string
  actor?: string
  claims?: Record<string, string>
}

/** Content is a payload. Times are whole milliseconds, and the ID is in hexadecimal. */
export interface Content extends Person {
  id: string
  issuedAt: number
  lifetime: number
}

/** Ticket is an opened ticket. The keys and the issuer come from the verifier's own lists. */
export interface Ticket extends Content {
  keyId: string
  issuer: string // '' for the keyset without a name
  signingKeyId: string // '' for format 1
  nonce: string // of the replay store
}

/* Bytes and texts. */

const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

function bytes(...parts: (string | ArrayLike<number>)[]): Bytes {
  const all = parts.map((part) => (typeof part === 'string' ? encoder.encode(part) : part))
  const joined = new Uint8Array(all.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of all) {
    joined.set(part, at)
    at += part.length
  }
  return joined
}

/** number is an integer in big-endian bytes; value is below 2^53. */
function number(value: number, size: number): number[] {
  const b: number[] = []
  for (let rest = value; b.length < size; rest = Math.floor(rest / 256)) b.unshift(rest % 256)
  return b
}

function read(b: Bytes, at: number, size: number): number {
  let value = 0
  for (let i = 0; i < size; i++) value = value * 256 + b[at + i]!
  return value
}

export function hex(b: ArrayLike<number>): string {
  return Array.from(b, (v) => v.toString(16).padStart(2, '0')).join('')
}

function unhex(s: string): number[] {
  return Array.from({ length: s.length / 2 }, (_, i) => parseInt(s.slice(2 * i, 2 * i + 2), 16))
}

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'

export function base64url(b: Bytes): string {
  let text = ''
  for (let at = 0; at < b.length; at += 3) {
    const three = (b[at]! << 16) | ((b[at + 1] ?? 0) << 8) | (b[at + 2] ?? 0)
    for (let i = 0; i <= Math.min(b.length - at, 3); i++) text += alphabet[(three >> (18 - 6 * i)) & 63]
  }
  return text
}

/** unbase64url takes the one form of the bytes, and returns undefined for every other text. */
export function unbase64url(text: string): Bytes | undefined {
  const b = new Uint8Array(Math.floor((text.length * 3) / 4))
  let size = 0
  let rest = 0 // the bits of the last characters that fill no byte yet
  let bits = 0
  for (let i = 0; i < text.length; i++) {
    const value = alphabet.indexOf(text.charAt(i))
    if (value < 0) return undefined
    rest = (rest << 6) | value
    bits += 6
    if (bits >= 8) {
      bits -= 8
      b[size++] = rest >> bits
      rest &= (1 << bits) - 1
    }
  }
  if (bits === 6 || rest !== 0) return undefined
  return b
}

/* The payload. */

const audiences = ['agent', 'customer', 'administrator'] as const
const texts = [
  ['brand', 64], ['username', 255], ['email', 255], ['uniqueId', 255], ['firstName', 100],
  ['lastName', 100], ['phone1', 32], ['remark', 512], ['channel', 64], ['actor', 64],
] as const
const headerSize = 28
const claimTag = 64

/** readUvarint returns the value at a place and the place after it. No value here needs four bytes. */
function readUvarint(p: Bytes, at: number): [value: number, after: number] {
  let value = 0
  for (let n = 0; n < 3; n++) {
    if (at + n >= p.length) throw new Refused('malformed')
    const c = p[at + n]!
    value |= (c & 127) << (7 * n)
    if (c < 128) {
      if (c === 0 && n > 0) throw new Refused('malformed')
      return [value, at + n + 1]
    }
  }
  throw new Refused('malformed')
}

function uvarint(value: number): number[] {
  return value < 128 ? [value] : [(value & 127) | 128, ...uvarint(value >> 7)]
}

function readText(b: Bytes, most: number): string {
  if (b.length === 0 || b.length > most) throw new Refused('malformed')
  let text: string
  try {
    text = decoder.decode(b)
  } catch {
    throw new Refused('malformed')
  }
  if (/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/.test(text)) throw new Refused('malformed')
  return text
}

function readName(b: Bytes): string {
  const name = String.fromCharCode(...b)
  if (!/^[a-z0-9_.-]{1,64}$/.test(name)) throw new Refused('malformed')
  return name
}

export function decodePayload(p: Bytes): Content {
  if (p.length < headerSize) throw new Refused('malformed')
  const flags = p[0]!
  if ((flags & ~3) !== 0) throw new Refused('malformed')
  const audience = audiences[p[1]! - 1]
  if (audience === undefined) throw new Refused('malformed')
  const content: Content = {
    audience,
    oneTimeUse: (flags & 1) !== 0,
    overrideUserInfo: (flags & 2) !== 0,
    id: hex(p.subarray(2, 18)),
    issuedAt: read(p, 18, 6),
    lifetime: read(p, 24, 4),
  }
  if (content.lifetime === 0) throw new Refused('malformed')
  let lastTag = 0
  let lastName = ''
  let at = headerSize
  while (at < p.length) {
    const [tag, afterTag] = readUvarint(p, at)
    const [length, start] = readUvarint(p, afterTag)
    if (tag < lastTag) throw new Refused('malformed')
    if (tag === lastTag && tag !== claimTag) throw new Refused('malformed')
    lastTag = tag
    at = start + length
    if (length === 0) throw new Refused('malformed')
    if (at > p.length) throw new Refused('malformed')
    const value = p.subarray(start, at)
    const field = texts[tag - 1]
    if (field !== undefined) {
      content[field[0]] = readText(value, field[1])
    } else if (tag === claimTag) {
      const [size, from] = readUvarint(value, 0)
      if (from + size > value.length) throw new Refused('malformed')
      const name = readName(value.subarray(from, from + size))
      if (name <= lastName) throw new Refused('malformed')
      lastName = name
      content.claims ??= Object.create(null) as Record<string, string> // a claim may have the name __proto__
      content.claims[name] = readText(value.subarray(from + size), 512)
    } else {
      throw new Refused('malformed')
    }
  }
  if (!hasShape(content)) throw new Refused('malformed')
  return content
}

function hasShape(t: Content): boolean {
  if (t.brand === undefined && t.audience !== 'administrator') return false
  if (t.phone1 !== undefined && !/^\+[1-9][0-9]*$/.test(t.phone1)) return false
  switch (t.audience) {
    case 'agent':
      if (t.username === undefined) return false
      if (t.channel !== undefined) return false
      return !t.overrideUserInfo
    case 'customer':
      if (t.username !== undefined) return false
      return t.email !== undefined || t.uniqueId !== undefined || t.phone1 !== undefined
    case 'administrator':
      if (!t.oneTimeUse) return false
      if (t.overrideUserInfo) return false
      if (t.username === undefined) return false
      return texts.every(([name]) => ['brand', 'username', 'actor'].includes(name) || t[name] === undefined)
  }
}

/** encodePayload throws for a content that no ticket may have. */
export function encodePayload(t: Content): Bytes {
  const flags = (t.oneTimeUse ? 1 : 0) | (t.overrideUserInfo ? 2 : 0)
  const audience = audiences.indexOf(t.audience) + 1
  const parts = [[flags, audience], unhex(t.id), number(t.issuedAt, 6), number(t.lifetime, 4)]
  const field = (tag: number, value: Bytes) => parts.push([tag], uvarint(value.length), [...value])
  for (const [i, [name]] of texts.entries()) {
    const value = t[name]
    if (value !== undefined && value !== '') field(i + 1, bytes(value))
  }
  const claims = t.claims ?? {}
  for (const name of Object.keys(claims).sort()) {
    field(claimTag, bytes(uvarint(name.length), name, claims[name]!))
  }
  const payload = bytes(...parts)
  decodePayload(payload)
  return payload
}

/* Keysets of Tink in JSON: private ones as `keyring export --keyset-insecure-cleartext` writes them,
   and public ones as `keyring export --public` does. */

export interface Keyset {
  primaryKeyId: number
  key: {
    keyId: number
    status: string
    outputPrefixType: string
    keyData: { typeUrl: string; value: string }
  }[]
}

interface Key {
  id: string // 8 hexadecimal digits
  type: string
  fields: Fields
}

type Fields = Map<number, number | Bytes>

/** protobuf reads a message of numbers and of fields of bytes. */
function protobuf(b: Bytes): Fields {
  const fields: Fields = new Map()
  let at = 0
  const next = () => {
    let value = 0
    for (let scale = 1; ; scale *= 128) {
      const c = b[at++]
      if (c === undefined) throw new Error('a key is cut off')
      value += (c & 127) * scale
      if (c < 128) return value
    }
  }
  while (at < b.length) {
    const head = next()
    const value = next()
    const field = head >> 3
    if ((head & 7) === 0) {
      fields.set(field, value)
    } else {
      fields.set(field, b.slice(at, at + value))
      at += value
    }
  }
  return fields
}

const bytesOf = (f: Fields, field: number) => (f.get(field) ?? new Uint8Array()) as Bytes
const numberOf = (f: Fields, field: number) => (f.get(field) ?? 0) as number
const messageOf = (f: Fields, field: number) => protobuf(bytesOf(f, field))

/** last32 is a coordinate of P-256: Tink may put a zero byte before it, or leave zero bytes out. */
const last32 = (b: Bytes) => bytes(new Uint8Array(32), b).slice(-32)

/** enabledKeys returns the enabled keys of a keyset, the primary first. */
function enabledKeys(keyset: Keyset): Key[] {
  const seen = new Set<number>()
  const keys: Key[] = []
  for (const k of keyset.key) {
    const id = hex(number(k.keyId, 4))
    if (k.outputPrefixType !== 'TINK') throw new Error(`key ${id}: make the keyset's keys with the TINK prefix`)
    if (seen.has(k.keyId)) throw new Error(`two keys have the ID ${id}; remove one`)
    seen.add(k.keyId)
    if (k.status !== 'ENABLED') continue
    const value = unbase64url(k.keyData.value.replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', ''))
    if (value === undefined) throw new Error(`key ${id} is not in base64`)
    const key = { id, type: k.keyData.typeUrl.split('.').pop()!, fields: protobuf(value) }
    if (k.keyId === keyset.primaryKeyId) {
      keys.unshift(key)
    } else {
      keys.push(key)
    }
  }
  return keys
}

function primaryOf(keyset: Keyset): Key {
  const key = enabledKeys(keyset)[0]
  if (key === undefined) throw new Error('the keyset has no enabled key')
  return key
}

/* Format 1: the AEADs. */

interface Aead {
  id: string
  key: string // its bytes, in hexadecimal
  seal(payload: Bytes, ad: Bytes): Promise<Bytes>
  open(sealed: Bytes, ad: Bytes): Promise<Bytes | undefined> // what follows the key ID
}

const gcmKey = (raw: Bytes) => subtle.importKey('raw', raw, 'AES-GCM', false, ['encrypt', 'decrypt'])

async function gcmSeal(key: CryptoKey, iv: Bytes, plain: Bytes, ad: Bytes): Promise<Bytes> {
  return new Uint8Array(await subtle.encrypt({ name: 'AES-GCM', iv, additionalData: ad }, key, plain))
}

async function gcmOpen(key: CryptoKey, iv: Bytes, sealed: Bytes, ad: Bytes): Promise<Bytes | undefined> {
  if (iv.length !== 12 || sealed.length < 16) return undefined
  try {
    return new Uint8Array(await subtle.decrypt({ name: 'AES-GCM', iv, additionalData: ad }, key, sealed))
  } catch {
    return undefined
  }
}

/** xaesKey derives the key of AES-256-GCM for a salt, by AES-CMAC in counter mode (C2SP XAES-256-GCM). */
async function xaesKey(raw: Bytes, salt: Bytes): Promise<CryptoKey> {
  const cbc = await subtle.importKey('raw', raw, 'AES-CBC', false, ['encrypt'])
  const block = async (b: Bytes) =>
    new Uint8Array(await subtle.encrypt({ name: 'AES-CBC', iv: new Uint8Array(16) }, cbc, b)).slice(0, 16)
  const l = await block(new Uint8Array(16))
  const k1 = l.map((v, i) => (v << 1) | ((l[i + 1] ?? 0) >> 7))
  if (l[0]! >= 128) k1[15]! ^= 0x87
  const half = (counter: number) => block(bytes([0, counter, 0x58, 0], salt).map((v, i) => v ^ k1[i]!))
  return gcmKey(bytes(await half(1), await half(2)))
}

async function newAead(k: Key): Promise<Aead> {
  const raw = bytesOf(k.fields, 3)
  const named = { id: k.id, key: hex(raw) }
  if (raw.length !== 32) throw new Error(`key ${k.id}: take keys of 32 bytes`)
  const prefix = [1, ...unhex(k.id)]
  const random = (size: number) => crypto.getRandomValues(new Uint8Array(size))
  switch (k.type) {
    case 'AesGcmKey': {
      const key = await gcmKey(raw)
      return {
        ...named,
        seal: async (payload, ad) => {
          const iv = random(12)
          return bytes(prefix, iv, await gcmSeal(key, iv, payload, ad))
        },
        open: (sealed, ad) => gcmOpen(key, sealed.slice(0, 12), sealed.slice(12), ad),
      }
    }
    case 'XAesGcmKey': {
      if (numberOf(messageOf(k.fields, 2), 1) !== 12) throw new Error(`key ${k.id}: take a salt of 12 bytes`)
      return {
        ...named,
        seal: async (payload, ad) => {
          const salt = random(12)
          const iv = random(12)
          return bytes(prefix, salt, iv, await gcmSeal(await xaesKey(raw, salt), iv, payload, ad))
        },
        open: async (sealed, ad) => {
          if (sealed.length < 40) return undefined
          return gcmOpen(await xaesKey(raw, sealed.slice(0, 12)), sealed.slice(12, 24), sealed.slice(24), ad)
        },
      }
    }
  }
  const lacking = () => Promise.reject(new NotSupported(`WebCrypto has no algorithm for ${k.type}`))
  return { ...named, seal: lacking, open: lacking }
}

const associatedData = (realm: string) => bytes('admitone/ticket/1', [0], realm)

/* Format 2: HPKE (RFC 9180), base mode, one message, with HKDF-SHA256 and AES-256-GCM. */

interface Kem {
  id: number
  algorithm: string
  encSize: number
  importPublic(raw: Bytes): Promise<CryptoKey>
  importPrivate(raw: Bytes, publicRaw: Bytes): Promise<CryptoKey>
}

const x25519: Kem = {
  id: 0x0020,
  algorithm: 'X25519',
  encSize: 32,
  importPublic: (raw) => subtle.importKey('raw', raw, { name: 'X25519' }, false, []),
  importPrivate: (raw, publicRaw) => {
    const jwk = { kty: 'OKP', crv: 'X25519', d: base64url(raw), x: base64url(publicRaw) }
    return subtle.importKey('jwk', jwk, { name: 'X25519' }, false, ['deriveBits'])
  },
}

const p256: Kem = {
  id: 0x0010,
  algorithm: 'ECDH',
  encSize: 65,
  importPublic: async (raw) => {
    if (raw[0] !== 4) throw new Error('not an uncompressed point')
    return subtle.importKey('raw', raw, { name: 'ECDH', namedCurve: 'P-256' }, false, [])
  },
  importPrivate: (raw, publicRaw) => {
    const [x, y] = [base64url(publicRaw.slice(1, 33)), base64url(publicRaw.slice(33))]
    const jwk = { kty: 'EC', crv: 'P-256', d: base64url(last32(raw)), x, y }
    return subtle.importKey('jwk', jwk, { name: 'ECDH', namedCurve: 'P-256' }, false, ['deriveBits'])
  },
}

async function hmac(key: Bytes, data: Bytes): Promise<Bytes> {
  const raw = key.length === 0 ? new Uint8Array(32) : key // the same to HMAC, and WebCrypto refuses empty keys
  const imported = await subtle.importKey('raw', raw, { name: 'HMAC', hash: 'SHA-256' }, false, ['sign'])
  return new Uint8Array(await subtle.sign('HMAC', imported, data))
}

const nothing = new Uint8Array()
const sha256 = async (b: Bytes) => new Uint8Array(await subtle.digest('SHA-256', b))

const extract = (suite: Bytes, salt: Bytes, label: string, ikm: Bytes) =>
  hmac(salt, bytes('HPKE-v1', suite, label, ikm))

const expand = async (suite: Bytes, prk: Bytes, label: string, info: Bytes, size: number) =>
  (await hmac(prk, bytes(number(size, 2), 'HPKE-v1', suite, label, info, [1]))).slice(0, size)

/** suiteOf is the three IDs of a suite: KEM, HKDF-SHA256, AES-256-GCM. */
const suiteOf = (kem: Kem) => number(kem.id, 2).concat([0, 1, 0, 2])

/** schedule returns the key and the nonce for the message, from the Diffie-Hellman secret. */
async function schedule(kem: Kem, dh: Bytes, enc: Bytes, recipient: Bytes, info: Bytes) {
  const kemSuite = bytes('KEM', number(kem.id, 2))
  const prk = await extract(kemSuite, nothing, 'eae_prk', dh)
  const shared = await expand(kemSuite, prk, 'shared_secret', bytes(enc, recipient), 32)
  const suite = bytes('HPKE', suiteOf(kem))
  const idHash = await extract(suite, nothing, 'psk_id_hash', nothing)
  const infoHash = await extract(suite, nothing, 'info_hash', info)
  const context = bytes([0], idHash, infoHash)
  const secret = await extract(suite, shared, 'secret', nothing)
  const key = await gcmKey(await expand(suite, secret, 'key', context, 32))
  return { key, nonce: await expand(suite, secret, 'base_nonce', context, 12) }
}

async function agree(kem: Kem, own: CryptoKey, other: CryptoKey): Promise<Bytes> {
  const dh = new Uint8Array(await subtle.deriveBits({ name: kem.algorithm, public: other }, own, 256))
  if (dh.every((v) => v === 0)) throw new Error('a point of small order')
  return dh
}

const recipientHash = (kem: Kem, publicRaw: Bytes) =>
  sha256(bytes('admitone/recipient/2', [0], suiteOf(kem), publicRaw))

interface Recipient {
  id: string
  kem: Kem | undefined // undefined if WebCrypto lacks it
  publicRaw: Bytes
  hash: Bytes
  privateKey: CryptoKey | undefined
}

async function newRecipient(k: Key): Promise<Recipient> {
  const isPrivate = k.type === 'HpkePrivateKey'
  if (!isPrivate && k.type !== 'HpkePublicKey') throw new Error(`key ${k.id}: give HPKE keys, not ${k.type}`)
  const fields = isPrivate ? messageOf(k.fields, 2) : k.fields
  const params = messageOf(fields, 2)
  const kem = { 1: x25519, 2: p256 }[numberOf(params, 1)]
  const publicRaw = bytesOf(fields, 3)
  if (kem === undefined) return { id: k.id, kem, publicRaw, hash: nothing, privateKey: undefined }
  if (numberOf(params, 2) !== 1 || numberOf(params, 3) !== 2) {
    throw new Error(`key ${k.id}: take HKDF-SHA256 and AES-256-GCM`)
  }
  if (kem === x25519 && !isCanonical(publicRaw)) throw new Error(`key ${k.id} is not in canonical form`)
  const privateKey = isPrivate ? await kem.importPrivate(bytesOf(k.fields, 3), publicRaw) : undefined
  const recipient = { id: k.id, kem, publicRaw, hash: await recipientHash(kem, publicRaw), privateKey }
  await hpkeSeal(recipient, bytes('admitone/probe/1'), nothing) // throws for a point of small order
  return recipient
}

async function hpkeSeal(to: Recipient, info: Bytes, plain: Bytes): Promise<Bytes> {
  const kem = to.kem
  if (kem === undefined) throw new NotSupported('WebCrypto has no algorithm for this recipient')
  const algorithm = { name: kem.algorithm, namedCurve: 'P-256' }
  const ephemeral = (await subtle.generateKey(algorithm, false, ['deriveBits'])) as CryptoKeyPair
  const enc = new Uint8Array(await subtle.exportKey('raw', ephemeral.publicKey))
  const dh = await agree(kem, ephemeral.privateKey, await kem.importPublic(to.publicRaw))
  const { key, nonce } = await schedule(kem, dh, enc, to.publicRaw, info)
  return bytes(enc, await gcmSeal(key, nonce, plain, nothing))
}

async function hpkeOpen(to: Recipient, info: Bytes, sealed: Bytes): Promise<Bytes | undefined> {
  const kem = to.kem
  if (kem === undefined) throw new NotSupported('WebCrypto has no algorithm for this recipient')
  const enc = sealed.slice(0, kem.encSize)
  let dh: Bytes
  try {
    dh = await agree(kem, to.privateKey!, await kem.importPublic(enc))
  } catch {
    return undefined
  }
  const { key, nonce } = await schedule(kem, dh, enc, to.publicRaw, info)
  return gcmOpen(key, nonce, sealed.slice(kem.encSize), nothing)
}

/* Signatures. */

interface VerifyingKey {
  issuer: string
  id: string
  key: string // its public bytes, in hexadecimal
  lastIssue: number // in milliseconds; Infinity for a key that is not retired
  verify(signature: Bytes, data: Bytes): Promise<boolean>
}

const p = 2n ** 255n - 19n
const curveD = 0x52036cee2b6ffe738cc740797779e89800700a4d4141d8ab75eb4dca135978a3n
const order8 = 0x05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826n

function littleEndian(b: Bytes): bigint {
  return BigInt('0x' + hex(Uint8Array.from(b).reverse()))
}

function isCanonical(publicRaw: Bytes): boolean {
  return publicRaw.length === 32 && littleEndian(publicRaw) < p
}

function power(base: bigint, exponent: bigint): bigint {
  let result = 1n
  for (let b = base % p, e = exponent; e > 0n; e >>= 1n) {
    if (e & 1n) result = (result * b) % p
    b = (b * b) % p
  }
  return result
}

/** isGoodEd25519 refuses keys that are no point of the curve, in another form, or of small order. */
function isGoodEd25519(publicRaw: Bytes): boolean {
  const y = littleEndian(publicRaw) & (2n ** 255n - 1n)
  if (publicRaw.length !== 32 || y >= p) return false
  if ([0n, 1n, p - 1n, order8, p - order8].includes(y)) return false
  const square = (y * y) % p
  const quotient = (((square - 1n + p) % p) * ((square * curveD + 1n) % p)) % p
  return power(quotient, (p - 1n) / 2n) === 1n // a square, so there is an x
}

async function newVerifyingKey(issuer: string, k: Key, lastIssue: number): Promise<VerifyingKey> {
  const isPrivate = k.type.endsWith('PrivateKey')
  if (k.type.startsWith('Ed25519')) {
    const raw = bytesOf(isPrivate ? messageOf(k.fields, 3) : k.fields, 2)
    if (!isGoodEd25519(raw)) throw new Error(`key ${k.id} of ${issuer} is no good key of Ed25519`)
    const key = await subtle.importKey('raw', raw, { name: 'Ed25519' }, false, ['verify'])
    const verify = (s: Bytes, data: Bytes) => subtle.verify({ name: 'Ed25519' }, key, s, data)
    return { issuer, id: k.id, key: hex(raw), lastIssue, verify }
  }
  if (!k.type.startsWith('Ecdsa')) throw new Error(`key ${k.id} of ${issuer}: give signing keys, not ${k.type}`)
  const fields = isPrivate ? messageOf(k.fields, 2) : k.fields
  const params = messageOf(fields, 2)
  if (numberOf(params, 1) !== 3 || numberOf(params, 2) !== 2 || numberOf(params, 3) !== 1) {
    throw new Error(`key ${k.id} of ${issuer}: take P-256, SHA-256 and IEEE_P1363`)
  }
  const point = bytes([4], last32(bytesOf(fields, 3)), last32(bytesOf(fields, 4)))
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
  const key = await subtle.importKey('raw', point, algorithm, false, ['verify'])
  const verify = (s: Bytes, data: Bytes) => subtle.verify(algorithm, key, s, data)
  return { issuer, id: k.id, key: hex(point), lastIssue, verify }
}

/** signatureSize is the length of a signature in a ticket: 0x01, the key ID and 64 bytes. */
const signatureSize = 69
const infoOf = (realm: string) => bytes('admitone/ticket/2', [0], realm)

const signedData = (realm: string, issuer: string, recipient: Bytes, payload: Bytes) =>
  bytes(infoOf(realm), [0], issuer, [0], recipient, payload)

/* The verifier. */

/** Grant says which tickets a named issuer may issue. What it leaves out is not allowed. */
export interface Grant {
  brands: string[] | '*'
  audiences: Audience[]
  maxLifetime?: number // in milliseconds; the audience's ordinary lifetime if absent
  manyTimes?: boolean
  override?: boolean
  claims?: string[]
  until?: number // the end, in milliseconds since 1970
}

export interface NamedIssuer {
  name: string
  keys?: Keyset // of format 1
  signing?: Keyset // of format 2, public
  retired?: Record<string, number> // by key ID: the last time of issue under a retired signing key
  grant: Grant
}

export interface Config {
  realm: string
  keys?: Keyset | undefined // of format 1, without a name: they may issue everything
  recipient?: Keyset | undefined // of format 2, private
  issuers?: NamedIssuer[]
  brands: string[] | '*'
  skew: number // in milliseconds: 10,000 between machines
  maxLifetime?: number // in milliseconds; 900,000 if absent
  now?: () => number
  /** claim remembers a nonce until the time retain at least, and answers whether it was new, in one
      atomic step. It throws if the answer is not known; redeem throws the same. */
  claim(nonce: string, retain: number): Promise<boolean>
}

export interface Use {
  audience: Audience | 'any' // any: agents and customers
  channel?: string
  check?: (ticket: Ticket) => boolean | Promise<boolean>
}

export interface Verifier {
  /** open authenticates and decodes. It looks neither at the clock nor at the use. */
  open(ticket: string): Promise<Ticket>
  /** redeem spends a ticket that admits, and throws Refused for every other. */
  redeem(ticket: string, use: Use): Promise<Ticket>
}

const ordinaryLifetime: Record<Audience, number> = { agent: 60_000, customer: 300_000, administrator: 300_000 }
const mostWithID = 4
const longest = 2048

export async function newVerifier(config: Config): Promise<Verifier> {
  const { realm, brands, skew, maxLifetime = 900_000, now = Date.now } = config
  const issuers = config.issuers ?? []
  if (realm !== '') readText(bytes(realm), 64)
  const aeads = async (keyset: Keyset | undefined) => Promise.all((keyset ? enabledKeys(keyset) : []).map(newAead))
  const symmetric: { issuer: string; aead: Aead }[] = []
  for (const aead of await aeads(config.keys)) symmetric.push({ issuer: '', aead })
  const recipients = new Map<string, Recipient>()
  for (const k of config.recipient ? enabledKeys(config.recipient) : []) recipients.set(k.id, await newRecipient(k))
  const signers: VerifyingKey[] = []
  for (const { name, keys, signing, retired } of issuers) {
    readName(bytes(name))
    for (const aead of await aeads(keys)) symmetric.push({ issuer: name, aead })
    for (const k of signing ? enabledKeys(signing) : []) {
      signers.push(await newVerifyingKey(name, k, retired?.[k.id] ?? Infinity))
    }
  }
  const owned = [...symmetric.map(({ issuer, aead }) => ({ issuer, id: aead.id, key: aead.key })), ...signers]
  for (const k of owned) {
    const others = owned.filter((o) => o.issuer !== k.issuer)
    if (others.some((o) => o.key === k.key)) throw new Error(`key ${k.id} of ${k.issuer} belongs to two issuers`)
    const sharing = new Set(owned.filter((o) => o.issuer !== '' && o.id === k.id).map((o) => o.issuer))
    if (sharing.size > mostWithID) throw new Error(`more than ${mostWithID} issuers have a key with the ID ${k.id}`)
  }

  async function finish(content: Content, keyId: string, issuer: string, signingKeyId: string): Promise<Ticket> {
    let nonce = content.id
    if (issuer !== '') {
      const scoped = await sha256(bytes('admitone/nonce/2', [0], issuer, [0], unhex(content.id)))
      nonce = hex(scoped.slice(0, 16))
    }
    return { ...content, keyId, issuer, signingKeyId, nonce }
  }

  async function openSymmetric(keyId: string, sealed: Bytes): Promise<Ticket> {
    const candidates = symmetric.filter((k) => k.aead.id === keyId)
    if (candidates.length === 0) throw new Refused('unknown_key')
    for (const { issuer, aead } of candidates) {
      const payload = await aead.open(sealed, associatedData(realm))
      if (payload !== undefined) return finish(decodePayload(payload), keyId, issuer, '')
    }
    throw new Refused('forged')
  }

  async function openSigned(keyId: string, sealed: Bytes): Promise<Ticket> {
    const to = recipients.get(keyId)
    if (to === undefined) throw new Refused('unknown_key')
    const plain = await hpkeOpen(to, infoOf(realm), sealed)
    if (plain === undefined) throw new Refused('forged')
    if (plain.length < signatureSize || plain[0] !== 1) throw new Refused('forged')
    const signingKeyId = hex(plain.slice(1, 5))
    const signature = plain.slice(5, signatureSize)
    const payload = plain.slice(signatureSize)
    const candidates = signers.filter((k) => k.id === signingKeyId)
    for (const k of candidates) {
      if (!(await k.verify(signature, signedData(realm, k.issuer, to.hash, payload)))) continue
      const content = decodePayload(payload)
      if (content.issuedAt > k.lastIssue) throw new Refused('forged')
      return finish(content, keyId, k.issuer, signingKeyId)
    }
    if (candidates.length > 0) throw new Refused('forged')
    // The time must not tell which signing keys are known.
    if (signers[0]) await signers[0].verify(signature, signedData(realm, signers[0].issuer, to.hash, payload))
    throw new Refused('unknown_issuer')
  }

  async function open(ticket: string): Promise<Ticket> {
    if (bytes(ticket).length > longest) throw new Refused('malformed')
    const version = /^tkt([1-9][0-9]{0,2})_/.exec(ticket)
    if (version === null) throw new Refused('malformed')
    const isSigned = version[1] === '2' && recipients.size > 0
    if (version[1] !== '1' && !isSigned) throw new Refused('unsupported_version')
    const sealed = unbase64url(ticket.slice(5))
    if (sealed === undefined) throw new Refused('malformed')
    if (sealed.length < 5 || sealed[0] !== 1) throw new Refused('malformed')
    const keyId = hex(sealed.slice(1, 5))
    return isSigned ? openSigned(keyId, sealed.slice(5)) : openSymmetric(keyId, sealed.slice(5))
  }

  function isGranted(t: Ticket, time: number): boolean {
    if (t.issuer === '') return true
    const grant = issuers.find((issuer) => issuer.name === t.issuer)!.grant
    if (grant.until !== undefined && time >= grant.until) return false
    if (grant.brands !== '*' && !grant.brands.includes(t.brand ?? '')) return false
    if (!grant.audiences.includes(t.audience)) return false
    if (t.lifetime > (grant.maxLifetime ?? ordinaryLifetime[t.audience])) return false
    if (!t.oneTimeUse && !grant.manyTimes) return false
    if (t.overrideUserInfo && !grant.override) return false
    return Object.keys(t.claims ?? {}).every((name) => grant.claims?.includes(name))
  }

  const isExpired = (t: Ticket, time: number) => time >= t.issuedAt + t.lifetime + skew

  async function redeem(ticket: string, use: Use): Promise<Ticket> {
    const t = await open(ticket)
    const time = Math.floor(now())
    if (!isGranted(t, time)) throw new Refused('issuer_not_allowed', t)
    if (t.issuedAt > time + skew) throw new Refused('not_yet_valid', t)
    if (isExpired(t, time)) throw new Refused('expired', t)
    if (t.lifetime > maxLifetime) throw new Refused('lifetime_too_long', t)
    if (t.audience === 'administrator' && t.lifetime > 300_000) throw new Refused('lifetime_too_long', t)
    const fits = use.audience === 'any' ? t.audience !== 'administrator' : t.audience === use.audience
    if (!fits) throw new Refused('wrong_audience', t)
    if (brands !== '*' && !brands.includes(t.brand ?? '')) throw new Refused('wrong_brand', t)
    if (t.channel !== undefined && t.channel !== use.channel) throw new Refused('wrong_channel', t)
    if (use.check && !(await use.check(t))) throw new Refused('refused_by_caller', t)
    if (!t.oneTimeUse) return t
    const retain = t.issuedAt + t.lifetime + 3 * skew + 60_000
    if (!(await config.claim(t.nonce, retain))) throw new Refused('already_used', t)
    if (isExpired(t, Math.floor(now()))) throw new Refused('expired', t)
    return t
  }

  return { open, redeem }
}

/* The issuer. */

export interface IssuerConfig {
  realm: string
  keys?: Keyset // for format 1; or, for format 2,
  issuer?: string
  signing?: Keyset // private
  recipient?: Keyset // public
}

/** newIssuer returns a function that makes tickets. */
export async function newIssuer(config: IssuerConfig): Promise<(person: Person, lifetime?: number) => Promise<string>> {
  const { realm, keys, issuer = '', signing, recipient } = config
  let format = 1
  let seal: (payload: Bytes) => Promise<Bytes>
  if (signing && recipient) {
    format = 2
    readName(bytes(issuer))
    const by = primaryOf(signing)
    const to = await newRecipient(primaryOf(recipient))
    const sign = await newSigner(by)
    seal = async (payload) => {
      const signature = await sign(signedData(realm, issuer, to.hash, payload))
      const plain = bytes([1], unhex(by.id), signature, payload)
      return bytes([1], unhex(to.id), await hpkeSeal(to, infoOf(realm), plain))
    }
  } else if (keys) {
    const aead = await newAead(primaryOf(keys))
    seal = (payload) => aead.seal(payload, associatedData(realm))
  } else {
    throw new Error('give keys for format 1, or signing and recipient for format 2')
  }
  return async (person, lifetime = ordinaryLifetime[person.audience]) => {
    for (let again = 0; ; again++) {
      const id = hex(crypto.getRandomValues(new Uint8Array(16)))
      const payload = encodePayload({ ...person, id, issuedAt: Date.now(), lifetime })
      const ticket = `tkt${format}_${base64url(await seal(payload))}`
      if (ticket.length > longest) throw new Error('the ticket would be too long; shorten claims and other fields')
      if (again === 16 || !/[-_]$/.test(ticket)) return ticket // some programs leave such an ending out of a link
    }
  }
}

async function newSigner(k: Key): Promise<(data: Bytes) => Promise<Bytes>> {
  const isEd25519 = k.type === 'Ed25519PrivateKey'
  if (!isEd25519 && k.type !== 'EcdsaPrivateKey') throw new Error(`key ${k.id}: give private signing keys`)
  if (isEd25519) {
    const x = base64url(bytesOf(messageOf(k.fields, 3), 2))
    const jwk = { kty: 'OKP', crv: 'Ed25519', d: base64url(bytesOf(k.fields, 2)), x }
    const key = await subtle.importKey('jwk', jwk, { name: 'Ed25519' }, false, ['sign'])
    return async (data) => new Uint8Array(await subtle.sign({ name: 'Ed25519' }, key, data))
  }
  const point = messageOf(k.fields, 2)
  const [x, y] = [base64url(last32(bytesOf(point, 3))), base64url(last32(bytesOf(point, 4)))]
  const jwk = { kty: 'EC', crv: 'P-256', d: base64url(last32(bytesOf(k.fields, 3))), x, y }
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
  const key = await subtle.importKey('jwk', jwk, algorithm, false, ['sign'])
  return async (data) => new Uint8Array(await subtle.sign(algorithm, key, data))
}
