// A small endpoint for the emulated network of virtual.mjs: it speaks the wire (hello, welcome, resume, ping, offers,
// reports, frames both ways) and keeps the accepting side's times of crates/facelink/src/connection/accept.rs. It stands in
// for the Rust endpoint, whose own state machine is held to the same table by crates/facelink/tests/connection.

import { decodeFacelink1, encodeFacelink1, FACELINK1_MAGIC } from '../../crates/facelink-net/web/facelink.js';

const TICK_MS = 10;
const SOCKET_BUSY_MS = 250;
const CHANNEL_BUSY_MS = 100;
const PING_IDLE_MS = 1000;
const SOCKET_DEAD_MS = 6000;
const OPEN_LIMIT_MS = 20000;
const CHANNEL_DEAD_MS = 8000;
const GOODBYE_SILENCE_MS = 300;
const GOODBYE_GRACE_MS = 1000;
const RECONNECT_GRACE_MS = 5000;
const ANSWER_MS = 5; // to make an answer
const REPORT_MS = 200;
const BUSY_MS = 1000;
const CLOSE_RECONNECTING = 4000;
const CLOSE_UNAUTHORISED = 4401;
const CLOSE_RESUMED = 4409;

/** The client's frames carry their number as a weight of `jawOpen`, in steps that every format keeps apart. */
export const FRAME_STEP = 1 / 4096;

/** Pings and frames of one transport. */
class Link {
  waiting = [];
  lastPing = -Infinity;
  lastFrame = -Infinity;
  rtt = 0;
  answered = false;

  constructor(now) {
    this.lastReceived = now;
  }

  silence(now) {
    return this.waiting.length ? now - this.waiting[0] : 0;
  }

  isSuspect(now) {
    return this.answered && this.silence(now) >= Math.max(200, 3 * this.rtt + 100);
  }

  takesFrames(now) {
    return this.silence(now) <= 250 + 2 * this.rtt;
  }

  pong(t, now) {
    const rtt = now - t;
    this.rtt = this.answered ? this.rtt + 0.3 * (rtt - this.rtt) : rtt;
    this.answered = true;
    this.waiting = this.waiting.filter((sent) => sent > t + 1);
  }
}

/** What a receiver has seen of a sender's frames. */
export class Seen {
  made = [];
  shown = [];
  /** Shown twice, or after a newer one. */
  wrong = 0;
  newest = 0;

  make(now) {
    this.made.push(now);
    return this.made.length;
  }

  show(number, now) {
    if (!(number >= 1 && number <= this.made.length)) throw new Error(`frame ${number} was never made`);
    if (number <= this.newest) this.wrong += 1;
    this.newest = Math.max(this.newest, number);
    this.shown.push([number, now]);
  }

  /** Frames made after the first one shown, and before `until`, that were never shown. */
  lost(until) {
    if (!this.shown.length) return this.made.length;
    const made = this.made.filter((at, i) => i + 1 >= this.shown[0][0] && at <= until).length;
    const shown = new Set(this.shown.map(([number]) => number).filter((number) => this.made[number - 1] <= until)).size;
    return made - shown;
  }

  /** Longest time between two frames shown. */
  gap(end) {
    let [longest, last] = [0, this.shown[0]?.[1] ?? 0];
    for (const at of [...this.shown.map((s) => s[1]), end]) [longest, last] = [Math.max(longest, at - last), at];
    return longest;
  }

  /** From `at` until a frame that was made after it is shown. */
  returned(at) {
    const fresh = this.shown.find(([number]) => this.made[number - 1] >= at);
    return fresh ? fresh[1] - at : Infinity;
  }
}

export class Endpoint {
  /** Counts its starts. */
  run = 0;
  down = false;
  connections = [];
  /** The client's face, and when it leaves: `{ owner, leaves }`. */
  face = null;
  faces = 0;
  faceGone = null;
  /** No WebSocket opens, as where a browser refuses the certificate. */
  refusesSockets = false;
  up = new Seen();
  downwards = new Seen();
  log = [];
  #sequence = -1;
  #fresh = 0;
  #expected = 0;

  constructor(network, { token = 'right', answerDelay = 0 } = {}) {
    Object.assign(this, { network, time: network.time, token, answerDelay });
    network.endpoint = this;
    const tick = () => {
      this.time.after(TICK_MS, tick);
      for (const c of this.connections) if (!c.over) this.#tick(c);
      this.#ageFace();
    };
    this.time.after(TICK_MS, tick);
    const report = () => {
      this.time.after(REPORT_MS, report);
      this.#report();
    };
    this.time.after(REPORT_MS, report);
  }

