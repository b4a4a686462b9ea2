// Four small charts of the last minutes.

import { h, say, svg } from './dom.js'

/** Points of a chart: four minutes. */
const POINTS = 120

const [WIDTH, HEIGHT] = [300, 64]

/** The charts; `refresh(stats)` adds a point to each. */
export function charts() {
  const list = [
    chart('Sessions', value => String(value), (now) => now.all.sessions),
    chart('Sent', value => `${value.toFixed(1)} Mbit/s`, (now, before, seconds) => (now.all.bytes_sent - before.all.bytes_sent) * 8e-6 / seconds),
    chart('Processor', value => `${Math.round(value)} %`, (now, before, seconds) => (now.cpu_s === null ? null : (now.cpu_s - before.cpu_s) * 100 / seconds)),
    chart('Lost and left out', value => `${Math.round(value)} /s`, (now, before, seconds) => lost(now, before) / seconds),
  ]
  let before = null
  return {
    element: h('div', { class: 'charts' }, list.map(({ element }) => element)),
    refresh(stats) {
      const seconds = before && stats.uptime_s - before.uptime_s
      if (before && seconds > 0) list.forEach(one => one.add(stats, before, seconds))
      else if (!before) list[0].add(stats, stats, 1)
      before = stats
    },
  }
}

const lost = (now, before) => now.all.packets_lost - before.all.packets_lost + now.all.frames_shed - before.all.frames_shed

function chart(title, text, value) {
  const values = []
  const number = h('strong', {}, '–')
  const most = h('span', { class: 'hint' })
  const area = svg('path', { class: 'area' })
  const line = svg('path', { class: 'line' })
  const picture = svg('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', 'aria-hidden': 'true' }, area, line)
  return {
    element: h('figure', { class: 'card chart' }, h('figcaption', {}, title, most), number, picture),
    add(now, before, seconds) {
      const next = value(now, before, seconds)
      if (next === null) return
      values.push(Math.max(0, next))
      if (values.length > POINTS) values.shift()
      say(number, text(values.at(-1)))
      const top = Math.max(...values)
      say(most, top > 0 ? ` up to ${text(top)}` : '')
      const points = values.map((one, index) => {
        const x = WIDTH - (values.length - 1 - index) * WIDTH / (POINTS - 1)
        const y = HEIGHT - 2 - (top > 0 ? one / top : 0) * (HEIGHT - 6)
        return `${x.toFixed(1)},${y.toFixed(1)}`
      })
      line.setAttribute('d', `M${points.join('L')}`)
      area.setAttribute('d', `M${points.join('L')}L${WIDTH},${HEIGHT}L${points[0].split(',')[0]},${HEIGHT}Z`)
    },
  }
}
