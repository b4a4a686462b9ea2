// Runs beside the page, where sound is: takes the microphone's samples at the rate that is wanted.

registerProcessor('microphone', class extends AudioWorkletProcessor {
  constructor({ processorOptions: { rate } }) {
    super()
    this.step = sampleRate / rate
    this.sum = this.count = this.at = 0
  }

  process([input]) {
    const out = []
    for (const sample of input[0] ?? []) {
      // The mean of those that one of the new samples stands for: what is too high for it is damped.
      this.sum += sample
      this.count++
      this.at++
      if (this.at >= this.step) {
        out.push(this.sum / this.count)
        this.at -= this.step
        this.sum = this.count = 0
      }
    }
    if (out.length > 0) this.port.postMessage(out)
    return true
  }
})
