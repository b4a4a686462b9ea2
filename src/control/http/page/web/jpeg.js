// JPEG (RFC 2435): packets become files again, with the headers that RTP leaves out.

import { joined } from './nal.js'

// The tables of RFC 2435 appendix A, in the order of zigzag, and B.
const LUMA = [16, 11, 12, 14, 12, 10, 16, 14, 13, 14, 18, 17, 16, 19, 24, 40, 26, 24, 22, 22, 24, 49, 35, 37, 29, 40, 58, 51, 61, 60,
  57, 51, 56, 55, 64, 72, 92, 78, 64, 68, 87, 69, 55, 56, 80, 109, 81, 87, 95, 98, 103, 104, 103, 62, 77, 113, 121, 112, 100, 120,
  92, 101, 103, 99]
const CHROMA = [17, 18, 18, 24, 21, 24, 47, 26, 26, 47, 99, 66, 56, 66, ...new Array(50).fill(99)]
const DC_LUMA = [0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0]
const DC_CHROMA = [0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0]
const DC_VALUES = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
const AC_LUMA = [0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 0x7d]
const AC_LUMA_VALUES = '01020300041105122131410613516107227114328191a1082342b1c11552d1f02433627282090a161718191a25262728292a3435363738393a434445464748494a535455565758595a636465666768696a737475767778797a838485868788898a92939495969798999aa2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae1e2e3e4e5e6e7e8e9eaf1f2f3f4f5f6f7f8f9fa'
const AC_CHROMA = [0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 0x77]
const AC_CHROMA_VALUES = '0001020311040521310612415107617113223281081442 91a1b1c109233352f0156272d10a162434e125f11718191a262728292a35363738393a434445464748494a535455565758595a636465666768696a737475767778797a82838485868788898a92939495969798999aa2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae2e3e4e5e6e7e8e9eaf2f3f4f5f6f7f8f9fa'.replace(' ', '')
const unhex = text => text.match(/../g).map(pair => parseInt(pair, 16))

/** The mark at the end of a file. */
const END = new Uint8Array([0xff, 0xd9])

/** Puts files together. */
export class Pictures {
  constructor({ width, height }) {
    this.codec = 'jpeg'
    // What is too large for the header stands in the description.
    this.told = [width, height]
    this.parts = []
    this.tables = new Map()
    this.head = null
    this.isBroken = false
  }

  /** Takes a packet; the picture that is complete by it. */
  push({ payload, marker, time, isGap }) {
    if (isGap) this.isBroken = true
    this.take(payload)
    if (!marker) return []
    const { head, parts, isBroken } = this
    ;[this.head, this.parts, this.isBroken] = [null, [], false]
    // Of a damaged picture nothing is shown: the next one is as good.
    return head && !isBroken ? [{ data: joined([head, ...parts, END]), time, isKey: true, isBroken: false, codec: this.codec }] : []
  }

  take(payload) {
    const view = new DataView(payload.buffer, payload.byteOffset, payload.length)
    const offset = view.getUint32(0) & 0xffffff
    const [type, quality, columns, lines] = payload.subarray(4, 8)
    let at = 8
    let restart = 0
    if (type & 0x40) {
      restart = view.getUint16(at)
      at += 4
    }
    if (offset === 0) {
      let tables = quality < 128 ? scaled(quality) : this.tables.get(quality)
      if (quality >= 128) {
        const length = view.getUint16(at + 2)
        if (length > 0) tables = payload.slice(at + 4, at + 4 + length)
        if (length > 0 && quality < 255) this.tables.set(quality, tables)
        at += 4 + length
      }
      const [width, height] = [columns * 8 || this.told[0], lines * 8 || this.told[1]]
      const [told, own] = [this.told, [width, height]]
      // Eight lines too many are better than a size that is cut.
      const size = told[0] && told[0] <= own[0] && own[0] - told[0] < 8 ? told : own
      this.head = tables && size[0] ? header(type & 1, size, tables, restart) : null
      this.parts = []
    }
    this.parts.push(payload.slice(at))
  }
}

function scaled(quality) {
  const factor = quality < 50 ? Math.floor(5000 / quality) : 200 - 2 * quality
  return Uint8Array.from([...LUMA, ...CHROMA], value => Math.min(255, Math.max(1, Math.floor((value * factor + 50) / 100))))
}

function header(type, [width, height], tables, restart) {
  const out = [0xff, 0xd8]
  const segment = (mark, ...bytes) => out.push(0xff, mark, (bytes.length + 2) >> 8, (bytes.length + 2) & 255, ...bytes)
  const wide = number => [number >> 8, number & 255]
  const [luma, chroma] = [tables.subarray(0, 64), tables.length >= 128 ? tables.subarray(64, 128) : tables.subarray(0, 64)]
  segment(0xdb, 0, ...luma)
  segment(0xdb, 1, ...chroma)
  if (restart) segment(0xdd, ...wide(restart))
  segment(0xc0, 8, ...wide(height), ...wide(width), 3, 1, type === 0 ? 0x21 : 0x22, 0, 2, 0x11, 1, 3, 0x11, 1)
  segment(0xc4, 0x00, ...DC_LUMA, ...DC_VALUES)
  segment(0xc4, 0x10, ...AC_LUMA, ...unhex(AC_LUMA_VALUES))
  segment(0xc4, 0x01, ...DC_CHROMA, ...DC_VALUES)
  segment(0xc4, 0x11, ...AC_CHROMA, ...unhex(AC_CHROMA_VALUES))
  segment(0xda, 3, 1, 0x00, 2, 0x11, 3, 0x11, 0, 63, 0)
  return Uint8Array.from(out)
}
