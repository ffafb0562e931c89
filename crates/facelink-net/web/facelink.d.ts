/**
 * Splits a head rotation into the angles that Live Link Face sends:
 * R = Rz(roll) Ry(yaw) Rx(-pitch).
 * @param {ArrayLike<number>} q Quaternion `[x, y, z, w]` in ARKit face axes
 * @returns {[yaw: number, pitch: number, roll: number] | null} Radians; +yaw
 *   turns to the performer's left, +pitch looks up. Null when `q` is no rotation.
 */
export function headAngles(q: ArrayLike<number>): [yaw: number, pitch: number, roll: number] | null;
/**
 * The inverse of {@link headAngles}.
 * @param {number} yaw Radians, + to the performer's left
 * @param {number} pitch Radians, + up
 * @param {number} roll Radians
 * @returns {[number, number, number, number]} Quaternion `[x, y, z, w]`
 */
export function headQuaternion(yaw: number, pitch: number, roll: number): [number, number, number, number];
/**
 * Writes one packet.
 * @param {readonly Facelink1Face[]} faces 1 to 32
 * @param {Facelink1Options} [options]
 * @returns {Uint8Array<ArrayBuffer>}
 * @throws {RangeError} For what cannot be written; it names the field
 */
export function encodeFacelink1(faces: readonly Facelink1Face[], options?: Facelink1Options): Uint8Array<ArrayBuffer>;
/**
 * Reads one packet. The earlier frames that a face repeats come just before it,
 * oldest first.
 * @param {Uint8Array | ArrayBuffer} packet
 * @param {Pick<Facelink1Options, 'schema'>} [options]
 * @returns {(Facelink1Frame & Facelink1Received)[]}
 * @throws {RangeError} When the packet is refused; it names the field
 */
export function decodeFacelink1(packet: Uint8Array | ArrayBuffer, options?: Pick<Facelink1Options, "schema">): (Facelink1Frame & Facelink1Received)[];
/**
 * A face that talks, blinks, looks around and sways, for tests and
 * demonstrations. The same `t` always gives the same face.
 * @param {number} t Seconds, 0 or more
 * @returns {{ blendshapes: Blendshapes, head: { rotation: [number, number, number, number] } }}
 *   All 52 shapes, 0..1, and the head in ARKit face axes
 */
