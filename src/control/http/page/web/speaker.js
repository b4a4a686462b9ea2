// Sound: decoded, and given to the loudspeaker for the moment at which it is due.

/** Sound follows itself without a gap until it is off by more than this. */
const SLACK_S = 0.08

/** Plays one track, once the user has asked for it. */
export class Speaker {
  /** `onbroken` is told when the browser cannot decode it. */
  constructor(format, clock, onbroken) {
    this.format = format
    this.clock = clock
    this.onbroken = onbroken
    this.context = null
    this.next = 0
    this.samples = 0
    this.loudest = 0
  }

  get isOn() {
    return this.context !== null
  }

  /** Begins: browsers let a page be heard after a click. */
  start() {
    this.context = new AudioContext({ latencyHint: 'interactive' })
    this.gain = new GainNode(this.context)
    this.gain.connect(this.context.destination)
    this.next = 0
    return this.context.resume()
  }

  /** Ends, or waits for another click. */
  stop() {
    this.context?.close()
    this.context = null
    if (this.decoder?.state === 'configured') this.decoder.close()
    this.decoder = null
  }

  /** Takes what was in a packet. */
  push({ data, time }) {
    if (!this.context) return
    const plain = PLAIN[this.format.name]
    if (plain) {
      const { clock, channels } = this.format
      return this.play(plain(data, channels), clock, time)
    }
    if (!this.decoder) this.open()
    if (this.decoder?.state !== 'configured') return
    this.decoder.decode(new EncodedAudioChunk({ type: 'key', timestamp: Math.round(time * 1e6), data }))
  }

  open() {
    this.decoder = new AudioDecoder({ output: sound => this.take(sound), error: error => this.onbroken(error) })
    this.decoder.configure(described(this.format))
  }

  take(sound) {
    const channels = Array.from({ length: sound.numberOfChannels }, (_, planeIndex) => {
      const samples = new Float32Array(sound.numberOfFrames)
      sound.copyTo(samples, { planeIndex, format: 'f32-planar' })
      return samples
    })
    this.play(channels, sound.sampleRate, sound.timestamp / 1e6)
    sound.close()
  }

  play(channels, rate, time) {
    const context = this.context
    if (!context || channels[0].length === 0) return
    const buffer = new AudioBuffer({ length: channels[0].length, numberOfChannels: channels.length, sampleRate: rate })
    channels.forEach((samples, index) => buffer.copyToChannel(samples, index))
    this.samples += channels[0].length
    for (let index = 0; index < channels[0].length; index += 16) {
      this.loudest = Math.max(this.loudest, Math.abs(channels[0][index]))
    }
    const due = context.currentTime + (this.clock.due(time) - performance.now()) / 1000
    let at = Math.abs(due - this.next) < SLACK_S ? this.next : due
    if (at < context.currentTime) {
      // It is too late: the next one comes in time.
      this.clock.late((context.currentTime - at) * 1000)
      this.next = 0
      return
    }
    const node = new AudioBufferSourceNode(context, { buffer })
    node.connect(this.gain)
    node.start(at)
    this.next = at + buffer.duration
  }
}

/** How browsers name a format. */
export function described({ name, clock, channels, parameters }) {
  if (name === 'OPUS') return { codec: 'opus', sampleRate: 48_000, numberOfChannels: 2 }
  const config = Uint8Array.from((parameters.config ?? '').match(/../g) ?? [], pair => parseInt(pair, 16))
  return { codec: `mp4a.40.${config[0] >> 3}`, sampleRate: clock, numberOfChannels: channels, description: config }
}

/** Formats that need no decoder: samples of each channel between -1 and 1. */
export const PLAIN = {
  PCMU: (data, channels) => apart(data, channels, mu),
  PCMA: (data, channels) => apart(data, channels, a),
  L16: (data, channels) => {
    const view = new DataView(data.buffer, data.byteOffset, data.length)
    return apart(new Int16Array(data.length >> 1).map((_, at) => view.getInt16(2 * at)), channels, value => value / 32768)
  },
}

function apart(values, channels, sample) {
  return Array.from({ length: channels }, (_, channel) => {
    const samples = new Float32Array(Math.floor(values.length / channels))
    for (let at = 0; at < samples.length; at++) samples[at] = sample(values[at * channels + channel])
    return samples
  })
}

/** G.711, µ law. */
function mu(byte) {
  const value = ~byte & 0xff
  const magnitude = (((value & 15) << 3) + 132 << (value >> 4 & 7)) - 132
  return (value & 0x80 ? -magnitude : magnitude) / 32768
}

/** G.711, A law. */
function a(byte) {
  const value = byte ^ 0x55
  const exponent = value >> 4 & 7
  const mantissa = (value & 15) << 4
  const magnitude = exponent === 0 ? mantissa + 8 : mantissa + 264 << exponent - 1
  return (value & 0x80 ? magnitude : -magnitude) / 32768
}
