// node exchange.mjs MODULE: reads {"issue": [{config, person}], "open": [{config, ticket}]} from standard input, and
// prints {"issued": [ticket], "opened": [content]}.
import { webcrypto } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'

globalThis.crypto ??= webcrypto // Node 18
const module = await import(pathToFileURL(process.argv[2]))
const { issue, open } = JSON.parse(readFileSync(0, 'utf8'))
const [issued, opened] = [[], []]
const use = { audience: 'any', channel: 'web' }
for (const { config, person } of issue) issued.push(await (await module.newIssuer(config))(person))
for (const { config, ticket } of open) {
  const verifier = await module.newVerifier({ ...config, claim: async () => true })
  const { keyId, issuer, signingKeyId, nonce, ...content } = await verifier.redeem(ticket, use)
  opened.push(content)
}
console.log(JSON.stringify({ issued, opened }))
