// @ts-check
/**
 * A camera as a source: MediaPipe's Face Landmarker runs in the browser, and
 * this module converts its result into ARKit shapes, a head pose and a gaze, as
 * `facelink.js` sends them. The video is sent by picture.js alone.
 *
 * Pure functions first, which tests call in node; then the camera. `tracker.js`
 * loads and runs the tracker.
 *
 * @module camera
 */
import { ARKIT_NAMES } from './facelink.js';
import { inverse, multiply, rotate } from './quaternion.js';
import { CameraProblem, loadTracker, reasonOf } from './tracker.js';

export { CameraProblem, loadTracker, MODEL_URL, TRACKER_CDN, TRACKER_VERSION } from './tracker.js';

/** @typedef {import('./facelink.js').Blendshapes} Blendshapes */
/** @typedef {import('./facelink.js').Gaze} Gaze */
/** @typedef {import('./quaternion.js').Quaternion} Quaternion */
/** @typedef {import('./quaternion.js').Vector} Vector */
/**
 * @typedef {object} Pose In ARKit face axes: x to the performer's own left, y up, z out of the face.
 * @property {Quaternion} rotation Identity looks straight at the camera.
 * @property {Vector} position Metres from the camera; from the neutral position once calibrated.
 */
/**
 * @typedef {object} Rest The neutral face, as the tracker sees it.
 * @property {Blendshapes} shapes
 * @property {Pose | null} head
 */
/**
 * @typedef {object} Face
 * @property {Blendshapes} raw As the tracker gave them.
 * @property {Pose | null} rawHead
 * @property {Blendshapes} shapes All 52, 0..1; `tongueOut` is always 0.
 * @property {Pose | null} head
 * @property {Gaze} gaze
 * @property {{ x: number, y: number, width: number, height: number } | null} box In the video frame, 0..1 from its upper left.
 */

/** Eye rotation, radians, of an EyeLook shape of 1. */
const EYE_RANGE = (35 * Math.PI) / 180;

/** Highest gain that can be set. */
export const MAX_GAIN = 10;

/**
 * Gains of the shapes that the tracker underestimates; the others have 1. They
 * are starting points, not measurements: faces and light differ, and users can
 * change them. Reported: cheekPuff near 0 (mediapipe issue 4436), eyeWide and
 * noseSneer below 0.05 (4450), jawForward likewise (4210). Names without a side
 * stand for both.
 * @type {Readonly<Record<string, number>>}
 */
const WEAK = Object.freeze({
  cheekPuff: 6,
  noseSneer: 6,
  cheekSquint: 4,
  jawForward: 4,
  eyeWide: 3,
  mouthDimple: 2,
  mouthFrown: 2,
  jawLeft: 2,
  jawRight: 2,
  mouthShrugLower: 1.5,
  mouthShrugUpper: 1.5,
  mouthPress: 1.5,
  mouthStretch: 1.5,
  browDown: 1.5,
  eyeBlink: 1.3,
});

/** A shape's name without its side; `mouthLeft` and the like are no pair of sides. @param {string} name */
export function stemOf(name) {
  const stem = name.replace(/(Left|Right)$/, '');
  return stem === 'jaw' || stem === 'mouth' ? name : stem;
}

/** The gain of every shape that the tracker knows, by default. @type {Readonly<Record<string, number>>} */
export const DEFAULT_GAINS = Object.freeze(Object.fromEntries(
  ARKIT_NAMES.filter((name) => name !== 'tongueOut').map((name) => [name, WEAK[stemOf(name)] ?? 1]),
));

/** @param {unknown} x @returns {x is number} */
const finite = (x) => typeof x === 'number' && Number.isFinite(x);
/** @param {number} x */
const unit = (x) => Math.max(0, Math.min(1, x));

/**
 * Gains from storage: unknown names and values that are no numbers are ignored.
 * @param {unknown} kept
 * @returns {Record<string, number>} A gain for every shape
 */