export function samplePerformance(t: number): {
    blendshapes: Blendshapes;
    head: {
        rotation: [number, number, number, number];
    };
};
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
export const ARKIT_NAMES: readonly string[];
export class FacialAnimationWebRTCClient {
    /**
     * @param {string} [wsUrl] The server, such as `ws://192.168.68.132:8765`;
     *   default: where the page came from.
     * @param {ClientOptions} [options]
     */
    constructor(wsUrl?: string, options?: ClientOptions);
    /** Verbose console logging. @type {boolean} */
    debug: boolean;
    /**
     * The peer connection, from the start on: properties and methods are those of the present one, and handlers are called
     * for every later one too. Before the first one its states are `new`. Null where the browser has no WebRTC.
     * @type {RTCPeerConnection | null}
     */
    pc: RTCPeerConnection | null;
    /** The data channel of the present attempt. @type {RTCDataChannel | null} */
    dataChannel: RTCDataChannel | null;
    /** @type {WebSocket | null} */
    ws: WebSocket | null;
    /** Frames per second to send at most, 1..240; the server's `set_rate` changes it. @type {number} */
    targetFps: number;
    /** Given by the server. @type {string | null} */
    connectionId: string | null;
    /** Version of the server. @type {string | null} */
    serverVersion: string | null;
    /** @type {((state: ClientState) => void) | null} */
    onStateChange: ((state: ClientState) => void) | null;
    /** Frames have moved to another transport. @type {((transport: Transport) => void) | null} */
    onTransportChange: ((transport: Transport) => void) | null;
    /** An error; `message` says what to do about it. @type {((error: ClientError) => void) | null} */
    onError: ((error: ClientError) => void) | null;
    /** The server's answer to `requestStats`. @type {((stats: Message) => void) | null} */
    onStats: ((stats: Message) => void) | null;
    /** The server wants another frame rate. @type {((fps: number) => void) | null} */
    onRateChange: ((fps: number) => void) | null;
    /** Every message that arrives, after it was handled. @type {((message: Message, transport: Transport) => void) | null} */
    onMessage: ((message: Message, transport: Transport) => void) | null;
    /** What the console shows when `debug` is set, and warnings always. @type {((level: 'debug' | 'info' | 'warn', text: string) => void) | null} */
    onLog: ((level: "debug" | "info" | "warn", text: string) => void) | null;
    set onBlendshapeUpdate(handler: ((blendshapes: Blendshapes, arkitRaw: Blendshapes, message: Message) => void) | null);
    /**
     * A face from the server. Setting it subscribes to all faces, unless {@link subscribe} or {@link unsubscribe} is
     * called.
     * @type {((blendshapes: Blendshapes, arkitRaw: Blendshapes, message: Message) => void) | null}
     */
    get onBlendshapeUpdate(): ((blendshapes: Blendshapes, arkitRaw: Blendshapes, message: Message) => void) | null;
    /** @returns {ClientState} */
    get state(): ClientState;
    /** The secret by which this client resumes its connection: whoever has it can take that over. @returns {string | null} */
    get resumeToken(): string | null;
    /** What frames travel over now. @returns {Transport} */
    get transport(): Transport;
    /** The server's address, without the token. @returns {string} */
    get url(): string;
    /**
     * Connects, and stays connected until {@link close} (unless `reconnect` is
     * off). Resolves as soon as frames can flow; WebRTC follows by itself.
     * @returns {Promise<void>} Rejects with a {@link ClientError} when the first
     *   attempt fails; unless the token was refused, further attempts follow.
     */
    connect(): Promise<void>;
    /** Ends the connection for good; `connect` may start it again. */
    close(): void;
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
    sendARKitData(blendshapes: Blendshapes, options?: SendOptions): boolean;
    /**
     * Sends 52 weights in the order of {@link ARKIT_NAMES}, or 61 values with the angles of head and eyes, as
     * little-endian floats; the guide's `sendBinaryBlendshapes`. `sendARKitData` writes smaller frames that survive loss.
     * @param {ArrayLike<number> | Blendshapes} values An object counts by the order of its own names
     * @returns {boolean} True when it was sent
     */
    sendBinaryBlendshapes(values: ArrayLike<number> | Blendshapes): boolean;
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
    setEmotion(emotion: string, intensity?: number, { fadeMs, durationMs, subject }?: {
        fadeMs?: number;
        durationMs?: number;
        subject?: string;
    }): boolean;
    /**
     * Sends a mouth shape of speech.
     * @param {string} viseme Oculus (`aa`, `PP`), Rhubarb (`A`..`H`, `X`) or ARPAbet (`AA`) name
     * @param {number} [weight] 0..1
     * @param {number} [durationMs] How long it lasts, ms; without it, until the next one
     * @returns {boolean} True when it was sent
     */
    sendViseme(viseme: string, weight?: number, durationMs?: number): boolean;
    /**
     * Sends morph targets by the avatar's own names.
     * @param {Blendshapes} data
     * @returns {boolean} True when it was sent
     */
    sendBlendshapes(data: Blendshapes): boolean;
    /**
     * Sends several messages in one.
     * @param {Message[]} updates Oldest first
     * @returns {boolean} True when it was sent
     */
    sendBatch(updates: Message[]): boolean;
    /**
     * Asks the server for its stats of this connection.
     * @returns {Promise<Message>} The `stats` message
     */
    requestStats(): Promise<Message>;
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
    subscribe({ subject, maxFps, room, priority }?: {
        subject?: string;
        maxFps?: number;
        room?: string | true;
        priority?: number;
    }): void;
    /** Ends {@link subscribe}. @param {string} [subject] That of the subscription to end; all without one */
    unsubscribe(subject?: string): void;
    /**
     * Sends several faces in one packet where the format has room for them.
     * @param {{ subject?: string, blendshapes: Blendshapes, options?: SendOptions }[]} faces
     * @returns {boolean} True when a packet left now
     */
    sendFaces(faces: {
        subject?: string;
        blendshapes: Blendshapes;
        options?: SendOptions;
    }[]): boolean;
    /**
     * The client's name in `hello`. A name that contains `webcam` selects the smoothing for cameras.
     * @param {string} name
     */
    setClient(name: string): void;
    /** @param {string} name The subject's new name */
    setSubject(name: string): void;
    /**
     * The path of the frames: the kind of candidates that ICE chose, UDP or TCP, relayed or not.
     * @returns {Promise<ConnectionInfo>}
     */
    getConnectionInfo(): Promise<ConnectionInfo>;
    /** @returns {ClientStats} */
    getStats(): ClientStats;
    #private;
}
export default FacialAnimationWebRTCClient;
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
export const FACELINK1_MAGIC: 241;
/**
 * Weights by name; ARKit names
 *   (`jawOpen`) with 0..1, where 0 is the neutral face.
 */
