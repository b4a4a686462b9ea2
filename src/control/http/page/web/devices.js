// Screens, cameras and microphones of the server's machine.

import { get } from './api.js'
import { h } from './dom.js'

/** The list, asked for once and when it is wanted: devices take a while to tell. */
export function devices() {
  const list = h('div', { id: 'devices' })
  const look = h('button', { class: 'quiet small', onclick: refresh }, 'Look again')
  refresh()
  return h('section', { class: 'card' }, h('div', { class: 'row' }, h('h2', {}, 'Devices'), look), list)

  async function refresh() {
    look.disabled = true
    try {
      const { devices: found, missing } = await get('devices')
      list.replaceChildren(
        ...found.map(device => h('div', { class: 'item' },
          h('a', { href: `#/play/${encodeURIComponent(device.path)}` }, device.path),
          h('span', { class: 'hint' }, ` ${device.kind} · ${device.description}`))),
        ...missing.map(reason => h('p', { class: 'hint' }, reason)))
      if (found.length + missing.length === 0) list.append(h('p', { class: 'empty' }, 'There are none.'))
    } catch (error) {
      list.replaceChildren(h('p', { class: 'empty' }, error.message))
    }
    look.disabled = false
  }
}