export function usableGains(kept) {
  const gains = { ...DEFAULT_GAINS };
  if (kept && typeof kept === 'object') {
    for (const [name, gain] of Object.entries(kept)) {
      if (Object.hasOwn(gains, name) && finite(gain)) gains[name] = Math.max(0, Math.min(MAX_GAIN, gain));
    }
  }
  return gains;
}

/** The gains that differ from the defaults, for storage. @param {Record<string, number>} gains */
export function changedGains(gains) {
  return Object.fromEntries(Object.entries(gains).filter(([name, gain]) => gain !== DEFAULT_GAINS[name]));
}

/**
 * The scores of one face by ARKit name. `_neutral` and names that are no ARKit
 * shape are ignored.
 * @param {any} categories `[{ categoryName, score }]`
 * @returns {Blendshapes | null} Null without any
 */
export function readCategories(categories) {
  if (!Array.isArray(categories)) return null;
  /** @type {Blendshapes} */
  const shapes = {};
  let any = false;
  for (const category of categories) {
    const name = category?.categoryName;
    if (!Object.hasOwn(DEFAULT_GAINS, name) || !finite(category.score)) continue;
    shapes[name] = unit(category.score);
    any = true;
  }
  return any ? shapes : null;
}

/**
 * The pose in a facial transformation matrix. It maps the canonical face, whose
 * axes are those of ARKit's face anchor (x to the face's own left, y up, z out
 * of it), into a space whose origin is the camera, with x to the right of the
 * image, y up and the camera looking along -z, in centimetres. A face that
 * looks into the camera has its own left on the right of an unmirrored image:
 * the two sets of axes then coincide, and no axis is exchanged.
 * @param {any} matrix `{ data: number[16] }`, column-major, with a uniform scale
 * @returns {Pose | null} Null when it is no pose
 */
export function poseOfMatrix(matrix) {
  const m = matrix?.data;
  if (!m || m.length !== 16) return null;
  for (let i = 0; i < 16; i += 1) if (!finite(m[i])) return null;
  const columns = [0, 4, 8].map((i) => {
    const length = Math.hypot(m[i], m[i + 1], m[i + 2]);
    return length > 1e-6 ? [m[i] / length, m[i + 1] / length, m[i + 2] / length] : null;
  });
  const [x, y, z] = columns;
  if (!x || !y || !z) return null;
  const determinant = x[0] * (y[1] * z[2] - y[2] * z[1]) - y[0] * (x[1] * z[2] - x[2] * z[1]) + z[0] * (x[1] * y[2] - x[2] * y[1]);
  if (determinant < 0.5) return null; // a reflection, or not uniform
  return { rotation: quaternionOf(x, y, z), position: [m[12] / 100, m[13] / 100, m[14] / 100] };
}

/** The rotation whose matrix has these columns. @param {number[]} x @param {number[]} y @param {number[]} z @returns {Quaternion} */
function quaternionOf(x, y, z) {
  // Four times the square of each part; the largest is divided by.
  const squares = [1 + x[0] - y[1] - z[2], 1 - x[0] + y[1] - z[2], 1 - x[0] - y[1] + z[2], 1 + x[0] + y[1] + z[2]];
  const largest = squares.indexOf(Math.max(...squares));
  const q = /** @type {Quaternion[]} */ ([
    [squares[0], x[1] + y[0], z[0] + x[2], y[2] - z[1]],
    [x[1] + y[0], squares[1], y[2] + z[1], z[0] - x[2]],
    [z[0] + x[2], y[2] + z[1], squares[2], x[1] - y[0]],
    [y[2] - z[1], z[0] - x[2], x[1] - y[0], squares[3]],
  ])[largest];
  return normal(q);
}

/** Normalised, with w >= 0. @param {Quaternion} q @returns {Quaternion} */
function normal(q) {
  const length = Math.hypot(...q) * (q[3] < 0 ? -1 : 1);
  return [q[0] / length, q[1] / length, q[2] / length, q[3] / length];
}

/**
 * The head relative to the neutral pose, so that the camera's own height and
 * tilt have no effect.
 * @param {Pose} head
 * @param {Pose | null | undefined} rest
 * @returns {Pose}
 */
