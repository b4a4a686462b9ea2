// VP8 (RFC 7741) and VP9 (RFC 9628): packets become frames.

import { joined } from './nal.js'

/** Puts frames together. */
export class Vpx {
  constructor({ name, parameters }) {
    this.skip = name === 'VP8' ? vp8 : vp9
    this.isKeyOf = name === 'VP8' ? data => (data[0] & 1) === 0 : data => vp9IsKey(data[0])
    const profile = String(parameters['profile-id'] ?? 0).padStart(2, '0')
    this.codec = name === 'VP8' ? 'vp8' : `vp09.${profile}.10.08`
    this.parts = []
    this.isBroken = false
  }

  /** Takes a packet; the frames that are complete by it. */
  push({ payload, marker, time, isGap }) {
    if (isGap) this.isBroken = true
    this.parts.push(payload.slice(this.skip(payload)))
    if (!marker) return []
    const data = joined(this.parts)
    const isKey = data.length > 0 && this.isKeyOf(data)
    const frame = { data, time, isKey, isBroken: this.isBroken && !isKey, codec: this.codec }
    ;[this.parts, this.isBroken] = [[], false]
    return data.length > 0 ? [frame] : []
  }
}

/** Length of the descriptor (RFC 7741 section 4.2). */
function vp8(payload) {
  let at = 1
  if (payload[0] & 0x80) {
    const more = payload[at++]
    if (more & 0x80) at += payload[at] & 0x80 ? 2 : 1
    if (more & 0x40) at++
    if (more & 0x30) at++
  }
  return at
}

/** Length of the descriptor (RFC 9628 section 4.2). */
function vp9(payload) {
  const flags = payload[0]
  let at = 1
  if (flags & 0x80) at += payload[at] & 0x80 ? 2 : 1
  if (flags & 0x20) at += flags & 0x10 ? 1 : 2
  if ((flags & 0x50) === 0x50) {
    while (payload[at++] & 1);
  }
  if (flags & 0x02) {
    const structure = payload[at++]
    if (structure & 0x10) at += 4 * ((structure >> 5) + 1)
    if (structure & 0x08) {
      for (let left = payload[at++]; left > 0; left--) at += 1 + ((payload[at] >> 2) & 3)
    }
  }
  return at
}

/** Behind the marker and the profile: shows no earlier frame, and is a key (VP9 bitstream section 6.2). */
function vp9IsKey(first) {
  const profile = ((first >> 5) & 1) | ((first >> 3) & 2)
  const bits = profile === 3 ? first << 1 : first
  return (bits & 0x08) === 0 && (bits & 0x04) === 0
}
