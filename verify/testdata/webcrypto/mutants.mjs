// node mutants.mjs TESTDATA MODULE MUTANTS: runs each faulty form of the module. A mutant that is caught names a
// vector that differs; a mutant that survives agrees with all vectors. With a fourth argument it prints instead, for
// each mutant, the vectors that differ.
import { readFileSync } from 'node:fs'
import { differs, readVectors } from './runner.mjs'

const [testdata, path, table, find] = process.argv.slice(2)
const source = readFileSync(path, 'utf8')
const vectors = readVectors(testdata)
const counts = { caught: 0, survived: 0 }
for (const { what, from, to, caught, survives } of JSON.parse(readFileSync(table, 'utf8'))) {
  const parts = source.split(from)
  if (parts.length !== 2) {
    console.error(`${what}: ${JSON.stringify(from)} is in the module ${parts.length - 1} times, not once`)
    continue
  }
  const module = await import('data:text/javascript;base64,' + Buffer.from(parts.join(to)).toString('base64'))
  if (find) {
    const all = []
    for (const [name, v] of vectors) if (!['', 'not supported'].includes(await differs(module, v))) all.push(name)
    console.log(JSON.stringify({ what, all }))
  } else if (caught) {
    const difference = vectors.has(caught) ? await differs(module, vectors.get(caught)) : ''
    if (['', 'not supported'].includes(difference)) console.error(`${what}: ${caught} does not catch it`)
    else counts.caught++
  } else if (survives) {
    for (const [name, v] of vectors) {
      if (!['', 'not supported'].includes(await differs(module, v))) console.error(`${what}: ${name} catches it`)
    }
    counts.survived++
  } else {
    console.error(`${what}: name the vector that catches it, or say why it survives`)
  }
}
if (!find) console.log(JSON.stringify(counts))