export function relativeHead(head, rest) {
  if (!rest) return head;
  const back = inverse(rest.rotation);
  const [x, y, z] = head.position;
  const [rx, ry, rz] = rest.position;
  return { rotation: normal(multiply(back, head.rotation)), position: rotate(back, [x - rx, y - ry, z - rz]) };
}

/**
 * All 52 shapes: the neutral face subtracted, rescaled so that 1 remains 1,
 * times the gain, clamped to 0..1.
 * @param {Blendshapes} raw
 * @param {Record<string, number>} gains
 * @param {Blendshapes} [rest]
 * @returns {Blendshapes}
 */
export function shapesOf(raw, gains, rest = {}) {
  /** @type {Blendshapes} */
  const shapes = {};
  for (const name of ARKIT_NAMES) {
    // A shape near 1 at rest has no range left: rescaled, it would be noise.
    const neutral = Math.min(rest[name] ?? 0, 0.9);
    shapes[name] = unit(((raw[name] ?? 0) - neutral) / (1 - neutral) * (gains[name] ?? 1));
  }
  return shapes;
}

/** The gaze that the EyeLook shapes give. @param {Blendshapes} shapes @returns {Gaze} */
export function gazeOf(shapes) {
  /** @param {string} name */
  const v = (name) => shapes[name] ?? 0;
  return {
    left: {
      yaw: (v('eyeLookOutLeft') - v('eyeLookInLeft')) * EYE_RANGE,
      pitch: (v('eyeLookUpLeft') - v('eyeLookDownLeft')) * EYE_RANGE,
    },
    right: {
      yaw: (v('eyeLookInRight') - v('eyeLookOutRight')) * EYE_RANGE,
      pitch: (v('eyeLookUpRight') - v('eyeLookDownRight')) * EYE_RANGE,
    },
  };
}

/** The name of the same shape on the other side; of `jawLeft` and the like, of the other direction. @param {string} name */
export function otherSide(name) {
  return name.replace(/(Left|Right)$/, (side) => (side === 'Left' ? 'Right' : 'Left'));
}

/**
 * The face mirrored: left and right exchanged.
 * @param {{ shapes: Blendshapes, head: Pose | null, gaze: Gaze }} face
 * @returns {{ shapes: Blendshapes, head: Pose | null, gaze: Gaze }}
 */
export function mirrored({ shapes, head, gaze }) {
  /** @type {Blendshapes} */
  const other = {};
  for (const name in shapes) other[otherSide(name)] = shapes[name];
  return {
    shapes: other,
    head: head && {
      rotation: [head.rotation[0], -head.rotation[1], -head.rotation[2], head.rotation[3]],
      position: [-head.position[0], head.position[1], head.position[2]],
    },
    gaze: {
      left: { yaw: -gaze.right.yaw, pitch: gaze.right.pitch },
      right: { yaw: -gaze.left.yaw, pitch: gaze.left.pitch },
    },
  };
}

/** @param {any} landmarks `[{ x, y }]` in the video frame, 0..1 @returns {Face['box']} */
function boxOf(landmarks) {
  if (!Array.isArray(landmarks) || !landmarks.length) return null;
  let left = 1, top = 1, right = 0, bottom = 0;
  for (const { x, y } of landmarks) {
    if (x < left) left = x;
    if (x > right) right = x;
    if (y < top) top = y;
    if (y > bottom) bottom = y;
  }
  [left, top, right, bottom] = [left, top, right, bottom].map(unit);
  return right > left && bottom > top ? { x: left, y: top, width: right - left, height: bottom - top } : null;
}

/**
 * The tracker's result for one video frame, as a face to send.
 * @param {any} result A `FaceLandmarkerResult`
 * @param {{ gains: Record<string, number>, rest: Rest | null, mirror: boolean }} settings
 * @returns {Face | null} Null without a face
 */
export function faceOf(result, { gains, rest, mirror }) {
  const raw = readCategories(result?.faceBlendshapes?.[0]?.categories);
  if (!raw) return null;
  const rawHead = poseOfMatrix(result.facialTransformationMatrixes?.[0]);
  const shapes = shapesOf(raw, gains, rest?.shapes);
  const own = { shapes, head: rawHead && relativeHead(rawHead, rest?.head), gaze: gazeOf(shapes) };
  return { raw, rawHead, ...(mirror ? mirrored(own) : own), box: boxOf(result.faceLandmarks?.[0]) };
}

