// When is a moment of the content shown? All tracks of a stream share one of these.
//
// What arrives soonest tells how long the way is at least; everything is shown a little later than that, so that what takes
// longer comes in time. Content that was sent ahead, such as the pictures before a viewer came, is late at once and is only
// decoded.

/** Milliseconds between the soonest arrival and the showing. */
const CUSHION_MS = 70
const CUSHION_MAX_MS = 400

/** How long the soonest arrival counts: clocks drift, and ways change. */
const MEMORY_MS = 5_000

/** One stream's time. */
export class Clock {
  constructor() {
    this.cushion = CUSHION_MS
    this.reset()
  }

  /** Another run of the stream begins. */
  reset() {
    this.soonest = this.before = Infinity
    this.since = performance.now()
    this.sent = this.sentBefore = Infinity
    this.trip = null
  }

  /** Something of a content time, in seconds, has arrived. */
  arrive(time) {
    const now = performance.now()
    if (now - this.since > MEMORY_MS) {
      ;[this.before, this.soonest, this.since] = [this.soonest, Infinity, now]
      ;[this.sentBefore, this.sent] = [this.sent, Infinity]
      this.cushion = Math.max(CUSHION_MS, this.cushion - 5)
    }
    this.soonest = Math.min(this.soonest, now - time * 1000)
  }

  /** When a content time is due, in the milliseconds of `performance.now()`. */
  due(time) {
    return Math.min(this.soonest, this.before) + this.cushion + time * 1000
  }

  /** Something came too late to be shown when it was due. */
  late(milliseconds) {
    if (milliseconds < CUSHION_MAX_MS) this.cushion = Math.min(CUSHION_MAX_MS, this.cushion + milliseconds / 2)
  }

  /** The server has said which content time it is there at this moment. */
  report(time) {
    this.sent = Math.min(this.sent, performance.now() - time * 1000)
  }

  /** Milliseconds from the server's present to what is shown; null as long as the server has not told it. */
  latency(shown) {
    const sent = Math.min(this.sent, this.sentBefore)
    if (sent === Infinity || this.trip === null || shown === null) return null
    return Math.max(0, shown.at - shown.time * 1000 - sent + this.trip / 2)
  }
}
