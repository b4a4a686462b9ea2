// One stream or file in the overview: a still, what it is, and its URLs.

import { encoded, get, picture } from './api.js'
import { h, say } from './dom.js'
import { links } from './links.js'
import { count, picture as pictureSize, rate, size, span, tracks } from './words.js'

/** How often a still of a live stream is taken. */
const STILL_EVERY_MS = 10_000

/** Pixels a line of a still. */
const STILL_WIDTH = 480

const SOURCES = {
  test: 'test picture', device: 'device', proxy: 'camera', pusher: 'pushed', publisher: 'published', file: 'live file',
}

/** The card of a live stream, which is to be refreshed. */
export function card(stream) {
  const parts = frame(stream.path)
  const standing = h('span', { class: 'standing' })
  parts.facts.append(standing)
  const entry = { ...parts, shown: -Infinity, isVisible: false, state: null }
  const watcher = new IntersectionObserver(([{ isIntersecting }]) => {
    entry.isVisible = isIntersecting
    still()
  })
  watcher.observe(entry.element)

  async function still() {
    if (!entry.isVisible || document.hidden || entry.state !== 'running') return
    if (performance.now() - entry.shown < STILL_EVERY_MS || !entry.hasPictures) return
    entry.shown = performance.now()
    await show(entry, stream.path, 'nothing')
  }

  entry.refresh = fresh => {
    entry.state = fresh.state
    entry.hasPictures = fresh.tracks.length === 0 || fresh.tracks.some(track => track.kind === 'video')
    say(standing, { running: 'live', idle: 'begins with its first viewer', lost: 'source lost' }[fresh.state])
    standing.className = `standing ${fresh.state}`
    say(entry.detail, [SOURCES[fresh.source], pictureSize(fresh.tracks), tracks(fresh.tracks)].filter(Boolean).join(' · '))
    const numbers = [fresh.bits_per_second ? rate(fresh.bits_per_second) : null, count(fresh.viewers, 'viewer', 'viewers')]
    say(entry.numbers, fresh.state === 'idle' ? '' : numbers.filter(Boolean).join(' · '))
    if (fresh.state !== 'running') say(entry.empty, fresh.state === 'lost' ? 'The source is lost' : 'Click to start')
    else if (!entry.hasPictures) say(entry.empty, 'Sound only')
    still()
  }
  entry.close = () => close(entry, watcher)
  return entry
}

/** The card of a file: what is in it is asked for when it comes into view. */
export function fileCard(file) {
  const entry = frame(file.path)
  say(entry.numbers, size(file.bytes))
  const watcher = new IntersectionObserver(async ([{ isIntersecting }]) => {
    if (!isIntersecting) return
    watcher.disconnect()
    try {
      const details = await get(`files/${encoded(file.path)}`)
      say(entry.detail, [pictureSize(details.tracks), tracks(details.tracks)].filter(Boolean).join(' · '))
      const length = details.duration_s === null ? null : span(details.duration_s)
      say(entry.numbers, [length, rate(details.bits_per_second), size(file.bytes)].filter(text => text && text !== '–').join(' · '))
      if (details.tracks.some(track => track.kind === 'video')) await show(entry, file.path, 'No picture')
      else say(entry.empty, 'Sound only')
    } catch (error) {
      say(entry.detail, error.message)
    }
  })
  watcher.observe(entry.element)
  entry.close = () => close(entry, watcher)
  return entry
}

function close(entry, watcher) {
  watcher.disconnect()
  entry.isClosed = true
  release(entry)
}

function frame(path) {
  const image = h('img', { alt: '', hidden: true })
  const empty = h('span', { class: 'empty' })
  const detail = h('p', { class: 'detail' })
  const numbers = h('span', { class: 'numbers' })
  const facts = h('p', { class: 'facts' }, numbers)
  const list = h('div', { class: 'urls', hidden: true })
  const more = h('button', { class: 'quiet small', 'aria-expanded': 'false', onclick: unfold }, 'URLs')
  const element = h('article', { class: 'card stream', 'data-path': path },
    h('a', { class: 'still', href: `#/play/${encodeURIComponent(path)}`, 'aria-label': `Play ${path}` }, empty, image, h('span', { class: 'go', 'aria-hidden': 'true' })),
    h('div', { class: 'text' },
      h('div', { class: 'row' }, h('h3', {}, h('a', { href: `#/play/${encodeURIComponent(path)}`, tabindex: '-1', title: path }, path)), more),
      detail, facts, list))
  return { element, image, empty, detail, numbers, facts }

  function unfold() {
    list.hidden = !list.hidden
    more.setAttribute('aria-expanded', String(!list.hidden))
    if (!list.hidden) list.replaceChildren(links(path))
  }
}

async function show(entry, path, otherwise) {
  try {
    const url = await picture(`snapshot/${encoded(path)}.jpg?w=${STILL_WIDTH}`)
    release(entry)
    // Whoever waited for it may have left.
    if (entry.isClosed) return URL.revokeObjectURL(url)
    entry.url = url
    entry.image.src = url
    entry.image.hidden = false
  } catch {
    if (entry.image.hidden) say(entry.empty, otherwise === 'nothing' ? '' : otherwise)
  }
}

function release(entry) {
  if (entry.url) URL.revokeObjectURL(entry.url)
  entry.url = null
}
