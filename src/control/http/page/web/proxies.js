// The streams that are pulled from elsewhere, and the way to add others.

import { Refusal, encoded, get, send } from './api.js'
import { h, keep, notice, say } from './dom.js'

/** Proxies that are shown. */
const SHOWN_MAX = 200

/** The list; `refresh()` asks for it anew. */
export function proxies() {
  const rows = h('tbody', { id: 'proxies' })
  const total = h('span', { class: 'hint' })
  const empty = h('p', { class: 'empty' }, 'Nothing is pulled from elsewhere.')
  const table = h('table', { hidden: true },
    h('thead', {}, h('tr', {}, ['Stream', 'Source', 'State', ''].map(name => h('th', { scope: 'col' }, name)))), rows)
  const path = h('input', { name: 'path', id: 'proxy-path', required: true, placeholder: 'gate', autocapitalize: 'none', autocomplete: 'off', spellcheck: 'false' })
  const url = h('input', { name: 'url', id: 'proxy-url', required: true, placeholder: 'rtsp://camera/stream', autocapitalize: 'none', autocomplete: 'off', spellcheck: 'false' })
  const kept = h('input', { type: 'checkbox', id: 'proxy-keep' })
  const said = h('p', { class: 'said', role: 'status' })
  const view = {
    element: h('section', { class: 'card' }, h('h2', {}, 'Pulled from elsewhere ', total), empty, h('div', { class: 'scroll' }, table),
      h('details', {}, h('summary', {}, 'Add a stream'),
        h('form', { onsubmit: add },
          h('label', {}, 'Name', path), h('label', {}, 'URL', url),
          h('div', { class: 'row' }, h('label', { class: 'row' }, kept, 'Keep it over a restart'), h('button', { class: 'primary', id: 'proxy-add' }, 'Add')),
          said))),
    async refresh() {
      const { proxies: list, total: count } = await get(`proxies?limit=${SHOWN_MAX}`)
      say(total, count > SHOWN_MAX ? `the first ${SHOWN_MAX} of ${count}` : `${count}`)
      table.hidden = count === 0
      empty.hidden = count > 0
      keep(rows, list, proxy => `${proxy.origin} ${proxy.path}`, row, refreshRow)
    },
  }
  return view

  async function add(event) {
    event.preventDefault()
    try {
      await send('POST', `proxies/${encoded(path.value.trim().replace(/^\/+|\/+$/g, ''))}`, JSON.stringify({ url: url.value.trim(), keep: kept.checked }))
      for (const field of [path, url]) field.value = ''
      say(said, '')
      await view.refresh()
    } catch (error) {
      const errors = error instanceof Refusal ? error.problem?.errors ?? [] : []
      say(said, errors.map(({ subject, text }) => `${subject}: ${text}`).join('; ') || error.message)
    }
  }
}

function row(proxy) {
  const cells = ['stream', 'source', 'state'].map(name => h('td', { 'data-label': name }))
  const button = proxy.origin === 'api'
    ? h('button', { class: 'danger small', 'aria-label': `Remove ${proxy.path}`, onclick: remove }, 'Remove')
    : h('span', { class: 'hint', title: 'The configuration has it.' }, 'in the file')
  const element = h('tr', { 'data-path': proxy.path }, cells, h('td', {}, button))
  return { element, cells }

  async function remove() {
    button.disabled = true
    try {
      await send('DELETE', `proxies/${encoded(proxy.path)}`)
      notice(`${proxy.path} is removed`)
    } catch (error) {
      notice(error.message)
      button.disabled = false
    }
  }
}

function refreshRow({ cells: [stream, source, state] }, proxy) {
  say(stream, proxy.keep && proxy.origin === 'api' ? `${proxy.path} (kept)` : proxy.path)
  say(source, `${proxy.url} (${proxy.transport})`)
  const standing = { running: 'runs', idle: 'begins with its first viewer', lost: 'lost' }[proxy.state]
  say(state, proxy.last_error ? `${standing}: ${proxy.last_error}` : standing)
}
