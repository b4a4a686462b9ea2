// The URLs of a stream, for every way that leads to it from here.

import { about, encoded } from './api.js'

const host = () => location.hostname.includes(':') && !location.hostname.startsWith('[') ? `[${location.hostname}]` : location.hostname
const at = (port, usual) => (port === usual ? host() : `${host()}:${port}`)

/** Where this page's own WebSocket is. */
export function socket() {
  return `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/websocket`
}

/** Whether the server lets it in. */
export const mayPlay = () => (location.protocol === 'https:' ? about.https : about.http)

/** The URL that is asked for in RTSP, with parameters such as `ve=H264`. */
export function rtsp(path, parameters = []) {
  return withParameters(`rtsp://${at(about.ports.rtsp ?? 554, 554)}/${encoded(path)}`, parameters)
}

/** All of them, by name. */
export function all(path) {
  const { ports } = about
  const name = encoded(path)
  const list = []
  const add = (label, url, note) => list.push({ label, url, note })
  if (ports.rtsp) add('RTSP', `rtsp://${at(ports.rtsp, 554)}/${name}`, 'over UDP or TCP')
  if (ports.rtsp && about.multicast) add('Multicast', `rtsp://${at(ports.rtsp, 554)}/${name}?t=multicast`, 'one copy for a whole network')
  if (ports.rtsps) add('RTSPS', `rtsps://${at(ports.rtsps, 322)}/${name}`, 'in TLS')
  if (ports.http && about.http) add('HTTP tunnel', `rtsp://${host()}:${ports.http}/${name}`, 'ffplay -rtsp_transport http')
  if (ports.https && about.https) add('HTTPS tunnel', `rtsp://${host()}:${ports.https}/${name}`, 'ffplay -rtsp_transport https')
  if (ports.http && about.http) add('WebSocket', `ws://${at(ports.http, 80)}/websocket`, 'for the RTSP URL, in a web page')
  if (ports.https && about.https) add('WebSocket in TLS', `wss://${at(ports.https, 443)}/websocket`, 'for the RTSP URL, in a web page')
  if (about.api !== 'closed') add('Still', `${location.origin}/api/v1/snapshot/${name}.jpg`, 'the last keyframe')
  return list
}

function withParameters(url, parameters) {
  if (parameters.length === 0) return url
  return `${url}${url.includes('?') ? '&' : '?'}${parameters.join('&')}`
}
