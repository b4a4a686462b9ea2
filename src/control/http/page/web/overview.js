// The first tab: every stream and file as a card, and a place to type the name of one.

import { Refusal, about, get, mayAsk } from './api.js'
import { open } from './account.js'
import { card, fileCard } from './card.js'
import { h, keep, say } from './dom.js'
import { count } from './words.js'

/** How often the list is asked for. */
const EVERY_MS = 2_000

/** Streams that are shown; who has more finds them by name. */
const STREAMS_MAX = 500

/** Files that are shown at first, and with each "more". */
const FILES_A_PART = 60

/** Shows the streams until the function that it gives is called. */
export function overview(place) {
  const parts = { streams: h('div', { class: 'grid', id: 'streams' }), files: h('div', { class: 'grid', id: 'files' }) }
  const heads = { streams: h('span', { class: 'hint' }), files: h('span', { class: 'hint' }) }
  const said = h('div', {})
  const more = h('button', { class: 'quiet', hidden: true }, 'More files')
  const filesSection = h('section', { hidden: true }, h('h2', {}, 'Files ', heads.files), parts.files, h('p', {}, more))
  const streamsSection = h('section', { hidden: true }, h('h2', {}, 'Live ', heads.streams), parts.streams)
  place.append(byName(), said, streamsSection, filesSection)
  if (!mayAsk()) {
    said.append(invitation())
    return () => {}
  }
  let isOpen = true
  let after = null
  let timer
  const cards = []

  async function refresh() {
    try {
      const { streams, total } = await get(`streams?limit=${STREAMS_MAX}`)
      if (!isOpen) return
      said.replaceChildren()
      streamsSection.hidden = false
      say(heads.streams, count(total, 'stream', 'streams'))
      keep(parts.streams, streams, stream => stream.path, card, (entry, stream) => entry.refresh(stream))
      if (total === 0) said.append(h('p', { class: 'empty' }, 'No live stream yet: publish one, or add a camera to the configuration.'))
    } catch (error) {
      if (isOpen) said.replaceChildren(trouble(error))
    }
    if (isOpen) timer = setTimeout(refresh, EVERY_MS)
  }

  async function addFiles() {
    try {
      const { files, total, next } = await get(`files?limit=${FILES_A_PART}${after ? `&after=${encodeURIComponent(after)}` : ''}`)
      if (!isOpen) return
      after = next
      more.hidden = next === null
      filesSection.hidden = total === 0
      say(heads.files, count(total, 'file', 'files'))
      const added = files.map(fileCard)
      cards.push(...added)
      parts.files.append(...added.map(entry => entry.element))
    } catch {
      // The list of streams says what is wrong.
    }
  }

  more.addEventListener('click', addFiles)
  refresh()
  addFiles()
  return () => {
    isOpen = false
    clearTimeout(timer)
    for (const entry of [...parts.streams.kept?.values() ?? [], ...cards]) entry.close()
  }
}

/** A field for the name of a stream: it may be played by those who may not see the list. */
function byName() {
  const field = h('input', {
    id: 'name', name: 'name', placeholder: 'Name of a stream or file', 'aria-label': 'Name of a stream or file',
    autocapitalize: 'none', autocomplete: 'off', spellcheck: 'false', required: true,
  })
  const play = event => {
    event.preventDefault()
    location.hash = `#/play/${encodeURIComponent(field.value.trim().replace(/^\/+/, ''))}`
  }
  return h('form', { class: 'row by-name', onsubmit: play }, field, h('button', { class: 'primary' }, 'Play'))
}

function invitation() {
  if (about.api === 'log-in') {
    return h('div', { class: 'card invitation' },
      h('p', {}, 'The list of streams is for users with the permission admin. Streams play by their names as well.'),
      h('button', { class: 'primary', onclick: () => open() }, 'Log in'))
  }
  return h('div', { class: 'card invitation' },
    h('p', {}, 'The list of streams is not shown here. Type the name of one to play it.'),
    h('p', { class: 'hint' }, about.why ?? ''))
}

function trouble(error) {
  if (error instanceof Refusal && error.status === 403) {
    return h('div', { class: 'card invitation' }, h('p', {}, 'Type the name of a stream to play it.'), h('p', { class: 'hint' }, error.message))
  }
  if (error instanceof Refusal) return h('p', { class: 'empty' }, error.message)
  return h('p', { class: 'empty' }, 'The server does not answer. Trying again…')
}
