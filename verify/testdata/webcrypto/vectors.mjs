// node vectors.mjs TESTDATA MODULE: runs all vectors, and prints how many agreed and which were not supported.
import { pathToFileURL } from 'node:url'
import { differs, readVectors } from './runner.mjs'

const [testdata, path] = process.argv.slice(2)
const module = await import(pathToFileURL(path))
const notSupported = []
let agreed = 0
for (const [name, v] of readVectors(testdata)) {
  const difference = await differs(module, v)
  if (difference === 'not supported') notSupported.push(name)
  else if (difference === '') agreed++
  else console.error(`${name}: ${difference}`)
}
console.log(JSON.stringify({ agreed, notSupported }))
