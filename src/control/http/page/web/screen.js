// Pictures: decoded, kept until they are due, and drawn on a canvas.

/** Pictures that wait to be shown: browsers' decoders have few. */
const WAITING_MAX = 8

/** Pictures that wait to be decoded: beyond it the machine is too slow, and the next keyframe is waited for. */
const BEHIND_MAX = 30

/** JPEG pictures that are decoded at once. */
const AT_ONCE_MAX = 3

/** Faults of the decoder that are farther apart than this come from the line. */
const RARE_MS = 10_000

/** Shows one track. */
export class Screen {
  /** `onbroken` is told when the browser cannot decode it. */
  constructor(canvas, clock, onbroken) {
    this.canvas = canvas
    this.brush = canvas.getContext('2d', { alpha: false })
    this.clock = clock
    this.onbroken = onbroken
    this.decoder = null
    this.config = null
    this.waiting = []
    this.awaitsKey = true
    this.shown = null
    this.count = 0
    this.dropped = 0
    this.isOpen = true
    this.failed = -Infinity
    this.decoding = 0
    this.tick = () => {
      if (!this.isOpen) return
      this.draw()
      requestAnimationFrame(this.tick)
    }
    requestAnimationFrame(this.tick)
  }

  /** Takes an access unit. */
  push(unit) {
    if (unit.codec === 'jpeg') return this.pushPicture(unit)
    if (unit.isBroken) this.awaitsKey = true
    if (unit.isKey && unit.codec !== this.config) this.configure(unit.codec)
    if (!this.decoder || this.decoder.state !== 'configured') return
    if (this.decoder.decodeQueueSize > BEHIND_MAX) this.awaitsKey = true
    if (this.awaitsKey && !unit.isKey) {
      this.dropped++
      return
    }
    this.awaitsKey = false
    const timestamp = Math.round(unit.time * 1e6)
    try {
      this.decoder.decode(new EncodedVideoChunk({ type: unit.isKey ? 'key' : 'delta', timestamp, data: unit.data }))
    } catch (error) {
      this.fail(error)
    }
  }

  /** Nothing that came is shown any more. */
  close() {
    this.isOpen = false
    if (this.decoder?.state === 'configured') this.decoder.close()
    this.waiting.forEach(({ picture }) => picture.close())
    this.waiting = []
  }

  configure(codec) {
    if (!codec) return
    this.config = codec
    if (this.decoder?.state === 'configured') this.decoder.close()
    try {
      this.decoder = new VideoDecoder({
        output: picture => this.keep(picture, picture.timestamp / 1e6),
        error: error => this.fail(error),
      })
      this.decoder.configure({ codec, optimizeForLatency: true })
      this.awaitsKey = true
    } catch (error) {
      this.fail(error)
    }
  }

  /** Once in a while that is damage, and the next keyframe is good; else the browser cannot do it. */
  fail(error) {
    if (!this.isOpen) return
    this.config = null
    this.awaitsKey = true
    const isRare = this.count > 0 && performance.now() - this.failed > RARE_MS
    this.failed = performance.now()
    if (!isRare) this.onbroken(error)
  }

  async pushPicture(unit) {
    if (this.decoding >= AT_ONCE_MAX) {
      this.dropped++
      return
    }
    this.decoding++
    try {
      this.keep(await createImageBitmap(new Blob([unit.data], { type: 'image/jpeg' })), unit.time)
    } catch {
      this.dropped++
    } finally {
      this.decoding--
    }
  }

  keep(picture, time) {
    if (!this.isOpen) return picture.close()
    this.waiting.push({ picture, time })
    this.waiting.sort((a, b) => a.time - b.time)
    while (this.waiting.length > WAITING_MAX) this.waiting.shift().picture.close()
    if (document.hidden) this.draw()
  }

  draw() {
    const now = performance.now()
    let next = null
    while (this.waiting.length > 0 && this.clock.due(this.waiting[0].time) <= now + 4) {
      if (next) {
        if (this.count > 3) this.clock.late(now - this.clock.due(next.time))
        next.picture.close()
        this.dropped++
      }
      next = this.waiting.shift()
    }
    if (!next) return
    const { picture, time } = next
    const [width, height] = [picture.displayWidth ?? picture.width, picture.displayHeight ?? picture.height]
    if (this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = width
      this.canvas.height = height
    }
    this.brush.drawImage(picture, 0, 0, width, height)
    picture.close()
    const late = now - this.clock.due(time)
    if (late > 20 && this.count > 3) this.clock.late(late)
    this.shown = { time, at: now }
    this.count++
  }
}
