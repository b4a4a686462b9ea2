// Digest (RFC 7616), the same for RTSP and HTTP. The password stays in the page.

import { md5 } from './md5.js'
import { sha256 } from './sha256.js'

const HASHES = { MD5: md5, 'SHA-256': sha256 }

/** One way to log in that a 401 offers. */
export class Challenge {
  /** The best of those that the values of `WWW-Authenticate` offer; null when none is known here. */
  static of(text) {
    const found = [...text.matchAll(/Digest\s+((?:[a-z]+=(?:"(?:[^"\\]|\\.)*"|[^\s,]+)(?:\s*,\s*)?)+)/gi)].map(match => {
      const parameters = {}
      for (const [, name, quoted, plain] of match[1].matchAll(/([a-z]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))/gi)) {
        parameters[name.toLowerCase()] = quoted ?? plain
      }
      return parameters
    })
    const algorithm = parameters => (parameters.algorithm ?? 'MD5').toUpperCase()
    const known = found.filter(parameters => HASHES[algorithm(parameters)])
    const best = known.find(parameters => algorithm(parameters) === 'SHA-256') ?? known[0]
    return best ? new Challenge(best, algorithm(best)) : null
  }

  constructor(parameters, algorithm) {
    this.parameters = parameters
    this.algorithm = algorithm
    this.count = 0
  }

  /** The value of `Authorization` for a request. */
  answer({ user, password }, method, uri) {
    const hash = HASHES[this.algorithm]
    const { realm, nonce, opaque, qop } = this.parameters
    const secret = hash(`${user}:${realm}:${password}`)
    const asked = hash(`${method}:${uri}`)
    const quote = text => `"${text.replace(/["\\]/g, '\\$&')}"`
    const parts = [`username=${quote(user)}`, `realm="${realm}"`, `nonce="${nonce}"`, `uri=${quote(uri)}`]
    if (this.parameters.algorithm) parts.push(`algorithm=${this.parameters.algorithm}`)
    if (opaque !== undefined) parts.push(`opaque="${opaque}"`)
    if (qop) {
      const number = (++this.count).toString(16).padStart(8, '0')
      const own = Array.from(crypto.getRandomValues(new Uint8Array(8)), byte => byte.toString(16).padStart(2, '0')).join('')
      const response = hash([secret, nonce, number, own, 'auth', asked].join(':'))
      parts.push('qop=auth', `nc=${number}`, `cnonce="${own}"`, `response="${response}"`)
    } else {
      parts.push(`response="${hash([secret, nonce, asked].join(':'))}"`)
    }
    return `Digest ${parts.join(', ')}`
  }
}
