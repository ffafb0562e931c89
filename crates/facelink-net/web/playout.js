// @ts-check
/**
 * The jitter buffer of a face: which face is shown now? A cursor runs evenly along the source's own time, as little behind as
 * the arrivals of the frames allow, and the face between two frames is interpolated. What is missing is held, and eases to
 * neutral. The same in outline as `facelink::timing::Playout`. Times are milliseconds and arguments.
 *
 * @module playout
 */
import { ARKIT_NAMES } from './facelink.js';
import { gazeOf, neutralFace, slerp } from './mapping.js';

/** @typedef {import('./mapping.js').Face} Face */
/** @typedef {{ at: number, face: Face, tracked: boolean }} Frame */

const MAX_FRAMES = 64;
/** Arrivals from which the least and the usual delay are taken. */
const MEMORY_MS = 8000;
const MAX_ARRIVALS = 512;
const QUANTILE = 0.95;
/** How much of the time between two frames is waited on top. */
const MARGIN = 0.75;
/** The longest that a face is behind. */
const MAX_DELAY_MS = 150;
/** Slower sources are not waited for by their interval. */
const SLOWEST_MS = 120;
/** The cursor runs at most this much faster or slower, and approaches with this time constant. */
const MAX_SPEED = 0.1;
const APPROACH_MS = 250;
/** Further off than this it jumps. */
const JUMP_MS = 250;
/** Between frames this far apart the face holds, and moves only just before the later one. */
const BRIDGE_MS = 300;
const BRIDGE_END_MS = 100;
/** A silent face is held for this long, then eases to neutral, and back when it returns. */
const HOLD_MS = 250;
const EASE_OUT_MS = 750;
const EASE_IN_MS = 150;
/** A lid that came so much further than is shown, between two pictures, is shown where it was. */
const PEAK = 0.1;
const LIDS = ['eyeBlinkLeft', 'eyeBlinkRight'].map((name) => ARKIT_NAMES.indexOf(name));

/** @param {number} t */
const smooth = (t) => t * t * (3 - 2 * t);

/** The face of a `blendshape_update`, as facelink.js reports it. @param {Record<string, any>} message @returns {Face} */
export function faceOf({ arkit, data, head, gaze }) {
  const face = neutralFace();
  ARKIT_NAMES.forEach((name, i) => { face.weights[i] = arkit[name] ?? 0; });
  for (const name in data) if (!ARKIT_NAMES.includes(name)) face.channels[name] = data[name];
  const q = head?.rotation;
  const length = q?.length === 4 ? Math.hypot(q[0], q[1], q[2], q[3]) : 0;
  if (length > 1e-3) face.head = [q[0] / length, q[1] / length, q[2] / length, q[3] / length];
  face.gaze = gaze ? [[gaze.left.yaw, gaze.left.pitch], [gaze.right.yaw, gaze.right.pitch]] : gazeOf(face.weights);
  return face;
}

/** @param {Face} out @param {Face} a @param {Face} b @param {number} t */
function mix(out, a, b, t) {
  for (let i = 0; i < out.weights.length; i += 1) out.weights[i] = a.weights[i] + (b.weights[i] - a.weights[i]) * t;
  out.channels = {};
  for (const name in a.channels) out.channels[name] = a.channels[name] * (1 - t);
  for (const name in b.channels) out.channels[name] = (out.channels[name] ?? 0) + b.channels[name] * t;
  out.head = slerp(a.head, b.head, t);
  for (const eye of [0, 1]) for (const axis of [0, 1]) out.gaze[eye][axis] = a.gaze[eye][axis] + (b.gaze[eye][axis] - a.gaze[eye][axis]) * t;
}

export class Playout {
  /** In the source's time. @type {Frame[]} */ #frames = [];
  /** When frames arrived, and how much later than in the source's time. @type {[at: number, late: number][]} */ #arrivals = [];
  /** @type {number | null} */ #cursor = null;
  #shownAt = 0;
  #newestAt = -1e9;
  #interval = 1000 / 60;
  #longer = 0;
  #presence = 0;
  /** How far a face that returned while it eased has blended into the live one, and from which. */ #returned = 1;
  #from = neutralFace();
  #wasLive = false;
  #neutral = neutralFace();
  #out = neutralFace();
  #live = neutralFace();

  /** How far behind the quickest frame the face is shown, ms. */
  delay = 0;
  /** Frames that came after their moment. */
  late = 0;

