// One stream, playing.

import { open } from './account.js'
import { about } from './api.js'
import { hasDecoders } from './codecs.js'
import { h, say } from './dom.js'
import { links } from './links.js'
import { Player } from './player.js'
import { Talk, canTalk } from './talk.js'
import { mayPlay } from './urls.js'
import { codec, rate } from './words.js'

/** Shows it until the function that it gives is called. */
export function watch(place, path) {
  const canvas = h('canvas', { width: 1280, height: 720, 'aria-label': `Pictures of ${path}` })
  const said = h('div', { class: 'over', role: 'status' })
  const sound = h('button', { id: 'sound', 'aria-pressed': 'false', onclick: hear }, 'Sound on')
  const talk = h('button', { id: 'talk', hidden: true, 'aria-pressed': 'false', onclick: speak }, 'Talk')
  const full = h('button', { class: 'quiet', onclick: () => stage.requestFullscreen?.() }, 'Full screen')
  const facts = h('dl', { class: 'facts' })
  const stage = h('div', { class: 'stage' }, canvas, said)
  place.append(
    h('div', { class: 'row' }, h('a', { class: 'back', href: '#/' }, '← Streams'), h('h1', {}, path)),
    stage,
    h('div', { class: 'row controls' }, sound, talk, full),
    facts,
    advice(),
    h('section', { class: 'card' }, h('h2', {}, 'Open it elsewhere'), links(path)))
  if (!mayPlay()) {
    say(said, `The server does not let WebSocket in here: ${location.protocol === 'https:' ? 'rtsp_over_https' : 'rtsp_over_http'} is 0.`)
    return () => {}
  }
  let talking = null
  let isStarting = false
  let isLeft = false
  const player = new Player(path, canvas, state)
  // Who looks for a fault finds what the page itself knows.
  canvas.player = player
  const numbers = display(facts, player)
  const timer = setInterval(numbers, 1000)
  canTalk(path).then(can => (talk.hidden = !can))
  return () => {
    clearInterval(timer)
    player.close()
    isLeft = true
    talking?.stop()
  }

  function state(name, text) {
    stage.dataset.state = name
    said.replaceChildren(text)
    if (name === 'log-in') said.append(h('button', { class: 'primary', onclick: () => open(text) }, 'Log in'))
    if (name === 'failed') said.append(h('button', { onclick: again }, 'Try again'))
    if (name === 'ended') said.append(h('button', { class: 'primary', id: 'again', onclick: again }, 'Play again'))
  }

  function again() {
    player.attempts = 0
    player.start()
  }

  async function hear() {
    const isOn = sound.getAttribute('aria-pressed') !== 'true'
    sound.setAttribute('aria-pressed', String(isOn))
    say(sound, isOn ? 'Sound off' : 'Sound on')
    await player.hear(isOn)
  }

  async function speak() {
    if (talking) return quiet('')
    if (isStarting) return
    isStarting = true
    try {
      const begun = await Talk.start(path, quiet)
      // Nobody who has left is heard: the microphone may be allowed long after the click.
      if (isLeft) return begun.stop()
      talking = begun
      talk.setAttribute('aria-pressed', 'true')
      say(talk, 'Stop talking')
    } catch (error) {
      quiet(`You cannot be heard: ${error.message}`)
    } finally {
      isStarting = false
    }
  }

  function quiet(reason) {
    const ended = talking
    talking = null
    ended?.stop()
    talk.setAttribute('aria-pressed', 'false')
    say(talk, 'Talk')
    talk.title = reason
  }
}

/** What is said of a page whose browser keeps its decoders to itself. */
function advice() {
  if (hasDecoders()) return ''
  const { https } = about.ports
  const secure = about.https && https ? `https://${location.hostname}:${https}/${location.hash}` : null
  return h('p', { class: 'hint advice' },
    'This page came by plain HTTP, where browsers have no decoders: the server makes JPEG of the pictures. ',
    secure ? h('a', { href: secure }, 'By HTTPS the stream plays as it is.') : null)
}

/** Keeps the numbers below the picture. */
function display(place, player) {
  const cells = {}
  const names = { size: 'Picture', formats: 'Codecs', rate: 'Arrives', latency: 'Latency', lost: 'Lost', dropped: 'Left out' }
  for (const [name, label] of Object.entries(names)) {
    cells[name] = h('dd', { 'data-fact': name }, '–')
    place.append(h('div', {}, h('dt', {}, label), cells[name]))
  }
  let before = { at: performance.now(), received: 0, shown: 0 }
  return () => {
    const now = { at: performance.now(), ...player.numbers() }
    const seconds = (now.at - before.at) / 1000
    const bits = (now.received - before.received) * 8 / seconds
    const pictures = (now.shown - before.shown) / seconds
    before = now
    say(cells.size, now.size ? `${now.size.join('×')} · ${Math.max(0, Math.round(pictures))} fps` : '–')
    say(cells.formats, now.formats.map(codec).join(' · ') + (now.isMadeAnew ? ' (made anew)' : '') || '–')
    say(cells.rate, bits >= 0 ? rate(bits) : '–')
    say(cells.latency, now.latency === null ? '–' : `${Math.round(now.latency)} ms`)
    say(cells.lost, `${now.lost}`)
    say(cells.dropped, `${now.dropped}`)
  }
}
