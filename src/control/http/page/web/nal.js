// H.264 (RFC 6184) and H.265 (RFC 7798): packets become access units with start codes.

const START = new Uint8Array([0, 0, 0, 1])

const KINDS = {
  H264: {
    head: 1,
    type: unit => unit[0] & 31,
    aggregate: 24,
    fragment: 28,
    whole: (unit, mark) => new Uint8Array([(unit[0] & 0xe0) | (mark & 31)]),
    isKey: type => type === 5,
    isSet: type => type === 7 || type === 8,
    sets: parameters => (parameters['sprop-parameter-sets'] ?? '').split(','),
    codec: unit => unit[0] & 31 && `avc1.${hex(unit.subarray(1, 4))}`,
    first: 7,
  },
  H265: {
    head: 2,
    type: unit => (unit[0] >> 1) & 63,
    aggregate: 48,
    fragment: 49,
    whole: (unit, mark) => new Uint8Array([(unit[0] & 0x81) | ((mark & 63) << 1), unit[1]]),
    isKey: type => type >= 16 && type <= 21,
    isSet: type => type >= 32 && type <= 34,
    sets: ({ 'sprop-vps': vps = '', 'sprop-sps': sps = '', 'sprop-pps': pps = '' }) => `${vps},${sps},${pps}`.split(','),
    codec: h265,
    first: 33,
  },
}

/** Puts access units together. */
export class Units {
  constructor({ name, parameters }) {
    this.kind = KINDS[name]
    this.sets = this.kind.sets(parameters).filter(Boolean).map(bytes)
    this.codec = this.named(this.sets)
    this.units = []
    this.fragment = null
    this.time = null
    this.isBroken = false
  }

  /** Takes a packet; the access units that are complete by it. */
  push({ payload, marker, time, isGap }) {
    const out = []
    if (this.time !== null && time !== this.time && this.units.length > 0) out.push(this.finish())
    if (isGap) [this.isBroken, this.fragment] = [true, null]
    this.time = time
    this.take(payload)
    if (marker && this.units.length > 0) out.push(this.finish())
    return out.filter(Boolean)
  }

  take(payload) {
    const { head, aggregate, fragment } = this.kind
    if (payload.length <= head) return
    const type = this.kind.type(payload)
    if (type === aggregate) {
      for (let at = head; at + 2 < payload.length;) {
        const length = payload[at] << 8 | payload[at + 1]
        this.units.push(payload.slice(at + 2, at + 2 + length))
        at += 2 + length
      }
    } else if (type === fragment) {
      const mark = payload[head]
      if (mark & 0x80) this.fragment = [this.kind.whole(payload, mark)]
      if (!this.fragment) return
      this.fragment.push(payload.slice(head + 1))
      if (mark & 0x40) {
        this.units.push(joined(this.fragment))
        this.fragment = null
      }
    } else {
      this.units.push(payload.slice())
    }
  }

  finish() {
    const { units, time, isBroken } = this
    ;[this.units, this.isBroken] = [[], false]
    const types = units.map(this.kind.type)
    const isKey = types.some(this.kind.isKey)
    const codec = this.named(units)
    if (codec) this.codec = codec
    // Decoders begin with parameter sets, which not every source repeats.
    const before = isKey && !types.includes(this.kind.first) ? this.sets : []
    const data = joined([...before, ...units].flatMap(unit => [START, unit]))
    return { data, time, isKey, isBroken: isBroken && !isKey, codec: this.codec }
  }

  /** The codec as browsers name it, by the parameter set that tells. */
  named(units) {
    const set = units.find(unit => this.kind.type(unit) === this.kind.first)
    return set ? this.kind.codec(set) : null
  }
}

/** Profile, compatibility and level stand behind the unit's head and four bits more (RFC 7798 section 7.1). */
function h265(set) {
  const plain = unescaped(set)
  const [profile, level] = [plain[3], plain[14]]
  const flags = new DataView(plain.buffer, plain.byteOffset).getUint32(4)
  let turned = 0
  for (let bit = 0; bit < 32; bit++) turned |= ((flags >>> bit) & 1) << (31 - bit)
  const rest = [...plain.subarray(8, 14)]
  while (rest.at(-1) === 0) rest.pop()
  const constraints = rest.map(byte => `.${byte.toString(16).toUpperCase()}`).join('')
  const space = ['', 'A', 'B', 'C'][profile >> 6]
  const tier = profile & 0x20 ? 'H' : 'L'
  return `hev1.${space}${profile & 31}.${(turned >>> 0).toString(16).toUpperCase()}.${tier}${level}${constraints}`
}

/** A unit without the bytes that keep start codes out of it. */
function unescaped(unit) {
  return Uint8Array.from([...unit].filter((byte, at) => !(byte === 3 && at > 1 && unit[at - 1] === 0 && unit[at - 2] === 0)))
}

export function joined(parts) {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}

function bytes(base64) {
  return Uint8Array.from(atob(base64), letter => letter.charCodeAt(0))
}

function hex(some) {
  return Array.from(some, byte => byte.toString(16).padStart(2, '0')).join('')
}
