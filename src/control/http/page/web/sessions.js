// Who plays and who publishes, with a button that ends it.

import { get, send } from './api.js'
import { h, keep, notice, say } from './dom.js'
import { rate, span } from './words.js'

/** Sessions that are shown. */
const SHOWN_MAX = 200

/** The list; `refresh()` asks for it anew. */
export function sessions() {
  const rows = h('tbody', { id: 'sessions' })
  const total = h('span', { class: 'hint' })
  const empty = h('p', { class: 'empty' }, 'Nobody plays or publishes.')
  const table = h('table', { hidden: true },
    h('thead', {}, h('tr', {}, ['Stream', 'Client', 'Way', 'Since', 'Rate', 'Lost', 'Round trip', ''].map(name => h('th', { scope: 'col' }, name)))),
    rows)
  return {
    element: h('section', { class: 'card' }, h('h2', {}, 'Sessions ', total), empty, h('div', { class: 'scroll' }, table)),
    async refresh() {
      const { sessions: list, total: count } = await get(`sessions?limit=${SHOWN_MAX}`)
      say(total, count > SHOWN_MAX ? `the first ${SHOWN_MAX} of ${count}` : `${count}`)
      table.hidden = count === 0
      empty.hidden = count > 0
      keep(rows, list, session => session.id, row, refreshRow)
    },
  }
}

function row(session) {
  const cells = ['stream', 'client', 'way', 'since', 'rate', 'lost', 'trip'].map(name => h('td', { 'data-label': name }))
  const kick = h('button', { class: 'danger small', 'aria-label': `End the session of ${session.peer}`, onclick: end }, 'End')
  const element = h('tr', { 'data-id': session.id }, cells, h('td', {}, kick))
  return { element, cells, bytes: session.bytes, age: session.age_s }

  async function end() {
    kick.disabled = true
    try {
      await send('DELETE', `sessions/${session.id}`)
      notice(`The session of ${session.peer} has ended`)
    } catch (error) {
      notice(error.message)
    }
  }
}

function refreshRow(entry, session) {
  const seconds = session.age_s - entry.age
  const bits = seconds > 0.5 ? (session.bytes - entry.bytes) * 8 / seconds : null
  if (bits !== null) [entry.bytes, entry.age, entry.rate] = [session.bytes, session.age_s, bits]
  const [stream, client, way, since, speed, lost, trip] = entry.cells
  say(stream, `${session.path}${session.kind === 'publish' ? ' (publishes)' : ''}`)
  say(client, session.user ? `${session.user}, ${session.peer}` : session.peer)
  say(way, session.secure ? `${session.transport} in TLS` : session.transport)
  say(since, span(session.age_s))
  say(speed, session.state === 'ready' ? 'paused' : rate(entry.rate ?? null))
  say(lost, String(session.packets_lost + session.frames_shed))
  say(trip, session.round_trip_ms === null ? '–' : `${session.round_trip_ms.toFixed(1)} ms`)
}