export type Blendshapes = Record<string, number>;
/**
 * The head's pose in ARKit face axes (right-handed;
 *   x to the performer's own left, y up, z out of the face).
 */
export type Head = {
    /**
     * Unit quaternion `[x, y, z, w]`.
     */
    rotation?: ArrayLike<number>;
    /**
     * `[x, y, z]` in metres.
     */
    position?: ArrayLike<number>;
};
/**
 * Direction of each eye relative to the head, radians: `yaw`
 *   positive to the performer's own left, `pitch` positive up.
 */
export type Gaze = {
    /**
     * The performer's own left eye.
     */
    left: {
        yaw: number;
        pitch: number;
    };
    right: {
        yaw: number;
        pitch: number;
    };
};
export type SendOptions = {
    /**
     * Head pose of this frame.
     */
    head?: Head | null;
    /**
     * Direction of the eyes; JSON frames have none: the EyeLook shapes stand for it.
     */
    gaze?: Gaze | null;
    /**
     * Capture time: Unix milliseconds, or
     * an ISO 8601 string. Default: now. `float32` frames do not carry it.
     */
    timestamp?: number | string;
    /**
     * `false`: the face is out of sight.
     */
    tracked?: boolean;
    /**
     * Send as another subject than the connection's.
     */
    subject?: string;
};
export type ClientOptions = {
    /**
     * Name under which the server lists this face.
     */
    subject?: string;
    /**
     * Pairing token; default: `?token=` of the server
     * URL, then of the page where it came from that server.
     */
    token?: string;
    /**
     * Verbose console logging. Default false.
     */
    debug?: boolean;
    /**
     * Try WebRTC. Default true.
     */
    webrtc?: boolean;
    /**
     * `'relay'`: only through
     * TURN servers. Default `'all'`.
     */
    iceTransportPolicy?: RTCIceTransportPolicy;
    /**
     * Reconnect by itself. Default true.
     */
    reconnect?: boolean;
    /**
     * STUN/TURN servers; default: those the
     * server sends in `welcome`.
     */
    iceServers?: RTCIceServer[];
    /**
     * How frames are written:
     * `facelink1`, compact and numbered, so that they may go over both transports at once (the
     * default, where the server reads it), `float32`, little-endian, or `json`.
     */
    binary?: "facelink1" | "float32" | "json";
    /**
     * Receive what changed instead of whole faces, in a third of the bytes, where the server offers it
     * and delta.js can be loaded from next to this module. Default true.
     */
    delta?: boolean;
    /**
     * Name and version of the application, for logs.
     */
    client?: string;
    /**
     * What all messages pass on their way out and in: `SealedClient` of seal.js is a client with one.
     */
    filter?: {
        send(payload: string | ArrayBuffer | Uint8Array<ArrayBuffer>, send: (payload: string | Uint8Array<ArrayBuffer>) => void): boolean;
        receive(data: unknown, receive: (data: unknown, leftOut?: number) => void): void;
    };
};
export type ClientState = "idle" | "connecting" | "connected" | "reconnecting" | "failed" | "closed";
export type Transport = "webrtc" | "websocket" | "none";
export type ClientStats = {
    /**
     * Given by the server.
     */
    connectionId: string | null;
    state: ClientState;
    /**
     * What frames travel over now.
     */
    transport: Transport;
    /**
     * What offers travel by; `http` while the browser
     * refuses the WebSocket.
     */
    signalling: "websocket" | "http" | "none";
    /**
     * One-way latency in ms: half of the round
     * trip, smoothed. 0 until measured on the present transport.
     */
    averageLatencyMs: number;
    /**
     * Newest round trip in ms. 0 until measured.
     */
    rttMs: number;
    /**
     * Messages sent and received.
     */
    messageCount: number;
    /**
     * Messages sent (frames, visemes, control).
     */
    sent: number;
    /**
     * Frames sent by `sendARKitData`.
     */
    framesSent: number;
    /**
     * Frames dropped: no room to send, or the connection was lost.
     */
    dropped: number;
    /**
     * Frames merged into the next one to keep to `targetFPS`.
     */
    thinned: number;
    /**
     * Messages received.
     */
    received: number;
    /**
     * Bytes that wait in the present transport.
     */
    bufferedAmount: number;
    dataChannelState: RTCDataChannelState | "none";
    /**
     * Highest number of frames to send per second.
     */
    targetFPS: number;
    /**
     * Frames sent in the last second.
     */
    currentFPS: number;
    /**
     * Payload bytes sent in the last second.
     */
    bytesPerSecond: number;
    /**
     * How often the WebSocket came back.
     */
    reconnects: number;
    /**
     * ICE restarts.
     */
    iceRestarts: number;
    /**
     * How often frames moved from one transport to another.
     */
    moves: number;
    /**
     * The data channel is suspect: frames go over both transports.
     */
    hedging: boolean;
    /**
     * Pings that were never answered although later ones were.
     */
    pingsLost: number;
    /**
     * Share of this connection's frames that the server misses, 0..1,
     * as of the last answer to `requestStats`; null before it.
     */
    loss: number | null;
    /**
     * Earlier frames that each packet repeats, 0..3, as the server asks for.
     */
    repeats: number;
    /**
     * Variation of the frames' travel time, from the same answer.
     */
    jitterMs: number | null;
};
/**
 * The path that ICE chose.
 */
