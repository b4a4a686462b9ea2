// The URLs of a stream, to be copied.

import { h, notice } from './dom.js'
import { all } from './urls.js'

/** A list of them. */
export function links(path) {
  return h('ul', { class: 'links' }, all(path).map(({ label, url, note }) =>
    h('li', {},
      h('span', { class: 'label' }, label, h('span', { class: 'hint' }, ` ${note}`)),
      h('div', { class: 'row' },
        h('code', { tabindex: '0' }, url),
        h('button', { class: 'quiet small', 'aria-label': `Copy the URL for ${label}`, onclick: event => copy(url, event.target) }, 'Copy')))))
}

async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text)
  } catch {
    // By plain HTTP a page may copy only what is selected.
    const field = h('textarea', { class: 'away' })
    field.value = text
    button.after(field)
    field.select()
    document.execCommand('copy')
    field.remove()
    button.focus()
  }
  notice('Copied')
}
