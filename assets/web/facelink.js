// @ts-check
/**
 * FaceLink's JavaScript client: sends a face (52 ARKit shapes and the head) to
 * a FaceLink server and receives the faces of others.
 *
 * Frames flow over a WebSocket as soon as it is open. A WebRTC data channel
 * (unordered, no retransmission) is opened in the background; frames move to
 * it when it answers and move back at once when it falls silent. Nothing is
 * ever queued: a frame that cannot leave now is dropped in favour of the next.
 *
 * One ES module, no dependencies, no build step.
 *
 * @example
 * import { FacialAnimationWebRTCClient } from './facelink.js';
 * const client = new FacialAnimationWebRTCClient('ws://192.168.68.132:8765');
 * client.onBlendshapeUpdate = (blendshapes, arkitRaw) => { ... };
 * await client.connect();
 * client.sendARKitData({ jawOpen: 0.5, eyeBlinkLeft: 1, eyeBlinkRight: 1 });
 *
 * @module facelink
 */

/**
 * @typedef {Record<string, number>} Blendshapes Weights by name; ARKit names
 *   (`jawOpen`) with 0..1, where 0 is the neutral face.
 */
/**
 * @typedef {object} Head The head's pose in ARKit face axes (right-handed;
 *   x to the performer's own left, y up, z out of the face).
 * @property {ArrayLike<number>} [rotation] Unit quaternion `[x, y, z, w]`.
 * @property {ArrayLike<number>} [position] `[x, y, z]` in metres.
 */
/**
 * @typedef {object} SendOptions
 * @property {Head | null} [head] Head pose of this frame.
 * @property {number | string} [timestamp] Capture time: Unix milliseconds, or
 *   an ISO 8601 string. Default: now. Only JSON frames carry it.
 * @property {boolean} [tracked] `false` says that the face is out of sight.
 * @property {string} [subject] Send as another subject than the connection's.
 */
/**
 * @typedef {object} ClientOptions
 * @property {string} [subject] Name under which the server lists this face.
 * @property {string} [token] Pairing token; default: `?token=` of the server
 *   URL, then of the page.
 * @property {boolean} [debug] Verbose console logging. Default false.
 * @property {boolean} [webrtc] Try WebRTC. Default true.
 * @property {boolean} [reconnect] Reconnect by itself. Default true.
 * @property {RTCIceServer[]} [iceServers] STUN/TURN servers; default: those the
 *   server names when it greets.
 * @property {'float32' | 'json'} [binary] How whole frames are written:
 *   little-endian floats (one datagram a frame, the default), or always JSON.
 * @property {string} [client] Name and version of the application, for logs.
 */
/** @typedef {'idle' | 'connecting' | 'connected' | 'reconnecting' | 'failed' | 'closed'} ClientState */
/** @typedef {'webrtc' | 'websocket' | 'none'} Transport */
/**
 * @typedef {object} ClientStats
 * @property {string | null} connectionId Given by the server.
 * @property {ClientState} state
 * @property {Transport} transport What frames travel over now.
 * @property {number} averageLatencyMs One-way latency in ms: half of the round
 *   trip, smoothed. 0 until measured on the present transport.
 * @property {number} rttMs Newest round trip in ms. 0 until measured.
 * @property {number} messageCount Messages sent and received.
 * @property {number} sent Messages sent (frames, visemes, control).
 * @property {number} framesSent Frames sent by `sendARKitData`.
 * @property {number} dropped Frames dropped: no room to send, or the connection was lost.
 * @property {number} thinned Frames merged into the next one to keep to `targetFPS`.
 * @property {number} received Messages received.
 * @property {number} bufferedAmount Bytes that wait in the present transport.
 * @property {RTCDataChannelState | 'none'} dataChannelState
 * @property {number} targetFPS Highest number of frames to send per second.
 * @property {number} currentFPS Frames sent in the last second.
 * @property {number} bytesPerSecond Payload bytes sent in the last second.
 * @property {number} reconnects How often the WebSocket came back.
 */
/**
 * @typedef {Error & { code: string }} ClientError `code` is one of
 *   `unauthorized`, `unreachable`, `refused`, `mixed-content`, `bad-url`,
 *   `timeout`, `closed`, `server` (the server's own complaint) or `webrtc`.
 */
/** @typedef {Record<string, any>} Message A message of the wire, see docs. */

/** The 52 ARKit shapes in the order of the binary frame. */
export const ARKIT_NAMES = Object.freeze([
  'eyeBlinkLeft', 'eyeLookDownLeft', 'eyeLookInLeft', 'eyeLookOutLeft', 'eyeLookUpLeft',
  'eyeSquintLeft', 'eyeWideLeft',
  'eyeBlinkRight', 'eyeLookDownRight', 'eyeLookInRight', 'eyeLookOutRight', 'eyeLookUpRight',
  'eyeSquintRight', 'eyeWideRight',
  'jawForward', 'jawLeft', 'jawRight', 'jawOpen',
  'mouthClose', 'mouthFunnel', 'mouthPucker', 'mouthLeft', 'mouthRight',
  'mouthSmileLeft', 'mouthSmileRight', 'mouthFrownLeft', 'mouthFrownRight',
  'mouthDimpleLeft', 'mouthDimpleRight', 'mouthStretchLeft', 'mouthStretchRight',
  'mouthRollLower', 'mouthRollUpper', 'mouthShrugLower', 'mouthShrugUpper',
  'mouthPressLeft', 'mouthPressRight', 'mouthLowerDownLeft', 'mouthLowerDownRight',
  'mouthUpperUpLeft', 'mouthUpperUpRight',
  'browDownLeft', 'browDownRight', 'browInnerUp', 'browOuterUpLeft', 'browOuterUpRight',
  'cheekPuff', 'cheekSquintLeft', 'cheekSquintRight',
  'noseSneerLeft', 'noseSneerRight', 'tongueOut',
]);

/** @type {ReadonlyMap<string, number>} */
const INDEX = new Map(ARKIT_NAMES.map((name, i) => [name, i]));

/** A dictionary with more ARKit shapes than this is a whole face, not a part of one. */
const WHOLE_FACE = 24;
/** The server keeps a shape that is missing from a frame for so long (ms). */
const HOLD_MS = 100;
/** The eyes' turn, in radians, that an EyeLook shape of 1 stands for. */
const EYE_RANGE = (35 * Math.PI) / 180;

const CHANNEL_OPTIONS = Object.freeze({
  negotiated: true,
  id: 0,
  ordered: false,
  maxRetransmits: 0,
  protocol: 'animation-data',
});

const TICK_MS = 200;
const PING_MS = 1000;
const PING_CHANNEL_MS = 500;
const PING_STANDBY_MS = 3000;
const SUSPECT_MS = 800; // a silent data channel: frames move to the WebSocket
const DC_DEAD_MS = 2500; // and then the channel is given up
const WS_DEAD_MS = 5000;
const WS_OPEN_MS = 6000;
const RTC_OPEN_MS = 12000;
const STABLE_MS = 5000; // a connection that lasted so long forgets its failures
const MAX_DATAGRAM_MESSAGE = 16000; // larger messages go over the WebSocket

/**
 * @param {string} code
 * @param {string} message
 * @returns {ClientError}
 */
function clientError(code, message) {
  return Object.assign(new Error(message), { code, name: 'FaceLinkError' });
}

/** @param {unknown} x @returns {x is number} */
const finite = (x) => typeof x === 'number' && Number.isFinite(x);

/** @param {number} x */
const round4 = (x) => Math.round(x * 1e4) / 1e4;

/** Growing, jittered delay in ms: half of it is chance, so that clients do not return in step.
 * @param {number} attempt 0, 1, 2, ...
 * @param {number} first
 * @param {number} last
 */
function backoff(attempt, first, last) {
  const full = Math.min(last, first * 2 ** Math.min(attempt, 16));
  return first / 2 + (full - first / 2) * (0.5 + Math.random() / 2);
}

/**
 * Turns what a user may write as the server's address into a WebSocket URL.
 * @param {string | undefined} address `ws://`, `wss://`, `http(s)://`, `host:port` or nothing
 * @returns {URL}
 */
function socketUrl(address) {
  const page = typeof location === 'undefined' ? undefined : location;
  let text = (address ?? '').trim();
  if (!text) {
    text = page && /^https?:$/.test(page.protocol) ? `${page.origin}/ws` : 'ws://127.0.0.1:8765/ws';
  } else if (text.startsWith('//')) {
    text = (page?.protocol === 'https:' ? 'wss:' : 'ws:') + text;
  } else if (text.startsWith('/') && page) {
    text = page.origin + text;
  } else if (!/^[a-z][a-z0-9+.-]*:\/\//i.test(text)) {
    text = `ws://${text}`;
  }
  let url;
  try {
    url = new URL(text.replace(/^http/i, 'ws'));
  } catch {
    url = null;
  }
  if (!url || !/^wss?:$/.test(url.protocol)) {
    throw clientError('bad-url', `"${address}" is no server address. Write it like ws://192.168.1.20:8765.`);
  }
  url.hash = '';
  return url;
}

