// @ts-check
/**
 * Analyses the microphone's sound on the audio thread, which a busy page does
 * not delay, and posts what the page sends and shows.
 *
 * @module speech-worklet
 */
import { SpeechAnalyzer, VisemeChanges } from './speech.js';

/** Hops between two messages of which nothing is sent: 25 a second, for the meter. */
const SHOWN = 4;

/**
 * @typedef {object} Heard
 * @property {import('./speech.js').SpeechFrame['viseme']} viseme
 * @property {number} weight
 * @property {number} level dB below full scale.
 * @property {boolean} send Whether the viseme is to be sent.
 */

registerProcessor('speech', class extends AudioWorkletProcessor {
  #analyzer;
  #changes = new VisemeChanges();
  #hops = 0;

  /** @param {{ processorOptions: { profile: import('./speech.js').VoiceProfile } }} options */
  constructor({ processorOptions: { profile } }) {
    super();
    this.#analyzer = new SpeechAnalyzer(sampleRate, profile);
    this.port.onmessage = ({ data }) => {
      this.#analyzer = new SpeechAnalyzer(sampleRate, data);
      this.#changes = new VisemeChanges();
    };
  }

  /** @param {Float32Array[][]} inputs */
  process([[samples]]) {
    if (samples) this.#analyzer.push(samples.every(Number.isFinite) ? samples : new Float32Array(samples.length), this.#hear);
    return true;
  }

  /** @param {import('./speech.js').SpeechFrame} frame */
  #hear = (frame) => {
    const send = this.#changes.due(frame);
    this.#hops += 1;
    if (!send && this.#hops % SHOWN) return;
    /** @type {Heard} */
    const heard = { viseme: frame.viseme, weight: frame.weight, level: frame.level, send };
    this.port.postMessage(heard);
  };
});
