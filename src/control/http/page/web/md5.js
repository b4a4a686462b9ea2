// MD5 (RFC 1321), for Digest: browsers have no such function, and old cameras and players know no other.

const SHIFTS = [7, 12, 17, 22, 5, 9, 14, 20, 4, 11, 16, 23, 6, 10, 15, 21]
const SINES = Array.from({ length: 64 }, (_, index) => Math.floor(Math.abs(Math.sin(index + 1)) * 2 ** 32) | 0)

/** The hash of a text, in hexadecimal. */
export function md5(text) {
  const bytes = new TextEncoder().encode(text)
  const padded = new DataView(new ArrayBuffer(((bytes.length + 72) >> 6) << 6))
  bytes.forEach((byte, index) => padded.setUint8(index, byte))
  padded.setUint8(bytes.length, 0x80)
  padded.setUint32(padded.byteLength - 8, bytes.length << 3, true)
  padded.setUint32(padded.byteLength - 4, bytes.length >>> 29, true)
  let state = [0x67452301, 0xefcdab89 | 0, 0x98badcfe | 0, 0x10325476]
  for (let at = 0; at < padded.byteLength; at += 64) state = block(state, padded, at)
  const out = new DataView(new ArrayBuffer(16))
  state.forEach((word, index) => out.setInt32(index * 4, word, true))
  return Array.from(new Uint8Array(out.buffer), byte => byte.toString(16).padStart(2, '0')).join('')
}

function block(state, view, at) {
  let [a, b, c, d] = state
  for (let step = 0; step < 64; step++) {
    const round = step >> 4
    const mixed = [(b & c) | (~b & d), (d & b) | (~d & c), b ^ c ^ d, c ^ (b | ~d)][round]
    const index = [step, 5 * step + 1, 3 * step + 5, 7 * step][round] & 15
    const sum = (a + mixed + SINES[step] + view.getInt32(at + 4 * index, true)) | 0
    const shift = SHIFTS[round * 4 + (step & 3)]
    ;[a, d, c, b] = [d, c, b, (b + ((sum << shift) | (sum >>> (32 - shift)))) | 0]
  }
  return [state[0] + a | 0, state[1] + b | 0, state[2] + c | 0, state[3] + d | 0]
}
