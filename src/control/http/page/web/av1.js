// AV1 (AOM's "RTP Payload Format For AV1"): packets become temporal units whose OBUs tell their size.

import { joined } from './nal.js'

const SEQUENCE_HEADER = 1
const TEMPORAL_DELIMITER = 2

/** Puts temporal units together. */
export class TemporalUnits {
  constructor() {
    this.codec = null
    this.obus = []
    this.fragment = null
    this.isBroken = false
  }

  /** Takes a packet; the temporal units that are complete by it. */
  push({ payload, marker, time, isGap }) {
    if (isGap) [this.isBroken, this.fragment] = [true, null]
    this.take(payload)
    if (!marker) return []
    const isKey = this.obus.some(obu => ((obu[0] >> 3) & 15) === SEQUENCE_HEADER)
    const data = joined([new Uint8Array([TEMPORAL_DELIMITER << 3 | 2, 0]), ...this.obus.flatMap(sized)])
    const unit = { data, time, isKey, isBroken: this.isBroken && !isKey, codec: this.named() }
    ;[this.obus, this.isBroken] = [[], false]
    return [unit]
  }

  take(payload) {
    const head = payload[0]
    const count = (head >> 4) & 3
    const elements = []
    for (let at = 1; at < payload.length;) {
      let length = payload.length - at
      if (count === 0 || elements.length < count - 1) [length, at] = leb128(payload, at)
      elements.push(payload.slice(at, at + length))
      at += length
    }
    elements.forEach((element, index) => {
      const isLast = index === elements.length - 1
      let obu = element
      if (index === 0 && head & 0x80) {
        if (!this.fragment) return
        obu = joined([this.fragment, element])
        this.fragment = null
      }
      if (isLast && head & 0x40) this.fragment = obu
      else if (obu.length > 0 && ((obu[0] >> 3) & 15) !== TEMPORAL_DELIMITER) this.obus.push(obu)
    })
  }

  named() {
    const header = this.obus.find(obu => ((obu[0] >> 3) & 15) === SEQUENCE_HEADER)
    // The level only tells how large it may be.
    if (header) this.codec = `av01.${header[(header[0] & 4 ? 2 : 1) + (header[0] & 2 ? 1 : 0)] >> 5}.13M.08`
    return this.codec
  }
}

/** An OBU with its size, whether it had one or not. */
function sized(obu) {
  if (obu[0] & 2) return [obu]
  const head = obu[0] & 4 ? 2 : 1
  const size = []
  for (let rest = obu.length - head; ;) {
    size.push(rest > 127 ? (rest & 127) | 128 : rest)
    rest >>= 7
    if (rest === 0) break
  }
  const first = obu.slice(0, head)
  first[0] |= 2
  return [first, new Uint8Array(size), obu.subarray(head)]
}

function leb128(bytes, at) {
  let value = 0
  for (let shift = 0; at < bytes.length; shift += 7) {
    const byte = bytes[at++]
    value |= (byte & 127) << shift
    if (!(byte & 128)) break
  }
  return [value, at]
}
