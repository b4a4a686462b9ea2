// SHA-256 (FIPS 180-4), for Digest: the browser's own is there on secure pages only.

const primes = []
for (let number = 2; primes.length < 64; number++) {
  if (primes.every(prime => number % prime !== 0)) primes.push(number)
}
const fraction = root => Math.floor((root - Math.floor(root)) * 2 ** 32) | 0
const START = primes.slice(0, 8).map(prime => fraction(Math.sqrt(prime)))
const ROUNDS = primes.map(prime => fraction(Math.cbrt(prime)))

/** The hash of a text, in hexadecimal. */
export function sha256(text) {
  const bytes = new TextEncoder().encode(text)
  const padded = new DataView(new ArrayBuffer(((bytes.length + 72) >> 6) << 6))
  bytes.forEach((byte, index) => padded.setUint8(index, byte))
  padded.setUint8(bytes.length, 0x80)
  padded.setUint32(padded.byteLength - 8, bytes.length >>> 29)
  padded.setUint32(padded.byteLength - 4, bytes.length << 3)
  let state = START
  for (let at = 0; at < padded.byteLength; at += 64) state = block(state, padded, at)
  return state.map(word => (word >>> 0).toString(16).padStart(8, '0')).join('')
}

const turn = (word, by) => (word >>> by) | (word << (32 - by))

function block(state, view, at) {
  const words = Array.from({ length: 16 }, (_, index) => view.getInt32(at + 4 * index))
  for (let index = 16; index < 64; index++) {
    const [a, b] = [words[index - 15], words[index - 2]]
    const small = turn(a, 7) ^ turn(a, 18) ^ (a >>> 3)
    const large = turn(b, 17) ^ turn(b, 19) ^ (b >>> 10)
    words[index] = (words[index - 16] + small + words[index - 7] + large) | 0
  }
  let [a, b, c, d, e, f, g, k] = state
  for (let index = 0; index < 64; index++) {
    const first = (k + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + ((e & f) ^ (~e & g)) + ROUNDS[index] + words[index]) | 0
    const second = ((turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) | 0
    ;[k, g, f, e, d, c, b, a] = [g, f, e, (d + first) | 0, c, b, a, (first + second) | 0]
  }
  return [a, b, c, d, e, f, g, k].map((word, index) => (word + state[index]) | 0)
}
