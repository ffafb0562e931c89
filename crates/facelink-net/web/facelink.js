// @ts-check
/**
 * FaceLink's JavaScript client: sends a face (52 ARKit shapes and the head) to
 * a FaceLink server and receives the faces of others.
 *
 * Frames flow over a WebSocket as soon as it is open. A WebRTC data channel
 * (unordered, no retransmission) is opened in the background; frames move to
 * it when it answers and move back at once when it falls silent. There is no
 * queue: a frame that cannot leave now is replaced by the next one.
 *
 * Where the browser refuses the WebSocket although the server answers HTTP (an
 * iPhone's browser and a certificate that it does not trust), offers go by
 * HTTP and everything else over the data channel; the WebSocket is tried again
 * from time to time.
 *
 * One ES module, no dependencies, no build step; delta.js, which reads the compact bundles of relays, is loaded by clients that
 * receive, where it is there. Its parts, each under a
 * heading: types and constants; the class (API, frame rate, frames, routing,
 * receiving, WebSocket, HTTP, data channel, recovery, heartbeat, state, events of
 * the page); the facelink1 codec; the synthetic performer. Transports, silence and
 * recovery follow the Rust connection (`facelink::connection`), and both are
 * held to one table of faults (`node tests/web/connection.mjs`).
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
 * @typedef {object} Gaze Direction of each eye relative to the head, radians: `yaw`
 *   positive to the performer's own left, `pitch` positive up.
 * @property {{ yaw: number, pitch: number }} left The performer's own left eye.
 * @property {{ yaw: number, pitch: number }} right
 */
/**
 * @typedef {object} SendOptions
 * @property {Head | null} [head] Head pose of this frame.
 * @property {Gaze | null} [gaze] Direction of the eyes; JSON frames have none: the EyeLook shapes stand for it.
 * @property {number | string} [timestamp] Capture time: Unix milliseconds, or
 *   an ISO 8601 string. Default: now. `float32` frames do not carry it.
 * @property {boolean} [tracked] `false`: the face is out of sight.
 * @property {string} [subject] Send as another subject than the connection's.
 */
/**
 * @typedef {object} ClientOptions
 * @property {string} [subject] Name under which the server lists this face.
 * @property {string} [token] Pairing token; default: `?token=` of the server
 *   URL, then of the page where it came from that server.
 * @property {boolean} [debug] Verbose console logging. Default false.
 * @property {boolean} [webrtc] Try WebRTC. Default true.
 * @property {RTCIceTransportPolicy} [iceTransportPolicy] `'relay'`: only through
 *   TURN servers. Default `'all'`.
 * @property {boolean} [reconnect] Reconnect by itself. Default true.
 * @property {RTCIceServer[]} [iceServers] STUN/TURN servers; default: those the
 *   server sends in `welcome`.
 * @property {'facelink1' | 'float32' | 'json'} [binary] How frames are written:
 *   `facelink1`, compact and numbered, so that they may go over both transports at once (the
 *   default, where the server reads it), `float32`, little-endian, or `json`.
 * @property {boolean} [delta] Receive what changed instead of whole faces, in a third of the bytes, where the server offers it
 *   and delta.js can be loaded from next to this module. Default true.
 * @property {string} [client] Name and version of the application, for logs.
 * @property {{
 *   send(payload: string | ArrayBuffer | Uint8Array<ArrayBuffer>, send: (payload: string | Uint8Array<ArrayBuffer>) => void): boolean,
 *   receive(data: unknown, receive: (data: unknown, leftOut?: number) => void): void,
 * }} [filter] What all messages pass on their way out and in: `SealedClient` of seal.js is a client with one.
 */
/** @typedef {'idle' | 'connecting' | 'connected' | 'reconnecting' | 'failed' | 'closed'} ClientState */
/** @typedef {'webrtc' | 'websocket' | 'none'} Transport */
/**
 * @typedef {object} ClientStats
 * @property {string | null} connectionId Given by the server.
 * @property {ClientState} state
 * @property {Transport} transport What frames travel over now.
 * @property {'websocket' | 'http' | 'none'} signalling What offers travel by; `http` while the browser
 *   refuses the WebSocket.
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
 * @property {number} iceRestarts ICE restarts.
 * @property {number} moves How often frames moved from one transport to another.
 * @property {boolean} hedging The data channel is suspect: frames go over both transports.
 * @property {number} pingsLost Pings that were never answered although later ones were.
 * @property {number | null} loss Share of this connection's frames that the server misses, 0..1,
 *   as of the last answer to `requestStats`; null before it.
 * @property {number} repeats Earlier frames that each packet repeats, 0..3, as the server asks for.
 * @property {number | null} jitterMs Variation of the frames' travel time, from the same answer.
 */
/**
 * The path that ICE chose.
 * @typedef {object} ConnectionInfo
 * @property {Transport} transport
 * @property {string | null} connectionId
 * @property {boolean} relayed Through a TURN server.
 * @property {'udp' | 'tcp' | null} protocol Of the path; null without a data channel.
 * @property {{ type: string, protocol: string, relayProtocol?: string, address?: string, port?: number } | null} local
 *   `type` is `host`, `srflx`, `prflx` or `relay`.
 * @property {{ type: string, protocol: string, address?: string, port?: number } | null} remote
 * @property {number | null} rttMs ICE's own newest round trip.
 * @property {RTCIceConnectionState | 'none'} iceState
 */
/**
 * @typedef {Error & { code: string }} ClientError `code` is one of
 *   `unauthorized`, `unreachable`, `refused`, `mixed-content`, `bad-url`,
 *   `timeout`, `closed`, `server` (an `error` message of the server) or `webrtc`.
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

/** A frame with more ARKit shapes than this is a whole face, not a part of one. */
const WHOLE_FACE = 24;
/** The server holds a shape that is missing from a frame for this long, ms. */
const HOLD_MS = 100;
/** Eye rotation, radians, of an EyeLook shape of 1. */
const EYE_RANGE = (35 * Math.PI) / 180;

const CHANNEL_OPTIONS = Object.freeze({
  negotiated: true,
  id: 0,
  ordered: false,
  maxRetransmits: 0,
  protocol: 'animation-data',
});

// Heartbeat. The interval of pings depends on whether the transport carries frames.
const HEARTBEAT_MS = 50;
const PING_BUSY_MS = 100;
const PING_IDLE_MS = 400;
const BUSY_MS = 300; // a transport that took a frame within this time carries frames
const SLEPT_MS = 2500; // a gap between heartbeats that only a suspended page or device explains

// Suspicion: silence after which the data channel may carry nothing, if three round trips explain no more of it.
const SUSPECT_MS = 200; // frames without numbers then move to the WebSocket
const HEDGE_MS = 120; // numbered frames then go over both transports, which costs only their bytes

// Recovery of the data channel.
const RESTART_MS = 400; // from suspicion to an ICE restart
const RESTART_LIMIT_MS = 2000; // an ICE restart without success by then: a new peer connection
const CHANNEL_OPEN_LIMIT_MS = 12000;
const CHANNEL_DEAD_MS = 12000; // silence after which it is given up while no WebSocket can carry an ICE restart
const CHANNEL_STABLE_MS = 10000; // a channel that lasted this long resets the backoff

// Recovery of the WebSocket.
const WS_TAKES_FRAMES_MS = 250; // silence, beyond 2 round trips, after which it takes no more frames
const WS_DEAD_MS = 1000; // silence after which it is replaced
const WS_DEAD_STANDBY_MS = 1500; // the same while the data channel carries the frames
const WS_DEAD_MAX_MS = 5000; // the same on a network with long round trips
const WAKE_MS = 600; // the same after sleep or an outage
const DIAL_LIMIT_MS = 6000; // from the dial to `welcome`
const REDIAL_LIMIT_MS = 1800; // the same for an endpoint that has answered before: a new dial finds a path that is back sooner
const FRESH_DIAL_MS = 300; // a younger dial is not replaced when the network changes
const WS_STABLE_MS = 1000; // a WebSocket that lasted this long resets the backoff
const DISCONNECTED_MS = 800; // silence of both transports after which the state is `reconnecting`
const CLOSE_RECONNECTING = 4000; // WebSocket close code: the client returns by another socket
const CLOSE_UNAUTHORISED = [1008, 3000, 3003, 4401, 4403];
const CLOSE_RESUMED = 4409; // another socket has resumed the connection
const SOCKET_OPEN = 1; // `readyState`

// Signalling by HTTP.
const GATHER_MS = 250; // an offer waits for this device's own candidates; the server knows it by its packets anyway
const POST_LIMIT_MS = 8000; // the server's answer holds all of its candidates
const ASK_LIMIT_MS = 2500;
const HELLO_MS = 100; // the channel loses messages: `hello` is repeated until it is answered
const SUBSCRIBE_MS = 2000; // so is `subscribe`, which has no answer
const RENEW_MS = 500; // between two attempts to replace a silent channel
const SOCKET_RETRY_MS = 10000; // to the first new attempt with the WebSocket; doubled each time
const SOCKET_RETRY_MAX_MS = 120000;

// ICE over TCP: after UDP has had its time. Some browsers keep the first pair that works.
const TCP_AFTER_MS = 1500;
const TCP_AFTER_RESTART_MS = 500;
const TCP_AFTER_HTTP_MS = 800; // no WebSocket carries frames in the meantime

// Frames.
const MAX_FACES_PER_PACKET = 5; // below one datagram even while each repeats one frame
const MAX_DATAGRAM_MESSAGE = 16000; // bytes; larger messages go over the WebSocket
const PEAK = 0.05; // a weight that moved this far and back between two frames has a peak
const LOSS_MEMORY_MS = 5000; // frames repeat earlier ones for this long after a loss
const REPEAT_MAX_AGE_MS = 150; // an older frame is not repeated
const ACK_MS = 50; // between two acknowledgements of compact bundles
const BUNDLED = new Uint8Array(0); // stands for a packet that leaves together with others

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

/** The time of day in Unix ms, finer than `Date.now()`; it steps back only with the system clock. */
const wallClock = (() => {
  let zero = Date.now() - performance.now();
  return () => {
    const time = zero + performance.now();
    const day = Date.now();
    if (Math.abs(time - day) <= 5) return time;
    zero = day - performance.now(); // the clock was set, or the device slept
    return day;
  };
})();

/** A capture time in Unix ms. @param {number | string | undefined} timestamp As the wire has it: seconds below 1e11 */
function captureMs(timestamp) {
  const time = typeof timestamp === 'string' ? Date.parse(timestamp) : timestamp;
  if (!finite(time) || time < 0) return wallClock();
  return time < 1e11 ? time * 1000 : time;
}

/** @param {number} x */
const round4 = (x) => Math.round(x * 1e4) / 1e4;

/** Exponential backoff with jitter, ms: clients that lost an endpoint together do not return together.
 * @param {number} attempt 0, 1, 2, ...
 * @param {number} first
 * @param {number} last
 * @param {number} [growth]
 */
function backoff(attempt, first, last, growth = 2) {
  const longest = Math.min(last, first * growth ** Math.min(attempt, 40));
  return first / 2 + (longest - first / 2) * (0.5 + Math.random() / 2);
}

