// A browser's network in virtual time: an event queue, a seeded link emulator, TCP streams with WebSockets on them, and
// peer connections with one data channel, behind the browser's own names (`WebSocket`, `RTCPeerConnection`, `setTimeout`,
// `performance.now`, ...). The same seed gives the same run. Equal in meaning to crates/facelink/tests/connection/world.rs.
// All times are milliseconds.

const realImmediate = globalThis.setImmediate;
/** Time of day at the start of a run, Unix ms. */
const EPOCH = 1_750_000_000_000;

const SYN_RETRY_MS = 1000; // doubled each time, as kernels do
const TCP_RETRIES = 6;
const ICE_CHECKS_MS = 3000;
const ICE_CHECK_MS = 50;
const KEEPALIVE_MS = 250;
const DISCONNECTED_MS = 2000;
const FAILED_MS = 9000;
const OFFER_MS = 5; // to make an offer

/** A seeded random source (mulberry32): 0 to below 1. @param {number} seed */
export function random(seed) {
  let state = (seed + 0x9e3779b9) | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** The event queue. Events of one moment run in the order in which they were added. */
export class Time {
  now = 0;
  #heap = [];
  #count = 0;

  at(when, run) {
    const event = { at: Math.max(when, this.now), order: this.#count, run };
    this.#count += 1;
    const heap = this.#heap;
    let i = heap.push(event) - 1;
    while (i > 0) {
      const up = (i - 1) >> 1;
      if (!before(event, heap[up])) break;
      heap[i] = heap[up];
      i = up;
    }
    heap[i] = event;
    return event;
  }

  after(delay, run) {
    return this.at(this.now + delay, run);
  }

  #pop() {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (heap.length) {
      let i = 0;
      for (;;) {
        let child = 2 * i + 1;
        if (child >= heap.length) break;
        if (child + 1 < heap.length && before(heap[child + 1], heap[child])) child += 1;
        if (!before(heap[child], last)) break;
        heap[i] = heap[child];
        i = child;
      }
      heap[i] = last;
    }
    return first;
  }

  /** Runs until `end`; the promises of one event are settled before the next one. */
  async run(end) {
    for (;;) {
      await new Promise((done) => realImmediate(done));
      if (!this.#heap.length || this.#heap[0].at > end) break;
      const event = this.#pop();
      this.now = event.at;
      event.run?.();
    }
    this.now = end;
  }
}

const before = (a, b) => a.at < b.at || (a.at === b.at && a.order < b.order);

/** One direction of a link: delay, jitter, loss in bursts. What queues does not overtake. */
class Path {
  #losing = 0;
  #last = -Infinity;

  constructor(link, seed) {
    Object.assign(this, { link, chance: random(seed) });
  }

  /** When a packet that leaves now arrives; null when it is lost. */
  send(now) {
    const { delay_ms: delay = 10, jitter_ms: jitter = 0, loss = 0, burst = 1 } = this.link;
    const [lost, late] = [this.chance(), this.chance()];
    if (this.#losing > 0) {
      this.#losing -= 1;
      return null;
    }
    if (lost < loss / burst) {
      this.#losing = burst - 1;
      return null;
    }
    this.#last = Math.max(now + delay + late * jitter, this.#last + 0.001);
    return this.#last;
  }
}

/** One direction of a stream: messages in order, repeated until they arrive. */
class Direction {
  sent = 0;
  closed = false;
  #arrived = new Map();
  #delivered = 0;

  /** A segment has arrived: what can be read now. */
  arrive(place, message) {
    this.#arrived.set(place, message);
    const ready = [];
    while (this.#arrived.has(this.#delivered)) {
      ready.push(this.#arrived.get(this.#delivered));
      this.#arrived.delete(this.#delivered);
      this.#delivered += 1;
    }
    return ready;
  }
}

/** The network between a client in a browser and an endpoint. */
export class Network {
  /** Times that a direction is blocked: [up, down] of each transport. */
  blocked = { udp: [0, 0], tcp: [0, 0] };
  /** Counts the client's addresses. */
  address = 0;
  asleepUntil = 0;
  killed = false;
  timersFired = 0;
  /** What the time of day is off by. */
  clockStep = 0;
  streams = [];
  peers = [];
  /** The endpoint; see endpoint.mjs. */
  endpoint = null;

  constructor(time, link, seed) {
    this.time = time;
    this.roundTrip = 2 * (link.delay_ms ?? 10);
    this.udp = [new Path(link, seed * 8), new Path(link, seed * 8 + 1)];
    this.tcp = [new Path(link, seed * 8 + 2), new Path(link, seed * 8 + 3)];
    this.random = random(seed * 8 + 4);
  }

  get asleep() {
    return this.time.now < this.asleepUntil;
  }

  /** An event that the client's process has to run for: a process that sleeps finds it when it wakes. */
  clientAt(when, run) {
    const go = () => {
      if (this.killed) return;
      if (this.asleep) event.next = this.time.at(this.asleepUntil, go);
      else run();
    };
    const event = this.time.at(when, go);
    event.cancel = () => {
      event.run = null;
      if (event.next) event.next.run = null;
    };
    return event;
  }

  clientAfter(delay, run) {
    return this.clientAt(this.time.now + delay, run);
  }

  block(transports, directions, on) {
    for (const transport of transports) for (const d of directions) this.blocked[transport][d] += on ? 1 : -1;
  }

  // ---- TCP ------------------------------------------------------------------

  #tcpPasses(stream, up) {
    return stream.address === this.address && !stream.silent && !this.blocked.tcp[up ? 0 : 1];
  }

  /** Opens a stream for a WebSocket of the client. */
  dial(socket) {
    const stream = {
      socket, address: this.address, silent: false, up: new Direction(), down: new Direction(),
      client: true, server: false, opened: false, connection: null,
    };
    this.streams.push(stream);
    this.time.after(0, () => this.#syn(stream, SYN_RETRY_MS));
    return stream;
  }

  #syn(stream, retry) {
    if (!stream.client) return;
    if (this.#tcpPasses(stream, true) && this.#tcpPasses(stream, false)) {
      // The request for the WebSocket follows the handshake of TCP.
      this.time.after(this.roundTrip * 1.5, () => this.#upgrade(stream));
    } else this.time.after(retry, () => this.#syn(stream, retry * 2));
  }

  #upgrade(stream) {
    if (!stream.client) return;
    // Before what the endpoint sends at once.
    this.clientAfter(this.roundTrip / 2, () => {
      if (stream.opened && stream.client && stream.server) stream.socket.opened();
      else if (!stream.opened && stream.client) {
        stream.client = false;
        stream.socket.ended(1006, '');
      }
    });
    stream.opened = stream.server = this.endpoint.accepts(stream);
  }

  /** @param {{ data?: any, close?: number | null, reason?: string }} message */
  write(stream, up, message) {
    const direction = up ? stream.up : stream.down;
    if (direction.closed) return;
    direction.closed = 'close' in message;
    const place = direction.sent;
    direction.sent += 1;
    this.#segment(stream, up, place, message, 0);
  }

  #segment(stream, up, place, message, tries) {
    const passes = this.#tcpPasses(stream, up);
    const at = passes ? this.tcp[up ? 0 : 1].send(this.time.now) : null;
    if (at !== null) {
      const arrives = () => {
        for (const ready of (up ? stream.up : stream.down).arrive(place, message)) this.#deliver(stream, up, ready);
      };
      if (up) this.time.at(at, arrives);
      else this.clientAt(at, arrives);
    } else if (passes) {
      // What follows shows a single loss soon; a dead path shows nothing.
      this.time.after(this.roundTrip + 20, () => this.#segment(stream, up, place, message, tries));
    } else if (tries < TCP_RETRIES) {
      this.time.after(Math.max(200, this.roundTrip * 2) * 2 ** tries, () => this.#segment(stream, up, place, message, tries + 1));
    }
  }

  #deliver(stream, up, message) {
    if (!(up ? stream.server : stream.client)) return;
    if (!('close' in message)) {
      if (up) this.endpoint.onSocketMessage(stream, message.data);
      else stream.socket.receive(message.data);
    } else if (up) {
      stream.server = false;
      this.endpoint.onSocketClosed(stream, message.close);
    } else {
      stream.client = false;
      stream.socket.ended(message.close ?? 1006, message.reason ?? '');
    }
  }

  /** One side closes: with a close frame of this code, or (null) without one. */
  closeStream(stream, client, close, reason) {
    if (!(client ? stream.client : stream.server)) return;
    this.write(stream, client, { close, reason });
    if (client) stream.client = false;
    else stream.server = false;
  }

  /** Both sides see the stream end without a close frame. */
  reset(stream) {
    if (!stream?.opened) return;
    stream.up.closed = stream.down.closed = true;
    this.clientAfter(0, () => {
      if (!stream.client) return;
      stream.client = false;
      stream.socket.ended(1006, '');
    });
    this.time.after(0, () => {
      if (!stream.server) return;
      stream.server = false;
      this.endpoint.onSocketClosed(stream, null);
    });
  }

  // ---- UDP ------------------------------------------------------------------

  #udpPasses(up) {
    return !this.endpoint.down && !this.killed && !this.blocked.udp[up ? 0 : 1];
  }

  #peerPasses(peer, up) {
    return !peer.dead && peer.run === this.endpoint.run && peer.address === this.address && this.#udpPasses(up);
  }

  newPeer(pc) {
    const peer = {
      id: this.peers.length, pc, connection: null, ends: [true, false], address: null, run: this.endpoint.run, dead: false,
      lastReceived: [0, 0], states: ['new', 'new'], writable: false, checks: 0,
    };
    this.peers.push(peer);
    return peer;
  }

  datagram(peer, up, data) {
    if (!peer.ends[up ? 0 : 1] || !this.#peerPasses(peer, up)) return;
    const at = this.udp[up ? 0 : 1].send(this.time.now);
    if (at === null) return;
    if (!up) {
      this.clientAt(at, () => {
        if (!peer.ends[0]) return;
        peer.lastReceived[0] = Math.max(peer.lastReceived[0], this.time.now);
        peer.pc.receive(data);
      });
      return;
    }
    this.time.at(at, () => {
      if (!peer.ends[1]) return;
      peer.lastReceived[1] = Math.max(peer.lastReceived[1], this.time.now);
      // The endpoint can send once it has received a message of the client.
      peer.writable = true;
      this.endpoint.onChannelMessage(peer, data);
    });
  }

  /** One side closes a peer connection; the other one learns of it by a datagram. */
  closePeer(peer, client) {
    const side = client ? 0 : 1;
    if (!peer.ends[side]) return;
    peer.ends[side] = false;
    if (!this.#peerPasses(peer, client)) return;
    const at = this.udp[side].send(this.time.now);
    if (at !== null) this.channelCloses(peer, !client, at);
  }

  channelCloses(peer, client, at = this.time.now) {
    if (client) this.clientAt(at, () => peer.ends[0] && peer.pc.channelClosed());
    else this.time.at(at, () => peer.ends[1] && this.endpoint.onChannelClosed(peer));
  }

  peerState(peer, side, state) {
    if (!peer.ends[side] || peer.states[side] === state) return;
    peer.states[side] = state;
    if (side === 0) this.clientAfter(0, () => peer.ends[0] && peer.pc.changed(state));
    else this.endpoint.onPeerState(peer, state);
  }

  /** Answer and offer are exchanged: looks for a path from this address of the client. */
  iceChecks(peer, restart, address) {
    peer.checks += 1;
    this.#iceCheck(peer, restart, address, this.time.now, peer.checks);
  }

  #iceCheck(peer, restart, address, since, checks) {
    if (!peer.ends[0] || !peer.ends[1] || checks !== peer.checks) return;
    if (address === this.address && peer.run === this.endpoint.run && this.#udpPasses(true) && this.#udpPasses(false)) {
      peer.address = address;
      peer.dead = false;
      peer.lastReceived = [0, 0].fill(this.time.now + 4 * this.roundTrip);
      const delay = this.roundTrip * 3 + 30;
      for (const side of [0, 1]) if (restart) this.peerState(peer, side, 'connected');
      if (restart) return;
      this.clientAfter(delay, () => {
        if (!peer.ends[0] || !peer.ends[1]) return;
        this.peerState(peer, 0, 'connected');
        peer.pc.channelOpened();
      });
      this.time.after(delay, () => {
        if (!peer.ends[0] || !peer.ends[1]) return;
        this.peerState(peer, 1, 'connected');
        this.endpoint.onChannelOpen(peer);
        this.#keepalive(peer);
      });
    } else if (this.time.now - since > ICE_CHECKS_MS) {
      this.peerState(peer, 0, 'failed');
      this.peerState(peer, 1, 'failed');
    } else this.time.after(ICE_CHECK_MS, () => this.#iceCheck(peer, restart, address, since, checks));
  }

  #keepalive(peer) {
    if (!peer.ends[0] && !peer.ends[1]) return;
    this.time.after(KEEPALIVE_MS, () => this.#keepalive(peer));
    for (const side of [0, 1]) {
      if (this.#peerPasses(peer, side === 1) && peer.ends[1 - side]) peer.lastReceived[side] = Math.max(peer.lastReceived[side], this.time.now);
      const silent = this.time.now - peer.lastReceived[side];
      const state = silent > FAILED_MS ? 'failed' : silent > DISCONNECTED_MS ? 'disconnected' : 'connected';
      if (peer.states[side] !== 'failed' || state === 'connected') this.peerState(peer, side, state);
    }
  }
}

/** Puts the browser's names for this network in place of the global ones. @param {Network} network */
export function install(network) {
  const { time } = network;
  let timers = 0;
  const running = new Map();
  const start = (run, delay, again) => {
    timers += 1;
    const id = timers;
    const fire = () => {
      network.timersFired += 1;
      if (again) running.set(id, network.clientAfter(delay, fire));
      else running.delete(id);
      run();
    };
    running.set(id, network.clientAfter(delay, fire));
    return id;
  };
  const stop = (id) => {
    running.get(id)?.cancel();
    running.delete(id);
  };
  const window = new EventTarget();
  const connection = Object.assign(new EventTarget(), { type: 'wifi' });
  const names = {
    setTimeout: (run, delay = 0) => start(run, Math.max(0, delay), false),
    setInterval: (run, delay = 0) => start(run, Math.max(1, delay), true),
    clearTimeout: stop,
    clearInterval: stop,
    performance: { now: () => time.now },
    window,
    document: Object.assign(new EventTarget(), { visibilityState: 'visible' }),
    navigator: { connection },
    fetch: (url, options = {}) => http(network, new URL(url), options),
    WebSocket: webSocket(network),
    RTCPeerConnection: peerConnection(network),
  };
  for (const [name, value] of Object.entries(names)) {
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  }
  Date.now = () => Math.floor(EPOCH + time.now + network.clockStep);
  Math.random = network.random;
  return { window, connection };
}

/** One request over HTTP: whether the endpoint is there, and lets the client in, or an offer. */
function http(network, url, { signal, method, body }) {
  return new Promise((resolve, reject) => {
    signal?.addEventListener('abort', () => reject(new DOMException('aborted', 'AbortError')));
    const { blocked } = network;
    if (blocked.tcp[0] || blocked.tcp[1]) return; // until it is aborted
    network.clientAfter(network.roundTrip * 2, () => {
      const status = network.endpoint.httpStatus();
      if (status === null) {
        reject(new TypeError('failed to fetch'));
        return;
      }
      const answer = (json) => resolve({ status, ok: status < 400, json: () => Promise.resolve(json) });
      if (status >= 400 || method !== 'POST') answer({});
      else if (url.pathname === '/api/v1/rtc/offer') network.endpoint.onPost(JSON.parse(body), (json) => network.clientAfter(0, () => answer(json)));
      else reject(new Error(`the client posted to ${url}`));
    });
  });
}

const copied = (data) => (typeof data === 'string' ? data
  : data instanceof ArrayBuffer ? data.slice(0) : data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength));

/** @param {Network} network */
function webSocket(network) {
  return class WebSocket {
    static CONNECTING = 0;
    static OPEN = 1;
    static CLOSING = 2;
    static CLOSED = 3;
    onopen = null;
    onmessage = null;
    onclose = null;
    onerror = null;
    binaryType = 'blob';
    readyState = 0;
    /** The kernel's buffer takes all that is sent here. */
    bufferedAmount = 0;

    constructor(url) {
      this.url = String(url);
      this.stream = network.dial(this);
      network.current = this.stream;
    }

    send(data) {
      if (this.readyState === 0) throw new DOMException('still connecting', 'InvalidStateError');
      if (this.readyState === 1) network.write(this.stream, true, { data: copied(data) });
    }

    close(code, reason = '') {
      if (code !== undefined && code !== 1000 && !(code >= 3000 && code <= 4999)) {
        throw new DOMException(`code ${code}`, 'InvalidAccessError');
      }
      if (this.readyState >= 2) return;
      const waits = this.readyState === 0 ? 0 : network.roundTrip;
      network.closeStream(this.stream, true, this.readyState === 0 ? null : code ?? 1005, reason);
      this.readyState = 2;
      network.clientAfter(waits, () => this.ended(code ?? 1005, reason));
    }

    opened() {
      if (this.readyState !== 0) return;
      this.readyState = 1;
      this.onopen?.({});
    }

    receive(data) {
      if (this.readyState === 1) this.onmessage?.({ data: copied(data) });
    }

    ended(code, reason) {
      if (this.readyState === 3) return;
      this.readyState = 3;
      if (code === 1006) this.onerror?.({});
      this.onclose?.({ code, reason, wasClean: code !== 1006 });
    }
  };
}

/** @param {Network} network */
function peerConnection(network) {
  return class RTCPeerConnection {
    onicecandidate = null;
    onconnectionstatechange = null;
    oniceconnectionstatechange = null;
    ondatachannel = null;
    signalingState = 'stable';
    connectionState = 'new';
    iceConnectionState = 'new';
    iceGatheringState = 'complete';
    localDescription = null;
    #restarts = 0;
    #answeredBy = null;

    constructor() {
      this.peer = network.newPeer(this);
      network.currentPeer = this.peer;
    }

    createDataChannel(label, options) {
      if (!options.negotiated || options.ordered || options.maxRetransmits !== 0) throw new Error('not the channel of the wire');
      this.channel = {
        label, readyState: 'connecting', bufferedAmount: 0, binaryType: 'blob',
        onopen: null, onclose: null, onmessage: null, onerror: null,
        send: (data) => {
          if (this.channel.readyState !== 'open') throw new DOMException('not open', 'InvalidStateError');
          network.datagram(this.peer, true, copied(data));
        },
      };
      return this.channel;
    }

    #later(delay, value) {
      return new Promise((resolve, reject) => {
        network.clientAfter(delay, () => {
          if (this.signalingState === 'closed') reject(new DOMException('closed', 'InvalidStateError'));
          else resolve(value);
        });
      });
    }

    createOffer() {
      // `restarts` stands for the ICE credentials of a real description, `address` for its candidates.
      const sdp = JSON.stringify({ peer: this.peer.id, restarts: this.#restarts, address: network.address });
      return this.#later(OFFER_MS, { type: 'offer', sdp });
    }

    async setLocalDescription(description) {
      await this.#later(0);
      if (description.type === 'rollback') {
        this.signalingState = 'stable';
        return;
      }
      this.localDescription = description;
      this.signalingState = 'have-local-offer';
      network.clientAfter(1, () => this.onicecandidate?.({ candidate: null }));
    }

    async setRemoteDescription({ type, sdp }) {
      await this.#later(0);
      if (type !== 'answer' || this.signalingState !== 'have-local-offer') throw new DOMException(`${type} in ${this.signalingState}`, 'InvalidStateError');
      const { fingerprint, restart, address } = JSON.parse(sdp);
      // Another endpoint, or one that has forgotten this peer connection, has another certificate.
      if (this.#answeredBy !== null && this.#answeredBy !== fingerprint) throw new DOMException('another fingerprint', 'OperationError');
      this.#answeredBy = fingerprint;
      this.signalingState = 'stable';
      network.iceChecks(this.peer, restart, address);
    }

    addEventListener() {}

    addIceCandidate() {
      return Promise.resolve();
    }

    restartIce() {
      this.#restarts += 1;
    }

    setConfiguration() {}

    getStats() {
      return Promise.resolve(new Map());
    }

    close() {
      if (this.signalingState === 'closed') return;
      network.closePeer(this.peer, true);
      this.signalingState = this.connectionState = 'closed';
      this.channel.readyState = 'closed';
    }

    changed(state) {
      if (this.signalingState === 'closed' || this.connectionState === state) return;
      this.connectionState = this.iceConnectionState = state;
      this.oniceconnectionstatechange?.({});
      this.onconnectionstatechange?.({});
    }

    channelOpened() {
      if (this.channel.readyState !== 'connecting') return;
      this.channel.readyState = 'open';
      this.channel.onopen?.({});
    }

    channelClosed() {
      if (this.channel.readyState === 'closed') return;
      this.channel.readyState = 'closed';
      this.channel.onclose?.({});
    }

    receive(data) {
      if (this.channel.readyState === 'open') this.channel.onmessage?.({ data: copied(data) });
    }
  };
}
