// The API, and who asks it.
//
// Where it wants a password, this page answers by itself: the browser's own dialogue knows nothing of RTSP, which wants the
// same one. A nonce is for one connection, so that requests leave one after the other then, and another one is taken when
// the browser has changed the connection.

import { Challenge } from './digest.js'

/** What the server is for this client; see `load`. */
export let about = null

/** Name and password; null as long as nobody has logged in. They are forgotten with the page. */
export let credentials = null

let challenge = null
let last = Promise.resolve()

/** An answer that is no success: `status`, and `detail` for people. */
export class Refusal extends Error {
  constructor(status, problem) {
    super(problem?.detail ?? `the server answers ${status}`)
    this.status = status
    this.problem = problem
  }
}

/** Finds out what the server is. */
export async function load() {
  about = await (await fetch('/page/server.json', { cache: 'no-store' })).json()
}

/** Remembers who asks from now on; null forgets it. */
export function logIn(user, password) {
  credentials = user === null ? null : { user, password }
  challenge = null
}

/** Whether it is of use to ask the API at all. */
export function mayAsk() {
  return about.api === 'open' || (about.api === 'log-in' && credentials !== null)
}

/** What is at a path below `/api/v1`. */
export async function get(path) {
  return (await ask('GET', path)).json()
}

/** A picture, as a URL that has to be given back by `URL.revokeObjectURL`. */
export async function picture(path) {
  return URL.createObjectURL(await (await ask('GET', path)).blob())
}

/** Changes something; the answer, or null when it has no body. */
export async function send(method, path, body) {
  const response = await ask(method, path, body)
  return response.status === 204 ? null : response.json().catch(() => null)
}

async function ask(method, path, body) {
  if (about.api !== 'log-in') return checked(await request(method, path, body))
  const turn = last.then(() => askKnown(method, path, body))
  last = turn.catch(() => {})
  return turn
}

/** Asks as somebody whose password is known. */
async function askKnown(method, path, body) {
  let response
  for (let attempt = 0; attempt < 6; attempt++) {
    const answer = credentials && challenge?.answer(credentials, method, `/api/v1/${path}`)
    response = await request(method, path, body, answer ? { Authorization: answer } : {})
    if (response.status !== 401 || !credentials) break
    const offered = Challenge.of(response.headers.get('WWW-Authenticate') ?? '')
    const isWrong = answer && offered?.parameters.stale?.toLowerCase() !== 'true'
    challenge = offered
    if (isWrong || !offered) break
  }
  return checked(response)
}

function request(method, path, body, headers = {}) {
  const type = body === undefined ? {} : { 'Content-Type': 'application/xml' }
  // Without `credentials` the browser asks nobody for a password.
  return fetch(`/api/v1/${path}`, { method, body, credentials: 'omit', cache: 'no-store', headers: { ...type, ...headers } })
}

async function checked(response) {
  if (response.ok) return response
  throw new Refusal(response.status, await response.json().catch(() => null))
}

/** A path as it stands in a URL: its slashes stay. Devices are named by letters that stand for themselves. */
export function encoded(path) {
  return path.split('/').map(encodeURIComponent).join('/').replaceAll('%2B', '+')
}
