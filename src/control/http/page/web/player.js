// Plays one stream: connects, chooses formats, and begins again by itself when something ends it.

import { credentials } from './api.js'
import { Clock } from './clock.js'
import * as codecs from './codecs.js'
import { Connection, Refused } from './rtsp.js'
import { Track, control } from './rtp.js'
import { media } from './sdp.js'
import { Screen } from './screen.js'
import { Speaker } from './speaker.js'
import * as urls from './urls.js'

/** Waits before another attempt, in milliseconds: the longer the more have failed. */
const PAUSES_MS = [300, 1000, 2000, 4000, 8000]

/** Nothing has come for so long: the way is dead. */
const SILENCE_MS = 12_000

/** How often the way is measured and the server told that somebody is there. */
const ASK_MS = 5_000

/** Answers that another attempt does not change by itself. */
const FINAL = new Set([400, 401, 403, 404, 415, 451, 461, 551])

/** A player on a canvas. */
export class Player {
  /** `onstate(state, text)` is told `connecting`, `playing`, `waiting`, `ended`, `log-in` and `failed`. */
  constructor(path, canvas, onstate) {
    this.path = path
    this.canvas = canvas
    this.onstate = onstate
    this.clock = new Clock()
    this.attempts = 0
    this.video = { instead: 0, asked: null }
    this.sound = { instead: 0, asked: null }
    this.isSoundOn = false
    this.isOpen = true
    this.start()
  }

  /** Plays, whatever it did before. */
  start() {
    this.leave()
    if (!this.isOpen) return
    this.run = this.play().catch(error => this.fail(error))
  }

  /** Ends for good. */
  close() {
    this.isOpen = false
    this.leave()
  }

  /** Sound on or off; to be called by a click. */
  async hear(isOn) {
    this.isSoundOn = isOn
    if (!this.speaker) return
    if (isOn) await this.speaker.start()
    else this.speaker.stop()
  }

  /** What there is to say of it now. */
  numbers() {
    const tracks = this.tracks ?? []
    return {
      received: this.connection?.received ?? 0,
      lost: tracks.reduce((sum, track) => sum + track.lost, 0),
      shown: this.screen?.count ?? 0,
      dropped: this.screen?.dropped ?? 0,
      samples: this.speaker?.samples ?? 0,
      loudest: this.speaker?.loudest ?? 0,
      latency: this.clock.latency(this.screen?.shown ?? null),
      trip: this.clock.trip,
      size: this.screen?.count ? [this.canvas.width, this.canvas.height] : null,
      formats: (this.chosen ?? []).map(({ format }) => format.name),
      isMadeAnew: this.video.asked !== null || this.sound.asked !== null,
      hasSound: (this.chosen ?? []).some(({ kind }) => kind === 'audio'),
    }
  }

  async play() {
    this.onstate('connecting', 'Connecting…')
    const connection = this.connection = new Connection({
      credentials,
      onmedia: (channel, bytes) => this.take(channel, bytes),
      onclose: reason => this.lose(reason),
    })
    await connection.open(urls.socket())
    const chosen = await this.choose(connection)
    if (connection !== this.connection) return
    this.chosen = chosen
    this.clock.reset()
    this.tracks = chosen.map(({ format }) => new Track(format.clock))
    this.assemblers = chosen.map(({ kind, format }) => codecs.assembler(kind, format))
    this.makeOutputs(chosen)
    for (const [index, { control: url }] of chosen.entries()) {
      const transport = `RTP/AVP/TCP;unicast;interleaved=${2 * index}-${2 * index + 1}`
      const answer = await connection.request('SETUP', url, { Transport: transport })
      connection.session = answer.first('session')?.split(';')[0].trim() ?? connection.session
    }
    const answer = await connection.request('PLAY', this.url)
    this.anchor(answer.first('rtp-info') ?? '', chosen)
    this.heard = performance.now()
    this.timer = setInterval(() => this.ask(connection), ASK_MS)
    this.ask(connection)
  }

  /** Describes the stream, in formats that can be played here. */
  async choose(connection) {
    for (let attempt = 0; attempt < 4; attempt++) {
      const parameters = []
      if (this.video.asked) parameters.push(`ve=${this.video.asked}`)
      if (this.sound.asked) parameters.push(`ae=${this.sound.asked}`)
      const url = urls.rtsp(this.path, parameters)
      const answer = await connection.request('DESCRIBE', url, { Accept: 'application/sdp' })
      this.url = answer.first('content-base') ?? url
      this.isLive = /^a=range:npt=now-/m.test(answer.text)
      const offered = media(answer.text, this.url).filter(({ isBack, formats }) => !isBack && formats.length > 0)
      const pick = kind => offered.find(other => other.kind === kind)
      const chosen = ['video', 'audio'].map(pick).filter(Boolean).map(one => ({ ...one, format: one.formats[0] }))
      if (chosen.length === 0) throw new Refused(415, 'there is nothing to see or hear in it')
      const [video, sound] = ['video', 'audio'].map(kind => chosen.find(other => other.kind === kind))
      const isShown = !video || await codecs.canShow(video.format)
      const isHeard = !sound || await codecs.canHear(sound.format)
      if (isShown && isHeard) return chosen
      if (!isShown) this.video.asked = next(this.video, codecs.videoInstead())
      if (!isHeard) this.sound.asked = next(this.sound, codecs.soundInstead())
    }
    throw new Refused(415, 'this browser plays none of the formats that the server has')
  }