  /** Whether anything is shown. */
  get presence() { return this.#presence; }

  /**
   * @param {Face} face
   * @param {number} time When it was captured, on the source's clock
   * @param {number} now
   * @param {boolean} [tracked] `false`: the source does not see the face
   */
  push(face, time, now, tracked = true) {
    const newest = this.#frames.at(-1);
    const step = newest ? time - newest.at : 0;
    // A clock that was set, or another source: what was there is of another time.
    if (newest && Math.abs(step - (now - this.#newestAt)) > 2000) {
      this.#frames = [];
      this.#arrivals = [];
      this.#cursor = null;
    } else if (newest && step <= 0) {
      if (this.#cursor !== null && time < this.#cursor) this.late += 1;
      const place = this.#frames.findIndex((frame) => frame.at >= time);
      if (this.#frames[place].at !== time) this.#frames.splice(place, 0, { at: time, face, tracked });
      if (this.#frames.length > MAX_FRAMES) this.#frames.shift();
      this.#arrival(now, time);
      return;
    }
    if (this.#cursor !== null && time < this.#cursor) this.late += 1;
    if (step > 0 && step < 2000) {
      // One longer step is a lost frame, two are a source, or a relay, that sends fewer.
      this.#longer = step > 1.6 * this.#interval ? this.#longer + 1 : 0;
      this.#interval += (Math.min(step, SLOWEST_MS) - this.#interval) * (this.#longer > 1 ? 0.5 : 0.1);
    }
    this.#newestAt = now;
    this.#arrival(now, time);
    this.#frames.push({ at: time, face, tracked });
    if (this.#frames.length > MAX_FRAMES) this.#frames.shift();
  }

  /** @param {number} now @param {number} time */
  #arrival(now, time) {
    this.#arrivals.push([now, now - time]);
    while (this.#arrivals.length > MAX_ARRIVALS || this.#arrivals[0][0] < now - MEMORY_MS) this.#arrivals.shift();
  }

  /** The least delay of late, and where the cursor should be. @param {number} now */
  #target(now) {
    const delays = this.#arrivals.map(([, late]) => late).sort((a, b) => a - b);
    const usual = delays[Math.min(delays.length - 1, Math.floor(delays.length * QUANTILE))] - delays[0];
    this.delay = Math.min(MAX_DELAY_MS, usual + this.#interval * MARGIN);
    return now - delays[0] - this.delay;
  }

  /** The face to show. It is the same object each time. @param {number} now @returns {Face} */
  show(now) {
    const dt = Math.min(1000, Math.max(0, now - this.#shownAt));
    this.#shownAt = now;
    const frames = this.#frames;
    if (!frames.length) return this.#neutral;
    const target = this.#target(now);
    const before = this.#cursor;
    if (before === null || Math.abs(target - (before + dt)) > JUMP_MS) this.#cursor = target;
    else {
      const off = target - (before + dt);
      this.#cursor = before + dt + Math.max(-MAX_SPEED * dt, Math.min(MAX_SPEED * dt, off * (1 - Math.exp(-dt / APPROACH_MS))));
    }
    // Where the next frame has not come, the source's time stands still here: going on with it would jump when it comes.
    this.#cursor = Math.max(before ?? this.#cursor, Math.min(this.#cursor, frames[frames.length - 1].at));
    const cursor = this.#cursor;
    let next = frames.findIndex((frame) => frame.at > cursor);
    if (next < 0) next = frames.length;
    const last = frames[Math.max(0, next - 1)];
    if (next > 0 && next < frames.length) {
      const [a, b] = [last, frames[next]];
      const from = b.at - a.at > BRIDGE_MS ? b.at - BRIDGE_END_MS : a.at;
      mix(this.#live, a.face, b.face, Math.max(0, (cursor - from) / (b.at - from)));
    } else mix(this.#live, last.face, last.face, 0);
    // A blink between two pictures is shown once.
    for (const frame of frames) {
      if (before === null || frame.at <= before || frame.at > cursor) continue;
      for (const lid of LIDS) if (frame.face.weights[lid] > this.#live.weights[lid] + PEAK) this.#live.weights[lid] = frame.face.weights[lid];
    }
    while (frames.length > 2 && frames[1].at < cursor - 250) frames.shift();
    this.#step(dt, now - this.#newestAt <= Math.max(HOLD_MS, 2 * this.#interval) && last.tracked);
    return this.#out;
  }

  /** Eases in and out. @param {number} dt @param {boolean} live */
  #step(dt, live) {
    if (live && !this.#wasLive && this.#presence > 0 && this.#presence < 0.9) {
      this.#returned = 0;
      mix(this.#from, this.#out, this.#out, 0);
    }
    this.#wasLive = live;
    this.#returned = Math.min(1, this.#returned + dt / EASE_IN_MS);
    this.#presence = live ? Math.min(1, this.#presence + dt / EASE_IN_MS) : Math.max(0, this.#presence - dt / EASE_OUT_MS);
    mix(this.#out, this.#neutral, this.#live, this.#returned < 1 ? 1 : smooth(this.#presence));
    if (this.#returned < 1) mix(this.#out, this.#from, structuredCopy(this.#out), smooth(this.#returned));
  }
}

/** @param {Face} face @returns {Face} */
function structuredCopy(face) {
  const copy = neutralFace();
  mix(copy, face, face, 0);
  return copy;
}