/** Video frames of a calibration. */
export const REST_SAMPLES = 20;

/**
 * The neutral face from several video frames: the median of each shape, so that
 * a blink has no effect, and the mean of the head.
 * @param {Pick<Face, 'raw' | 'rawHead'>[]} faces At least one
 * @returns {Rest}
 */
export function restOf(faces) {
  /** @type {Blendshapes} */
  const shapes = {};
  for (const name of Object.keys(DEFAULT_GAINS)) {
    const values = faces.map((face) => face.raw[name] ?? 0).sort((a, b) => a - b);
    shapes[name] = values[(values.length - 1) >> 1];
  }
  const heads = faces.flatMap((face) => face.rawHead ?? []);
  if (!heads.length) return { shapes, head: null };
  /** @type {Quaternion} */
  const sum = [0, 0, 0, 0];
  /** @type {Vector} */
  const place = [0, 0, 0];
  const first = heads[0].rotation;
  for (const { rotation, position } of heads) {
    const same = rotation.reduce((dot, part, i) => dot + part * first[i], 0) < 0 ? -1 : 1;
    for (let i = 0; i < 4; i += 1) sum[i] += rotation[i] * same;
    for (let i = 0; i < 3; i += 1) place[i] += position[i] / heads.length;
  }
  return { shapes, head: { rotation: normal(sum), position: place } };
}

/** Browsers give a page that is not secure no camera and no microphone. @param {string} device */
export function insecure(device) {
  return new CameraProblem('insecure', `Browsers allow the ${device} on secure pages only, and this page is not secure.`, {
    advice: 'Open it by its https:// address.',
  });
}

/**
 * The problem behind an error of `getUserMedia`.
 * @param {any} error
 * @param {string} [device] Its name
 * @returns {CameraProblem}
 */
export function cameraProblem(error, device = 'camera') {
  if (error instanceof CameraProblem) return error;
  switch (error?.name) {
    case 'NotAllowedError':
    case 'SecurityError':
    case 'PermissionDeniedError':
      return new CameraProblem('denied', `The browser was not allowed to use the ${device}.`, {
        advice: `Allow the ${device} for this page: tap the symbol next to its address (on an iPhone: aA, Website Settings), then press the button again.`,
        cause: error,
      });
    case 'NotFoundError':
    case 'DevicesNotFoundError':
      return new CameraProblem('none', `No ${device} was found.`, { advice: 'Connect one, or open this page on a phone.', cause: error });
    case 'NotReadableError':
    case 'TrackStartError':
    case 'AbortError':
      return new CameraProblem('busy', `The ${device} is in use by another program, or does not answer.`, {
        advice: 'Close other apps and pages that use it, then press the button again.', cause: error,
      });
    default:
      return new CameraProblem('camera', `The ${device} could not be opened: ${error?.message || error}`, { cause: error });
  }
}

/** Thins video frames to a rate. */
export class Pace {
  #due = -Infinity;
  #last = -Infinity;
  #interval = 1000 / 30;