export type ConnectionInfo = {
    transport: Transport;
    connectionId: string | null;
    /**
     * Through a TURN server.
     */
    relayed: boolean;
    /**
     * Of the path; null without a data channel.
     */
    protocol: "udp" | "tcp" | null;
    /**
     *   `type` is `host`, `srflx`, `prflx` or `relay`.
     */
    local: {
        type: string;
        protocol: string;
        relayProtocol?: string;
        address?: string;
        port?: number;
    } | null;
    remote: {
        type: string;
        protocol: string;
        address?: string;
        port?: number;
    } | null;
    /**
     * ICE's own newest round trip.
     */
    rttMs: number | null;
    iceState: RTCIceConnectionState | "none";
};
/**
 * `code` is one of
 *   `unauthorized`, `unreachable`, `refused`, `mixed-content`, `bad-url`,
 *   `timeout`, `closed`, `server` (an `error` message of the server) or `webrtc`.
 */
export type ClientError = Error & {
    code: string;
};
/**
 * A message of the wire, see docs.
 */
export type Message = Record<string, any>;
/**
 * The frames of one subject: what was sent last, and the frame that waits.
 */
export type FrameStream = {
    subject: string | undefined;
    /**
     * When the next frame may leave (ms, performance clock).
     */
    due: number;
    lastCall: number;
    /**
     * Smoothed time between the caller's frames (ms).
     */
    interval: number;
    sentValues: Blendshapes;
    /**
     * Newest value of each shape, for `recentAt`.
     */
    recent: Blendshapes;
    recentAt: Record<string, number>;
    pending: Pending | null;
    timer: ReturnType<typeof setTimeout> | undefined;
    /**
     * The number of the next frame.
     */
    sequence: number;
    /**
     * The frames sent last, oldest first.
     */
    history: Facelink1Frame[];
};
/**
 * The frame that waits; never more than one.
 */
export type Pending = {
    since: number;
    /**
     * What is sent: the newest value, or the peak.
     */
    shapes: Blendshapes;
    low: Blendshapes;
    high: Blendshapes;
    latest: Blendshapes;
    seen: Record<string, boolean>;
    head: Head | null | undefined;
    gaze: Gaze | null | undefined;
    timestamp: number | string | undefined;
};
/**
 * Pings and round trips of one transport.
 */
export type Link = {
    kind: "webrtc" | "websocket";
    /**
     * When the pings left that are newer than the newest answered one.
     */
    pings: number[];
    /**
     * After sleep: silence that ends the transport, ms; 0 for the default.
     */
    limit: number;
    lastPing: number;
    lastReceived: number;
    lastFrame: number;
    /**
     * Smoothed round trip, ms; 0 until measured.
     */
    rtt: number;
    lastRtt: number;
    /**
     * How many round trips were measured.
     */
    trips: number;
    /**
     * Sends by the transport that the message came by.
     */
    reply: (text: string) => boolean;
};
/**
 * The newest frame of a subject. Delays are of arrival behind capture, ms; the clocks may differ.
 */