/**
 * The WebSocket URL of a server's address as users write it.
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
    throw clientError('bad-url', `"${address}" is not a server address. Write it like ws://192.168.1.20:8765.`);
  }
  url.hash = '';
  return url;
}

/** @param {Gaze | null | undefined} gaze @returns {Gaze | null} Null when an angle is missing */
function usableGaze(gaze) {
  const whole = gaze && [gaze.left, gaze.right].every((eye) => eye && finite(eye.yaw) && finite(eye.pitch));
  return whole ? gaze : null;
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
 * The frames of one subject: what was sent last, and the frame that waits.
 * @typedef {object} FrameStream
 * @property {string | undefined} subject
 * @property {number} due When the next frame may leave (ms, performance clock).
 * @property {number} lastCall
 * @property {number} interval Smoothed time between the caller's frames (ms).
 * @property {Blendshapes} sentValues
 * @property {Blendshapes} recent Newest value of each shape, for `recentAt`.
 * @property {Record<string, number>} recentAt
 * @property {Pending | null} pending
 * @property {ReturnType<typeof setTimeout> | undefined} timer
 * @property {number} sequence The number of the next frame.
 * @property {Facelink1Frame[]} history The frames sent last, oldest first.
 */
/**
 * @typedef {object} Pending The frame that waits; never more than one.
 * @property {number} since
 * @property {Blendshapes} shapes What is sent: the newest value, or the peak.
 * @property {Blendshapes} low
 * @property {Blendshapes} high
 * @property {Blendshapes} latest
 * @property {Record<string, boolean>} seen
 * @property {Head | null | undefined} head
 * @property {Gaze | null | undefined} gaze
 * @property {number | string | undefined} timestamp
 */
/**
 * Pings and round trips of one transport.
 * @typedef {object} Link
 * @property {'webrtc' | 'websocket'} kind
 * @property {number[]} pings When the pings left that are newer than the newest answered one.
 * @property {number} limit After sleep: silence that ends the transport, ms; 0 for the default.
 * @property {number} lastPing
 * @property {number} lastReceived
 * @property {number} lastFrame
 * @property {number} rtt Smoothed round trip, ms; 0 until measured.
 * @property {number} lastRtt
 * @property {number} trips How many round trips were measured.
 * @property {(text: string) => boolean} reply Sends by the transport that the message came by.
 */
/**
 * The newest frame of a subject. Delays are of arrival behind capture, ms; the clocks may differ.
 * @typedef {object} Newest
 * @property {number} time Capture time, µs.
 * @property {number} sequence
 * @property {number} number The same without what a relay has left out.
 * @property {number} least The least delay since `start`.
 * @property {number} usual The least delay before.
 * @property {number} start
 */
/**
 * One peer connection and its data channel.
 * @typedef {object} RtcSession
 * @property {RTCPeerConnection} pc
 * @property {RTCDataChannel} channel
 * @property {boolean} answered The remote description is set.
 * @property {boolean} offered The offer has been sent.
 * @property {boolean} proven The server has answered a ping on the channel.
 * @property {boolean} suspect It was proven and is silent or full now.
 * @property {number} suspectSince
 * @property {boolean} broken ICE reports that its path is broken.
 * @property {boolean} established The first answer has arrived.
 * @property {number} restartingSince When ICE was restarted, until an answer arrives; or 0.
 * @property {string | null} connectionId Id of the connection whose signalling made it.
 * @property {boolean} http Its offer went by HTTP, so that `hello` and all else go over its channel.
 * @property {boolean} resumed The answer by HTTP continues the connection from before.
 * @property {boolean} greeted The newest `hello` was answered on the channel.
 * @property {number} hellos How many were sent.
 * @property {number} helloAt
 * @property {number} subscribedAt
 * @property {number} askedAt When another one was last offered in its place, because it is silent.
 * @property {number} describedAt
 * @property {ReturnType<typeof setTimeout>[]} tcp Candidates for TCP that wait for their time.
 * @property {number} provenAt
 * @property {number} blockedSince When sends began to find the channel full, or 0.
 * @property {(RTCIceCandidateInit | null)[]} remote Candidates that wait for the answer.
 * @property {(RTCIceCandidateInit | null)[]} local Candidates that wait for the offer.
 * @property {Link} link
 * @property {ReturnType<typeof setTimeout> | undefined} timer
 */

/** @param {Link['kind']} kind @param {Link['reply']} reply @returns {Link} */
const newLink = (kind, reply) => ({
  kind, reply, pings: [], limit: 0, lastPing: 0, lastReceived: 0, lastFrame: 0, rtt: 0, lastRtt: 0, trips: 0,
});

/** Age of the oldest ping that was not answered, ms. @param {Link} link @param {number} now */
const silence = (link, now) => (link.pings.length ? Math.max(0, now - link.pings[0]) : 0);

/** @param {Link} link */
const roundTrip = (link) => Math.max(link.rtt, link.lastRtt);

/** Events of a peer connection that its view passes on. */
const PEER_EVENTS = ['connectionstatechange', 'datachannel', 'icecandidate', 'icecandidateerror', 'iceconnectionstatechange',
  'icegatheringstatechange', 'negotiationneeded', 'signalingstatechange'];
/** A peer connection that is not there yet. @type {Record<string, any>} */
const NO_PEER = {
  connectionState: 'new', iceConnectionState: 'new', iceGatheringState: 'new', signalingState: 'stable',
  localDescription: null, remoteDescription: null, getStats: async () => new Map(), getConfiguration: () => ({}), close() {},
};
/** What passes events to a view. @type {WeakMap<object, (event: any) => void>} */
const PEER_SINKS = new WeakMap();

/** What applications see of the peer connections of a client. @param {() => RTCPeerConnection | null} current @returns {RTCPeerConnection} */
function peerView(current) {
  const events = new EventTarget();
  /** @type {Record<string, any>} */
  const handlers = {};
  /** @param {string | symbol} name */
  const eventOf = (name) => PEER_EVENTS.find((type) => name === `on${type}`);
  const view = new Proxy(events, {
    get(_, name) {
      const event = eventOf(name);
      if (event) return handlers[event] ?? null;
      /** @type {any} */
      const from = name in events ? events : current() ?? NO_PEER;
      const value = from[name];
      return typeof value === 'function' ? value.bind(from) : value;
    },
    set(_, name, value) {
      const event = eventOf(name);
      if (event) handlers[event] = value;
      return Boolean(event);
    },
    getPrototypeOf: () => RTCPeerConnection.prototype,
  });
  PEER_SINKS.set(view, ({ type, candidate, channel }) => {
    const copy = Object.assign(new Event(type), { candidate, channel });
    handlers[type]?.call(view, copy);
    events.dispatchEvent(copy);
  });
  return /** @type {any} */ (view);
}

/** Waits until a peer connection has all of its candidates, or for so long, ms. @param {RTCPeerConnection} pc @param {number} limit */
function gathered(pc, limit) {
  if (pc.iceGatheringState === 'complete') return Promise.resolve();
  return new Promise((done) => {
    const timer = setTimeout(done, limit);
    pc.addEventListener('icegatheringstatechange', () => {
      if (pc.iceGatheringState !== 'complete') return;
      clearTimeout(timer);
      done(undefined);
    });
  });
}

/** A description without its candidates for TCP, and these. @param {string} sdp */
function splitTcp(sdp) {
  /** @type {RTCIceCandidateInit[]} */
  const later = [];
  let section = -1;
  const lines = sdp.split(/\r?\n/).filter((line) => {
    if (line.startsWith('m=')) section += 1;
    if (!/^a=candidate:\S+ \d+ tcp /i.test(line)) return true;
    later.push({ candidate: line.slice(2), sdpMLineIndex: Math.max(0, section) });
    return false;
  });
  return later.length ? { sdp: lines.join('\r\n'), later } : { sdp, later };
}

export class FacialAnimationWebRTCClient {
  /** Verbose console logging. @type {boolean} */
  debug = false;
  /**
   * The peer connection, from the start on: properties and methods are those of the present one, and handlers are called
   * for every later one too. Before the first one its states are `new`. Null where the browser has no WebRTC.
   * @type {RTCPeerConnection | null}
   */
  pc = typeof RTCPeerConnection === 'undefined' ? null : peerView(() => this.#rtc?.pc ?? null);
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

  /** @type {((state: ClientState) => void) | null} */
  onStateChange = null;
  /** Frames have moved to another transport. @type {((transport: Transport) => void) | null} */
  onTransportChange = null;
  /** An error; `message` says what to do about it. @type {((error: ClientError) => void) | null} */
  onError = null;
  /** The server's answer to `requestStats`. @type {((stats: Message) => void) | null} */
  onStats = null;
  /** The server wants another frame rate. @type {((fps: number) => void) | null} */
  onRateChange = null;
  /** Every message that arrives, after it was handled. @type {((message: Message, transport: Transport) => void) | null} */
  onMessage = null;
  /** What the console shows when `debug` is set, and warnings always. @type {((level: 'debug' | 'info' | 'warn', text: string) => void) | null} */
  onLog = null;

  /** @type {((blendshapes: Blendshapes, arkitRaw: Blendshapes, message: Message) => void) | null} */ #onBlendshapeUpdate = null;
  /** @type {URL} */ #url;
  /** @type {ClientOptions} */ #options;
  /** @type {ClientState} */ #state = 'idle';
  /** @type {Transport} */ #transport = 'none';
  #welcomed = false;
  #helloAt = 0;
  #welcomedAt = 0;
  #everWelcomed = false;
  #running = false;
  #wsAttempt = 0;
  #rtcAttempt = 0;
  #rtcRefused = false;
  /** The WebSocket fails before it opens and HTTP is answered: offers go by HTTP. */ #byHttp = false;
  #reconnects = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #wsTimer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #wsOpenTimer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #rtcTimer;
  /** @type {ReturnType<typeof setInterval> | undefined} */ #heartbeatTimer;
  #lastHeartbeat = 0;
  #timersLate = false;
  #socketAt = 0;
  #networkAt = -1e9;
  /** Round trip of the last WebSocket that answered, ms. */ #knownRtt = 0;
  #iceRestarts = 0;
  #moves = 0;
  #pingsLost = 0;
  #unsubscribed = false;
  /** How frames are written. @type {'facelink1' | 'float32' | 'json'} */ #format = 'float32';
  #lossAt = -1e9;
  #reportedAt = -1e9;
  /** Faces that leave in one packet. @type {Facelink1Face[] | null} */ #bundle = null;
  #redundancy = 0;
  /** @type {number | null} */ #reportedLoss = null;
  /** The newest frame received of each subject, and the least delay of its frames. @type {Map<string, Newest>} */
  #newestFrames = new Map();
  /** When frames of late arrived, and their delay above the least, ms. @type {[at: number, queue: number][]} */ #queues = [];
  /** Frames of late that were received, and that were sent. */ #counted = [0, 0];
  /** The server takes reports of what frames went through. */ #takesReports = false;
  #reportSentAt = 0;
  /** What reads compact bundles, once it is loaded. @type {typeof import('./delta.js').CompactDecoder | null} */ #Compact = null;
  /** @type {import('./delta.js').CompactDecoder | null} */ #compact = null;
  /** Compact bundles that were read and are to be acknowledged. @type {number[]} */ #acks = [];
  #ackedAt = 0;
  /** @type {Message | null} */ #serverStats = null;
  /** What `hello` shows to resume the connection. @type {string | null} */ #resumeToken = null;
  /** @type {Link} */ #wsLink;
  /** @type {RtcSession | null} */ #rtc = null;
  /** Takes the place of `#rtc` once the server has answered its offer. @type {RtcSession | null} */ #nextRtc = null;
  /** @type {RTCIceServer[]} */ #iceServers = [];
  /** @type {{ promise: Promise<void>, resolve: () => void, reject: (e: ClientError) => void } | null} */ #connecting = null;
  /** @type {ClientError | null} */ #closeReason = null;
  /** By subject; '' is all. @type {Map<string, { subject?: string, max_fps?: number, room?: string | true, priority?: number }>} */
  #subscriptions = new Map();
  /** @type {{ resolve: (m: Message) => void, reject: (e: ClientError) => void, timer: ReturnType<typeof setTimeout> }[]} */ #statsWaiters = [];
  /** @type {Map<string, FrameStream>} */ #streams = new Map();
  #jsonNext = true;
  #sent = 0;
  #framesSent = 0;
  #dropped = 0;
  #thinned = 0;
  #received = 0;
  #lastFrameBytes = 0;
  /** Frames and bytes of the last second. @type {{ at: number, bytes: number, frame: boolean }[]} */ #recentSends = [];
  #floats = new Float32Array(61);
  /** @type {(() => void)[]} */ #unwatch = [];

  /**
   * @param {string} [wsUrl] The server, such as `ws://192.168.68.132:8765`;
   *   default: where the page came from.
   * @param {ClientOptions} [options]
   */
  constructor(wsUrl, options = {}) {
    this.#options = { webrtc: true, reconnect: true, binary: 'facelink1', ...options };
    this.debug = Boolean(options.debug);
    this.#url = socketUrl(wsUrl);
    const own = this.#url.searchParams.get('token');
    // The page's token is for the page's own server.
    const page = typeof location === 'undefined' || location.host !== this.#url.host
      ? null : new URLSearchParams(location.search).get('token');
    const token = options.token || own || page;
    if (token) {
      this.#options.token = token;
      this.#url.searchParams.set('token', token);
    }
    this.#wsLink = newLink('websocket', (text) => this.#sendOn('websocket', text));
  }

  /**
   * A face from the server. Setting it subscribes to all faces, unless {@link subscribe} or {@link unsubscribe} is
   * called.
   * @type {((blendshapes: Blendshapes, arkitRaw: Blendshapes, message: Message) => void) | null}
   */
  get onBlendshapeUpdate() {
    return this.#onBlendshapeUpdate;
  }

  set onBlendshapeUpdate(handler) {
    this.#onBlendshapeUpdate = handler;
    if (handler && !this.#subscriptions.size && !this.#unsubscribed) this.subscribe();
  }

  /** @returns {ClientState} */
  get state() {
    return this.#state;
  }

  /** The secret by which this client resumes its connection: whoever has it can take that over. @returns {string | null} */
  get resumeToken() {
    return this.#resumeToken;
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
    if (this.#running && this.#transport !== 'none') return Promise.resolve();
    /** @type {() => void} */ let resolve = () => {};
    /** @type {(e: ClientError) => void} */ let reject = () => {};
    /** @type {Promise<void>} */
    const promise = new Promise((yes, no) => {
      resolve = yes;
      reject = no;
    });
    promise.catch(() => {}); // reported by onError as well
    this.#connecting = { promise, resolve, reject };
    this.#running = true;
    this.#wsAttempt = 0;
    this.#rtcAttempt = 0;
    this.#watchPage();
    this.#setState(this.#everWelcomed ? 'reconnecting' : 'connecting');
    if (!this.#heartbeatTimer) {
      this.#lastHeartbeat = performance.now();
      this.#heartbeatTimer = setInterval(() => this.#heartbeat(performance.now()), HEARTBEAT_MS);
    }
    this.#dial();
    return promise;
  }

  /** Ends the connection for good; `connect` may start it again. */
  close() {
    const was = this.#running;
    this.#running = false;
    this.#stop();
    this.#connecting?.reject(clientError('closed', 'close() was called before the connection was made.'));
    this.#connecting = null;
    if (was) this.#log('info', 'closed');
    this.#everWelcomed = false;
    this.#byHttp = false;
    this.#setTransport('none');
    this.#setState('closed');
  }

  /**
   * Sends one frame of the face. Called more often than `targetFps`, it merges
   * frames: a shape with a peak in between is sent with its peak, so that a
   * blink between two frames is not lost.
   * @param {Blendshapes} blendshapes ARKit names with 0..1; part of them is
   *   fine, a missing one counts as 0 after 100 ms. Other names become
   *   channels of their own.
   * @param {SendOptions} [options] Without `facelink1`, a head `position` makes every
   *   frame JSON, which is larger than one datagram: leave it out if it is not needed.
   * @returns {boolean} True when a frame left now; false when it was merged
   *   into the next or dropped.
   */
  sendARKitData(blendshapes, options = {}) {
    const now = performance.now();
    // A hidden page's timers are slow; its frames, if a worker drives them, are not.
    if (this.#running && now - this.#lastHeartbeat >= HEARTBEAT_MS) this.#heartbeat(now);
    const stream = this.#stream(options.subject);
    if (options.tracked === false) {
      this.#clearStream(stream);
      return this.#sendFrame(stream, { ...clean(blendshapes) }, options, now, true);
    }
    const shapes = clean(blendshapes);
    const gap = now - stream.lastCall;
    stream.lastCall = now;
    if (gap > 0 && gap < 500) stream.interval += (gap - stream.interval) * 0.1;
    const period = 1000 / this.#fps();
    this.#merge(stream, shapes, options, now, period);
    const slack = Math.min(period, stream.interval) / 2;
    if (now < stream.due - slack) {
      this.#thinned += 1;
      this.#schedule(stream, stream.due + slack - now);
      return false;
    }
    return this.#emit(stream, now, period, true);
  }

  /**
   * Sends 52 weights in the order of {@link ARKIT_NAMES}, or 61 values with the angles of head and eyes, as
   * little-endian floats; the guide's `sendBinaryBlendshapes`. `sendARKitData` writes smaller frames that survive loss.
   * @param {ArrayLike<number> | Blendshapes} values An object counts by the order of its own names
   * @returns {boolean} True when it was sent
   */
  sendBinaryBlendshapes(values) {
    const list = 'length' in values && finite(values.length) ? Array.from(/** @type {ArrayLike<number>} */ (values)) : Object.values(values);
    if ((list.length !== 52 && list.length !== 61) || !list.every(finite)) {
      throw new TypeError('sendBinaryBlendshapes: needs 52 or 61 finite numbers.');
    }
    const view = new DataView(new ArrayBuffer(list.length * 4));
    list.forEach((value, i) => view.setFloat32(i * 4, value, true));
    const left = this.#route(view.buffer, false, performance.now());
    if (left) this.#framesSent += 1;
    else this.#dropped += 1;
    return left;
  }

  /**
   * An emotion on top of the tracked face: happy, sad, angry, surprised, afraid, disgusted, contempt, neutral, or an emotion
   * that the game defines.
   *
   * @param {string} emotion Its name
   * @param {number} [intensity] 0 to 1
   * @param {{fadeMs?: number, durationMs?: number, subject?: string}} [options] Fade-in, duration (until the next emotion without it)
   *   and subject
   * @returns {boolean} True when it was sent
   */
  setEmotion(emotion, intensity = 1, { fadeMs, durationMs, subject } = {}) {
    if (!finite(intensity)) throw new TypeError('setEmotion: intensity must be a number from 0 to 1.');
    /** @type {Message} */
    const message = { type: 'set_emotion', emotion: String(emotion), intensity: round4(intensity) };
    if (finite(fadeMs)) message.fade_ms = fadeMs;
    if (finite(durationMs)) message.duration_ms = durationMs;
    if (subject !== undefined) message.subject = String(subject);
    return this.#sendControl(message);
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
   * Asks the server for its stats of this connection.
   * @returns {Promise<Message>} The `stats` message
   */
  requestStats() {
    const promise = new Promise((resolve, reject) => {
      if (!this.#sendControl({ type: 'get_stats' })) {
        reject(clientError('closed', 'Not connected: call connect() first, or wait for the reconnection.'));
        return;
      }
      const timer = setTimeout(() => {
        this.#statsWaiters = this.#statsWaiters.filter((w) => w.timer !== timer);
        reject(clientError('timeout', 'The server did not answer get_stats within 3 s. Check the connection and ask again.'));
      }, 3000);
      this.#statsWaiters.push({ resolve, reject, timer });
    });
    promise.catch(() => {});
    return promise;
  }

  /**
   * Receives faces, through {@link onBlendshapeUpdate}. Survives reconnection. Called again with another subject it adds a
   * subscription, and with the same one it changes it; of several that fit a face the most particular counts.
   * @param {object} [options] Default: all subjects at full rate
   * @param {string} [options.subject] A name, or a pattern with `*`
   * @param {number} [options.maxFps] At most so many frames of each a second
   * @param {string | true} [options.room] Only faces of this room's members; `true`: of the room that this client is in
   * @param {number} [options.priority] Which faces go first where not all of it fits, -10 to 10: those that are near, for
   *   example. Default 0
   */
  subscribe({ subject, maxFps, room, priority } = {}) {
    this.#unsubscribed = false;
    const subscription = {
      ...(subject ? { subject } : null), ...(finite(maxFps) ? { max_fps: maxFps } : null),
      ...(room ? { room } : null), ...(finite(priority) ? { priority } : null),
    };
    if (!this.#subscriptions.size) void this.#loadDelta();
    this.#subscriptions.set(subject ?? '', subscription);
    this.#sendSubscription(subscription);
  }

  /** Ends {@link subscribe}. @param {string} [subject] That of the subscription to end; all without one */
  unsubscribe(subject) {
    if (subject) this.#subscriptions.delete(subject);
    else this.#subscriptions.clear();
    this.#unsubscribed = !this.#subscriptions.size;
    this.#sendControl(subject ? { type: 'unsubscribe', subject } : { type: 'unsubscribe' });
  }

  /**
   * Sends several faces in one packet where the format has room for them.
   * @param {{ subject?: string, blendshapes: Blendshapes, options?: SendOptions }[]} faces
   * @returns {boolean} True when a packet left now
   */
  sendFaces(faces) {
    if (!Array.isArray(faces)) throw new TypeError('sendFaces: faces must be an array of { subject, blendshapes, options }.');
    this.#bundle = [];
    for (const { subject, blendshapes, options } of faces) {
      if (this.#bundle.length >= MAX_FACES_PER_PACKET) this.#flushBundle();
      this.sendARKitData(blendshapes, { ...options, subject });
    }
    const left = this.#flushBundle();
    this.#bundle = null;
    return left;
  }

  /**
   * The client's name in `hello`. A name that contains `webcam` selects the smoothing for cameras.
   * @param {string} name
   */
  setClient(name) {
    if (this.#options.client === name) return;
    this.#options.client = name;
    this.#greetAgain();
  }

  /** @param {string} name The subject's new name */
  setSubject(name) {
    this.#options.subject = name;
    this.#jsonNext = true;
    this.#greetAgain();
  }

  /**
   * The path of the frames: the kind of candidates that ICE chose, UDP or TCP, relayed or not.
   * @returns {Promise<ConnectionInfo>}
   */
  async getConnectionInfo() {
    /** @type {ConnectionInfo} */
    const info = {
      transport: this.#transport, connectionId: this.connectionId, relayed: false, protocol: null,
      local: null, remote: null, rttMs: null, iceState: this.#rtc?.pc.iceConnectionState ?? 'none',
    };
    const pc = this.#rtc?.pc;
    if (!pc || this.dataChannel?.readyState !== 'open') return info;
    /** @type {any[]} */
    const all = [];
    (await pc.getStats()).forEach((entry) => all.push(entry));
    const chosen = all.find((s) => s.type === 'transport' && s.selectedCandidatePairId)?.selectedCandidatePairId;
    const pair = all.find((s) => s.type === 'candidate-pair' && (chosen ? s.id === chosen : s.selected || (s.nominated && s.state === 'succeeded')));
    if (!pair) return info;
    /** @param {string} id */
    const candidate = (id) => {
      const c = all.find((s) => s.id === id);
      return c ? { type: c.candidateType, protocol: c.protocol, relayProtocol: c.relayProtocol, address: c.address ?? c.ip, port: c.port } : null;
    };
    info.local = candidate(pair.localCandidateId);
    info.remote = candidate(pair.remoteCandidateId);
    info.protocol = info.local?.protocol === 'tcp' ? 'tcp' : 'udp';
    info.relayed = info.local?.type === 'relay' || info.remote?.type === 'relay';
    if (finite(pair.currentRoundTripTime)) info.rttMs = pair.currentRoundTripTime * 1000;
    return info;
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
    const link = this.#link();
    return {
      connectionId: this.connectionId,
      state: this.#state,
      transport: this.#transport,
      signalling: this.#welcomed ? 'websocket' : this.#byHttp ? 'http' : 'none',
      averageLatencyMs: (link?.rtt ?? 0) / 2,
      rttMs: link?.lastRtt ?? 0,
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
      iceRestarts: this.#iceRestarts,
      moves: this.#moves,
      hedging: this.#rtc?.suspect === true && this.#transport === 'webrtc' && this.#welcomed,
      pingsLost: this.#pingsLost,
      loss: this.#reportedLoss ?? (finite(this.#serverStats?.loss) ? this.#serverStats?.loss : null),
      repeats: this.#redundancy,
      jitterMs: finite(this.#serverStats?.jitter_ms) ? this.#serverStats?.jitter_ms : null,
    };
  }

  // ---- frame rate: thinning that keeps peaks -------------------------------

  #fps() {
    return finite(this.targetFps) ? Math.min(240, Math.max(1, this.targetFps)) : 60;
  }

  /** @param {unknown} fps */
  #setRate(fps) {
    if (!finite(fps) || fps <= 0) return;
    const wanted = Math.min(240, Math.max(1, fps));
    if (wanted === this.targetFps) return;
    this.targetFps = wanted;
    this.#log('info', `the server asks for ${wanted} frames per second`);
    this.#call(this.onRateChange, wanted);
  }

  /** @param {string | undefined} subject @returns {FrameStream} */
  #stream(subject) {
    const key = subject ?? '';
    let stream = this.#streams.get(key);
    if (!stream) {
      stream = {
        subject, due: 0, lastCall: -1e9, interval: 1000 / 60,
        sentValues: {}, recent: {}, recentAt: {}, pending: null, timer: undefined,
        sequence: 0, history: [],
      };
      this.#streams.set(key, stream);
    }
    return stream;
  }

  /** @param {FrameStream} stream */
  #clearStream(stream) {
    clearTimeout(stream.timer);
    stream.timer = undefined;
    stream.pending = null;
    stream.sentValues = {};
    stream.recent = {};
    stream.recentAt = {};
    stream.history = [];
  }

  /**
   * @param {FrameStream} stream
   * @param {Blendshapes} shapes
   * @param {SendOptions} options
   * @param {number} now
   * @param {number} period
   */
  #merge(stream, shapes, options, now, period) {
    let p = stream.pending;
    if (p && now - p.since > Math.max(250, period * 1.5)) {
      // Its peaks are outdated.
      p.shapes = { ...p.latest };
      p.seen = {};
      p.low = {};
      p.high = {};
      p.since = now;
    }
    p = stream.pending ??= { since: now, shapes: {}, latest: {}, seen: {}, low: {}, high: {}, head: undefined, gaze: undefined, timestamp: undefined };
    for (const name in shapes) {
      const value = shapes[name];
      const from = stream.sentValues[name] ?? 0;
      p.low[name] = p.seen[name] ? Math.min(p.low[name], value) : value;
      p.high[name] = p.seen[name] ? Math.max(p.high[name], value) : value;
      // A weight with a peak between two frames is sent at its peak, any other one as it is now.
      const above = p.high[name] - Math.max(from, value);
      const below = Math.min(from, value) - p.low[name];
      p.shapes[name] = Math.max(above, below) <= PEAK ? value : above >= below ? p.high[name] : p.low[name];
      p.seen[name] = true;
      p.latest[name] = value;
    }
    p.head = options.head;
    p.gaze = options.gaze;
    p.timestamp = options.timestamp;
  }

  /** @param {FrameStream} stream @param {number} delay */
  #schedule(stream, delay) {
    if (stream.timer !== undefined) return;
    stream.timer = setTimeout(() => {
      stream.timer = undefined;
      if (stream.pending) this.#emit(stream, performance.now(), 1000 / this.#fps(), false);
    }, Math.max(1, delay));
  }

  /**
   * Sends the pending frame.
   * @param {FrameStream} stream
   * @param {number} now
   * @param {number} period
   * @param {boolean} count Count it as dropped if it cannot leave
   * @returns {boolean}
   */
  #emit(stream, now, period, count) {
    const p = stream.pending;
    if (!p) return false;
    clearTimeout(stream.timer);
    stream.timer = undefined;
    stream.due = (stream.due > now - period ? stream.due : now) + period;
    const left = this.#sendFrame(stream, p.shapes, p, now, count);
    if (this.#transport === 'none') {
      stream.pending = null;
      return false;
    }
    if (!left) {
      this.#schedule(stream, stream.due + period / 2 - now);
      return false;
    }
    Object.assign(stream.sentValues, p.shapes);
    stream.pending = null;
    for (const name in p.latest) {
      if (Math.abs(p.latest[name] - p.shapes[name]) > 1e-3) {
        // A peak was sent. The value after it has to follow, even without another call.
        stream.pending = { since: now, shapes: { ...p.latest }, latest: { ...p.latest }, seen: {}, low: {}, high: {}, head: p.head, gaze: p.gaze, timestamp: undefined };
        this.#schedule(stream, stream.due + period / 2 - now);
        break;
      }
    }
    return true;
  }

  // ---- frames: formats and redundancy --------------------------------------

  /**
   * @param {FrameStream} stream
   * @param {Blendshapes} shapes
   * @param {SendOptions} options
   * @param {number} now
   * @param {boolean} count
   * @returns {boolean}
   */
  #sendFrame(stream, shapes, options, now, count) {
    const kind = this.#transport;
    if (kind === 'none') {
      if (count && this.#everWelcomed) this.#dropped += 1;
      return false;
    }
    const { head, tracked } = options;
    const names = Object.keys(shapes);
    const packet = this.#numbered() ? this.#packet(stream, shapes, options, now) : null;
    const whole = this.#format === 'float32' && stream.subject === undefined && tracked !== false
      && names.length > WHOLE_FACE && !head?.position && names.every((n) => INDEX.has(n));
    const payload = packet ?? (whole && !this.#jsonNext
      ? this.#floatFrame(stream, shapes, options, now)
      : JSON.stringify({
        type: 'arkit_data',
        ...(stream.subject === undefined ? null : { subject: stream.subject }),
        blendshapes: rounded(shapes),
        ...(head ? { head: plainHead(head) } : null),
        ...(tracked === undefined ? null : { tracked: Boolean(tracked) }),
        timestamp: options.timestamp ?? wallClock(),
      }));
    for (const name of names) {
      stream.recent[name] = shapes[name];
      stream.recentAt[name] = now;
    }
    if (packet === BUNDLED) return true;
    if (!this.#route(payload, packet !== null, now)) {
      if (count) this.#dropped += 1;
      return false;
    }
    this.#jsonNext = false;
    this.#framesSent += 1;
    return true;
  }

  /**
   * One facelink1 packet. It repeats as many earlier frames as the server's
   * reports ask for, and three when the channel has just become suspect: those
   * were probably lost with it.
   * @param {FrameStream} stream
   * @param {Blendshapes} blendshapes
   * @param {SendOptions} options
   * @param {number} now
   * @returns {Uint8Array<ArrayBuffer> | null} Null for what the format cannot hold
   */
  #packet(stream, blendshapes, options, now) {
    const { head, tracked } = options;
    const captureTime = Math.round(captureMs(options.timestamp) * 1000);
    /** @type {Facelink1Frame} */
    const frame = {
      sequence: stream.sequence, captureTime, blendshapes, tracked: tracked !== false,
      precise: Object.keys(blendshapes).length <= WHOLE_FACE, // where it costs next to nothing
    };
    if (head?.rotation && headAngles(head.rotation)) {
      const at = head.position;
      frame.head = { rotation: head.rotation, position: at && [0, 1, 2].every((i) => finite(at[i])) ? at : null };
    }
    frame.gaze = usableGaze(options.gaze);
    const suspectFor = this.#rtc?.suspect ? now - this.#rtc.suspectSince : Infinity;
    // Lost pings show a loss before the first report does.
    const asked = Math.max(now - this.#reportedAt < LOSS_MEMORY_MS ? this.#redundancy : 0, now - this.#lossAt < LOSS_MEMORY_MS ? 1 : 0);
    const repeats = suspectFor < 60 ? 3 : asked;
    const previous = repeats ? stream.history.slice(-repeats).filter((f) => captureTime - (f.captureTime ?? 0) < REPEAT_MAX_AGE_MS * 1000) : [];
    try {
      if (this.#bundle) {
        // Written alone first: a face that cannot be written does not affect the others.
        encodeFacelink1([{ ...frame, subject: stream.subject, previous }]);
        this.#bundle.push({ ...frame, subject: stream.subject, previous });
        stream.sequence += 1;
        if (stream.history.push(frame) > 3) stream.history.shift();
        return BUNDLED;
      }
      const packet = encodeFacelink1([{ ...frame, subject: stream.subject, previous }]);
      stream.sequence += 1;
      if (stream.history.push(frame) > 3) stream.history.shift();
      return packet;
    } catch (error) {
      this.#log('debug', `${error}; sent as JSON`);
      return null;
    }
  }

  /** Whether frames carry numbers by which the server recognises duplicates. */
  #numbered() {
    return this.#format === 'facelink1';
  }

  /**
   * 52 little-endian floats, or 61 with the head and the eyes.
   * @param {FrameStream} stream
   * @param {Blendshapes} shapes
   * @param {SendOptions} options
   * @param {number} now
   * @returns {ArrayBuffer}
   */
  #floatFrame(stream, shapes, { head, gaze }, now) {
    const f = this.#floats;
    for (let i = 0; i < 52; i += 1) {
      const name = ARKIT_NAMES[i];
      // As in a JSON frame: a missing shape keeps its value for 100 ms, then counts as 0.
      f[i] = shapes[name] ?? (now - (stream.recentAt[name] ?? -1e9) < HOLD_MS ? stream.recent[name] : 0);
    }
    const angles = head?.rotation ? headAngles(head.rotation) : null;
    const count = angles ? 61 : 52;
    if (angles) {
      f.set(angles, 52);
      // The eyes, else from the EyeLook shapes: + pitch down, + yaw to the performer's right.
      const eyes = usableGaze(gaze);
      f[55] = eyes ? -eyes.left.yaw : (f[2] - f[3]) * EYE_RANGE;
      f[56] = eyes ? -eyes.left.pitch : (f[1] - f[4]) * EYE_RANGE;
      f[57] = 0;
      f[58] = eyes ? -eyes.right.yaw : (f[10] - f[9]) * EYE_RANGE;
      f[59] = eyes ? -eyes.right.pitch : (f[8] - f[11]) * EYE_RANGE;
      f[60] = 0;
    }
    const view = new DataView(new ArrayBuffer(count * 4));
    for (let i = 0; i < count; i += 1) view.setFloat32(i * 4, f[i], true);
    return view.buffer;
  }

  /** @returns {boolean} */
  #flushBundle() {
    const bundle = this.#bundle ?? [];
    this.#bundle = [];
    if (!bundle.length) return false;
    const packet = encodeFacelink1(bundle);
    const left = this.#route(packet, true, performance.now());
    if (left) this.#framesSent += bundle.length;
    else this.#dropped += bundle.length;
    return left;
  }

  // ---- routing: the transport of each frame and message --------------------

  /** Chooses the transport that carries frames. */
  #chooseTransport() {
    if (!this.#running) return;
    const rtc = this.#rtc;
    const open = rtc?.proven === true && rtc.channel.readyState === 'open';
    // Numbered frames go over both transports while the channel is suspect; others have to move.
    const moved = rtc?.suspect === true && this.#welcomed && !this.#numbered();
    if (open && !moved) this.#setTransport('webrtc');
    else this.#setTransport(this.#welcomed ? 'websocket' : 'none');
    this.#updateState(performance.now());
  }

  /** @param {Transport} transport */
  #setTransport(transport) {
    const from = this.#transport;
    if (from === transport) return;
    this.#transport = transport;
    this.#jsonNext = true;
    this.#lastFrameBytes = 0;
    if (from !== 'none' && transport !== 'none') this.#moves += 1;
    this.#log('info', `transport: ${transport}`);
    const link = this.#link();
    if (link && !link.pings.length) this.#ping(link, performance.now());
    this.#call(this.onTransportChange, transport);
  }

  /** What carries frames now. @returns {Link | null} */
  #link() {
    if (this.#transport === 'webrtc') return this.#rtc?.link ?? null;
    return this.#transport === 'websocket' ? this.#wsLink : null;
  }

  #buffered() {
    if (this.#transport === 'webrtc') return this.dataChannel?.bufferedAmount ?? 0;
    if (this.#transport === 'websocket') return this.ws?.bufferedAmount ?? 0;
    return 0;
  }

  /**
   * Sends a frame over the transport in use, or over both while the data
   * channel is suspect; never over one in which frames already wait.
   * @param {string | ArrayBuffer | Uint8Array<ArrayBuffer>} payload
   * @param {boolean} numbered The server recognises a duplicate of it
   * @param {number} now
   * @returns {boolean} True when it left by one transport at least
   */
  #route(payload, numbered, now) {
    const bytes = typeof payload === 'string' ? payload.length : payload.byteLength;
    // Without a WebSocket to turn to, as much may wait as leaves in one packet.
    const room = Math.max(bytes, this.#lastFrameBytes, this.#welcomed ? 256 : 1200);
    let left = false;
    const rtc = this.#rtc;
    if (this.#transport === 'webrtc' && rtc) {
      const full = rtc.channel.bufferedAmount > room;
      if (!full) rtc.blockedSince = 0;
      else {
        rtc.blockedSince ||= now;
        // Not for a pause of a few ms.
        if (now - rtc.blockedSince > 50) this.#suspect(rtc, 'it does not drain');
        // Without numbers, a frame by the WebSocket might arrive after the next one by the channel.
        if (!numbered && !rtc.suspect) return false;
      }
      const suspect = full || rtc.suspect;
      const other = suspect && this.#socketTakesFrames(room, now);
      if (this.#transport === 'webrtc' && !full && !(other && !numbered)) left = this.#sendOn('webrtc', payload, true);
      if ((other || !left) && (numbered || !left) && this.#socketTakesFrames(room, now)) {
        left = this.#sendOn('websocket', payload, !left) || left;
      }
    } else if (this.#transport === 'websocket' && this.#socketTakesFrames(room, now)) {
      left = this.#sendOn('websocket', payload, true);
    }
    if (left) this.#lastFrameBytes = bytes;
    return left;
  }

  /**
   * Whether a frame on the WebSocket would arrive soon. A dead TCP connection
   * takes frames for seconds, and delivers them all when its path is back.
   * @param {number} room Bytes that may wait
   * @param {number} now
   */
  #socketTakesFrames(room, now) {
    const ws = this.ws;
    return this.#welcomed && ws?.readyState === SOCKET_OPEN && ws.bufferedAmount <= room
      && (this.#timersLate || silence(this.#wsLink, now) <= WS_TAKES_FRAMES_MS + 2 * roundTrip(this.#wsLink));
  }

  /**
   * @param {Transport} kind
   * @param {string | ArrayBuffer | Uint8Array<ArrayBuffer>} payload
   * @param {boolean} [frame]
   * @param {ClientOptions['filter'] | null} [filter]
   * @returns {boolean} True when it was handed to the browser
   */
  #sendOn(kind, payload, frame = false, filter = this.#options.filter) {
    if (filter) return filter.send(payload, (sealed) => this.#sendOn(kind, sealed, frame, null));
    try {
      if (kind === 'webrtc') {
        if (this.dataChannel?.readyState !== 'open') return false;
        // Any of its overloads.
        this.dataChannel.send(/** @type {string} */ (payload));
      } else if (kind === 'websocket') {
        if (this.ws?.readyState !== SOCKET_OPEN) return false;
        this.ws.send(payload);
      } else return false;
    } catch (error) {
      this.#log('debug', `send over ${kind} failed: ${error}`);
      return false;
    }
    const now = performance.now();
    if (frame) {
      const link = kind === 'webrtc' ? this.#rtc?.link : this.#wsLink;
      if (link) link.lastFrame = now;
    }
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
    const room = Math.max(text.length, this.#lastFrameBytes, 1024);
    let kind = this.#transport;
    if (kind === 'webrtc' && this.#socketTakesFrames(room, performance.now())
      && (text.length > MAX_DATAGRAM_MESSAGE || this.#rtc?.suspect || this.#buffered() > room)) kind = 'websocket';
    const takes = kind === 'webrtc' ? this.#buffered() <= room : kind === 'websocket' && this.#socketTakesFrames(room, performance.now());
    if (!takes || !this.#sendOn(kind, text)) {
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

  // ---- receiving -----------------------------------------------------------

  /** From then on, the server sends what changed. A copy of this module without delta.js receives whole faces. */
  async #loadDelta() {
    const { delta, binary, filter } = this.#options;
    if (this.#Compact || delta === false || binary !== 'facelink1' || filter) return;
    try {
      this.#Compact = (await import('./delta.js')).CompactDecoder;
    } catch (error) {
      this.#log('debug', `delta.js is not there, faces come whole: ${error}`);
      return;
    }
    this.#compact = new this.#Compact(decodeFacelink1);
    if (this.#transport !== 'none') for (const subscription of this.#subscriptions.values()) this.#sendSubscription(subscription);
  }

  /** A compact bundle. @param {Link} link @param {import('./delta.js').CompactDecoder} compact @param {Uint8Array} bytes */
  #receiveCompact(link, compact, bytes) {
    const { packet, missing, faces } = compact.decode(bytes);
    if (!missing && this.#acks.push(packet) > 32) this.#acks.shift();
    const now = performance.now();
    if (this.#acks.length && now - this.#ackedAt >= ACK_MS) {
      this.#ackedAt = now;
      link.reply(JSON.stringify({ type: 'ack', packets: this.#acks }));
      this.#acks = [];
    }
    return faces;
  }

  /** @param {Link} link @param {unknown} data @param {ClientOptions['filter'] | null} [filter] @param {number} [leftOut] */
  #receive(link, data, filter = this.#options.filter, leftOut = 0) {
    if (filter) return filter.receive(data, (plain, missing) => this.#receive(link, plain, null, missing));
    this.#received += 1;
    link.lastReceived = performance.now();
    if (typeof data !== 'string') {
      if (data instanceof ArrayBuffer) this.#receiveFaces(link, data, leftOut);
      return;
    }
    /** @type {Message} */
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      this.#log('warn', 'a message that is not JSON was ignored');
      return;
    }
    if (typeof message !== 'object' || message === null) return;
    switch (message.type) {
      case 'welcome': this.#onWelcome(link, message); break;
      case 'ping': {
        const time = wallClock();
        link.reply(JSON.stringify({ type: 'pong', t: message.t, server_time: time, client_time: time }));
        break;
      }
      case 'pong': this.#onPong(link, message); break;
      case 'blendshape_update':
        // Left out where it holds no more than `data` does.
        message.arkit ??= arkitShapes(message.data ?? {});
        // Shapes at rest may be left out of `data`, so that an update fits one packet.
        message.data = { ...message.arkit, ...message.data };
        this.#call(this.onBlendshapeUpdate, message.data, message.arkit, message);
        break;
      case 'set_rate':
        this.#setRate(message.fps);
        break;
      case 'report': this.#onReport(message); break;
      case 'stats': {
        const waiters = this.#statsWaiters;
        this.#statsWaiters = [];
        this.#serverStats = message;
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

  /** Faces of others as `facelink1`; reported like `blendshape_update`. @param {Link} link @param {ArrayBuffer} data @param {number} leftOut Numbers that a relay has skipped so far */
  #receiveFaces(link, data, leftOut) {
    const bytes = new Uint8Array(data);
    const compact = this.#compact;
    let faces;
    try {
      faces = compact && this.#Compact?.isCompact(bytes) ? this.#receiveCompact(link, compact, bytes) : decodeFacelink1(bytes);
    } catch (error) {
      this.#log('debug', `a packet from the server is not usable and is ignored: ${error}`);
      return;
    }
    for (const face of faces) {
      const last = this.#newestFrames.get(face.subject);
      const time = face.captureTime ?? 0;
      const now = performance.now();
      // Over both transports, or repeated: what is not newer is a duplicate. After a clock step back it is not.
      const behind = last ? last.time - time : -1;
      if (last && time ? behind >= 0 && behind < 10e6 : last && face.captureTime === undefined && face.sequence === last.sequence) continue;
      if (this.#newestFrames.size > 1024) this.#newestFrames.clear();
      // A frame that is repeated has waited for the next packet.
      const measured = time && !face.repeated ? this.#measureFace(last, face.sequence - leftOut, now - time / 1000, now) : last;
      this.#newestFrames.set(face.subject, { least: Infinity, usual: Infinity, start: now, number: 0, ...measured, time, sequence: face.sequence });
      const arkit = arkitShapes(face.blendshapes);
      /** @type {Message} */
      const message = {
        type: 'blendshape_update', subject: face.subject, data: { ...arkit, ...face.blendshapes }, arkit,
        frame: face.sequence, tracked: face.tracked !== false,
        timestamp: face.captureTime === undefined ? wallClock() : face.captureTime / 1000,
      };
      if (face.gaze) message.gaze = face.gaze;
      if (face.head) message.head = { rotation: face.head.rotation, ...(face.head.position ? { position: face.head.position } : null) };
      this.#call(this.onBlendshapeUpdate, message.data, arkit, message);
      this.#call(this.onMessage, message, link.kind);
    }
  }

  /**
   * Notes what a frame went through. Its delay is compared with the least of the last minute or half of it: clocks drift apart.
   * @param {Newest | undefined} last @param {number} number @param {number} delay @param {number} now
   */
  #measureFace(last, number, delay, now) {
    const again = !last || now - last.start > 30000;
    const least = again ? delay : Math.min(last.least, delay);
    const usual = again ? last?.least ?? delay : last.usual;
    if (this.#queues.push([now, delay - Math.min(least, usual)]) > 64) this.#queues.shift();
    const step = last ? (number - last.number) >>> 0 : 1;
    const counted = this.#counted;
    counted[0] += 1;
    counted[1] += step > 0 && step < 1024 ? step : 1;
    if (counted[1] > 300) this.#counted = counted.map((count) => count / 2);
    return { least, usual, number, start: again ? now : last.start };
  }

  /** Tells the server what the frames received went through, by which it sends what fits. @param {number} now */
  #reportPath(now) {
    const recent = this.#queues.filter(([at]) => at > now - 260);
    if (!this.#takesReports || now - this.#reportSentAt < 200 || !recent.length) return;
    this.#reportSentAt = now;
    const queues = recent.map(([, queue]) => queue).sort((a, b) => a - b);
    /** @param {0 | 1} i */
    const mean = (i) => recent.reduce((sum, point) => sum + point[i], 0) / recent.length;
    const [x, y] = [mean(0), mean(1)];
    const spread = recent.reduce((sum, [at]) => sum + (at - x) ** 2, 0);
    const slope = spread ? recent.reduce((sum, [at, queue]) => sum + (at - x) * (queue - y), 0) / spread : 0;
    this.#sendControl({
      type: 'report', queue_ms: round4(queues[0]), queue_high_ms: round4(queues[Math.floor(queues.length * 0.95)]),
      slope: round4(slope * 1000), loss: round4(1 - this.#counted[0] / this.#counted[1]),
    });
  }

  /** A receiver report: rate, redundancy and loss. @param {Message} message */
  #onReport(message) {
    this.#reportedAt = performance.now();
    // A report about another subject does not concern this connection's rate.
    if (message.subject === undefined) this.#setRate(message.fps);
    this.#redundancy = finite(message.redundancy) ? Math.min(3, Math.max(0, Math.round(message.redundancy))) : 0;
    if (finite(message.loss)) this.#reportedLoss = message.loss;
  }

  /** @param {Message} message */
  #onServerError(message) {
    const code = String(message.code ?? '');
    const text = String(message.message ?? (code || 'the server reported an error'));
    if (code === 'unsupported' && /binary|signalling goes/.test(text)) return; // an older server: `welcome` says what it reads
    if (!this.#welcomed && /auth|token|forbidden|denied|pair/i.test(code)) {
      this.#closeReason = this.#unauthorized();
      this.ws?.close(1000);
      return;
    }
    if (this.#rtc && (!this.#rtc.proven || this.#rtc.restartingSince) && /webrtc|\brtc|offer|sdp/i.test(`${code} ${text}`)) {
      if (/disabled|unsupported|unavailable/i.test(code)) this.#rtcRefused = true;
      this.#loseChannel(this.#rtc, `the server answered: ${text}`);
      return;
    }
    const error = clientError('server', text);
    if (!this.#welcomed) this.#closeReason = error;
    this.#reportError(error);
  }

  /** @param {string | null} [resume] The connection to go on with */
  #hello(resume) {
    const { subject, token, client } = this.#options;
    return {
      type: 'hello',
      ...(resume ? { resume } : null),
      ...(subject ? { subject } : null),
      ...(token ? { token } : null),
      binary: this.#options.binary === 'facelink1' ? 'facelink1' : 'float32',
      client: client ?? 'facelink.js/1',
      reports: true,
    };
  }

  /** @param {object} subscription */
  #sendSubscription(subscription) {
    const format = this.#numbered() ? { binary: 'facelink1', ...(this.#compact ? { delta: true } : null) } : null;
    this.#sendControl({ type: 'subscribe', ...subscription, ...format });
  }

  /** Says `hello` once more, with another name. */
  #greetAgain() {
    if (this.#welcomed) this.#sendOn('websocket', JSON.stringify(this.#hello()));
    else if (this.#rtc?.http && this.#rtc.proven) this.#greet(this.#rtc, performance.now());
  }

  /** Says `hello` on the channel, until it is answered. @param {RtcSession} session @param {number} now */
  #greet(session, now) {
    session.greeted = false;
    session.helloAt = now;
    session.hellos += 1;
    // A server that cannot resume here answers an error instead of `welcome`.
    const resume = session.resumed || session.hellos > 5 ? null : this.#resumeToken;
    session.link.reply(JSON.stringify(this.#hello(this.#everWelcomed && !session.proven ? resume : null)));
  }

  /** @param {Link} link @param {Message} message */
  #onWelcome(link, message) {
    const channel = link.kind === 'webrtc' ? this.#rtc : null;
    if (link.kind === 'webrtc') {
      if (!channel?.http || link !== channel.link) return;
      channel.greeted = true;
    }
    const first = channel ? !channel.proven : !this.#welcomed;
    const before = this.connectionId;
    this.connectionId = message.connection_id ?? this.connectionId;
    // An endpoint that gives no secret resumes by the id.
    this.#resumeToken = message.resume_token ?? this.connectionId;
    this.serverVersion = message.version ?? this.serverVersion;
    this.#takesReports = message.reports === true;
    if (Array.isArray(message.ice_servers)) this.#iceServers = message.ice_servers;
    if (!first) return;
    const now = performance.now();
    this.#format = this.#options.binary === 'json' ? 'json'
      : this.#options.binary === 'facelink1' && message.binary === 'facelink1' ? 'facelink1' : 'float32';
    clearTimeout(this.#wsOpenTimer);
    this.#closeReason = null;
    const again = this.#everWelcomed;
    if (again && !(this.#byHttp && this.#rtc?.proven)) this.#reconnects += 1;
    this.#everWelcomed = true;
    const resumed = message.resumed === true || channel?.resumed === true;
    this.#log('info', `connected to ${this.#address()} as ${this.connectionId ?? '?'}${again ? (resumed ? ', resumed' : ', anew') : ''}`);
    if (channel) {
      channel.connectionId = this.connectionId;
      this.#prove(channel, now);
    } else {
      this.#welcomed = true;
      this.#welcomedAt = now;
      // Without a round trip, a far endpoint would be taken for a silent one until the first pong.
      this.#measure(this.#wsLink, now - this.#helloAt);
      this.#ping(this.#wsLink, now);
    }
    if (this.#Compact && !resumed) {
      // The ids and numbers of another connection.
      this.#compact = new this.#Compact(decodeFacelink1);
      this.#acks = [];
    }
    for (const subscription of this.#subscriptions.values()) this.#sendSubscription(subscription);
    if (resumed && this.#unsubscribed) this.#sendControl({ type: 'unsubscribe' });
    this.#rtcRefused = false;
    if (!channel) this.#onSocketWelcome(again && !resumed, before);
    this.#chooseTransport();
    this.#connecting?.resolve();
    this.#connecting = null;
  }

  /** @param {boolean} anew The server does not know the connection from before @param {string | null} before */
  #onSocketWelcome(anew, before) {
    if (this.#byHttp) this.#log('info', 'the WebSocket opens again and takes over the signalling');
    this.#byHttp = false;
    this.#dropNext();
    const rtc = this.#rtc;
    if (rtc?.http && !rtc.proven) this.#closePeer(); // its `hello` would make another connection
    else if (rtc) {
      rtc.http = false;
      if (anew) {
        this.#loseChannel(rtc, `it belonged to connection ${before}, which the server no longer knows`);
        clearTimeout(this.#rtcTimer);
      } else if (rtc.suspect || rtc.broken) void this.#restartIce(rtc, 'the WebSocket is back and the channel is silent');
    }
    this.#offerIfDue();
  }

  // ---- WebSocket: dial, backoff, resume ------------------------------------

  #address() {
    const u = new URL(this.#url);
    u.search = '';
    return u.href.replace(/\/(ws)?$/, '');
  }

  #dial() {
    clearTimeout(this.#wsTimer);
    this.#wsTimer = undefined;
    if (this.ws || !this.#running) return;
    /** @type {WebSocket} */
    let ws;
    try {
      ws = new WebSocket(this.#url);
    } catch (error) {
      const mixed = typeof location !== 'undefined' && location.protocol === 'https:' && this.#url.protocol === 'ws:';
      if (mixed) this.#giveUp(clientError('mixed-content', `This page came over https, so the browser does not let it open ${this.#address()}. Use a wss:// address, or open the page over http.`));
      else this.#onSocketRefused(clientError('bad-url', `The browser cannot open ${this.#address()}: ${error}. Check the address.`));
      return;
    }
    this.ws = ws;
    this.#socketAt = performance.now();
    ws.binaryType = 'arraybuffer';
    const known = roundTrip(this.#wsLink) || this.#knownRtt;
    this.#knownRtt = known;
    Object.assign(this.#wsLink, newLink('websocket', this.#wsLink.reply));
    let opened = false;
    this.#wsOpenTimer = setTimeout(() => {
      if (this.ws !== ws) return;
      this.#loseSocket(ws, opened, 1006, opened
        ? clientError('timeout', `${this.#address()} took the connection but sent no welcome. Is it a FaceLink server?`)
        : clientError('timeout', `${this.#address()} does not answer. Check the address, and that the firewall lets this port through.`));
    }, this.#everWelcomed ? Math.min(DIAL_LIMIT_MS, Math.max(REDIAL_LIMIT_MS, 8 * known) * 1.3 ** Math.max(0, this.#wsAttempt - 6)) : DIAL_LIMIT_MS);
    ws.onopen = () => {
      if (this.ws !== ws) return;
      opened = true;
      this.#helloAt = performance.now();
      this.#sendOn('websocket', JSON.stringify(this.#hello(this.#everWelcomed ? this.#resumeToken : null)));
    };
    ws.onmessage = (event) => {
      if (this.ws === ws) this.#receive(this.#wsLink, event.data);
    };
    ws.onclose = (event) => {
      if (this.ws !== ws) return;
      if (!this.#welcomed && CLOSE_UNAUTHORISED.includes(event.code)) {
        this.#closeReason ??= this.#unauthorized();
      }
      if (event.code === CLOSE_RESUMED) {
        // This client starts a new connection instead of taking it back.
        this.connectionId = this.#resumeToken = null;
      }
      this.#log('debug', `WebSocket closed (${event.code}${event.reason ? ` ${event.reason}` : ''})`);
      this.#loseSocket(ws, opened, event.code);
    };
  }

  /**
   * Closes a socket, and does nothing else.
   * @param {WebSocket} ws
   * @param {boolean} returns The client comes back by another one; otherwise it is a goodbye, by which the endpoint ends the subject
   */
  #closeSocket(ws, returns) {
    clearTimeout(this.#wsOpenTimer);
    ws.onopen = ws.onmessage = ws.onclose = null;
    try {
      if (returns) ws.close(CLOSE_RECONNECTING, 'reconnecting');
      else ws.close();
    } catch { /* it was closed */ }
    this.ws = null;
  }

  /**
   * The socket is gone, or must go.
   * @param {WebSocket} ws
   * @param {boolean} opened
   * @param {number} code
   * @param {ClientError | null} [reason]
   */
  #loseSocket(ws, opened, code, reason = null) {
    this.#closeSocket(ws, code !== 1001);
    const welcomed = this.#welcomed;
    if (welcomed && performance.now() - this.#welcomedAt > WS_STABLE_MS) this.#wsAttempt = 0;
    this.#welcomed = false;
    if (!this.#running) return;
    if (this.#rtc) this.#rtc.restartingSince = 0; // its answer will not come
    if (this.#rtc && !this.#rtc.proven && !this.#rtc.http) this.#loseChannel(this.#rtc, 'the WebSocket that carries its signalling closed');
    this.#chooseTransport();
    if (!opened && !this.#closeReason && this.#byHttp) {
      this.#scheduleDial();
      return;
    }
    if (welcomed) {
      this.#log('warn', `the WebSocket to ${this.#address()} was lost (${code})`);
      this.#scheduleDial(this.#wsAttempt === 0);
      return;
    }
    if (this.#everWelcomed && !this.#closeReason && this.#options.reconnect) {
      // The server has answered before: the reason is asked for at every fourth attempt only.
      this.#scheduleDial();
      if (this.#wsAttempt % 4 !== 0) return;
      void this.#answersHttp(opened).then(async (answers) => {
        if (answers) {
          this.#signalByHttp();
          return;
        }
        const error = reason ?? await this.#explain(opened);
        if (this.#running && !this.#welcomed && error.code !== 'unauthorized') this.#reportError(error);
        else if (this.#running && error.code === 'unauthorized') this.#giveUp(error);
      });
      return;
    }
    void this.#onSocketRefused(reason, opened);
  }

  /**
   * The first socket did not come to its welcome.
   * @param {ClientError | null} reason
   * @param {boolean} [opened]
   */
  async #onSocketRefused(reason, opened = false) {
    if (this.#byHttp) {
      this.#scheduleDial();
      return;
    }
    if (!this.#closeReason && await this.#answersHttp(opened)) {
      if (!this.ws) this.#signalByHttp();
      return;
    }
    const error = this.#closeReason ?? reason ?? await this.#explain(opened);
    this.#closeReason = null;
    if (!this.#running || this.ws) return;
    if (error.code === 'unauthorized' || error.code === 'bad-url') this.#giveUp(error);
    else {
      this.#fail(error);
      this.#scheduleDial();
    }
  }

  /** @param {boolean} [now] At once, with a little jitter. */
  #scheduleDial(now = false) {
    if (!this.#options.reconnect) {
      if (this.#transport === 'none') {
        this.#running = false;
        this.#stop();
        this.#setState('failed');
      }
      return;
    }
    const delay = now ? Math.random() * 60
      : this.#byHttp ? backoff(this.#wsAttempt, SOCKET_RETRY_MS, SOCKET_RETRY_MAX_MS)
        : backoff(this.#wsAttempt, 200, this.#wsAttempt < 25 ? 2000 : 15000, 1.5);
    this.#wsAttempt += 1;
    this.#log('debug', `trying again in ${Math.round(delay)} ms`);
    clearTimeout(this.#wsTimer);
    this.#wsTimer = setTimeout(() => this.#dial(), delay);
  }

  /**
   * Why a socket did not open. Browsers do not report it, so HTTP is asked.
   * @param {boolean} opened
   * @returns {Promise<ClientError>}
   */
  async #explain(opened) {
    const reason = this.#closeReason;
    this.#closeReason = null;
    if (reason) return reason;
    const address = this.#address();
    if (opened) return clientError('refused', `${address} closed the connection before its welcome. Is it a FaceLink server of this version?`);
    const answer = await this.#http('/api/v1/subjects', ASK_LIMIT_MS);
    if (answer) {
      return this.#refusal(answer.status, '', answer.status < 400
        ? `${address} answers but the WebSocket is refused. ${this.#socketAdvice()}`
        : `${address} answered with HTTP ${answer.status}; it is probably not a FaceLink server. Check the address and the port.`);
    }
    const hint = typeof location !== 'undefined' && location.host !== this.#url.host
      ? ` If it runs, it may not allow the origin ${location.origin}: open the page from the server itself.` : '';
    return clientError('unreachable', `No FaceLink server answers at ${address}. Start it (facelink listen), check that this device is on the same network, and that the firewall lets TCP port ${this.#url.port || (this.#url.protocol === 'wss:' ? 443 : 80)} through.${hint}`);
  }

  /** What to do where HTTP is answered and the WebSocket is not. */
  #socketAdvice() {
    if (this.#url.protocol === 'wss:') {
      return `Browsers on an iPhone or iPad refuse a WebSocket to a certificate that the device does not trust, although they opened the page: install the server's certificate authority (${this.#origin()}/certificate says how).`;
    }
    return "Open the page from the server itself, or add this page's origin to the server's allowed origins; or it has too many connections already; or a proxy in between lets no WebSocket through.";
  }

  /** @param {number} status Of HTTP @param {string} text The server's own words @param {string} otherwise @returns {ClientError} */
  #refusal(status, text, otherwise) {
    const address = this.#address();
    if (status === 401 || (status === 403 && !/origin/.test(text))) return this.#unauthorized();
    if (status === 403) return clientError('refused', `${address} does not allow this page's origin: ${text}`);
    if (status === 429) return clientError('refused', `${address} limits the rate of this device: too many wrong tokens or requests. The limit ends by itself within a minute.`);
    return clientError('refused', otherwise);
  }

  #unauthorized() {
    return unauthorized(this.#address(), Boolean(this.#options.token));
  }

  /** An attempt failed. @param {ClientError} error */
  #fail(error) {
    this.#connecting?.reject(error);
    this.#connecting = null;
    this.#reportError(error);
  }

  /** Fails without another attempt. @param {ClientError} error */
  #giveUp(error) {
    this.#running = false;
    this.#stop();
    this.#setTransport('none');
    this.#setState('failed');
    this.#fail(error);
  }

  // ---- HTTP: signalling where the browser refuses the WebSocket -------------

  #origin() {
    return new URL(this.#url.href.replace(/^ws/, 'http')).origin;
  }

  /**
   * One request to the server.
   * @param {string} path
   * @param {number} limit ms
   * @param {object} [body] Posted as JSON
   * @returns {Promise<Response | null>} Null when nothing answers
   */
  async #http(path, limit, body) {
    const url = new URL(path, this.#origin());
    url.search = this.#url.search;
    const abort = new AbortController();
    const timer = setTimeout(() => abort.abort(), limit);
    try {
      return await fetch(url, {
        cache: 'no-store', credentials: 'omit', signal: abort.signal,
        ...(body ? { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) } : null),
      });
    } catch {
      return null;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Whether a socket that never opened has an endpoint behind it, to which WebRTC may lead. @param {boolean} opened */
  async #answersHttp(opened) {
    if (opened || this.#options.webrtc === false || typeof RTCPeerConnection === 'undefined') return false;
    const answer = await this.#http('/api/v1/health', ASK_LIMIT_MS);
    return answer !== null && answer.status < 400;
  }

  #signalByHttp() {
    if (!this.#running || this.#welcomed || this.#byHttp) return;
    this.#byHttp = true;
    this.#rtcRefused = false;
    this.#log('warn', `the WebSocket to ${this.#address()} does not open although the server answers; signalling by HTTP. ${this.#socketAdvice()}`);
    this.#wsAttempt = 0;
    if (!this.ws) this.#scheduleDial();
    this.#offerIfDue();
  }

  /** Posts an offer with all candidates. @param {RtcSession} session */
  async #post(session) {
    const { pc } = session;
    await gathered(pc, GATHER_MS);
    if (!this.#inUse(session)) return;
    const resume = this.#everWelcomed ? this.#resumeToken : null;
    const response = await this.#http('/api/v1/rtc/offer', POST_LIMIT_MS, {
      type: 'offer', sdp: pc.localDescription?.sdp, ...(resume ? { resume } : null),
    });
    /** @type {Message} */
    const answer = await response?.json().catch(() => null) ?? {};
    if (!this.#inUse(session)) return;
    if (response?.ok && typeof answer.sdp === 'string') {
      if (session === this.#nextRtc) {
        this.#nextRtc = null;
        this.#closePeer();
        clearTimeout(this.#rtcTimer);
        this.#use(session);
        this.#chooseTransport();
      }
      session.offered = true;
      session.resumed = answer.resumed === true;
      session.connectionId = typeof answer.session_id === 'string' ? answer.session_id : null;
      if (Array.isArray(answer.ice_servers)) this.#iceServers = answer.ice_servers;
      await this.#onAnswer(answer);
      return;
    }
    if (session === this.#nextRtc) {
      this.#dropNext();
      if (!this.#rtc) this.#offerIfDue();
      return;
    }
    const text = String(answer.error?.message ?? '');
    const error = response
      ? this.#refusal(response.status, text, `${this.#address()} refused the offer by HTTP (${response.status}${text ? `: ${text}` : ''}). ${this.#socketAdvice()}`)
      : clientError('unreachable', `${this.#address()} no longer answers. It is tried again.`);
    this.#failHttp(session, error);
  }

  /** An attempt by HTTP failed. @param {RtcSession | null} session @param {ClientError} error */
  #failHttp(session, error) {
    if (error.code === 'unauthorized') {
      this.#giveUp(error);
      return;
    }
    if (this.#everWelcomed && session) {
      if (this.#rtcAttempt % 4 === 3) this.#reportError(error);
      this.#loseChannel(session, error.message);
      return;
    }
    // As a socket that fails: the next attempt begins with it.
    this.#closePeer();
    this.#byHttp = false;
    this.#fail(error);
    this.#wsAttempt = Math.max(this.#wsAttempt, 4);
    this.#scheduleDial();
  }

  /**
   * The channel is silent and nothing else carries signalling: another peer connection for the same connection. The silent
   * one stays until the server has answered.
   */
  #renew() {
    const session = this.#nextRtc ? null : this.#newPeer();
    if (!session) return;
    session.http = true;
    this.#nextRtc = session;
    void this.#offer(session);
  }

  #dropNext() {
    const session = this.#nextRtc;
    this.#nextRtc = null;
    if (session) this.#end(session);
  }

  /** @param {RtcSession} session */
  #inUse(session) {
    return session === this.#rtc || session === this.#nextRtc;
  }

  // ---- data channel: offer, answer, candidates -----------------------------

  #offerIfDue() {
    clearTimeout(this.#rtcTimer);
    this.#rtcTimer = undefined;
    if (this.#rtc || this.#nextRtc || !this.#running || !(this.#welcomed || this.#byHttp) || this.#rtcRefused || this.#options.webrtc === false) return;
    const session = this.#newPeer();
    if (!session) {
      if (!this.#welcomed) this.#failHttp(null, clientError('webrtc', `This browser refuses the WebSocket to ${this.#address()} and has no WebRTC. ${this.#socketAdvice()}`));
      return;
    }
    session.http = !this.#welcomed;
    this.#use(session);
    void this.#offer(session);
  }

  /** @returns {RTCConfiguration} */
  #iceConfiguration() {
    const { iceServers, iceTransportPolicy } = this.#options;
    return { iceServers: iceServers ?? this.#iceServers, iceTransportPolicy: iceTransportPolicy ?? 'all' };
  }

  /** @returns {RtcSession | null} */
  #newPeer() {
    if (typeof RTCPeerConnection === 'undefined') {
      this.#log('info', 'this browser has no WebRTC; frames stay on the WebSocket');
      return null;
    }
    /** @type {RTCPeerConnection} */
    let pc;
    try {
      try {
        pc = new RTCPeerConnection(this.#iceConfiguration());
      } catch (error) {
        this.#reportError(clientError('webrtc', `The list of ICE servers is not valid (${error}); going on without it. Check the stun:/turn: entries.`));
        pc = new RTCPeerConnection({ iceTransportPolicy: this.#options.iceTransportPolicy ?? 'all' });
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
      pc, channel, answered: false, offered: false, established: false, proven: false, provenAt: 0,
      suspect: false, suspectSince: 0, broken: false, restartingSince: 0, connectionId: this.connectionId,
      blockedSince: 0, remote: [], local: [], timer: undefined, http: false, resumed: false, greeted: false, hellos: 0,
      helloAt: 0, subscribedAt: 0, askedAt: 0, describedAt: 0, tcp: [],
      link: newLink('webrtc', (text) => this.#sendOn('webrtc', text)),
    };
    session.timer = setTimeout(() => this.#noPath(session, 'it did not open in time (a firewall may block UDP)'), CHANNEL_OPEN_LIMIT_MS);
    const view = this.pc && PEER_SINKS.get(this.pc);
    for (const type of view ? PEER_EVENTS : []) {
      pc.addEventListener?.(type, (event) => {
        if (this.#rtc === session) view?.(event);
      });
    }
    this.#attachChannel(session, channel);
    channel.onopen = () => {
      if (this.#rtc !== session) return;
      this.#log('debug', 'data channel open');
      if (session.http) this.#greet(session, performance.now());
      this.#ping(session.link, performance.now());
    };
    pc.ondatachannel = (event) => {
      if (this.#rtc !== session) return;
      this.#log('debug', `the server opened channel "${event.channel.label}"`);
      event.channel.binaryType = 'arraybuffer';
      /** @type {Link} */
      const link = newLink('webrtc', (text) => {
        try {
          event.channel.send(text);
          return true;
        } catch {
          return false;
        }
      });
      event.channel.onmessage = (e) => {
        if (this.#rtc !== session) return;
        // A pong may arrive on the server's own channel and answers a ping on ours.
        const own = typeof e.data === 'string' && e.data.includes('"pong"') ? session.link : link;
        this.#receive(own, e.data);
      };
    };
    pc.onicecandidate = ({ candidate }) => {
      if (this.#rtc !== session) return;
      if (candidate && !candidate.candidate) return; // the end of candidates, as older browsers report it
      this.#log('debug', candidate ? `own candidate: ${candidate.type ?? '?'} ${candidate.protocol ?? ''}` : 'own candidates: all gathered');
      const init = candidate
        ? { candidate: candidate.candidate, sdpMid: candidate.sdpMid, sdpMLineIndex: candidate.sdpMLineIndex }
        : null;
      if (session.offered) this.#sendOn('websocket', JSON.stringify({ type: 'ice_candidate', candidate: init }));
      else session.local.push(init);
    };
    pc.oniceconnectionstatechange = () => {
      if (this.#rtc === session) this.#log('debug', `ICE ${pc.iceConnectionState}`);
    };
    pc.onconnectionstatechange = () => {
      if (this.#rtc !== session) return;
      const state = pc.connectionState;
      this.#log('debug', `peer connection ${state}`);
      session.broken = state === 'failed' || state === 'disconnected';
      if (!session.broken) return;
      if (!session.proven) {
        if (state === 'failed') this.#noPath(session, 'no path between the two machines works');
        return;
      }
      // A peer connection whose DTLS failed cannot be restarted; one whose ICE failed can.
      if (state === 'failed' && pc.iceConnectionState === 'connected') this.#loseChannel(session, 'its encryption failed');
      else {
        this.#suspect(session, 'its path is broken');
        void this.#restartIce(session, `ICE ${pc.iceConnectionState}`);
      }
    };
    return session;
  }

  /** @param {RtcSession} session */
  #use(session) {
    this.#rtc = session;
    this.dataChannel = session.channel;
  }

  /** @param {RtcSession} session @param {RTCDataChannel} channel */
  #attachChannel(session, channel) {
    channel.onmessage = (event) => {
      if (this.#rtc === session) this.#receive(session.link, event.data);
    };
    channel.onclose = () => this.#loseChannel(session, 'the channel was closed');
    channel.onerror = () => this.#log('debug', 'data channel error');
  }

  /** @param {RtcSession} session */
  async #offer(session) {
    try {
      const offer = await session.pc.createOffer();
      await session.pc.setLocalDescription(offer);
      if (!this.#inUse(session)) return;
      if (session.http) {
        await this.#post(session);
        return;
      }
      const sent = this.#sendOn('websocket', JSON.stringify({ type: 'offer', sdp: session.pc.localDescription?.sdp ?? offer.sdp }));
      if (sent) this.#flushLocal(session);
      else if (session.proven) session.restartingSince = 0; // its WebSocket will come back
      else this.#loseChannel(session, 'the WebSocket that carries its signalling closed');
    } catch (error) {
      if (session === this.#nextRtc) this.#dropNext();
      else this.#loseChannel(session, `no offer could be made (${error})`);
    }
  }

  /** No pair of candidates works. @param {RtcSession} session @param {string} why */
  #noPath(session, why) {
    if (this.#rtc !== session) return;
    if (!session.http || this.#welcomed) this.#loseChannel(session, why);
    else {
      this.#failHttp(session, clientError('webrtc', `${this.#address()} answers, but the WebSocket is refused and no data channel opens: ${why}. ${this.#socketAdvice()}`));
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
      this.#log('debug', 'an answer without an offer was ignored');
      return;
    }
    try {
      const { sdp, later } = splitTcp(message.sdp);
      await session.pc.setRemoteDescription({ type: 'answer', sdp });
      session.established = true;
      session.describedAt = performance.now();
      if (this.#rtc !== session) return;
      for (const candidate of later) this.#addCandidate(session, candidate);
      this.#flushRemote(session);
    } catch (error) {
      this.#loseChannel(session, `the server's answer is not usable (${error})`);
    }
  }

  /** An offer of the server. @param {Message} message */
  async #onOffer(message) {
    if (this.#options.webrtc === false || typeof message.sdp !== 'string') return;
    if (this.#rtc && this.#rtc.pc.signalingState !== 'stable') return; // ours is under way
    const session = this.#rtc ?? this.#newPeer();
    if (!session) return;
    if (!this.#rtc) this.#use(session);
    try {
      await session.pc.setRemoteDescription({ type: 'offer', sdp: message.sdp });
      await session.pc.setLocalDescription(await session.pc.createAnswer());
      if (this.#rtc !== session) return;
      this.#sendOn('websocket', JSON.stringify({ type: 'answer', sdp: session.pc.localDescription?.sdp }));
      session.established = true;
      this.#flushLocal(session);
      this.#flushRemote(session);
    } catch (error) {
      this.#loseChannel(session, `the server's offer is not usable (${error})`);
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
    if (!candidate?.candidate) return; // the end of candidates
    const protocol = /^\S+ \d+ (\w+)/.exec(candidate.candidate)?.[1] ?? '';
    this.#log('debug', `server's candidate: ${/ typ (\w+)/.exec(candidate.candidate)?.[1] ?? '?'} ${protocol}`);
    const add = () => {
      if (this.#rtc !== session) return;
      session.pc.addIceCandidate(candidate).catch((error) => {
        this.#log('debug', `a candidate was not usable and is ignored: ${error}`);
      });
    };
    if (!/^tcp$/i.test(protocol)) add();
    else if (session.tcp.length < 32) {
      const wait = session.restartingSince ? TCP_AFTER_RESTART_MS : session.http ? TCP_AFTER_HTTP_MS : TCP_AFTER_MS;
      session.tcp.push(setTimeout(() => {
        if (!/^(connected|completed)$/.test(session.pc.iceConnectionState)) add();
      }, Math.max(0, session.describedAt + wait - performance.now())));
    }
  }

  // ---- recovery of the data channel: suspicion, ICE restart, a new one -----

  /** The silence after which a data channel is not relied upon, ms. @param {Link} link */
  #suspectAfter(link) {
    return this.#numbered()
      ? Math.max(HEDGE_MS, 3 * roundTrip(link) + HEDGE_MS / 2)
      : Math.max(SUSPECT_MS, 3 * roundTrip(link) + SUSPECT_MS / 2);
  }

  /** The channel may carry nothing: it is silent, full, or its path is broken. @param {RtcSession} session @param {string} why */
  #suspect(session, why) {
    if (!session.proven || session.suspect || this.#rtc !== session) return;
    const now = performance.now();
    session.suspect = true;
    session.suspectSince = now;
    this.#log(this.#numbered() ? 'debug' : 'warn', `the data channel is suspect: ${why}`);
    // Whether the WebSocket answers should be known by the next frame.
    if (this.#welcomed && now - this.#wsLink.lastPing > HEARTBEAT_MS) this.#ping(this.#wsLink, now);
    this.#chooseTransport();
  }

  /** Whether the WebSocket answers, so that signalling arrives. @param {number} now */
  #canSignal(now) {
    return this.#welcomed && silence(this.#wsLink, now) <= WS_TAKES_FRAMES_MS + 2 * roundTrip(this.#wsLink);
  }

  /**
   * ICE restart: another path for the same peer connection.
   * @param {RtcSession} session
   * @param {string} why
   */
  async #restartIce(session, why) {
    const now = performance.now();
    if (this.#rtc !== session || !session.established || session.restartingSince || !this.#canSignal(now)) return;
    if (session.connectionId !== this.connectionId) return; // another connection's signalling cannot restart it
    session.restartingSince = now;
    this.#iceRestarts += 1;
    this.#log('info', `ICE restart: ${why}`);
    session.answered = session.offered = false;
    session.remote = [];
    session.local = [];
    for (const timer of session.tcp.splice(0)) clearTimeout(timer);
    try {
      if (session.pc.signalingState === 'have-local-offer') await session.pc.setLocalDescription({ type: 'rollback' });
      try {
        session.pc.setConfiguration(this.#iceConfiguration()); // credentials may be new
      } catch { /* the old ones remain */ }
      session.pc.restartIce();
    } catch (error) {
      this.#loseChannel(session, `ICE could not be restarted (${error})`);
      return;
    }
    await this.#offer(session);
  }

  /** @param {RtcSession} session @param {string} why */
  #loseChannel(session, why) {
    if (this.#rtc !== session) return;
    const lasted = session.proven ? performance.now() - session.provenAt : 0;
    this.#closePeer();
    if (lasted > CHANNEL_STABLE_MS) this.#rtcAttempt = 0;
    this.#log('warn', `WebRTC ended: ${why}; frames ${this.#welcomed ? 'travel over the WebSocket' : 'wait for another connection'}`);
    this.#chooseTransport();
    if (this.#transport === 'none' && !this.ws && !this.#options.reconnect) this.#scheduleDial();
    if (!this.#running || this.#rtcRefused || this.#nextRtc) return;
    // Without a WebSocket there is nothing else to send over.
    const delay = backoff(this.#rtcAttempt, 300, session.proven || (this.#byHttp && !this.#welcomed) ? 3000 : 60000);
    this.#rtcAttempt += 1;
    clearTimeout(this.#rtcTimer);
    this.#rtcTimer = setTimeout(() => this.#offerIfDue(), delay);
  }

  #closePeer() {
    const session = this.#rtc;
    this.#rtc = null;
    this.dataChannel = null;
    if (session) this.#end(session);
  }

  /** @param {RtcSession} session */
  #end(session) {
    clearTimeout(session.timer);
    for (const timer of session.tcp) clearTimeout(timer);
    session.channel.onopen = session.channel.onclose = session.channel.onmessage = session.channel.onerror = null;
    session.pc.onicecandidate = session.pc.onconnectionstatechange = session.pc.oniceconnectionstatechange = session.pc.ondatachannel = null;
    session.pc.close();
  }

  // ---- heartbeat: pings, round trips, silence ------------------------------

  /**
   * Pings, and notices silence. Called by a timer and by every frame.
   * @param {number} now
   */
  #heartbeat(now) {
    const gap = now - this.#lastHeartbeat;
    this.#lastHeartbeat = now;
    const rtc = this.#rtc;
    if (gap > SLEPT_MS) {
      this.#onWake(`the page slept for ${(gap / 1000).toFixed(1)} s`, true);
      return;
    }
    // After a pause of the page itself, answers may still wait in its event queue: judge at the next heartbeat.
    this.#timersLate = gap > 3 * HEARTBEAT_MS && !this.#timersLate;
    this.#watchSocket(now);
    if (rtc && this.#rtc === rtc && rtc.channel.readyState === 'open') this.#watchChannel(rtc, now);
    this.#reportPath(now);
    if (this.#running && this.#everWelcomed) this.#updateState(now);
  }

  /** @param {number} now */
  #watchSocket(now) {
    const link = this.#wsLink;
    const ws = this.ws;
    if (ws && ws.readyState > SOCKET_OPEN && now - this.#socketAt > DISCONNECTED_MS) {
      this.#loseSocket(ws, this.#welcomed, 1006); // it closed without an event
      return;
    }
    if (!this.#welcomed || !ws) return;
    const silent = silence(link, now);
    const needed = this.#transport === 'websocket' || this.#rtc?.suspect === true;
    const least = needed ? WS_DEAD_MS : WS_DEAD_STANDBY_MS;
    const patience = link.limit || Math.min(WS_DEAD_MAX_MS, Math.max(least, 4 * roundTrip(link) + 500));
    if (silent > patience && now - link.lastReceived > least && !this.#timersLate) {
      this.#log('warn', `the WebSocket has been silent for ${(silent / 1000).toFixed(1)} s`);
      this.#loseSocket(ws, true, 1006);
      return;
    }
    const busy = now - link.lastFrame < BUSY_MS || this.#rtc?.suspect;
    // A ping would wait behind the buffered data.
    if (now - link.lastPing >= (busy ? PING_BUSY_MS : PING_IDLE_MS) - HEARTBEAT_MS / 4 && ws.bufferedAmount < 2000) this.#ping(link, now);
    if (this.#wsAttempt && now - this.#welcomedAt > WS_STABLE_MS) this.#wsAttempt = 0;
  }

  /** @param {RtcSession} rtc @param {number} now */
  #watchChannel(rtc, now) {
    const link = rtc.link;
    const silent = this.#timersLate ? 0 : silence(link, now);
    if (rtc.proven && silent > this.#suspectAfter(link)) this.#suspect(rtc, `no answer for ${Math.round(silent)} ms`);
    if (rtc.restartingSince && now - rtc.restartingSince > RESTART_LIMIT_MS) {
      if (rtc.suspect) {
        this.#loseChannel(rtc, 'the ICE restart had no success');
        return;
      }
      rtc.restartingSince = 0;
    }
    if (rtc.http) {
      if (!rtc.greeted && now - rtc.helloAt >= HELLO_MS) this.#greet(rtc, now);
      if (rtc.proven && now - rtc.subscribedAt >= SUBSCRIBE_MS) {
        rtc.subscribedAt = now;
        for (const subscription of this.#subscriptions.values()) this.#sendSubscription(subscription);
      }
    }
    if (rtc.suspect) {
      const waited = now - rtc.suspectSince;
      if (this.#byHttp && !this.#welcomed && waited > (now - this.#networkAt < 5000 ? 0 : RESTART_MS) && now - rtc.askedAt > RENEW_MS) {
        rtc.askedAt = now;
        this.#renew();
      }
      if (!rtc.restartingSince && waited > (now - this.#networkAt < 5000 ? 0 : RESTART_MS) && this.#canSignal(now)) {
        if (rtc.connectionId !== this.connectionId) {
          this.#loseChannel(rtc, 'it is silent, and belonged to an earlier connection');
          return;
        }
        void this.#restartIce(rtc, `the channel has been silent for ${Math.round(silent)} ms`);
      } else if (silent > CHANNEL_DEAD_MS && !this.#welcomed) {
        this.#loseChannel(rtc, 'the data channel has been silent for too long');
        return;
      }
    }
    const busy = rtc.suspect || silent > 0 || now - link.lastFrame < BUSY_MS;
    const pause = !rtc.proven ? HEARTBEAT_MS : busy ? PING_BUSY_MS : PING_IDLE_MS;
    if (now - link.lastPing >= pause - HEARTBEAT_MS / 4 && rtc.channel.bufferedAmount < 2000) this.#ping(link, now);
    if (this.#rtcAttempt && rtc.proven && !rtc.suspect && now - rtc.provenAt > CHANNEL_STABLE_MS) this.#rtcAttempt = 0;
  }

  /** @param {Link} link @param {number} now */
  #ping(link, now) {
    const t = Math.round(now * 1000) / 1000;
    link.lastPing = now;
    if (!link.reply(`{"type":"ping","t":${t}}`)) return;
    link.pings.push(t);
    if (link.pings.length > 64) link.pings.splice(1, 1); // the oldest gives the silence
  }

  /** @param {Link} link @param {Message} message */
  #onPong(link, message) {
    const now = performance.now();
    const before = link.pings.length;
    const t = finite(message.t) ? message.t : now;
    // Pings sent before this one are lost or their answers late; the transport works.
    link.pings = link.pings.filter((sent) => sent > t + 0.001);
    const lost = before - link.pings.length - 1;
    if (lost > 0) {
      this.#pingsLost += lost;
      if (this.#rtc?.proven && link === this.#rtc.link) this.#lossAt = now;
      this.#log('debug', `${lost} ping${lost > 1 ? 's' : ''} over ${link.kind} lost or late`);
    }
    link.limit = 0;
    const rtt = finite(message.t) ? now - message.t : -1;
    if (rtt >= 0 && rtt < 60000) this.#measure(link, rtt);
    const rtc = this.#rtc;
    if (link.kind !== 'webrtc' || !rtc || link !== rtc.link) return;
    if (rtc.restartingSince && rtc.answered && !rtc.broken) {
      this.#log('info', `ICE restarted in ${Math.round(now - rtc.restartingSince)} ms`);
      rtc.restartingSince = 0;
    }
    if (!rtc.proven) {
      if (rtc.http) return; // `welcome` proves it
      this.#prove(rtc, now);
      this.#chooseTransport();
    } else if (rtc.suspect && rtc.channel.bufferedAmount <= 1500 && silence(link, now) <= this.#suspectAfter(link)) {
      rtc.suspect = false;
      rtc.blockedSince = 0;
      this.#log(this.#numbered() ? 'debug' : 'info', `the data channel answers again after ${Math.round(now - rtc.suspectSince)} ms`);
      this.#chooseTransport();
    }
  }

  /** The server answers on the channel. @param {RtcSession} rtc @param {number} now */
  #prove(rtc, now) {
    rtc.proven = true;
    rtc.provenAt = now;
    clearTimeout(rtc.timer);
    this.#log('info', 'the data channel answers; frames move to it');
    if (this.debug) {
      void this.getConnectionInfo().then((i) => this.#log('debug', `path: ${i.local?.type ?? '?'} to ${i.remote?.type ?? '?'} over ${i.protocol ?? '?'}`)).catch(() => {});
    }
  }

  /** @param {Link} link @param {number} rtt ms */
  #measure(link, rtt) {
    link.lastRtt = rtt;
    // The first ones are often slow while the page still loads, and weigh less.
    link.trips += 1;
    link.rtt += (rtt - link.rtt) * Math.max(0.1, 1 / link.trips, link.trips < 5 ? 0.6 : 0);
  }

  // ---- state ---------------------------------------------------------------

  /** @param {number} now */
  #updateState(now) {
    const rtc = this.#rtc;
    const channel = this.#transport === 'webrtc' && rtc !== null && !(rtc.suspect && now - rtc.suspectSince > DISCONNECTED_MS);
    const socket = this.#welcomed && silence(this.#wsLink, now) <= DISCONNECTED_MS;
    if (channel || socket) this.#setState('connected');
    else this.#setState(this.#everWelcomed ? 'reconnecting' : 'connecting');
  }

  /** @param {ClientState} state */
  #setState(state) {
    if (this.#state === state) return;
    this.#state = state;
    this.#log('debug', `state: ${state}`);
    this.#call(this.onStateChange, state);
  }

  /** Closes all transports and clears all timers. */
  #stop() {
    clearInterval(this.#heartbeatTimer);
    this.#heartbeatTimer = undefined;
    clearTimeout(this.#wsTimer);
    this.#wsTimer = undefined;
    clearTimeout(this.#wsOpenTimer);
    clearTimeout(this.#rtcTimer);
    this.#rtcTimer = undefined;
    for (const off of this.#unwatch) off();
    this.#unwatch = [];
    for (const stream of this.#streams.values()) clearTimeout(stream.timer);
    this.#streams.clear();
    for (const w of this.#statsWaiters) {
      clearTimeout(w.timer);
      w.reject(clientError('closed', 'The connection was closed before the server answered.'));
    }
    this.#statsWaiters = [];
    this.#dropNext();
    this.#closePeer();
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
  #reportError(error) {
    this.#log('warn', error.message);
    this.#call(this.onError, error);
  }

  /**
   * Calls a handler of the application; an exception in it does not affect the connection.
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

  // ---- events of the page: sleep, another network --------------------------

  #watchPage() {
    if (this.#unwatch.length || typeof window === 'undefined') return;
    /** @param {EventTarget} target @param {string} type @param {(e: any) => void} fn */
    const on = (target, type, fn) => {
      target.addEventListener(type, fn);
      this.#unwatch.push(() => target.removeEventListener(type, fn));
    };
    on(window, 'online', () => this.#onNetworkChanged('the network is back'));
    on(window, 'offline', () => this.#onWake('the network is gone', false));
    const network = /** @type {any} */ (navigator).connection;
    if (network?.addEventListener) {
      let type = network.type;
      on(network, 'change', () => {
        const same = network.type === type; // then only an estimate has changed
        type = network.type;
        if (!same) this.#onNetworkChanged(`the network is now ${type}`);
      });
    }
    on(document, 'visibilitychange', () => {
      if (document.visibilityState === 'visible') this.#onWake('the page is visible again', false);
    });
    on(document, 'resume', () => this.#onWake('the page was frozen', true));
    on(window, 'pageshow', (e) => {
      if (e.persisted) this.#onWake('the page was restored', true);
    });
    // Without a goodbye, the server notices a closed tab late over WebRTC.
    on(window, 'pagehide', () => {
      this.#dropNext();
      this.#closePeer();
      const ws = this.ws;
      if (ws) this.#loseSocket(ws, true, 1001);
    });
  }

  /**
   * After sleep or an outage: the next attempt does not wait, and transports that
   * do not answer soon are given up.
   * @param {string} why
   * @param {boolean} network The network may have changed
   */
  #onWake(why, network) {
    if (!this.#running) return;
    this.#log('debug', `${why}; checking the connection`);
    const now = performance.now();
    this.#lastHeartbeat = now;
    if (network) this.#networkAt = now;
    const rtc = this.#rtc;
    const open = rtc?.channel.readyState === 'open';
    for (const link of [this.#welcomed ? this.#wsLink : null, open ? rtc.link : null]) {
      if (!link) continue;
      link.pings = [];
      link.limit = Math.max(WAKE_MS, 4 * roundTrip(link) + 300);
      this.#ping(link, now);
    }
    if (this.#welcomed) {
      if (rtc && network && (rtc.suspect || rtc.broken)) void this.#restartIce(rtc, why);
      if (this.#rtcTimer !== undefined && !rtc) {
        this.#rtcAttempt = 0;
        this.#offerIfDue();
      }
      return;
    }
    if (!this.#options.reconnect && this.ws) return;
    if (this.#byHttp) {
      // What the browser refused a moment ago it refuses still.
      this.#rtcAttempt = 0;
      this.#offerIfDue();
      return;
    }
    this.#wsAttempt = 0;
    // A dial into a dead network waits for TCP's next retry; a new dial is quicker.
    if (this.ws && network && this.#everWelcomed && now - this.#socketAt > FRESH_DIAL_MS) {
      this.#closeSocket(this.ws, true);
    }
    if (!this.ws) this.#dial();
  }

  /**
   * This device has another address than before, and its sockets would only hang: a new WebSocket at once, then an ICE
   * restart through it.
   * @param {string} why
   */
  #onNetworkChanged(why) {
    if (!this.#running) return;
    const now = performance.now();
    // The loss of the old socket may be noticed before the event arrives: a socket that is so new is on this network.
    const fresh = this.#welcomed ? now - this.#welcomedAt < WS_STABLE_MS : this.ws !== null && now - this.#socketAt <= FRESH_DIAL_MS;
    if (!this.#options.reconnect || !this.#everWelcomed || fresh) {
      this.#onWake(why, true);
      return;
    }
    this.#log('info', `${why}; connecting anew`);
    this.#lastHeartbeat = now;
    this.#networkAt = now;
    if (this.ws) this.#closeSocket(this.ws, true);
    this.#welcomed = false;
    const rtc = this.#rtc;
    if (rtc?.proven) {
      rtc.restartingSince = 0; // its answer will not come
      this.#suspect(rtc, why);
    } else if (rtc) this.#loseChannel(rtc, 'the WebSocket that carries its signalling was closed');
    this.#wsAttempt = this.#rtcAttempt = 0;
    this.#chooseTransport();
    this.#dial();
    this.#offerIfDue(); // by HTTP, if need be
  }
}

export default FacialAnimationWebRTCClient;

/** @param {string} address @param {boolean} sent Whether a token was sent @returns {ClientError} */
function unauthorized(address, sent) {
  return clientError('unauthorized', `${address} ${sent ? 'refused the pairing token: it is not the one of this server run' : 'requires a pairing token'}. Open the page by the link or the QR code that the server shows; it ends in ?token=...`);
}

/** The finite weights: the server refuses a frame with a single NaN. @param {Blendshapes} shapes @returns {Blendshapes} */
function clean(shapes) {
  /** @type {Blendshapes} */
  const out = {};
  for (const name in shapes) if (finite(shapes[name])) out[name] = shapes[name];
  return out;
}

/** The 52 ARKit shapes of a face; a missing one is 0. @param {Blendshapes} shapes @returns {Blendshapes} */
function arkitShapes(shapes) {
  /** @type {Blendshapes} */
  const out = {};
  for (const name of ARKIT_NAMES) out[name] = shapes[name] ?? 0;
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

// ---- facelink1: the compact frame -------------------------------------------
// One packet is one datagram and can be read without any other. The bytes are
// documented in docs/wire-facelink1.md.

/**
 * @typedef {object} Facelink1Frame One frame of a face.
 * @property {number} sequence Frame number, counted by the sender; its low 32
 *   bits are sent.
 * @property {number} [captureTime] When the face was captured, in whole
 *   microseconds, exact up to 2^53.
 * @property {boolean} [tracked] `false`: the face is out of sight.
 *   Default: true.
 * @property {boolean} [precise] Write the shapes in 16 bits instead of 8; those
 *   outside 0..1 need it anyway.
 * @property {Record<string, number>} blendshapes Weights by name. ARKit names
 *   are the 52 shapes, every other name is a channel of its own. Values outside
 *   -1..2 are clamped; a decoded shape that is missing was not sent.
 * @property {{ rotation: ArrayLike<number>, position?: ArrayLike<number> | null } | null} [head]
 *   Unit quaternion `[x, y, z, w]` and metres `[x, y, z]`, in ARKit face axes.
 * @property {{ left: { yaw: number, pitch: number }, right: { yaw: number, pitch: number } } | null} [gaze]
 *   Radians, positive to the performer's left and up.
 */
/**
 * @typedef {object} Facelink1Sending Fields of a face that is sent.
 * @property {string} [subject] Name of the subject; default: the connection's own.
 * @property {Facelink1Frame[]} [previous] Up to three earlier frames, oldest first,
 *   to be repeated without their channels. Frames too old for the format are left out.
 */
/** @typedef {Facelink1Frame & Facelink1Sending} Facelink1Face */
/**
 * @typedef {object} Facelink1Received Fields of a face that was received.
 * @property {string} subject Name of the subject; empty: the connection's own.
 * @property {'unix' | 'own'} [clock] What `captureTime` counts from.
 * @property {boolean} repeated A repeated earlier frame; it has no channels.
 */
/**
 * @typedef {object} Facelink1Options
 * @property {'unix' | 'own'} [clock] What `captureTime` counts from: 1970, or
 *   a zero of the sender's own. Default: `unix`.
 * @property {readonly string[]} [schema] Names of the connection's `schema`
 *   message: channels go by their place in it. Not to be changed afterwards.
 */

/** First byte of every packet. */
export const FACELINK1_MAGIC = 0xf1;

const F1_TRACKED = 1;
const F1_HEAD = 1 << 1;
const F1_POSITION = 1 << 2;
const F1_GAZE = 1 << 3;
const F1_WIDE = 1 << 4;
const F1_PARTIAL = 1 << 5;
const F1_TIME = 1 << 6;
const F1_LARGEST_SHIFT = 7;
const F1_OWN_CLOCK = 1 << 9;
const F1_REPEATED_SHIFT = 10;
const F1_SUBJECT = 1 << 12;
const F1_CHANNELS = 1 << 13;
const F1_SCHEMA = 1 << 14;
const F1_RESERVED = 1 << 15;
/** The flags that a repeated frame may have. */
const F1_FRAME_FLAGS = 0x1ff;
const F1_MAX_PACKET = 65536;
const F1_MAX_CHANNELS = 256;
/** Steps a unit of a wide value: -1, 0, 1 and 2 are exact. */
const F1_WIDE_UNIT = 21845;
const F1_PART_STEPS = 32767 * Math.SQRT2;

/** @param {string} field @param {string} reason @returns {never} */
function f1Fail(field, reason) {
  throw new RangeError(`facelink1: ${field} ${reason}`);
}

/** @param {string} field @param {number} value @returns {number} */
function f1Finite(field, value) {
  return Number.isFinite(value) ? value : f1Fail(field, 'is not a finite number');
}

/** To the nearest whole number, halves up, within ±limit. @param {number} value @param {number} limit */
function f1Round(value, limit) {
  return Math.floor(Math.min(Math.max(value, -limit), limit) + 32768.5) - 32768;
}

/** @param {number} value */
function f1ToWide(value) {
  return Math.floor((Math.min(Math.max(value, -1), 2) + 1) * F1_WIDE_UNIT + 0.5);
}

/** @param {string} field @param {string} name */
function f1NameBytes(field, name) {
  const bytes = new TextEncoder().encode(name);
  if (bytes.length === 0) f1Fail(field, 'is an empty name');
  if (bytes.length > 128) f1Fail(field, 'is a name longer than 128 bytes');
  // eslint-disable-next-line no-control-regex
  if (/[\u0000-\u001f\u007f-\u009f]/.test(name)) f1Fail(field, 'is a name with control characters');
  return bytes;
}

/** @type {WeakMap<readonly string[], { sum: number, keys: Map<string, number> }>} */
const F1_SCHEMAS = new WeakMap();

/** Indices of a schema's names, and its checksum. @param {readonly string[]} names */
function f1Schema(names) {
  let schema = F1_SCHEMAS.get(names);
  if (!schema) {
    let hash = 0x811c9dc5;
    for (const name of names) {
      for (const byte of new TextEncoder().encode(`${name}\0`)) hash = Math.imul(hash ^ byte, 0x01000193);
    }
    schema = { sum: (hash ^ (hash >>> 16)) & 0xffff, keys: new Map(names.map((name, i) => [name, i + 1])) };
    F1_SCHEMAS.set(names, schema);
  }
  return schema;
}

/** Bytes that grow. */
class F1Out {
  bytes = new Uint8Array(256);

  view = new DataView(this.bytes.buffer);

  length = 0;

  /** Reserves bytes; returns their offset. @param {number} count */
  #room(count) {
    const at = this.length;
    this.length += count;
    if (this.length > F1_MAX_PACKET) f1Fail('the packet', `is larger than ${F1_MAX_PACKET} bytes`);
    if (this.length > this.bytes.length) {
      const bytes = new Uint8Array(Math.max(this.length, 2 * this.bytes.length));
      bytes.set(this.bytes);
      this.bytes = bytes;
      this.view = new DataView(bytes.buffer);
    }
    return at;
  }

  /** @param {number} value */
  u8(value) {
    const at = this.#room(1); // it may replace the view
    this.view.setUint8(at, value);
  }

  /** @param {number} value */
  u16(value) {
    const at = this.#room(2); // it may replace the view
    this.view.setUint16(at, value, true);
  }

  /** @param {number} value */
  i16(value) {
    const at = this.#room(2); // it may replace the view
    this.view.setInt16(at, value, true);
  }

  /** @param {number} value */
  u32(value) {
    const at = this.#room(4); // it may replace the view
    this.view.setUint32(at, value, true);
  }

  /** @param {number} value */
  u64(value) {
    this.u32(value % 4294967296);
    this.u32(Math.floor(value / 4294967296));
  }

  /** @param {number} value */
  varint(value) {
    if (value > 0x7f) {
      this.u8((value & 0x7f) | 0x80);
      this.u8(value >> 7);
    } else this.u8(value);
  }

  /** @param {Uint8Array} bytes A name's */
  name(bytes) {
    this.u8(bytes.length);
    const at = this.#room(bytes.length);
    this.bytes.set(bytes, at);
  }
}

/** Which part of a unit quaternion is the largest, and the others. @param {ArrayLike<number>} rotation */
function f1PackRotation(rotation) {
  const parts = [rotation[0], rotation[1], rotation[2], rotation[3]];
  for (const part of parts) f1Finite('head.rotation', part);
  const [x, y, z, w] = parts;
  const length = Math.sqrt(x * x + y * y + z * z + w * w);
  if (!(length >= 0.5 && length <= 2)) f1Fail('head.rotation', 'must be a quaternion [x, y, z, w] of length 1');
  let largest = 0;
  for (let i = 1; i < 4; i += 1) if (Math.abs(parts[i]) > Math.abs(parts[largest])) largest = i;
  const scale = (parts[largest] < 0 ? -F1_PART_STEPS : F1_PART_STEPS) / length;
  parts.splice(largest, 1);
  return { largest, parts: parts.map((part) => f1Round(part * scale, 32767)) };
}

/** The flags that go with a frame's body. @param {Facelink1Frame} frame */
function f1Flags(frame) {
  let flags = frame.tracked === false ? 0 : F1_TRACKED;
  if (frame.precise) flags |= F1_WIDE;
  for (const name of ARKIT_NAMES) {
    const weight = frame.blendshapes[name];
    if (weight === undefined) flags |= F1_PARTIAL;
    else if (!(f1Finite(name, weight) >= 0 && weight <= 1)) flags |= F1_WIDE;
  }
  if (frame.captureTime !== undefined) flags |= F1_TIME;
  if (frame.head) {
    flags |= F1_HEAD | (f1PackRotation(frame.head.rotation).largest << F1_LARGEST_SHIFT);
    if (frame.head.position) flags |= F1_POSITION;
  }
  if (frame.gaze) flags |= F1_GAZE;
  return flags;
}

/** @param {F1Out} out @param {number} flags @param {Facelink1Frame} frame */
function f1PutBody(out, flags, frame) {
  const shapes = frame.blendshapes;
  if (flags & F1_PARTIAL) {
    for (let from = 0; from < 56; from += 8) {
      let byte = 0;
      for (let i = 0; i < 8; i += 1) if (shapes[ARKIT_NAMES[from + i]] !== undefined) byte |= 1 << i;
      out.u8(byte);
    }
  }
  for (const name of ARKIT_NAMES) {
    const weight = shapes[name];
    if (weight === undefined) continue;
    if (flags & F1_WIDE) out.u16(f1ToWide(weight));
    else out.u8(Math.floor(weight * 255 + 0.5));
  }
  if (frame.head) {
    for (const part of f1PackRotation(frame.head.rotation).parts) out.i16(part);
    const { position } = frame.head;
    if (position) for (let i = 0; i < 3; i += 1) out.i16(f1Round(f1Finite('head.position', position[i]) * 1000, 32000));
  }
  if (frame.gaze) {
    const { left, right } = frame.gaze;
    for (const angle of [left.yaw, left.pitch, right.yaw, right.pitch]) out.i16(f1Round(f1Finite('gaze', angle) * 8192, 32767));
  }
}

/** @param {Facelink1Frame} frame */
function f1Time(frame) {
  const time = frame.captureTime;
  if (time === undefined) return undefined;
  if (!(time >= 0 && time < 18446744073709551616)) f1Fail('captureTime', 'is no 64-bit number of microseconds');
  return Math.floor(time);
}

/**
 * Writes one packet.
 * @param {readonly Facelink1Face[]} faces 1 to 32
 * @param {Facelink1Options} [options]
 * @returns {Uint8Array<ArrayBuffer>}
 * @throws {RangeError} For what cannot be written; it names the field
 */
export function encodeFacelink1(faces, options = {}) {
  if (faces.length < 1 || faces.length > 32) f1Fail('faces', `are ${faces.length}, 1 to 32 go into a packet`);
  const out = new F1Out();
  out.u8(FACELINK1_MAGIC);
  out.u8(faces.length);
  for (const face of faces) {
    const time = f1Time(face);
    const sequence = f1Finite('sequence', face.sequence) % 4294967296 >>> 0;

    /** @type {{ frame: Facelink1Frame, distance: number, delta: number | undefined }[]} */
    const repeats = [];
    const previous = face.previous ?? [];
    let farthest = 0;
    for (let i = previous.length - 1; i >= 0 && i >= previous.length - 3; i -= 1) {
      const frame = previous[i];
      const distance = (sequence - (frame.sequence % 4294967296)) >>> 0;
      const then = f1Time(frame);
      const delta = then === undefined ? undefined : (time ?? NaN) - then;
      if (distance > farthest && distance < 256 && (delta === undefined || (delta >= 0 && delta < 4294967296))) {
        farthest = distance;
        repeats.unshift({ frame, distance, delta });
      }
    }

    const channels = Object.keys(face.blendshapes).filter((name) => !INDEX.has(name) && face.blendshapes[name] !== undefined);
    if (channels.length > F1_MAX_CHANNELS) f1Fail('channels', `are ${channels.length}, at most ${F1_MAX_CHANNELS} go into a frame`);
    let schema = options.schema?.length && channels.length ? f1Schema(options.schema) : undefined;
    if (schema && !channels.some((name) => schema?.keys.has(name))) schema = undefined;

    const own = f1Flags(face);
    let flags = own | (repeats.length << F1_REPEATED_SHIFT);
    if (time !== undefined && options.clock === 'own') flags |= F1_OWN_CLOCK;
    if (face.subject) flags |= F1_SUBJECT;
    if (channels.length) flags |= F1_CHANNELS;
    if (schema) flags |= F1_SCHEMA;
    out.u16(flags);
    if (face.subject) out.name(f1NameBytes('subject', face.subject));
    out.u32(sequence);
    if (time !== undefined) out.u64(time);
    f1PutBody(out, own, face);
    if (channels.length) {
      out.varint(channels.length);
      if (schema) out.u16(schema.sum);
      for (const name of channels) {
        const key = schema?.keys.get(name) ?? 0;
        out.varint(key);
        if (!key) out.name(f1NameBytes('channel', name));
        out.u16(f1ToWide(f1Finite(name, face.blendshapes[name])));
      }
    }
    for (const { frame, distance, delta } of repeats) {
      const frameFlags = f1Flags(frame);
      out.u16(frameFlags);
      out.u8(distance);
      if (delta !== undefined) out.u32(delta);
      f1PutBody(out, frameFlags, frame);
    }
  }
  return out.bytes.slice(0, out.length);
}

/** The bytes that are left. */
class F1In {
  at = 0;

  /** Which face and which of its repeated frames is read, for errors. */
  path = '';

  /** @param {Uint8Array} bytes */
  constructor(bytes) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** @param {string} field @param {string} reason @returns {never} */
  fail(field, reason) { return f1Fail(this.path + field, reason); }

  /** @param {number} count @param {string} field */
  take(count, field) {
    const { at } = this;
    if (at + count > this.bytes.length) this.fail(field, 'is cut off: the packet ends within it');
    this.at += count;
    return at;
  }

  /** @param {string} field */
  u8(field) { return this.view.getUint8(this.take(1, field)); }

  /** @param {string} field */
  u16(field) { return this.view.getUint16(this.take(2, field), true); }

  /** @param {string} field */
  i16(field) { return this.view.getInt16(this.take(2, field), true); }

  /** @param {string} field */
  u32(field) { return this.view.getUint32(this.take(4, field), true); }

  /** @param {string} field */
  varint(field) {
    const low = this.u8(field);
    if (low < 0x80) return low;
    const high = this.u8(field);
    if (high < 1 || high > 0x7f) this.fail(field, 'is not written in the shortest way, in at most two bytes');
    return (low & 0x7f) | (high << 7);
  }

  /** @param {string} field */
  wide(field) { return Math.fround((this.u16(field) - F1_WIDE_UNIT) / F1_WIDE_UNIT); }

  /** @param {string} field */
  name(field) {
    const length = this.u8(field);
    const at = this.take(length, field);
    let name = '';
    try {
      name = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(this.bytes.subarray(at, at + length));
    } catch {
      this.fail(field, 'is not UTF-8');
    }
    try {
      f1NameBytes('', name);
    } catch (error) {
      this.fail(field, /** @type {Error} */ (error).message.replace(/^facelink1: +/, ''));
    }
    return name;
  }
}

/** @param {F1In} input @param {number} flags @param {number} sequence @param {number | undefined} captureTime @returns {Facelink1Frame} */
function f1Body(input, flags, sequence, captureTime) {
  if (!(flags & F1_HEAD) && flags & (F1_POSITION | (3 << F1_LARGEST_SHIFT))) {
    input.fail('flags', 'speak of a head that is not there');
  }
  let at = -1;
  if (flags & F1_PARTIAL) {
    at = input.take(7, 'mask');
    if (input.bytes[at + 6] & 0xf0) input.fail('mask', 'names a shape beyond the 52');
  }
  /** @type {Record<string, number>} Without a prototype: a name may be any. */
  const blendshapes = Object.create(null);
  for (let i = 0; i < 52; i += 1) {
    if (at >= 0 && !(input.bytes[at + (i >> 3)] & (1 << (i & 7)))) continue;
    blendshapes[ARKIT_NAMES[i]] = flags & F1_WIDE ? input.wide('weights') : Math.fround(input.u8('weights') / 255);
  }
  /** @type {Facelink1Frame} */
  const frame = { sequence, tracked: (flags & F1_TRACKED) !== 0, blendshapes };
  if (captureTime !== undefined) frame.captureTime = captureTime;
  if (flags & F1_HEAD) {
    const parts = [0, 0, 0].map(() => input.i16('head.rotation'));
    if (parts.reduce((sum, part) => sum + part * part, 0) > 2 * 32767 * 32767) input.fail('head.rotation', 'is no unit quaternion');
    const [a, b, c] = parts.map((part) => part / F1_PART_STEPS);
    const rotation = [a, b, c];
    rotation.splice((flags >> F1_LARGEST_SHIFT) & 3, 0, Math.sqrt(Math.max(0, 1 - a * a - b * b - c * c)));
    frame.head = { rotation: rotation.map(Math.fround) };
    if (flags & F1_POSITION) frame.head.position = [0, 0, 0].map(() => Math.fround(input.i16('head.position') / 1000));
  }
  if (flags & F1_GAZE) {
    const [leftYaw, leftPitch, rightYaw, rightPitch] = [0, 0, 0, 0].map(() => input.i16('gaze') / 8192);
    frame.gaze = { left: { yaw: leftYaw, pitch: leftPitch }, right: { yaw: rightYaw, pitch: rightPitch } };
  }
  return frame;
}

/**
 * Reads one packet. The earlier frames that a face repeats come just before it,
 * oldest first.
 * @param {Uint8Array | ArrayBuffer} packet
 * @param {Pick<Facelink1Options, 'schema'>} [options]
 * @returns {(Facelink1Frame & Facelink1Received)[]}
 * @throws {RangeError} When the packet is refused; it names the field
 */
export function decodeFacelink1(packet, options = {}) {
  const input = new F1In(packet instanceof Uint8Array ? packet : new Uint8Array(packet));
  if (input.bytes.length > F1_MAX_PACKET) f1Fail('the packet', `is larger than ${F1_MAX_PACKET} bytes`);
  const magic = input.u8('magic');
  if (magic !== FACELINK1_MAGIC) f1Fail('magic', `is ${magic}, expected ${FACELINK1_MAGIC}`);
  const count = input.u8('count');
  if (count < 1 || count > 32) f1Fail('count', `is ${count}, expected 1 to 32 faces`);
  /** @type {(Facelink1Frame & Facelink1Received)[]} */
  const faces = [];
  for (let i = 0; i < count; i += 1) {
    input.path = `faces[${i}].`;
    const flags = input.u16('flags');
    if (flags & F1_RESERVED || (flags & F1_SCHEMA && !(flags & F1_CHANNELS)) || (flags & F1_OWN_CLOCK && !(flags & F1_TIME))) {
      input.fail('flags', 'hold a bit that this version does not know');
    }
    const subject = flags & F1_SUBJECT ? input.name('subject') : '';
    const sequence = input.u32('sequence');
    const time = flags & F1_TIME ? input.u32('time') + input.u32('time') * 4294967296 : undefined;
    /** @type {'unix' | 'own'} */
    const clock = flags & F1_OWN_CLOCK ? 'own' : 'unix';
    const newest = f1Body(input, flags, sequence, time);
    if (flags & F1_CHANNELS) {
      const channels = input.varint('channels.count');
      if (channels < 1 || channels > F1_MAX_CHANNELS) input.fail('channels.count', 'is not 1 to 256');
      /** @type {readonly string[]} */
      let names = [];
      if (flags & F1_SCHEMA) {
        const sum = input.u16('channels.schema');
        names = options.schema ?? [];
        if (!names.length || f1Schema(names).sum !== sum) input.fail('channels.schema', 'is of another schema than this connection has sent');
      }
      for (let k = 0; k < channels; k += 1) {
        const key = input.varint('channels.key');
        if (key > names.length) input.fail('channels.key', "is beyond the schema's names");
        const name = key ? names[key - 1] : input.name('channels.name');
        newest.blendshapes[name] = input.wide('channels.value');
      }
    }
    let nearest = 256;
    for (let k = 0; k < ((flags >> F1_REPEATED_SHIFT) & 3); k += 1) {
      input.path = `faces[${i}].repeated[${k}].`;
      const own = input.u16('flags');
      if (own & ~F1_FRAME_FLAGS) input.fail('flags', 'hold a bit that a repeated frame does not have');
      const distance = input.u8('distance');
      if (distance < 1 || distance >= nearest) input.fail('distance', 'must fall from one repeated frame to the next, and is never 0');
      nearest = distance;
      let then;
      if (own & F1_TIME) {
        then = (time ?? -1) - input.u32('delta');
        if (then < 0) input.fail('delta', 'reaches back beyond the zero of the clock, or the face has no time');
      }
      const frame = f1Body(input, own, (sequence - distance) >>> 0, then);
      faces.push(Object.assign(frame, { subject, repeated: true }, then === undefined ? {} : { clock }));
    }
    faces.push(Object.assign(newest, { subject, repeated: false }, time === undefined ? {} : { clock }));
  }
  input.path = '';
  if (input.at !== input.bytes.length) f1Fail('the packet', 'goes on after the last face');
  return faces;
}

// ---- synthetic performer ----------------------------------------------------

/** A pseudo-random number from 0 to 1, the same for the same (n, k). @param {number} n @param {number} k */
function noise(n, k) {
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

/** Loudness of the performer's speech at time t, 0..1. @param {number} t */
function talking(t) {
  const PHRASE = 5.2;
  const i = Math.floor(t / PHRASE);
  const at = t - i * PHRASE;
  const end = 3.5 + noise(i, 1) * 1.1;
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

  // Speech: consonants and vowels alternate, each blended into its neighbours.
  const STEP = 0.105;
  const here = Math.floor(t / STEP);
  let weightSum = 0;
  /** @type {[Blendshapes, number][]} */
  const mouth = [];
  for (let i = here - 2; i <= here + 2; i += 1) {
    const centre = (i + 0.5 + (noise(i, 2) - 0.5) * 0.5) * STEP;
    const weight = bump((t - centre) / (STEP * 1.5));
    const set = i & 1 ? VOWELS : CONSONANTS;
    const loud = talking(centre) * (0.7 + 0.45 * noise(i, 3));
    weightSum += weight;
    if (weight > 0) mouth.push([set[Math.floor(noise(i, 4) * set.length)], weight * loud]);
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
    const at = (i + 0.3 + 0.4 * noise(i, 5)) * beat;
    const lift = bump((t - at) / 0.42) * talking(at);
    if (noise(i, 6) < 0.55) {
      add('browInnerUp', 0.55 * lift);
      add('browOuterUp', 0.42 * lift);
      add('eyeWide', 0.2 * lift);
    } else if (noise(i, 6) > 0.85) {
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
  const gaze = (i) => (noise(i, 7) < 0.45
    ? [0, 0]
    : [(noise(i, 8) - 0.5) * 0.5, (noise(i, 9) - 0.5) * 0.26]);
  const jump = smooth(0, 0.045, t - (k + 0.25 * noise(k, 10)) * FIX);
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
    const at = i * BLINK + noise(i, 11) * 2.3;
    for (const again of noise(i, 12) < 0.18 ? [0, 0.34] : [0]) {
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
