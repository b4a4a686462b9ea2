// Sound that comes in packets of its own: AAC (RFC 3640, AAC-hbr), and whatever has one frame in each packet.

/** Takes AAC apart; what is longer than a packet is put together. */
export class Aac {
  constructor({ clock, parameters }) {
    this.clock = clock
    this.sizeBits = Number(parameters.sizelength ?? 13)
    this.indexBits = Number(parameters.indexlength ?? 3)
    this.parts = []
  }

  /** Takes a packet; the frames that are complete by it. */
  push({ payload, marker, time, isGap }) {
    if (isGap) this.parts = []
    const bits = payload[0] << 8 | payload[1]
    const each = this.sizeBits + this.indexBits
    const count = Math.floor(bits / each)
    let at = 2 + Math.ceil(bits / 8)
    if (count === 1) {
      this.parts.push(payload.slice(at))
      if (!marker) return []
      const data = this.parts.length === 1 ? this.parts[0] : new Uint8Array(this.parts.flatMap(part => [...part]))
      this.parts = []
      return [{ data, time }]
    }
    const out = []
    for (let index = 0; index < count; index++) {
      let size = 0
      for (let bit = index * each; bit < index * each + this.sizeBits; bit++) {
        size = size << 1 | (payload[2 + (bit >> 3)] >> (7 - (bit & 7)) & 1)
      }
      out.push({ data: payload.slice(at, at + size), time: time + index * 1024 / this.clock })
      at += size
    }
    return out
  }
}

/** One frame is one packet. */
export class Frames {
  push({ payload, time }) {
    return [{ data: payload.slice(), time }]
  }
}