  /**
   * @param {number} now Milliseconds
   * @param {number} fps Highest rate
   * @returns {boolean} Whether this video frame is due
   */
  take(now, fps) {
    const period = 1000 / fps;
    const gap = now - this.#last;
    this.#last = now;
    if (gap > 0 && gap < 500) this.#interval += (gap - this.#interval) * 0.1;
    // Video frames arrive at the camera's rate: the nearest one is taken.
    if (now < this.#due - Math.min(period, this.#interval) / 2) return false;
    this.#due = Math.max(this.#due + period, now);
    return true;
  }
}

// ---- the camera -----------------------------------------------------------------

/** The face counts as lost after so many pictures in a row that were looked at without one, whatever their rate. */
const LOST_AFTER_PICTURES = 2;
/** And not before this time, ms: at high rates the tracker misses a few. */
const LOST_AFTER_MS = 120;
/** The face counts as lost after this time without a video frame, ms; longer where they come more slowly. */
const BLIND_AFTER_MS = 500;
/** So many intervals between video frames. */
const BLIND_AFTER_FRAMES = 3;
/** Interval of the frames that report a lost face, ms: a single one may itself be lost. */
const LOST_EVERY_MS = 250;
/** Video without a call of `requestVideoFrameCallback` for this time is polled instead, ms. */
const CALLBACK_MS = 1000;
/** A preview that stays paused for this time on a visible page is started again, ms. */
const PAUSED_MS = 2000;
/** Failures in a row after which the tracker is given up. */
const FAILURES = 5;

/**
 * Calls back for each new frame of a video; those that come while the callback
 * runs are skipped. Uses `requestVideoFrameCallback`. WebKitGTK has that method
 * and never calls back: where video plays without a call, it is polled, until
 * there is one.
 */
export class VideoFrames {
  #video;
  #onFrame;
  #rate;
  #running = false;
  #polling = false;
  #request = 0;
  #animation = 0;
  /** Since when a call is overdue. */
  #since = 0;
  /** Whether this video's count of frames, or its time, is known to move. */
  #counts = false;
  #shown = 0;
  #shownAt = 0;

  /**
   * @param {HTMLVideoElement} video
   * @param {(now: number, captured?: number) => void} onFrame When it was shown and, where the browser reports it, captured; as `performance.now()`
   * @param {() => number} [rate] Of the camera, frames a second; polling finds no more
   */
  constructor(video, onFrame, rate = () => 30) {
    this.#video = video;
    this.#onFrame = onFrame;
    this.#rate = rate;
  }

  start() {
    this.stop();
    this.#running = true;
    this.#polling = !('requestVideoFrameCallback' in this.#video);
    this.#counts = false;
    this.#shown = this.#counter();
    this.#since = this.#shownAt = performance.now();
    this.#next();
  }

  stop() {
    this.#running = false;
    this.#cancel();
  }

  /** Notices that there are no calls. Call it a few times a second. */
  check() {
    const video = this.#video;
    const now = performance.now();
    if (!this.#running || this.#polling) return;
    if (video.paused || video.readyState < 2 || document.visibilityState === 'hidden') this.#since = now;
    else if (now - this.#since > CALLBACK_MS) {
      this.#polling = true;
      this.#next();
    }
  }

  #cancel() {
    if (this.#request) this.#video.cancelVideoFrameCallback(this.#request);
    if (this.#animation) cancelAnimationFrame(this.#animation);
    this.#request = this.#animation = 0;
  }

  #next() {
    this.#cancel();
    if (!this.#running) return;
    if ('requestVideoFrameCallback' in this.#video) {
      this.#request = this.#video.requestVideoFrameCallback((now, meta) => {
        this.#request = 0;
        this.#polling = false;
        this.#counts = true; // a video without calls now is one without frames
        this.#since = performance.now();
        this.#call(now, /** @type {any} */ (meta).captureTime);
      });
    }
    if (this.#polling) {
      const poll = () => {
        if (this.#isNew()) this.#call(performance.now());
        else this.#animation = requestAnimationFrame(poll);
      };
      this.#animation = requestAnimationFrame(poll);
    }
  }

  /** @param {number} now @param {number} [captured] */
  #call(now, captured) {
    try {
      this.#onFrame(now, captured);
    } finally {
      this.#since = performance.now();
      this.#next();
    }
  }

  /** What moves when there is a frame; the time of a stream may move without one. */
  #counter() {
    return this.#video.getVideoPlaybackQuality?.().totalVideoFrames || this.#video.currentTime;
  }