  makeOutputs(chosen) {
    this.screen = chosen.some(({ kind }) => kind === 'video')
      ? new Screen(this.canvas, this.clock, error => this.demand(this.video, codecs.videoInstead(), error))
      : null
    const sound = chosen.find(({ kind }) => kind === 'audio')
    this.speaker = sound
      ? new Speaker(sound.format, this.clock, error => this.demand(this.sound, codecs.soundInstead(), error))
      : null
    if (this.isSoundOn) this.speaker?.start()
  }

  /** The browser does not decode what it should: another format is asked for. */
  demand(kind, formats, error) {
    if (kind.instead >= formats.length) return this.fail(error)
    kind.asked = next(kind, formats)
    this.start()
  }

  anchor(info, chosen) {
    for (const part of info.split(/,(?=url=)/)) {
      const parameters = Object.fromEntries(part.split(';').map(pair => [pair.split('=')[0].trim(), pair.slice(pair.indexOf('=') + 1)]))
      const index = chosen.findIndex(({ control: url }) => parameters.url && (url === parameters.url || url.endsWith(parameters.url)))
      if (index >= 0 && parameters.rtptime) this.tracks[index].anchor(Number(parameters.rtptime))
    }
  }

  take(channel, bytes) {
    this.heard = performance.now()
    const track = this.tracks?.[channel >> 1]
    if (!track) return
    if (channel & 1) return this.takeReport(track, control(bytes))
    const packet = track.take(bytes)
    if (!packet || packet.type !== this.chosen[channel >> 1].format.type) return
    this.clock.arrive(packet.time)
    const output = this.chosen[channel >> 1].kind === 'video' ? this.screen : this.speaker
    for (const unit of this.assemblers[channel >> 1].push(packet)) output.push(unit)
    if (this.attempts !== null) {
      this.attempts = null
      this.onstate('playing', '')
    }
  }

  takeReport(track, { timestamp, isEnd }) {
    if (timestamp !== null && track.base !== null) {
      this.clock.report((track.ticks + ((timestamp - track.last) | 0)) / track.clock)
    }
    // What came before it is still shown.
    if (isEnd) this.pause = setTimeout(() => this.finish(), 500)
  }

  /** The server has said that this is all: a file ends, a live stream may come back. */
  async finish() {
    if (!this.isOpen || this.isFinished) return
    // Who publishes may come back.
    if (this.isLive) return this.retry('The stream has ended')
    this.isFinished = true
    this.leave()
    this.isFinished = true
    this.onstate('ended', 'That was all.')
  }

  /** Measures the way, tells the server what has arrived, and looks whether anything still does. */
  async ask(connection) {
    if (connection !== this.connection) return
    if (performance.now() - this.heard > SILENCE_MS) return this.lose('nothing comes any more')
    const begun = performance.now()
    this.tracks.forEach((track, index) => {
      if (track.ssrc !== null) connection.send(2 * index + 1, track.report(this.own ??= Math.random() * 2 ** 32))
    })
    await connection.request('GET_PARAMETER', this.url).catch(() => {})
    const trip = performance.now() - begun
    this.clock.trip = Math.min(this.clock.trip ?? Infinity, trip)
  }

  lose(reason) {
    if (!this.isOpen || this.isFinished) return
    this.retry(reason)
  }

  fail(error) {
    if (!this.isOpen) return
    if (error instanceof Refused && error.status === 401) {
      this.leave()
      return this.onstate('log-in', credentials ? 'Name or password is wrong.' : 'This stream asks for a password.')
    }
    const mayComeBack = this.isLive && error.status === 404
    if (error instanceof Refused && FINAL.has(error.status) && !mayComeBack) {
      this.leave()
      return this.onstate('failed', explained(error))
    }
    this.retry(explained(error))
  }

  retry(reason) {
    this.leave()
    this.attempts = Math.min((this.attempts ?? 0) + 1, PAUSES_MS.length)
    this.onstate('waiting', `${reason}. Trying again…`)
    this.pause = setTimeout(() => this.start(), PAUSES_MS[this.attempts - 1])
  }

  leave() {
    clearInterval(this.timer)
    clearTimeout(this.pause)
    this.connection?.close(this.url)
    this.connection = null
    this.screen?.close()
    this.speaker?.stop()
    if (this.isOpen) this.isFinished = false
  }
}

function next(kind, formats) {
  return formats[Math.min(kind.instead++, formats.length - 1)]
}

function explained(error) {
  if (!(error instanceof Refused)) return error.message.replace(/\.$/, '')
  switch (error.status) {
    case 403: return 'You may not play this'
    case 404: return 'There is no stream or file by this name'
    case 415: return 'It cannot be had in a format that this browser plays'
    case 453: return 'The server makes as much anew as it may, or its line is full'
    case 503: return 'The source is not there'
    default: return `The server answers ${error.message}`
  }
}
