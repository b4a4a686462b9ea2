// RTSP 1.0 over WebSocket (RFC 2326, ONVIF streaming specification section 5.1.1.5): requests, answers, and the media between
// them.

import { Challenge } from './digest.js'

/** How long an answer may take. */
const PATIENCE_MS = 20_000

/** An answer that is no success. */
export class Refused extends Error {
  constructor(status, reason) {
    super(`${status} ${reason}`)
    this.status = status
  }
}

/** One connection. */
export class Connection {
  /** `onmedia(channel, bytes)` gets what comes between answers, `onclose(reason)` the end. */
  constructor({ onmedia, onclose, credentials }) {
    this.onmedia = onmedia
    this.onclose = onclose
    this.credentials = credentials
    this.challenge = null
    this.waiting = new Map()
    this.count = 0
    this.session = null
    this.unread = new Uint8Array(0)
    this.received = 0
  }

  /** Opens it; fails when the server does not let it in. */
  open(url) {
    return new Promise((resolve, reject) => {
      const socket = this.socket = new WebSocket(url, 'rtsp.onvif.org')
      socket.binaryType = 'arraybuffer'
      socket.onopen = resolve
      socket.onmessage = event => this.take(new Uint8Array(event.data))
      socket.onclose = () => {
        reject(new Error('the server cannot be reached by WebSocket'))
        this.end('the connection was closed')
      }
    })
  }

  /** Asks for something, as who has logged in where that is wanted. */
  async request(method, url, headers = {}) {
    const authorization = this.challenge?.answer(this.credentials, method, url)
    const answer = await this.exchange(method, url, authorization ? { ...headers, Authorization: authorization } : headers)
    if (answer.status !== 401) return checked(answer)
    const offered = Challenge.of(answer.all('www-authenticate').join(', '))
    const isStale = offered?.parameters.stale?.toLowerCase() === 'true'
    if (!this.credentials || !offered || (authorization && !isStale)) return checked(answer)
    this.challenge = offered
    const again = offered.answer(this.credentials, method, url)
    return checked(await this.exchange(method, url, { ...headers, Authorization: again }))
  }

  /** Sends bytes on a channel. */
  send(channel, bytes) {
    if (this.socket?.readyState !== WebSocket.OPEN) return
    const frame = new Uint8Array(4 + bytes.length)
    frame.set([0x24, channel, bytes.length >> 8, bytes.length & 255])
    frame.set(bytes, 4)
    this.socket.send(frame)
  }

  /** Leaves without waiting for an answer. */
  close(url) {
    if (this.session && url && this.socket?.readyState === WebSocket.OPEN) {
      this.exchange('TEARDOWN', url, {}).catch(() => {})
    }
    this.onclose = this.onmedia = () => {}
    this.socket?.close()
  }

  exchange(method, url, headers) {
    return new Promise((resolve, reject) => {
      if (this.socket?.readyState !== WebSocket.OPEN) return reject(new Error('the connection was closed'))
      const number = ++this.count
      const late = setTimeout(() => {
        this.waiting.delete(number)
        reject(new Error('the server does not answer'))
      }, PATIENCE_MS)
      this.waiting.set(number, { resolve, reject, late })
      const all = { CSeq: number, 'User-Agent': 'Ringcaster page', ...headers }
      if (this.session) all.Session = this.session
      const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`)
      this.socket.send(new TextEncoder().encode(`${method} ${url} RTSP/1.0\r\n${lines.join('')}\r\n`))
    })
  }

  /** Takes bytes as they come: a frame of media or an answer may begin anywhere in them. */
  take(bytes) {
    this.received += bytes.length
    let all = bytes
    if (this.unread.length > 0) {
      all = new Uint8Array(this.unread.length + bytes.length)
      all.set(this.unread)
      all.set(bytes, this.unread.length)
    }
    let at = 0
    while (at < all.length) {
      const end = all[at] === 0x24 ? this.takeMedia(all, at) : this.takeAnswer(all, at)
      if (end === null) break
      at = end
    }
    this.unread = all.slice(at)
  }

  takeMedia(all, at) {
    if (at + 4 > all.length) return null
    const end = at + 4 + (all[at + 2] << 8 | all[at + 3])
    if (end > all.length) return null
    this.onmedia(all[at + 1], all.subarray(at + 4, end))
    return end
  }

  takeAnswer(all, at) {
    let head = at
    while (!(all[head] === 13 && all[head + 1] === 10 && all[head + 2] === 13 && all[head + 3] === 10)) {
      if (++head + 3 >= all.length) return null
    }
    const [first, ...lines] = new TextDecoder().decode(all.subarray(at, head)).split('\r\n')
    const headers = lines.map(line => {
      const colon = line.indexOf(':')
      return [line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim()]
    })
    const every = name => headers.filter(([known]) => known === name).map(([, value]) => value)
    const body = head + 4
    const end = body + Number(every('content-length')[0] ?? 0)
    if (end > all.length) return null
    const [, status, reason] = first.match(/^RTSP\/\d\.\d (\d{3}) ?(.*)$/) ?? []
    const waiting = this.waiting.get(Number(every('cseq')[0]))
    // What is no answer is a request of the server's, of which there are none that matter here.
    if (status && waiting) {
      this.waiting.delete(Number(every('cseq')[0]))
      clearTimeout(waiting.late)
      const text = new TextDecoder().decode(all.subarray(body, end))
      waiting.resolve({ status: Number(status), reason, all: every, first: name => every(name)[0], text })
    }
    return end
  }

  end(reason) {
    for (const { reject, late } of this.waiting.values()) {
      clearTimeout(late)
      reject(new Error(reason))
    }
    this.waiting.clear()
    this.onclose(reason)
  }
}

function checked(answer) {
  if (answer.status >= 200 && answer.status < 300) return answer
  throw new Refused(answer.status, answer.reason)
}
