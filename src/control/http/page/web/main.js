// The page: what is shown for which address, and who is logged in.

import { account, refresh } from './account.js'
import { load, look, whenOther } from './api.js'
import { h } from './dom.js'
import { overview } from './overview.js'
import { server } from './server.js'
import { watch } from './watch.js'

let leave = () => {}

/** How often it is looked whether a reload has made another server of it. */
const LOOK_EVERY_MS = 10_000

/** Shows what the address names: the streams, one of them (`#/play/PATH`), or the server. */
function show() {
  leave()
  const place = document.getElementById('view')
  place.replaceChildren()
  const [, tab, path] = location.hash.match(/^#\/(server|play)?(?:\/(.*))?$/) ?? []
  for (const link of document.querySelectorAll('#tabs a')) {
    const isHere = link.dataset.tab === (tab === 'server' ? 'server' : 'streams')
    isHere ? link.setAttribute('aria-current', 'page') : link.removeAttribute('aria-current')
  }
  if (tab === 'play' && path) leave = watch(place, decoded(path))
  else if (tab === 'server') leave = server(place)
  else leave = overview(place)
  window.scrollTo(0, 0)
}

/** A name as an address has it, or as somebody has typed it: a percent sign that escapes nothing is itself. */
function decoded(name) {
  try {
    return decodeURIComponent(name)
  } catch {
    return name
  }
}

async function begin() {
  try {
    await load()
  } catch {
    document.getElementById('view').replaceChildren(h('p', { class: 'empty' }, 'The server does not answer. Trying again…'))
    return setTimeout(begin, 3000)
  }
  account(document.getElementById('account'), show)
  window.addEventListener('hashchange', show)
  show()
  whenOther(() => {
    refresh()
    // What plays goes on.
    if (!location.hash.startsWith('#/play/')) show()
  })
  setInterval(() => document.hidden || look(), LOOK_EVERY_MS)
}

begin()