  // ---- the WebSocket --------------------------------------------------------

  accepts(stream) {
    if (this.down || this.refusesSockets || this.token === 'wrong') return false;
    const c = this.#connection();
    stream.connection = c;
    this.#takeSocket(c, stream);
    return true;
  }

  /** What HTTP is answered with; null while nothing listens. */
  httpStatus() {
    return this.down ? null : this.token === 'wrong' ? 401 : 200;
  }

  #connection() {
    const number = this.connections.length;
    const c = {
      id: `${this.run}-${number}`, resumeToken: `secret-${this.run}-${number}`, over: false, socket: null, socketLink: null,
      peer: null, channel: null, subscribed: false, binary: 'json', goodbye: null, receivedBy: null, introduced: false,
    };
    this.connections.push(c);
    return c;
  }

  /** An offer by HTTP: a new connection, or another peer connection of the one that is resumed. */
  onPost({ sdp, resume }, reply) {
    const live = this.connections.find((other) => !other.over && resume && other.resumeToken === resume);
    const c = live ?? this.#connection();
    this.#answer(c, sdp, (answer) => reply({ type: 'answer', sdp: answer, session_id: c.id, resumed: Boolean(live), ice_servers: [] }));
  }

  #takeSocket(c, stream) {
    c.goodbye = null;
    if (c.socket) this.network.closeStream(c.socket, false, CLOSE_RESUMED, 'the client has returned by another socket');
    c.socket = stream;
    c.socketLink = new Link(this.time.now);
    this.#ping(c, 'websocket');
  }

  onSocketMessage(stream, data) {
    const c = stream.connection;
    if (!c || c.over || c.socket !== stream) return;
    c.socketLink.lastReceived = this.time.now;
    this.#receive(c, 'websocket', data, stream);
  }

  onSocketClosed(stream, code) {
    const c = stream.connection;
    if (c && !c.over && c.socket === stream) this.#loseSocket(c, `closed ${code}`, code !== null && code !== CLOSE_RECONNECTING);
  }

  #loseSocket(c, why, goodbye) {
    this.note(`${c.id} WebSocket lost: ${why}`);
    this.network.closeStream(c.socket, false, null);
    c.socket = null;
    if (c.channel?.open) {
      // It lives on, unless its client has left altogether.
      c.goodbye = goodbye ? this.time.now : null;
      return;
    }
    this.#end(c, goodbye);
  }

  // ---- the data channel -----------------------------------------------------

  #answer(c, sdp, reply = (answer) => this.#send(c, 'websocket', { type: 'answer', sdp: answer })) {
    const { peer: id, restarts, address } = JSON.parse(sdp);
    const peer = this.network.peers[id];
    const known = c.peer === peer;
    if (!known) {
      if (c.peer) this.network.closePeer(c.peer, false);
      c.peer = peer;
      c.channel = { open: false, started: this.time.now, link: new Link(this.time.now), broken: null };
      Object.assign(peer, { connection: c, run: this.run });
      peer.ends[1] = true;
    }
    const restart = known && restarts > 0;
    const answer = JSON.stringify({ fingerprint: `${c.id}-${id}`, restart, address });
    this.time.after(this.answerDelay + ANSWER_MS, () => {
      if (!c.over) reply(answer);
    });
  }

  onChannelOpen(peer) {
    const c = peer.connection;
    if (c && !c.over && c.peer === peer) Object.assign(c.channel, { open: true, link: new Link(this.time.now) });
  }

  onChannelMessage(peer, data) {
    const c = peer.connection;
    if (!c || c.over || c.peer !== peer) return;
    c.channel.open = true;
    c.channel.link.lastReceived = this.time.now;
    this.#receive(c, 'webrtc', data, null);
  }

  onChannelClosed(peer) {
    const c = peer.connection;
    if (c && !c.over && c.peer === peer) this.#loseChannel(c, 'closed', true);
  }

  onPeerState(peer, state) {
    const c = peer.connection;
    if (!c || c.over || c.peer !== peer) return;
    const channel = c.channel;
    if (state === 'connected') channel.broken = null;
    else channel.broken ??= this.time.now;
    if (state === 'failed' && !(channel.open && c.socket)) this.#loseChannel(c, 'ICE failed', false);
  }

  #loseChannel(c, why, closed) {
    this.note(`${c.id} data channel lost: ${why}`);
    this.network.closePeer(c.peer, false);
    c.peer = c.channel = null;
    if (!c.socket) this.#end(c, closed || c.goodbye !== null);
  }

  #end(c, goodbye) {
    if (c.peer) this.network.closePeer(c.peer, false);
    c.peer = c.channel = null;
    c.over = true;
    const said = c.goodbye === null ? 0 : this.time.now - c.goodbye;
    const grace = goodbye ? Math.max(0, GOODBYE_GRACE_MS - said) : RECONNECT_GRACE_MS;
    this.note(`${c.id} over${goodbye ? ' by a goodbye' : ''}`);
    if (this.face?.owner === c) this.face.leaves ??= this.time.now + grace;
  }

  // ---- messages -------------------------------------------------------------

  #send(c, transport, message) {
    const data = message instanceof Uint8Array ? message : JSON.stringify(message);
    if (transport === 'websocket') {
      if (c.socket) this.network.write(c.socket, false, { data });
    } else if (c.peer?.writable) this.network.datagram(c.peer, false, data);
  }

  #ping(c, transport) {
    const link = transport === 'websocket' ? c.socketLink : c.channel.link;
    link.lastPing = this.time.now;
    link.waiting.push(this.time.now);
    this.#send(c, transport, { type: 'ping', t: this.time.now });
  }

  #receive(c, transport, data, stream) {
    if (typeof data !== 'string') {
      this.#frames(c, transport, data);
      return;
    }
    const message = JSON.parse(data);
    switch (message.type) {
      case 'hello': this.#welcome(c, transport, stream, message); break;
      case 'subscribe': Object.assign(c, { subscribed: true, binary: message.binary ?? 'json' }); break;
      case 'unsubscribe': c.subscribed = false; break;
      case 'offer': this.#answer(c, message.sdp); break;
      case 'ping': this.#send(c, transport, { type: 'pong', t: message.t, server_time: this.time.now }); break;
      case 'pong': (transport === 'websocket' ? c.socketLink : c.channel.link).pong(message.t, this.time.now); break;
      case 'arkit_data':
        this.#owns(c, transport);
        this.#show(message.blendshapes.jawOpen);
        break;
      case 'ice_candidate': break;
      default: throw new Error(`the client sent ${data}`);
    }
  }

  #welcome(c, transport, stream, hello) {
    if (this.token === 'wrong_in_hello') {
      this.network.closeStream(stream, false, CLOSE_UNAUTHORISED, 'wrong token');
      this.#end(c, true);
      return;
    }
    // By its secret alone, never by the id, which others may see.
    const live = this.connections.find((other) => other !== c && !other.over && hello.resume && other.resumeToken === hello.resume);
    if (live && !stream) throw new Error('a channel resumes another connection');
    if (live) {
      c.over = true;
      stream.connection = live;
      this.#takeSocket(live, stream);
    }
    const serves = live ?? c;
    serves.introduced = true;
    this.#send(serves, transport, {
      type: 'welcome', connection_id: serves.id, resume_token: serves.resumeToken, version: 'emulated', resumed: Boolean(live),
      binary: hello.binary, ice_servers: [],
    });
  }

  // ---- frames ---------------------------------------------------------------

  #frames(c, transport, data) {
    this.#owns(c, transport);
    if (new Uint8Array(data)[0] !== FACELINK1_MAGIC) {
      this.#show(new DataView(data).getFloat32(17 * 4, true));
      return;
    }
    for (const face of decodeFacelink1(data)) {
      if (!face.repeated && face.sequence > this.#sequence) {
        this.#fresh += 1;
        this.#expected += this.#sequence < 0 ? 1 : face.sequence - this.#sequence;
      }
    }
    for (const face of decodeFacelink1(data)) {
      if (face.sequence <= this.#sequence) continue;
      this.#sequence = face.sequence;
      this.#show(face.blendshapes.jawOpen);
    }
  }

  #owns(c, transport) {
    (transport === 'websocket' ? c.socketLink : c.channel.link).lastFrame = this.time.now;
    c.receivedBy = transport;
    this.#ageFace();
    if (!this.face) this.faces += 1;
    this.face = { owner: c, leaves: null };
  }

  #show(weight) {
    this.up.show(Math.round(weight / FRAME_STEP), this.time.now);
  }

  #ageFace() {
    if (this.face?.leaves == null || this.time.now < this.face.leaves) return;
    this.faceGone = this.face.leaves;
    this.face = null;
  }

  /** One frame to everyone who has subscribed. */
  sendFrame(numbered) {
    if (this.down) return;
    const number = this.downwards.make(this.time.now);
    const blendshapes = { jawOpen: number * FRAME_STEP };
    for (const c of this.connections) {
      if (c.over || !c.subscribed) continue;
      const now = this.time.now;
      const takes = c.socket && c.socketLink.takesFrames(now);
      const usable = c.channel?.open && c.peer.writable;
      const suspect = usable && (c.channel.broken !== null || c.channel.link.isSuspect(now));
      const routes = [];
      if (usable && (!suspect || numbered || !takes)) routes.push('webrtc');
      if (takes && (!usable || suspect)) routes.push('websocket');
      const message = c.binary === 'facelink1'
        ? encodeFacelink1([{ subject: 'Other', sequence: number, captureTime: 1.75e15 + Math.round(now * 1000), blendshapes }])
        : { type: 'blendshape_update', subject: 'Other', data: blendshapes, frame: number };
      for (const transport of routes) {
        (transport === 'websocket' ? c.socketLink : c.channel.link).lastFrame = now;
        this.#send(c, transport, message);
      }
    }
  }

  #report() {
    const c = this.face?.owner;
    if (!c || c.over || !c.introduced) return;
    const loss = 1 - this.#fresh / Math.max(1, this.#expected);
    if (this.#expected > 300) [this.#fresh, this.#expected] = [this.#fresh / 2, this.#expected / 2];
    const redundancy = loss > 0.12 ? 2 : loss > 0.02 ? 1 : 0;
    const transport = c.receivedBy === 'webrtc' && c.channel?.open ? 'webrtc' : c.socket ? 'websocket' : 'webrtc';
    this.#send(c, transport, { type: 'report', fps: 60, loss, redundancy });
  }

  // ---- times ----------------------------------------------------------------

  #tick(c) {
    const { now } = this.time;
    if (c.socket) {
      const interval = now - c.socketLink.lastFrame < BUSY_MS ? SOCKET_BUSY_MS : PING_IDLE_MS;
      if (now - c.socketLink.lastReceived >= SOCKET_DEAD_MS) this.#loseSocket(c, 'silent', false);
      else if (now - c.socketLink.lastPing >= interval) this.#ping(c, 'websocket');
    }
    if (c.over || !c.channel) return;
    const { open, link, started, broken } = c.channel;
    const silent = link.waiting.length ? now - Math.max(link.waiting[0], link.lastReceived) : 0;
    if (c.goodbye !== null && now - Math.max(c.goodbye, link.lastReceived) >= GOODBYE_SILENCE_MS) this.#loseChannel(c, 'goodbye by the WebSocket', true);
    else if (!open && now - started >= OPEN_LIMIT_MS) this.#loseChannel(c, 'not opened', false);
    else if (open && (silent >= CHANNEL_DEAD_MS || (broken !== null && now - broken >= CHANNEL_DEAD_MS))) this.#loseChannel(c, 'silent', false);
    else if (open && c.introduced && c.peer.writable) {
      const busy = now - link.lastFrame < BUSY_MS || c.goodbye !== null;
      if (now - link.lastPing >= (busy ? CHANNEL_BUSY_MS : PING_IDLE_MS)) this.#ping(c, 'webrtc');
    }
  }

  // ---- faults ---------------------------------------------------------------

  /** Stops, and forgets everything; with a goodbye to everyone if asked for. */
  stop(goodbye) {
    for (const c of this.connections) {
      if (c.over) continue;
      if (goodbye && c.socket) this.network.closeStream(c.socket, false, 1001, 'the endpoint stops');
      if (goodbye && c.peer) this.network.closePeer(c.peer, false);
      c.over = true;
    }
    this.down = true;
    this.run += 1;
    this.face = null;
    for (const stream of this.network.streams) if (stream.server) this.network.closeStream(stream, false, null);
  }

  start() {
    this.down = false;
    this.run += 1;
  }

  note(text) {
    this.log.push(`${this.time.now.toFixed(0).padStart(6)} endpoint ${text}`);
  }
}
