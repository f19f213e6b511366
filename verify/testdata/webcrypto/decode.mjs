// node decode.mjs MODULE: reads payloads in hexadecimal, one a line, and prints the content of each in JSON,
// or malformed.
import { readFileSync } from 'node:fs'
import { webcrypto } from 'node:crypto'
import { pathToFileURL } from 'node:url'

globalThis.crypto ??= webcrypto // Node 18
const module = await import(pathToFileURL(process.argv[2]))
const decode = (line) => {
  try {
    return JSON.stringify(module.decodePayload(Uint8Array.from(Buffer.from(line, 'hex'))))
  } catch (error) {
    if (error instanceof module.Refused) return error.reason
    throw error
  }
}
console.log(readFileSync(0, 'utf8').trimEnd().split('\n').map(decode).join('\n'))
