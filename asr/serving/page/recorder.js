// Hands the samples of the microphone, or of a recording that is played, to the page.
class Recorder extends AudioWorkletProcessor {
  constructor() {
    super();
    this.kept = new Float32Array(2048);
    this.size = 0;
  }

  process(inputs) {
    const channel = inputs[0][0];
    if (!channel) return true;
    this.kept.set(channel, this.size);
    this.size += channel.length;
    if (this.size + channel.length > this.kept.length) {
      this.port.postMessage(this.kept.slice(0, this.size));
      this.size = 0;
    }
    return true;
  }
}
registerProcessor("recorder", Recorder);
