// What this browser can play, and what is asked from the server where it cannot.
//
// Browsers have their decoders (WebCodecs) on secure pages only: by HTTPS, or on the machine itself. Elsewhere the server is
// asked for pictures in JPEG, which every page can show, and for sound in G.711, which needs no decoder.

import { Aac, Frames } from './aac.js'
import { TemporalUnits } from './av1.js'
import { Pictures } from './jpeg.js'
import { Units } from './nal.js'
import { PLAIN, described } from './speaker.js'
import { Vpx } from './vpx.js'

const VIDEO = { H264: Units, H265: Units, AV1: TemporalUnits, VP8: Vpx, VP9: Vpx, JPEG: Pictures }
const SOUND = { 'MPEG4-GENERIC': Aac, OPUS: Frames, PCMU: Frames, PCMA: Frames, L16: Frames }
const SAMPLES = { H264: 'avc1.42c01f', H265: 'hev1.1.6.L93.B0', AV1: 'av01.0.08M.08', VP8: 'vp8', VP9: 'vp09.00.10.08' }

/** Whether this page has decoders. */
export const hasDecoders = () => typeof VideoDecoder !== 'undefined' && typeof AudioDecoder !== 'undefined'

/** What puts the access units of a format together. */
export function assembler(kind, format) {
  return new (kind === 'video' ? VIDEO : SOUND)[format.name](format)
}

/** Whether pictures of a format can be shown. */
export async function canShow(format) {
  if (format.name === 'JPEG') return true
  if (!VIDEO[format.name] || !hasDecoders()) return false
  const codec = new VIDEO[format.name](format).codec ?? SAMPLES[format.name]
  return (await VideoDecoder.isConfigSupported({ codec }).catch(() => null))?.supported === true
}

/** Whether sound of a format can be heard. */
export async function canHear(format) {
  if (PLAIN[format.name]) return true
  if (!SOUND[format.name] || !hasDecoders()) return false
  if (format.name === 'MPEG4-GENERIC' && format.parameters.mode?.toLowerCase() !== 'aac-hbr') return false
  return (await AudioDecoder.isConfigSupported(described(format)).catch(() => null))?.supported === true
}

/** The formats to ask for in place of one that cannot be shown or was not decoded, in this order. */
export const videoInstead = () => (hasDecoders() ? ['H264', 'JPEG'] : ['JPEG'])

/** The formats to ask for in place of one that cannot be heard; `NONE` is silence. */
export const soundInstead = () => (hasDecoders() ? ['AAC', 'G711U', 'NONE'] : ['G711U', 'NONE'])
