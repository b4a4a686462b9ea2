// Numbers and names as people read them.

/** Bits a second. */
export function rate(bits) {
  if (bits === null || bits === undefined) return '–'
  if (bits >= 1e6) return `${(bits / 1e6).toFixed(bits < 1e7 ? 1 : 0)} Mbit/s`
  return `${Math.round(bits / 1e3)} kbit/s`
}

/** Bytes. */
export function size(bytes) {
  if (bytes === null || bytes === undefined) return '–'
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  let unit = 0
  while (bytes >= 1000 && unit < units.length - 1) [bytes, unit] = [bytes / 1000, unit + 1]
  return `${bytes < 10 && unit > 0 ? bytes.toFixed(1) : Math.round(bytes)} ${units[unit]}`
}

/** A length of time in seconds. */
export function span(seconds) {
  const whole = Math.floor(seconds)
  const [days, hours, minutes] = [Math.floor(whole / 86400), Math.floor(whole / 3600) % 24, Math.floor(whole / 60) % 60]
  const two = number => String(number).padStart(2, '0')
  if (days > 0) return `${days} d ${hours} h`
  return hours > 0 ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`
}

/** So many of something. */
export function count(number, one, many) {
  return `${number} ${number === 1 ? one : many}`
}

const NAMES = {
  'MPEG4-GENERIC': 'AAC', PCMA: 'G.711 A', PCMU: 'G.711 µ', 'MP4V-ES': 'MPEG-4', MPA: 'MP3', OPUS: 'Opus', H264: 'H.264',
  H265: 'H.265', 'VND.ONVIF.METADATA': 'metadata',
}

/** A codec by the name that people know. */
export function codec(name) {
  return NAMES[name.toUpperCase()] ?? name
}

/** What the tracks of a stream carry, in short. */
export function tracks(list) {
  return list.map(track => codec(track.codec)).join(' · ')
}

/** The size of a stream's pictures, with their rate. */
export function picture(list) {
  const video = list.find(track => track.kind === 'video' && track.width)
  if (!video) return ''
  const rate = video.framerate ? ` ${Math.round(video.framerate * 100) / 100} fps` : ''
  return `${video.width}×${video.height}${rate}`
}
