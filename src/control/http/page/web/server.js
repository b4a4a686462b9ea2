// The second tab: how the server does, who is there, what it obeys, and what it says.

import { Refusal, about, get, mayAsk } from './api.js'
import { open } from './account.js'
import { charts } from './charts.js'
import { configuration } from './config.js'
import { devices } from './devices.js'
import { h, say } from './dom.js'
import { log } from './log.js'
import { proxies } from './proxies.js'
import { sessions } from './sessions.js'
import { size, span } from './words.js'

/** How often it is asked. */
const EVERY_MS = 2_000

/** Shows it until the function that it gives is called. */
export function server(place) {
  if (!mayAsk()) {
    place.append(h('div', { class: 'card invitation' },
      h('p', {}, 'What the server does is for users with the permission admin.'),
      about.api === 'log-in' ? h('button', { class: 'primary', onclick: () => open() }, 'Log in') : h('p', { class: 'hint' }, about.why ?? '')))
    return () => {}
  }
  const line = h('p', { class: 'hint', id: 'about' })
  const said = h('p', { class: 'said', role: 'status' })
  const views = [charts(), sessions(), proxies(), log()]
  const [graph, list, pulled, tail] = views
  place.append(h('h1', {}, 'Server'), line, said, graph.element, list.element, pulled.element, devices(), configuration(), tail.element)
  let isOpen = true
  let timer

  async function refresh() {
    try {
      const stats = await get('stats')
      if (!isOpen) return
      say(line, `${about.name} ${about.version} on ${stats.backend} · up ${span(stats.uptime_s)} · ${size(stats.memory_bytes)} of memory · ${stats.shards.length} shards`)
      await Promise.all(views.map(view => view.refresh(stats)))
      say(said, '')
    } catch (error) {
      if (isOpen) say(said, error instanceof Refusal ? error.message : 'The server does not answer. Trying again…')
    }
    if (isOpen) timer = setTimeout(refresh, EVERY_MS)
  }

  refresh()
  return () => {
    isOpen = false
    clearTimeout(timer)
  }
}