/**
 * Splits a head rotation into the angles that Live Link Face sends:
 * R = Rz(roll) Ry(yaw) Rx(-pitch).
 * @param {ArrayLike<number>} q Quaternion `[x, y, z, w]` in ARKit face axes
 * @returns {[yaw: number, pitch: number, roll: number] | null} Radians; +yaw
 *   turns to the performer's left, +pitch looks up. Null when `q` is no rotation.
 */
export function headAngles(q) {
  if (!q || q.length !== 4) return null;
  const n = Math.hypot(q[0], q[1], q[2], q[3]);
  if (!(n > 1e-6) || !Number.isFinite(n)) return null;
  const x = q[0] / n, y = q[1] / n, z = q[2] / n, w = q[3] / n;
  const sinYaw = Math.max(-1, Math.min(1, 2 * (w * y - x * z)));
  const yaw = Math.asin(sinYaw);
  if (Math.abs(sinYaw) > 0.99999) {
    // Turned by a right angle, roll and pitch are one axis: call it pitch.
    return [yaw, -2 * Math.atan2(x, w), 0];
  }
  const turn = Math.atan2(2 * (y * z + w * x), 1 - 2 * (x * x + y * y));
  const roll = Math.atan2(2 * (x * y + w * z), 1 - 2 * (y * y + z * z));
  return [yaw, -turn, roll];
}

/**
 * The inverse of {@link headAngles}.
 * @param {number} yaw Radians, + to the performer's left
 * @param {number} pitch Radians, + up
 * @param {number} roll Radians
 * @returns {[number, number, number, number]} Quaternion `[x, y, z, w]`
 */
export function headQuaternion(yaw, pitch, roll) {
  const cy = Math.cos(yaw / 2), sy = Math.sin(yaw / 2);
  const cx = Math.cos(-pitch / 2), sx = Math.sin(-pitch / 2);
  const cz = Math.cos(roll / 2), sz = Math.sin(roll / 2);
  return [
    cz * cy * sx - sz * sy * cx,
    cz * sy * cx + sz * cy * sx,
    sz * cy * cx - cz * sy * sx,
    cz * cy * cx + sz * sy * sx,
  ];
}

/**
 * One stream of frames (one subject): what was sent last, and what waits for its turn.
 * @typedef {object} Lane
 * @property {string | undefined} subject
 * @property {number} due When the next frame may leave (ms, performance clock).
 * @property {number} lastCall
 * @property {number} interval Smoothed time between the caller's frames (ms).
 * @property {Blendshapes} sentValues
 * @property {Blendshapes} recent Newest value of each shape, for `recentAt`.
 * @property {Record<string, number>} recentAt
 * @property {Pending | null} pending
 * @property {ReturnType<typeof setTimeout> | undefined} timer
 */
/**
 * @typedef {object} Pending The one frame that waits. Never more than one.
 * @property {number} since
 * @property {Blendshapes} shapes For each shape the value farthest from the one last sent.
 * @property {Blendshapes} latest
 * @property {Record<string, boolean>} seen
 * @property {Head | null | undefined} head
 * @property {number | string | undefined} timestamp
 */
/**
 * What the heartbeat knows of one transport.
 * @typedef {object} Link
 * @property {'webrtc' | 'websocket'} kind
 * @property {number} waiting Time of the oldest unanswered ping, or 0.
 * @property {number} lastPing
 * @property {(text: string) => boolean} reply Sends on the channel the message came by.
 */
/**
 * One attempt at WebRTC.
 * @typedef {object} RtcSession
 * @property {RTCPeerConnection} pc
 * @property {RTCDataChannel} channel
 * @property {boolean} answered The remote description is set.
 * @property {boolean} offered The offer has been sent.
 * @property {boolean} proven The far side has answered on the channel.
 * @property {boolean} suspect It was proven, but is silent or full just now.
 * @property {number} provenAt
 * @property {number} blockedSince When sends began to find the channel full, or 0.
 * @property {(RTCIceCandidateInit | null)[]} remote Candidates that wait for the answer.
 * @property {(RTCIceCandidateInit | null)[]} local Candidates that wait for the offer.
 * @property {Link} link
 * @property {ReturnType<typeof setTimeout> | undefined} timer
 */

export class FacialAnimationWebRTCClient {
  /** Verbose console logging. @type {boolean} */
  debug = false;
  /** The peer connection of the present attempt; null without WebRTC. @type {RTCPeerConnection | null} */
  pc = null;
  /** The data channel of the present attempt. @type {RTCDataChannel | null} */
  dataChannel = null;
  /** @type {WebSocket | null} */
  ws = null;
  /** Frames per second to send at most, 1..240; the server's `set_rate` changes it. @type {number} */
  targetFps = 60;
  /** Given by the server. @type {string | null} */
  connectionId = null;
  /** Version of the server. @type {string | null} */
  serverVersion = null;

  /** A face from the server. @type {((blendshapes: Blendshapes, arkitRaw: Blendshapes, message: Message) => void) | null} */
  onBlendshapeUpdate = null;
  /** @type {((state: ClientState) => void) | null} */
  onStateChange = null;
  /** Frames have moved to another transport. @type {((transport: Transport) => void) | null} */
  onTransportChange = null;
  /** Something went wrong; `message` says what to do. @type {((error: ClientError) => void) | null} */
  onError = null;
  /** The server's answer to `requestStats`. @type {((stats: Message) => void) | null} */
  onStats = null;
  /** The server wants another frame rate. @type {((fps: number) => void) | null} */
  onRateChange = null;
  /** Every message that arrives, after it was handled. @type {((message: Message, transport: Transport) => void) | null} */
  onMessage = null;
  /** What the console shows when `debug` is set, and warnings always. @type {((level: 'debug' | 'info' | 'warn', text: string) => void) | null} */
  onLog = null;

  /** @type {URL} */ #url;
  /** @type {ClientOptions} */ #options;
  /** @type {ClientState} */ #state = 'idle';
  /** @type {Transport} */ #transport = 'none';
  #welcomed = false;
  #welcomedAt = 0;
  #everWelcomed = false;
  #wanted = false;
  #wsAttempt = 0;
  #rtcAttempt = 0;
  #rtcRefused = false;
  #reconnects = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #wsTimer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #wsOpenTimer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #rtcTimer;
  /** @type {ReturnType<typeof setInterval> | undefined} */ #ticker;
  #lastTick = 0;
  /** @type {Link} */ #wsLink;
  /** @type {RtcSession | null} */ #rtc = null;
  /** @type {RTCIceServer[]} */ #iceServers = [];
  /** @type {{ promise: Promise<void>, resolve: () => void, reject: (e: ClientError) => void } | null} */ #connecting = null;
  /** @type {ClientError | null} */ #complaint = null;
  /** @type {{ subject?: string, max_fps?: number } | null} */ #subscription = null;
  /** @type {{ resolve: (m: Message) => void, reject: (e: ClientError) => void, timer: ReturnType<typeof setTimeout> }[]} */ #statsWaiters = [];
  /** @type {Map<string, Lane>} */ #lanes = new Map();
  #introduce = true;
  #rtt = 0;
  #latency = 0;
  #sent = 0;
  #framesSent = 0;
  #dropped = 0;
  #thinned = 0;
  #received = 0;
  #lastFrameBytes = 0;
  /** Frames and bytes of the last second. @type {{ at: number, bytes: number, frame: boolean }[]} */ #recentSends = [];
  #floats = new Float32Array(61);
  /** @type {(() => void)[]} */ #unlisten = [];

