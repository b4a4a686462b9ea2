// The API, and who asks it.
//
// Where it wants a password, this page answers by itself: the browser's own dialogue knows nothing of RTSP, which wants the
// same one. In TLS the password goes along as it is, and requests leave side by side. Else it is Digest: a nonce is for one
// connection, so that requests leave one after the other, and another one is taken when the browser has changed the
// connection. Stills, which may take their time, have a line of their own, so that nothing else waits for them.

import { Challenge } from './digest.js'

/** What the server is for this client; see `load`. */
export let about = null

/** Name and password; null as long as nobody has logged in. They are forgotten with the page. */
export let credentials = null

/** Requests that wait for each other. */
const line = () => ({ challenge: null, last: Promise.resolve() })
let lines = { all: line(), stills: line() }
let isPlain = false
let onchange = () => {}

/** An answer that is no success: `status`, and `detail` for people. */
export class Refusal extends Error {
  constructor(status, problem) {
    super(problem?.detail ?? `the server answers ${status}`)
    this.status = status
    this.problem = problem
  }
}

/** Finds out what the server is; whether it is another one for this client than before. */
export async function load() {
  const before = about
  about = await (await fetch('/page/server.json', { cache: 'no-store' })).json()
  return before === null || ['api', 'why', 'need_auth', 'http', 'https', 'multicast', 'talk'].some(name => before[name] !== about[name]) ||
    JSON.stringify(before.ports) !== JSON.stringify(about.ports)
}

/** Calls a function when the server has become another one for this client: a reload may open and close it. */
export function whenOther(changed) {
  onchange = changed
}

/** Looks whether it has. */
export async function look() {
  try {
    if (await load()) onchange()
  } catch {
    // Whoever asks for something says that nobody answers.
  }
}

/** Remembers who asks from now on; null forgets it. */
export function logIn(user, password) {
  credentials = user === null ? null : { user, password }
  lines = { all: line(), stills: line() }
  isPlain = false
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
  return URL.createObjectURL(await (await ask('GET', path, undefined, lines.stills)).blob())
}

/** Changes something; the answer, or null when it has no body. */
export async function send(method, path, body) {
  const response = await ask(method, path, body)
  return response.status === 204 ? null : response.json().catch(() => null)
}

async function ask(method, path, body, queue = lines.all) {
  try {
    if (about.api !== 'log-in') return checked(await request(method, path, body))
    if (isPlain) return checked(await request(method, path, body, { Authorization: basic() }))
    const turn = queue.last.then(() => askKnown(method, path, body, queue))
    queue.last = turn.catch(() => {})
    return await turn
  } catch (error) {
    // What was open may have been closed, or the other way round.
    if (error instanceof Refusal && [401, 403].includes(error.status)) look()
    throw error
  }
}

/** Asks as somebody whose password is known. */
async function askKnown(method, path, body, queue) {
  let response
  for (let attempt = 0; attempt < 6; attempt++) {
    const answer = isPlain ? basic() : credentials && queue.challenge?.answer(credentials, method, `/api/v1/${path}`)
    response = await request(method, path, body, answer ? { Authorization: answer } : {})
    if (response.status !== 401 || !credentials) break
    const ways = response.headers.get('WWW-Authenticate') ?? ''
    if (!isPlain && location.protocol === 'https:' && /(^|,)\s*Basic\s/i.test(ways)) {
      isPlain = true
      continue
    }
    const offered = Challenge.of(ways)
    const isWrong = answer && offered?.parameters.stale?.toLowerCase() !== 'true'
    queue.challenge = offered
    if (isWrong || !offered) break
  }
  return checked(response)
}

function basic() {
  const bytes = new TextEncoder().encode(`${credentials?.user ?? ''}:${credentials?.password ?? ''}`)
  return `Basic ${btoa(String.fromCharCode(...bytes))}`
}

function request(method, path, body, headers = {}) {
  const type = body === undefined ? {} : { 'Content-Type': body.startsWith('{') ? 'application/json' : 'application/xml' }
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
