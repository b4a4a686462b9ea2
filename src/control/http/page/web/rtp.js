// One track as it arrives (RFC 3550): packets in order, what is missing, and reports both ways.

/** The packets of a track. */
export class Track {
  constructor(clock) {
    this.clock = clock
    this.ssrc = null
    this.next = null
    this.first = 0
    this.packets = 0
    this.lost = 0
    this.bytes = 0
    this.base = null
    this.last = 0
    this.ticks = 0
  }

  /** Content time zero has this timestamp, as the answer to PLAY tells it. */
  anchor(timestamp) {
    this.base = this.last = timestamp
    this.ticks = 0
  }

  /** Takes a packet: its payload, marker, content time in seconds, and whether others before it are missing. */
  take(bytes) {
    if (bytes.length < 12 || bytes[0] >> 6 !== 2) return null
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    const sequence = view.getUint16(2)
    let start = 12 + 4 * (bytes[0] & 15)
    if (bytes[0] & 0x10) start += 4 + 4 * view.getUint16(start + 2)
    const end = bytes[0] & 0x20 ? bytes.length - bytes[bytes.length - 1] : bytes.length
    if (start > end) return null
    const isOther = this.ssrc !== view.getUint32(8)
    if (isOther) {
      this.ssrc = view.getUint32(8)
      this.next = null
      this.first = sequence
    }
    const missing = this.next === null ? 0 : (sequence - this.next) & 0xffff
    // Nothing is overtaken on one connection: what seems to come late belongs to another count.
    if (missing < 0x8000) this.lost += missing
    this.next = (sequence + 1) & 0xffff
    this.packets++
    this.bytes += bytes.length
    return {
      payload: bytes.subarray(start, end),
      marker: (bytes[1] & 0x80) !== 0,
      type: bytes[1] & 0x7f,
      timestamp: view.getUint32(4),
      time: this.time(view.getUint32(4)),
      isGap: missing !== 0,
    }
  }

  /** Content time of a timestamp, in seconds; timestamps wrap. */
  time(timestamp) {
    if (this.base === null) this.anchor(timestamp)
    this.ticks += (timestamp - this.last) | 0
    this.last = timestamp
    return this.ticks / this.clock
  }

  /** A receiver report (RFC 3550 section 6.4.2): so the server can tell how well it arrives. */
  report(own) {
    const view = new DataView(new ArrayBuffer(32))
    view.setUint32(0, 0x81c90007)
    view.setUint32(4, own)
    view.setUint32(8, this.ssrc ?? 0)
    view.setUint32(12, Math.min(this.lost, 0x7fffff))
    view.setUint32(16, this.packets + this.lost + this.first - 1)
    return new Uint8Array(view.buffer)
  }
}

/** What a packet of RTCP says: the timestamp of this moment, and whether it is the end. */
export function control(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const said = { timestamp: null, isEnd: false }
  for (let at = 0; at + 8 <= bytes.length; at += 4 + 4 * view.getUint16(at + 2)) {
    if (bytes[at + 1] === 200 && at + 20 <= bytes.length) said.timestamp = view.getUint32(at + 16)
    if (bytes[at + 1] === 203) said.isEnd = true
  }
  return said
}
