// What the server obeys, and whether another configuration would be right.

import { Refusal, get, send } from './api.js'
import { h } from './dom.js'
import { count } from './words.js'

/** The configuration, with a place to try another one. */
export function configuration() {
  const current = h('div', { id: 'config' })
  const text = h('textarea', {
    id: 'config-text', rows: 8, spellcheck: 'false', 'aria-label': 'A configuration in XML', placeholder: '<config>\n  …\n</config>',
  })
  const file = h('input', { type: 'file', accept: '.xml,.cfg', 'aria-label': 'A configuration file', onchange: read })
  const findings = h('div', { id: 'findings', role: 'status' })
  const reload = h('button', { id: 'reload', hidden: true, onclick: obey }, 'Reload the file')
  refresh()
  get('openapi.json').then(({ paths }) => (reload.hidden = !paths['/api/v1/config/reload'])).catch(() => {})
  return h('section', { class: 'card' },
    h('div', { class: 'row' }, h('h2', {}, 'Configuration'), reload),
    current,
    h('details', {}, h('summary', {}, 'Check another configuration'),
      h('p', { class: 'hint' }, 'It is read as if it stood in the place of the file; nothing of it is obeyed.'),
      text,
      h('div', { class: 'row' }, h('button', { class: 'primary', id: 'check', onclick: check }, 'Check'), file)),
    findings)

  async function refresh() {
    try {
      current.replaceChildren(...effective(await get('config')))
    } catch (error) {
      current.replaceChildren(h('p', { class: 'empty' }, error.message))
    }
  }

  async function read() {
    if (file.files[0]) text.value = await file.files[0].text()
  }

  async function check() {
    try {
      const { valid, errors, warnings } = await send('POST', 'config/check', text.value)
      findings.replaceChildren(verdict(valid, errors, warnings))
    } catch (error) {
      findings.replaceChildren(h('p', { class: 'error' }, error.message))
    }
  }

  async function obey() {
    reload.disabled = true
    try {
      const result = await send('POST', 'config/reload')
      findings.replaceChildren(h('p', { class: 'good' }, 'The file was read and is obeyed.'), list(changes(result), 'change'),
        list(result.warnings, 'warning'))
      refresh()
    } catch (error) {
      const errors = error instanceof Refusal ? error.problem?.errors ?? [] : []
      findings.replaceChildren(h('p', { class: 'error' }, `Not obeyed: ${error.message}.`), list(errors, 'error'))
    }
    reload.disabled = false
  }
}

/** What a reload has changed, a line for each kind. */
function changes(result) {
  const counted = ['users', 'proxies', 'pushers'].map(kind => {
    const parts = ['added', 'removed', 'changed'].filter(how => result[kind][how] > 0).map(how => `${result[kind][how]} ${how}`)
    return [kind, parts]
  })
  const named = [
    ['changed', result.settings], ...counted, ['ports opened', result.ports_opened], ['ports closed', result.ports_closed],
    ['at the next start', result.at_next_start],
  ]
  return named.filter(([, values]) => values.length > 0).map(([subject, values]) => ({ subject, text: values.join(', ') }))
}

function verdict(valid, errors, warnings) {
  const said = valid
    ? h('p', { class: 'good' }, warnings.length === 0 ? 'It is right.' : `It is right, with ${count(warnings.length, 'remark', 'remarks')}.`)
    : h('p', { class: 'error' }, `The server would not start with it: ${count(errors.length, 'error', 'errors')}.`)
  return h('div', {}, said, list(errors, 'error'), list(warnings, 'warning'))
}

function list(findings, kind) {
  return h('ul', { class: 'findings' }, findings.map(finding => {
    const place = finding.line ? `line ${finding.line}, column ${finding.column}` : finding.subject ?? ''
    return h('li', { class: kind }, place ? h('strong', {}, `${place}: `) : null, finding.text ?? String(finding))
  }))
}

/** What differs from the defaults stands open, the rest behind a fold. */
function effective(config) {
  const entries = Object.entries(config.settings)
  const [own, usual] = [entries.filter(([, { origin }]) => origin !== 'default'), entries.filter(([, { origin }]) => origin === 'default')]
  const named = (title, items, text) => (items.length === 0 ? null : h('div', {}, h('h3', {}, title), h('ul', { class: 'plain' }, items.map(item => h('li', {}, text(item))))))
  return [
    h('p', { class: 'hint' }, config.file ? `From ${config.file}` : 'There is no file: everything has its default.'),
    settings(own),
    named('Users', config.users, user => `${user.name}: ${user.rights}`),
    named('Proxies', config.proxies, proxy => `${proxy.path} ← ${proxy.url} (${proxy.transfer}${proxy.on_demand ? ', on demand' : ''})`),
    named('Pushers', config.pushers, pusher => `${pusher.path} (${pusher.mode})`),
    named('Formats', config.outputs, output => `${output.url ?? 'files and devices'}: ${output.format}${output.live ? ', live' : ''}`),
    h('details', {}, h('summary', {}, count(usual.length, 'setting has its default', 'settings have their defaults')), settings(usual)),
  ].filter(Boolean)
}

function settings(list) {
  return h('dl', { class: 'settings' }, list.map(([name, { value, origin }]) =>
    h('div', { title: origin }, h('dt', {}, name), h('dd', {}, value === '' ? '–' : value))))
}
