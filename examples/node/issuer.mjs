// A backend that knows its users. It asks ticketd for a ticket and sends the browser
// to the login service with the ticket. Needs Node 18 or later, and no packages.
// Environment: PORT, TICKETD (its URL), API_KEY (scope issue), LOGIN_URL.
import { createServer } from 'node:http'

const { PORT, TICKETD, API_KEY, LOGIN_URL } = process.env
if (!(PORT && TICKETD && API_KEY && LOGIN_URL)) throw new Error('set PORT, TICKETD, API_KEY and LOGIN_URL')

async function ticketFor(user) {
  const answer = await fetch(`${TICKETD}/auth/ticket`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${API_KEY}`, 'Content-Type': 'application/json' },
    body: JSON.stringify({ data: { ...user, oneTimeUse: true } }),
  })
  const { description, data } = await answer.json()
  if (!answer.ok) throw new Error(`${answer.status}: ${description}`)
  return data.encpryptedString // spelt so
}

// Take the person from your own session here.
const user = () => ({ brand: 'commbox', username: 'john.d', email: 'john.d@gmail.com' })

createServer(async (request, response) => {
  try {
    const ticket = await ticketFor(user(request))
    response.writeHead(303, { Location: `${LOGIN_URL}?ta=${ticket}`, 'Cache-Control': 'no-store', 'Referrer-Policy': 'no-referrer' })
    response.end()
  } catch (error) {
    console.error(error.message, error.cause ?? '') // no ticket came, so none is logged
    response.writeHead(502, { 'Content-Type': 'text/plain' })
    response.end('Cannot sign you in now. Try again later.\n')
  }
}).listen(PORT, '127.0.0.1')