export type Newest = {
    /**
     * Capture time, µs.
     */
    time: number;
    sequence: number;
    /**
     * The same without what a relay has left out.
     */
    number: number;
    /**
     * The least delay since `start`.
     */
    least: number;
    /**
     * The least delay before.
     */
    usual: number;
    start: number;
};
/**
 * One peer connection and its data channel.
 */
export type RtcSession = {
    pc: RTCPeerConnection;
    channel: RTCDataChannel;
    /**
     * The remote description is set.
     */
    answered: boolean;
    /**
     * The offer has been sent.
     */
    offered: boolean;
    /**
     * The server has answered a ping on the channel.
     */
    proven: boolean;
    /**
     * It was proven and is silent or full now.
     */
    suspect: boolean;
    suspectSince: number;
    /**
     * ICE reports that its path is broken.
     */
    broken: boolean;
    /**
     * The first answer has arrived.
     */
    established: boolean;
    /**
     * When ICE was restarted, until an answer arrives; or 0.
     */
    restartingSince: number;
    /**
     * Id of the connection whose signalling made it.
     */
    connectionId: string | null;
    /**
     * Its offer went by HTTP, so that `hello` and all else go over its channel.
     */
    http: boolean;
    /**
     * The answer by HTTP continues the connection from before.
     */
    resumed: boolean;
    /**
     * The newest `hello` was answered on the channel.
     */
    greeted: boolean;
    /**
     * How many were sent.
     */
    hellos: number;
    helloAt: number;
    subscribedAt: number;
    /**
     * When another one was last offered in its place, because it is silent.
     */
    askedAt: number;
    describedAt: number;
    /**
     * Candidates for TCP that wait for their time.
     */
    tcp: ReturnType<typeof setTimeout>[];
    provenAt: number;
    /**
     * When sends began to find the channel full, or 0.
     */
    blockedSince: number;
    /**
     * Candidates that wait for the answer.
     */
    remote: (RTCIceCandidateInit | null)[];
    /**
     * Candidates that wait for the offer.
     */
    local: (RTCIceCandidateInit | null)[];
    link: Link;
    timer: ReturnType<typeof setTimeout> | undefined;
};
/**
 * One frame of a face.
 */
export type Facelink1Frame = {
    /**
     * Frame number, counted by the sender; its low 32
     * bits are sent.
     */
    sequence: number;
    /**
     * When the face was captured, in whole
     * microseconds, exact up to 2^53.
     */
    captureTime?: number;
    /**
     * `false`: the face is out of sight.
     * Default: true.
     */
    tracked?: boolean;
    /**
     * Write the shapes in 16 bits instead of 8; those
     * outside 0..1 need it anyway.
     */
    precise?: boolean;
    /**
     * Weights by name. ARKit names
     * are the 52 shapes, every other name is a channel of its own. Values outside
     * -1..2 are clamped; a decoded shape that is missing was not sent.
     */
    blendshapes: Record<string, number>;
    /**
     * Unit quaternion `[x, y, z, w]` and metres `[x, y, z]`, in ARKit face axes.
     */
    head?: {
        rotation: ArrayLike<number>;
        position?: ArrayLike<number> | null;
    } | null;
    /**
     * Radians, positive to the performer's left and up.
     */
    gaze?: {
        left: {
            yaw: number;
            pitch: number;
        };
        right: {
            yaw: number;
            pitch: number;
        };
    } | null;
};
/**
 * Fields of a face that is sent.
 */
export type Facelink1Sending = {
    /**
     * Name of the subject; default: the connection's own.
     */
    subject?: string;
    /**
     * Up to three earlier frames, oldest first,
     * to be repeated without their channels. Frames too old for the format are left out.
     */
    previous?: Facelink1Frame[];
};
export type Facelink1Face = Facelink1Frame & Facelink1Sending;
/**
 * Fields of a face that was received.
 */
export type Facelink1Received = {
    /**
     * Name of the subject; empty: the connection's own.
     */
    subject: string;
    /**
     * What `captureTime` counts from.
     */
    clock?: "unix" | "own";
    /**
     * A repeated earlier frame; it has no channels.
     */
    repeated: boolean;
};
export type Facelink1Options = {
    /**
     * What `captureTime` counts from: 1970, or
     * a zero of the sender's own. Default: `unix`.
     */
    clock?: "unix" | "own";
    /**
     * Names of the connection's `schema`
     * message: channels go by their place in it. Not to be changed afterwards.
     */
    schema?: readonly string[];
};