  /**
   * @param {string} [wsUrl] The server, such as `ws://192.168.68.132:8765`;
   *   default: where the page came from.
   * @param {ClientOptions} [options]
   */
  constructor(wsUrl, options = {}) {
    this.#options = { webrtc: true, reconnect: true, binary: 'float32', ...options };
    this.debug = Boolean(options.debug);
    this.#url = socketUrl(wsUrl);
    const own = this.#url.searchParams.get('token');
    const page = typeof location === 'undefined' ? null : new URLSearchParams(location.search).get('token');
    const token = options.token || own || page;
    if (token) {
      this.#options.token = token;
      this.#url.searchParams.set('token', token);
    }
    this.#wsLink = {
      kind: 'websocket', waiting: 0, lastPing: 0, reply: (text) => this.#sendOn('websocket', text),
    };
  }

  /** @returns {ClientState} */
  get state() {
    return this.#state;
  }

  /** What frames travel over now. @returns {Transport} */
  get transport() {
    return this.#transport;
  }

  /** The server's address, without the token. @returns {string} */
  get url() {
    return this.#address();
  }

  /**
   * Connects, and stays connected until {@link close} (unless `reconnect` is
   * off). Resolves as soon as frames can flow; WebRTC follows by itself.
   * @returns {Promise<void>} Rejects with a {@link ClientError} when the first
   *   attempt fails; unless the token was refused, further attempts follow.
   */
  connect() {
    if (this.#connecting) return this.#connecting.promise;
    if (this.#wanted && this.#transport !== 'none') return Promise.resolve();
    /** @type {() => void} */ let resolve = () => {};
    /** @type {(e: ClientError) => void} */ let reject = () => {};
    /** @type {Promise<void>} */
    const promise = new Promise((yes, no) => {
      resolve = yes;
      reject = no;
    });
    promise.catch(() => {}); // who does not wait for it hears of it through onError
    this.#connecting = { promise, resolve, reject };
    this.#wanted = true;
    this.#wsAttempt = 0;
    this.#rtcAttempt = 0;
    this.#listen();
    this.#setState(this.#everWelcomed ? 'reconnecting' : 'connecting');
    if (!this.#ticker) {
      this.#lastTick = performance.now();
      this.#ticker = setInterval(() => this.#tick(), TICK_MS);
    }
    this.#openSocket();
    return promise;
  }

  /** Ends the connection for good; `connect` may start it again. */
  close() {
    const was = this.#wanted;
    this.#wanted = false;
    this.#stop();
    this.#connecting?.reject(clientError('closed', 'close() was called before the connection was made.'));
    this.#connecting = null;
    if (was) this.#log('info', 'closed');
    this.#everWelcomed = false;
    this.#setTransport('none');
    this.#setState('closed');
  }

  /**
   * Sends one frame of the face. Called more often than `targetFps`, it merges
   * frames: each shape is sent with the value farthest from the one sent
   * before, so that a blink between two frames is not lost.
   * @param {Blendshapes} blendshapes ARKit names with 0..1; part of them is
   *   fine, a missing one counts as 0 after 100 ms. Other names become
   *   channels of their own.
   * @param {SendOptions} [options] A head `position` makes every frame JSON,
   *   which is larger than one datagram: leave it out if nobody needs it.
   * @returns {boolean} True when a frame left now; false when it was merged
   *   into the next or dropped.
   */
  sendARKitData(blendshapes, options = {}) {
    const now = performance.now();
    const lane = this.#lane(options.subject);
    if (options.tracked === false) {
      this.#clearLane(lane);
      return this.#sendFrame(lane, { ...clean(blendshapes) }, options, now, true);
    }
    const shapes = clean(blendshapes);
    const gap = now - lane.lastCall;
    lane.lastCall = now;
    if (gap > 0 && gap < 500) lane.interval += (gap - lane.interval) * 0.1;
    const period = 1000 / this.#fps();
    this.#merge(lane, shapes, options, now, period);
    const slack = Math.min(period, lane.interval) / 2;
    if (now < lane.due - slack) {
      this.#thinned += 1;
      this.#schedule(lane, lane.due + slack - now);
      return false;
    }
    return this.#emit(lane, now, period, true);
  }

  /**
   * Sends a mouth shape of speech.
   * @param {string} viseme Oculus (`aa`, `PP`), Rhubarb (`A`..`H`, `X`) or ARPAbet (`AA`) name
   * @param {number} [weight] 0..1
   * @param {number} [durationMs] How long it lasts, ms; without it, until the next one
   * @returns {boolean} True when it was sent
   */
  sendViseme(viseme, weight = 1, durationMs) {
    if (!finite(weight)) throw new TypeError('sendViseme: weight must be a number from 0 to 1.');
    /** @type {Message} */
    const message = { type: 'viseme_data', viseme: String(viseme), weight: round4(weight), timestamp: Date.now() };
    if (finite(durationMs)) message.duration_ms = durationMs;
    return this.#sendNow(message);
  }

  /**
   * Sends morph targets by the avatar's own names.
   * @param {Blendshapes} data
   * @returns {boolean} True when it was sent
   */
  sendBlendshapes(data) {
    return this.#sendNow({ type: 'blendshape_update', data: rounded(clean(data)), timestamp: Date.now() });
  }

  /**
   * Sends several messages in one.
   * @param {Message[]} updates Oldest first
   * @returns {boolean} True when it was sent
   */
  sendBatch(updates) {
    if (!Array.isArray(updates)) throw new TypeError('sendBatch: updates must be an array of messages.');
    return this.#sendNow({ type: 'batch_update', updates, timestamp: Date.now() });
  }

  /**
   * Asks the server what it knows of this connection.
   * @returns {Promise<Message>} The `stats` message
   */
  requestStats() {
    const promise = new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#statsWaiters = this.#statsWaiters.filter((w) => w.timer !== timer);
        reject(clientError('timeout', 'The server did not answer get_stats within 3 s. Check the connection and ask again.'));
      }, 3000);
      this.#statsWaiters.push({ resolve, reject, timer });
      if (!this.#sendControl({ type: 'get_stats' })) {
        clearTimeout(timer);
        this.#statsWaiters = this.#statsWaiters.filter((w) => w.timer !== timer);
        reject(clientError('closed', 'Not connected: call connect() first, or wait for the reconnection.'));
      }
    });
    promise.catch(() => {});
    return promise;
  }

  /**
   * Receives faces, through {@link onBlendshapeUpdate}. Survives reconnection.
   * @param {{ subject?: string, maxFps?: number }} [options] Default: all subjects at full rate
   */
  subscribe({ subject, maxFps } = {}) {
    this.#subscription = {};
    if (subject) this.#subscription.subject = subject;
    if (finite(maxFps)) this.#subscription.max_fps = maxFps;
    this.#sendControl({ type: 'subscribe', ...this.#subscription });
  }

  /** Ends {@link subscribe}. */
  unsubscribe() {
    const subject = this.#subscription?.subject;
    this.#subscription = null;
    this.#sendControl(subject ? { type: 'unsubscribe', subject } : { type: 'unsubscribe' });
  }

  /** @param {string} name The subject's new name */
  setSubject(name) {
    this.#options.subject = name;
    this.#introduce = true;
    if (this.#welcomed) this.#sendOn('websocket', JSON.stringify(this.#hello()));
  }

  /** @returns {ClientStats} */
  getStats() {
    const now = performance.now();
    this.#forgetSends(now);
    let frames = 0;
    let bytes = 0;
    for (const s of this.#recentSends) {
      bytes += s.bytes;
      if (s.frame) frames += 1;
    }
    return {
      connectionId: this.connectionId,
      state: this.#state,
      transport: this.#transport,
      averageLatencyMs: this.#latency,
      rttMs: this.#rtt,
      messageCount: this.#sent + this.#received,
      sent: this.#sent,
      framesSent: this.#framesSent,
      dropped: this.#dropped,
      thinned: this.#thinned,
      received: this.#received,
      bufferedAmount: this.#buffered(),
      dataChannelState: this.dataChannel?.readyState ?? 'none',
      targetFPS: this.#fps(),
      currentFPS: frames,
      bytesPerSecond: bytes,
      reconnects: this.#reconnects,
    };
  }

  // ---- frames ---------------------------------------------------------------

  #fps() {
    return finite(this.targetFps) ? Math.min(240, Math.max(1, this.targetFps)) : 60;
  }

  /** @param {string | undefined} subject @returns {Lane} */
  #lane(subject) {
    const key = subject ?? '';
    let lane = this.#lanes.get(key);
    if (!lane) {
      lane = {
        subject, due: 0, lastCall: -1e9, interval: 1000 / 60,
        sentValues: {}, recent: {}, recentAt: {}, pending: null, timer: undefined,
      };
      this.#lanes.set(key, lane);
    }
    return lane;
  }

  /** @param {Lane} lane */
  #clearLane(lane) {
    clearTimeout(lane.timer);
    lane.timer = undefined;
    lane.pending = null;
    lane.sentValues = {};
    lane.recent = {};
    lane.recentAt = {};
  }

  /**
   * @param {Lane} lane
   * @param {Blendshapes} shapes
   * @param {SendOptions} options
   * @param {number} now
   * @param {number} period
   */
  #merge(lane, shapes, options, now, period) {
    let p = lane.pending;
    if (p && now - p.since > Math.max(250, period * 1.5)) {
      // It has waited too long for its peaks to mean anything: only the newest counts.
      p.shapes = { ...p.latest };
      p.seen = {};
      p.since = now;
    }
    p = lane.pending ??= { since: now, shapes: {}, latest: {}, seen: {}, head: undefined, timestamp: undefined };
    for (const name in shapes) {
      const value = shapes[name];
      const from = lane.sentValues[name] ?? 0;
      if (!p.seen[name] || Math.abs(value - from) >= Math.abs(p.shapes[name] - from)) p.shapes[name] = value;
      p.seen[name] = true;
      p.latest[name] = value;
    }
    p.head = options.head;
    p.timestamp = options.timestamp;
  }

  /** @param {Lane} lane @param {number} delay */
  #schedule(lane, delay) {
    if (lane.timer !== undefined) return;
    lane.timer = setTimeout(() => {
      lane.timer = undefined;
      if (lane.pending) this.#emit(lane, performance.now(), 1000 / this.#fps(), false);
    }, Math.max(1, delay));
  }

  /**
   * Sends the frame that waits.
   * @param {Lane} lane
   * @param {number} now
   * @param {number} period
   * @param {boolean} count Count it as dropped if it cannot leave
   * @returns {boolean}
   */
  #emit(lane, now, period, count) {
    const p = lane.pending;
    if (!p) return false;
    clearTimeout(lane.timer);
    lane.timer = undefined;
    lane.due = (lane.due > now - period ? lane.due : now) + period;
    const left = this.#sendFrame(lane, p.shapes, { head: p.head, timestamp: p.timestamp }, now, count);
    if (this.#transport === 'none') {
      lane.pending = null;
      return false;
    }
    if (!left) {
      this.#schedule(lane, lane.due + period / 2 - now);
      return false;
    }
    Object.assign(lane.sentValues, p.shapes);
    lane.pending = null;
    for (const name in p.latest) {
      if (Math.abs(p.latest[name] - p.shapes[name]) > 1e-3) {
        // A peak went out. If the caller says no more, the value after it must follow.
        lane.pending = { since: now, shapes: { ...p.latest }, latest: { ...p.latest }, seen: {}, head: p.head, timestamp: undefined };
        this.#schedule(lane, lane.due + period / 2 - now);
        break;
      }
    }
    return true;
  }

  /**
   * @param {Lane} lane
   * @param {Blendshapes} shapes
   * @param {SendOptions} options
   * @param {number} now
   * @param {boolean} count
   * @returns {boolean}
   */
  #sendFrame(lane, shapes, options, now, count) {
    const kind = this.#transport;
    if (kind === 'none') {
      if (count && this.#everWelcomed) this.#dropped += 1;
      return false;
    }
    const { head, tracked } = options;
    const names = Object.keys(shapes);
    const whole = this.#options.binary !== 'json' && lane.subject === undefined && tracked !== false
      && names.length > WHOLE_FACE && !head?.position && names.every((n) => INDEX.has(n));
    const payload = whole && !this.#introduce
      ? this.#floatFrame(lane, shapes, head, now)
      : JSON.stringify({
        type: 'arkit_data',
        ...(lane.subject === undefined ? null : { subject: lane.subject }),
        blendshapes: rounded(shapes),
        ...(head ? { head: plainHead(head) } : null),
        ...(tracked === undefined ? null : { tracked: Boolean(tracked) }),
        timestamp: options.timestamp ?? Date.now(),
      });
    for (const name of names) {
      lane.recent[name] = shapes[name];
      lane.recentAt[name] = now;
    }
    const bytes = typeof payload === 'string' ? payload.length : payload.byteLength;
    const waiting = this.#buffered();
    if (waiting > Math.max(bytes, this.#lastFrameBytes, 256)) {
      if (count) this.#dropped += 1;
      const rtc = this.#rtc;
      if (kind === 'webrtc' && rtc) {
        rtc.blockedSince ||= now;
        if (now - rtc.blockedSince > 300 && this.#welcomed) this.#suspect(rtc, 'it does not drain');
      }
      return false;
    }
    if (!this.#sendOn(kind, payload, true)) {
      if (count) this.#dropped += 1;
      return false;
    }
    if (this.#rtc && kind === 'webrtc') this.#rtc.blockedSince = 0;
    this.#lastFrameBytes = bytes;
    this.#introduce = false;
    this.#framesSent += 1;
    return true;
  }

  /**
   * 52 little-endian floats, or 61 with the head and the eyes.
   * @param {Lane} lane
   * @param {Blendshapes} shapes
   * @param {Head | null | undefined} head
   * @param {number} now
   * @returns {ArrayBuffer}
   */
  #floatFrame(lane, shapes, head, now) {
    const f = this.#floats;
    for (let i = 0; i < 52; i += 1) {
      const name = ARKIT_NAMES[i];
      // The same rule as for a JSON frame: what is missing holds for 100 ms, then is 0.
      f[i] = shapes[name] ?? (now - (lane.recentAt[name] ?? -1e9) < HOLD_MS ? lane.recent[name] : 0);
    }
    const angles = head?.rotation ? headAngles(head.rotation) : null;
    const count = angles ? 61 : 52;
    if (angles) {
      f.set(angles, 52);
      // The eyes from the EyeLook shapes: + pitch down, + yaw to the performer's right.
      f[55] = (f[2] - f[3]) * EYE_RANGE;
      f[56] = (f[1] - f[4]) * EYE_RANGE;
      f[57] = 0;
      f[58] = (f[10] - f[9]) * EYE_RANGE;
      f[59] = (f[8] - f[11]) * EYE_RANGE;
      f[60] = 0;
    }
    const view = new DataView(new ArrayBuffer(count * 4));
    for (let i = 0; i < count; i += 1) view.setFloat32(i * 4, f[i], true);
    return view.buffer;
  }

  // ---- sending --------------------------------------------------------------

  #buffered() {
    if (this.#transport === 'webrtc') return this.dataChannel?.bufferedAmount ?? 0;
    if (this.#transport === 'websocket') return this.ws?.bufferedAmount ?? 0;
    return 0;
  }

  /**
   * @param {Transport} kind
   * @param {string | ArrayBuffer} payload
   * @param {boolean} [frame]
   * @returns {boolean} True when it was handed to the browser
   */
  #sendOn(kind, payload, frame = false) {
    try {
      if (kind === 'webrtc') {
        if (this.dataChannel?.readyState !== 'open') return false;
        if (typeof payload === 'string') this.dataChannel.send(payload);
        else this.dataChannel.send(payload);
      } else if (kind === 'websocket') {
        if (this.ws?.readyState !== WebSocket.OPEN) return false;
        this.ws.send(payload);
      } else return false;
    } catch (error) {
      this.#log('debug', `send over ${kind} failed: ${error}`);
      return false;
    }
    const now = performance.now();
    this.#sent += 1;
    this.#recentSends.push({ at: now, bytes: typeof payload === 'string' ? payload.length : payload.byteLength, frame });
    if (this.#recentSends.length > 600) this.#forgetSends(now);
    return true;
  }

  /** @param {number} now */
  #forgetSends(now) {
    let keep = 0;
    while (keep < this.#recentSends.length && now - this.#recentSends[keep].at > 1000) keep += 1;
    if (keep) this.#recentSends.splice(0, keep);
  }

  /** A message on the transport in use; dropped when that is full. @param {Message} message @returns {boolean} */
  #sendNow(message) {
    const text = JSON.stringify(message);
    let kind = this.#transport;
    if (kind === 'webrtc' && text.length > MAX_DATAGRAM_MESSAGE && this.#welcomed) kind = 'websocket';
    if (kind === 'none' || this.#buffered() > Math.max(text.length, this.#lastFrameBytes, 1024) || !this.#sendOn(kind, text)) {
      this.#dropped += 1;
      return false;
    }
    return true;
  }

  /** A control message: on the WebSocket while there is one. @param {Message} message @returns {boolean} */
  #sendControl(message) {
    const text = JSON.stringify(message);
    return (this.#welcomed && this.#sendOn('websocket', text)) || (this.#rtc?.proven === true && this.#sendOn('webrtc', text));
  }

  #hello() {
    const { subject, token, client } = this.#options;
    return {
      type: 'hello',
      ...(subject ? { subject } : null),
      ...(token ? { token } : null),
      binary: 'float32',
      client: client ?? 'facelink.js/1',
    };
  }

  // ---- receiving ------------------------------------------------------------

  /** @param {Link} link @param {unknown} data */
  #receive(link, data) {
    this.#received += 1;
    if (link.kind === 'websocket') link.waiting = 0;
    if (typeof data !== 'string') return;
    /** @type {Message} */
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      this.#log('warn', 'the server sent something that is not JSON; ignored');
      return;
    }
    if (typeof message !== 'object' || message === null) return;
    switch (message.type) {
      case 'welcome': this.#onWelcome(message); break;
      case 'ping': {
        const time = Date.now();
        link.reply(JSON.stringify({ type: 'pong', t: message.t, server_time: time, client_time: time }));
        break;
      }
      case 'pong': this.#onPong(link, message); break;
      case 'blendshape_update':
        this.#call(this.onBlendshapeUpdate, message.data ?? {}, message.arkit ?? {}, message);
        break;
      case 'set_rate':
        if (finite(message.fps) && message.fps > 0) {
          this.targetFps = Math.min(240, Math.max(1, message.fps));
          this.#log('info', `the server asks for ${this.targetFps} frames per second`);
          this.#call(this.onRateChange, this.targetFps);
        }
        break;
      case 'stats': {
        const waiters = this.#statsWaiters;
        this.#statsWaiters = [];
        for (const w of waiters) {
          clearTimeout(w.timer);
          w.resolve(message);
        }
        this.#call(this.onStats, message);
        break;
      }
      case 'offer': void this.#onOffer(message); break;
      case 'answer': void this.#onAnswer(message); break;
      case 'ice_candidate': this.#onCandidate(message.candidate); break;
      case 'error': this.#onServerError(message); break;
      default: break; // unknown types are ignored
    }
    this.#call(this.onMessage, message, link.kind);
  }

  /** @param {Message} message */
  #onWelcome(message) {
    const first = !this.#welcomed;
    this.connectionId = message.connection_id ?? this.connectionId;
    this.serverVersion = message.version ?? this.serverVersion;
    if (Array.isArray(message.ice_servers)) this.#iceServers = message.ice_servers;
    if (!first) return;
    clearTimeout(this.#wsOpenTimer);
    this.#welcomed = true;
    this.#welcomedAt = performance.now();
    this.#complaint = null;
    if (this.#everWelcomed) this.#reconnects += 1;
    this.#everWelcomed = true;
    this.#log('info', `connected to ${this.#address()} as ${this.connectionId ?? '?'}`);
    if (this.#subscription) this.#sendControl({ type: 'subscribe', ...this.#subscription });
    this.#rtcRefused = false;
    this.#startRtc();
    this.#refresh();
    this.#connecting?.resolve();
    this.#connecting = null;
  }

  /** @param {Link} link @param {Message} message */
  #onPong(link, message) {
    link.waiting = 0;
    const rtt = finite(message.t) ? performance.now() - message.t : -1;
    const rtc = this.#rtc;
    if (link.kind === 'webrtc' && rtc && link === rtc.link) {
      const full = rtc.channel.bufferedAmount > 1500;
      if (!rtc.proven) {
        rtc.proven = true;
        rtc.provenAt = performance.now();
        clearTimeout(rtc.timer);
        this.#log('info', 'the data channel answers; frames move to it');
        this.#refresh();
      } else if (rtc.suspect && !full && rtc.pc.connectionState !== 'disconnected') {
        rtc.suspect = false;
        rtc.blockedSince = 0;
        this.#log('info', 'the data channel answers again');
        this.#refresh();
      }
    }
    if (link.kind === this.#transport && rtt >= 0 && rtt < 60000) {
      this.#rtt = rtt;
      this.#latency = this.#latency ? this.#latency + (rtt / 2 - this.#latency) * 0.2 : rtt / 2;
    }
  }

  /** @param {Message} message */
  #onServerError(message) {
    const code = String(message.code ?? '');
    const text = String(message.message ?? (code || 'the server reported an error'));
    if (!this.#welcomed && /auth|token|forbidden|denied|pair/i.test(code)) {
      this.#complaint = this.#unauthorized();
      this.ws?.close(1000);
      return;
    }
    if (this.#rtc && !this.#rtc.proven && /webrtc|\brtc|offer|sdp/i.test(`${code} ${text}`)) {
      if (/disabled|unsupported|unavailable/i.test(code)) this.#rtcRefused = true;
      this.#failRtc(this.#rtc, `the server answered: ${text}`);
      return;
    }
    const error = clientError('server', text);
    if (!this.#welcomed) this.#complaint = error;
    this.#report(error);
  }

  // ---- the WebSocket --------------------------------------------------------

  #address() {
    const u = new URL(this.#url);
    u.search = '';
    return u.href.replace(/\/(ws)?$/, '');
  }

  #openSocket() {
    clearTimeout(this.#wsTimer);
    this.#wsTimer = undefined;
    if (this.ws || !this.#wanted) return;
    /** @type {WebSocket} */
    let ws;
    try {
      ws = new WebSocket(this.#url);
    } catch (error) {
      const mixed = typeof location !== 'undefined' && location.protocol === 'https:' && this.#url.protocol === 'ws:';
      this.#giveUp(mixed
        ? clientError('mixed-content', `This page came over https, so the browser does not let it open ${this.#address()}. Use a wss:// address, or open the page over http.`)
        : clientError('bad-url', `The browser cannot open ${this.#address()}: ${error}. Check the address.`));
      return;
    }
    this.ws = ws;
    ws.binaryType = 'arraybuffer';
    this.#wsLink.waiting = 0;
    let opened = false;
    this.#wsOpenTimer = setTimeout(() => {
      if (this.ws !== ws) return;
      this.#complaint ??= opened
        ? clientError('timeout', `${this.#address()} took the connection but did not greet. Is it a FaceLink server?`)
        : clientError('timeout', `${this.#address()} does not answer. Check the address, and that the firewall lets this port through.`);
      this.#dropSocket(ws, opened, 1006);
    }, WS_OPEN_MS);
    ws.onopen = () => {
      if (this.ws !== ws) return;
      opened = true;
      this.#wsLink.lastPing = performance.now();
      ws.send(JSON.stringify(this.#hello()));
    };
    ws.onmessage = (event) => {
      if (this.ws === ws) this.#receive(this.#wsLink, event.data);
    };
    ws.onclose = (event) => {
      if (this.ws !== ws) return;
      if (!this.#welcomed && (event.code === 1008 || event.code === 3000 || event.code === 3003 || event.code === 4401 || event.code === 4403)) {
        this.#complaint ??= this.#unauthorized();
      }
      this.#log('debug', `WebSocket closed (${event.code}${event.reason ? ` ${event.reason}` : ''})`);
      this.#dropSocket(ws, opened, event.code);
    };
  }

  /**
   * The socket is gone, or must go.
   * @param {WebSocket} ws
   * @param {boolean} opened
   * @param {number} code
   */
  #dropSocket(ws, opened, code) {
    clearTimeout(this.#wsOpenTimer);
    ws.onopen = ws.onmessage = ws.onclose = null;
    try {
      ws.close();
    } catch { /* it was closed */ }
    this.ws = null;
    const welcomed = this.#welcomed;
    if (welcomed && performance.now() - this.#welcomedAt > STABLE_MS) this.#wsAttempt = 0;
    this.#welcomed = false;
    if (!this.#wanted) return;
    if (this.#rtc && !this.#rtc.proven) this.#failRtc(this.#rtc, 'the WebSocket that carries its signalling closed');
    this.#refresh();
    if (welcomed) {
      this.#log('warn', `the WebSocket to ${this.#address()} was lost (${code})`);
      this.#retrySocket();
      return;
    }
    void this.#explain(opened).then((error) => {
      if (!this.#wanted || this.ws) return;
      if (error.code === 'unauthorized') this.#giveUp(error);
      else {
        this.#fail(error);
        this.#retrySocket();
      }
    });
  }

  #retrySocket() {
    if (!this.#options.reconnect) {
      if (this.#transport === 'none') {
        this.#wanted = false;
        this.#stop();
        this.#setState('failed');
      }
      return;
    }
    const delay = backoff(this.#wsAttempt, 250, 10000);
    this.#wsAttempt += 1;
    this.#log('debug', `trying again in ${Math.round(delay)} ms`);
    clearTimeout(this.#wsTimer);
    this.#wsTimer = setTimeout(() => this.#openSocket(), delay);
  }

  /**
   * Why a socket did not open: the browser keeps that secret, so ask over HTTP.
   * @param {boolean} opened
   * @returns {Promise<ClientError>}
   */
  async #explain(opened) {
    const complaint = this.#complaint;
    this.#complaint = null;
    if (complaint) return complaint;
    const address = this.#address();
    if (opened) return clientError('refused', `${address} closed the connection before greeting. Is it a FaceLink server of this version?`);
    const probe = new URL('/api/v1/subjects', this.#url.href.replace(/^ws/, 'http'));
    probe.search = this.#url.search;
    const abort = new AbortController();
    const timer = setTimeout(() => abort.abort(), 2500);
    try {
      const { status } = await fetch(probe, { cache: 'no-store', credentials: 'omit', signal: abort.signal });
      if (status === 401 || status === 403) return this.#unauthorized();
      if (status < 400) {
        return clientError('refused', `${address} is there but refused the WebSocket. Open the page from the server itself, or add this page's origin to those the server lets in; or it has too many connections already.`);
      }
      return clientError('refused', `${address} answered with HTTP ${status}; it is probably not a FaceLink server. Check the address and the port.`);
    } catch {
      const stranger = typeof location !== 'undefined' && location.host !== this.#url.host
        ? ` If it runs, it may not let pages of ${location.origin} in: open the page from the server itself.` : '';
      return clientError('unreachable', `No FaceLink server answers at ${address}. Start it (facelink listen), check that this device is on the same network, and that the firewall lets TCP port ${this.#url.port || (this.#url.protocol === 'wss:' ? 443 : 80)} through.${stranger}`);
    } finally {
      clearTimeout(timer);
    }
  }

  #unauthorized() {
    return unauthorized(this.#address(), Boolean(this.#options.token));
  }

  /** An attempt failed. @param {ClientError} error */
  #fail(error) {
    this.#connecting?.reject(error);
    this.#connecting = null;
    this.#report(error);
  }

  /** It failed in a way that trying again does not mend. @param {ClientError} error */
  #giveUp(error) {
    this.#wanted = false;
    this.#stop();
    this.#setTransport('none');
    this.#setState('failed');
    this.#fail(error);
  }

  // ---- WebRTC ---------------------------------------------------------------

  #startRtc() {
    clearTimeout(this.#rtcTimer);
    this.#rtcTimer = undefined;
    if (this.#rtc || !this.#wanted || !this.#welcomed || this.#rtcRefused || this.#options.webrtc === false) return;
    const session = this.#newSession();
    if (session) void this.#offer(session);
  }

  /** @returns {RtcSession | null} */
  #newSession() {
    if (typeof RTCPeerConnection === 'undefined') {
      this.#log('info', 'this browser has no WebRTC; frames stay on the WebSocket');
      return null;
    }
    /** @type {RTCPeerConnection} */
    let pc;
    try {
      try {
        pc = new RTCPeerConnection({ iceServers: this.#options.iceServers ?? this.#iceServers });
      } catch (error) {
        this.#report(clientError('webrtc', `The list of ICE servers is not valid (${error}); going on without it. Check the stun:/turn: entries.`));
        pc = new RTCPeerConnection();
      }
    } catch (error) {
      this.#log('warn', `WebRTC is not available (${error}); frames stay on the WebSocket`);
      this.#rtcRefused = true;
      return null;
    }
    const channel = pc.createDataChannel('animation', { ...CHANNEL_OPTIONS });
    channel.binaryType = 'arraybuffer';
    /** @type {RtcSession} */
    const session = {
      pc, channel, answered: false, offered: false, proven: false, suspect: false, provenAt: 0,
      blockedSince: 0, remote: [], local: [], timer: undefined,
      link: { kind: 'webrtc', waiting: 0, lastPing: 0, reply: (text) => this.#sendOn('webrtc', text) },
    };
    this.#rtc = session;
    this.pc = pc;
    this.dataChannel = channel;
    session.timer = setTimeout(() => this.#failRtc(session, 'it did not open in time (a firewall may block UDP)'), RTC_OPEN_MS);
    this.#attachChannel(session, channel);
    channel.onopen = () => {
      if (this.#rtc !== session) return;
      this.#log('debug', 'data channel open');
      this.#ping(session.link, performance.now());
    };
    pc.ondatachannel = (event) => {
      if (this.#rtc !== session) return;
      this.#log('debug', `the server opened channel "${event.channel.label}"`);
      event.channel.binaryType = 'arraybuffer';
      /** @type {Link} */
      const link = {
        kind: 'webrtc', waiting: 0, lastPing: 0,
        reply: (text) => {
          try {
            event.channel.send(text);
            return true;
          } catch {
            return false;
          }
        },
      };
      event.channel.onmessage = (e) => {
        if (this.#rtc !== session) return;
        // A pong may come back by the server's own channel: it answers for ours too.
        const own = typeof e.data === 'string' && e.data.includes('"pong"') ? session.link : link;
        this.#receive(own, e.data);
      };
    };
    pc.onicecandidate = ({ candidate }) => {
      if (this.#rtc !== session) return;
      if (candidate && !candidate.candidate) return; // the old way to say "no more"
      const init = candidate
        ? { candidate: candidate.candidate, sdpMid: candidate.sdpMid, sdpMLineIndex: candidate.sdpMLineIndex }
        : null;
      if (session.offered) this.#sendOn('websocket', JSON.stringify({ type: 'ice_candidate', candidate: init }));
      else session.local.push(init);
    };
    pc.onconnectionstatechange = () => {
      if (this.#rtc !== session) return;
      this.#log('debug', `peer connection ${pc.connectionState}`);
      if (pc.connectionState === 'failed') this.#failRtc(session, 'no path between the two machines works (any more)');
      else if (pc.connectionState === 'disconnected') this.#suspect(session, 'its path is broken');
    };
    return session;
  }

  /** @param {RtcSession} session @param {RTCDataChannel} channel */
  #attachChannel(session, channel) {
    channel.onmessage = (event) => {
      if (this.#rtc === session) this.#receive(session.link, event.data);
    };
    channel.onclose = () => this.#failRtc(session, 'the channel was closed');
    channel.onerror = () => this.#log('debug', 'data channel error');
  }

  /** @param {RtcSession} session */
  async #offer(session) {
    try {
      const offer = await session.pc.createOffer();
      await session.pc.setLocalDescription(offer);
      if (this.#rtc !== session) return;
      const sent = this.#sendOn('websocket', JSON.stringify({ type: 'offer', sdp: session.pc.localDescription?.sdp ?? offer.sdp }));
      if (!sent) {
        this.#failRtc(session, 'the WebSocket that carries its signalling closed');
        return;
      }
      this.#flushLocal(session);
    } catch (error) {
      this.#failRtc(session, `no offer could be made (${error})`);
    }
  }

  /** @param {RtcSession} session */
  #flushLocal(session) {
    session.offered = true;
    for (const candidate of session.local) this.#sendOn('websocket', JSON.stringify({ type: 'ice_candidate', candidate }));
    session.local = [];
  }

  /** @param {RtcSession} session */
  #flushRemote(session) {
    session.answered = true;
    const waiting = session.remote;
    session.remote = [];
    for (const candidate of waiting) this.#addCandidate(session, candidate);
  }

  /** @param {Message} message */
  async #onAnswer(message) {
    const session = this.#rtc;
    if (!session || session.pc.signalingState !== 'have-local-offer' || typeof message.sdp !== 'string') {
      this.#log('debug', 'an answer that nothing waits for; ignored');
      return;
    }
    try {
      await session.pc.setRemoteDescription({ type: 'answer', sdp: message.sdp });
      if (this.#rtc === session) this.#flushRemote(session);
    } catch (error) {
      this.#failRtc(session, `the server's answer is not usable (${error})`);
    }
  }

  /** The server may offer as well. @param {Message} message */
  async #onOffer(message) {
    if (this.#options.webrtc === false || typeof message.sdp !== 'string') return;
    if (this.#rtc && this.#rtc.pc.signalingState !== 'stable') return; // ours is under way
    const session = this.#rtc ?? this.#newSession();
    if (!session) return;
    try {
      await session.pc.setRemoteDescription({ type: 'offer', sdp: message.sdp });
      await session.pc.setLocalDescription(await session.pc.createAnswer());
      if (this.#rtc !== session) return;
      this.#sendOn('websocket', JSON.stringify({ type: 'answer', sdp: session.pc.localDescription?.sdp }));
      this.#flushLocal(session);
      this.#flushRemote(session);
    } catch (error) {
      this.#failRtc(session, `the server's offer is not usable (${error})`);
    }
  }

  /** @param {RTCIceCandidateInit | string | null | undefined} candidate */
  #onCandidate(candidate) {
    const session = this.#rtc;
    if (!session) return;
    const init = typeof candidate === 'string' ? { candidate, sdpMLineIndex: 0 } : candidate ?? null;
    if (session.answered) this.#addCandidate(session, init);
    else if (session.remote.length < 200) session.remote.push(init);
  }

  /** @param {RtcSession} session @param {RTCIceCandidateInit | null} candidate */
  #addCandidate(session, candidate) {
    if (!candidate?.candidate) return; // the end of the list needs no action
    session.pc.addIceCandidate(candidate).catch((error) => {
      this.#log('debug', `a candidate was not usable and is ignored: ${error}`);
    });
  }

  /** Frames move to the WebSocket while the channel is silent. @param {RtcSession} session @param {string} why */
  #suspect(session, why) {
    if (!session.proven || session.suspect || this.#rtc !== session) return;
    session.suspect = true;
    this.#log('warn', `the data channel stalls (${why})`);
    this.#refresh();
  }

  /** @param {RtcSession} session @param {string} why */
  #failRtc(session, why) {
    if (this.#rtc !== session) return;
    const lasted = session.proven ? performance.now() - session.provenAt : 0;
    this.#endRtc();
    if (lasted > 2 * STABLE_MS) this.#rtcAttempt = 0;
    this.#log('warn', `WebRTC ended: ${why}; frames ${this.#welcomed ? 'travel over the WebSocket' : 'wait for the WebSocket'}`);
    this.#refresh();
    if (this.#transport === 'none' && !this.ws && !this.#options.reconnect) this.#retrySocket();
    if (!this.#wanted || this.#rtcRefused) return;
    const delay = backoff(this.#rtcAttempt, 1000, 60000);
    this.#rtcAttempt += 1;
    clearTimeout(this.#rtcTimer);
    this.#rtcTimer = setTimeout(() => this.#startRtc(), delay);
  }

  #endRtc() {
    const session = this.#rtc;
    this.#rtc = null;
    this.pc = null;
    this.dataChannel = null;
    if (!session) return;
    clearTimeout(session.timer);
    session.channel.onopen = session.channel.onclose = session.channel.onmessage = session.channel.onerror = null;
    session.pc.onicecandidate = session.pc.onconnectionstatechange = session.pc.ondatachannel = null;
    session.pc.close();
  }

  // ---- heartbeat and state --------------------------------------------------

  #tick() {
    const now = performance.now();
    const slept = now - this.#lastTick > 2000;
    this.#lastTick = now;
    const rtc = this.#rtc;
    if (slept) {
      // The page was asleep: answers may still be on their way into it.
      if (this.#wsLink.waiting) this.#wsLink.waiting = now;
      if (rtc?.link.waiting) rtc.link.waiting = now;
    }
    if (this.#welcomed && this.ws) {
      const link = this.#wsLink;
      if (link.waiting && now - link.waiting > WS_DEAD_MS) {
        this.#log('warn', 'the WebSocket has been silent for 5 s');
        this.#dropSocket(this.ws, true, 1006);
      } else if (now - link.lastPing >= (this.#transport === 'websocket' ? PING_MS : PING_STANDBY_MS) - TICK_MS / 2) {
        this.#ping(link, now);
      }
      if (this.#wsAttempt && now - this.#welcomedAt > STABLE_MS) this.#wsAttempt = 0;
    }
    if (rtc && rtc.channel.readyState === 'open') {
      const silent = rtc.link.waiting ? now - rtc.link.waiting : 0;
      if (silent > DC_DEAD_MS) {
        this.#failRtc(rtc, 'the data channel has been silent for 2.5 s');
      } else {
        if (silent > SUSPECT_MS + 3 * this.#rtt && this.#welcomed) this.#suspect(rtc, 'no answer');
        // A ping may be lost on the way: while one is unanswered, ask more often.
        if (silent || rtc.suspect || now - rtc.link.lastPing >= PING_CHANNEL_MS - TICK_MS / 2) this.#ping(rtc.link, now);
      }
      if (this.#rtcAttempt && rtc.proven && now - rtc.provenAt > 2 * STABLE_MS) this.#rtcAttempt = 0;
    }
  }

  /** @param {Link} link @param {number} now */
  #ping(link, now) {
    link.lastPing = now;
    if (!link.waiting) link.waiting = now;
    link.reply(JSON.stringify({ type: 'ping', t: Math.round(now * 1000) / 1000 }));
  }

  /** Chooses the transport anew. */
  #refresh() {
    if (!this.#wanted) return;
    const rtc = this.#rtc;
    const open = rtc?.proven === true && rtc.channel.readyState === 'open';
    if (open && !(rtc.suspect && this.#welcomed)) this.#setTransport('webrtc');
    else this.#setTransport(this.#welcomed ? 'websocket' : 'none');
    if (this.#transport !== 'none') this.#setState('connected');
    else this.#setState(this.#everWelcomed ? 'reconnecting' : 'connecting');
  }

  /** @param {Transport} transport */
  #setTransport(transport) {
    if (this.#transport === transport) return;
    this.#transport = transport;
    this.#introduce = true;
    this.#lastFrameBytes = 0;
    this.#rtt = 0;
    this.#latency = 0;
    this.#log('info', `transport: ${transport}`);
    const link = transport === 'webrtc' ? this.#rtc?.link : transport === 'websocket' ? this.#wsLink : null;
    if (link && !link.waiting) this.#ping(link, performance.now());
    this.#call(this.onTransportChange, transport);
  }

  /** @param {ClientState} state */
  #setState(state) {
    if (this.#state === state) return;
    this.#state = state;
    this.#log('debug', `state: ${state}`);
    this.#call(this.onStateChange, state);
  }

  #listen() {
    if (this.#unlisten.length || typeof window === 'undefined') return;
    /** @param {EventTarget} target @param {string} type @param {(e: any) => void} fn */
    const on = (target, type, fn) => {
      target.addEventListener(type, fn);
      this.#unlisten.push(() => target.removeEventListener(type, fn));
    };
    on(window, 'online', () => this.#awake('the network is back'));
    on(document, 'visibilitychange', () => {
      if (document.visibilityState === 'visible') this.#awake('the page is visible again');
    });
    on(window, 'pageshow', (e) => {
      if (e.persisted) this.#awake('the page was restored');
    });
    // A closed tab is noticed late over WebRTC unless the page says goodbye.
    on(window, 'pagehide', () => {
      this.#endRtc();
      const ws = this.ws;
      if (ws) this.#dropSocket(ws, true, 1001);
    });
  }

  /** Something has changed for the better: do not wait for the next attempt. @param {string} why */
  #awake(why) {
    if (!this.#wanted) return;
    this.#log('debug', `${why}; checking the connection`);
    const now = performance.now();
    this.#lastTick = now;
    if (this.#rtc?.channel.readyState === 'open') {
      this.#rtc.link.waiting = 0;
      this.#ping(this.#rtc.link, now);
    }
    if (this.#welcomed) {
      this.#wsLink.waiting = 0;
      this.#ping(this.#wsLink, now);
      if (this.#rtcTimer !== undefined && !this.#rtc) this.#startRtc();
    } else if (!this.ws && this.#options.reconnect) {
      this.#wsAttempt = 0;
      this.#openSocket();
    }
  }

  /** Lets go of everything that was opened or timed. */
  #stop() {
    clearInterval(this.#ticker);
    this.#ticker = undefined;
    clearTimeout(this.#wsTimer);
    this.#wsTimer = undefined;
    clearTimeout(this.#wsOpenTimer);
    clearTimeout(this.#rtcTimer);
    this.#rtcTimer = undefined;
    for (const off of this.#unlisten) off();
    this.#unlisten = [];
    for (const lane of this.#lanes.values()) clearTimeout(lane.timer);
    this.#lanes.clear();
    for (const w of this.#statsWaiters) {
      clearTimeout(w.timer);
      w.reject(clientError('closed', 'The connection was closed before the server answered.'));
    }
    this.#statsWaiters = [];
    this.#endRtc();
    const ws = this.ws;
    this.ws = null;
    this.#welcomed = false;
    if (ws) {
      ws.onopen = ws.onmessage = ws.onclose = null;
      try {
        ws.close(1000);
      } catch { /* it was closed */ }
    }
  }

  /** @param {ClientError} error */
  #report(error) {
    this.#log('warn', error.message);
    this.#call(this.onError, error);
  }

  /**
   * Calls a handler of the user's; an error in it must not harm the connection.
   * @template {unknown[]} A
   * @param {((...args: A) => void) | null} handler
   * @param {A} args
   */
  #call(handler, ...args) {
    if (!handler) return;
    try {
      handler.apply(this, args);
    } catch (error) {
      console.error('[FaceLink] a handler failed:', error);
    }
  }

  /** @param {'debug' | 'info' | 'warn'} level @param {string} text */
  #log(level, text) {
    if (this.debug) console[level](`[FaceLink] ${text}`);
    if (this.debug || level !== 'debug') this.#call(this.onLog, level, text);
  }
}

export default FacialAnimationWebRTCClient;

/** @param {string} address @param {boolean} gave Whether a token was sent @returns {ClientError} */
function unauthorized(address, gave) {
  return clientError('unauthorized', `${address} ${gave ? 'refused the pairing token: it is not the one of this server run' : 'wants a pairing token'}. Open the page by the link or the QR code that the server shows; it ends in ?token=...`);
}

/** Only finite numbers are sent: a single NaN would make the server refuse the frame. @param {Blendshapes} shapes @returns {Blendshapes} */
function clean(shapes) {
  /** @type {Blendshapes} */
  const out = {};
  for (const name in shapes) if (finite(shapes[name])) out[name] = shapes[name];
  return out;
}

/** @param {Blendshapes} shapes @returns {Blendshapes} */
function rounded(shapes) {
  /** @type {Blendshapes} */
  const out = {};
  for (const name in shapes) out[name] = round4(shapes[name]);
  return out;
}

/** @param {Head} head */
function plainHead(head) {
  /** @type {{ rotation?: number[], position?: number[] }} */
  const out = {};
  if (head.rotation && Array.from(head.rotation).every(finite)) out.rotation = Array.from(head.rotation, (x) => Math.round(x * 1e6) / 1e6);
  if (head.position && Array.from(head.position).every(finite)) out.position = Array.from(head.position, round4);
  return out;
}

// ---- the synthetic performer ------------------------------------------------

/** A chance number from 0 to 1 that is always the same for the same (n, k). @param {number} n @param {number} k */
function chance(n, k) {
  let h = Math.imul(n | 0, 0x9e3779b1) ^ Math.imul((k + 1) | 0, 0x7feb352d);
  h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d);
  h = Math.imul(h ^ (h >>> 12), 0x297a2d39);
  return ((h ^ (h >>> 15)) >>> 0) / 4294967296;
}

/** 0 below `a`, 1 above `b`, smooth between. @param {number} a @param {number} b @param {number} x */
function smooth(a, b, x) {
  const t = Math.max(0, Math.min(1, (x - a) / (b - a)));
  return t * t * (3 - 2 * t);
}

/** A bump of height 1 around 0 that ends at -1 and 1. @param {number} x */
const bump = (x) => (Math.abs(x) < 1 ? 0.5 + 0.5 * Math.cos(Math.PI * x) : 0);

/** Mouth shapes of the performer's speech; a name without a side means both. @type {Blendshapes[]} */
const VOWELS = [
  { jawOpen: 0.58, mouthLowerDown: 0.2, mouthUpperUp: 0.14, mouthStretch: 0.06 },
  { jawOpen: 0.34, mouthStretch: 0.26, mouthSmile: 0.16, mouthLowerDown: 0.24, mouthUpperUp: 0.14 },
  { jawOpen: 0.2, mouthStretch: 0.3, mouthSmile: 0.2, mouthLowerDown: 0.26, mouthDimple: 0.12 },
  { jawOpen: 0.42, mouthFunnel: 0.46, mouthPucker: 0.22 },
  { jawOpen: 0.2, mouthPucker: 0.66, mouthFunnel: 0.28 },
];
/** @type {Blendshapes[]} */
const CONSONANTS = [
  { jawOpen: 0.06, mouthClose: 0.06, mouthPress: 0.45, mouthRollLower: 0.34, mouthRollUpper: 0.28 },
  { jawOpen: 0.1, mouthRollLower: 0.5, mouthUpperUp: 0.22, mouthShrugUpper: 0.1 },
  { jawOpen: 0.2, tongueOut: 0.3, mouthLowerDown: 0.16 },
  { jawOpen: 0.16, mouthLowerDown: 0.22, mouthUpperUp: 0.12 },
  { jawOpen: 0.24, mouthLowerDown: 0.14, mouthStretch: 0.1 },
  { jawOpen: 0.07, mouthStretch: 0.3, mouthLowerDown: 0.3, mouthUpperUp: 0.16 },
  { jawOpen: 0.12, mouthFunnel: 0.52, mouthPucker: 0.2 },
  { jawOpen: 0.17, mouthFunnel: 0.24, mouthPucker: 0.3 },
];

/** How much the performer speaks at time t, 0..1. @param {number} t */
function talking(t) {
  const PHRASE = 5.2;
  const i = Math.floor(t / PHRASE);
  const at = t - i * PHRASE;
  const end = 3.5 + chance(i, 1) * 1.1;
  return smooth(0.1, 0.35, at) * (1 - smooth(end - 0.3, end, at));
}

/**
 * A face that talks, blinks, looks around and sways, for tests and
 * demonstrations. The same `t` always gives the same face.
 * @param {number} t Seconds, 0 or more
 * @returns {{ blendshapes: Blendshapes, head: { rotation: [number, number, number, number] } }}
 *   All 52 shapes, 0..1, and the head in ARKit face axes
 */
export function samplePerformance(t) {
  /** @type {Blendshapes} */
  const s = {};
  for (const name of ARKIT_NAMES) s[name] = 0;
  /** @param {string} name @param {number} value */
  const add = (name, value) => {
    if (name in s) s[name] += value;
    else {
      s[`${name}Left`] += value * 0.97;
      s[`${name}Right`] += value * 1.03;
    }
  };

  // Speech: a consonant and a vowel by turns, each shape blended into its neighbours.
  const STEP = 0.105;
  const here = Math.floor(t / STEP);
  let weightSum = 0;
  /** @type {[Blendshapes, number][]} */
  const mouth = [];
  for (let i = here - 2; i <= here + 2; i += 1) {
    const centre = (i + 0.5 + (chance(i, 2) - 0.5) * 0.5) * STEP;
    const weight = bump((t - centre) / (STEP * 1.5));
    const set = i & 1 ? VOWELS : CONSONANTS;
    const loud = talking(centre) * (0.7 + 0.45 * chance(i, 3));
    weightSum += weight;
    if (weight > 0) mouth.push([set[Math.floor(chance(i, 4) * set.length)], weight * loud]);
  }
  for (const [shape, weight] of mouth) {
    for (const name in shape) add(name, (shape[name] * weight) / Math.max(1, weightSum));
  }
  const speech = talking(t);
  const rest = 1 - speech;
  add('mouthSmile', 0.06 + 0.3 * rest * (0.6 + 0.4 * Math.sin(t * 0.9)) + 0.06 * speech);
  add('cheekSquint', 0.05 + 0.2 * rest);
  s.jawLeft += Math.max(0, 0.05 * Math.sin(t * 2.3)) * speech;
  s.jawRight += Math.max(0, -0.05 * Math.sin(t * 2.3)) * speech;
  s.mouthLeft += Math.max(0, 0.08 * Math.sin(t * 0.7));
  s.mouthRight += Math.max(0, -0.08 * Math.sin(t * 0.7));

  // Brows: an accent or two in every phrase, sometimes a frown.
  const beat = 1.3;
  for (let i = Math.floor(t / beat) - 1; i <= Math.floor(t / beat) + 1; i += 1) {
    const at = (i + 0.3 + 0.4 * chance(i, 5)) * beat;
    const lift = bump((t - at) / 0.42) * talking(at);
    if (chance(i, 6) < 0.55) {
      add('browInnerUp', 0.55 * lift);
      add('browOuterUp', 0.42 * lift);
      add('eyeWide', 0.2 * lift);
    } else if (chance(i, 6) > 0.85) {
      add('browDown', 0.4 * lift);
      add('noseSneer', 0.16 * lift);
      add('eyeSquint', 0.2 * lift);
    }
  }
  add('browInnerUp', 0.04 + 0.03 * Math.sin(t * 0.8));

  // The head sways, and nods with the speech.
  const yaw = 0.13 * Math.sin(t * 0.62) + 0.06 * Math.sin(t * 1.37 + 1) + 0.03 * speech * Math.sin(t * 4.1);
  const pitch = 0.05 * Math.sin(t * 0.83 + 2) - 0.045 * speech * Math.max(0, Math.sin(t * 3.3)) + 0.01;
  const roll = 0.05 * Math.sin(t * 0.47 + 0.5) + 0.025 * Math.sin(t * 1.9);

  // Eyes: they hold a point, then jump. They turn against the head, to stay on it.
  const FIX = 0.85;
  const k = Math.floor(t / FIX);
  /** @param {number} i @returns {[number, number]} right and up, radians */
  const gaze = (i) => (chance(i, 7) < 0.45
    ? [0, 0]
    : [(chance(i, 8) - 0.5) * 0.5, (chance(i, 9) - 0.5) * 0.26]);
  const jump = smooth(0, 0.045, t - (k + 0.25 * chance(k, 10)) * FIX);
  const [fromX, fromY] = gaze(k - 1);
  const [toX, toY] = gaze(k);
  const lookRight = (fromX + (toX - fromX) * jump + 0.8 * yaw) / EYE_RANGE;
  const lookUp = (fromY + (toY - fromY) * jump - 0.8 * pitch) / EYE_RANGE;
  s.eyeLookInLeft += Math.max(0, lookRight);
  s.eyeLookOutLeft += Math.max(0, -lookRight);
  s.eyeLookOutRight += Math.max(0, lookRight);
  s.eyeLookInRight += Math.max(0, -lookRight);
  add('eyeLookUp', Math.max(0, lookUp));
  add('eyeLookDown', Math.max(0, -lookUp));

  // Blinks: quick to close, slower to open, now and then a double one.
  const BLINK = 3.1;
  for (let i = Math.floor(t / BLINK) - 1; i <= Math.floor(t / BLINK); i += 1) {
    const at = i * BLINK + chance(i, 11) * 2.3;
    for (const again of chance(i, 12) < 0.18 ? [0, 0.34] : [0]) {
      const x = t - at - again;
      const lid = smooth(0, 0.07, x) * (1 - smooth(0.09, 0.24, x));
      add('eyeBlink', lid);
      add('eyeSquint', 0.12 * lid);
      add('browDown', 0.05 * lid);
    }
  }
  add('eyeBlink', 0.25 * Math.max(0, -lookUp) + 0.03);

  for (const name of ARKIT_NAMES) s[name] = Math.max(0, Math.min(1, s[name]));
  return { blendshapes: s, head: { rotation: headQuaternion(yaw, pitch, roll) } };
}
