// What a description offers (RFC 8866), as far as a page can use it.

/** The media of a description: kind, direction, where it is controlled, and its formats. */
export function media(text, base) {
  const sections = text.split(/\r?\n(?=m=)/).slice(1)
  return sections.map(section => {
    const lines = section.split(/\r?\n/)
    const [kind, , , ...types] = lines[0].slice(2).split(' ')
    const attributes = name => lines.filter(line => line.startsWith(`a=${name}:`)).map(line => line.slice(name.length + 3))
    const formats = types.map(type => format(Number(type), attributes)).filter(Boolean)
    const control = attributes('control')[0] ?? ''
    return {
      kind,
      formats,
      isBack: lines.includes('a=sendonly'),
      control: /^[a-z]+:\/\//i.test(control) ? control : joined(base, control),
    }
  })
}

/** Where a track is controlled (RFC 2326 appendix C.1.1): behind the base. */
function joined(base, control) {
  if (control === '' || control === '*') return base
  return base.endsWith('/') ? base + control : `${base}/${control}`
}

const FIXED = { 0: 'PCMU/8000', 8: 'PCMA/8000', 10: 'L16/44100/2', 11: 'L16/44100/1', 14: 'MPA/90000', 26: 'JPEG/90000' }

function format(type, attributes) {
  const of = list => list.find(value => value.startsWith(`${type} `))?.slice(String(type).length + 1)
  const map = of(attributes('rtpmap')) ?? FIXED[type]
  if (!map) return null
  const [name, clock, channels] = map.split('/')
  const parameters = {}
  for (const part of (of(attributes('fmtp')) ?? '').split(';')) {
    const [key, ...value] = part.trim().split('=')
    if (key) parameters[key.toLowerCase()] = value.join('=')
  }
  const [width, height] = (attributes('x-dimensions')[0] ?? '').split(',').map(Number)
  return {
    type,
    name: name.toUpperCase(),
    clock: Number(clock),
    channels: Number(channels ?? 1),
    parameters,
    width: width || null,
    height: height || null,
  }
}
