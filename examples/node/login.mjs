// A login service in Node that lets ticketd spend the ticket. Needs Node 18 or later,
// and no packages. Environment: PORT, TICKETD (its URL), API_KEY (scope redeem).
//
// Sessions are kept in memory: use your own sessions here. In production, run the
// service behind TLS, and give the cookie the attribute Secure and the prefix __Host-.
// Give API_KEY the brand below alone: two brands may have a username in common.
import { createServer } from 'node:http'
import { randomBytes } from 'node:crypto'

const { PORT, TICKETD, API_KEY } = process.env
if (!(PORT && TICKETD && API_KEY)) throw new Error('set PORT, TICKETD and API_KEY')
const brand = 'commbox'
const sessions = new Map()

// redeem spends a ticket. Only status 200 lets the person in; with 503 nobody can tell
// now. If an answer gets lost, redeem repeats the request with the same binding, and
// ticketd gives the same answer.
async function redeem(ticket) {
  const body = JSON.stringify({ ticket, audience: 'agent', binding: randomBytes(16).toString('hex') })
  const headers = { Authorization: `Bearer ${API_KEY}`, 'Content-Type': 'application/json' }
  for (let attempt = 1; ; attempt++) {
    try {
      const answer = await fetch(`${TICKETD}/auth/redeem`, { method: 'POST', headers, body, signal: AbortSignal.timeout(3000) })
      return { ...(await answer.json()), status: answer.status }
    } catch (error) {
      if (attempt < 3) continue
      console.error(error.message, error.cause ?? '')
      return { status: 503 }
    }
  }
}

const looksAhead = (headers) =>
  /prefetch|prerender|preview/i.test(['sec-purpose', 'purpose', 'x-purpose', 'x-moz'].map((name) => headers[name]).join())

// ticketOf returns the ticket of a query, or null, or '' for more tickets than one. Some clients encode it twice.
function ticketOf(query) {
  const tickets = [...query.getAll('ta'), ...query.getAll('TA')]
  if (tickets.length !== 1) return tickets.length ? '' : null
  try {
    return decodeURIComponent(tickets[0])
  } catch {
    return tickets[0]
  }
}

async function answer(request, response) {
  const url = new URL(request.url, 'http://localhost')
  const say = (status, text) => response.writeHead(status, { 'Content-Type': 'text/plain' }).end(text + '\n')
  response.setHeader('Cache-Control', 'no-store')
  response.setHeader('Referrer-Policy', 'no-referrer')
  const ticket = ticketOf(url.searchParams)
  if (ticket === null) {
    const user = sessions.get(/(?:^|; )session=([0-9a-f]{64})(?:;|$)/.exec(request.headers.cookie)?.[1])
    return user ? say(200, `Signed in as ${user}`) : say(403, 'Not signed in')
  }
  // Prefetches and previews spend nothing.
  if (request.method !== 'GET' || looksAhead(request.headers)) return say(503, 'Open this link in a browser')
  const { status, description, data } = ticket ? await redeem(ticket) : { status: 403 }
  if (status === 503) return say(503, 'Cannot check your link now. Try again in a moment.')
  if (status === 403) {
    console.error(`ticket ${data?.ticketId ?? '(not one of ours)'} refused: ${data?.reason ?? 'empty'}`)
    return say(403, 'This link does not work any more')
  }
  if (status !== 200) throw new Error(`ticketd answers ${status}: ${description}`)
  if (data.ticket.brand !== brand) throw new Error('API_KEY is for other brands as well')
  const session = randomBytes(32).toString('hex')
  sessions.set(session, data.agent.username)
  response.setHeader('Set-Cookie', `session=${session}; Path=/; HttpOnly; SameSite=Lax`)
  response.writeHead(303, { Location: url.pathname }).end()
}

createServer((request, response) => {
  answer(request, response).catch((error) => {
    console.error(error.message)
    response.writeHead(500, { 'Content-Type': 'text/plain' }).end('Something went wrong on our side\n')
  })
}).listen(PORT, '127.0.0.1')
