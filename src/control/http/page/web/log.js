// The end of the log, as it grows.

import { get } from './api.js'
import { h, say } from './dom.js'

/** Lines that are shown. */
const LINES_MAX = 500

/** The log; `refresh()` adds what was said since. */
export function log() {
  const lines = h('div', { class: 'log', id: 'log', tabindex: '0', role: 'log', 'aria-label': 'Log' })
  const filter = h('input', { placeholder: 'Only lines with…', 'aria-label': 'Only lines with', oninput: sift })
  const hint = h('p', { class: 'hint' })
  let seen = 0
  return {
    element: h('section', { class: 'card' }, h('div', { class: 'row' }, h('h2', {}, 'Log'), filter), lines, hint),
    async refresh() {
      const fresh = await get(`log?after=${seen}&limit=${LINES_MAX}`)
      seen = fresh.count
      say(hint, seen === 0 ? 'Nothing is logged: log_enable is 0.' : '')
      const isAtEnd = lines.scrollHeight - lines.scrollTop - lines.clientHeight < 40
      lines.append(...fresh.lines.map(line => h('div', { class: kind(line), hidden: !isWanted(line) }, line)))
      while (lines.children.length > LINES_MAX) lines.firstChild.remove()
      if (isAtEnd) lines.scrollTop = lines.scrollHeight
    },
  }

  function isWanted(line) {
    return line.toLowerCase().includes(filter.value.trim().toLowerCase())
  }

  function sift() {
    for (const line of lines.children) line.hidden = !isWanted(line.textContent)
    lines.scrollTop = lines.scrollHeight
  }
}

/** Whether a line complains; lines are plain text, or JSON. */
function kind(line) {
  const [, level] = line.match(/\b(ERROR|WARN)\b/) ?? []
  return level ? level.toLowerCase() : ''
}
