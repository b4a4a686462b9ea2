// Who is logged in: a button, and the form behind it.

import { Refusal, about, credentials, get, logIn } from './api.js'
import { h } from './dom.js'

let changed = () => {}
let place = null

/** Puts the button into the page; `onchange` is called when somebody has logged in or out. */
export function account(element, onchange) {
  ;[place, changed] = [element, onchange]
  refresh()
}

/** Shows who is logged in, or that somebody has to be. */
export function refresh() {
  const isAsked = about.api === 'log-in' || about.need_auth
  if (!isAsked) return place.replaceChildren()
  const button = credentials
    ? h('button', { class: 'quiet', onclick: logOut, title: 'Log out' }, credentials.user, h('span', { class: 'hint' }, ' log out'))
    : h('button', { class: 'quiet', id: 'log-in', onclick: () => open() }, 'Log in')
  place.replaceChildren(button)
}

function logOut() {
  logIn(null)
  refresh()
  changed()
}

/** Opens the form; `why` says what it is for. */
export function open(why = 'The same name and password open the streams and, with the permission admin, the list of them.') {
  const user = h('input', { name: 'user', autocomplete: 'username', autocapitalize: 'none', spellcheck: 'false', required: true })
  const password = h('input', { name: 'password', type: 'password', autocomplete: 'current-password', required: true })
  const said = h('p', { class: 'said', role: 'alert' })
  const dialog = h('dialog', { class: 'card log-in', 'aria-label': 'Log in' },
    h('form', { method: 'dialog', onsubmit: submit },
      h('h2', {}, 'Log in'), h('p', { class: 'hint' }, why),
      h('label', {}, 'Name', user), h('label', {}, 'Password', password), said,
      h('div', { class: 'row end' },
        h('button', { type: 'button', class: 'quiet', onclick: () => dialog.close() }, 'Cancel'),
        h('button', { class: 'primary' }, 'Log in'))))
  dialog.addEventListener('close', () => dialog.remove())
  document.body.append(dialog)
  dialog.showModal()

  async function submit(event) {
    event.preventDefault()
    logIn(user.value, password.value)
    const refusal = await tried()
    if (refusal?.status === 401) {
      logIn(null)
      said.textContent = 'Name or password is wrong.'
      return password.select()
    }
    dialog.close()
    refresh()
    changed()
  }
}

/** What the API says to the one who has logged in; null where it lets in, or is not asked. */
async function tried() {
  if (about.api !== 'log-in') return null
  try {
    await get('stats')
    return null
  } catch (error) {
    return error instanceof Refusal ? error : null
  }
}
