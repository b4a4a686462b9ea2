// The talk button: what is said goes back to the camera or the server's loudspeaker (ONVIF streaming specification section
// 5.3), as G.711 over a connection of its own.

import { credentials } from './api.js'
import { Connection } from './rtsp.js'
import { media } from './sdp.js'
import * as urls from './urls.js'

const TAG = 'www.onvif.org/ver20/backchannel'
const RATE = 8000

/** Samples of a packet: 20 ms. */
const PACKET = RATE / 50

const ENCODERS = { PCMU: mu, PCMA: a }

/** The track that takes sound, on a connection that has found it; null where there is none. */
async function find(path, onclose) {
  const connection = new Connection({ credentials, onmedia: () => {}, onclose })
  try {
    await connection.open(urls.socket())
    const url = urls.rtsp(path)
    const answer = await connection.request('DESCRIBE', url, { Accept: 'application/sdp', Require: TAG })
    const base = answer.first('content-base') ?? url
    const back = media(answer.text, base).find(({ isBack, kind }) => isBack && kind === 'audio')
    const format = back?.formats.find(({ name, clock, channels }) => ENCODERS[name] && clock === RATE && channels === 1)
    if (format) return { connection, base, format, control: back.control }
  } catch {
    // Whoever does not know the tag, or may not talk, has no button.
  }
  connection.close()
  return null
}

/** Whether the stream takes sound. */
export async function canTalk(path) {
  const found = await find(path, () => {})
  found?.connection.close()
  return found !== null && Boolean(navigator.mediaDevices)
}

/** One who talks. */
export class Talk {
  /** Begins; fails when the microphone or the server refuses. `onclose` is told the end. */
  static async start(path, onclose) {
    const microphone = await navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: true, noiseSuppression: true } })
    const found = await find(path, onclose)
    const talk = new Talk(microphone, found)
    try {
      if (!found) throw new Error('the stream takes no sound at the moment')
      await talk.open()
      return talk
    } catch (error) {
      talk.stop()
      throw error
    }
  }

  constructor(microphone, found) {
    this.microphone = microphone
    this.found = found
    this.samples = []
    this.sequence = Math.random() * 65536 & 0xffff
    this.timestamp = Math.random() * 2 ** 32 >>> 0
    this.ssrc = Math.random() * 2 ** 32 >>> 0
  }

  async open() {
    const { connection, base, format, control } = this.found
    const headers = { Transport: 'RTP/AVP/TCP;unicast;interleaved=0-1', Require: TAG }
    const answer = await connection.request('SETUP', control, headers)
    connection.session = answer.first('session')?.split(';')[0].trim()
    await connection.request('PLAY', base, { Require: TAG })
    this.alive = setInterval(() => connection.request('GET_PARAMETER', base).catch(() => {}), 20_000)
    this.context = new AudioContext()
    await this.context.audioWorklet.addModule('/page/microphone.js')
    const source = new MediaStreamAudioSourceNode(this.context, { mediaStream: this.microphone })
    const worklet = new AudioWorkletNode(this.context, 'microphone', { numberOfOutputs: 0, processorOptions: { rate: RATE } })
    worklet.port.onmessage = event => this.say(event.data, ENCODERS[format.name], format.type)
    source.connect(worklet)
  }

  /** Sends samples as soon as they fill a packet. */
  say(samples, encode, type) {
    this.samples.push(...samples)
    while (this.samples.length >= PACKET) {
      const packet = new Uint8Array(12 + PACKET)
      const view = new DataView(packet.buffer)
      view.setUint16(0, 0x8000 | type)
      view.setUint16(2, this.sequence)
      view.setUint32(4, this.timestamp)
      view.setUint32(8, this.ssrc)
      this.samples.splice(0, PACKET).forEach((sample, index) => {
        packet[12 + index] = encode(Math.round(Math.max(-1, Math.min(1, sample)) * 32767))
      })
      this.found.connection.send(0, packet)
      this.sequence = (this.sequence + 1) & 0xffff
      this.timestamp = (this.timestamp + PACKET) >>> 0
    }
  }

  /** Ends. */
  stop() {
    clearInterval(this.alive)
    this.microphone.getTracks().forEach(track => track.stop())
    this.context?.close()
    this.found?.connection.close(this.found.base)
  }
}

/** G.711, µ law. */
function mu(sample) {
  const sign = sample < 0 ? 0x80 : 0
  const magnitude = Math.min(Math.abs(sample), 32635) + 132
  const exponent = 31 - Math.clz32(magnitude) - 7
  return ~(sign | exponent << 4 | (magnitude >> exponent + 3 & 15)) & 0xff
}

/** G.711, A law. */
function a(sample) {
  const sign = sample >= 0 ? 0x80 : 0
  const magnitude = Math.min(Math.abs(sample), 32767)
  const exponent = Math.max(0, 31 - Math.clz32(magnitude) - 7)
  const mantissa = magnitude >> Math.max(4, exponent + 3) & 15
  return (sign | exponent << 4 | mantissa) ^ 0x55
}