  #isNew() {
    const video = this.#video;
    const now = performance.now();
    // A little early, for the display and the camera are not in step.
    if (video.readyState < 2 || video.paused || now - this.#shownAt < 900 / this.#rate()) return false;
    const shown = this.#counter();
    // A counter that has never moved says nothing: then there is a frame at the camera's rate.
    if (shown === this.#shown && this.#counts) return false;
    if (shown !== this.#shown) this.#counts = true;
    this.#shown = shown;
    this.#shownAt = now;
    return true;
  }
}

/**
 * @typedef {object} Choice Which camera; default: the front camera.
 * @property {'user' | 'environment'} [facing]
 * @property {string} [deviceId]
 */
/**
 * @typedef {object} Figures
 * @property {number} cameraFps Frame rate of the camera.
 * @property {number} fps Frame rate of the tracker.
 * @property {number} inferenceMs Of the tracker for one video frame, smoothed.
 * @property {'GPU' | 'CPU'} delegate
 * @property {number} width Of the video, pixels.
 * @property {number} height
 */

/** A camera and its tracker. */
export class FaceCamera {
  /** @type {Record<string, number>} */
  gains = { ...DEFAULT_GAINS };
  /** The neutral face, once it is known. @type {Rest | null} */
  rest = null;
  /** Whether the face is sent mirrored. */
  mirror = false;

  /** @type {((face: Face, time: number) => void) | null} `time`: capture time, Unix ms. */
  onFace = null;
  /** No face in sight: called at once and repeatedly until there is one. @type {(() => void) | null} */
  onLost = null;
  /** @type {((text: string) => void) | null} */
  onProgress = null;
  /** The camera has stopped by itself. @type {((problem: CameraProblem) => void) | null} */
  onProblem = null;

  #video;
  #server;
  #token;
  #fps;
  /** @type {MediaStream | null} */
  #stream = null;
  /** @type {Promise<import('./tracker.js').Tracker> | null} */
  #loading = null;
  /** @type {import('./tracker.js').Tracker | null} */
  #tracker = null;
  #recovering = false;
  /** Counts starts and stops: work of an earlier run is abandoned. */
  #run = 0;
  #pace = new Pace();
  #frames;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #watch;
  /** Ends the listeners of a run. @type {AbortController | null} */
  #listeners = null;
  #lastVideoFrame = 0;
  /** Between video frames, smoothed, ms. */
  #interval = 0;
  #pausedSince = 0;
  #lastFace = 0;
  /** Pictures in a row that were looked at without a face. */
  #misses = 0;
  #lost = false;
  #failures = 0;
  #inference = 0;
  #lastLostReport = 0;
  /** Times of the camera's and of the tracker's video frames. @type {[number[], number[]]} */
  #seen = [[], []];
  /** @type {{ faces: Face[], done: (rest: Rest) => void, fail: (error: Error) => void, timer: ReturnType<typeof setTimeout> } | null} */
  #resting = null;

  /**
   * @param {HTMLVideoElement} video Shows the video
   * @param {{ server: string, token?: string | null, fps?: () => number }} options `fps` gives the highest rate, read for each video frame
   */
  constructor(video, { server, token = null, fps = () => 60 }) {
    this.#video = video;
    this.#frames = new VideoFrames(video, (now, captured) => this.#onVideoFrame(now, captured), () => this.settings.frameRate || 30);
    this.#server = server;
    this.#token = token;
    this.#fps = fps;
  }

  get running() {
    return this.#stream !== null;
  }

  /** The tracker in use, once it is loaded. */
  get tracker() {
    return this.#tracker;
  }

  /** The picture of the camera in use. @returns {MediaStreamTrack | null} */
  get track() {
    return this.#stream?.getVideoTracks()[0] ?? null;
  }

  /** The settings of the camera in use: its id, where it faces, its size. @returns {MediaTrackSettings} */
  get settings() {
    return this.#stream?.getVideoTracks()[0]?.getSettings() ?? {};
  }

  /**
   * Opens a camera and starts tracking; replaces the camera that is running.
   * @param {Choice} [choice]
   * @returns {Promise<boolean>} False when it was stopped meanwhile
   * @throws {CameraProblem}
   */
  async start(choice = {}) {
    const run = ++this.#run;
    this.#release(); // phones open one camera at a time
    const over = () => run !== this.#run;
    try {
      const stream = await this.#open(choice);
      if (over()) {
        for (const track of stream.getTracks()) track.stop();
        return false;
      }
      this.#stream = stream;
      const [track] = stream.getVideoTracks();
      track.addEventListener('ended', () => {
        if (over()) return;
        this.#fail(new CameraProblem('ended', 'The camera has stopped.', {
          advice: 'It was unplugged, or another program uses it. Press the button to use it again.',
        }));
      });
      this.#video.srcObject = stream;
      this.#resumeOn(track);
      this.#play();
      this.#loading ??= loadTracker({ server: this.#server, token: this.#token, progress: (text) => this.onProgress?.(text) });
      const tracker = await this.#loading.catch((error) => {
        this.#loading = null; // the next start tries again
        throw error;
      });
      if (over()) return false;
      this.#tracker ??= tracker;
    } catch (error) {
      if (over()) return false;
      this.stop();
      throw cameraProblem(error);
    }
    this.#failures = 0;
    this.#inference = 0;
    this.#lastVideoFrame = this.#lastFace = performance.now();
    this.#interval = 1000 / (this.settings.frameRate || 30);
    this.#misses = 0;
    this.#pausedSince = 0;
    this.#lost = false;
    this.#pace = new Pace();
    this.#seen = [[], []];
    this.#watch = setInterval(() => {
      this.#frames.check();
      this.#keepPlaying();
      this.#look();
    }, LOST_EVERY_MS);
    this.#frames.start();
    return true;
  }

  /** Closes the camera. The tracker stays loaded. */
  stop() {
    this.#run += 1;
    this.#release();
    this.#resting?.fail(new Error('the camera was stopped'));
  }

  /**
   * Takes the next faces as the neutral one: its shapes are subtracted, and the
   * head is relative to it.
   * @param {number} [timeout] Milliseconds
   * @returns {Promise<Rest>} Rejects without a face
   */
  calibrate(timeout = 8000) {
    this.#resting?.fail(new Error('another calibration was started'));
    return new Promise((resolve, reject) => {
      const end = () => {
        clearTimeout(timer);
        this.#resting = null;
      };
      const timer = setTimeout(() => {
        end();
        reject(new Error('no face was seen'));
      }, timeout);
      this.#resting = {
        faces: [],
        timer,
        done: (rest) => {
          end();
          this.rest = rest;
          resolve(rest);
        },
        fail: (error) => {
          end();
          reject(error);
        },
      };
    });
  }

  /** Forgets the neutral face. */
  reset() {
    this.#resting?.fail(new Error('reset'));
    this.rest = null;
  }

  /** @returns {Figures} */
  figures() {
    const now = performance.now();
    const [cameraFps, fps] = this.#seen.map((times) => {
      while (times.length && now - times[0] > 1000) times.shift();
      return times.length;
    });
    return {
      cameraFps, fps, inferenceMs: this.#inference, delegate: this.#tracker?.delegate ?? 'CPU',
      width: this.#video.videoWidth, height: this.#video.videoHeight,
    };
  }

  /** @param {Choice} choice @returns {Promise<MediaStream>} */
  async #open({ facing, deviceId }) {
    if (!navigator.mediaDevices?.getUserMedia) throw insecure('camera');
    // The tracker reads 256 x 256 pixels of a face: a larger video only costs time.
    const size = { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 }, resizeMode: { ideal: 'none' } };
    const which = deviceId ? { deviceId: { exact: deviceId } } : { facingMode: { ideal: facing ?? 'user' } };
    try {
      return await navigator.mediaDevices.getUserMedia({ audio: false, video: { ...size, ...which } });
    } catch (error) {
      // The camera that was chosen last time is not connected: any other one.
      if (/** @type {any} */ (error)?.name !== 'OverconstrainedError') throw error;
      return navigator.mediaDevices.getUserMedia({ audio: false, video: true });
    }
  }

  #release() {
    clearInterval(this.#watch);
    this.#frames.stop();
    this.#listeners?.abort();
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
    this.#stream = null;
    this.#video.srcObject = null;
  }

  /** @param {CameraProblem} problem */
  #fail(problem) {
    this.stop();
    this.onProblem?.(problem);
  }

  /** Plays again where the system has paused the preview: a call, a locked screen, another app. @param {MediaStreamTrack} track */
  #resumeOn(track) {
    this.#listeners = new AbortController();
    const { signal } = this.#listeners;
    const play = () => this.#play();
    document.addEventListener('visibilitychange', play, { signal });
    for (const event of ['pageshow', 'focus', 'pointerup']) addEventListener(event, play, { signal });
    track.addEventListener('unmute', play, { signal });
  }

  #play() {
    // A page in the background may not play; it plays when it is visible again.
    if (this.#stream && this.#video.paused && document.visibilityState !== 'hidden') this.#video.play().catch(() => {});
  }

  /** A preview that was paused without any event of `#resumeOn`. */
  #keepPlaying() {
    const now = performance.now();
    if (!this.#video.paused || document.visibilityState === 'hidden') this.#pausedSince = 0;
    else if (!this.#pausedSince) this.#pausedSince = now;
    else if (now - this.#pausedSince > PAUSED_MS) {
      this.#pausedSince = now;
      this.#play();
    }
  }

  /**
   * @param {number} now
   * @param {number} [captured] Capture time, where the browser reports it
   */
  #onVideoFrame(now, captured) {
    const began = performance.now();
    this.#interval += (Math.min(1000, began - this.#lastVideoFrame) - this.#interval) * 0.3;
    this.#lastVideoFrame = began;
    this.#seen[0].push(began);
    if (!this.#tracker || this.#recovering) return;
    if (!this.#pace.take(now, this.#fps()) || !(this.#video.videoWidth > 0)) return;
    this.#seen[1].push(began);
    const age = captured !== undefined && captured <= now && now - captured < 1000 ? now - captured : 0;
    this.#read(this.#tracker, Date.now() - Math.max(0, began - now) - age);
  }

  /** @param {import('./tracker.js').Tracker} tracker @param {number} time Capture time, Unix ms */
  #read(tracker, time) {
    let face;
    try {
      const { result, ms, warm } = tracker.detect(this.#video);
      this.#failures = 0;
      this.#inference = warm && this.#inference ? this.#inference + (ms - this.#inference) * 0.1 : ms;
      face = faceOf(result, this);
    } catch (error) {
      this.#failures += 1;
      console.warn('the face tracker failed:', error);
      if (this.#failures >= FAILURES) void this.#recover(tracker, error);
      return;
    }
    const now = performance.now();
    this.#lastVideoFrame = now; // frames that came meanwhile were not missing
    if (!face) {
      this.#misses += 1;
      this.#look();
      return;
    }
    this.#lastFace = now;
    this.#misses = 0;
    this.#lost = false;
    const resting = this.#resting;
    if (resting && resting.faces.push(face) >= REST_SAMPLES) resting.done(restOf(resting.faces));
    this.onFace?.(face, time);
  }

  /** Whether a face is still in sight. */
  #look() {
    const now = performance.now();
    const out = this.#misses >= LOST_AFTER_PICTURES && now - this.#lastFace > LOST_AFTER_MS;
    const blind = now - this.#lastVideoFrame > Math.max(BLIND_AFTER_MS, BLIND_AFTER_FRAMES * this.#interval);
    if (!out && !blind) return;
    if (this.#lost && now - this.#lastLostReport < LOST_EVERY_MS * 0.8) return;
    this.#lost = true;
    this.#lastLostReport = now;
    this.onLost?.();
  }

  /** After failures of the tracker. @param {import('./tracker.js').Tracker} tracker @param {unknown} cause */
  async #recover(tracker, cause) {
    this.#recovering = true;
    try {
      await tracker.recover(cause);
      this.#failures = 0;
    } catch (error) {
      tracker.close();
      this.#tracker = this.#loading = null; // the next start loads another
      if (this.#stream) {
        this.#fail(new CameraProblem('tracker', `The face tracker does not work in this browser: ${reasonOf(error)}`, {
          advice: 'A current Safari, Chrome, Edge or Firefox can do it.', cause: error,
        }));
      }
    } finally {
      this.#recovering = false;
    }
  }
}
